package slack

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

func TestAnotherProgramPlaysThePeople(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		switch data := e.Data.(type) {
		case api.SlashCommand:
			_ = c.Ack(*e.Request)
			if data.Text == "" {
				_, _ = client.OpenView(data.TriggerID, modal())
				return
			}
			_, _ = client.PostEphemeral(data.ChannelID, data.UserID, api.MsgOptionText("asked", false))
			_, _, _ = client.PostMessage(data.ChannelID, api.MsgOptionText("card", false), api.MsgOptionBlocks(buttons("decide", "confirm")))
		case api.InteractionCallback:
			_ = c.Ack(*e.Request)
			if data.Type == api.InteractionTypeBlockActions {
				_, _, _ = client.PostMessage(data.Channel.ID, api.MsgOptionText("confirmed", false), api.MsgOptionTS(data.Message.Timestamp))
			}
		}
	})
	var asked Result
	if code := w.play(t, "command", object{"user": "alice", "channel": "#platform-ops", "command": "/rotate", "text": "jira prod", "wait_ms": 5000}, &asked); code != http.StatusOK {
		t.Fatalf("got %d", code)
	}
	if !asked.Acked || len(asked.Ephemeral) != 1 || asked.Ephemeral[0].Text != "asked" {
		t.Errorf("got %+v", asked)
	}
	card := w.waitForMessage(t, "card")
	if len(card.Actions) != 1 || card.Actions[0].ActionID != "confirm" {
		t.Errorf("got %+v", card)
	}
	var clicked Result
	if code := w.play(t, "click", object{"user": "bob", "channel": w.ops, "message_ts": card.TS, "action_id": "confirm"}, &clicked); code != http.StatusOK || !clicked.Acked {
		t.Errorf("got %d, %+v", code, clicked)
	}
	err := w.Wait(within(t, 5*time.Second), func() bool {
		thread, _ := w.Thread(w.ops, card.TS)
		return len(thread) == 2 && thread[1].Text == "confirmed"
	})
	if err != nil {
		t.Error(err)
	}
	var opened, submitted Result
	w.play(t, "command", object{"user": "alice", "channel": w.ops, "command": "/rotate", "wait_ms": 5000}, &opened)
	if opened.View == nil || opened.View.CallbackID != "rotate" {
		t.Fatalf("got %+v", opened)
	}
	var screen Screen
	if w.look(t, "views?user=alice", &screen); len(screen.Modals) != 1 {
		t.Errorf("got %+v", screen)
	}
	w.play(t, "submit", object{"user": "alice", "view_id": opened.View.ID, "values": object{"server": "jira", "why": object{"reason": "it is time"}}}, &submitted)
	if !submitted.Acked || submitted.View != nil {
		t.Errorf("got %+v", submitted)
	}
}

