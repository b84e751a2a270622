package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"
	"go.uber.org/goleak"

	"github.com/twokey/twokey/sandbox/conditions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Slack with a few people, served over HTTP.
type world struct {
	*Server
	cond    *conditions.Conditions
	address string
	control string
	ops     string // the channel's id
}

func newWorld(t testing.TB) *world {
	t.Helper()
	cond := conditions.New(conditions.NewClock())
	s := New(cond)
	for _, name := range []string{"alice", "bob", "carol"} {
		s.AddUser(User{Name: name, Email: name + "@example.com"})
	}
	s.AddUser(User{Name: "gina", UltraRestricted: true})
	s.AddUser(User{Name: "dora", Deleted: true})
	s.AddUser(User{Name: "stan", TeamID: "T0ELSEWHERE"})
	if _, err := s.AddGroup(Group{Handle: "approvers", Users: []string{"bob", "carol"}}); err != nil {
		t.Fatal(err)
	}
	ops, err := s.AddChannel(Channel{Name: "platform-ops", Members: []string{"alice", "bob", "carol", "gina"}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/slack/", http.StripPrefix("/slack", s.Handler()))
	mux.Handle("/_sandbox/slack/", http.StripPrefix("/_sandbox/slack", s.Control()))
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		web.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return &world{Server: s, cond: cond, address: web.URL + "/slack/", control: web.URL + "/_sandbox/slack/", ops: ops.ID}
}

func (w *world) client(options ...api.Option) *api.Client {
	return api.New(w.BotToken(), append([]api.Option{api.OptionAPIURL(w.address + "api/"), api.OptionAppLevelToken(w.AppToken())}, options...)...)
}

// connect runs a socketmode client that hands every event to handle until the
// test ends.
func (w *world) connect(t testing.TB, handle func(*socketmode.Client, socketmode.Event), options ...socketmode.Option) *socketmode.Client {
	t.Helper()
	client := socketmode.New(w.client(), options...)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	hello := make(chan struct{}, 16)
	running.Go(func() { _ = client.RunContext(ctx) })
	running.Go(func() {
		for {
			select {
			case e := <-client.Events:
				if e.Type == socketmode.EventTypeHello {
					hello <- struct{}{}
				}
				handle(client, e)
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		w.CutSockets(0) // the client's reader only notices a closed socket
		running.Wait()
	})
	select {
	case <-hello:
	case <-time.After(10 * time.Second):
		t.Fatal("no hello")
	}
	return client
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// wants fails unless err is Slack's error of that name.
func wants(t *testing.T, err error, name string) {
	t.Helper()
	if err == nil || err.Error() != name {
		t.Errorf("got %v, want %s", err, name)
	}
}

func section(text string) api.Block {
	return api.NewSectionBlock(api.NewTextBlockObject(api.MarkdownType, text, false, false), nil, nil)
}

func buttons(id string, actions ...string) api.Block {
	var list []api.BlockElement
	for _, a := range actions {
		list = append(list, api.NewButtonBlockElement(a, "value of "+a, api.NewTextBlockObject(api.PlainTextType, a, false, false)))
	}
	return api.NewActionBlock(id, list...)
}

func TestACommandIsAcknowledgedAndAnsweredInTheChannel(t *testing.T) {
	w := newWorld(t)
	got := make(chan api.SlashCommand, 1)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if e.Type == socketmode.EventTypeSlashCommand {
			_ = c.Ack(*e.Request)
			got <- e.Data.(api.SlashCommand)
		}
	})
	result, err := w.Command("alice", "#platform-ops", "/rotate sharepoint prod")
	if err != nil || !result.Acked || result.AckedMS > 3000 || result.Error != "" {
		t.Fatalf("got %+v, %v", result, err)
	}
	alice, _ := w.UserID("alice")
	cmd := <-got
	want := api.SlashCommand{
		Token: cmd.Token, TeamID: "T0SANDBOX01", TeamDomain: "sandbox", ChannelID: w.ops, ChannelName: "platform-ops", UserID: alice, UserName: "alice",
		Command: "/rotate", Text: "sharepoint prod", APIAppID: w.AppID(), ResponseURL: cmd.ResponseURL, TriggerID: cmd.TriggerID,
	}
	if cmd != want || cmd.TriggerID == "" || !strings.HasPrefix(cmd.ResponseURL, w.address+"response/") {
		t.Errorf("got %+v, want %+v", cmd, want)
	}
}

func TestACommandThatNobodyAcknowledgesTimesOutAndComesAgainOnAnotherSocket(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.AckSeconds, s.RedeliverSeconds = 0.1, []float64{0.05, 0.05} })
	type delivery struct{ socket, attempt int }
	got := make(chan delivery, 8)
	for i := range 2 {
		w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
			if e.Type == socketmode.EventTypeSlashCommand {
				got <- delivery{i, e.Request.RetryAttempt}
				if e.Request.RetryAttempt == 1 {
					_ = c.Ack(*e.Request)
				}
			}
		})
	}
	result, err := w.Command("alice", w.ops, "/rotate")
	if err != nil || result.Error != "operation_timeout" || result.Acked {
		t.Fatalf("got %+v, %v", result, err)
	}
	first, second := <-got, <-got
	if first.attempt != 0 || second.attempt != 1 || first.socket == second.socket {
		t.Errorf("got %+v and %+v", first, second)
	}
	err = w.Wait(within(t, 5*time.Second), func() bool { return w.Envelopes()[0].Acked })
	if e := w.Envelopes()[0]; err != nil || len(e.Attempts) != 2 {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestWithoutASocketACommandFailsAtOnce(t *testing.T) {
	w := newWorld(t)
	result, err := w.Command("alice", w.ops, "/rotate")
	if err != nil || result.Error != "dispatch_failed" {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestOnlyWhoIsThereCanType(t *testing.T) {
	w := newWorld(t)
	for _, who := range []string{"dora", "stan"} {
		if _, err := w.Command(who, w.ops, "/rotate"); !errors.Is(err, ErrCannotAct) {
			t.Errorf("%s: got %v", who, err)
		}
	}
	if _, err := w.Command("nobody", w.ops, "/rotate"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if r, err := w.SendCommand(CommandRequest{User: "stan", Channel: w.ops, Command: "/rotate", Forge: true}); err != nil || r.EnvelopeID == "" {
		t.Errorf("forged: got %+v, %v", r, err)
	}
}

func TestAnAcknowledgementOfTwentyKilobytesIsDropped(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.AckSeconds, s.RedeliverSeconds = 0.2, nil })
	client := w.client()
	_, url, err := client.StartSocketModeContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ws := dial(t, url)
	defer func() { _ = ws.Close() }()
	go func() {
		for {
			var frame struct {
				ID string `json:"envelope_id"`
			}
			if ws.ReadJSON(&frame) != nil {
				return
			}
			if frame.ID != "" {
				_ = ws.WriteJSON(object{"envelope_id": frame.ID, "payload": object{"text": strings.Repeat("x", 20<<10)}})
			}
		}
	}()
	if err := w.Wait(within(t, 5*time.Second), func() bool { return len(w.Sockets()) == 1 }); err != nil {
		t.Fatal(err)
	}
	result, err := w.Command("alice", w.ops, "/rotate")
	if err != nil || result.Error != "operation_timeout" || w.Envelopes()[0].Dropped != 1 {
		t.Errorf("got %+v, %+v, %v", result, w.Envelopes()[0], err)
	}
}

func TestATicketOpensOneSocket(t *testing.T) {
	w := newWorld(t)
	_, url, err := w.client().StartSocketModeContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ws := dial(t, url)
	defer func() { _ = ws.Close() }()
	if _, resp, err := dialer().Dial(url, nil); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %v, %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
}

func TestTheEleventhSocketIsTooMany(t *testing.T) {
	w := newWorld(t)
	for i := range 11 {
		_, url, err := w.client().StartSocketModeContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ws := dial(t, url)
		defer func() { _ = ws.Close() }()
		var hello struct {
			Type, Reason   string
			NumConnections int `json:"num_connections"`
		}
		if err := ws.ReadJSON(&hello); err != nil {
			t.Fatal(err)
		}
		if i < 10 && (hello.Type != "hello" || hello.NumConnections != i+1) || i == 10 && hello.Reason != "too_many_websockets" {
			t.Errorf("socket %d: got %+v", i+1, hello)
		}
	}
}

func TestADisconnectBringsTheClientBack(t *testing.T) {
	for _, reason := range []string{Warning, RefreshRequested} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
				if e.Type == socketmode.EventTypeSlashCommand {
					_ = c.Ack(*e.Request)
				}
			})
			w.Disconnect(reason, 0)
			err := w.Wait(within(t, 10*time.Second), func() bool { s := w.Sockets(); return len(s) == 1 && s[0].ID == 2 })
			if err != nil {
				t.Fatal(err)
			}
			if result, err := w.Command("alice", w.ops, "/rotate"); err != nil || !result.Acked {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
}

func TestASwitchedOffSocketModeOpensNothing(t *testing.T) {
	w := newWorld(t)
	w.connect(t, func(*socketmode.Client, socketmode.Event) {})
	w.Disconnect(LinkDisabled, 0)
	if err := w.Wait(within(t, 5*time.Second), func() bool { return len(w.Sockets()) == 0 }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.client().StartSocketModeContext(t.Context()); err == nil {
		t.Error("a socket was promised")
	}
}

func TestAHalfOpenSocketSwallowsAndTheOtherGetsTheEnvelope(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.AckSeconds, s.RedeliverSeconds = 0.1, []float64{0.01} })
	acked := make(chan int, 4)
	for i := range 2 {
		w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
			if e.Type == socketmode.EventTypeSlashCommand {
				acked <- i
				_ = c.Ack(*e.Request)
			}
		})
	}
	w.HalfOpen(1)
	if result, _ := w.Command("alice", w.ops, "/rotate"); result.Error != "operation_timeout" {
		t.Errorf("got %+v", result)
	}
	if who := <-acked; who != 1 {
		t.Errorf("socket %d answered", who)
	}
}

