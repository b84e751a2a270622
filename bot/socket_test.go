package bot_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

func TestACommandIsDurableBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	written := make(chan struct{})
	w.inbox.set(func(context.Context) error { <-written; return nil })
	w.run(w.bot())

	var wg sync.WaitGroup
	var got slack.Result
	wg.Go(func() { got = w.command("/rotate sharepoint prod") })
	w.until("commit", func() bool { return w.inbox.tried() == 1 })
	if w.slack.Envelopes()[0].Acked {
		t.Error("acknowledged before it was durable")
	}
	close(written)
	wg.Wait()
	if !got.Acked || got.Error != "" {
		t.Fatalf("alice saw %+v", got)
	}
	if answer := w.slack.Envelopes()[0].Answer; len(answer) > 0 {
		t.Errorf("the acknowledgement carries %s", answer)
	}
	in := w.inbox.all()
	if len(in) != 1 || in[0].Kind != bot.IntentCommand || in[0].User != "U0ALICE" || in[0].Command != "/rotate" || in[0].Text != "sharepoint prod" ||
		in[0].Channel != operation.ChannelID(w.ops) || in[0].App != w.slack.AppID() || in[0].Team != operation.TeamID(w.slack.Team().ID) || in[0].Trigger == "" || in[0].At.IsZero() {
		t.Errorf("received %+v", in)
	}
}

func TestWhenOneConnectionDiesTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	w.run(b)
	first := w.slack.Sockets()[0].ID
	w.cond.Add(conditions.Fault{Operation: "slack.apps.connections.open", Kind: conditions.CutBefore})
	w.slack.CutSockets(first)
	w.until("one connection", func() bool { s := w.slack.Sockets(); return len(s) == 1 && s[0].ID != first })
	for range 5 {
		if r := w.command("/rotate"); !r.Acked {
			t.Fatalf("lost while one connection was down: %+v", r)
		}
	}
	if !b.Ready() {
		t.Error("not ready with one connection")
	}
	w.cond.Clear()
	w.until("second connection again", func() bool { return len(w.slack.Sockets()) == 2 })
	if n := len(w.inbox.all()); n != 5 {
		t.Errorf("received %d intents, want 5", n)
	}
}

func TestSlacksRegularDisconnectLosesNothing(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{slack.Warning, slack.RefreshRequested} {
		w := newWorld(t)
		w.run(w.bot())
		old := w.slack.Sockets()
		w.slack.Disconnect(reason, old[0].ID)
		if r := w.command("/rotate"); !r.Acked {
			t.Errorf("%s: %+v", reason, r)
		}
		w.until("fresh connection", func() bool {
			s := w.slack.Sockets()
			return len(s) == 2 && s[0].ID != old[0].ID && s[1].ID != old[0].ID
		})
	}
}

func TestAConnectionWithoutPingsIsOpenedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slack.Set(func(s *slack.Settings) { s.PingSeconds = 0.1 })
	b := w.bot(func(c *bot.Config) { c.PingInterval = 400 * time.Millisecond })
	w.run(b)
	w.cond.Add(conditions.Fault{Operation: "slack.apps.connections.open", Kind: conditions.CutBefore})
	w.slack.HalfOpen(0)
	w.until("not ready", func() bool { return !b.Ready() })
	w.cond.Clear()
	w.until("ready again", b.Ready)
	if r := w.command("/rotate"); !r.Acked {
		t.Errorf("alice saw %+v", r)
	}
}

func TestTheSameEnvelopeTwiceIsOneIntentAndTwoAcknowledgements(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.bot())
	w.slack.DeliverTwice(1)
	w.command("/rotate")
	w.until("two acknowledgements", func() bool { return w.slack.Envelopes()[0].Acks == 2 })
	w.must(nil, w.slack.Redeliver(w.slack.Envelopes()[0].ID)) // an hour later, say
	w.until("a third", func() bool { return w.slack.Envelopes()[0].Acks == 3 })
	if n := len(w.inbox.all()); n != 1 {
		t.Errorf("received %d intents, want 1", n)
	}
}

func TestWhatTheInboxCannotKeepComesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slack.Set(func(s *slack.Settings) { s.AckSeconds, s.RedeliverSeconds = 0.3, []float64{0.05, 0.05} })
	w.inbox.set(func(context.Context) error { return errors.New("disk full") })
	w.run(w.bot())
	if r := w.command("/rotate"); r.Acked {
		t.Error("acknowledged what was not kept")
	}
	w.inbox.set(nil)
	w.until("acknowledgement", func() bool { return w.slack.Envelopes()[0].Acked })
	if n := len(w.inbox.all()); n != 1 {
		t.Errorf("received %d intents, want 1", n)
	}
	if !strings.Contains(w.logged.String(), "disk full") {
		t.Error("the log does not say why")
	}
}

func TestABurstIsCommittedInGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inbox.set(func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil }) // a slow disk
	w.run(w.bot())
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if r := w.command("/rotate"); !r.Acked {
				t.Errorf("alice saw %+v", r)
			}
		})
	}
	wg.Wait()
	if n := len(w.inbox.all()); n != 100 {
		t.Errorf("received %d intents, want 100", n)
	}
	if n := w.inbox.tried(); n > 50 {
		t.Errorf("%d commits for 100 commands", n)
	}
}

func TestRefusalsForGoodEndTheBotAndSayWhatToDo(t *testing.T) {
	t.Parallel()
	scopes := func(w *world, missing string) {
		var have []string
		for _, s := range bot.Scopes() {
			if s != missing {
				have = append(have, s)
			}
		}
		w.slack.SetScopes(have...)
	}
	for name, tt := range map[string]struct {
		prepare func(w *world)
		config  func(c *bot.Config)
		code    string
		says    []string
	}{
		"a revoked app token":     {prepare: func(w *world) { w.slack.RefuseToken("app", "token_revoked") }, code: "token_revoked", says: []string{"app-level token", "make a new one"}},
		"an expired app token":    {prepare: func(w *world) { w.slack.RefuseToken("app", "token_expired") }, code: "token_expired", says: []string{"app-level token"}},
		"a revoked bot token":     {prepare: func(w *world) { w.slack.RefuseToken("bot", "token_revoked") }, code: "token_revoked", says: []string{"bot token"}},
		"an inactive bot":         {prepare: func(w *world) { w.slack.RefuseToken("bot", "account_inactive") }, code: "account_inactive", says: []string{"bot token"}},
		"a wrong app token":       {config: func(c *bot.Config) { c.AppToken = operation.NewSecret("xapp-wrong") }, code: "invalid_auth", says: []string{"app-level token"}},
		"swapped tokens":          {config: func(c *bot.Config) { c.AppToken = c.BotToken }, code: "not_allowed_token_type", says: []string{"xapp-"}},
		"a missing scope":         {prepare: func(w *world) { scopes(w, "usergroups:read") }, code: "missing_scope", says: []string{"oauth_config.scopes.bot", "- usergroups:read"}},
		"no scope for the socket": {prepare: func(w *world) { w.slack.RefuseToken("app", "missing_scope") }, code: "missing_scope", says: []string{"connections:write"}},
		"a wrong address":         {config: func(c *bot.Config) { c.APIURL = strings.TrimSuffix(c.APIURL, "/api") + "/nowhere" }, code: "404", says: []string{"slack.api_url"}},
		"Socket Mode off":         {prepare: func(w *world) { w.slack.Set(func(s *slack.Settings) { s.SocketMode = false }) }, code: "internal_error", says: []string{"socket_mode_enabled"}},
		"Socket Mode off, in words": {prepare: func(w *world) {
			w.cond.Add(conditions.Fault{Operation: "slack.apps.connections.open", Kind: conditions.Refuse, Status: 200, Code: "link_disabled"})
		}, code: "link_disabled", says: []string{"Settings > Socket Mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.prepare != nil {
				tt.prepare(w)
			}
			b := w.bot(func(c *bot.Config) {
				if tt.config != nil {
					tt.config(c)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			err := b.Run(ctx)
			f, ok := errors.AsType[*bot.Fatal](err)
			if !ok || f.Code != tt.code {
				t.Fatalf("ended with %v, want %s", err, tt.code)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			for _, token := range []string{w.slack.AppToken(), w.slack.BotToken()} {
				if strings.Contains(err.Error()+w.logged.String(), token) {
					t.Error("a token got out")
				}
			}
		})
	}
}

func TestAScopeThatIsThereIsNotMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slack.SetScopes(bot.Scopes()...)
	w.run(w.bot())
	if r := w.command("/rotate"); !r.Acked {
		t.Errorf("alice saw %+v", r)
	}
}

func TestSlackThatIsDownIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "*", Kind: conditions.ServerErr, Status: 503})
	b := w.bot()
	w.start(b.Run)
	w.until("complaint", func() bool { return strings.Contains(w.logged.String(), "trying again") })
	if b.Ready() {
		t.Error("ready without a connection")
	}
	w.cond.Clear()
	w.until("connection", b.Ready)
}

func TestTheSecondConnectionIsOpenedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot(func(c *bot.Config) { c.Apart = 300 * time.Millisecond })
	w.start(b.Run)
	w.until("first connection", b.Ready)
	w.until("second connection", func() bool { return len(w.slack.Sockets()) == 2 })
	s := w.slack.Sockets()
	if apart := s[1].Opened.Sub(s[0].Opened); apart < 300*time.Millisecond {
		t.Errorf("opened %s apart", apart)
	}
}
