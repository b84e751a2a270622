package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// due is a reminder of a key at a stage.
func due(key string, stage operation.Stage) operation.Reminder {
	return operation.Reminder{
		Matter: operation.Matter{Item: "secret:" + key, End: time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)}, Stage: stage,
		Name: key + "/prod", Kind: "client secret", Secret: operation.SecretName(key + "/prod"), Key: key, Channel: "C1", Escalation: "C2",
	}
}

func remind(t *testing.T, s *store.Store, due ...operation.Reminder) []operation.Reminder {
	t.Helper()
	told, err := s.Remind(t.Context(), time.Now(), due)
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// notices claims and sends all that is to be told, and returns what it was.
func notices(t *testing.T, s *store.Store) []operation.Notice {
	t.Helper()
	var out []operation.Notice
	for {
		n, ok, err := s.ClaimNotice(t.Context(), "me", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		if err := s.NoticeSent(t.Context(), n, operation.MessageID(fmt.Sprint("ts-", n.ID))); err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
}

func kinds(list []operation.Notice) []string {
	var out []string
	for _, n := range list {
		out = append(out, string(n.Kind)+" "+string(n.Channel))
	}
	slices.Sort(out)
	return out
}

func TestAStageIsToldOnceHoweverManyAsk(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		var told atomic.Int32
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				got, err := s.Remind(t.Context(), time.Now(), []operation.Reminder{due("a", 30), due("b", 30)})
				if err != nil {
					t.Error(err)
				}
				told.Add(int32(len(got)))
			})
		}
		wg.Wait()
		if told.Load() != 2 {
			t.Errorf("%d told, want 2", told.Load())
		}
		if got := remind(t, s, due("a", 60)); len(got) != 0 {
			t.Errorf("an earlier stage was told afterwards: %+v", got)
		}
		want := []string{"reminder C1", "reminder C1", "round C1", "round C2"}
		if got := kinds(notices(t, s)); !slices.Equal(got, want) {
			t.Errorf("notices %q, want %q", got, want)
		}
		remind(t, s, due("a", 14))
		// The new one, where it escalates, and the edits of what showed the last one.
		want = []string{"reminder C1", "round C1", "round C1", "round C2", "round C2"}
		if got := kinds(notices(t, s)); !slices.Equal(got, want) {
			t.Errorf("notices %q, want %q", got, want)
		}
	})
}

func TestWhatSomebodyHasTakenDoesNotEscalate(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		remind(t, s, due("a", 30))
		notices(t, s)
		r, err := s.Reminder(t.Context(), 1)
		if err != nil || r.Card == "" || r.Own {
			t.Fatalf("%+v, %v", r, err)
		}
		m := r.Matter
		m.Taken = operation.Taken{By: operation.Person{User: "U1", Name: "Alice"}, At: time.Now()}
		e := operation.Entry{At: time.Now(), Outcome: operation.Noted, Step: operation.StepTaken}
		if err := s.Care(t.Context(), r, m, e); err != nil {
			t.Fatal(err)
		}
		if err := s.Care(t.Context(), r, m, e); !errors.Is(err, operation.ErrStale) {
			t.Errorf("taken twice at once: %v", err)
		}
		if got, want := kinds(notices(t, s)), []string{"care C1", "round C1", "round C2"}; !slices.Equal(got, want) {
			t.Errorf("notices %q, want %q", got, want)
		}
		remind(t, s, due("a", 7))
		if got, want := kinds(notices(t, s)), []string{"round C1", "round C1", "round C2"}; !slices.Equal(got, want) {
			t.Errorf("notices %q, want %q: its own, and the edits of the last", got, want)
		}
	})
}

