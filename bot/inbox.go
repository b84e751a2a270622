package bot

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"
)

// Inbox keeps intents. When Receive returns nil all of them are durable, each
// envelope once however often it comes; when it fails, none is.
type Inbox interface {
	Receive(ctx context.Context, intents []Intent) error
}

// delivery is one envelope on its way to the inbox and, when it is durable, back
// as an acknowledgement.
type delivery struct {
	intent  Intent
	arrived time.Time
	ack     func()
}

const (
	// queueSize bounds what waits for the inbox. What finds no place is left
	// unacknowledged, and Slack sends it again: the socket's reader must not
	// wait, or it misses the pings too.
	queueSize = 1024
	// batchSize bounds one commit.
	batchSize = 256
	// receiveTime bounds one commit, well over what a busy disk needs.
	receiveTime = 10 * time.Second
)

// batcher commits in groups: whatever arrives while a commit is under way goes
// into the next one, so a burst costs a few commits and a single command waits
// for none but its own.
type batcher struct {
	inbox Inbox
	queue chan delivery
	log   *slog.Logger
	m     *metrics
}

func newBatcher(inbox Inbox, log *slog.Logger, m *metrics) *batcher {
	return &batcher{inbox: inbox, queue: make(chan delivery, queueSize), log: log, m: m}
}

// offer hands over a delivery without waiting, and reports whether there was room.
func (b *batcher) offer(d delivery) bool {
	select {
	case b.queue <- d:
		return true
	default:
		return false
	}
}

// run commits until ctx ends. What is still queued then was not acknowledged and
// comes again.
func (b *batcher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-b.queue:
			b.commit(ctx, b.collect(d))
		}
	}
}

// collect takes what is queued already, and does not wait for more.
func (b *batcher) collect(d delivery) []delivery {
	batch := []delivery{d}
	for len(batch) < batchSize {
		select {
		case d := <-b.queue:
			batch = append(batch, d)
		default:
			return batch
		}
	}
	return batch
}

func (b *batcher) commit(ctx context.Context, batch []delivery) {
	intents := make([]Intent, len(batch))
	for i, d := range batch {
		intents[i] = d.intent
	}
	if err := b.receive(ctx, intents); err != nil {
		b.m.unacknowledged("inbox").Add(len(batch))
		b.log.ErrorContext(ctx, "the inbox could not keep what people did; Slack will send it again", "envelopes", len(batch), "error", err)
		return
	}
	for _, d := range batch {
		d.ack()
	}
}

// receive turns a panic of the inbox into an error, so that one broken envelope
// does not end the bot.
func (b *batcher) receive(ctx context.Context, intents []Intent) (err error) {
	ctx, cancel := context.WithTimeout(ctx, receiveTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = panicError{value: p, stack: debug.Stack()}
		}
	}()
	return b.inbox.Receive(ctx, intents)
}
