package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Result is what a person sees of something they did.
type Result struct {
	EnvelopeID string  `json:"envelope_id,omitempty"` // empty when nothing was sent to the app
	Acked      bool    `json:"acked"`
	AckedMS    float64 `json:"acked_after_ms,omitempty"`
	// Error is what Slack shows instead of an answer: operation_timeout (not
	// acknowledged in time), dispatch_failed (no socket open), unknown_command,
	// invalid_view (the acknowledgement brought a view that Slack refuses).
	Error string `json:"error,omitempty"`
	Shown string `json:"shown,omitempty"` // the error in Slack's words
	// Errors are a modal's complaints by block_id: the app's, or the client's own
	// when a required input was left empty.
	Errors map[string]string `json:"errors,omitempty"`
	// View is the modal on top afterwards, or the Home tab.
	View *View `json:"view,omitempty"`
	// Ephemeral are the messages that only this person saw meanwhile.
	Ephemeral []Message `json:"ephemeral,omitempty"`
}

// Errors of those who play people: what no client would have let them do.
var (
	ErrNotShown    = errors.New("a client does not show that to this person")
	ErrCannotAct   = errors.New("this person cannot do that")
	ErrNeedsForge  = errors.New("no client sends that; say forge to send it all the same")
	ErrNoSuchValue = errors.New("the element has no such value")
)

// CommandRequest is a slash command typed into a channel.
type CommandRequest struct {
	User    string `json:"user"`
	Channel string `json:"channel"`
	Command string `json:"command"` // "/rotate"
	Text    string `json:"text"`
	// Forge types it even where the person is no member, or deactivated.
	Forge bool `json:"forge"`
}

// Command types a whole line, "/rotate sharepoint prod", as somebody in a channel.
func (s *Server) Command(user, channel, line string) (Result, error) {
	command, text, _ := strings.Cut(line, " ")
	return s.SendCommand(CommandRequest{User: user, Channel: channel, Command: command, Text: text})
}

