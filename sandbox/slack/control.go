package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Control serves what another program plays the people with. Every call takes
// and gives JSON; README.md has an example of each.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	post := func(path string, do func(body []byte) (any, error)) {
		mux.HandleFunc("POST /"+path, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
			if err == nil {
				var out any
				if out, err = do(body); err == nil {
					reply(w, http.StatusOK, out)
					return
				}
			}
			replyError(w, err)
		})
	}
	get := func(path string, do func(q url.Values) (any, error)) {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, r *http.Request) {
			out, err := do(r.URL.Query())
			if err != nil {
				replyError(w, err)
				return
			}
			reply(w, http.StatusOK, out)
		})
	}
	post("command", s.controlCommand)
	post("click", s.controlClick)
	post("submit", s.controlSubmit)
	post("close", s.controlClose)
	post("shortcut", s.controlShortcut)
	post("home", s.controlHome)
	post("say", s.controlSay)
	post("group", s.controlGroup)
	post("user", s.controlUser)
	post("channel", s.controlChannel)
	post("token", s.controlToken)
	post("socket", s.controlSocket)
	post("deliver", s.controlDeliver)
	post("settings", s.controlSettings)

	get("messages", func(q url.Values) (any, error) { return s.Messages(q.Get("channel"), q.Get("user")) })
	get("views", func(q url.Values) (any, error) { return s.Views(q.Get("user")) })
	get("settings", func(url.Values) (any, error) { return s.Settings(), nil })
	get("envelopes", func(url.Values) (any, error) { return s.Envelopes(), nil })
	get("sockets", func(url.Values) (any, error) { return s.Sockets(), nil })
	get("state", func(url.Values) (any, error) { return s.State(), nil })
	mux.HandleFunc("GET /stream", s.serveStream)
	return mux
}

func reply(w http.ResponseWriter, status int, v any) {
	conditions.WriteJSON(w, status, "application/json; charset=utf-8", v)
}

// replyError tells a wrong request from one that no client would have sent.
func replyError(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, ErrNotShown), errors.Is(err, ErrCannotAct), errors.Is(err, ErrNeedsForge), errors.Is(err, ErrNoSuchValue), errors.Is(err, ErrNotConnected):
		status = http.StatusConflict
	}
	reply(w, status, object{"error": err.Error()})
}

// decode reads a body strictly: a mistyped field is an error, not a surprise.
func decode(body []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return nil
}

// waiting is how long a call goes on watching for something that the person
// would see: an ephemeral message, a modal.
type waiting struct {
	WaitMS int `json:"wait_ms"`
}

// watch runs act and then waits, if asked to, until the person sees something
// new.
func (s *Server) watch(w waiting, user string, act func() (Result, error)) (Result, error) {
	before := s.lastEvent()
	out, err := act()
	if err != nil {
		return out, err
	}
	id, err := s.UserID(user)
	if err != nil {
		return out, err
	}
	deadline := time.NewTimer(time.Duration(w.WaitMS) * time.Millisecond)
	defer deadline.Stop()
	for {
		events, changed := s.EventsSince(before)
		seen := false
		for _, e := range events {
			switch data := e.Data.(type) {
			case Message:
				if data.EphemeralTo == id {
					out.Ephemeral, seen = append(out.Ephemeral, data), true
				}
			case View:
				seen = seen || data.User == id && e.Kind != "view_closed"
			}
			before = e.Sequence
		}
		if seen || w.WaitMS == 0 {
			return s.withView(out, id), nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			return s.withView(out, id), nil
		}
	}
}

func (s *Server) withView(out Result, user string) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.top(user); v != nil {
		out.View = v
	}
	return out
}

func (s *Server) lastEvent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest()
}

