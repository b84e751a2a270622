package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// Envelope is one message of the chat, kept until it is handled. The same id
// twice is one envelope.
type Envelope struct {
	ID   string
	Body json.RawMessage
}

const (
	// againTime is after how long an envelope is handled again when that failed.
	againTime = 40 * time.Second
	// maxAttempts bounds how often an envelope is taken up again.
	maxAttempts = 5
	// knownFor is how long a handled envelope is known. Slack delivers again up to
	// an hour later.
	knownFor = 24 * time.Hour
	// forgetEvery is how often what is older is removed.
	forgetEvery = time.Minute
	// strikeTogether bounds one statement; the next envelope waits for it.
	strikeTogether = 50
)

// insertEnvelope is prepared once: an acknowledgement waits for it, and parsing
// SQL costs as much as running it.
const insertEnvelope = "INSERT INTO envelopes (id, body, vouched, claimed_until) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING"

// Receive makes envelopes durable: when it returns nil, each will be handled,
// once, whatever crashes. All of them or none. They are handled at once in this
// process; what it does not finish is taken up later, by any.
func (s *Store) Receive(ctx context.Context, envelopes []Envelope) error {
	free := s.clock.micros(0)                // no room, or not running yet: they are taken up as soon as anybody can
	here := s.local.room() >= len(envelopes) // asked once: what is free for others is not handled here, too
	if here {
		free = s.until(jobTime)
	}
	fresh, err := s.keepEnvelopes(ctx, envelopes, free)
	if err != nil {
		return fmt.Errorf("keep %d envelopes: %w", len(envelopes), s.db.outage.mark(err))
	}
	if here {
		for _, e := range fresh {
			s.handleHere(lostEnvelope{Envelope: e})
		}
	}
	return nil
}

// keepEnvelopes returns those that are not known yet. One alone, the usual case,
// needs no transaction around it.
func (s *Store) keepEnvelopes(ctx context.Context, envelopes []Envelope, until int64) ([]Envelope, error) {
	if len(envelopes) == 1 {
		return s.keepAll(ctx, s.insert, envelopes, until)
	}
	var fresh []Envelope
	err := s.inTx(ctx, "keep them together", func(tx *sql.Tx) (err error) {
		fresh, err = s.keepAll(ctx, tx.StmtContext(ctx, s.insert), envelopes, until)
		return err
	})
	return fresh, err
}

func (s *Store) keepAll(ctx context.Context, insert *sql.Stmt, envelopes []Envelope, until int64) ([]Envelope, error) {
	var fresh []Envelope
	for _, e := range envelopes {
		err := exactlyOne(insert.ExecContext(ctx, e.ID, string(e.Body), s.vouchEnvelope(e), until))
		if errors.Is(err, operation.ErrStale) {
			continue // known
		}
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, e)
	}
	return fresh, nil
}

// handleHere handles an envelope in this process, if there is room. Its claim
// lasts as long as that takes.
func (s *Store) handleHere(e lostEnvelope) {
	s.local.soon(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, jobTime)
		defer cancel()
		s.claims.keep(envelopeClaim(e.ID), jobTime, claimEnvelope, e.ID, e.attempts)
		defer s.claims.drop(envelopeClaim(e.ID))
		if guard(ctx, s.log, "envelope", e.ID, func() error { return s.handlers.Envelope(ctx, e.Body) }) == nil {
			s.local.handled(e.ID)
			return
		}
		rest := againTime
		if errors.Is(ctx.Err(), context.Canceled) {
			rest = 0 // this process is being stopped; another can do it at once
		}
		s.handleLater(ctx, e, rest)
	})
}

// claimEnvelope says until when an envelope is not to be taken up by others.
const claimEnvelope = "UPDATE envelopes SET claimed_until = $1 WHERE id = $2 AND attempts = $3 AND handled_at = 0"

func envelopeClaim(id string) string { return "envelope " + id }

