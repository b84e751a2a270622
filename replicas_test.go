package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
	"github.com/twokey/twokey/store"
)

// recordKey makes a key for a record.
func recordKey(t *testing.T) audit.Key {
	t.Helper()
	private, _, err := audit.GenerateKey("twokey.test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// openStore opens a database for the test, without the rest of the bot.
func openStore(t *testing.T, address string, key audit.Key) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), address, store.Options{Recorder: audit.NewLog(key, audit.Cadence{}, time.Now), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// chatOf is the bot in the sandbox's Slack, without handlers.
func chatOf(t *testing.T, box *sandbox.Sandbox, db *store.Store) *bot.Bot {
	t.Helper()
	chat, err := bot.New(bot.Config{
		AppToken: operation.NewSecret(box.Slack.AppToken()), BotToken: operation.NewSecret(box.Slack.BotToken()), APIURL: box.URL() + "/slack/api/",
		Inbox: inbox{db}, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Turns: db,
	})
	if err != nil {
		t.Fatal(err)
	}
	return chat
}

// TestTwoReplicasPostNoMoreThanOneMessageASecondIntoAChannel: what they post stands
// in different lanes, so that either may take it up at any time.
func TestTwoReplicasPostNoMoreThanOneMessageASecondIntoAChannel(t *testing.T) {
	address := need.Postgres(t)
	box, err := sandbox.Start(t.Context(), sandbox.Options{ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	key := recordKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	var db *store.Store
	for range 2 {
		db = openStore(t, address, key)
		chat := chatOf(t, box, db)
		replica := db
		g.Go(func() error {
			return chat.RunPoster(ctx, replica, replica, replica, func(operation.Operation) []operation.StepState { return nil })
		})
	}
	untold := func(what string) int {
		var n int
		if err := db.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM notices WHERE sent_at = 0 AND "+what).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	told := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); untold(what) > 0; time.Sleep(20 * time.Millisecond) { // between looks
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d are untold", what, untold(what))
			}
		}
	}
	const each = 8
	for i := range each {
		now := time.Now().UTC().Truncate(time.Microsecond)
		op := operation.Operation{
			ID: operation.ID(fmt.Sprint("op", i)), Kind: "rotate", Secret: operation.SecretName(fmt.Sprint("s", i, "/prod")), State: operation.Pending, Envelope: fmt.Sprint(i),
			Requester: operation.Person{User: "U0ALICE", Person: "alice"}, Reason: "because", RequestedAt: now, LapsesAt: now.Add(time.Hour), Channel: sandbox.OperationsChannel,
			Plan: operation.Plan{Kind: "rotate", Details: []byte(`{}`)}, Facts: map[operation.Fact]string{},
		}
		if _, err := db.Create(ctx, op, []operation.Entry{{At: now, Operation: op.ID, Outcome: operation.Asked, Quiet: true}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	// While the one who has the lane of the cards is busy with it, another lane's
	// messages come one at a time, for whoever looks first.
	for i := range each {
		now := time.Now()
		due := operation.Reminder{Matter: operation.Matter{Item: fmt.Sprint("acm:", i), End: now.AddDate(0, 1, 0)}, Stage: 30, Name: fmt.Sprint("c", i), Kind: "certificate", Channel: sandbox.OperationsChannel}
		if _, err := db.Remind(ctx, now, []operation.Reminder{due}); err != nil {
			t.Fatal(err)
		}
		told("kind = 'round'")
	}
	told("kind = 'card'")
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	state, ok := box.Slack.State().(slack.State)
	if !ok {
		t.Fatal("the sandbox's Slack has no state")
	}
	var at []time.Time
	for _, m := range state.Messages[sandbox.OperationsChannel] {
		at = append(at, m.PostedAt)
	}
	slices.SortFunc(at, time.Time.Compare)
	if len(at) != 2*each {
		t.Fatalf("%d messages, want %d", len(at), 2*each)
	}
	for i := range at[1:] {
		if d := at[i+1].Sub(at[i]); d < time.Second {
			t.Errorf("messages %d and %d are %s apart", i, i+1, d)
		}
	}
	for _, call := range box.Conditions.Calls() {
		if call.Status == http.StatusTooManyRequests {
			t.Errorf("Slack had to refuse %s", call.Operation)
		}
	}
}