func (s *Server) controlCommand(body []byte) (any, error) {
	var r struct {
		CommandRequest
		waiting
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	return s.watch(r.waiting, r.User, func() (Result, error) { return s.SendCommand(r.CommandRequest) })
}

func (s *Server) controlClick(body []byte) (any, error) {
	var r struct {
		ClickRequest
		waiting
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	return s.watch(r.waiting, r.User, func() (Result, error) { return s.SendClick(r.ClickRequest) })
}

func (s *Server) controlSubmit(body []byte) (any, error) {
	var r struct {
		SubmitRequest
		waiting
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	return s.watch(r.waiting, r.User, func() (Result, error) { return s.SendSubmit(r.SubmitRequest) })
}

func (s *Server) controlClose(body []byte) (any, error) {
	var r struct {
		User   string `json:"user"`
		ViewID string `json:"view_id"`
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	return s.CloseView(r.User, r.ViewID)
}

func (s *Server) controlShortcut(body []byte) (any, error) {
	var r struct {
		ShortcutRequest
		waiting
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	return s.watch(r.waiting, r.User, func() (Result, error) { return s.Shortcut(r.ShortcutRequest) })
}

func (s *Server) controlHome(body []byte) (any, error) {
	var r struct {
		User string `json:"user"`
		waiting
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	out, err := s.watch(r.waiting, r.User, func() (Result, error) { return s.OpenHome(r.User) })
	if err != nil {
		return nil, err
	}
	screen, err := s.Views(r.User)
	out.View = screen.Home
	return out, err
}

func (s *Server) controlSay(body []byte) (any, error) {
	var r struct {
		User     string `json:"user"`
		Channel  string `json:"channel"`
		Text     string `json:"text"`
		ThreadTS string `json:"thread_ts"`
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	return s.Say(r.User, r.Channel, r.Text, r.ThreadTS)
}

func (s *Server) controlGroup(body []byte) (any, error) {
	var r struct {
		Group    string   `json:"group"`
		Add      []string `json:"add"`
		Remove   []string `json:"remove"`
		Disabled *bool    `json:"disabled"`
		Create   bool     `json:"create"`
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if r.Create {
		return s.AddGroup(Group{Handle: r.Group, Users: r.Add})
	}
	if err := s.ChangeGroup(r.Group, r.Add, r.Remove); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(r.Group)
	if err != nil {
		return nil, err
	}
	if r.Disabled != nil {
		g.Disabled = *r.Disabled
		s.note("group", g.clone())
	}
	return g.clone(), nil
}

// controlUser lays the given fields over an account; with create it is a new one.
func (s *Server) controlUser(body []byte) (any, error) {
	var r struct {
		Named  string `json:"user"`
		Create bool   `json:"create"`
		*User
	}
	r.User = &User{}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if r.Create {
		r.Name = r.Named
		return s.AddUser(*r.User), nil
	}
	var out User
	err := s.ChangeUser(r.Named, func(u *User) {
		r.User = u
		_ = decode(body, &r) // it was decoded before
		out = *u
	})
	return out, err
}

// controlChannel lays the given fields over a channel; with create it is a new
// one. "join" and "leave" move people in and out.
func (s *Server) controlChannel(body []byte) (any, error) {
	var r struct {
		Named  string   `json:"channel"`
		Create bool     `json:"create"`
		Join   []string `json:"join"`
		Leave  []string `json:"leave"`
		*Channel
	}
	r.Channel = &Channel{}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if r.Create {
		r.Name, r.Members = r.Named, append(r.Members, r.Join...)
		return s.AddChannel(*r.Channel)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch, err := s.channel(r.Named)
	if err != nil {
		return nil, err
	}
	join, err := s.userIDs(append(r.Join, r.Members...))
	if err != nil {
		return nil, err
	}
	leave, err := s.userIDs(r.Leave)
	if err != nil {
		return nil, err
	}
	members := ch.Members
	if r.Members != nil {
		members = nil
	}
	r.Channel = ch
	_ = decode(body, &r) // it was decoded before
	ch.Members = changed(members, join, leave)
	s.note("channel", ch.clone())
	return ch.clone(), nil
}

// changed is a list of ids with some added and some taken out.
func changed(ids, add, remove []string) []string {
	var out []string
	known := map[string]bool{}
	for _, id := range remove {
		known[id] = true
	}
	for _, id := range append(append([]string{}, ids...), add...) {
		if !known[id] {
			known[id] = true
			out = append(out, id)
		}
	}
	return out
}

func (s *Server) controlToken(body []byte) (any, error) {
	var r struct {
		Token  string   `json:"token"` // "bot" (the default) or "app"
		Revoke bool     `json:"revoke"`
		Error  *string  `json:"error"`
		Scopes []string `json:"scopes"`
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	kind := botToken
	switch r.Token {
	case "", string(botToken):
	case string(appToken):
		kind = appToken
	default:
		return nil, fmt.Errorf("token %q is neither bot nor app", r.Token)
	}
	var out TokenState
	s.changeToken(kind, func(t *token) {
		if r.Scopes != nil {
			t.Scopes = r.Scopes
		}
		if r.Error != nil {
			t.Error = *r.Error
		}
		if r.Revoke {
			t.Error = "token_revoked"
		}
		out = TokenState{Kind: string(t.Kind), Scopes: t.Scopes, Error: t.Error}
	})
	return out, nil
}

func (s *Server) controlSocket(body []byte) (any, error) {
	var r struct {
		Disconnect string `json:"disconnect"` // a reason, "half_open" or "cut"
		Socket     int    `json:"socket"`     // 0 is all of them
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	switch r.Disconnect {
	case Warning, RefreshRequested, LinkDisabled:
		s.Disconnect(r.Disconnect, r.Socket)
	case "half_open":
		s.HalfOpen(r.Socket)
	case "cut":
		s.CutSockets(r.Socket)
	default:
		return nil, fmt.Errorf("disconnect %q is none of warning, refresh_requested, link_disabled, half_open, cut", r.Disconnect)
	}
	return s.Sockets(), nil
}

func (s *Server) controlDeliver(body []byte) (any, error) {
	var r struct {
		Duplicate int    `json:"duplicate"` // so many of the next envelopes arrive twice
		LateMS    []int  `json:"late_ms"`   // the next envelopes are held back so long
		Again     string `json:"again"`     // this envelope is sent once more
	}
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if r.Duplicate > 0 {
		s.DeliverTwice(r.Duplicate)
	}
	for _, ms := range r.LateMS {
		s.DeliverLate(time.Duration(ms) * time.Millisecond)
	}
	if r.Again != "" {
		if err := s.Redeliver(r.Again); err != nil {
			return nil, err
		}
	}
	return object{"ok": true}, nil
}

func (s *Server) controlSettings(body []byte) (any, error) {
	next := s.Settings()
	if err := decode(body, &next); err != nil {
		return nil, err
	}
	s.Set(func(now *Settings) { *now = next })
	return next, nil
}

// serveStream tells of every change: as server-sent events, or by long poll.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	since, err := strconv.Atoi(r.URL.Query().Get("since"))
	if err != nil {
		since = s.lastEvent()
	}
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		if last, err := strconv.Atoi(r.Header.Get("Last-Event-ID")); err == nil {
			since = last
		}
		s.streamEvents(w, r, since)
		return
	}
	wait, err := strconv.Atoi(r.URL.Query().Get("timeout_s"))
	if err != nil {
		wait = 25
	}
	deadline := time.NewTimer(time.Duration(wait) * time.Second)
	defer deadline.Stop()
	for {
		events, changed := s.EventsSince(since)
		if len(events) > 0 {
			reply(w, http.StatusOK, object{"events": events, "last": events[len(events)-1].Sequence})
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			reply(w, http.StatusOK, object{"events": []Event{}, "last": since})
			return
		case <-r.Context().Done():
			return
		case <-s.closed:
			return
		}
	}
}

func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request, since int) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	for {
		events, changed := s.EventsSince(since)
		for _, e := range events {
			data, err := json.Marshal(e)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Sequence, e.Kind, data); err != nil {
				return
			}
			since = e.Sequence
		}
		_ = flush.Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.closed:
			return
		}
	}
}
