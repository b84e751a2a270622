package slack

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// view is an open modal or a published Home tab.
type view struct {
	ID         string
	User       string
	Type       string // "modal" or "home"
	CallbackID string
	ExternalID string
	Private    string // private_metadata
	Root       string
	Previous   string
	Hash       string
	Body       object // the view as it was given
	Blocks     []object
	State      map[string]map[string]object // what the person entered so far
}

// View is a view as the state and the person see it.
type View struct {
	ID         string                       `json:"id"`
	User       string                       `json:"user"`
	Type       string                       `json:"type"`
	CallbackID string                       `json:"callback_id"`
	ExternalID string                       `json:"external_id,omitempty"`
	Private    string                       `json:"private_metadata"`
	Hash       string                       `json:"hash"`
	Title      string                       `json:"title,omitempty"`
	Submit     string                       `json:"submit,omitempty"`
	Blocks     []object                     `json:"blocks"`
	Actions    []Action                     `json:"actions,omitempty"`
	State      map[string]map[string]object `json:"state"`
}

func (v *view) public() View {
	return View{
		ID: v.ID, User: v.User, Type: v.Type, CallbackID: v.CallbackID, ExternalID: v.ExternalID, Private: v.Private, Hash: v.Hash,
		Title: plain(v.Body["title"]), Submit: plain(v.Body["submit"]), Blocks: v.Blocks, Actions: actionsOf(v.Blocks), State: maps.Clone(v.State),
	}
}

// plain is the text of a text object.
func plain(v any) string {
	o, _ := v.(map[string]any)
	text, _ := o["text"].(string)
	return text
}

// wireView is the view as Slack sends it.
func (s *Server) wireView(v *view) object {
	root := v.Root
	if root == "" {
		root = v.ID
	}
	out := object{
		"id": v.ID, "team_id": s.team.ID, "type": v.Type, "blocks": v.Blocks, "private_metadata": v.Private, "callback_id": v.CallbackID,
		"state": object{"values": maps.Clone(v.State)}, "hash": v.Hash, "title": v.Body["title"], "submit": v.Body["submit"], "close": v.Body["close"],
		"clear_on_close": v.Body["clear_on_close"] == true, "notify_on_close": v.Body["notify_on_close"] == true, "submit_disabled": false,
		"root_view_id": root, "previous_view_id": nil, "app_id": s.app.ID, "app_installed_team_id": s.team.ID, "bot_id": s.app.BotID, "external_id": v.ExternalID,
	}
	if v.Previous != "" {
		out["previous_view_id"] = v.Previous
	}
	return out
}

// trigger lets the bot open a modal for somebody, once and soon.
type trigger struct {
	user string
	made time.Time // real time
	used bool
}

// newTrigger makes a trigger; those that have long expired are forgotten.
func (s *Server) newTrigger(user string) string {
	if len(s.triggers) > 10000 {
		maps.DeleteFunc(s.triggers, func(_ string, t *trigger) bool { return time.Since(t.made) > time.Hour })
	}
	id := slackTime(time.Now()) + "." + randomHex(16)
	s.triggers[id] = &trigger{user: user, made: time.Now()}
	return id
}

// exchange uses a trigger up.
func (c *call) exchange() (*trigger, error) {
	if !c.p.has("trigger_id") {
		return nil, &apiError{name: "invalid_arguments", messages: []string{"missing required field: trigger_id"}}
	}
	t, ok := c.triggers[c.p.text("trigger_id")]
	switch {
	case !ok:
		return nil, refuse("invalid_trigger_id")
	case t.used:
		return nil, refuse("exchanged_trigger_id")
	case time.Since(t.made) > seconds(c.settings.TriggerSeconds):
		return nil, refuse("expired_trigger_id")
	}
	t.used = true
	return t, nil
}

// maxView is the size of a whole view in bytes.
const maxView = 250 << 10

