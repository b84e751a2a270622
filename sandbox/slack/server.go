// Package slack is a stand-in for Slack: the Web API, Socket Mode and a
// workspace full of people, with Slack's own error names, limits and Block Kit
// rules. Slack's clients work against it unchanged, and the people are played
// through its control API or the Go methods of [Server].
package slack

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// object is JSON as it came or as it goes, where Slack's own shape is kept.
type object = map[string]any

// Server is one Slack with one workspace and one installed app.
type Server struct {
	cond *conditions.Conditions
	mux  *http.ServeMux

	mu       sync.Mutex
	settings Settings
	sequence int // gives every made-up id its number

	team     Team
	app      app
	tokens   map[string]*token
	users    []*User
	channels []*Channel
	groups   []*Group

	messages  map[string][]*Message // by channel, oldest first; ephemeral ones included
	scheduled []*Scheduled
	bookmarks map[string][]object // by channel
	pins      map[string][]pin    // by channel
	files     map[string]*file
	views     map[string]*view
	stacks    map[string][]string // open modals by user, the visible one last
	homes     map[string]string   // published Home tab by user
	triggers  map[string]*trigger
	responses map[string]*responseURL
	buckets   map[string]*bucket

	base      string // address that clients use for this server, learned from them
	tickets   map[string]*ticket
	conns     []*connection
	nextConn  int
	envelopes []*envelope
	duplicate int // how many of the next envelopes are sent twice
	late      []time.Duration

	events  []Event
	changed chan struct{}
	closed  chan struct{}
	closing sync.Once
	work    sync.WaitGroup // deliveries and sockets
}

// Team is a workspace.
type Team struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Domain     string `json:"domain"`
	Enterprise string `json:"enterprise_id,omitempty"` // of an Enterprise Grid workspace
}

// app is the installed Slack app whose bot is being tested.
type app struct {
	ID, Name, BotUser, BotID string
}

// Settings is what can be changed about this Slack while it runs.
type Settings struct {
	// Limits switches Slack's rate limits on; LimitScale multiplies them.
	Limits     bool    `json:"limits"`
	LimitScale float64 `json:"limit_scale"`
	// PingSeconds is how often each socket is pinged.
	PingSeconds float64 `json:"ping_seconds"`
	// ConnectionSeconds is how long a socket lives before Slack refreshes it.
	ConnectionSeconds float64 `json:"connection_seconds"`
	// AckSeconds is how long an envelope waits for its acknowledgement.
	AckSeconds float64 `json:"ack_seconds"`
	// RedeliverSeconds are the pauses before an unacknowledged envelope is sent
	// again; its length is the number of retries.
	RedeliverSeconds []float64 `json:"redeliver_seconds"`
	// TriggerSeconds is how long a trigger_id can be exchanged.
	TriggerSeconds float64 `json:"trigger_seconds"`
	// PlanBlocks accepts the plan and task_card blocks.
	PlanBlocks bool `json:"plan_blocks"`
	// SocketMode is the app's switch; off refuses new connections.
	SocketMode bool `json:"socket_mode"`
	// HomeTab is the app's switch; off refuses views.publish.
	HomeTab bool `json:"home_tab"`
	// Events are the event types the app is subscribed to.
	Events []string `json:"events"`
	// Commands are the slash commands that the app has; empty allows any.
	Commands []string `json:"commands"`
}

// DefaultSettings returns Slack's own behaviour. Pings come every 10 s: the
// clients give up after 30 s without one, so Slack's come well inside that.
func DefaultSettings() Settings {
	return Settings{
		Limits: true, LimitScale: 1, PingSeconds: 10, ConnectionSeconds: 18060, AckSeconds: 3,
		RedeliverSeconds: []float64{1, 60, 300}, TriggerSeconds: 3, PlanBlocks: true, SocketMode: true, HomeTab: true,
		Events: []string{"app_home_opened", "message.im", "app_mention"},
	}
}

// New returns a Slack with an empty workspace: the bot is the only member.
// Close it to end its sockets.
func New(cond *conditions.Conditions) *Server {
	s := &Server{
		cond: cond, settings: DefaultSettings(),
		team:     Team{ID: "T0SANDBOX01", Name: "Sandbox", Domain: "sandbox"},
		app:      app{ID: "A0TWOKEY001", Name: "twokey", BotUser: "U0TWOKEYBOT", BotID: "B0TWOKEYBOT"},
		tokens:   map[string]*token{},
		messages: map[string][]*Message{}, bookmarks: map[string][]object{}, pins: map[string][]pin{},
		files: map[string]*file{}, views: map[string]*view{}, stacks: map[string][]string{}, homes: map[string]string{},
		triggers: map[string]*trigger{}, responses: map[string]*responseURL{}, buckets: map[string]*bucket{},
		tickets: map[string]*ticket{}, changed: make(chan struct{}), closed: make(chan struct{}),
	}
	s.tokens["xoxb-"+randomHex(20)] = &token{Kind: botToken, Scopes: slices.Clone(defaultScopes())}
	s.tokens["xapp-1-"+s.app.ID+"-"+randomHex(20)] = &token{Kind: appToken, Scopes: []string{"connections:write"}}
	s.users = []*User{{ID: s.app.BotUser, TeamID: s.team.ID, Name: s.app.Name, RealName: s.app.Name, Bot: true}}
	s.mux = s.routes()
	return s
}

// Close ends all sockets and waits for what was under way.
func (s *Server) Close() {
	s.closing.Do(func() {
		close(s.closed)
		s.mu.Lock()
		conns := slices.Clone(s.conns)
		s.mu.Unlock()
		for _, c := range conns {
			c.end()
		}
	})
	s.work.Wait()
}

