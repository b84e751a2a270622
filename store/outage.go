package store

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outage is what this process knows of a database that cannot be used. It is told once,
// now and then while it lasts, and when it is over: a line for each thing that fails
// meanwhile would be some six a second.
type outage struct {
	log *slog.Logger

	mu    sync.Mutex
	why   string    // empty: the database can be used
	since time.Time // when it began
	last  time.Time // when something failed by it last
	told  time.Time
}

const (
	// tellOutage is how often an outage that lasts is told.
	tellOutage = time.Minute
	// fullFor is how long nothing may have failed until a disk counts as having space:
	// one that is full still takes some of what is written.
	fullFor = 30 * time.Second
)

// began notes that something failed.
func (o *outage) began(why string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.last = now
	switch {
	case o.why != why:
		o.why, o.since = why, now
		o.log.Error("the database cannot be used: what people do is left for Slack to send again, and operations stand still", "why", why, "error", err)
	case now.Sub(o.told) >= tellOutage:
		o.log.Error("the database still cannot be used", "why", why, "for", now.Sub(o.since).Round(time.Second).String(), "error", err)
	default:
		return
	}
	o.told = now
}

// over notes that the database was read.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.why == "" || o.why == diskFull && time.Since(o.last) < fullFor {
		return
	}
	o.log.Info("the database can be used again", "was", o.why, "for", time.Since(o.since).Round(time.Second).String())
	o.why = ""
}

// trouble says why the database cannot be used; empty when it can.
func (o *outage) trouble() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

// hush keeps what River logs of an outage to itself: the outage is told once.
type hush struct {
	slog.Handler
	outage *outage
}

// Enabled implements slog.Handler.
func (h hush) Enabled(ctx context.Context, level slog.Level) bool {
	return h.outage.trouble() == "" && h.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h hush) WithAttrs(attrs []slog.Attr) slog.Handler {
	return hush{h.Handler.WithAttrs(attrs), h.outage}
}

// WithGroup implements slog.Handler.
func (h hush) WithGroup(name string) slog.Handler { return hush{h.Handler.WithGroup(name), h.outage} }
