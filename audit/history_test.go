package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

// TestAHistoryHasTheTurnsOfOperationsAndTheNewestReminders, newest first, and
// nothing of other secrets.
func TestAHistoryHasTheTurnsOfOperationsAndTheNewestReminders(t *testing.T) {
	check := func(t *testing.T, db *sql.DB) {
		t.Helper()
		log := newLog(newKey(t))
		const secret, other operation.SecretName = "jira/dev", "sharepoint/prod"
		var all []operation.Entry
		note := func(e operation.Entry) {
			e.At = start().Add(time.Duration(len(all)) * time.Second)
			all = append(all, e)
		}
		turn := func(id operation.ID, event operation.Event, outcome operation.Outcome) {
			note(operation.Entry{Operation: id, Secret: secret, Event: event, Outcome: outcome, Text: fmt.Sprint(id, " ", event)})
		}
		turn("op1", operation.Request, operation.Asked)
		turn("op1", operation.Confirm, operation.Refused) // a refusal is no turn
		turn("op1", operation.Confirm, operation.Decided)
		turn("op1", operation.Begin, operation.Noted)
		note(operation.Entry{Operation: "op1", Secret: secret, Step: "Make the new key", Outcome: operation.Verified, Text: "a step"})
		turn("op1", operation.Park, operation.Failed)
		turn("op1", operation.Undo, operation.Asked)
		turn("op1", operation.TakeBack, operation.Noted)
		turn("op2", operation.Request, operation.Asked) // of the secret, and not asked for
		for i, step := range []string{operation.StepReminded, operation.StepTaken, operation.StepSnoozed, operation.StepSettled} {
			note(operation.Entry{Secret: secret, Step: step, Outcome: operation.Noted, Text: fmt.Sprint("reminder ", i)})
			note(operation.Entry{Secret: other, Step: step, Outcome: operation.Noted, Text: "another's"})
			note(operation.Entry{Secret: secret, Step: step, Outcome: operation.Refused, Text: "refused"})
		}
		note(operation.Entry{Secret: secret, Outcome: operation.Noted, Text: "Looked: the page"})
		inTx(t, db, func(tx *sql.Tx) {
			if _, err := log.Append(context.Background(), tx, all); err != nil {
				t.Fatal(err)
			}
		})
		texts := func() []string {
			t.Helper()
			got, err := audit.History(context.Background(), db, secret, []operation.ID{"op1"})
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, e := range got {
				out = append(out, e.Text)
			}
			return out
		}
		want := []string{"reminder 3", "reminder 2", "reminder 1", "reminder 0", "op1 take_back", "op1 undo", "op1 park", "op1 confirm", "op1 request"}
		if got := texts(); !slices.Equal(got, want) {
			t.Errorf("the history is %q, want %q", got, want)
		}
		// Reminders come for ever; only the newest hundred are read.
		all = nil
		for i := range 150 {
			note(operation.Entry{Secret: secret, Step: operation.StepReminded, Outcome: operation.Noted, Text: fmt.Sprint("day ", i)})
		}
		inTx(t, db, func(tx *sql.Tx) {
			if _, err := log.Append(context.Background(), tx, all); err != nil {
				t.Fatal(err)
			}
		})
		if got := texts(); len(got) != 105 || got[0] != "day 149" || got[99] != "day 50" || got[100] != "op1 take_back" {
			t.Errorf("%d entries: %q … %q", len(got), got[0], got[100:])
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		db, _ := newSQLite(t)
		check(t, db)
	})
	t.Run("postgres", func(t *testing.T) {
		db, _ := newPostgres(t)
		check(t, db)
	})
}
