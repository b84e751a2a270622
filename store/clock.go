package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// clock measures: leases, claims, turns and patience are instants of it, which other
// processes compare. No jump of this machine's clock moves it: between two looks at
// where it comes from it goes on as the process's monotonic clock does. On PostgreSQL it
// comes from the database, the same for all replicas. On SQLite, which is for one
// process, it begins as the machine's clock and is nobody else's.
type clock struct {
	mu   sync.Mutex
	base time.Time // what it showed
	at   time.Time // when, by the monotonic clock
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Add(time.Since(c.at))
}

// micros is d from now, as it is stored.
func (c *clock) micros(d time.Duration) int64 { return micros(c.now().Add(d)) }

// others is between which instants a claim may end that somebody holds. One that ended
// is free, and so is one that ends later than longest from now: it was made before the
// database's own clock was set back.
func (c *clock) others(longest time.Duration) (from, to int64) {
	now := c.micros(0)
	return now + 1, now + longest.Microseconds()
}

// longestClaim is longer than any claim, but for that on a notice, which rests.
const longestClaim = time.Minute

// learn sets the clock by an instant that somebody told, who was asked and answered: it
// was then at some time between the two. Where the clock can be right, it stays.
func (c *clock) learn(told, asked, answered time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	latest := told.Add(answered.Sub(asked))
	shows := c.base.Add(answered.Sub(c.at))
	switch {
	case shows.Before(told):
		shows = told
	case shows.After(latest):
		shows = latest
	}
	c.base, c.at = shows, answered
}

// readClock asks PostgreSQL for the time.
func (s *Store) readClock(ctx context.Context) error {
	if s.listen == nil {
		return nil
	}
	var us int64
	asked := time.Now()
	if err := s.db.QueryRowContext(ctx, "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)").Scan(&us); err != nil {
		return fmt.Errorf("ask the database for the time: %w", err)
	}
	s.clock.learn(instant(us), asked, time.Now())
	return nil
}

// startClock sets the clock for the first time. On SQLite, when the machine's clock was
// set back since the process before, it goes on where that one's claims end: whoever
// held them is gone.
func (s *Store) startClock(ctx context.Context) error {
	if s.listen != nil {
		return s.readClock(ctx)
	}
	now := time.Now()
	base := now.Round(0)
	var last int64
	err := s.db.QueryRowContext(ctx, "SELECT at FROM clock").Scan(&last)
	if err != nil {
		return fmt.Errorf("read how late it was: %w", err)
	}
	if base.Before(instant(last)) {
		var claimed sql.NullInt64
		err := s.db.QueryRowContext(ctx, `SELECT MAX(until) FROM (
			SELECT MAX(lease_until) AS until FROM operations WHERE state IN ('approved', 'running', 'waiting', 'undoing')
			UNION ALL SELECT MAX(claimed_until) FROM notices WHERE sent_at = 0
			UNION ALL SELECT MAX(claimed_until) FROM envelopes WHERE handled_at = 0
			UNION ALL SELECT MAX(claimed_until) FROM ticks) AS claims`).Scan(&claimed)
		if err != nil {
			return fmt.Errorf("read until when things are claimed: %w", err)
		}
		base = instant(max(last, claimed.Int64))
		s.log.WarnContext(ctx, "the machine's clock was set back since I last ran", "by", base.Sub(now).Round(time.Second).String())
	}
	s.clock.base, s.clock.at = base, now
	return s.keepClock(ctx)
}

// keepClock writes down how late it is, on SQLite, for the process after this one.
func (s *Store) keepClock(ctx context.Context) error {
	if s.listen != nil {
		return nil
	}
	if _, err := s.db.ExecContext(ctx, "UPDATE clock SET at = $1 WHERE at < $1", s.clock.micros(0)); err != nil {
		return fmt.Errorf("note how late it is: %w", err)
	}
	return nil
}

// Clock is the instant that only measures: for leases, for how long something takes. It
// is the same for all replicas, whatever their machines' clocks say, and does not jump.
func (s *Store) Clock() time.Time { return s.clock.now() }

// Now is the instant that people see, and by which what is due at a time of day is due:
// [Options.Now], if that was given. Otherwise it is PostgreSQL's clock; on SQLite it is
// the machine's, but a jump of that is followed only when it has lasted.
func (s *Store) Now() time.Time { return s.now() }

const (
	// jump is by how much the machine's clock has to be elsewhere at once to have jumped:
	// what keeps it right moves it by less.
	jump = 2 * time.Second
	// believeAfter is how long the machine's clock stays elsewhere until that is
	// believed: a mistake is mended sooner.
	believeAfter = time.Hour
)

// calendar is the machine's clock without jumps that are mended.
type calendar struct {
	log *slog.Logger

	mu   sync.Mutex
	base time.Time     // what it showed
	at   time.Time     // when, by the monotonic clock
	off  time.Duration // by how much the machine's clock has jumped; 0: it has not
	seen time.Time     // when that was seen
}

func (c *calendar) now() time.Time {
	now := time.Now()
	return c.read(now.Round(0), now)
}

// read is what it shows when the machine's clock shows an instant, now by the monotonic
// clock.
func (c *calendar) read(machine, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		c.base, c.at = machine, now
	}
	shows := c.base.Add(now.Sub(c.at))
	off := machine.Sub(shows)
	switch {
	case off.Abs() < jump:
		if c.off != 0 {
			c.log.Info("the machine's clock is right again", "was_off_by", c.off.Round(time.Second).String())
		}
		c.base, c.at, c.off = machine, now, 0
		return machine
	case c.off == 0 || (off-c.off).Abs() >= jump:
		c.off, c.seen = off, now
		c.log.Error("the machine's clock has jumped; I follow it when it stays so for an hour", "by", off.Round(time.Second).String())
	case now.Sub(c.seen) >= believeAfter:
		c.log.Warn("the machine's clock has stayed where it jumped to, and I follow it now", "by", off.Round(time.Second).String())
		c.base, c.at, c.off = machine, now, 0
		return machine
	}
	return shows
}

// nowOf is the clock that people see.
func (s *Store) nowOf(given func() time.Time) func() time.Time {
	if given != nil {
		return given
	}
	if s.listen != nil {
		return s.Clock
	}
	return (&calendar{log: cmp.Or(s.log, slog.Default())}).now
}
