package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// inboxFunc is an inbox of one function.
type inboxFunc func(ctx context.Context, intents []Intent) error

func (f inboxFunc) Receive(ctx context.Context, intents []Intent) error { return f(ctx, intents) }

// acks collects which envelopes were acknowledged, and when.
type acks struct {
	mu  sync.Mutex
	ids []string
}

func (a *acks) delivery(id string) delivery {
	return delivery{intent: Intent{Envelope: id, User: "U1"}, ack: func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.ids = append(a.ids, id)
	}}
}

func (a *acks) got() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ids)
}

func testBatcher(t *testing.T, inbox Inbox) *batcher {
	t.Helper()
	return newBatcher(inbox, slog.New(slog.DiscardHandler), newMetrics(vm.NewSet()))
}

func TestWhatArrivesDuringACommitSharesTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int // of the commits; read once the batcher has ended
		b := testBatcher(t, inboxFunc(func(_ context.Context, intents []Intent) error {
			sizes = append(sizes, len(intents))
			time.Sleep(10 * time.Millisecond) // a disk, by the bubble's clock
			return nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.run(ctx) })
		var a acks
		b.offer(a.delivery("first"))
		synctest.Wait() // the first commit is under way
		for i := range 50 {
			b.offer(a.delivery(fmt.Sprint(i)))
		}
		if len(a.got()) != 0 {
			t.Error("acknowledged before it was durable")
		}
		time.Sleep(25 * time.Millisecond)
		cancel()
		wg.Wait()
		if want := []int{1, 50}; !slices.Equal(sizes, want) {
			t.Errorf("commits of %v, want %v", sizes, want)
		}
		if n := len(a.got()); n != 51 {
			t.Errorf("%d acknowledged, want 51", n)
		}
	})
}

func TestWhatTheInboxCannotKeepIsNotAcknowledged(t *testing.T) {
	for name, receive := range map[string]inboxFunc{
		"an error": func(context.Context, []Intent) error { return errors.New("disk full") },
		"a panic":  func(context.Context, []Intent) error { panic("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broken := true
				b := testBatcher(t, inboxFunc(func(ctx context.Context, in []Intent) error {
					if broken {
						return receive(ctx, in)
					}
					return nil
				}))
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { b.run(ctx) })
				var a acks
				b.offer(a.delivery("lost"))
				synctest.Wait()
				broken = false
				b.offer(a.delivery("kept"))
				synctest.Wait()
				if got := a.got(); !slices.Equal(got, []string{"kept"}) {
					t.Errorf("acknowledged %v, want only what was kept", got)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

func TestAStuckInboxGivesUpAndNeverHoldsTheReaderUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBatcher(t, inboxFunc(func(ctx context.Context, _ []Intent) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.run(ctx) })
		var a acks
		b.offer(a.delivery("stuck"))
		synctest.Wait()
		taken := 0
		for i := range queueSize + 10 {
			if b.offer(a.delivery(fmt.Sprint(i))) {
				taken++
			}
		}
		if taken != queueSize {
			t.Errorf("%d queued, want %d and a refusal of the rest", taken, queueSize)
		}
		start := time.Now()
		cancel()
		wg.Wait()
		if time.Since(start) > receiveTime {
			t.Error("shutting down waited for the inbox")
		}
		if len(a.got()) != 0 {
			t.Error("acknowledged what was not kept")
		}
	})
}