// viewArgument reads and checks the view of a call.
func (c *call) viewArgument(kind string) (*view, error) {
	raw, err := c.p.json("view")
	if err != nil {
		return nil, &apiError{name: "invalid_arguments", messages: []string{"must be a valid JSON object [json-pointer:/view]"}}
	}
	return c.newView(raw, kind)
}

// newView checks a view from a call or an acknowledgement.
func (s *Server) newView(raw any, kind string) (*view, error) {
	body, ok := raw.(map[string]any)
	if !ok {
		return nil, &apiError{name: "invalid_arguments", messages: []string{"must provide an object [json-pointer:/view]"}}
	}
	if b, _ := json.Marshal(body); len(b) > maxView {
		return nil, refuse("view_too_large")
	}
	blocks, problems := s.checkView(body, kind)
	if len(problems) > 0 {
		return nil, &apiError{name: "invalid_arguments", messages: problems}
	}
	v := &view{ID: s.id("V"), Type: kind, Body: body, Blocks: blocks, State: map[string]map[string]object{}}
	v.CallbackID, _ = body["callback_id"].(string)
	v.ExternalID, _ = body["external_id"].(string)
	v.Private, _ = body["private_metadata"].(string)
	v.Hash = s.newHash()
	v.State = initialState(blocks)
	return v, nil
}

func (s *Server) newHash() string {
	s.sequence++
	return slackTime(time.Now()) + "." + randomHex(4)
}

// external refuses an external_id that another view of the team has.
func (s *Server) external(v *view, except string) error {
	for id, other := range s.views {
		if v.ExternalID != "" && other.ExternalID == v.ExternalID && id != except {
			return refuse("duplicate_external_id")
		}
	}
	return nil
}

func (c *call) openView() (object, error) {
	v, err := c.viewArgument("modal")
	if err != nil {
		return nil, err
	}
	if err := c.external(v, ""); err != nil {
		return nil, err
	}
	t, err := c.exchange()
	if err != nil {
		return nil, err
	}
	for _, id := range c.stacks[t.user] { // a new modal takes the place of what was open
		delete(c.views, id)
	}
	c.stacks[t.user] = nil
	c.showView(v, t.user)
	return object{"view": c.wireView(v)}, nil
}

// showView puts a modal on top of what somebody has open.
func (s *Server) showView(v *view, user string) {
	v.User = user
	if stack := s.stacks[user]; len(stack) > 0 {
		v.Root, v.Previous = stack[0], stack[len(stack)-1]
	}
	s.views[v.ID] = v
	s.stacks[user] = append(s.stacks[user], v.ID)
	s.note("view", v.public())
}

// maxStack is how many modals lie on top of each other.
const maxStack = 3

func (c *call) pushView() (object, error) {
	v, err := c.viewArgument("modal")
	if err != nil {
		return nil, err
	}
	if err := c.external(v, ""); err != nil {
		return nil, err
	}
	t, err := c.exchange()
	if err != nil {
		return nil, err
	}
	switch n := len(c.stacks[t.user]); {
	case n == 0:
		return nil, refuse("not_found")
	case n >= maxStack:
		return nil, refuse("push_limit_reached")
	}
	c.showView(v, t.user)
	return object{"view": c.wireView(v)}, nil
}

func (c *call) updateView() (object, error) {
	var old *view
	for _, v := range c.views {
		if v.ID == c.p.text("view_id") || v.ExternalID != "" && v.ExternalID == c.p.text("external_id") {
			old = v
		}
	}
	if old == nil {
		return nil, refuse("not_found")
	}
	if h := c.p.text("hash"); h != "" && h != old.Hash {
		return nil, refuse("hash_conflict")
	}
	v, err := c.viewArgument(old.Type)
	if err != nil {
		return nil, err
	}
	if err := c.external(v, old.ID); err != nil {
		return nil, err
	}
	c.replaceView(old, v)
	return object{"view": c.wireView(old)}, nil
}

