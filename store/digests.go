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

// LastDigest is when the newest weekly digest was told; zero when none ever was.
func (s *Store) LastDigest(ctx context.Context) (time.Time, error) {
	var at int64
	if err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(told_at), 0) FROM digests").Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("read when the last digest was told: %w", err)
	}
	return instant(at), nil
}

// TellDigest tells a weekly digest that follows on the one told at last, and its
// picture; it does nothing when another was told since. That it was told, and what
// is to be told, are one transaction.
func (s *Store) TellDigest(ctx context.Context, last time.Time, d operation.WeeklyDigest, picture []byte) error {
	return s.remindIn(ctx, "tell the digest", func(t *reminding) error {
		var newest int64
		if err := t.tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(told_at), 0) FROM digests").Scan(&newest); err != nil {
			return err
		}
		if newest != micros(last) {
			return nil // another replica was quicker
		}
		var id int64
		if err := t.last(ctx, "digests", &id); err != nil {
			return err
		}
		d.ID = operation.DigestID(id + 1)
		body, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode the digest: %w", err)
		}
		if picture == nil {
			picture = []byte{}
		}
		if _, err := t.tx.ExecContext(ctx, "INSERT INTO digests (id, told_at, since, body, picture) VALUES ($1, $2, $3, $4, $5)",
			int64(d.ID), micros(d.At), micros(d.Since), string(body), picture); err != nil {
			return err
		}
		_, err = s.recorder.Append(ctx, t.tx, []operation.Entry{{At: d.At, Outcome: operation.Noted, Step: operation.StepDigest, Channel: d.Channel, Text: d.Summary(), Quiet: true}})
		if err != nil {
			return err
		}
		kinds := []operation.NoticeKind{operation.NoticeDigest, operation.NoticeMonths, operation.NoticePicture}
		for _, kind := range kinds {
			if kind == operation.NoticePicture && len(picture) == 0 {
				continue
			}
			if err := t.addIn(ctx, fmt.Sprintf("digest:%d", d.ID), operation.Notice{Key: fmt.Sprintf("%s:%d", kind, d.ID), Kind: kind, Channel: d.Channel, Digest: d.ID}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Digest returns a weekly digest, with its picture if it has one.
func (s *Store) Digest(ctx context.Context, id operation.DigestID) (operation.WeeklyDigest, []byte, error) {
	var d operation.WeeklyDigest
	var message, body string
	var picture []byte
	err := s.db.QueryRowContext(ctx, "SELECT message, body, picture FROM digests WHERE id = $1", int64(id)).Scan(&message, &body, &picture)
	if errors.Is(err, sql.ErrNoRows) {
		return d, nil, operation.ErrUnknown
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &d)
	}
	if err != nil {
		return d, nil, fmt.Errorf("read digest %d: %w", id, err)
	}
	d.ID, d.Message = id, operation.MessageID(message)
	return d, picture, nil
}