// SendCommand types a slash command and waits until the app acknowledges it or
// Slack gives up.
func (s *Server) SendCommand(r CommandRequest) (Result, error) {
	s.mu.Lock()
	u, ch, err := s.present(r.User, r.Channel, r.Forge)
	if err != nil {
		s.mu.Unlock()
		return Result{}, err
	}
	if !strings.HasPrefix(r.Command, "/") || len(s.settings.Commands) > 0 && !slices.Contains(s.settings.Commands, r.Command) {
		s.mu.Unlock()
		return Result{Error: "unknown_command", Shown: fmt.Sprintf("%s is not a valid command.", r.Command)}, nil
	}
	to := responseURL{channel: ch.ID, user: u.ID}
	payload := object{
		"token": "sandbox-verification", "team_id": u.TeamID, "team_domain": s.team.Domain, "channel_id": ch.ID, "channel_name": channelName(ch),
		"user_id": u.ID, "user_name": u.Name, "command": r.Command, "text": strings.TrimSpace(r.Text), "api_app_id": s.app.ID,
		"is_enterprise_install": "false", "response_url": s.newResponseURL(to), "trigger_id": s.newTrigger(u.ID),
	}
	if e := enterprise(u, s.team); e != "" {
		payload["enterprise_id"], payload["enterprise_name"] = e, e
	}
	e, err := s.dispatch("slash_commands", u.ID, true, payload)
	s.mu.Unlock()

	out := s.await(e, err)
	if out.Error != "" {
		out.Shown = fmt.Sprintf("%s failed with the error %q", r.Command, out.Error)
		return out, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answerCommand(e.answer, &to)
	return out, nil
}

// answerCommand posts the message that an acknowledgement may bring.
func (s *Server) answerCommand(answer json.RawMessage, to *responseURL) {
	var p params
	if json.Unmarshal(answer, &p) != nil || !p.has("text") && !p.has("blocks") {
		return
	}
	c := &call{Server: s, p: p, token: &token{Kind: botToken}}
	if err := c.respond(to); err != nil {
		s.note("refused_answer", object{"error": err.Error()})
	}
}

// present finds a person in a channel where they can act.
func (s *Server) present(user, channel string, forge bool) (*User, *Channel, error) {
	u, err := s.user(user)
	if err != nil {
		return nil, nil, err
	}
	ch, err := s.channel(channel)
	if err != nil {
		return nil, nil, err
	}
	if err := s.active(u, forge); err != nil {
		return nil, nil, err
	}
	if !forge && !ch.has(u.ID) {
		return nil, nil, fmt.Errorf("%s is not in %s: %w", u.Name, ch.Name, ErrCannotAct)
	}
	return u, ch, nil
}

func (s *Server) active(u *User, forge bool) error {
	if u.Deleted && !forge {
		return fmt.Errorf("%s is deactivated: %w", u.Name, ErrCannotAct)
	}
	return nil
}

// await waits until an envelope is acknowledged or Slack gives up on it.
func (s *Server) await(e *envelope, sent error) Result {
	out := Result{EnvelopeID: e.id}
	if sent != nil {
		out.Error, out.Shown = "dispatch_failed", "The app is not connected."
		return out
	}
	t := time.NewTimer(time.Until(e.made.Add(seconds(s.Settings().AckSeconds))))
	defer t.Stop()
	select {
	case <-e.acked:
		s.mu.Lock()
		defer s.mu.Unlock()
		out.Acked, out.AckedMS = true, e.public().AckedMS
	case <-t.C:
		out.Error, out.Shown = "operation_timeout", "The app did not respond in time."
	case <-s.closed:
		out.Error, out.Shown = "dispatch_failed", "Slack was closed."
	}
	return out
}

func channelName(ch *Channel) string {
	switch {
	case ch.IM:
		return "directmessage"
	case ch.Private:
		return "privategroup"
	}
	return ch.Name
}

func enterprise(u *User, t Team) string {
	if u.Enterprise != "" {
		return u.Enterprise
	}
	if u.TeamID == t.ID {
		return t.Enterprise
	}
	return ""
}

// interaction is what all interactive payloads have in common.
func (s *Server) interaction(kind string, u *User) object {
	out := object{
		"type": kind, "token": "sandbox-verification", "api_app_id": s.app.ID, "is_enterprise_install": false, "enterprise": nil,
		"team": object{"id": s.team.ID, "domain": s.team.Domain},
		"user": object{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.TeamID},
	}
	if s.team.Enterprise != "" {
		out["enterprise"] = object{"id": s.team.Enterprise, "name": s.team.Enterprise}
		out["team"] = object{"id": s.team.ID, "domain": s.team.Domain, "enterprise_id": s.team.Enterprise, "enterprise_name": s.team.Enterprise}
	}
	return out
}

// ClickRequest is a click on a button, or a choice in a menu, in a message or
// in a view.
type ClickRequest struct {
	User      string `json:"user"`
	Channel   string `json:"channel"`
	MessageTS string `json:"message_ts"`
	ViewID    string `json:"view_id"` // instead of channel and message
	ActionID  string `json:"action_id"`
	BlockID   string `json:"block_id"` // needed only if two blocks have the action_id
	// Value is what was chosen in a menu. On a button it is a forgery.
	Value any `json:"value"`
	// Forge clicks what is not shown, with any value.
	Forge bool `json:"forge"`
}

// Click presses a button of a message.
func (s *Server) Click(user, channel, messageTS, actionID string) (Result, error) {
	return s.SendClick(ClickRequest{User: user, Channel: channel, MessageTS: messageTS, ActionID: actionID})
}

// SendClick sends a click and waits until the app acknowledges it or Slack
// gives up.
func (s *Server) SendClick(r ClickRequest) (Result, error) {
	s.mu.Lock()
	payload, u, err := s.click(r)
	if err != nil || payload == nil {
		s.mu.Unlock()
		return Result{}, err
	}
	e, err := s.dispatch("interactive", u.ID, false, payload)
	s.mu.Unlock()
	out := s.await(e, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	out.View = s.top(u.ID)
	return out, nil
}

// click builds the payload of a click; it is nil when a client sends none.
func (s *Server) click(r ClickRequest) (object, *User, error) {
	u, err := s.user(r.User)
	if err != nil {
		return nil, nil, err
	}
	if err := s.active(u, r.Forge); err != nil {
		return nil, nil, err
	}
	out := s.interaction("block_actions", u)
	blocks, err := s.clickedBlocks(r, u, out)
	if err != nil {
		return nil, nil, err
	}
	action, state, err := s.action(r, blocks)
	if err != nil {
		return nil, nil, err
	}
	if v := s.views[r.ViewID]; v != nil && action["_typed"] == true {
		return nil, u, nil // typing into an input tells the app nothing
	}
	delete(action, "_typed")
	action["action_ts"] = slackTime(s.cond.Clock.Now())
	out["actions"], out["trigger_id"] = []object{action}, s.newTrigger(u.ID)
	if r.ViewID == "" {
		out["state"] = object{"values": state}
	}
	return out, u, nil
}

// clickedBlocks finds the blocks that the person sees and notes in the payload
// where they stand.
func (s *Server) clickedBlocks(r ClickRequest, u *User, out object) ([]object, error) {
	if r.ViewID != "" {
		v := s.views[r.ViewID]
		if v == nil || v.User != u.ID && !r.Forge {
			return nil, fmt.Errorf("view %q: %w", r.ViewID, ErrNotShown)
		}
		out["container"], out["view"] = object{"type": "view", "view_id": v.ID}, s.wireView(v)
		return v.Blocks, nil
	}
	_, ch, err := s.present(r.User, r.Channel, r.Forge)
	if err != nil {
		return nil, err
	}
	m := s.message(ch.ID, r.MessageTS)
	if m == nil || m.EphemeralTo != "" && m.EphemeralTo != u.ID && !r.Forge {
		return nil, fmt.Errorf("message %q in %s: %w", r.MessageTS, ch.Name, ErrNotShown)
	}
	container := object{"type": "message", "message_ts": m.TS, "channel_id": ch.ID, "is_ephemeral": m.EphemeralTo != ""}
	if m.ThreadTS != "" {
		container["thread_ts"] = m.ThreadTS
	}
	out["container"], out["channel"] = container, object{"id": ch.ID, "name": channelName(ch)}
	out["response_url"] = s.newResponseURL(responseURL{channel: ch.ID, user: u.ID, message: m.TS})
	if m.EphemeralTo == "" { // Slack does not send ephemeral messages back
		out["message"] = s.wire(m, false)
	}
	return m.Blocks, nil
}

// action is the element of "actions" for what was clicked, and the state of all
// elements beside it.
func (s *Server) action(r ClickRequest, blocks []object) (object, map[string]map[string]object, error) {
	state := initialState(blocks)
	for _, el := range elements(blocks) {
		if el.ActionID != r.ActionID || r.BlockID != "" && el.BlockID != r.BlockID {
			continue
		}
		return s.actionOf(r, el, state)
	}
	if !r.Forge {
		return nil, nil, fmt.Errorf("action %q: %w", r.ActionID, ErrNotShown)
	}
	value, _ := r.Value.(string)
	return object{
		"type": "button", "action_id": r.ActionID, "block_id": r.BlockID, "value": value,
		"text": object{"type": "plain_text", "text": r.ActionID, "emoji": true},
	}, state, nil
}

func (s *Server) actionOf(r ClickRequest, el element, state map[string]map[string]object) (object, map[string]map[string]object, error) {
	kind, _ := el.Element["type"].(string)
	action := object{"type": kind, "action_id": el.ActionID, "block_id": el.BlockID}
	if field, _ := valueField(kind); field != "" || kind == "overflow" {
		value, err := s.valueOf(el, r.Value, r.Forge)
		if err != nil {
			return nil, nil, err
		}
		for k, v := range value {
			action[k] = v
		}
		if v := s.views[r.ViewID]; v != nil && kind != "overflow" {
			v.set(el, value)
			action["_typed"] = el.Input && !dispatches(v, el.BlockID)
		}
		if kind != "overflow" {
			state[el.BlockID][el.ActionID] = value
		}
		return action, state, nil
	}
	if r.Value != nil && !r.Forge {
		return nil, nil, fmt.Errorf("a value for the button %q: %w", r.ActionID, ErrNeedsForge)
	}
	for _, k := range []string{"text", "value", "style", "confirm", "url"} {
		if v, ok := el.Element[k]; ok {
			action[k] = v
		}
	}
	if r.Value != nil {
		action["value"] = r.Value
	}
	return action, state, nil
}

func dispatches(v *view, block string) bool {
	i := slices.IndexFunc(v.Blocks, func(b object) bool { return b["block_id"] == block })
	return i >= 0 && v.Blocks[i]["dispatch_action"] == true
}

// set stores what was entered. The maps are copied: an answer that is still
// being written may hold the old ones.
func (v *view) set(el element, value object) {
	state := make(map[string]map[string]object, len(v.State))
	for block, actions := range v.State {
		state[block] = actions
	}
	actions := map[string]object{}
	for action, old := range state[el.BlockID] {
		actions[action] = old
	}
	actions[el.ActionID] = value
	state[el.BlockID] = actions
	v.State = state
}

// top is the modal that somebody sees.
func (s *Server) top(user string) *View {
	stack := s.stacks[user]
	if len(stack) == 0 {
		return nil
	}
	v := s.views[stack[len(stack)-1]].public()
	return &v
}

// ShortcutRequest is a global shortcut, or one on a message.
type ShortcutRequest struct {
	User       string `json:"user"`
	CallbackID string `json:"callback_id"`
	Channel    string `json:"channel"`    // of a message shortcut
	MessageTS  string `json:"message_ts"` // of a message shortcut
	Forge      bool   `json:"forge"`
}

// Shortcut uses one of the app's shortcuts and waits for the acknowledgement.
func (s *Server) Shortcut(r ShortcutRequest) (Result, error) {
	s.mu.Lock()
	payload, u, err := s.shortcut(r)
	if err != nil {
		s.mu.Unlock()
		return Result{}, err
	}
	e, err := s.dispatch("interactive", u.ID, false, payload)
	s.mu.Unlock()
	out := s.await(e, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	out.View = s.top(u.ID)
	return out, nil
}

func (s *Server) shortcut(r ShortcutRequest) (object, *User, error) {
	u, err := s.user(r.User)
	if err != nil {
		return nil, nil, err
	}
	if err := s.active(u, r.Forge); err != nil {
		return nil, nil, err
	}
	kind := "shortcut"
	if r.MessageTS != "" {
		kind = "message_action"
	}
	out := s.interaction(kind, u)
	out["callback_id"], out["action_ts"], out["trigger_id"] = r.CallbackID, slackTime(s.cond.Clock.Now()), s.newTrigger(u.ID)
	if kind == "shortcut" {
		return out, u, nil
	}
	_, ch, err := s.present(r.User, r.Channel, r.Forge)
	if err != nil {
		return nil, nil, err
	}
	m := s.message(ch.ID, r.MessageTS)
	if m == nil || m.EphemeralTo != "" {
		return nil, nil, fmt.Errorf("message %q in %s: %w", r.MessageTS, ch.Name, ErrNotShown)
	}
	out["channel"], out["message"], out["message_ts"] = object{"id": ch.ID, "name": channelName(ch)}, s.wire(m, false), m.TS
	out["response_url"] = s.newResponseURL(responseURL{channel: ch.ID, user: u.ID})
	return out, u, nil
}

// OpenHome opens the app's Home tab as somebody and returns what is published
// there when the app has acknowledged.
func (s *Server) OpenHome(user string) (Result, error) {
	s.mu.Lock()
	u, err := s.user(user)
	if err == nil {
		err = s.active(u, false)
	}
	if err != nil {
		s.mu.Unlock()
		return Result{}, err
	}
	event := object{"type": "app_home_opened", "user": u.ID, "channel": s.directMessage(u.ID).ID, "tab": "home", "event_ts": slackTime(s.cond.Clock.Now())}
	if v := s.views[s.homes[u.ID]]; v != nil {
		event["view"] = s.wireView(v)
	}
	e, sent := s.event("app_home_opened", u.ID, event)
	s.mu.Unlock()
	out := Result{}
	if e != nil {
		out = s.await(e, sent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.views[s.homes[u.ID]]; v != nil {
		public := v.public()
		out.View = &public
	}
	return out, nil
}

// Say posts a message as somebody; the app hears of it if it is subscribed.
// With threadTS it is a reply.
func (s *Server) Say(user, channel, text, threadTS string) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ch, err := s.present(user, channel, false)
	if err != nil {
		return Message{}, err
	}
	if ch.Archived {
		return Message{}, fmt.Errorf("%s is archived: %w", ch.Name, ErrCannotAct)
	}
	m := s.post(&Message{Channel: ch.ID, User: u.ID, Text: text, ThreadTS: threadTS})
	event := s.wire(m, false)
	kind, scope := "channel", "message.channels"
	switch {
	case ch.IM:
		kind, scope = "im", "message.im"
	case ch.Private:
		kind, scope = "group", "message.groups"
	}
	event["channel"], event["channel_type"], event["event_ts"] = ch.ID, kind, m.TS
	if ch.has(s.app.BotUser) {
		_, _ = s.event(scope, u.ID, event) // nobody is told when an event does not arrive
	}
	if strings.Contains(text, "<@"+s.app.BotUser+">") && !ch.IM {
		mention := object{"type": "app_mention", "user": u.ID, "text": text, "ts": m.TS, "channel": ch.ID, "event_ts": m.TS, "team": s.team.ID}
		if threadTS != "" {
			mention["thread_ts"] = threadTS
		}
		_, _ = s.event("app_mention", u.ID, mention)
	}
	return m.clone(), nil
}

// event sends an Events API event if the app is subscribed to it; the envelope
// is nil if it isn't.
func (s *Server) event(subscription, user string, event object) (*envelope, error) {
	if !slices.Contains(s.settings.Events, subscription) {
		return nil, nil
	}
	var grid any
	if s.team.Enterprise != "" {
		grid = s.team.Enterprise
	}
	payload := object{
		"token": "sandbox-verification", "team_id": s.team.ID, "context_team_id": s.team.ID, "context_enterprise_id": grid, "api_app_id": s.app.ID,
		"event": event, "type": "event_callback", "event_id": s.id("Ev"), "event_time": s.unix(), "is_ext_shared_channel": false, "event_context": randomHex(16),
		"authorizations": []object{{"enterprise_id": grid, "team_id": s.team.ID, "user_id": s.app.BotUser, "is_bot": true, "is_enterprise_install": false}},
	}
	return s.dispatch("events_api", user, false, payload)
}
