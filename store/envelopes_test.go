package store_test

import (
	"context"
	"encoding/json"
	"errors"
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
		running(t, s, store.Handlers{Envelope: func(context.Context, json.RawMessage) error { tried <- struct{}{}; return errors.New("no") }})
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
