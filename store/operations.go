package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// columns are those of an operation, in the order that scan reads, and the record's
// newest entry of a change of it: an earlier row with its code, put back, is older.
const columns = "id, state, epoch, card, due, lease_owner, lease_until, room_channel, room_status, room_trouble, body, vouched, " +
	`(SELECT entry FROM record WHERE record.operation = operations.id AND entry LIKE '%,"epoch":%' ORDER BY seq DESC LIMIT 1)`

type scanner interface{ Scan(dest ...any) error }

// scan reads one operation. The columns that others change count, not the body.
func (s *Store) scan(row scanner) (operation.Operation, error) {
	var (
		op              operation.Operation
		id, vouched     string
		state, card     string
		owner, body     string
		channel, status string
		trouble         string
		epoch, due, end int64
		newest          sql.NullString
		recorded        operation.Entry
	)
	if err := row.Scan(&id, &state, &epoch, &card, &due, &owner, &end, &channel, &status, &trouble, &body, &vouched, &newest); err != nil {
		return op, err
	}
	forged := s.recorder != nil && !genuine(vouched, s.vouchOperation(operation.ID(id), operation.State(state), body))
	if err := json.Unmarshal([]byte(body), &op); err != nil && !forged {
		return op, fmt.Errorf("decode the operation: %w", err)
	}
	if s.recorder != nil && newest.Valid {
		err := json.Unmarshal([]byte(newest.String), &recorded)
		forged = forged || err != nil || op.Epoch < recorded.Epoch
	}
	op.Forged, op.ID = forged, operation.ID(id)
	op.State, op.Epoch, op.Card = operation.State(state), epoch, operation.MessageID(card)
	op.Due, op.LeaseOwner, op.LeaseUntil = instant(due), owner, instant(end)
	op.RoomChannel, op.RoomStatus, op.RoomTrouble = operation.ChannelID(channel), operation.MessageID(status), trouble
	return op, nil
}

