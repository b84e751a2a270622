package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/slack"
)

// App is what the page knows of the installed app beside its messages: its
// manifest's features, as Slack's clients do.
type App struct {
	Commands  []Command  `json:"commands"`
	Shortcuts []Shortcut `json:"shortcuts"`
	HomeTab   bool       `json:"home_tab"`
	// Scopes are those of the bot token; none stands for all that the stand-in knows.
	Scopes []string `json:"scopes,omitempty"`
	// Clock says that the bot goes by the sandbox's clock, and not by its machine's.
	Clock bool `json:"clock"`
}

// Command is a slash command.
type Command struct {
	Command     string `json:"command"` // "/rotate"
	Description string `json:"description"`
	Usage       string `json:"usage"`
}

// Shortcut is a shortcut in a message's menu, or a global one.
type Shortcut struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Callback    string `json:"callback_id"`
	Message     bool   `json:"message"` // of a message's menu
}

// Chat is the workspace as the page shows it: what its people see, and nothing of
// what goes to the app.
type Chat struct {
	Sequence int                        `json:"sequence"`
	Started  time.Time                  `json:"started"` // of this sandbox, which tells it from another
	Team     slack.Team                 `json:"team"`
	App      App                        `json:"app"`
	Bot      string                     `json:"bot"` // its user id
	Sockets  int                        `json:"sockets"`
	People   []Person                   `json:"people"` // those who were seeded
	Users    []slack.User               `json:"users"`
	Groups   []slack.Group              `json:"groups"`
	Channels []slack.Channel            `json:"channels"`
	Messages map[string][]slack.Message `json:"messages"` // by channel id
	Screens  map[string]slack.Screen    `json:"screens"`  // by user id
}

// overviewEvery is how often a watcher is told how the infrastructure changed.
const overviewEvery = 400 * time.Millisecond

// servePage tells a page everything, and then every change, as server-sent events:
// "chat" once, "change" for Slack's events, "screen" for what somebody has open,
// "overview" for the infrastructure, "clock" for the sandbox's time.
func (s *Sandbox) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	p := pageStream{sandbox: s, out: w}
	chat := s.chat()
	p.send("chat", chat)
	jumped := s.Clock.Jumped() // before the time is told, so that no jump is missed
	p.sendClock()
	tick := time.NewTicker(overviewEvery)
	defer tick.Stop()
	since := chat.Sequence
	for {
		events, changed := s.Slack.EventsSince(since)
		for _, e := range events {
			p.sendChange(e)
			since = e.Sequence
		}
		p.sendOverview()
		if p.flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-jumped:
			jumped = s.Clock.Jumped()
			p.sendClock()
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Sandbox) chat() Chat {
	state, ok := s.Slack.State().(slack.State)
	if !ok {
		panic("sandbox: the state of Slack is no slack.State") // its documentation says so
	}
	out := Chat{
		Sequence: state.Sequence, Started: s.started, Team: state.Team, App: s.app, Bot: s.Slack.BotUserID(), Sockets: len(state.Sockets),
		People: s.Team.People, Users: state.Users, Groups: state.Groups, Channels: state.Channels, Messages: state.Messages,
		Screens: map[string]slack.Screen{},
	}
	for _, u := range state.Users {
		if screen, err := s.Slack.Views(u.ID); err == nil && (len(screen.Modals) > 0 || screen.Home != nil) {
			out.Screens[u.ID] = screen
		}
	}
	return out
}

// pageStream is one page that watches.
type pageStream struct {
	sandbox  *Sandbox
	out      http.ResponseWriter
	overview []byte    // as it was last sent
	looked   time.Time // when it was last looked at
	err      error     // of the first write that failed
}

func (p *pageStream) send(event string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("sandbox: " + event + " cannot be encoded: " + err.Error()) // it is made of plain structs
	}
	p.write(event, data)
}

func (p *pageStream) write(event string, data []byte) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, "event: %s\ndata: %s\n\n", event, data)
	}
}

func (p *pageStream) flush() error {
	if p.err == nil {
		p.err = http.NewResponseController(p.out).Flush()
	}
	return p.err
}

// sendClock sends the time; the page counts on from there.
func (p *pageStream) sendClock() { p.send("clock", p.sandbox.clock()) }

// sendOverview sends the infrastructure if it has changed. A burst of messages is
// no reason to look at it more often.
func (p *pageStream) sendOverview() {
	if time.Since(p.looked) < overviewEvery/2 {
		return
	}
	p.looked = time.Now()
	data, err := json.Marshal(p.sandbox.Overview())
	if err != nil {
		panic("sandbox: the overview cannot be encoded: " + err.Error()) // it is made of plain structs
	}
	if !bytes.Equal(data, p.overview) {
		p.overview = data
		p.write("overview", data)
	}
}

// sendChange sends what a person could see of one event.
func (p *pageStream) sendChange(e slack.Event) {
	switch data := e.Data.(type) {
	case slack.View:
		if screen, err := p.sandbox.Slack.Views(data.User); err == nil {
			p.send("screen", map[string]any{"user": data.User, "screen": screen})
		}
	case []slack.Socket:
		p.send("change", slack.Event{Sequence: e.Sequence, At: e.At, Kind: "sockets", Data: len(data)})
	default:
		if visible(e.Kind) {
			p.send("change", e)
		}
	}
}

// visible reports whether an event changes what somebody sees.
func visible(kind string) bool {
	return strings.HasPrefix(kind, "message") || slices.Contains([]string{"reaction", "channel", "group", "user"}, kind)
}