// Handler serves what Slack serves, below its own prefix: /api/, /socket/,
// response and upload addresses.
func (s *Server) Handler() http.Handler { return s.cond.Handler(vendor{}, s.mux) }

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/{method}", s.serveMethod)
	mux.HandleFunc("GET /socket/", s.serveSocket)
	mux.HandleFunc("POST /response/{id}", s.serveResponse)
	mux.HandleFunc("POST /upload/{id}", s.serveUpload)
	mux.HandleFunc("PUT /upload/{id}", s.serveUpload)
	mux.HandleFunc("GET /files/{id}", s.serveFile)
	return mux
}

// Settings returns the settings in force.
func (s *Server) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

// Set changes the settings.
func (s *Server) Set(change func(*Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.settings)
	s.note("settings", s.settings)
}

// Team returns the workspace.
func (s *Server) Team() Team {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.team
}

// SetTeam renames the workspace, or makes it one of an enterprise. People who
// were added before keep the team that they have.
func (s *Server) SetTeam(t Team) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.team = t
}

// BotUserID returns the user id of the app's bot.
func (s *Server) BotUserID() string { return s.app.BotUser }

// AppID returns the app's id.
func (s *Server) AppID() string { return s.app.ID }

// Event is one change, for those who watch.
type Event struct {
	Sequence int       `json:"seq"`
	At       time.Time `json:"at"` // the sandbox's time
	Kind     string    `json:"kind"`
	Data     any       `json:"data,omitempty"`
}

// maxEvents bounds what a late watcher can still see.
const maxEvents = 5000

// note records a change and wakes those who wait for one.
func (s *Server) note(kind string, data any) {
	last := s.newest()
	if len(s.events) >= maxEvents {
		s.events = slices.Delete(s.events, 0, maxEvents/10)
	}
	s.events = append(s.events, Event{Sequence: last + 1, At: s.cond.Clock.Now(), Kind: kind, Data: data})
	close(s.changed)
	s.changed = make(chan struct{})
}

// newest is the sequence number of the last change; 0 before the first.
func (s *Server) newest() int {
	if n := len(s.events); n > 0 {
		return s.events[n-1].Sequence
	}
	return 0
}

// EventsSince returns the changes after sequence, oldest first, and a channel
// that is closed at the next one.
func (s *Server) EventsSince(sequence int) ([]Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.events, sequence+1, func(e Event, n int) int { return cmp.Compare(e.Sequence, n) })
	return slices.Clone(s.events[i:]), s.changed
}

// Wait looks at cond after every change until it holds, or ctx ends.
func (s *Server) Wait(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for Slack to change: %w", ctx.Err())
		}
	}
}

// State is everything in this Slack.
type State struct {
	Sequence  int                   `json:"sequence"` // of the last change in it
	Team      Team                  `json:"team"`
	Settings  Settings              `json:"settings"`
	Tokens    map[string]TokenState `json:"tokens"`
	Users     []User                `json:"users"`
	Groups    []Group               `json:"groups"`
	Channels  []Channel             `json:"channels"`
	Messages  map[string][]Message  `json:"messages"` // by channel id, replies and ephemeral ones included
	Scheduled []Scheduled           `json:"scheduled"`
	Views     []View                `json:"views"`
	Pins      map[string][]string   `json:"pins"` // timestamps by channel id
	Bookmarks map[string][]object   `json:"bookmarks"`
	Files     []File                `json:"files"`
	Sockets   []Socket              `json:"sockets"`
	Envelopes []Envelope            `json:"envelopes"`
}

// State returns a copy of everything, secrets included.
func (s *Server) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{
		Sequence: s.newest(), Team: s.team, Settings: s.settings, Tokens: map[string]TokenState{}, Messages: map[string][]Message{},
		Pins: map[string][]string{}, Bookmarks: map[string][]object{},
		Users: []User{}, Groups: []Group{}, Channels: []Channel{}, Views: []View{}, Files: []File{}, Sockets: []Socket{}, Envelopes: []Envelope{}, Scheduled: []Scheduled{},
	}
	for _, m := range s.scheduled {
		st.Scheduled = append(st.Scheduled, *m)
	}
	for text, t := range s.tokens {
		st.Tokens[text] = TokenState{Kind: string(t.Kind), Scopes: slices.Clone(t.Scopes), Error: t.Error}
	}
	for _, u := range s.users {
		st.Users = append(st.Users, *u)
	}
	for _, g := range s.groups {
		st.Groups = append(st.Groups, g.clone())
	}
	for _, c := range s.channels {
		st.Channels = append(st.Channels, c.clone())
	}
	for channel, list := range s.messages {
		for _, m := range list {
			st.Messages[channel] = append(st.Messages[channel], m.clone())
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.views)) {
		st.Views = append(st.Views, s.views[id].public())
	}
	for channel, pins := range s.pins {
		for _, p := range pins {
			st.Pins[channel] = append(st.Pins[channel], p.TS)
		}
	}
	for channel, list := range s.bookmarks {
		for _, b := range list {
			st.Bookmarks[channel] = append(st.Bookmarks[channel], maps.Clone(b))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.files)) {
		st.Files = append(st.Files, s.files[id].File)
	}
	st.Sockets = s.sockets()
	for _, e := range s.envelopes {
		st.Envelopes = append(st.Envelopes, e.public())
	}
	return st
}

// id makes up an id of Slack's look: a letter and ten characters.
func (s *Server) id(prefix string) string {
	s.sequence++
	return fmt.Sprintf("%s0SBX%06d", prefix, s.sequence)
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // crypto/rand.Read never fails
	return hex.EncodeToString(b)
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// baseOf returns the address that the client used for this server, so that the
// addresses handed out work for it wherever the handler is mounted.
func baseOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return scheme + "://" + r.Host + strings.TrimSuffix(path, r.URL.Path)
}