// Operation implements operation.Reader.
func (s *Store) Operation(ctx context.Context, id operation.ID) (operation.Operation, error) {
	op, err := s.scan(s.db.QueryRowContext(ctx, "SELECT "+columns+" FROM operations WHERE id = $1", string(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return op, operation.ErrUnknown
	}
	if err != nil {
		return op, fmt.Errorf("read operation %s: %w", id, err)
	}
	return op, nil
}

// OpenOperations implements operation.Reader.
func (s *Store) OpenOperations(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error) {
	return s.Operations(ctx, Filter{Secret: secret, OpenOnly: true})
}

// Asked implements operation.Reader.
func (s *Store) Asked(ctx context.Context, envelope string) (operation.Operation, bool, error) {
	op, err := s.scan(s.db.QueryRowContext(ctx, "SELECT "+columns+" FROM operations WHERE envelope = $1", envelope))
	if errors.Is(err, sql.ErrNoRows) {
		return op, false, nil
	}
	if err != nil {
		return op, false, fmt.Errorf("look for envelope %s: %w", envelope, err)
	}
	return op, true, nil
}

// Create implements operation.Writer.
func (s *Store) Create(ctx context.Context, op operation.Operation, entries []operation.Entry, notices []operation.Notice) (operation.Operation, error) {
	before, found, err := s.Asked(ctx, op.Envelope)
	if found || err != nil {
		return before, err
	}
	body, err := json.Marshal(op)
	if err != nil {
		return op, fmt.Errorf("encode operation %s: %w", op.ID, err)
	}
	err = s.inTx(ctx, "create operation "+string(op.ID), func(tx *sql.Tx) error {
		recorded, err := s.recorder.Append(ctx, tx, entries)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO operations
			(id, kind, secret, state, epoch, requester_person, approver_person, envelope, channel, requested_at, lapses_at, due, body, vouched)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			string(op.ID), string(op.Kind), string(op.Secret), string(op.State), op.Epoch, string(op.Requester.Person), string(op.Approver.Person),
			op.Envelope, string(op.Channel), micros(op.RequestedAt), micros(op.LapsesAt), micros(op.Due), string(body), s.vouchOperation(op.ID, op.State, string(body)))
		if uniqueViolation(err) {
			return operation.ErrOpen
		}
		if err != nil {
			return err
		}
		return s.tell(ctx, tx, op, recorded, notices...)
	})
	if err != nil {
		return op, err
	}
	s.notify()
	return op, nil
}

// Change implements operation.Writer.
func (s *Store) Change(ctx context.Context, t operation.Transition) (operation.Operation, error) {
	op := t.Operation
	op.Epoch++
	if t.Wake {
		// The queue has it now; the reconciler looks only when it was lost there.
		op.LeaseOwner, op.LeaseUntil = "", s.clock.now().Add(wakeTime)
	}
	body, err := json.Marshal(op)
	if err != nil {
		return op, fmt.Errorf("encode operation %s: %w", op.ID, err)
	}
	for i := range t.Entries {
		t.Entries[i].Epoch = op.Epoch
	}
	err = s.inTx(ctx, "change operation "+string(op.ID), func(tx *sql.Tx) error {
		recorded, err := s.append(ctx, tx, t.Entries)
		if err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, `UPDATE operations
			SET state = $1, epoch = $2, approver_person = $3, due = $4, lease_owner = $5, lease_until = $6, body = $7, vouched = $8
			WHERE id = $9 AND state = $10 AND epoch = $11`,
			string(op.State), op.Epoch, string(op.Approver.Person), micros(op.Due), op.LeaseOwner, micros(op.LeaseUntil), string(body), s.vouchOperation(op.ID, op.State, string(body)),
			string(op.ID), string(t.From), t.Operation.Epoch)
		if err := exactlyOne(done, err); err != nil {
			return err
		}
		if err := useCode(ctx, tx, t.Code); err != nil {
			return err
		}
		files, err := s.keep(ctx, tx, t.Documents)
		if err != nil {
			return err
		}
		if err := s.tell(ctx, tx, op, recorded, files...); err != nil {
			return err
		}
		if err := s.supersede(ctx, tx, t.Supersedes, op); err != nil {
			return err
		}
		if err := s.settleBy(ctx, tx, op); err != nil {
			return err
		}
		if err := s.closeBy(ctx, tx, op); err != nil {
			return err
		}
		if t.Wake {
			return s.wake(ctx, tx, op.ID, op.Epoch)
		}
		return nil
	})
	if err != nil {
		return t.Operation, err
	}
	s.notify()
	if t.Wake {
		s.wakeHere(op.ID, op.Epoch)
	}
	return op, nil
}

// supersede ends other operations, wherever they stand: their workers are stopped
// by the fence. They may have come further since they were read, so they are read
// once more under the update's own lock.
func (s *Store) supersede(ctx context.Context, tx *sql.Tx, others []operation.Operation, by operation.Operation) error {
	for _, read := range others {
		other, err := s.scan(tx.QueryRowContext(ctx, `UPDATE operations SET state = 'superseded', epoch = epoch + 1, lease_owner = '', lease_until = 0
			WHERE id = $1 AND state IN ('pending', 'approved', 'running', 'waiting', 'undoing', 'parked') RETURNING `+columns, string(read.ID)))
		if errors.Is(err, sql.ErrNoRows) {
			continue // it has ended by itself
		}
		if err != nil {
			return fmt.Errorf("supersede operation %s: %w", read.ID, err)
		}
		other.EndedAt, other.SupersededBy = s.now(), by.ID
		body, err := json.Marshal(other)
		if err != nil {
			return fmt.Errorf("encode operation %s: %w", other.ID, err)
		}
		done, err := tx.ExecContext(ctx, "UPDATE operations SET body = $1, vouched = $2 WHERE id = $3",
			string(body), s.vouchOperation(other.ID, other.State, string(body)), string(other.ID))
		if err := exactlyOne(done, err); err != nil {
			return fmt.Errorf("supersede operation %s: %w", other.ID, err)
		}
		recorded, err := s.recorder.Append(ctx, tx, []operation.Entry{{
			At: s.now(), Operation: other.ID, Secret: other.Secret, Event: operation.Supersede, State: operation.Superseded, Epoch: other.Epoch,
			Outcome: operation.Noted, By: &by.Approver, Digest: other.Digest, Text: fmt.Sprintf("Emergency %s has taken this operation's place. What it left behind is cleared up there.", by.ID),
		}})
		if err != nil {
			return err
		}
		if err := s.tell(ctx, tx, other, recorded); err != nil {
			return err
		}
	}
	return nil
}