// replaceView gives an open view new content; what was entered stays where
// block_id and action_id stayed.
func (s *Server) replaceView(old, v *view) {
	for block, actions := range old.State {
		for action, value := range actions {
			if _, ok := v.State[block][action]; ok {
				v.State[block][action] = value
			}
		}
	}
	old.Body, old.Blocks, old.CallbackID, old.ExternalID, old.Private, old.Hash, old.State = v.Body, v.Blocks, v.CallbackID, v.ExternalID, v.Private, v.Hash, v.State
	s.note("view_changed", old.public())
}

func (c *call) publishView() (object, error) {
	if !c.settings.HomeTab {
		return nil, refuse("not_enabled")
	}
	user := c.userByID(c.p.text("user_id"))
	if user == nil {
		return nil, &apiError{name: "invalid_arguments", messages: []string{"invalid `user_id`"}}
	}
	v, err := c.viewArgument("home")
	if err != nil {
		return nil, err
	}
	if old := c.views[c.homes[user.ID]]; old != nil {
		if h := c.p.text("hash"); h != "" && h != old.Hash {
			return nil, refuse("hash_conflict")
		}
		c.replaceView(old, v)
		return object{"view": c.wireView(old)}, nil
	}
	v.User = user.ID
	c.views[v.ID], c.homes[user.ID] = v, v.ID
	c.note("home", v.public())
	return object{"view": c.wireView(v)}, nil
}

// closeView takes a modal off somebody's stack.
func (s *Server) closeView(v *view) {
	s.stacks[v.User] = slices.DeleteFunc(slices.Clone(s.stacks[v.User]), func(id string) bool { return id == v.ID })
	delete(s.views, v.ID)
	s.note("view_closed", v.public())
}

// clearViews closes all of somebody's modals.
func (s *Server) clearViews(user string) {
	for _, id := range slices.Backward(slices.Clone(s.stacks[user])) {
		if v := s.views[id]; v != nil {
			s.closeView(v)
		}
	}
}

// initialState is what the elements hold before anybody touches them.
func initialState(blocks []object) map[string]map[string]object {
	out := map[string]map[string]object{}
	for _, e := range elements(blocks) {
		if value := initialValue(e.Element); value != nil {
			if out[e.BlockID] == nil {
				out[e.BlockID] = map[string]object{}
			}
			out[e.BlockID][e.ActionID] = value
		}
	}
	return out
}

// initialValue is an element's own initial value, or nil if it has no state.
func initialValue(e object) object {
	kind, _ := e["type"].(string)
	field, initial := valueField(kind)
	if field == "" {
		return nil
	}
	value, ok := e[initial]
	if !ok && isMulti(kind) {
		value = []any{}
	}
	return object{"type": kind, field: value}
}

// valueField names where an element's state keeps its value and where its
// initial one stands.
func valueField(kind string) (field, initial string) {
	switch kind {
	case "plain_text_input", "number_input", "email_text_input", "url_text_input":
		return "value", "initial_value"
	case "rich_text_input":
		return "rich_text_value", "initial_value"
	case "static_select", "external_select", "radio_buttons":
		return "selected_option", "initial_option"
	case "multi_static_select", "multi_external_select", "checkboxes":
		return "selected_options", "initial_options"
	case "users_select":
		return "selected_user", "initial_user"
	case "multi_users_select":
		return "selected_users", "initial_users"
	case "conversations_select":
		return "selected_conversation", "initial_conversation"
	case "multi_conversations_select":
		return "selected_conversations", "initial_conversations"
	case "channels_select":
		return "selected_channel", "initial_channel"
	case "multi_channels_select":
		return "selected_channels", "initial_channels"
	case "datepicker":
		return "selected_date", "initial_date"
	case "timepicker":
		return "selected_time", "initial_time"
	case "datetimepicker":
		return "selected_date_time", "initial_date_time"
	case "file_input":
		return "files", ""
	}
	return "", ""
}

func isMulti(kind string) bool {
	switch kind {
	case "multi_static_select", "multi_external_select", "checkboxes", "multi_users_select", "multi_conversations_select", "multi_channels_select", "file_input":
		return true
	}
	return false
}
