package store

import (
	"context"
	"sync"
	"time"
)

// local runs work in this process as soon as it is durable. Nothing depends on
// it: what it drops, or dies with, is taken up a little later.
type local struct {
	slots chan struct{}
	done  chan []string // envelopes that are handled

	mu      sync.Mutex
	ctx     context.Context // nil while not running
	working sync.WaitGroup
	struck  []string
	timer   *time.Timer
}

const (
	// localSlots bounds what runs at once; most of it waits for vendors.
	localSlots = 256
	// strikeEvery is how long handled envelopes are gathered into one transaction.
	strikeEvery = 250 * time.Millisecond
)

func newLocal() *local {
	return &local{slots: make(chan struct{}, localSlots), done: make(chan []string, 16)}
}

func (l *local) start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = ctx
}

// room is how much soon would run at once now; 0 when it does not run.
func (l *local) room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil || l.ctx.Err() != nil {
		return 0
	}
	return cap(l.slots) - len(l.slots)
}

// wait lets nothing new in, waits until what runs has ended, and returns the
// envelopes that were handled and not given out yet.
func (l *local) wait() []string {
	l.mu.Lock()
	l.ctx = nil
	l.mu.Unlock()
	l.working.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.struck
	l.struck = nil
	for len(l.done) > 0 {
		rest = append(rest, <-l.done...)
	}
	return rest
}

// soon runs f now, if there is room.
func (l *local) soon(f func(ctx context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil || l.ctx.Err() != nil {
		return
	}
	ctx := l.ctx
	select {
	case l.slots <- struct{}{}:
		l.working.Go(func() {
			defer func() { <-l.slots }()
			f(ctx)
		})
	default:
	}
}

// handled gathers envelopes that need no further hand, and gives them out together.
func (l *local) handled(envelope string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.struck = append(l.struck, envelope)
	if l.timer == nil {
		l.timer = time.AfterFunc(strikeEvery, l.flush)
	}
}

func (l *local) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if len(l.struck) == 0 {
		return
	}
	select {
	case l.done <- l.struck:
		l.struck = nil
	default: // the database is slow: with the next ones
		l.timer = time.AfterFunc(strikeEvery, l.flush)
	}
}
