package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twokey/twokey/store"
)

// stored reads what is kept of an envelope.
func stored(t *testing.T, s *store.Store, id string) (body string, attempts int, handled bool) {
	t.Helper()
	var at int64
	if err := s.DB().QueryRowContext(t.Context(), "SELECT body, attempts, handled_at FROM envelopes WHERE id = $1", id).Scan(&body, &attempts, &at); err != nil {
		t.Fatal(err)
	}
	return body, attempts, at > 0
}

func TestAnEnvelopeThatNobodyHandledIsTakenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		for range 2 { // before anything runs, and twice
			if err := s.Receive(t.Context(), []store.Envelope{{ID: "e1", Body: json.RawMessage(`"left"`)}}); err != nil {
				t.Fatal(err)
			}
		}
		handled := make(chan string, 10)
		running(t, s, store.Handlers{Envelope: func(_ context.Context, body json.RawMessage) error { handled <- string(body); return nil }})
		if got := <-handled; got != `"left"` {
			t.Errorf("handled %s", got)
		}
		eventually(t, func() (struct{}, error) {
			if _, _, done := stored(t, s, "e1"); !done {
				return struct{}{}, errors.New("it is not struck off")
			}
			return struct{}{}, nil
		})
		if body, _, _ := stored(t, s, "e1"); body != "" {
			t.Errorf("what it held is still there: %s", body)
		}
		if len(handled) > 0 {
			t.Error("it was handled twice")
		}
	})
}

func TestAnEnvelopeThatFailsIsTriedAgainAndThenGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		if err := s.Receive(t.Context(), []store.Envelope{{ID: "e1", Body: json.RawMessage(`1`)}}); err != nil {
			t.Fatal(err)
		}
		tried := make(chan struct{}, 100)
		var told atomic.Int32
		running(t, s, store.Handlers{
			Envelope: func(context.Context, json.RawMessage) error { tried <- struct{}{}; return errors.New("no") },
			GiveUp: func(_ context.Context, body json.RawMessage) error {
				if string(body) != `1` {
					t.Errorf("of %s", body)
				}
				told.Add(1)
				return nil
			},
		})
		deadline := time.After(20 * time.Second)
		tries := 0
		for {
			if _, _, given := stored(t, s, "e1"); given {
				break
			}
			// As if the time in which it rests had passed: it is longer than a claim.
			if _, err := s.DB().ExecContext(t.Context(), "UPDATE envelopes SET claimed_until = 0 WHERE id = 'e1' AND claimed_until > $1", time.Now().Add(20*time.Second).UnixMicro()); err != nil {
				t.Fatal(err)
			}
			select {
			case <-tried:
				tries++
			case <-time.After(50 * time.Millisecond):
			case <-deadline:
				t.Fatalf("it is not given up after %d tries", tries)
			}
		}
		if tries != 5 {
			t.Errorf("tried %d times, want 5", tries)
		}
		if n := told.Load(); n != 1 {
			t.Errorf("whose it is was told %d times", n)
		}
	})
}

func TestEnvelopesAreKeptTogetherOrNotAtAll(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Receive(ctx, []store.Envelope{{ID: "e1", Body: json.RawMessage(`1`)}, {ID: "e2", Body: json.RawMessage(`2`)}}); err == nil {
			t.Fatal("kept although it was called off")
		}
		var n int
		if err := s.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM envelopes").Scan(&n); err != nil || n != 0 {
			t.Errorf("%d envelopes are kept, %v", n, err)
		}
	})
}

// Far more people may act at once than there is room for. Those who find none wait for
// room alone, and not for a claim to end; and their waiting is no attempt.
func TestEnvelopesThatFindNoRoomAreHandledAsSoonAsThereIs(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		room, handling := make(chan struct{}), make(chan struct{}, 1000)
		running(t, s, store.Handlers{Envelope: func(context.Context, json.RawMessage) error {
			handling <- struct{}{}
			<-room
			return nil
		}})
		receive := func(from, to int) {
			for n := from; n < to; n++ {
				if err := s.Receive(t.Context(), []store.Envelope{{ID: fmt.Sprint("e", n), Body: json.RawMessage(`1`)}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		receive(0, 300)
		eventually(t, func() (struct{}, error) {
			if n := len(handling); n < 256 {
				return struct{}{}, fmt.Errorf("%d are handled at once", n)
			}
			return struct{}{}, nil
		})
		receive(300, 400)
		close(room)
		eventually(t, func() (struct{}, error) {
			var left, most int
			err := s.DB().QueryRowContext(t.Context(), "SELECT COUNT(*), COALESCE(MAX(attempts), 0) FROM envelopes WHERE handled_at = 0").Scan(&left, &most)
			if err == nil && left > 0 {
				err = fmt.Errorf("%d are left, attempted up to %d times", left, most)
			}
			return struct{}{}, err
		})
		if n := len(handling); n != 400 {
			t.Errorf("%d were handled, of 400", n)
		}
	})
}

func TestAnEnvelopeThatAStopInterruptsIsFreeForOthersAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		ctx, stop := context.WithCancel(t.Context())
		handling, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- s.Run(ctx, store.Handlers{Envelope: func(ctx context.Context, _ json.RawMessage) error {
				close(handling)
				<-ctx.Done()
				return ctx.Err()
			}}, quiet())
		}()
		if err := s.Receive(t.Context(), []store.Envelope{{ID: "e1", Body: json.RawMessage(`1`)}}); err != nil {
			t.Fatal(err)
		}
		<-handling
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		var until int64
		if err := s.DB().QueryRowContext(t.Context(), "SELECT claimed_until FROM envelopes WHERE id = 'e1' AND handled_at = 0").Scan(&until); err != nil {
			t.Fatal(err)
		}
		if wait := time.Until(time.UnixMicro(until)); wait > 0 {
			t.Errorf("another replica takes it up only after %s", wait)
		}
	})
}