// append is the recorder's, for transitions that may have nothing to record.
func (s *Store) append(ctx context.Context, tx *sql.Tx, entries []operation.Entry) ([]operation.Entry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	return s.recorder.Append(ctx, tx, entries)
}

// Record implements operation.Writer.
func (s *Store) Record(ctx context.Context, entries []operation.Entry) error {
	return s.inTx(ctx, "record", func(tx *sql.Tx) error {
		_, err := s.recorder.Append(ctx, tx, entries)
		return err
	})
}

// Claim implements operation.Leases. A wake-up that comes a minute late is left to the
// reconciler, which knows for how long nobody worked.
func (s *Store) Claim(ctx context.Context, id operation.ID, epoch int64, owner string, lease time.Duration) (operation.Operation, error) {
	from, to := s.clock.others(longestClaim)
	op, err := s.scan(s.db.QueryRowContext(ctx, `UPDATE operations SET epoch = epoch + 1, lease_owner = $1, lease_until = $2
		WHERE id = $3 AND epoch = $4 AND CASE lease_owner WHEN '' THEN lease_until = 0 OR lease_until BETWEEN $7 AND $6 ELSE lease_until NOT BETWEEN $5 AND $6 END RETURNING `+columns,
		owner, s.clock.micros(lease), string(id), epoch, from, to, from-longestClaim.Microseconds()))
	if errors.Is(err, sql.ErrNoRows) {
		return op, operation.ErrStale
	}
	return op, err
}

// Renew implements operation.Leases.
func (s *Store) Renew(ctx context.Context, op operation.Operation, lease time.Duration) error {
	from, to := s.clock.others(longestClaim)
	done, err := s.db.ExecContext(ctx, `UPDATE operations SET lease_until = $1
		WHERE id = $2 AND epoch = $3 AND lease_owner = $4 AND lease_until BETWEEN $5 AND $6`,
		s.clock.micros(lease), string(op.ID), op.Epoch, op.LeaseOwner, from, to)
	return exactlyOne(done, err)
}

// exactlyOne turns an update that hit no row into ErrStale.
func exactlyOne(done sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return operation.ErrStale
	}
	return nil
}

// Filter selects operations for people to read.
type Filter struct {
	OpenOnly bool
	Secret   operation.SecretName
	Limit    int // 0 is 100
}

// Operations returns operations, newest first.
func (s *Store) Operations(ctx context.Context, f Filter) ([]operation.Operation, error) {
	if f.Limit == 0 {
		f.Limit = 100
	}
	open := 0
	if f.OpenOnly {
		open = 1
	}
	rows, err := s.db.QueryContext(ctx, "SELECT "+columns+` FROM operations
		WHERE ($1 = '' OR secret = $1)
		AND ($2 = 0 OR state IN ('pending', 'approved', 'running', 'waiting', 'undoing', 'parked'))
		ORDER BY requested_at DESC LIMIT $3`, string(f.Secret), open, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	return s.collect(rows)
}

// OperationsOf returns the newest operations on a secret, open and ended.
func (s *Store) OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error) {
	return s.Operations(ctx, Filter{Secret: secret})
}

func (s *Store) collect(rows *sql.Rows) ([]operation.Operation, error) {
	defer func() { _ = rows.Close() }()
	var out []operation.Operation
	for rows.Next() {
		op, err := s.scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, op)
	}
	return out, rows.Err()
}
