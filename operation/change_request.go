package operation

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// ChangeRequest is a change of the organisation's change management, as looked up at
// one instant.
type ChangeRequest struct {
	Number   string
	State    string // as people read it there: "Scheduled"
	Workable bool   // in that state the work may be done
	Approval string // as people read it there: "Approved"
	Approved bool
	// Start and End are the window in which the work is planned. Zero: it has none.
	Start, End time.Time
}

// ErrNoChangeRequest is returned for a number that no change has, or none that the
// bot may read.
var ErrNoChangeRequest = errors.New("no such change request")

// ChangeRequests looks changes up, at the source and now.
type ChangeRequests interface {
	// ChangeRequest returns ErrNoChangeRequest when there is none.
	ChangeRequest(ctx context.Context, number string) (ChangeRequest, error)
	// WorkableStates names, for people, the states in which work may be done.
	WorkableStates() string
}

// Codes of refusals by the state of a change.
const (
	CodeChangeUnknown  Code = "change_unknown"
	CodeChangeApproval Code = "change_not_approved"
	CodeChangeState    Code = "change_state"
	CodeChangeWindow   Code = "change_window"
)

// lookChangeUp finds a change, or refuses in words.
func (r *Rules) lookChangeUp(ctx context.Context, number string) (ChangeRequest, error) {
	c, err := r.ChangeRequests.ChangeRequest(ctx, number)
	switch {
	case errors.Is(err, ErrNoChangeRequest):
		return c, RefuseBecause(err, CodeChangeUnknown, "There is no change %s, or I may not read it. Look the number up and ask again. Nothing was changed.", number)
	case err != nil:
		return c, RefuseBecause(err, CodeLookup, "I could not look up change %s, so I refuse. Please try again in a moment. Nothing was changed.", number)
	}
	return c, nil
}

// changeAllows refuses unless the change of an operation allows the work at this
// instant. Without a change, or without change management, there is nothing to ask;
// an emergency waits for none.
func (r *Rules) changeAllows(ctx context.Context, op Operation) error {
	if r.ChangeRequests == nil || op.ChangeReference == "" || op.Plan.Urgent {
		return nil
	}
	c, err := r.lookChangeUp(ctx, op.ChangeReference)
	if err != nil {
		return err
	}
	return c.allows(r.Now(), r.ChangeRequests.WorkableStates())
}

// allows judges a change. It is pure. The window goes first where it alone is
// missing: a change is often moved on by itself when its window opens.
func (c ChangeRequest) allows(now time.Time, workable string) error {
	switch {
	case !c.Approved:
		return Refuse(CodeChangeApproval, "Change %s is not approved: its approval is %q and its state %q. Have it approved, then try again. Nothing was changed.", c.Number, c.Approval, c.State)
	case c.Start.IsZero() || c.End.IsZero():
		return Refuse(CodeChangeWindow, "Change %s has no planned start and end, so I can't tell whether its window is open. Enter both there, then try again. Nothing was changed.", c.Number)
	case !now.Before(c.End):
		return Refuse(CodeChangeWindow, "The window of change %s closed at %s. Have it planned anew, or use another change. Nothing was changed.", c.Number, clock(c.End))
	case now.Before(c.Start):
		return Refuse(CodeChangeWindow, "The window of change %s is not open yet: it opens at %s and closes at %s. Try again then. Nothing was changed.", c.Number, clock(c.Start), clock(c.End))
	case !c.Workable:
		return Refuse(CodeChangeState, "Change %s is in state %q, and work may be done in %s. Move it on, then try again. Nothing was changed.", c.Number, c.State, workable)
	}
	return nil
}

// clock writes an instant for a sentence. The chat shows what is written so in the
// reader's own zone.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// Link ties an emergency to a change that was made for it afterwards: it waited for
// none. What came of the emergency goes to that change.
func (r *Rules) Link(ctx context.Context, user UserID, channel ChannelID, id ID, number, pattern string) (Operation, error) {
	op, err := r.Reader.Operation(ctx, id)
	if errors.Is(err, ErrUnknown) || err == nil && !op.Plan.Urgent {
		return op, Refuse(CodeUnknownOperation, "There is no emergency %q. Its six characters stand on its card.", id)
	}
	if err != nil {
		return op, fmt.Errorf("read operation %s: %w", id, err)
	}
	if op.Forged {
		return op, r.distrust(ctx, op)
	}
	linked, err := r.link(ctx, op, user, channel, number, pattern)
	if errors.Is(err, ErrStale) {
		err = Refuse(CodeDecided, "Emergency %s has just changed. Please try again.", op.ID)
	}
	if err != nil {
		return op, r.noteRefusal(ctx, err, Entry{Operation: op.ID, Secret: op.Secret, By: &Person{User: user}, Channel: channel, ChangeReference: number})
	}
	return linked, nil
}

func (r *Rules) link(ctx context.Context, op Operation, user UserID, channel ChannelID, number, pattern string) (Operation, error) {
	if op.State.Open() && op.State != Parked {
		return op, Refuse(CodeNotInState, "Emergency %s is %s: link it at its end.", op.ID, op.State.Words())
	}
	if !fitsPattern(number, pattern) {
		return op, Refuse(CodeChangeReference, "A change reference of %s looks like %s, and %q does not. Nothing was changed.", op.Secret, pattern, number)
	}
	who, err := r.standing(ctx, user, channel, append(op.approverGroups(), op.Plan.Policy.Requesters)...)
	if err == nil && op.Plan.Policy.Requesters != "" && !who.Member {
		err = Refuse(CodeNotRequester, "Only members of the requesters' or the approvers' group may link a change. Ask one of them.")
	}
	if err != nil {
		return op, err
	}
	if r.ChangeRequests != nil {
		if _, err := r.lookChangeUp(ctx, number); err != nil {
			return op, err
		}
	}
	if op.ChangeReference == number {
		return op, nil
	}
	text := "Linked to change " + number + "."
	if op.ChangeReference != "" {
		text = fmt.Sprintf("Linked to change %s, and no longer to %s.", number, op.ChangeReference)
	}
	op.ChangeReference = number
	return r.Writer.Change(ctx, Transition{Operation: op, From: op.State, Entries: []Entry{{
		At: r.Now(), Operation: op.ID, Secret: op.Secret, State: op.State, Outcome: Noted, By: &who.Person, Channel: channel, ChangeReference: number, Text: text,
	}}})
}

// fitsPattern reports whether a change reference looks as the configuration wants it
// to. Where it wants nothing, any word will do.
func fitsPattern(reference, pattern string) bool {
	if pattern == "" {
		return reference != "" && !strings.ContainsAny(reference, " \t\n")
	}
	ok, err := regexp.MatchString("^(?:"+pattern+")$", reference)
	return err == nil && ok
}
