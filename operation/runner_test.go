package operation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// script is a runbook of three steps that notes what is called, and does what
// the test has put into fail.
type script struct {
	calls []string
	fail  map[string]func() error // by call: "do b", "verify b", "undo b", "undone b"
	steps []operation.Step
}

func newScript() *script {
	s := &script{fail: map[string]func() error{}}
	for _, name := range []string{"a", "b", "c"} {
		s.steps = append(s.steps, operation.Step{
			Name: name, Within: time.Minute,
			Do: s.action("do " + name), Verify: s.action("verify " + name),
			Undo: operation.UndoBy(s.action("undo "+name), s.action("undone "+name)),
		})
	}
	return s
}

func (s *script) action(call string) operation.Action {
	return func(ctx context.Context, run *operation.Run) (string, error) {
		s.calls = append(s.calls, call)
		if err := run.Fence(ctx); err != nil {
			return "", err
		}
		if f := s.fail[call]; f != nil {
			if err := f(); err != nil {
				return "", err
			}
		}
		return "evidence of " + call, nil
	}
}

// Steps implements operation.Runbook.
func (s *script) Steps(operation.Operation) []operation.Step { return s.steps }

func (d *desk) runner(s *script) *operation.Runner {
	return &operation.Runner{
		Writer: d.store, Leases: d.store, Rules: d.rules, Owner: "test", Now: d.rules.Now, Clock: d.store.Clock,
		Runbooks: map[operation.Kind]operation.Runbook{"rotate": s},
		Log:      slog.New(slog.DiscardHandler),
	}
}

// confirmed asks as alice and confirms as bob.
func (d *desk) confirmed(t *testing.T) operation.Operation {
	t.Helper()
	op := d.ask(t, "sharepoint/prod")
	op, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob"))
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// run works on the operation until it is in none of the states that workers move.
func (d *desk) run(t *testing.T, r *operation.Runner, op operation.Operation) operation.Operation {
	t.Helper()
	for range 50 { // shifts
		if err := r.Run(t.Context(), op.ID, op.Epoch); err != nil {
			t.Fatal(err)
		}
		var err error
		if op, err = d.store.Operation(t.Context(), op.ID); err != nil {
			t.Fatal(err)
		}
		switch op.State {
		case operation.Approved, operation.Running, operation.Undoing:
		default:
			return op
		}
	}
	t.Fatalf("it does not end: %s, step %d", op.State, op.Step)
	return op
}

// told is the thread: the outcomes with their steps.
func (d *desk) told(t *testing.T, id operation.ID) []string {
	t.Helper()
	entries, err := audit.OfOperation(t.Context(), d.store.DB(), id)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Step != "" {
			out = append(out, string(e.Outcome)+" "+e.Step)
		}
	}
	return out
}

func expect(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestStepsAreDoneVerifiedAndToldInOrder(t *testing.T) {
	d, s := newDesk(t), newScript()
	op := d.run(t, d.runner(s), d.confirmed(t))
	if op.State != operation.Succeeded || op.LeaseOwner != "" || op.EndedAt.IsZero() {
		t.Errorf("ended as %s, leased by %q, at %s", op.State, op.LeaseOwner, op.EndedAt)
	}
	expect(t, "calls", s.calls, []string{"do a", "verify a", "do b", "verify b", "do c", "verify c"})
	expect(t, "told", d.told(t, op.ID), []string{"verified a", "verified b", "verified c"})
}

func TestAFailureTakesBackNewestFirst(t *testing.T) {
	d, s := newDesk(t), newScript()
	s.fail["verify b"] = func() error { return operation.Permanent(errors.New("version 9 is not ours")) }
	op := d.run(t, d.runner(s), d.confirmed(t))
	if op.State != operation.TakenBack {
		t.Errorf("ended as %s", op.State)
	}
	expect(t, "calls", s.calls, []string{"do a", "verify a", "do b", "verify b", "undo b", "undone b", "undo a", "undone a"})
	expect(t, "told", d.told(t, op.ID), []string{"verified a", "failed b", "undone b", "undone a"})
	if !strings.Contains(op.Trouble, "version 9 is not ours") {
		t.Errorf("trouble: %s", op.Trouble)
	}
}

func TestWhatMayPassIsTriedAgainUntilTheStepsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(t), newScript()
		s.fail["do a"] = func() error { return errors.New("connection reset") }
		began := time.Now()
		op := d.run(t, d.runner(s), d.confirmed(t))
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute {
			t.Errorf("gave up after %s; the step has a minute", took)
		}
		if op.State != operation.TakenBack || strings.Contains(op.Trouble, "connection reset") || !strings.Contains(op.Trouble, "Ref ") {
			t.Errorf("ended as %s: %s", op.State, op.Trouble)
		}
		d.store.Close()
	})
}

func TestNotYetIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(t), newScript()
		left := 3
		s.fail["verify b"] = func() error {
			if left--; left > 0 {
				return operation.NotYet{After: 2 * time.Second, Why: "one replica lags"}
			}
			return nil
		}
		op := d.run(t, d.runner(s), d.confirmed(t))
		if op.State != operation.Succeeded {
			t.Errorf("ended as %s: %s", op.State, op.Trouble)
		}
		expect(t, "told", d.told(t, op.ID), []string{"verified a", "verified b", "verified c"})
		d.store.Close()
	})
}

func TestAStepThatWaitsForPeopleKeepsNoWorkerAndIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(t), newScript()
		thawed := false
		s.fail["verify b"] = func() error {
			if !thawed {
				return operation.NotYet{After: 5 * time.Second, Why: "it is frozen", ForPeople: true}
			}
			return nil
		}
		r, op := d.runner(s), d.confirmed(t)
		for began := time.Now(); time.Since(began) < time.Hour; { // the step has a minute
			looked := time.Now()
			if err := r.Run(t.Context(), op.ID, op.Epoch); err != nil {
				t.Fatal(err)
			}
			var err error
			if op, err = d.store.Operation(t.Context(), op.ID); err != nil {
				t.Fatal(err)
			}
			if op.State != operation.Running || op.LeaseOwner != "" || time.Since(looked) > time.Second {
				t.Fatalf("it is %s, leased by %q, and took %s", op.State, op.LeaseOwner, time.Since(looked))
			}
			if wait := time.Until(op.LeaseUntil); wait <= 0 || wait > 5*time.Second {
				t.Fatalf("it is looked at again in %s", wait)
			}
			time.Sleep(time.Until(op.LeaseUntil))
		}
		thawed = true
		op = d.run(t, r, op)
		if op.State != operation.Succeeded {
			t.Errorf("ended as %s: %s", op.State, op.Trouble)
		}
		expect(t, "told", d.told(t, op.ID), []string{"verified a", "verified b", "verified c"})
		d.store.Close()
	})
}

func TestAStepThatTakesLongSaysSoNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(t), newScript()
		s.steps[1].Within = time.Hour
		began := time.Now()
		s.fail["verify b"] = func() error {
			if time.Since(began) < 12*time.Minute {
				return operation.NotYet{After: time.Second, Why: "1 of 2 tasks runs"}
			}
			return nil
		}
		op := d.run(t, d.runner(s), d.confirmed(t))
		expect(t, "told", d.told(t, op.ID), []string{"verified a", "noted b", "noted b", "noted b", "verified b", "verified c"})
		entries, err := audit.OfOperation(t.Context(), d.store.DB(), op.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Outcome == operation.Noted && e.Step == "b" && !strings.Contains(e.Text, ": 1 of 2 tasks runs.") {
				t.Errorf("it said %q", e.Text)
			}
		}
		d.store.Close()
	})
}

func TestDoAgainGoesBackToDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(t), newScript()
		once := true
		s.fail["verify b"] = func() error {
			if once {
				once = false
				return operation.DoAgain{Why: "a key came to light"}
			}
			return nil
		}
		d.run(t, d.runner(s), d.confirmed(t))
		expect(t, "calls", s.calls, []string{"do a", "verify a", "do b", "verify b", "do b", "verify b", "do c", "verify c"})
		d.store.Close()
	})
}

func TestAfterThePointOfNoReturnAFailureParks(t *testing.T) {
	d, s := newDesk(t), newScript()
	s.steps[1].PointOfNoReturn = true
	s.fail["verify c"] = func() error { return operation.Permanent(errors.New("the tool answers nonsense")) }
	op := d.run(t, d.runner(s), d.confirmed(t))
	if op.State != operation.Parked || !op.NoReturn {
		t.Fatalf("is %s, no return %v", op.State, op.NoReturn)
	}
	op = d.posted(t, op)
	_, err := d.rules.Approve(t.Context(), click(op, operation.Undo, "bob"))
	d.checkRefused(t, "undo after the point of no return", op, err)

	s.fail["verify c"] = nil
	for _, user := range []operation.UserID{"bob", "carol"} {
		if op, err = d.rules.Approve(t.Context(), click(op, operation.Retry, user)); err != nil {
			t.Fatal(err)
		}
	}
	if op = d.run(t, d.runner(s), op); op.State != operation.Succeeded {
		t.Errorf("after the retry: %s", op.State)
	}
}

