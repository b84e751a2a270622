package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// age makes all that is in the store so much older.
func age(t *testing.T, s *store.Store, by time.Duration) {
	t.Helper()
	for _, column := range []string{"notices.created_at", "notices.sent_at", "documents.created_at", "reminder_rounds.told_at", "digests.told_at", "matters.expiry", "reminders.expiry"} {
		table, column, _ := strings.Cut(column, ".")
		if _, err := s.DB().ExecContext(t.Context(), fmt.Sprintf("UPDATE %s SET %s = %s - $1 WHERE %s > 0", table, column, column, column), by.Microseconds()); err != nil {
			t.Fatal(err)
		}
	}
}

// rows counts what is kept.
func rows(t *testing.T, s *store.Store) string {
	t.Helper()
	var out []string
	for _, table := range []string{"notices", "documents", "matters", "reminders", "reminder_rounds", "leftovers", "digests", "record", "operations"} {
		var n int
		if err := s.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(n, " ", table))
	}
	return strings.Join(out, ", ")
}

// ended is an operation that wrote a file, and has ended in a state.
func ended(t *testing.T, s *store.Store, id operation.ID, state operation.State) {
	t.Helper()
	op := create(t, s, request(id, operation.SecretName(id+"/prod")))
	tr := operation.Transition{Operation: op, From: op.State, Documents: []operation.Document{{Operation: id, Name: "report", Title: "Report", Body: []byte("x"), At: time.Now()}}}
	tr.Operation.State = state
	if state == operation.Running {
		tr.Operation.Approver = operation.Person{User: "U2", Person: "bob"}
	}
	if _, err := s.Change(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsOldIsRemovedAndWhatIsNeededStays: what was told a season ago goes, unless
// somebody still works on it or can click on it; the record stays.
func TestWhatIsOldIsRemovedAndWhatIsNeededStays(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		tidy := func() string {
			t.Helper()
			if err := s.Tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
			return rows(t, s)
		}
		ended(t, s, "over", operation.Cancelled)
		ended(t, s, "open", operation.Running)
		remind(t, s, due("rotated", 30), due("ends", 30))
		remind(t, s, due("rotated", 14))
		settle := func(key string) {
			t.Helper()
			m := due(key, 14).Matter
			m.Settled = operation.Settled{At: time.Now(), Why: "it is there no longer."}
			if err := s.Settle(t.Context(), []operation.Matter{m}); err != nil {
				t.Fatal(err)
			}
		}
		settle("rotated")
		found := operation.Leftover{Finding: "k", Title: "Left behind", Channel: "C1"}
		tellLeftover(t, s, found)
		found.Text = "changed"
		tellLeftover(t, s, found)
		for i := range 2 {
			last, err := s.LastDigest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.TellDigest(t.Context(), last, operation.WeeklyDigest{Channel: "C1", Since: time.Now().AddDate(0, 0, i-7), At: time.Now().Add(time.Duration(i) * time.Second)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		all := rows(t, s)
		if got := tidy(); got != all {
			t.Errorf("what is untold is gone: %s, and there was %s", got, all)
		}
		notices(t, s)
		if got := tidy(); got != all {
			t.Errorf("what was told just now is gone: %s, and there was %s", got, all)
		}
		var before int64
		if err := s.DB().QueryRowContext(t.Context(), "SELECT MAX(id) FROM notices").Scan(&before); err != nil {
			t.Fatal(err)
		}
		age(t, s, 91*24*time.Hour)
		got := tidy()
		// Of the notices those of the open operation stay, and the newest; of the reminders
		// those of the first message, in which one may still be clicked on, and the newest.
		if want := "1 documents, 2 matters, 3 reminders, 4 reminder_rounds, 1 leftovers, 1 digests"; !strings.Contains(got, want) {
			t.Errorf("left is %s, want %s; there was %s", got, want, all)
		}
		var of []string
		kept, err := s.DB().QueryContext(t.Context(), "SELECT DISTINCT operation FROM notices ORDER BY operation")
		if err != nil {
			t.Fatal(err)
		}
		for kept.Next() {
			var id string
			if err := kept.Scan(&id); err != nil {
				t.Fatal(err)
			}
			of = append(of, id)
		}
		if err := kept.Close(); err != nil || !slices.Equal(of, []string{"", "open"}) {
			t.Errorf("notices are kept of %q, %v", of, err)
		}

		// What is told afterwards is called by no name that was there before.
		remind(t, s, due("new", 30))
		for _, n := range notices(t, s) {
			if n.ID <= before {
				t.Errorf("%s is number %d again", n.Key, n.ID)
			}
		}
		// Once the last of a message is over, all of it goes.
		if _, err := s.DB().ExecContext(t.Context(), "UPDATE matters SET settled = 1 WHERE item = 'secret:ends'"); err != nil {
			t.Fatal(err)
		}
		age(t, s, 400*24*time.Hour)
		if got, want := tidy(), "1 documents, 1 matters, 1 reminders, 2 reminder_rounds, 1 leftovers, 1 digests, 12 record, 2 operations"; !strings.HasSuffix(got, want) {
			t.Errorf("left is %s, want %s", got, want)
		}
	})
}

func tellLeftover(t *testing.T, s *store.Store, l operation.Leftover) {
	t.Helper()
	if _, err := s.TellLeftovers(t.Context(), time.Now(), []operation.Leftover{l}); err != nil {
		t.Fatal(err)
	}
}

// TestMuchThatIsOldIsRemovedInParts: more than one transaction takes.
func TestMuchThatIsOldIsRemovedInParts(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		for n := range 6 {
			e := make([]string, 0, 250)
			for i := range 250 {
				e = append(e, fmt.Sprintf("(%[1]d, 'k%[1]d', 'entry', 'l', 'C1', '', 'x', '{}', '', '', 1, 1)", 250*n+i+1))
			}
			if _, err := s.DB().ExecContext(t.Context(), "INSERT INTO notices (id, key, kind, lane, channel, user_id, operation, entry, document, text, created_at, sent_at) VALUES "+strings.Join(e, ", ")); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := rows(t, s); !strings.HasPrefix(got, "1 notices,") {
			t.Error(got)
		}
	})
}
