package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twokey/twokey/operation"
)

const (
	// claimTime is how long a claim outlives its process: then any other may take
	// over what was claimed.
	claimTime = 12 * time.Second
	// keepEvery is how often the claims of this process are extended.
	keepEvery = 3 * time.Second
)

// claims are what this process works on. They are extended for as long as it
// lives, so a long one need not keep others waiting when it dies.
type claims struct {
	mu   sync.Mutex
	held map[string]*claim
}

// claim is one row that is claimed.
type claim struct {
	extend string // statement: $1 is until when, the others are args
	args   []any
	next   time.Time // when it is extended
	ends   time.Time // it is not extended beyond
}

func newClaims() *claims { return &claims{held: map[string]*claim{}} }

// until is how long a claim of d holds before it has to be extended.
func (s *Store) until(d time.Duration) int64 { return s.clock.micros(min(d, claimTime)) }

// keep extends a claim until it is dropped, and for d at most.
func (c *claims) keep(key string, d time.Duration, extend string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.held[key] = &claim{extend: extend, args: args, next: now.Add(keepEvery), ends: now.Add(d)}
}

func (c *claims) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, key)
}

// due takes stock of the claims that are to be extended now.
func (c *claims) due(now time.Time) map[string]claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.held, func(_ string, h *claim) bool { return now.After(h.ends) })
	out := map[string]claim{}
	for key, h := range c.held {
		if !now.Before(h.next) {
			h.next = now.Add(keepEvery)
			out[key] = *h
		}
	}
	return out
}

// keepClaims extends the claims that are due for it. One that somebody else has
// taken over, because this process slept, is dropped.
func (s *Store) keepClaims(ctx context.Context) error {
	due := s.claims.due(time.Now())
	for _, key := range slices.Sorted(maps.Keys(due)) {
		c := due[key]
		done, err := s.db.ExecContext(ctx, c.extend, append([]any{s.until(time.Until(c.ends))}, c.args...)...)
		switch err := exactlyOne(done, err); {
		case errors.Is(err, operation.ErrStale):
			s.claims.drop(key)
		case err != nil:
			return err
		}
	}
	return nil
}
