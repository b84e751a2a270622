package operation

import (
	"context"
	"fmt"
	"time"
)

// Action does, verifies or takes back one thing, and returns the evidence as a
// sentence for the thread. It must bear being run twice: what it finds already
// done it leaves as it is. Besides errors it may return [NotYet] to be called
// again, and Do may return [WaitUntil].
type Action func(ctx context.Context, run *Run) (evidence string, err error)

// Step is one line of a runbook. All of its members are required.
type Step struct {
	Name   string // stored, and what people read
	Do     Action
	Verify Action
	Undo   UndoAction
	// Within is how long the step may take, from its beginning to its
	// verification, before it counts as failed.
	Within time.Duration
	// AskFirst steps run when the job's aim is reached already: when one fails,
	// people decide whether to take back.
	AskFirst bool
	// PointOfNoReturn steps cannot be taken back once begun: whatever fails
	// from there on parks the operation.
	PointOfNoReturn bool
	// Settled steps begin only when a worker that was lost can no longer be about
	// to write: what they find then stays as it is. Taking back always does.
	Settled bool
}

// UndoAction takes a step back and verifies that it is back.
type UndoAction struct {
	do, verify Action
	none       string
}

// UndoBy takes a step back by do and proves it by verify.
func UndoBy(do, verify Action) UndoAction { return UndoAction{do: do, verify: verify} }

// NoUndo says why there is nothing to take back.
func NoUndo(because string) UndoAction { return UndoAction{none: because} }

// Each returns the undo with what is around each of its actions; part names it.
func (u UndoAction) Each(around func(part string, a Action) Action) UndoAction {
	if u.none != "" || u.do == nil {
		return u
	}
	return UndoAction{do: around("undo", u.do), verify: around("verify the undo", u.verify)}
}

// WaitUntil is returned by a step's Do when the rest has to wait for an instant,
// possibly for days. The step is verified when the instant has come.
type WaitUntil struct {
	At  time.Time
	Why string
}

// Error implements error.
func (w WaitUntil) Error() string { return "waiting until " + w.At.Format(time.RFC3339) + ": " + w.Why }

// Run is what a step sees of its operation.
type Run struct {
	Operation Operation
	// Facts are what the steps found out so far. What a step sets is stored
	// before the next begins.
	Facts map[Fact]string
	fence func(context.Context) error
	now   func() time.Time
	clock func() time.Time

	documents []Document
	said      []string
}

// Say tells people something at once, whether the step succeeds or not.
func (r *Run) Say(format string, args ...any) { r.said = append(r.said, fmt.Sprintf(format, args...)) }

// Attach has a document kept and uploaded together with the step's evidence, when
// the step is verified.
func (r *Run) Attach(d Document) { r.documents = append(r.documents, d) }

// Fence must be called just before every write to the outside world. It returns
// [ErrStale] when this worker has lost the operation, and the write must not be.
func (r *Run) Fence(ctx context.Context) error { return r.fence(ctx) }

// Now returns the instant by the operation's clock.
func (r *Run) Now() time.Time { return r.now() }

// Took is how long the step has taken so far.
func (r *Run) Took() time.Duration { return r.clock().Sub(r.Operation.StepSince) }

// Mark says how far a step is.
type Mark string

// Marks of steps, for the card.
const (
	StepPending Mark = "pending"
	StepActive  Mark = "in_progress"
	StepDone    Mark = "complete"
	StepFailed  Mark = "error"
	StepUndone  Mark = "undone"
)

// StepState is one line of a card's step list.
type StepState struct {
	Name string
	Mark Mark
}

// Progress tells how far each step of the operation is.
func Progress(steps []Step, op Operation) []StepState {
	out := make([]StepState, len(steps))
	for i, s := range steps {
		out[i] = StepState{Name: s.Name, Mark: mark(i, op)}
	}
	return out
}

func mark(i int, op Operation) Mark {
	taken := op.State == Undoing || op.State == TakenBack || op.State == Parked && op.ParkedFrom == Undoing
	switch {
	case op.State == Undoing && i == op.Step:
		return StepActive
	case taken && (i == op.Step || i == op.FailedStep):
		return StepFailed
	case taken && i > op.Step && i < op.FailedStep:
		return StepUndone
	case op.State == Succeeded || i < op.Step:
		return StepDone
	case i > op.Step:
		return StepPending
	case op.State == Running || op.State == Waiting:
		return StepActive
	case op.State == Parked || op.State == HandedOver:
		return StepFailed
	}
	return StepPending
}