func TestAStepThatAsksFirstParksAndCanBeTakenBackByTwo(t *testing.T) {
	d, s := newDesk(t), newScript()
	s.steps[2].AskFirst = true
	s.fail["do c"] = func() error { return operation.Permanent(errors.New("somebody else deployed")) }
	op := d.posted(t, d.run(t, d.runner(s), d.confirmed(t)))
	if op.State != operation.Parked || op.NoReturn {
		t.Fatalf("is %s, no return %v", op.State, op.NoReturn)
	}
	var err error
	for _, user := range []operation.UserID{"alice", "bob"} {
		if op, err = d.rules.Approve(t.Context(), click(op, operation.Undo, user)); err != nil {
			t.Fatal(err)
		}
	}
	if op = d.run(t, d.runner(s), op); op.State != operation.TakenBack {
		t.Errorf("after the undo: %s", op.State)
	}
}

func TestAnUndoThatFailsParksAndSaysSo(t *testing.T) {
	d, s := newDesk(t), newScript()
	s.fail["do c"] = func() error { return operation.Permanent(errors.New("no")) }
	s.fail["undo b"] = func() error { return operation.Permanent(errors.New("access denied")) }
	op := d.posted(t, d.run(t, d.runner(s), d.confirmed(t)))
	if op.State != operation.Parked || op.ParkedFrom != operation.Undoing {
		t.Fatalf("is %s from %s", op.State, op.ParkedFrom)
	}
	expect(t, "told", d.told(t, op.ID), []string{"verified a", "verified b", "failed c", "undone c", "not undone b"})
	_, err := d.rules.Approve(t.Context(), click(op, operation.Retry, "bob"))
	d.checkRefused(t, "going forward while half is taken back", op, err)
}

func TestAPlanThatChangedIsVoid(t *testing.T) {
	d, s := newDesk(t), newScript()
	op := d.confirmed(t)
	d.plan.version = 8
	op = d.run(t, d.runner(s), op)
	if op.State != operation.Voided || len(s.calls) > 0 {
		t.Errorf("is %s after %q", op.State, s.calls)
	}
}

func TestAnApproverWhoLeftTheGroupVoidsTheConfirmation(t *testing.T) {
	d, s := newDesk(t), newScript()
	op := d.confirmed(t)
	d.work.group = []operation.UserID{"alice", "carol"}
	op = d.run(t, d.runner(s), op)
	if op.State != operation.Voided || len(s.calls) > 0 {
		t.Errorf("is %s after %q", op.State, s.calls)
	}
}

func TestAWaitingOperationGoesOnWhenItsInstantHasCome(t *testing.T) {
	d, s := newDesk(t), newScript()
	until := d.now.Add(24 * time.Hour)
	s.fail["do b"] = func() error { return operation.WaitUntil{At: until, Why: "the overlap"} }
	r := d.runner(s)
	op := d.run(t, r, d.confirmed(t))
	if op.State != operation.Waiting || !op.Due.Equal(until) {
		t.Fatalf("is %s until %s", op.State, op.Due)
	}
	if op = d.run(t, r, op); op.State != operation.Waiting { // woken too early
		t.Fatalf("is %s before its time", op.State)
	}
	d.now = until
	if op = d.run(t, r, op); op.State != operation.Succeeded {
		t.Errorf("is %s", op.State)
	}
	expect(t, "calls", s.calls, []string{"do a", "verify a", "do b", "verify b", "do c", "verify c"})
}

// TestAWorkerThatSleptPastItsLeaseWritesNothing: frozen between two writes, it wakes
// beside its successor; its fence must stop it, and its result must not count.
func TestAWorkerThatSleptPastItsLeaseWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(t), newScript()
		other := newScript()
		asleep := true
		s.fail["do b"] = func() error {
			if !asleep {
				return nil
			}
			asleep = false
			op, err := d.store.Operation(t.Context(), d.only(t))
			if err != nil {
				return err
			}
			time.Sleep(time.Minute) // longer than the lease
			successor := d.runner(other)
			successor.Owner = "successor"
			return successor.Run(context.WithoutCancel(t.Context()), op.ID, op.Epoch)
		}
		op := d.confirmed(t)
		if err := d.runner(s).Run(t.Context(), op.ID, op.Epoch); err != nil {
			t.Fatal(err)
		}
		op, err := d.store.Operation(t.Context(), op.ID)
		if err != nil {
			t.Fatal(err)
		}
		if op.State != operation.Succeeded {
			t.Errorf("is %s", op.State)
		}
		expect(t, "the sleeper's calls", s.calls, []string{"do a", "verify a", "do b"})
		expect(t, "told", d.told(t, op.ID), []string{"verified a", "verified b", "verified c"})
		d.store.Close()
	})
}

