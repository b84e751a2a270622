package operation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"
)

// Runbook is the step list of one kind of operation. Building it touches nothing.
type Runbook interface {
	Steps(op Operation) []Step
}

// Runner works on operations, one step after the other. What it knows of an
// operation it reads from the store, and what it did is stored before it goes
// on: it can be killed, frozen or doubled at any instant.
type Runner struct {
	Writer   Writer
	Leases   Leases
	Rules    *Rules
	Runbooks map[Kind]Runbook
	Owner    string // this replica, for the lease
	Now      func() time.Time
	Clock    func() time.Time // as that of [Rules]: for leases, and for how long things take
	Log      *slog.Logger
}

const (
	// lease is how long a worker that says nothing keeps an operation.
	lease = 12 * time.Second
	// callTime bounds one Do, Verify or undo, and stays below the lease, so a
	// worker that is still inside one still holds the operation.
	callTime = 10 * time.Second
	// shift is how long one worker stays with an operation before it hands it
	// back to the queue, below the queue's own limit.
	shift = 20 * time.Second
	// slumber is how long a worker that was lost is given to wake and finish its last
	// write: no vendor checks our epochs, and a write that comes after everything
	// was taken back would undo that.
	slumber = 30 * time.Second
	// pause is the wait after a failure that another try may mend.
	pause = time.Second
	// firstLook is the shortest wait before a step is tried again.
	firstLook = 100 * time.Millisecond
	// firstWord and nextWord are how long a step may say nothing.
	firstWord = time.Minute
	nextWord  = 5 * time.Minute
	// planTime is how long the second look at the plan may take to succeed.
	planTime = 2 * time.Minute
)

// Run takes the operation on if its epoch is still the given one, and works on it
// until it ends, waits, needs people, or the shift is over. Being too late is
// no error.
func (r *Runner) Run(ctx context.Context, id ID, epoch int64) error {
	op, err := r.Leases.Claim(ctx, id, epoch, r.Owner, lease)
	if errors.Is(err, ErrStale) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("claim operation %s: %w", id, err)
	}
	if op.Forged {
		err := r.Rules.distrust(ctx, op)
		r.Log.ErrorContext(ctx, "an operation's row was changed in the database, and not by this program; it is not run", "operation", id, "error", err)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return nil
		}
		return err
	}
	over := time.Now().Add(shift)
	for {
		wait, err := r.advance(ctx, &op)
		switch {
		case errors.Is(err, ErrStale):
			r.Log.InfoContext(ctx, "another worker has the operation", "operation", id, "epoch", op.Epoch)
			return nil
		case err != nil:
			return r.release(ctx, op, fmt.Errorf("work on operation %s: %w", id, err))
		case op.LeaseOwner == "":
			return nil // it ended, waits or is parked: nothing to hold on to
		case ctx.Err() != nil, time.Now().Add(wait).After(over):
			return r.release(ctx, op, nil)
		}
		if err := sleep(ctx, wait); err != nil {
			return r.release(ctx, op, nil)
		}
	}
}

// release hands the operation back, with a wake-up for whoever is next.
func (r *Runner) release(ctx context.Context, op Operation, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	free := op
	free.LeaseOwner, free.LeaseUntil = "", time.Time{}
	_, err := r.Writer.Change(ctx, Transition{Operation: free, From: op.State, Wake: true})
	if err != nil && !errors.Is(err, ErrStale) {
		cause = errors.Join(cause, fmt.Errorf("release operation %s: %w", op.ID, err))
	}
	return cause
}

// advance does one thing and stores it. It returns how long to wait before the
// next.
func (r *Runner) advance(ctx context.Context, op *Operation) (time.Duration, error) {
	switch op.State {
	case Approved:
		return r.begin(ctx, op)
	case Waiting:
		return r.resume(ctx, op)
	case Running:
		return r.step(ctx, op)
	case Undoing:
		return r.undo(ctx, op)
	default: // whoever woke us was too late
		return 0, r.store(ctx, op, func(*Operation) {})
	}
}