func TestADuplicateArrivesTwiceWithOneEnvelopeID(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 4)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if e.Type == socketmode.EventTypeSlashCommand {
			got <- e.Request.EnvelopeID
			_ = c.Ack(*e.Request)
		}
	})
	w.DeliverTwice(1)
	if _, err := w.Command("alice", w.ops, "/rotate"); err != nil {
		t.Fatal(err)
	}
	a, b := <-got, <-got
	if a != b {
		t.Errorf("got %s and %s", a, b)
	}
	if err := w.Redeliver(a); err != nil || <-got != a {
		t.Errorf("an hour later: %v", err)
	}
}

func TestAClickCarriesTheMessageAndTheValue(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	got := make(chan api.InteractionCallback, 1)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if e.Type == socketmode.EventTypeInteractive {
			_ = c.Ack(*e.Request)
			got <- e.Data.(api.InteractionCallback)
		}
	})
	_, ts, err := client.PostMessage(w.ops, api.MsgOptionText("card", false), api.MsgOptionBlocks(section("card"), buttons("decide", "confirm", "deny")))
	if err != nil {
		t.Fatal(err)
	}
	result, err := w.Click("bob", "#platform-ops", ts, "confirm")
	if err != nil || !result.Acked {
		t.Fatalf("got %+v, %v", result, err)
	}
	bob, _ := w.UserID("bob")
	c := <-got
	action := c.ActionCallback.BlockActions[0]
	if c.User.ID != bob || c.User.TeamID != "T0SANDBOX01" || c.Channel.ID != w.ops || c.Container.MessageTs != ts || c.Message.Timestamp != ts || c.Message.Text != "card" {
		t.Errorf("got %+v", c)
	}
	if action.ActionID != "confirm" || action.BlockID != "decide" || action.Value != "value of confirm" || c.ResponseURL == "" || c.TriggerID == "" {
		t.Errorf("got %+v", action)
	}
}

