package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// SubmitRequest is a modal sent off.
type SubmitRequest struct {
	User   string `json:"user"`
	ViewID string `json:"view_id"` // empty is the modal on top
	// Values are what was entered, by action_id, or by block_id and action_id:
	// text, an option's value, a list of them.
	Values map[string]any `json:"values"`
	// PrivateMetadata in place of the view's own is a forgery.
	PrivateMetadata *string `json:"private_metadata"`
	// Forge skips what a client would check.
	Forge bool `json:"forge"`
}

// Submit fills in the modal on top of what somebody has open and sends it off.
func (s *Server) Submit(user, viewID string, values map[string]any) (Result, error) {
	return s.SendSubmit(SubmitRequest{User: user, ViewID: viewID, Values: values})
}

// SendSubmit sends a modal off and does what the acknowledgement says: closes
// it, shows errors, updates it, pushes another.
func (s *Server) SendSubmit(r SubmitRequest) (Result, error) {
	s.mu.Lock()
	u, v, err := s.opened(r.User, r.ViewID, r.Forge)
	if err == nil {
		err = s.fill(v, r)
	}
	if err != nil {
		s.mu.Unlock()
		return Result{}, err
	}
	if errs := s.unfilled(v); len(errs) > 0 && !r.Forge {
		out := Result{Errors: errs, View: s.top(u.ID)}
		s.mu.Unlock()
		return out, nil
	}
	payload := s.interaction("view_submission", u)
	sent := s.wireView(v)
	if r.PrivateMetadata != nil {
		sent["private_metadata"] = *r.PrivateMetadata
	}
	payload["view"], payload["trigger_id"], payload["response_urls"] = sent, s.newTrigger(u.ID), []object{}
	e, err := s.dispatch("interactive", u.ID, true, payload)
	s.mu.Unlock()

	out := s.await(e, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if out.Error == "" {
		s.submitted(v, e.answer, &out)
	} else {
		out.Shown = "We had some trouble connecting. Try again?"
	}
	out.View = s.top(u.ID)
	return out, nil
}

// opened finds the modal that somebody has open.
func (s *Server) opened(user, viewID string, forge bool) (*User, *view, error) {
	u, err := s.user(user)
	if err != nil {
		return nil, nil, err
	}
	if err := s.active(u, forge); err != nil {
		return nil, nil, err
	}
	stack := s.stacks[u.ID]
	if viewID == "" && len(stack) > 0 {
		viewID = stack[len(stack)-1]
	}
	v := s.views[viewID]
	visible := v != nil && len(stack) > 0 && stack[len(stack)-1] == viewID
	if v == nil || !visible && !forge {
		return nil, nil, fmt.Errorf("view %q on top of %s's screen: %w", viewID, u.Name, ErrNotShown)
	}
	return u, v, nil
}

// fill enters the values into the modal's inputs.
func (s *Server) fill(v *view, r SubmitRequest) error {
	if r.PrivateMetadata != nil && !r.Forge {
		return fmt.Errorf("private_metadata of one's own: %w", ErrNeedsForge)
	}
	all := elements(v.Blocks)
	for key, value := range r.Values {
		nested, ok := value.(map[string]any)
		if !ok || !slices.ContainsFunc(all, func(e element) bool { return e.BlockID == key }) {
			nested = map[string]any{key: value}
			key = ""
		}
		for action, entered := range nested {
			if err := s.enter(v, all, key, action, entered, r.Forge); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) enter(v *view, all []element, block, action string, entered any, forge bool) error {
	i := slices.IndexFunc(all, func(e element) bool { return e.ActionID == action && (block == "" || e.BlockID == block) })
	if i < 0 {
		return fmt.Errorf("input %q: %w", action, ErrNotShown)
	}
	value, err := s.valueOf(all[i], entered, forge)
	if err != nil {
		return err
	}
	v.set(all[i], value)
	return nil
}

// valueOf turns what was entered into an element's state.
func (s *Server) valueOf(el element, entered any, forge bool) (object, error) {
	kind, _ := el.Element["type"].(string)
	field, _ := valueField(kind)
	if kind == "overflow" {
		field = "selected_option"
	}
	if field == "" {
		return nil, fmt.Errorf("%s %q takes no value: %w", kind, el.ActionID, ErrNoSuchValue)
	}
	out := object{"type": kind, field: nil}
	switch field {
	case "selected_option":
		o, err := option(el, entered, forge)
		if err != nil {
			return nil, err
		}
		out[field] = o
	case "selected_options":
		list, _ := entered.([]any)
		chosen := []any{}
		for _, e := range list {
			o, err := option(el, e, forge)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, o)
		}
		out[field] = chosen
	case "selected_user", "selected_channel", "selected_conversation":
		id, err := s.chosenID(field, entered)
		if err != nil {
			return nil, err
		}
		out[field] = id
	case "selected_date_time":
		at, err := dateTime(el, entered)
		if err != nil {
			return nil, err
		}
		out[field] = at
	default:
		if entered != "" {
			out[field] = entered
		}
	}
	return out, nil
}

// option finds a menu's option by its value, or nil for none.
func option(el element, entered any, forge bool) (any, error) {
	if entered == nil || entered == "" {
		return nil, nil
	}
	for _, o := range optionsOf(el.Element) {
		if o["value"] == entered {
			return map[string]any{"text": o["text"], "value": o["value"]}, nil
		}
	}
	if forge {
		return map[string]any{"text": object{"type": "plain_text", "text": fmt.Sprint(entered), "emoji": true}, "value": entered}, nil
	}
	return nil, fmt.Errorf("%q of %q: %w", entered, el.ActionID, ErrNoSuchValue)
}

// dateTime is what a date and time picker sends: seconds since 1970, or nil for none.
func dateTime(el element, entered any) (any, error) {
	switch v := entered.(type) {
	case nil:
		return nil, nil
	case float64:
		return int64(v), nil
	case int64:
		return v, nil
	case string:
		if v == "" {
			return nil, nil
		}
		if seconds, err := strconv.ParseInt(v, 10, 64); err == nil {
			return seconds, nil
		}
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return at.Unix(), nil
		}
	}
	return nil, fmt.Errorf("%v of %q: %w", entered, el.ActionID, ErrNoSuchValue)
}

// chosenID resolves a person's or channel's name.
func (s *Server) chosenID(field string, entered any) (any, error) {
	name, _ := entered.(string)
	if name == "" {
		return nil, nil
	}
	if field == "selected_user" {
		u, err := s.user(name)
		if err != nil {
			return nil, err
		}
		return u.ID, nil
	}
	ch, err := s.channel(name)
	if err != nil {
		return nil, err
	}
	return ch.ID, nil
}

// unfilled is what a client complains about before it sends a modal off.
func (s *Server) unfilled(v *view) map[string]string {
	errs := map[string]string{}
	for _, el := range elements(v.Blocks) {
		if !el.Input {
			continue
		}
		kind, _ := el.Element["type"].(string)
		field, _ := valueField(kind)
		value := v.State[el.BlockID][el.ActionID][field]
		list, isList := value.([]any)
		if value == nil || isList && len(list) == 0 {
			if !el.Optional {
				errs[el.BlockID] = "Please complete this required field."
			}
			continue
		}
		if text, ok := value.(string); ok {
			if problem := complaint(kind, el.Element, text); problem != "" {
				errs[el.BlockID] = problem
			}
		}
	}
	return errs
}

// complaint checks a text against its input.
func complaint(kind string, e object, text string) string {
	n := float64(utf8.RuneCountInString(text))
	if least, ok := e["min_length"].(float64); ok && n < least {
		return fmt.Sprintf("Please enter at least %.0f characters.", least)
	}
	if most, ok := e["max_length"].(float64); ok && n > most {
		return fmt.Sprintf("Please enter at most %.0f characters.", most)
	}
	switch kind {
	case "number_input":
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return "Please enter a number."
		}
	case "email_text_input":
		if _, err := mail.ParseAddress(text); err != nil {
			return "Please enter a valid email address."
		}
	case "url_text_input":
		if u, err := url.Parse(text); err != nil || u.Host == "" {
			return "Please enter a valid URL."
		}
	}
	return ""
}