// begin makes the plan again and looks the approver up again. Only what was
// confirmed may run.
func (r *Runner) begin(ctx context.Context, op *Operation) (time.Duration, error) {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	plan, err := r.Rules.Planners[op.Kind].Plan(call, *op)
	if err == nil { // last, and not meanwhile: the look at the approver is the one nearest to the deed
		err = r.Rules.StillApproved(call, *op)
	}
	var refusal *Refusal
	switch {
	case ctx.Err() != nil: // being stopped: what was not looked up says nothing
		return 0, nil
	case err == nil && plan.Digest() == op.Digest:
		return 0, r.move(ctx, op, Begin, "", Entry{
			Outcome: Noted, Text: "The plan, made again, is the confirmed one, and the approver still may confirm it.",
		}, func(o *Operation) { o.Step, o.Phase, o.StepSince = 0, Doing, r.Clock() })
	case err == nil:
		return 0, r.move(ctx, op, Void, "", Entry{
			Outcome: Failed, Text: "Something changed since the confirmation, so nothing was run: " + drift(op.Plan, plan) + ". Ask again.",
		}, nil)
	case errors.As(err, &refusal) && refusal.Code != CodeLookup:
		return 0, r.move(ctx, op, Void, "", Entry{
			Outcome: Failed, Code: refusal.Code, Text: "Nothing was run. " + refusal.Text,
		}, nil)
	case r.took(*op) > planTime:
		return 0, r.move(ctx, op, Void, "", Entry{
			Outcome: Failed, Text: "The plan could not be made again in time, so nothing was run. " + r.explain(ctx, *op, "make the plan again", err) + " Ask again.",
		}, nil)
	}
	r.Log.WarnContext(ctx, "the plan could not be made again; trying once more", "operation", op.ID, "error", err)
	return pause, r.renew(ctx, op)
}

// drift says in words where two plans differ.
func drift(was, is Plan) string {
	for i, c := range was.Changes {
		if i >= len(is.Changes) || is.Changes[i].What != c.What {
			return c.What + " is no longer part of the plan"
		}
		if is.Changes[i] != c {
			return fmt.Sprintf("%s would now go from %s to %s, confirmed was %s to %s", c.What, is.Changes[i].From, is.Changes[i].To, c.From, c.To)
		}
	}
	if len(is.Changes) > len(was.Changes) {
		return is.Changes[len(was.Changes)].What + " was not part of the plan"
	}
	if was.Policy != is.Policy {
		return "the configuration of who may confirm is another"
	}
	return "the configuration or the infrastructure is another"
}

// resume goes on after a wait, when its instant has come.
func (r *Runner) resume(ctx context.Context, op *Operation) (time.Duration, error) {
	if r.Now().Before(op.Due) {
		return 0, r.store(ctx, op, func(o *Operation) { o.LeaseOwner = "" })
	}
	return 0, r.move(ctx, op, Resume, "", Entry{Outcome: Noted, Text: "The wait is over.", Quiet: true},
		func(o *Operation) { o.Phase, o.StepSince, o.Due = Verifying, r.Clock(), time.Time{} })
}

// step does or verifies the current step.
func (r *Runner) step(ctx context.Context, op *Operation) (time.Duration, error) {
	steps := r.Runbooks[op.Kind].Steps(*op)
	if op.Step >= len(steps) {
		return 0, r.move(ctx, op, Finish, "", Entry{Outcome: Noted, Text: "Every step is done and verified."}, nil)
	}
	s := steps[op.Step]
	if op.Phase == Doing && s.Settled && r.unsettled(*op) {
		return pause, r.renew(ctx, op)
	}
	if op.Phase == Doing && s.PointOfNoReturn && !op.NoReturn {
		// Stored before the deed: after a crash nobody may believe in a way back.
		return 0, r.store(ctx, op, func(o *Operation) { o.NoReturn = true })
	}
	action := s.Do
	if op.Phase == Verifying {
		action = s.Verify
	}
	evidence, documents, err := r.call(ctx, op, s.Name, action)
	var wait WaitUntil
	switch {
	case errors.Is(err, ErrStale):
		return 0, err
	case errors.As(err, &wait) && op.Phase == Doing:
		return 0, r.move(ctx, op, Wait, s.Name, Entry{Outcome: Noted, Text: wait.Why}, func(o *Operation) { o.Due = wait.At })
	case err != nil && ctx.Err() != nil: // being stopped: not the step's failure
		return 0, nil
	case err != nil:
		return r.stepFailed(ctx, op, s, err)
	case op.Phase == Doing:
		return 0, r.store(ctx, op, func(o *Operation) { o.Phase = Verifying })
	}
	return 0, r.storeWith(ctx, op, documents, func(o *Operation) { o.Step, o.Phase, o.StepSince = o.Step+1, Doing, r.Clock() },
		Entry{Step: s.Name, Outcome: Verified, Text: evidence})
}

// stepFailed tries again while there is time, then takes back or parks.
func (r *Runner) stepFailed(ctx context.Context, op *Operation, s Step, err error) (time.Duration, error) {
	var notYet NotYet
	if errors.As(err, &notYet) && notYet.ForPeople {
		return 0, r.leave(ctx, op, notYet.After)
	}
	if wait, again := r.again(*op, s.Within, err); again {
		r.Log.DebugContext(ctx, "step not finished yet", "operation", op.ID, "step", s.Name, "phase", op.Phase, "error", err)
		return wait, r.hold(ctx, op, s.Name, err)
	}
	// Whose time jumped, or who slept, has lost the lease as well, and gives nothing up.
	if err := r.renew(ctx, op); err != nil {
		return 0, err
	}
	why := r.explain(ctx, *op, s.Name, err)
	event := Fail
	if op.NoReturn || s.AskFirst {
		event = Park
	}
	return 0, r.move(ctx, op, event, s.Name, Entry{Outcome: Failed, Text: why}, func(o *Operation) {
		o.Trouble, o.ParkedFrom, o.FailedStep = why, Running, op.Step
		o.Phase, o.StepSince = Doing, r.Clock()
	})
}