func TestOnlyWhatIsShownCanBeClicked(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if e.Request != nil && e.Request.EnvelopeID != "" {
			_ = c.Ack(*e.Request)
		}
	})
	_, ts, err := client.PostMessage(w.ops, api.MsgOptionBlocks(buttons("decide", "confirm")))
	if err != nil {
		t.Fatal(err)
	}
	bob, _ := w.UserID("bob")
	hidden, err := client.PostEphemeral(w.ops, bob, api.MsgOptionBlocks(buttons("secret", "only-bob")))
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]ClickRequest{
		"an action that isn't there":  {User: "bob", Channel: w.ops, MessageTS: ts, ActionID: "launch"},
		"a message of another person": {User: "alice", Channel: w.ops, MessageTS: hidden, ActionID: "only-bob"},
		"a value of one's own":        {User: "bob", Channel: w.ops, MessageTS: ts, ActionID: "confirm", Value: "forged"},
		"from outside the channel":    {User: "stan", Channel: w.ops, MessageTS: ts, ActionID: "confirm"},
	}
	for name, click := range refused {
		if _, err := w.SendClick(click); err == nil {
			t.Errorf("%s: no error", name)
		}
		click.Forge = true
		if r, err := w.SendClick(click); err != nil || !r.Acked {
			t.Errorf("%s, forged: got %+v, %v", name, r, err)
		}
	}
	// An edit that takes the buttons away takes the click away.
	if _, _, _, err := client.UpdateMessage(w.ops, ts, api.MsgOptionText("decided", false)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Click("bob", w.ops, ts, "confirm"); !errors.Is(err, ErrNotShown) {
		t.Errorf("got %v", err)
	}
}

