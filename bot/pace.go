package bot

import (
	"context"
	"sync"
	"time"

	"github.com/twokey/twokey/operation"
)

// pace keeps to Slack's limit of a message a second in each channel, whichever
// lanes lead there.
type pace struct {
	spacing time.Duration

	mu       sync.Mutex
	channels map[operation.ChannelID]*turns
}

// turns are those of one channel.
type turns struct {
	taken chan struct{} // holds an element while somebody writes
	free  time.Time     // when the channel takes its next message
	users int           // who hold or want the turn
}

func newPace(spacing time.Duration) *pace {
	return &pace{spacing: spacing, channels: map[operation.ChannelID]*turns{}}
}

// turn waits until the channel takes a message and nobody else is writing one.
// What it returns ends the turn and says whether something was written. Counted
// from the call's end, two messages are never closer at Slack's side than they are
// here.
func (p *pace) turn(ctx context.Context, channel operation.ChannelID) (done func(wrote bool), err error) {
	t := p.enter(channel)
	select {
	case t.taken <- struct{}{}:
	case <-ctx.Done():
		p.leave(t)
		return nil, context.Cause(ctx)
	}
	if !pause(ctx, time.Until(t.free)) {
		<-t.taken
		p.leave(t)
		return nil, context.Cause(ctx)
	}
	return func(wrote bool) {
		if wrote {
			t.free = time.Now().Add(p.spacing)
		}
		<-t.taken
		p.leave(t)
	}, nil
}

func (p *pace) enter(channel operation.ChannelID) *turns {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for id, t := range p.channels { // channels of past incidents and people paged once
		if t.users == 0 && t.free.Before(now) {
			delete(p.channels, id)
		}
	}
	t, ok := p.channels[channel]
	if !ok {
		t = &turns{taken: make(chan struct{}, 1)}
		p.channels[channel] = t
	}
	t.users++
	return t
}

func (p *pace) leave(t *turns) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.users--
}

// pause reports whether the wait was not cut short.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
