package inventory

import (
	"context"
	"fmt"
	"time"
)

// Cache spares the vendors a sweep for every look: who only shows the inventory
// takes one that is not too old, and says of when it is. Who decides by it sweeps.
type Cache struct {
	sweep  func(context.Context) (Inventory, error)
	maxAge time.Duration
	now    func() time.Time

	turn chan struct{} // holds a token while nobody sweeps; guards last
	last Inventory
}

// NewCache returns an empty cache.
func NewCache(sweep func(context.Context) (Inventory, error), maxAge time.Duration, now func() time.Time) *Cache {
	c := &Cache{sweep: sweep, maxAge: maxAge, now: now, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// Get returns an inventory that is at most as old as the cache allows. Those who
// ask during a sweep wait for it and share it. Nobody may change what is in it.
func (c *Cache) Get(ctx context.Context) (Inventory, error) {
	return c.get(ctx, func() bool { return c.now().Sub(c.last.At) <= c.maxAge })
}

// Refresh returns an inventory that was begun after the call.
func (c *Cache) Refresh(ctx context.Context) (Inventory, error) {
	asked := c.now()
	return c.get(ctx, func() bool { return c.last.At.After(asked) })
}

func (c *Cache) get(ctx context.Context, good func() bool) (Inventory, error) {
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return Inventory{}, fmt.Errorf("wait for a sweep: %w", ctx.Err())
	}
	if !c.last.At.IsZero() && good() {
		return c.last, nil
	}
	fresh, err := c.sweep(ctx)
	if err != nil {
		return Inventory{}, err
	}
	c.last = fresh
	return fresh, nil
}