// modal is a view with a menu and an optional text.
func modal() api.ModalViewRequest {
	text := func(s string) *api.TextBlockObject { return api.NewTextBlockObject(api.PlainTextType, s, false, false) }
	menu := api.NewOptionsSelectBlockElement(api.OptTypeStatic, text("Server"), "server",
		api.NewOptionBlockObject("sharepoint", text("SharePoint"), nil), api.NewOptionBlockObject("jira", text("Jira"), nil))
	reason := api.NewInputBlock("why", text("Reason"), nil, api.NewPlainTextInputBlockElement(nil, "reason"))
	reason.Optional = true
	return api.ModalViewRequest{
		Type: api.VTModal, CallbackID: "rotate", PrivateMetadata: "kept", Title: text("Rotate"), Submit: text("Ask"), NotifyOnClose: true,
		Blocks: api.Blocks{BlockSet: []api.Block{api.NewInputBlock("what", text("Server"), nil, menu), reason}},
	}
}

func TestAModalIsOpenedFilledAndSubmitted(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	submitted := make(chan api.InteractionCallback, 4)
	failed := make(chan error, 4)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		switch data := e.Data.(type) {
		case api.SlashCommand:
			_ = c.Ack(*e.Request)
			_, err := client.OpenView(data.TriggerID, modal())
			failed <- err
			_, err = client.OpenView(data.TriggerID, modal())
			failed <- err
		case api.InteractionCallback:
			if data.Type == api.InteractionTypeViewSubmission && data.View.State.Values["why"]["reason"].Value == "" {
				_ = c.Ack(*e.Request, api.NewErrorsViewSubmissionResponse(map[string]string{"why": "Say why."}))
			} else {
				_ = c.Ack(*e.Request)
			}
			submitted <- data
		}
	})
	if _, err := w.Command("alice", w.ops, "/rotate"); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	wants(t, <-failed, "exchanged_trigger_id")

	empty, err := w.Submit("alice", "", nil)
	if err != nil || empty.Errors["what"] == "" || empty.EnvelopeID != "" {
		t.Errorf("an empty required menu was sent: %+v, %v", empty, err)
	}
	if _, err := w.Submit("alice", "", map[string]any{"server": "nothing"}); !errors.Is(err, ErrNoSuchValue) {
		t.Errorf("got %v", err)
	}
	complained, err := w.Submit("alice", "", map[string]any{"server": "jira"})
	if err != nil || complained.Errors["why"] != "Say why." || complained.View == nil {
		t.Errorf("got %+v, %v", complained, err)
	}
	sent := <-submitted
	if sent.View.State.Values["what"]["server"].SelectedOption.Value != "jira" || sent.View.PrivateMetadata != "kept" || sent.View.CallbackID != "rotate" {
		t.Errorf("got %+v", sent.View)
	}
	done, err := w.Submit("alice", "", map[string]any{"why": map[string]any{"reason": "it expires"}})
	if err != nil || !done.Acked || done.View != nil || len(done.Errors) > 0 {
		t.Errorf("got %+v, %v", done, err)
	}
	sent = <-submitted
	if v := sent.View.State.Values; v["what"]["server"].SelectedOption.Value != "jira" || v["why"]["reason"].Value != "it expires" {
		t.Errorf("got %+v", v)
	}
}