func TestAnOperationSettlesItsKeysRemindersAndOpensThemAgainWhenTakenBack(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		remind(t, s, due("key-1", 30), due("key-2", 30))
		op := request("op1", "a/prod")
		op.Plan.Details = json.RawMessage(`{"old_key": "KEY-1"}`)
		op = create(t, s, op)
		move := func(to operation.State) {
			t.Helper()
			tr := operation.Transition{Operation: op, From: op.State}
			tr.Operation.State, tr.Operation.Approver = to, operation.Person{User: "U2", Person: "bob"}
			var err error
			if op, err = s.Change(t.Context(), tr); err != nil {
				t.Fatal(err)
			}
		}
		settled := func(id operation.ReminderID) operation.ID {
			t.Helper()
			r, err := s.Reminder(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return r.Matter.Settled.Operation
		}
		move(operation.Running)
		move(operation.Waiting)
		if settled(1) != "op1" || settled(2) != "" {
			t.Fatalf("settled by %q and %q", settled(1), settled(2))
		}
		if got := remind(t, s, due("key-1", 14)); len(got) != 0 {
			t.Errorf("told after the rotation: %+v", got)
		}
		move(operation.TakenBack)
		if settled(1) != "" {
			t.Error("the old key is in use again, and its reminder is settled")
		}
		if got := remind(t, s, due("key-1", 14)); len(got) != 1 {
			t.Error("nobody is reminded of the old key")
		}
	})
}

func TestTicksThatWereMissedComeAsOne(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		var fails atomic.Bool
		var done []time.Time
		var mu sync.Mutex
		fails.Store(true)
		tick := store.Tick{
			Name: "test", Next: func(after time.Time) time.Time { return after.Add(100 * time.Millisecond) },
			Do: func(_ context.Context, now time.Time) error {
				if fails.Swap(false) {
					return errors.New("the directory does not answer")
				}
				mu.Lock()
				defer mu.Unlock()
				done = append(done, now)
				return nil
			},
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, store.Handlers{Ticks: []store.Tick{tick}}, quiet()) }()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // between looks; the condition decides
			mu.Lock()
			n := len(done)
			mu.Unlock()
			if n >= 2 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d ticks were answered", n)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if apart := done[1].Sub(done[0]); apart < 100*time.Millisecond {
			t.Errorf("two ticks %s apart: one instant was answered twice", apart)
		}
		if at, err := s.TickAnswered(t.Context(), "test"); err != nil || at.IsZero() {
			t.Errorf("answered up to %s, %v", at, err)
		}
	})
}

// TestWhatIsOpenIsTheLatestStageOfWhatIsNotSettled: what ends first comes first.
func TestWhatIsOpenIsTheLatestStageOfWhatIsNotSettled(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		early := due("early", 30)
		early.Matter.End = early.Matter.End.AddDate(0, -1, 0)
		unknown := due("unknown", -20000)
		unknown.Matter.End = time.Time{}
		remind(t, s, due("a", 30), due("b", 30), early, unknown)
		remind(t, s, due("a", 14))
		open := func() []string {
			t.Helper()
			got, err := s.OpenReminders(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, r := range got {
				out = append(out, fmt.Sprint(r.Name, " ", r.Stage))
			}
			return out
		}
		if got, want := open(), []string{"unknown/prod -20000", "early/prod 30", "b/prod 30", "a/prod 14"}; !slices.Equal(got, want) {
			t.Errorf("open is %q, want %q", got, want)
		}
		gone := due("b", 30).Matter
		gone.Settled = operation.Settled{At: time.Now(), Why: "it is there no longer."}
		if err := s.Settle(t.Context(), []operation.Matter{gone}); err != nil {
			t.Fatal(err)
		}
		if got, want := open(), []string{"unknown/prod -20000", "early/prod 30", "a/prod 14"}; !slices.Equal(got, want) {
			t.Errorf("with one settled, open is %q, want %q", got, want)
		}
		all, err := s.OpenReminders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := all[len(all)-1]
		m := r.Matter
		m.Taken = operation.Taken{By: operation.Person{User: "U1", Name: "Alice"}, At: time.Now()}
		if err := s.Care(t.Context(), r, m, operation.Entry{At: time.Now(), Outcome: operation.Noted, Step: operation.StepTaken}); err != nil {
			t.Fatal(err)
		}
		if all, err = s.OpenReminders(t.Context()); err != nil || all[len(all)-1].Matter.Taken.By.User != "U1" {
			t.Errorf("who took it is not shown: %+v, %v", all, err)
		}
	})
}

// hooked is a recorder that the test is asked before.
type hooked struct {
	store.Recorder
	before func(entries []operation.Entry) error
}

// Append implements store.Recorder.
func (h hooked) Append(ctx context.Context, tx *sql.Tx, entries []operation.Entry) ([]operation.Entry, error) {
	if err := h.before(entries); err != nil {
		return nil, err
	}
	return h.Recorder.Append(ctx, tx, entries)
}

