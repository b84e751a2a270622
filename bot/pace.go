package bot

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/twokey/twokey/operation"
)

// Turns are the channels' turns and the edits that all replicas share: Slack's limits
// of a message a second in a channel and of edits in all of them are the bot's, however
// many processes it has.
type Turns interface {
	// TakeTurn takes a channel's turn for at most hold. The turn is zero while
	// somebody else has it or the channel rests; then wait says for how long.
	TakeTurn(ctx context.Context, channel operation.ChannelID, hold time.Duration) (turn time.Time, wait time.Duration, err error)
	// EndTurn gives a turn back and has the channel rest. One that was lost stays so.
	EndTurn(ctx context.Context, channel operation.ChannelID, turn time.Time, rest time.Duration) error
	// TakeEdit takes one of the edits that there may be: one each so long and, after a
	// rest, a burst of them. While there is none, it says for how long.
	TakeEdit(ctx context.Context, each time.Duration, burst int) (wait time.Duration, err error)
}

const (
	// turnTime is how long a replica that died in its turn keeps others waiting.
	turnTime = 10 * time.Second
	// turnLook is the longest wait between two looks at another's turn.
	turnLook = 200 * time.Millisecond
	// editBurst is how many edits come at once after a rest.
	editBurst = 5
)

// pace keeps to Slack's limits of a message a second in each channel, whichever lanes
// lead there, and of edits, whichever replicas write.
type pace struct {
	spacing  time.Duration
	editEach time.Duration
	edits    *rate.Limiter // this process's
	shared   Turns         // nil: nobody else writes

	mu       sync.Mutex
	channels map[operation.ChannelID]*turns
}

// turns are those of one channel.
type turns struct {
	taken chan struct{} // holds an element while somebody writes
	free  time.Time     // when the channel takes its next message
	users int           // who hold or want the turn
}

func newPace(spacing, editEach time.Duration, shared Turns) *pace {
	return &pace{
		spacing: spacing, editEach: editEach, edits: rate.NewLimiter(rate.Every(editEach), editBurst),
		shared: shared, channels: map[operation.ChannelID]*turns{},
	}
}

// edit waits until a message may be edited.
func (p *pace) edit(ctx context.Context) error {
	if err := p.edits.Wait(ctx); err != nil {
		return err
	}
	if p.shared == nil {
		return nil
	}
	for {
		wait, err := p.shared.TakeEdit(ctx, p.editEach, editBurst)
		if err != nil || wait == 0 {
			return err
		}
		if !pause(ctx, wait) {
			return context.Cause(ctx)
		}
	}
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
	give, err := p.among(ctx, channel)
	if err != nil {
		<-t.taken
		p.leave(t)
		return nil, err
	}
	return func(wrote bool) {
		if wrote {
			t.free = time.Now().Add(p.spacing)
		}
		give(wrote)
		<-t.taken
		p.leave(t)
	}, nil
}

// among waits for this process's turn among the replicas.
func (p *pace) among(ctx context.Context, channel operation.ChannelID) (give func(wrote bool), err error) {
	if p.shared == nil {
		return func(bool) {}, nil
	}
	for {
		turn, wait, err := p.shared.TakeTurn(ctx, channel, turnTime)
		if err != nil {
			return nil, err
		}
		if !turn.IsZero() {
			return func(wrote bool) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
				defer cancel()
				rest := p.spacing
				if !wrote {
					rest = 0
				}
				_ = p.shared.EndTurn(ctx, channel, turn, rest) // else it ends by itself
			}, nil
		}
		if !pause(ctx, min(wait, turnLook)) {
			return nil, context.Cause(ctx)
		}
	}
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
