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

// tell writes down what people must be told of a change: the card, and one line
// for each entry that is not quiet. When the operation has ended, the record's
// signed head goes under its card, as a witness.
func (s *Store) tell(ctx context.Context, tx *sql.Tx, op operation.Operation, entries []operation.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	// The recorder has locked out other appends, so the highest id is ours to take.
	var last int64
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM notices").Scan(&last); err != nil {
		return fmt.Errorf("number the notices: %w", err)
	}
	add := func(n operation.Notice) error {
		last++
		n.ID, n.Channel, n.Operation = last, op.Channel, op.ID
		return s.insertNotice(ctx, tx, n)
	}
	// A card that nobody has taken up yet will show the newest state anyway.
	var waiting int
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE operation = $1 AND kind = 'card' AND sent_at = 0 AND claimed_until <= $2",
		string(op.ID), micros(time.Now())).Scan(&waiting); err != nil {
		return fmt.Errorf("look for the card's notice: %w", err)
	}
	if waiting == 0 {
		if err := add(operation.Notice{Key: fmt.Sprintf("card:%s:%d", op.ID, op.Epoch), Kind: operation.NoticeCard}); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if e.Quiet {
			continue
		}
		if err := add(operation.Notice{Key: fmt.Sprintf("entry:%s:%d", op.ID, e.Sequence), Kind: operation.NoticeEntry, Entry: e}); err != nil {
			return err
		}
	}
	head, sealed, err := s.recorder.Seal(ctx, tx, !op.State.Open())
	if err != nil {
		// The operation goes on: an emergency must not stop because somebody
		// touched the record. But nobody may miss it.
		s.log.ErrorContext(ctx, "the record could not be signed", "operation", op.ID, "error", err)
		head, sealed = "The record could not be signed: it does not continue what was signed before. Run `twokey audit verify` and have somebody look at once.", true
	}
	if !sealed {
		return nil
	}
	return add(operation.Notice{Key: fmt.Sprintf("checkpoint:%s:%d", op.ID, op.Epoch), Kind: operation.NoticeCheckpoint, Text: head})
}

func (s *Store) insertNotice(ctx context.Context, tx *sql.Tx, n operation.Notice) error {
	entry, err := json.Marshal(n.Entry)
	if err != nil {
		return fmt.Errorf("encode the entry of %s: %w", n.Key, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO notices (id, key, kind, channel, user_id, operation, entry, text, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		n.ID, n.Key, string(n.Kind), string(n.Channel), string(n.User), string(n.Operation), string(entry), n.Text, micros(s.now()))
	if err != nil {
		return fmt.Errorf("write down %s: %w", n.Key, err)
	}
	return nil
}

// notify wakes the poster of this process.
func (s *Store) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// NoticesChanged receives after notices were written in this process. Those of
// other replicas are found by looking now and then.
func (s *Store) NoticesChanged() <-chan struct{} { return s.changed }

// ClaimNotice takes the oldest notice of a channel that nobody else posts to. Each
// channel is told in order: its next notice is free when the one before is sent.
func (s *Store) ClaimNotice(ctx context.Context, _ string, lease time.Duration) (operation.Notice, bool, error) {
	for {
		n, claim, err := s.nextNotice(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return n, false, nil
		}
		if err != nil {
			return n, false, fmt.Errorf("look for a notice: %w", err)
		}
		done, err := s.db.ExecContext(ctx, `UPDATE notices SET claim = claim + 1, attempts = attempts + 1, claimed_until = $1
			WHERE id = $2 AND claim = $3 AND sent_at = 0`, micros(time.Now().Add(lease)), n.ID, claim)
		err = exactlyOne(done, err)
		if errors.Is(err, operation.ErrStale) {
			continue // another replica was quicker; there may be one for us
		}
		n.Claim, n.Attempts = claim+1, n.Attempts+1
		return n, err == nil, err
	}
}

func (s *Store) nextNotice(ctx context.Context) (operation.Notice, int64, error) {
	now := micros(time.Now())
	row := s.db.QueryRowContext(ctx, `SELECT id, key, kind, channel, user_id, operation, entry, text, created_at, attempts, claim FROM notices n
		WHERE sent_at = 0 AND not_before <= $1 AND claimed_until <= $1
		AND NOT EXISTS (SELECT 1 FROM notices e WHERE e.sent_at = 0 AND e.channel = n.channel AND e.id < n.id)
		ORDER BY id LIMIT 1`, now)
	var (
		n                              operation.Notice
		kind, channel, user, id, entry string
		created, claim                 int64
	)
	if err := row.Scan(&n.ID, &n.Key, &kind, &channel, &user, &id, &entry, &n.Text, &created, &n.Attempts, &claim); err != nil {
		return n, 0, err
	}
	if err := json.Unmarshal([]byte(entry), &n.Entry); err != nil {
		return n, 0, fmt.Errorf("decode the entry of %s: %w", n.Key, err)
	}
	n.Kind, n.Channel, n.User = operation.NoticeKind(kind), operation.ChannelID(channel), operation.UserID(user)
	n.Operation, n.CreatedAt = operation.ID(id), instant(created)
	return n, claim, nil
}

// NoticeSent notes that n was told as message. ErrStale means that the claim was
// lost meanwhile: somebody else tells it, and this message is a double.
func (s *Store) NoticeSent(ctx context.Context, n operation.Notice, message operation.MessageID) error {
	return s.inTx(ctx, "note that "+n.Key+" is told", func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE notices SET sent_at = $1, message = $2 WHERE id = $3 AND claim = $4 AND sent_at = 0",
			micros(s.now()), string(message), n.ID, n.Claim)
		if err := exactlyOne(done, err); err != nil {
			return err
		}
		switch n.Kind {
		case operation.NoticeCard:
			_, err = tx.ExecContext(ctx, "UPDATE operations SET card = $1 WHERE id = $2", string(message), string(n.Operation))
		case operation.NoticeCheckpoint:
			_, err = tx.ExecContext(ctx, "UPDATE record_checkpoints SET channel = $1, message = $2 WHERE note = $3", string(n.Channel), string(message), n.Text)
		case operation.NoticeEntry, operation.NoticeDirect: // nobody asks where they stand
		}
		return err
	})
}

// NoticeMine reports whether the claim on n still holds.
func (s *Store) NoticeMine(ctx context.Context, n operation.Notice) (bool, error) {
	var count int
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE id = $1 AND claim = $2 AND sent_at = 0", n.ID, n.Claim).Scan(&count)
	if err != nil {
		return false, fmt.Errorf("look at the claim on %s: %w", n.Key, err)
	}
	return count == 1, nil
}

// NoticeLater gives n back, not to be tried again before after has passed.
func (s *Store) NoticeLater(ctx context.Context, n operation.Notice, after time.Duration) error {
	done, err := s.db.ExecContext(ctx, "UPDATE notices SET claimed_until = 0, not_before = $1 WHERE id = $2 AND claim = $3 AND sent_at = 0",
		micros(time.Now().Add(after)), n.ID, n.Claim)
	return exactlyOne(done, err)
}

// UntoldNotices counts what is still to be told.
func (s *Store) UntoldNotices(ctx context.Context) (int, error) {
	var n int
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE sent_at = 0").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count what is untold: %w", err)
	}
	return n, nil
}