// submitted does what the acknowledgement of a submission asks for.
func (s *Server) submitted(v *view, answer json.RawMessage, out *Result) {
	var ack struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   any               `json:"view"`
	}
	if len(answer) > 0 && json.Unmarshal(answer, &ack) != nil {
		out.Error, out.Shown = "invalid_view", "We had some trouble connecting. Try again?"
		return
	}
	if s.views[v.ID] == nil { // closed meanwhile
		return
	}
	switch ack.Action {
	case "":
		s.closeView(v)
	case "clear":
		s.clearViews(v.User)
	case "errors":
		s.showErrors(v, ack.Errors, out)
	case "update", "push":
		next, err := s.newView(ack.View, "modal")
		if err != nil || ack.Action == "push" && len(s.stacks[v.User]) >= maxStack {
			out.Error, out.Shown = "invalid_view", "We had some trouble connecting. Try again?"
			if err != nil {
				s.note("refused_view", object{"error": err.Error(), "messages": messagesOf(err)})
			}
			return
		}
		if ack.Action == "update" {
			s.replaceView(v, next)
		} else {
			s.showView(next, v.User)
		}
	default:
		out.Error, out.Shown = "invalid_view", "We had some trouble connecting. Try again?"
	}
}

// showErrors keeps the modal open. Errors of blocks that aren't inputs of it
// are a mistake of the app, which Slack shows as trouble.
func (s *Server) showErrors(v *view, errs map[string]string, out *Result) {
	for block := range errs {
		if !slices.ContainsFunc(v.Blocks, func(b object) bool { return b["block_id"] == block && b["type"] == "input" }) {
			out.Error, out.Shown = "invalid_view", "We had some trouble connecting. Try again?"
			return
		}
	}
	if len(errs) == 0 {
		out.Error, out.Shown = "invalid_view", "We had some trouble connecting. Try again?"
		return
	}
	out.Errors = errs
	s.note("view_errors", object{"view_id": v.ID, "errors": errs})
}

// CloseView closes the modal on top, as its close button does. The app hears of
// it if the view asked for that.
func (s *Server) CloseView(user, viewID string) (Result, error) {
	s.mu.Lock()
	u, v, err := s.opened(user, viewID, false)
	if err != nil {
		s.mu.Unlock()
		return Result{}, err
	}
	closed := []*view{v}
	cleared := v.Body["clear_on_close"] == true
	if cleared {
		closed = nil
		for _, id := range slices.Backward(s.stacks[u.ID]) {
			closed = append(closed, s.views[id])
		}
	}
	var last *envelope
	var sent error
	for _, gone := range closed {
		s.closeView(gone)
		if gone.Body["notify_on_close"] != true {
			continue
		}
		payload := s.interaction("view_closed", u)
		payload["view"], payload["is_cleared"] = s.wireView(gone), cleared
		last, sent = s.dispatch("interactive", u.ID, false, payload)
	}
	s.mu.Unlock()
	out := Result{}
	if last != nil {
		out = s.await(last, sent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.View = s.top(u.ID)
	return out, nil
}

func messagesOf(err error) []string {
	var e *apiError
	if errors.As(err, &e) {
		return e.messages
	}
	return nil
}
