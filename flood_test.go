package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
	"github.com/twokey/twokey/scheduler"
)

// found is what a sweep finds.
type found []inventory.Item

func (f found) Sweep(context.Context) (inventory.Inventory, error) {
	return inventory.Inventory{Items: f}, nil
}

// TestThousandsThatAreDueAtOnceDoNotFloodTheChannels: the first run at a new customer,
// whose keys have been forgotten for years. Slack's limits are on.
func TestThousandsThatAreDueAtOnceDoNotFloodTheChannels(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a message a second takes half a minute")
	}
	const each = 2000
	box, err := sandbox.Start(t.Context(), sandbox.Options{ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	db := openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "twokey.db"), recordKey(t))
	now := time.Now()
	channels := []operation.ChannelID{sandbox.OperationsChannel, sandbox.GeneralChannel}
	var all found
	for n := range each * len(channels) {
		owner := n % len(channels)
		id := fmt.Sprintf("legacy-%d", n)
		all = append(all, inventory.Item{
			ID: inventory.ID("secret:" + id), Kind: inventory.Secret, Name: id, KeyID: runbook.KeyID(id), Live: n < 10,
			End: now.AddDate(0, 0, n%120-60), Owner: runbook.Owner{Name: fmt.Sprint("Team ", owner), Channel: channels[owner]},
		})
	}
	inventory.Sort(all, inventory.ByUrgency)
	asker := scheduler.Reminders{Surveyor: all, Book: db, Policy: scheduler.Policy{Stages: scheduler.DefaultStages(), Channel: channels[0], Others: true}}
	began := time.Now()
	if err := asker.Ask(t.Context(), now, time.UTC); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d reminders were noted in %s", len(all), time.Since(began).Round(time.Millisecond))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	chat := chatOf(t, box, db)
	var g errgroup.Group
	g.Go(func() error {
		return chat.RunPoster(ctx, db, db, db, func(operation.Operation) []operation.StepState { return nil })
	})
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) { // between looks
		var untold int
		if err := db.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM notices WHERE sent_at = 0").Scan(&untold); err != nil {
			t.Fatal(err)
		}
		if untold == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d are untold", untold)
		}
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("all was told in %s", time.Since(began).Round(time.Second))

	state, ok := box.Slack.State().(slack.State)
	if !ok {
		t.Fatal("the sandbox's Slack has no state")
	}
	for _, channel := range channels {
		var at []time.Time
		var top []slack.Message
		for _, m := range state.Messages[string(channel)] {
			at = append(at, m.PostedAt)
			if m.ThreadTS == "" {
				top = append(top, m)
			}
		}
		if len(top) != 1 || len(at) != 1+operation.MaxCards {
			t.Fatalf("%s has %d messages, %d of them at the top, for %d reminders", channel, len(at), len(top), each)
		}
		blocks, err := json.Marshal(top[0].Blocks)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{fmt.Sprint(each, " things expire"), "more that do not fit here", fmt.Sprintf("The first %d have a card in the thread", operation.MaxCards)} {
			if !strings.Contains(string(blocks), want) {
				t.Errorf("%s is not told %q, but:\n%s", channel, want, top[0].Text)
			}
		}
		if !strings.HasPrefix(top[0].Text, fmt.Sprint(each, " things expire")) {
			t.Errorf("%s reads aloud:\n%s", channel, top[0].Text)
		}
		slices.SortFunc(at, time.Time.Compare)
		for i := range at[1:] {
			if d := at[i+1].Sub(at[i]); d < time.Second {
				t.Errorf("%s: messages %d and %d are %s apart", channel, i, i+1, d)
			}
		}
	}
	counts := box.Conditions.Counts()
	if posted := counts["slack.chat.postMessage"]; posted != len(channels)*(1+operation.MaxCards) {
		t.Errorf("%d calls to post: some were throttled, or came twice", posted)
	}

	// The same again tells nothing.
	if err := asker.Ask(t.Context(), now, time.UTC); err != nil {
		t.Fatal(err)
	}
	var untold int
	if err := db.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM notices WHERE sent_at = 0").Scan(&untold); err != nil || untold > 0 {
		t.Errorf("asked again, %d are to be told: %v", untold, err)
	}
}