// leave lets go of the operation until the reconciler of any replica wakes it.
func (r *Runner) leave(ctx context.Context, op *Operation, wait time.Duration) error {
	left := *op
	left.LeaseOwner, left.LeaseUntil, left.StepSince = "", r.Clock().Add(wait), r.Clock()
	stored, err := r.Writer.Change(ctx, Transition{Operation: left, From: op.State})
	if err == nil {
		*op = stored
	}
	return err
}

// undo takes the current step back, newest first.
func (r *Runner) undo(ctx context.Context, op *Operation) (time.Duration, error) {
	if op.Step < 0 {
		return 0, r.move(ctx, op, TakeBack, "", Entry{Outcome: Noted, Text: "All that was done has been taken back, and that is verified."}, nil)
	}
	if r.unsettled(*op) {
		return pause, r.renew(ctx, op)
	}
	s := r.Runbooks[op.Kind].Steps(*op)[op.Step]
	if s.Undo.none != "" {
		return 0, r.store(ctx, op, func(o *Operation) { o.Step, o.Phase, o.StepSince = o.Step-1, Doing, r.Clock() })
	}
	action := s.Undo.do
	if op.Phase == Verifying {
		action = s.Undo.verify
	}
	evidence, _, err := r.call(ctx, op, s.Name, action)
	switch {
	case errors.Is(err, ErrStale):
		return 0, err
	case err != nil && ctx.Err() != nil:
		return 0, nil
	case err != nil:
		if wait, again := r.again(*op, s.Within, err); again {
			return wait, r.hold(ctx, op, "Taking back: "+s.Name, err)
		}
		if err := r.renew(ctx, op); err != nil {
			return 0, err
		}
		why := r.explain(ctx, *op, "taking back: "+s.Name, err)
		return 0, r.move(ctx, op, Park, s.Name, Entry{Outcome: NotUndone, Text: why}, func(o *Operation) {
			o.Trouble, o.ParkedFrom = why, Undoing
		})
	case op.Phase == Doing:
		return 0, r.store(ctx, op, func(o *Operation) { o.Phase = Verifying })
	}
	return 0, r.store(ctx, op, func(o *Operation) { o.Step, o.Phase, o.StepSince = o.Step-1, Doing, r.Clock() },
		Entry{Step: s.Name, Outcome: Undone, Text: evidence})
}

// unsettled reports whether a worker that was lost may still wake and write.
func (r *Runner) unsettled(op Operation) bool { return r.Clock().Sub(op.Lost) < slumber }

// took is how long the operation's step has taken so far.
func (r *Runner) took(op Operation) time.Duration { return r.Clock().Sub(op.StepSince) }

