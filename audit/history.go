package audit

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/twokey/twokey/operation"
)

// maxHistory bounds what a history has of reminders, which come for ever.
const maxHistory = 100

// History returns what happened about a secret, newest first, from the live
// database: what was asked for and decided in ops, which are its operations, how
// they ended, and its newest reminders. It checks nothing; [Verify] does.
func History(ctx context.Context, q Queryer, secret operation.SecretName, ops []operation.ID) ([]operation.Entry, error) {
	var out []operation.Entry
	for _, id := range ops {
		entries, err := OfOperation(ctx, q, id)
		if err != nil {
			return nil, err
		}
		out = append(out, slices.DeleteFunc(entries, func(e operation.Entry) bool { return !turns(e) })...)
	}
	reminders, err := ofReminders(ctx, q, secret)
	if err != nil {
		return nil, err
	}
	out = append(out, reminders...)
	slices.SortFunc(out, func(a, b operation.Entry) int { return int(b.Sequence - a.Sequence) })
	return out, nil
}

// turns reports whether an entry tells what became of an operation, and not how.
func turns(e operation.Entry) bool {
	switch e.Event {
	case operation.Request, operation.Confirm, operation.Deny, operation.Cancel, operation.Lapse, operation.Retry, operation.Undo, operation.HandOver:
		return e.Outcome == operation.Asked || e.Outcome == operation.Decided
	case operation.Void, operation.Park, operation.Finish, operation.TakeBack, operation.Supersede:
		return true
	default:
		return false
	}
}

// ofReminders reads backwards through what belongs to no operation, and no further
// than it needs.
func ofReminders(ctx context.Context, q Queryer, secret operation.SecretName) ([]operation.Entry, error) {
	rows, err := q.QueryContext(ctx, `SELECT entry FROM record WHERE operation = '' ORDER BY seq DESC`)
	if err != nil {
		return nil, fmt.Errorf("read the reminders of %s: %w", secret, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below tells it
	var out []operation.Entry
	for rows.Next() && len(out) < maxHistory {
		var raw sql.RawBytes
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("read the reminders of %s: %w", secret, err)
		}
		e, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("read the reminders of %s: %w", secret, err)
		}
		switch e.Step {
		case operation.StepReminded, operation.StepTaken, operation.StepSnoozed, operation.StepSettled:
			if e.Secret == secret && e.Outcome == operation.Noted {
				out = append(out, e)
			}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the reminders of %s: %w", secret, err)
	}
	return out, nil
}
