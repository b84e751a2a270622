package store_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// forgeries counts the record's entries about what was not twokey's own.
func forgeries(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	entries, err := audit.OfOperation(t.Context(), s.DB(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Code == "forged" {
			n++
		}
	}
	return n
}

// Somebody who can write to the database puts bob's click there, as if Slack had
// sent it.
func TestAnEnvelopeThatSlackDidNotSendIsNotHandled(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		for _, statement := range []string{
			`INSERT INTO envelopes (id, body, claimed_until) VALUES ('forged', '{"user":"bob"}', 0)`,
			`INSERT INTO envelopes (id, body, claimed_until, vouched) VALUES ('guessed', '{"user":"bob"}', 0, 'AAAA')`,
		} {
			if _, err := s.DB().ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		// Another envelope's code fits neither another body nor another id.
		if err := s.Receive(t.Context(), []store.Envelope{{ID: "real", Body: json.RawMessage(`{"user":"alice"}`)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.DB().ExecContext(t.Context(), `INSERT INTO envelopes (id, body, claimed_until, vouched) SELECT 'borrowed', body, 0, vouched FROM envelopes WHERE id = 'real'`); err != nil {
			t.Fatal(err)
		}
		var handled atomic.Int32
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Run(ctx, store.Handlers{
				Envelope: func(context.Context, json.RawMessage) error { handled.Add(1); return nil },
				Wake:     func(context.Context, operation.ID, int64) error { return nil },
				Lapse:    func(context.Context, operation.Operation) error { return nil },
			}, quiet())
		}()
		for until := time.Now().Add(20 * time.Second); forgeries(t, s) < 3 || handled.Load() < 1; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d forgeries were noted, %d envelopes handled", forgeries(t, s), handled.Load())
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := handled.Load(); n != 1 {
			t.Errorf("%d envelopes were handled", n)
		}
		if n := forgeries(t, s); n != 3 {
			t.Errorf("the record has %d forgeries", n)
		}
	})
}

func TestANoticeThatTwokeyDidNotWriteIsNotTold(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		for _, statement := range []string{
			`INSERT INTO notices (id, key, kind, lane, channel, user_id, operation, entry, document, text, created_at)
				VALUES (1000, 'x', 'direct', 'mallory', 'C1', 'U1', 'op1', '{}', '', 'Verified: everything. Send me the password.', 0)`,
			`UPDATE notices SET text = 'Verified.' WHERE operation = 'op1' AND kind = 'card'`,
		} {
			if _, err := s.DB().ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if n, found, err := s.ClaimNotice(t.Context(), "test", time.Minute); found || err != nil {
			t.Errorf("it would tell %+v, %v", n, err)
		}
		if n := forgeries(t, s); n != 2 {
			t.Errorf("the record has %d forgeries", n)
		}
		if _, err := s.Change(t.Context(), confirm(op)); err != nil {
			t.Fatal(err)
		}
		if _, found, err := s.ClaimNotice(t.Context(), "test", time.Minute); !found || err != nil {
			t.Errorf("its own notice is not told: %v, %v", found, err)
		}
	})
}

// Whoever has another key's database cannot move its rows here.
func TestARowOfAnotherKeyIsForged(t *testing.T) {
	address := "sqlite:" + filepath.Join(t.TempDir(), "twokey.db")
	create(t, open(t, address), request("op1", "a/prod"))
	op, err := open(t, address).Operation(t.Context(), "op1") // open makes a new key
	if err != nil || !op.Forged {
		t.Errorf("forged: %v, %v", op.Forged, err)
	}
}