// call runs one action under a renewed lease. What it found out is kept even if
// it has to be called again.
func (r *Runner) call(ctx context.Context, op *Operation, name string, action Action) (string, []Document, error) {
	fence := func(ctx context.Context) error { return r.renew(ctx, op) }
	if op.LeaseUntil.Sub(r.Clock()) < lease-time.Second { // otherwise it was renewed a moment ago
		if err := fence(ctx); err != nil {
			return "", nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	facts := maps.Clone(op.Facts)
	if facts == nil {
		facts = map[Fact]string{}
	}
	run := &Run{Operation: *op, Facts: facts, fence: fence, now: r.Now, clock: r.Clock}
	evidence, err := action(ctx, run)
	if !maps.Equal(facts, op.Facts) || len(run.said) > 0 {
		// Stored at once: whatever comes next, what was found out stays known.
		var entries []Entry
		for _, text := range run.said {
			entries = append(entries, Entry{Step: name, Outcome: Noted, Text: text})
		}
		if kept := r.store(ctx, op, func(o *Operation) { o.Facts = facts }, entries...); kept != nil {
			return "", nil, errors.Join(kept, err)
		}
	}
	return evidence, run.documents, err
}

// again reports whether the step may be tried once more, and after what pause.
func (r *Runner) again(op Operation, within time.Duration, err error) (time.Duration, bool) {
	var refusal *Refusal
	if IsPermanent(err) || errors.As(err, &refusal) || r.took(op) > within {
		return 0, false
	}
	wait := pause
	var notYet NotYet
	if errors.As(err, &notYet) {
		wait = notYet.After
	}
	// What takes long is looked at less often: a look comes late by a small part
	// of what was waited for.
	return min(wait, max(firstLook, r.took(op)/16)), true
}

// hold keeps the lease while a step waits, or turns it back to be done again. What
// takes long is told now and then, so that nobody has to guess.
func (r *Runner) hold(ctx context.Context, op *Operation, step string, err error) error {
	var again DoAgain
	back := errors.As(err, &again) && op.Phase == Verifying
	var word []Entry
	if r.owesWord(*op) {
		word = []Entry{{Step: step, Outcome: Noted, Text: fmt.Sprintf("Still at it after %s: %s.", r.took(*op).Round(time.Second), missing(err))}}
	}
	if !back && word == nil {
		return r.renew(ctx, op)
	}
	return r.store(ctx, op, func(o *Operation) {
		if back {
			o.Phase = Doing
		}
		if word != nil {
			o.ToldAt = r.Clock()
		}
	}, word...)
}

// owesWord reports whether a step has said nothing for so long that people wonder.
func (r *Runner) owesWord(op Operation) bool {
	if op.ToldAt.Before(op.StepSince) {
		return r.took(op) > firstWord
	}
	return r.Clock().Sub(op.ToldAt) > nextWord
}

// missing says what a step still waits for.
func missing(err error) string {
	var notYet NotYet
	var again DoAgain
	switch {
	case errors.As(err, &notYet):
		return strings.TrimRight(notYet.Why, ".")
	case errors.As(err, &again):
		return strings.TrimRight(again.Why, ".")
	}
	return "no usable answer yet; the log has the cause"
}

// renew extends the lease, if it is still ours.
func (r *Runner) renew(ctx context.Context, op *Operation) error {
	if err := r.Leases.Renew(ctx, *op, lease); err != nil {
		return err
	}
	op.LeaseUntil = r.Clock().Add(lease)
	return nil
}

// move stores a change of state with the entry that tells it.
func (r *Runner) move(ctx context.Context, op *Operation, event Event, step string, entry Entry, change func(*Operation)) error {
	to, ok := Next(op.State, event)
	if !ok {
		return fmt.Errorf("the table has no %s from %s", event, op.State)
	}
	entry.Event, entry.Step = event, step
	return r.store(ctx, op, func(o *Operation) {
		if change != nil {
			change(o)
		}
		o.State = to
	}, entry)
}

// store writes the operation as change makes it, with entries, and keeps the
// lease as long as there is something to do.
func (r *Runner) store(ctx context.Context, op *Operation, change func(*Operation), entries ...Entry) error {
	return r.storeWith(ctx, op, nil, change, entries...)
}

func (r *Runner) storeWith(ctx context.Context, op *Operation, documents []Document, change func(*Operation), entries ...Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	next := *op
	change(&next)
	now := r.Now()
	switch {
	case !next.State.Open():
		next.LeaseOwner, next.LeaseUntil, next.EndedAt = "", time.Time{}, now
	case next.State == Waiting, next.State == Parked, next.State == Pending, next.LeaseOwner == "":
		next.LeaseOwner, next.LeaseUntil = "", time.Time{}
	default:
		next.LeaseUntil = r.Clock().Add(lease)
	}
	for i := range entries {
		e := &entries[i]
		e.At, e.Operation, e.Secret, e.State, e.Digest = now, op.ID, op.Secret, next.State, op.Digest
	}
	stored, err := r.Writer.Change(ctx, Transition{Operation: next, From: op.State, Entries: entries, Documents: documents})
	if err != nil {
		return err
	}
	*op = stored
	return nil
}

// explain words a failure for people. The cause goes into the log under a
// reference that the sentence names; a vendor's definite refusal is told as it is.
func (r *Runner) explain(ctx context.Context, op Operation, what string, err error) string {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Text
	}
	ref := rand.Text()[:6]
	r.Log.ErrorContext(ctx, "step failed", "ref", ref, "operation", op.ID, "step", what, "phase", op.Phase, "error", err)
	var notYet NotYet
	var again DoAgain
	switch {
	case errors.As(err, &again):
		return fmt.Sprintf("Done again and again for %s, and still: %s. Ref %s.", r.took(op).Round(time.Second), missing(err), ref)
	case errors.As(err, &notYet):
		return fmt.Sprintf("Gave up after %s: %s. Ref %s.", r.took(op).Round(time.Second), missing(err), ref)
	case IsPermanent(err):
		return fmt.Sprintf("Refused: %s. Ref %s.", strings.TrimRight(err.Error(), "."), ref)
	}
	return fmt.Sprintf("No usable answer after %s of trying; the log has the cause. Ref %s.", r.took(op).Round(time.Second), ref)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
