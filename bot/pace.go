package bot

import (
	"context"
	"strconv"
	"strings"
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
	quickest quickest
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

// edit waits until a message may be edited and nobody else here edits this one, so
// that none covers a newer.
func (p *pace) edit(ctx context.Context, message string) (done func(), err error) {
	if err := p.edits.Wait(ctx); err != nil {
		return nil, err
	}
	for p.shared != nil {
		wait, err := p.shared.TakeEdit(ctx, p.editEach, editBurst)
		if err != nil {
			return nil, err
		}
		if wait == 0 {
			break
		}
		if !pause(ctx, wait) {
			return nil, context.Cause(ctx)
		}
	}
	t, err := p.alone(ctx, operation.ChannelID(message))
	if err != nil {
		return nil, err
	}
	return func() { p.leave(t) }, nil
}

// alone waits until nobody else here writes there.
func (p *pace) alone(ctx context.Context, where operation.ChannelID) (*turns, error) {
	t := p.enter(where)
	select {
	case t.taken <- struct{}{}:
		return t, nil
	case <-ctx.Done():
		p.gone(t)
		return nil, context.Cause(ctx)
	}
}

// turn waits until the channel takes a message and nobody else is writing one.
// What it returns ends the turn and says whether something was written and, if Slack
// has just dated it, as which message.
func (p *pace) turn(ctx context.Context, channel operation.ChannelID) (done func(wrote bool, id operation.MessageID), err error) {
	t, err := p.alone(ctx, channel)
	if err != nil {
		return nil, err
	}
	if !pause(ctx, time.Until(t.free)) {
		p.leave(t)
		return nil, context.Cause(ctx)
	}
	give, err := p.among(ctx, channel)
	if err != nil {
		p.leave(t)
		return nil, err
	}
	began := time.Now()
	return func(wrote bool, id operation.MessageID) {
		rest := time.Duration(0)
		if wrote {
			t.free = p.quickest.reached(began, time.Now(), id).Add(p.spacing)
			rest = time.Until(t.free)
		}
		give(rest)
		p.leave(t)
	}, nil
}

// among waits for this process's turn among the replicas.
func (p *pace) among(ctx context.Context, channel operation.ChannelID) (give func(rest time.Duration), err error) {
	if p.shared == nil {
		return func(time.Duration) {}, nil
	}
	for {
		turn, wait, err := p.shared.TakeTurn(ctx, channel, turnTime)
		if err != nil {
			return nil, err
		}
		if !turn.IsZero() {
			return func(rest time.Duration) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
				defer cancel()
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

// leave ends what alone began.
func (p *pace) leave(t *turns) {
	<-t.taken
	p.gone(t)
}

func (p *pace) gone(t *turns) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.users--
}

// quickest knows the message that came to Slack soonest after its turn began. From the
// calls' ends on, two messages are never closer at Slack than they are here, but each
// would take its call's time on top of its second. Slack dates a message when it takes
// it. By that, one that was a tenth of a second later than the quickest keeps the next
// waiting a tenth of a second, and not for its whole call: even if the next is the
// quickest again, they are not closer at Slack than they should be.
type quickest struct {
	mu    sync.Mutex
	known int           // messages since the clocks were last seen to move
	least time.Duration // by Slack's clock, from a turn's beginning by ours: how far they are apart does not matter
}

// quickestOf is how many messages there must have been for the quickest of them to be
// believed.
const quickestOf = 5

// reached returns from when the next message's wait counts, between a call's two ends.
func (q *quickest) reached(began, ended time.Time, id operation.MessageID) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, ok := dated(id)
	if !ok {
		return ended
	}
	after := at.Sub(began)
	if q.known == 0 || after-q.least > ended.Sub(began) { // dated after its answer came
		q.known, q.least = 0, after
	}
	q.known, q.least = q.known+1, min(q.least, after)
	if q.known < quickestOf {
		return ended
	}
	return began.Add(after - q.least)
}

// dated is when Slack took a message, by Slack's clock: seconds and six digits of
// their fraction.
func dated(id operation.MessageID) (time.Time, bool) {
	seconds, micros, ok := strings.Cut(string(id), ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	us, err2 := strconv.ParseInt(micros, 10, 64)
	return time.Unix(s, us*1000), ok && err == nil && err2 == nil && len(micros) == 6
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