// handleLater has an envelope whose handling failed rest before anybody takes it up.
func (s *Store) handleLater(ctx context.Context, e lostEnvelope, rest time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, claimEnvelope, s.clock.micros(rest), e.ID, e.attempts); err != nil {
		s.log.WarnContext(ctx, "an envelope is handled again sooner than it should", "envelope", e.ID, "error", err)
	}
}

// strike notes envelopes as handled. What they held is of no use any more.
func (s *Store) strike(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.inTx(ctx, "strike envelopes off", func(tx *sql.Tx) error {
		for some := range slices.Chunk(ids, strikeTogether) {
			places, args := make([]string, len(some)), []any{s.clock.micros(0)}
			for i, id := range some {
				places[i], args = fmt.Sprintf("$%d", i+2), append(args, id)
			}
			if _, err := tx.ExecContext(ctx, "UPDATE envelopes SET handled_at = $1, body = '' WHERE id IN ("+strings.Join(places, ", ")+")", args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// takeUp handles envelopes that the process which had them had no room for, or did
// not finish with: no more than there is room for, since one that is taken up and
// not handled has one attempt less.
func (s *Store) takeUp(ctx context.Context) error {
	room := s.local.room()
	if room == 0 {
		return nil
	}
	lost, err := s.lostEnvelopes(ctx, room)
	if err != nil {
		return err
	}
	for _, l := range lost {
		done, err := s.db.ExecContext(ctx, "UPDATE envelopes SET attempts = attempts + 1, claimed_until = $1 WHERE id = $2 AND attempts = $3 AND handled_at = 0",
			s.until(jobTime), l.ID, l.attempts)
		if err := exactlyOne(done, err); errors.Is(err, operation.ErrStale) {
			continue // another replica was quicker
		} else if err != nil {
			return fmt.Errorf("take envelope %s up: %w", l.ID, err)
		}
		l.attempts++
		if !genuine(l.vouched, s.vouchEnvelope(l.Envelope)) {
			if err := s.recordForged(ctx, "envelope", l.ID); err != nil {
				return err
			}
			s.local.handled(l.ID)
			continue
		}
		if l.attempts > maxAttempts {
			s.log.ErrorContext(ctx, "an envelope could not be handled and is given up", "envelope", l.ID, "attempts", l.attempts)
			s.giveUp(l)
			continue
		}
		s.handleHere(l)
	}
	return nil
}

// giveUp has the person told.
func (s *Store) giveUp(l lostEnvelope) {
	s.local.soon(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, jobTime)
		defer cancel()
		if s.handlers.GiveUp != nil {
			_ = guard(ctx, s.log, "envelope", l.ID, func() error { return s.handlers.GiveUp(ctx, l.Body) }) // logged
		}
		s.local.handled(l.ID)
	})
}

type lostEnvelope struct {
	Envelope
	attempts int
	vouched  string
}

func (s *Store) lostEnvelopes(ctx context.Context, most int) ([]lostEnvelope, error) {
	from, to := s.clock.others(longestClaim)
	rows, err := s.db.QueryContext(ctx, "SELECT id, body, attempts, vouched FROM envelopes WHERE handled_at = 0 AND claimed_until NOT BETWEEN $1 AND $2 ORDER BY claimed_until LIMIT $3", from, to, most)
	if err != nil {
		return nil, fmt.Errorf("look for lost envelopes: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var out []lostEnvelope
	for rows.Next() {
		var l lostEnvelope
		var body string
		if err := rows.Scan(&l.ID, &body, &l.attempts, &l.vouched); err != nil {
			return nil, fmt.Errorf("read a lost envelope: %w", err)
		}
		l.Body = json.RawMessage(body)
		out = append(out, l)
	}
	return out, rows.Err()
}

// forget removes envelopes that were handled long ago.
func (s *Store) forget(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM envelopes WHERE handled_at > 0 AND handled_at < $1", s.clock.micros(-knownFor))
	if err != nil {
		return fmt.Errorf("forget old envelopes: %w", err)
	}
	return nil
}