func TestAnAcknowledgementPushesUpdatesAndClearsModals(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	answers := make(chan any, 4)
	closed := make(chan bool, 4)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		switch data := e.Data.(type) {
		case api.SlashCommand:
			_ = c.Ack(*e.Request)
			_, _ = client.OpenView(data.TriggerID, modal())
		case api.InteractionCallback:
			if data.Type == api.InteractionTypeViewClosed {
				_ = c.Ack(*e.Request)
				closed <- data.IsCleared
				return
			}
			_ = c.Ack(*e.Request, <-answers)
		}
	})
	if _, err := w.Command("alice", w.ops, "/rotate"); err != nil {
		t.Fatal(err)
	}
	opened := func(n int, title string) {
		t.Helper()
		err := w.Wait(within(t, 5*time.Second), func() bool { s, _ := w.Views("alice"); return len(s.Modals) == n })
		screen, _ := w.Views("alice")
		if err != nil || n > 0 && screen.Modals[n-1].Title != title {
			t.Fatalf("want %d modals, %q on top; got %+v, %v", n, title, screen, err)
		}
	}
	opened(1, "Rotate")
	second := modal()
	second.Title.Text = "Second"
	values := map[string]any{"server": "jira"}
	submit := func(answer any) Result {
		t.Helper()
		answers <- answer
		r, err := w.Submit("alice", "", values)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	submit(api.NewPushViewSubmissionResponse(&second))
	opened(2, "Second")
	third := modal()
	third.Title.Text = "Third"
	submit(api.NewUpdateViewSubmissionResponse(&third))
	opened(2, "Third")
	if _, err := w.CloseView("alice", ""); err != nil || <-closed {
		t.Errorf("closing: %v", err)
	}
	opened(1, "Rotate")
	broken := modal()
	broken.Title.Text = strings.Repeat("x", 25)
	if r := submit(api.NewUpdateViewSubmissionResponse(&broken)); r.Error != "invalid_view" {
		t.Errorf("got %+v", r)
	}
	if r := submit(api.NewErrorsViewSubmissionResponse(map[string]string{"nowhere": "x"})); r.Error != "invalid_view" {
		t.Errorf("got %+v", r)
	}
	submit(api.NewClearViewSubmissionResponse())
	opened(0, "")
}

func TestAnExpiredTriggerOpensNoModal(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.TriggerSeconds = 0 })
	client := w.client()
	failed := make(chan error, 1)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if data, ok := e.Data.(api.SlashCommand); ok {
			_ = c.Ack(*e.Request)
			_, err := client.OpenView(data.TriggerID, modal())
			failed <- err
		}
	})
	if _, err := w.Command("alice", w.ops, "/rotate"); err != nil {
		t.Fatal(err)
	}
	wants(t, <-failed, "expired_trigger_id")
	_, err := client.OpenView("1.2.3", modal())
	wants(t, err, "invalid_trigger_id")
}

func TestTheHomeTabIsPublishedWhenItIsOpened(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		outer, ok := e.Data.(slackevents.EventsAPIEvent)
		if !ok {
			return
		}
		_ = c.Ack(*e.Request)
		if opened, ok := outer.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent); ok {
			_, _ = client.PublishView(opened.User, api.HomeTabViewRequest{Type: api.VTHomeTab, Blocks: api.Blocks{BlockSet: []api.Block{section("Secrets")}}}, "")
		}
	})
	if _, err := w.OpenHome("alice"); err != nil {
		t.Fatal(err)
	}
	err := w.Wait(within(t, 5*time.Second), func() bool { s, _ := w.Views("alice"); return s.Home != nil })
	if err != nil {
		t.Error(err)
	}
}

