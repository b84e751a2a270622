package operation

import (
	"context"
	"errors"
	"time"
)

// ErrStale is returned when an operation is no longer as it was read: somebody
// else moved it on, or this worker slept past its lease.
var ErrStale = errors.New("the operation has moved on")

// ErrOpen is returned by Create when the secret has an open operation.
var ErrOpen = errors.New("the secret has an open operation")

// ErrUnknown is returned for an operation that does not exist.
var ErrUnknown = errors.New("no such operation")

// Transition is one change of an operation, with everything that goes with it.
// All of it is stored in one transaction, or nothing.
type Transition struct {
	// Operation is as it shall be. Its Epoch is the one that was read.
	Operation Operation
	// From is the state that was read.
	From State
	// Entries go into the record, and those that are not quiet into the thread.
	Entries []Entry
	// Documents are kept, and uploaded to the thread.
	Documents []Document
	// Supersedes ends these operations of the same secret, whatever they do.
	Supersedes []Operation
	// Wake has a worker look at the operation.
	Wake bool
	// Code is used up by the transition; ErrCodeUsed when it was used before.
	Code *UsedCode
}

// Reader finds operations.
type Reader interface {
	// Operation returns ErrUnknown when there is none.
	Operation(ctx context.Context, id ID) (Operation, error)
	// OpenOperations returns the operations that hold the secret, at most one of
	// a kind; those of all secrets when it is empty.
	OpenOperations(ctx context.Context, secret SecretName) ([]Operation, error)
	// Asked returns the operation that was made of an envelope, if one was.
	Asked(ctx context.Context, envelope string) (Operation, bool, error)
}

// Writer stores what happened.
type Writer interface {
	// Create stores a new operation; ErrOpen when its secret has an open one of
	// its kind. When its envelope was seen before, it returns the operation made
	// then. Notices are what people are to be told besides the card.
	Create(ctx context.Context, op Operation, entries []Entry, notices []Notice) (Operation, error)
	// Change stores a transition and returns the operation with its new epoch;
	// ErrStale when state or epoch are no longer those that were read.
	Change(ctx context.Context, t Transition) (Operation, error)
	// Record stores entries that move nothing: refusals.
	Record(ctx context.Context, entries []Entry) error
}

// Leases keep two workers off one operation.
type Leases interface {
	// Claim gives owner the operation until the lease runs out; ErrStale when
	// the epoch is another or somebody's lease still holds.
	Claim(ctx context.Context, id ID, epoch int64, owner string, lease time.Duration) (Operation, error)
	// Renew extends a lease that is still one's own; ErrStale otherwise.
	Renew(ctx context.Context, op Operation, lease time.Duration) error
}