// many are so many things that are due in a channel, and one in another that has
// expired and comes last.
func many(n int) []operation.Reminder {
	var out []operation.Reminder
	for i := range n {
		out = append(out, due(fmt.Sprintf("k%03d", i), 30))
	}
	alone := due("alone", 0)
	alone.Channel, alone.Escalation, alone.Ring = "C3", "", "S1"
	return append(out, alone)
}

// placesOf counts the reminders by channel, round, and where their card is.
func placesOf(t *testing.T, s *store.Store) string {
	t.Helper()
	rows, err := s.DB().QueryContext(t.Context(), `SELECT o.channel, o.ring, r.place, COUNT(*), COUNT(DISTINCT r.item), COUNT(DISTINCT r.escalation)
		FROM reminders r JOIN reminder_rounds o ON o.id = r.round GROUP BY o.id, o.channel, o.ring, r.place ORDER BY o.id, r.place`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var out []string
	for rows.Next() {
		var channel, ring, place string
		var n, items, above int
		if err := rows.Scan(&channel, &ring, &place, &n, &items, &above); err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s: %d as %s, %d escalated to %d %s", channel, n, place, items, above, ring)))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "; ")
}

// TestManyRemindersAreNotedInPartsAndToldTogether: commands that come meanwhile are
// kept between two parts; in Slack nothing shows of them.
func TestManyRemindersAreNotedInPartsAndToldTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		parts, kept := 0, make(chan error, 1)
		var s *store.Store
		s = openWith(t, address, func([]operation.Entry) error {
			switch parts++; parts {
			case 1:
				go func() {
					kept <- s.Receive(context.Background(), []store.Envelope{{ID: "click", Body: json.RawMessage(`{}`)}})
				}()
			case 3:
				select {
				case err := <-kept:
					return err
				case <-time.After(5 * time.Second):
					return errors.New("a click waits until all is noted")
				}
			}
			return nil
		})
		if got := remind(t, s, many(500)...); len(got) != 501 {
			t.Errorf("%d told", len(got))
		}
		if want := "C1: 30 as card, 30 escalated to 1; C1: 470 as line, 470 escalated to 1; C3: 1 as message, 1 escalated to 1 S1"; parts != 3 || placesOf(t, s) != want {
			t.Errorf("%d parts: %s", parts, placesOf(t, s))
		}
		counted := map[string]int{}
		for _, k := range kinds(notices(t, s)) {
			counted[k]++
		}
		if want := map[string]int{"reminder C1": 30, "round C1": 1, "round C2": 1, "round C3": 1}; !maps.Equal(counted, want) {
			t.Errorf("notices %v", counted)
		}
		if got := remind(t, s, many(500)...); len(got) != 0 {
			t.Errorf("%d told again", len(got))
		}
	})
}

// TestWhatWasNotedBeforeACrashIsToldOnceAndTheRestIsCaughtUp: the process dies in the
// second part.
func TestWhatWasNotedBeforeACrashIsToldOnceAndTheRestIsCaughtUp(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		died, parts := errors.New("the process died"), 0
		s := openWith(t, address, func([]operation.Entry) error {
			if parts++; parts == 2 {
				return died
			}
			return nil
		})
		told, err := s.Remind(t.Context(), time.Now(), many(300))
		if !errors.Is(err, died) || len(told) != 200 {
			t.Fatalf("%d told, %v", len(told), err)
		}
		if got := remind(t, s, many(300)...); len(got) != 101 {
			t.Errorf("%d caught up", len(got))
		}
		want := "C1: 30 as card, 30 escalated to 1; C1: 170 as line, 170 escalated to 1; C1: 30 as card, 30 escalated to 1; C1: 70 as line, 70 escalated to 1; C3: 1 as message, 1 escalated to 1 S1"
		if got := placesOf(t, s); got != want {
			t.Error(got)
		}
		var items, entries int
		if err := s.DB().QueryRowContext(t.Context(), `SELECT (SELECT COUNT(DISTINCT item) FROM reminders), (SELECT COUNT(*) FROM record)`).Scan(&items, &entries); err != nil || items != 301 || entries != 301 {
			t.Errorf("%d items, %d entries in the record, %v", items, entries, err)
		}
	})
}