// waitForMessage looks through the control API until a message is there.
func (w *world) waitForMessage(t *testing.T, text string) Message {
	t.Helper()
	var found Message
	err := w.Wait(within(t, 5*time.Second), func() bool {
		var all []Message
		w.look(t, "messages?channel=%23platform-ops&user=bob", &all)
		for _, m := range all {
			if m.Text == text {
				found = m
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWrongRequestsAreExplained(t *testing.T) {
	w := newWorld(t)
	_, ts, err := w.client().PostMessage(w.ops, api.MsgOptionBlocks(buttons("b", "go")))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path string
		body object
		want int
		says string
	}{
		"a mistyped field":         {"command", object{"user": "alice", "chanel": w.ops}, 400, "chanel"},
		"an unknown person":        {"command", object{"user": "zoe", "channel": w.ops, "command": "/x"}, 404, "zoe"},
		"an unknown channel":       {"command", object{"user": "alice", "channel": "#nowhere", "command": "/x"}, 404, "#nowhere"},
		"a button that isn't":      {"click", object{"user": "bob", "channel": w.ops, "message_ts": ts, "action_id": "no"}, 409, "does not show"},
		"a forged value":           {"click", object{"user": "bob", "channel": w.ops, "message_ts": ts, "action_id": "go", "value": "x"}, 409, "forge"},
		"a modal that isn't open":  {"submit", object{"user": "bob"}, 409, "does not show"},
		"a reason that isn't":      {"socket", object{"disconnect": "boredom"}, 400, "boredom"},
		"a token that isn't":       {"token", object{"token": "user"}, 400, "neither"},
		"an envelope that isn't":   {"deliver", object{"again": "x"}, 404, "x"},
		"a group that isn't":       {"group", object{"group": "ghosts"}, 404, "ghosts"},
		"a setting that isn't one": {"settings", object{"speed": 3}, 400, "speed"},
	} {
		var got struct{ Error string }
		if code := w.play(t, tc.path, tc.body, &got); code != tc.want || !strings.Contains(got.Error, tc.says) {
			t.Errorf("%s: got %d %q", name, code, got.Error)
		}
	}
}

func TestTheWorkspaceIsChangedFromOutside(t *testing.T) {
	w := newWorld(t)
	var g Group
	w.play(t, "group", object{"group": "approvers", "add": []string{"alice"}, "remove": []string{"bob"}}, &g)
	alice, _ := w.UserID("alice")
	if len(g.Users) != 2 || g.Users[1] != alice {
		t.Errorf("got %+v", g)
	}
	var u User
	w.play(t, "user", object{"user": "carol", "deleted": true}, &u)
	if !u.Deleted || u.Email != "carol@example.com" {
		t.Errorf("got %+v", u)
	}
	w.play(t, "user", object{"user": "zed", "create": true, "restricted": true}, &u)
	if u.Name != "zed" || !u.Restricted || u.ID == "" {
		t.Errorf("got %+v", u)
	}
	var ch Channel
	w.play(t, "channel", object{"channel": "#platform-ops", "ext_shared": true, "join": []string{"stan"}, "leave": []string{"gina"}}, &ch)
	stan, _ := w.UserID("stan")
	gina, _ := w.UserID("gina")
	if !ch.ExtShared || !ch.has(stan) || ch.has(gina) || !ch.has(alice) {
		t.Errorf("got %+v", ch)
	}
	w.play(t, "channel", object{"channel": "inc-1", "create": true, "join": []string{"alice"}}, &ch)
	if ch.Name != "inc-1" || !ch.has(alice) || !ch.has(w.BotUserID()) {
		t.Errorf("got %+v", ch)
	}
	var tok TokenState
	w.play(t, "token", object{"revoke": true, "scopes": []string{"commands"}}, &tok)
	if _, err := w.client().AuthTest(); err == nil || tok.Error != "token_revoked" || len(tok.Scopes) != 1 {
		t.Errorf("got %+v, %v", tok, err)
	}
	var set Settings
	w.play(t, "settings", object{"limits": false, "redeliver_seconds": []float64{0.5}}, &set)
	if now := w.Settings(); now.Limits || len(now.RedeliverSeconds) != 1 || now.PingSeconds != 10 {
		t.Errorf("got %+v", now)
	}
	var state State
	if w.look(t, "state", &state); len(state.Users) != 8 || len(state.Channels) != 2 {
		t.Errorf("got %d users, %d channels", len(state.Users), len(state.Channels))
	}
}

func TestEnvelopesComeTwiceAndLateOnDemand(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.AckSeconds = 0.1 })
	got := make(chan string, 8)
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if e.Type == socketmode.EventTypeSlashCommand {
			got <- e.Request.EnvelopeID
			_ = c.Ack(*e.Request)
		}
	})
	command := object{"user": "alice", "channel": w.ops, "command": "/rotate"}
	var first, late Result
	w.play(t, "deliver", object{"duplicate": 1}, nil)
	w.play(t, "command", command, &first)
	if a, b := <-got, <-got; a != first.EnvelopeID || b != first.EnvelopeID {
		t.Errorf("got %s and %s of %s", a, b, first.EnvelopeID)
	}
	w.play(t, "deliver", object{"late_ms": []int{300}}, nil)
	w.play(t, "command", command, &late)
	if late.Error != "operation_timeout" || <-got != late.EnvelopeID {
		t.Errorf("got %+v", late)
	}
	w.play(t, "deliver", object{"again": first.EnvelopeID}, nil)
	if again := <-got; again != first.EnvelopeID {
		t.Errorf("got %s", again)
	}
}

func TestTheStreamTellsOfEveryChange(t *testing.T) {
	w := newWorld(t)
	since := w.lastEvent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.control+"stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := w.Say("alice", w.ops, "hello", ""); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
	}
	if !strings.Contains(lines.Text(), `"text":"hello"`) {
		t.Errorf("got %q", lines.Text())
	}
	var polled struct {
		Events []Event
		Last   int
	}
	w.look(t, "stream?since="+strconv.Itoa(since), &polled)
	if len(polled.Events) != 1 || polled.Events[0].Kind != "message" || polled.Last != since+1 {
		t.Errorf("got %+v", polled)
	}
	if w.look(t, "stream?timeout_s=0&since="+strconv.Itoa(polled.Last), &polled); len(polled.Events) != 0 {
		t.Errorf("got %+v", polled)
	}
}