func TestAShortcutOnAMessageArrives(t *testing.T) {
	w := newWorld(t)
	got := make(chan api.InteractionCallback, 1)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if data, ok := e.Data.(api.InteractionCallback); ok {
			_ = c.Ack(*e.Request)
			got <- data
		}
	})
	said, err := w.Say("bob", w.ops, "look at this", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Shortcut(ShortcutRequest{User: "alice", CallbackID: "attach", Channel: w.ops, MessageTS: said.TS}); err != nil {
		t.Fatal(err)
	}
	if c := <-got; c.Type != api.InteractionTypeMessageAction || c.CallbackID != "attach" || c.Message.Text != "look at this" || c.Channel.ID != w.ops {
		t.Errorf("got %+v", c)
	}
}

func TestAResponseURLWorksFiveTimesForHalfAnHour(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 2)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if data, ok := e.Data.(api.SlashCommand); ok {
			_ = c.Ack(*e.Request)
			got <- data.ResponseURL
		}
	})
	if _, err := w.Command("alice", w.ops, "/rotate"); err != nil {
		t.Fatal(err)
	}
	url := <-got
	for i := range 6 {
		err := api.PostWebhook(url, &api.WebhookMessage{Text: fmt.Sprint("answer ", i)})
		if (err != nil) != (i == 5) {
			t.Errorf("use %d: %v", i+1, err)
		}
	}
	if only, err := w.Ephemerals(w.ops, "alice"); err != nil || len(only) != 5 {
		t.Errorf("got %d, %v", len(only), err)
	}
	if all, _ := w.Messages(w.ops, "bob"); len(all) != 0 {
		t.Errorf("bob sees %+v", all)
	}
	if _, err := w.Command("alice", w.ops, "/rotate"); err != nil {
		t.Fatal(err)
	}
	url = <-got
	w.cond.Clock.Advance(31 * time.Minute)
	if err := api.PostWebhook(url, &api.WebhookMessage{Text: "late"}); err == nil {
		t.Error("answered after half an hour")
	}
}

// play posts to the control API and decodes the answer.
func (w *world) play(t *testing.T, path string, body, into any) int {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(w.control+path, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return decodeInto(t, resp, into)
}

func (w *world) look(t *testing.T, path string, into any) int {
	t.Helper()
	resp, err := http.Get(w.control + path)
	if err != nil {
		t.Fatal(err)
	}
	return decodeInto(t, resp, into)
}

func decodeInto(t *testing.T, resp *http.Response, into any) int {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
	return resp.StatusCode
}

func TestPingsArriveAndStopWhenTheSocketIsHalfOpen(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.PingSeconds = 0.02 })
	_, url, err := w.client().StartSocketModeContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ws := dial(t, url)
	defer func() { _ = ws.Close() }()
	pings := make(chan string, 1000)
	ws.SetPingHandler(func(data string) error { pings <- data; return nil })
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				close(pings)
				return
			}
		}
	})
	for range 3 {
		if data := <-pings; !strings.HasPrefix(data, "Ping from applink-") {
			t.Errorf("got %q", data)
		}
	}
	w.HalfOpen(0)
	if _, err := w.Command("alice", w.ops, "/rotate"); err != nil { // takes 3 s, in which nothing may come
		t.Fatal(err)
	}
	if n := len(pings); n > 2 { // what was on its way when the socket went silent
		t.Errorf("%d pings came through", n)
	}
	w.CutSockets(0)
	reading.Wait()
}

func TestAnEnterprisesOtherWorkspaceIsNoStranger(t *testing.T) {
	w := newWorld(t)
	team := w.Team()
	team.Enterprise = "E0SANDBOX01"
	w.SetTeam(team)
	eve := w.AddUser(User{Name: "eve", TeamID: "T0SISTER001", Enterprise: team.Enterprise})
	got := make(chan api.InteractionCallback, 1)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if data, ok := e.Data.(api.InteractionCallback); ok {
			_ = c.Ack(*e.Request)
			got <- data
		}
	})
	if _, err := w.Shortcut(ShortcutRequest{User: "eve", CallbackID: "rotate"}); err != nil {
		t.Fatal(err)
	}
	if c := <-got; c.User.TeamID != "T0SISTER001" || c.Team.ID != team.ID || c.Enterprise.ID != team.Enterprise {
		t.Errorf("got %+v", c)
	}
	u, err := w.client().GetUserInfo(eve.ID)
	if err != nil || u.IsStranger || u.Enterprise.EnterpriseID != team.Enterprise {
		t.Errorf("got %+v, %v", u, err)
	}
}
