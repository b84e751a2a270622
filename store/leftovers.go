package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

func scanLeftover(row scanner) (operation.Leftover, error) {
	var l operation.Leftover
	var message, body string
	if err := row.Scan(&l.ID, &message, &body); err != nil {
		return l, err
	}
	id := l.ID
	err := json.Unmarshal([]byte(body), &l)
	l.ID, l.Message = id, operation.MessageID(message)
	return l, err
}

// Leftover implements operation.Leftovers.
func (s *Store) Leftover(ctx context.Context, id operation.LeftoverID) (operation.Leftover, error) {
	l, err := scanLeftover(s.db.QueryRowContext(ctx, "SELECT id, message, body FROM leftovers WHERE id = $1", int64(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return l, operation.ErrUnknown
	}
	if err != nil {
		return l, fmt.Errorf("read leftover %d: %w", id, err)
	}
	return l, nil
}

// OpenLeftovers returns what was told of and may still be there, oldest first.
func (s *Store) OpenLeftovers(ctx context.Context) ([]operation.Leftover, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, message, body FROM leftovers WHERE closed = 0 ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("read the leftovers: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var out []operation.Leftover
	for rows.Next() {
		l, err := scanLeftover(rows)
		if err != nil {
			return nil, fmt.Errorf("read the leftovers: %w", err)
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

// TellLeftovers tells those that are not told just so already, whoever asks and
// however often, and returns them. What was told of the same finding before is closed.
func (s *Store) TellLeftovers(ctx context.Context, now time.Time, found []operation.Leftover) ([]operation.Leftover, error) {
	var told []operation.Leftover
	err := s.remindIn(ctx, "tell leftovers", func(t *reminding) error {
		told = nil
		for _, l := range found {
			before, err := scanLeftover(t.tx.QueryRowContext(ctx, "SELECT id, message, body FROM leftovers WHERE finding = $1 AND closed = 0", l.Finding))
			switch {
			case errors.Is(err, sql.ErrNoRows):
			case err != nil:
				return fmt.Errorf("read what was told of %s: %w", l.Finding, err)
			case l.Same(before):
				continue
			default:
				if err := t.closeLeftover(ctx, before, operation.Settled{At: now, Why: "it has changed, and is told anew."}); err != nil {
					return err
				}
			}
			l.At = now
			if l, err = t.newLeftover(ctx, l); err != nil {
				return err
			}
			told = append(told, l)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return told, nil
}

// CloseLeftovers notes that leftovers are there no longer, and why.
func (s *Store) CloseLeftovers(ctx context.Context, gone []operation.Leftover) error {
	if len(gone) == 0 {
		return nil
	}
	return s.remindIn(ctx, "close leftovers", func(t *reminding) error {
		for _, l := range gone {
			if err := t.closeLeftover(ctx, l, l.Closed); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *reminding) newLeftover(ctx context.Context, l operation.Leftover) (operation.Leftover, error) {
	var last int64
	if err := t.last(ctx, "leftovers", &last); err != nil {
		return l, err
	}
	l.ID = operation.LeftoverID(last + 1)
	body, err := json.Marshal(l)
	if err != nil {
		return l, fmt.Errorf("encode leftover %s: %w", l.Finding, err)
	}
	if _, err := t.tx.ExecContext(ctx, "INSERT INTO leftovers (id, finding, closed, body) VALUES ($1, $2, 0, $3)", int64(l.ID), l.Finding, string(body)); err != nil {
		return l, fmt.Errorf("note that %s was told: %w", l.Finding, err)
	}
	_, err = t.store.recorder.Append(ctx, t.tx, []operation.Entry{{
		At: l.At, Secret: l.Secret, Outcome: operation.Noted, Step: operation.StepLeftover, Channel: l.Channel, Text: l.Text,
	}})
	if err != nil {
		return l, err
	}
	return l, t.showLeftover(ctx, l)
}

// closeLeftover closes one that is open still.
func (t *reminding) closeLeftover(ctx context.Context, l operation.Leftover, why operation.Settled) error {
	l.Closed = why
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode leftover %s: %w", l.Finding, err)
	}
	done, err := t.tx.ExecContext(ctx, "UPDATE leftovers SET closed = 1, body = $1 WHERE id = $2 AND closed = 0", string(body), int64(l.ID))
	if err := exactlyOne(done, err); errors.Is(err, operation.ErrStale) {
		return nil // somebody else was quicker
	} else if err != nil {
		return fmt.Errorf("close leftover %d: %w", l.ID, err)
	}
	text := l.Title + ": " + why.Why
	if why.Operation != "" {
		text = fmt.Sprintf("%s: removed by operation %s.", l.Title, why.Operation)
	}
	_, err = t.store.recorder.Append(ctx, t.tx, []operation.Entry{{
		At: why.At, Operation: why.Operation, Secret: l.Secret, Outcome: operation.Noted, Step: operation.StepLeftoverGone, Channel: l.Channel, Text: text, Quiet: true,
	}})
	if err != nil {
		return err
	}
	return t.showLeftover(ctx, l)
}

// showLeftover has its message posted or edited. It stands in the lane of the
// channel's reminders, so that it holds nothing else up.
func (t *reminding) showLeftover(ctx context.Context, l operation.Leftover) error {
	return t.add(ctx, operation.Notice{Key: fmt.Sprintf("leftover:%d:%d", l.ID, t.notice+1), Kind: operation.NoticeLeftover, Channel: l.Channel, Leftover: l.ID})
}

// closeBy closes the leftover that an operation has removed.
func (s *Store) closeBy(ctx context.Context, tx *sql.Tx, op operation.Operation) error {
	if op.Kind != runbook.KindLeftover || op.State != operation.Succeeded {
		return nil
	}
	id, err := strconv.ParseInt(op.Options[runbook.OptionTold], 10, 64)
	if err != nil {
		return nil // asked for otherwise: the next sweep sees that it is gone
	}
	l, err := scanLeftover(tx.QueryRowContext(ctx, "SELECT id, message, body FROM leftovers WHERE id = $1 AND closed = 0", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read leftover %d: %w", id, err)
	}
	t, err := s.reminding(ctx, tx)
	if err != nil {
		return err
	}
	return t.closeLeftover(ctx, l, operation.Settled{At: s.now(), Operation: op.ID})
}
