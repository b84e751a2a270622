package worknotes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twokey/twokey/operation"
)

// Outbox is the queue of what change requests must be told.
type Outbox interface {
	// ClaimWorkNote gives, for lease, the oldest untold note of a change request
	// whose earlier notes are all told; false when there is none.
	ClaimWorkNote(ctx context.Context, lease time.Duration) (operation.Notice, bool, error)
	// NoticeSent notes that it was told.
	NoticeSent(ctx context.Context, n operation.Notice, id operation.MessageID) error
	// NoticeLater gives the claim back; nobody gets the note before after.
	NoticeLater(ctx context.Context, n operation.Notice, after time.Duration) error
}

// Operations reads what a note tells of.
type Operations interface {
	Operation(ctx context.Context, id operation.ID) (operation.Operation, error)
	// Told returns the entries that the operation's thread tells, oldest first.
	Told(ctx context.Context, id operation.ID) ([]operation.Entry, error)
}

// Changes is where change requests are kept.
type Changes interface {
	// AddNote adds a work note to a change request, unless one with the marker
	// stands there. It may be called again after any failure.
	AddNote(ctx context.Context, number, marker, text string) error
}

// Desk writes the notes.
type Desk struct {
	Outbox     Outbox
	Operations Operations
	Changes    Changes
	Log        *slog.Logger
}

const (
	// claimTime covers the calls of one try.
	claimTime = time.Minute
	// rest is the wait for new notes.
	rest = time.Second
	// firstPause is the wait after a failure, doubled each time. A note that was
	// written while its answer was lost shows by then.
	firstPause = 2 * time.Second
	// longestPause is how long a note waits at most: somebody may have mended it.
	longestPause = 5 * time.Minute
	// noteTime bounds noting that a note is written, also while shutting down.
	noteTime = 5 * time.Second
)

// Run writes notes until ctx ends. What is not written stays in the outbox.
func (d *Desk) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		n, found, err := d.Outbox.ClaimWorkNote(ctx, claimTime)
		switch {
		case err != nil && ctx.Err() == nil:
			d.Log.ErrorContext(ctx, "the outbox of work notes cannot be read", "error", err)
		case found:
			d.write(ctx, n)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
	return nil
}

// write writes one note and notes that, or gives it back for later.
func (d *Desk) write(ctx context.Context, n operation.Notice) {
	err := d.add(ctx, n)
	// Also while shutting down: the note may be out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	if err == nil {
		if err := d.Outbox.NoticeSent(ctx, n, ""); err != nil { // the claim runs out, and the marker is found
			d.Log.WarnContext(ctx, "a written work note could not be noted", "notice", n.Key, "error", err)
		}
		return
	}
	after := pauseAfter(n.Attempts, err)
	d.Log.WarnContext(ctx, "a work note could not be written; trying again later", "notice", n.Key, "change", n.Text, "attempt", n.Attempts, "after", after.String(), "error", err)
	if err := d.Outbox.NoticeLater(ctx, n, after); err != nil && !errors.Is(err, operation.ErrStale) {
		d.Log.WarnContext(ctx, "a work note could not be given back; its claim runs out", "notice", n.Key, "error", err)
	}
}

func (d *Desk) add(ctx context.Context, n operation.Notice) error {
	op, err := d.Operations.Operation(ctx, n.Operation)
	if err != nil {
		return fmt.Errorf("read operation %s: %w", n.Operation, err)
	}
	told, err := d.Operations.Told(ctx, n.Operation)
	if err != nil {
		return err
	}
	marker := "[" + n.Key + "]"
	return d.Changes.AddNote(ctx, n.Text, marker, Text(op, n.Entry, told)+"\n"+marker)
}

// pauseAfter is how long to wait after attempt failed: as long as the vendor says, if
// it does.
func pauseAfter(attempt int, err error) time.Duration {
	pause := firstPause
	for range attempt - 1 {
		if pause *= 2; pause >= longestPause {
			pause = longestPause
			break
		}
	}
	var later operation.NotYet
	if errors.As(err, &later) {
		pause = max(pause, later.After)
	}
	return pause
}