// TestTheFenceStopsWhoSleptBeforeTheWrite: the store's epoch keeps a sleeper from
// storing; before it writes to the outside, only the fence does.
func TestTheFenceStopsWhoSleptBeforeTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(t), newScript()
		writes, asleep := 0, true
		s.steps[1].Do = func(ctx context.Context, run *operation.Run) (string, error) {
			if asleep {
				asleep = false
				op, err := d.store.Operation(t.Context(), run.Operation.ID)
				if err != nil {
					return "", err
				}
				time.Sleep(time.Minute) // longer than the lease
				successor := d.runner(s)
				successor.Owner = "successor"
				if err := successor.Run(context.WithoutCancel(t.Context()), op.ID, op.Epoch); err != nil {
					return "", err
				}
				ctx = context.WithoutCancel(ctx) // its time is over as well, which alone would not stop every write
			}
			if err := run.Fence(ctx); err != nil {
				return "", err
			}
			writes++
			return "", nil
		}
		op := d.confirmed(t)
		if err := d.runner(s).Run(t.Context(), op.ID, op.Epoch); err != nil {
			t.Fatal(err)
		}
		if writes != 1 {
			t.Errorf("it was written %d times", writes)
		}
		d.store.Close()
	})
}

// TestNothingFinalIsDoneWhileALostWorkerMayStillWrite: no vendor checks our epochs,
// so what the lost worker was about to write may come after all was taken back.
func TestNothingFinalIsDoneWhileALostWorkerMayStillWrite(t *testing.T) {
	for call, set := range map[string]func(*script){
		"undo c": func(s *script) {
			s.fail["do c"] = func() error { return operation.Permanent(errors.New("no")) }
		},
		"do b": func(s *script) { s.steps[1].Settled = true },
	} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, s := newDesk(t), newScript()
				set(s)
				op := d.confirmed(t)
				lost := op
				lost.Lost = time.Now()
				op, err := d.store.Change(t.Context(), operation.Transition{Operation: lost, From: op.State})
				if err != nil {
					t.Fatal(err)
				}
				var began time.Time
				s.fail[call] = func() error {
					began = time.Now()
					return nil
				}
				d.run(t, d.runner(s), op)
				if waited := began.Sub(lost.Lost); waited < 30*time.Second || waited > 35*time.Second {
					t.Errorf("begun %s after the worker was lost", waited)
				}
				d.store.Close()
			})
		})
	}
}

func (d *desk) only(t *testing.T) operation.ID {
	t.Helper()
	ops, err := d.store.Operations(t.Context(), store.Filter{})
	if err != nil || len(ops) != 1 {
		t.Fatalf("%d operations, %v", len(ops), err)
	}
	return ops[0].ID
}

// TestACrashAnywhereIsGoneOnFrom kills the worker (its context and its memory) in
// each call, and has another take over.
func TestACrashAnywhereIsGoneOnFrom(t *testing.T) {
	for _, at := range []string{"do a", "verify a", "do b", "verify b", "do c", "verify c"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, s := newDesk(t), newScript()
				crashed := false
				s.fail[at] = func() error {
					if !crashed {
						crashed = true
						panic("killed")
					}
					return nil
				}
				op := d.confirmed(t)
				func() {
					defer func() { _ = recover() }()
					_ = d.runner(s).Run(t.Context(), op.ID, op.Epoch)
				}()
				time.Sleep(time.Minute) // the lease runs out
				op, err := d.store.Operation(t.Context(), op.ID)
				if err != nil {
					t.Fatal(err)
				}
				if op = d.run(t, d.runner(s), op); op.State != operation.Succeeded {
					t.Errorf("is %s", op.State)
				}
				expect(t, "told", d.told(t, op.ID), []string{"verified a", "verified b", "verified c"})
				d.store.Close()
			})
		})
	}
}

func TestProgressMarksEachStep(t *testing.T) {
	steps := newScript().steps
	tests := []struct {
		op   operation.Operation
		want string
	}{
		{operation.Operation{State: operation.Pending}, "pending pending pending"},
		{operation.Operation{State: operation.Running, Step: 1}, "complete in_progress pending"},
		{operation.Operation{State: operation.Waiting, Step: 1}, "complete in_progress pending"},
		{operation.Operation{State: operation.Succeeded, Step: 3}, "complete complete complete"},
		{operation.Operation{State: operation.Parked, ParkedFrom: operation.Running, Step: 1}, "complete error pending"},
		{operation.Operation{State: operation.Undoing, Step: 0, FailedStep: 1}, "in_progress error pending"},
		{operation.Operation{State: operation.TakenBack, Step: -1, FailedStep: 1}, "undone error pending"},
	}
	for _, tt := range tests {
		var got []string
		for _, s := range operation.Progress(steps, tt.op) {
			got = append(got, string(s.Mark))
		}
		if fmt.Sprint(strings.Join(got, " ")) != tt.want {
			t.Errorf("%s at step %d: got %q, want %q", tt.op.State, tt.op.Step, got, tt.want)
		}
	}
}
