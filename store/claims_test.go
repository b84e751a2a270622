package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// claimedUntil reads until when a row is claimed.
func claimedUntil(t *testing.T, s *store.Store, query string) time.Time {
	t.Helper()
	var us int64
	if err := s.DB().QueryRowContext(t.Context(), query).Scan(&us); err != nil {
		t.Fatal(err)
	}
	return time.UnixMicro(us)
}

// grows waits until a claim was extended, and checks that it never reaches further
// than others should wait for a process that died.
func grows(t *testing.T, s *store.Store, query string) {
	t.Helper()
	first := claimedUntil(t, s, query)
	eventually(t, func() (struct{}, error) {
		now := claimedUntil(t, s, query)
		if reach := time.Until(now); reach > 13*time.Second {
			t.Errorf("a dead process would be waited for another %s", reach)
		}
		if !now.After(first) {
			return struct{}{}, errors.New("the claim is not extended")
		}
		return struct{}{}, nil
	})
}

func TestALongClaimOnANoticeIsExtendedOnlyWhileItsProcessLives(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		running(t, s, store.Handlers{})
		create(t, s, request("op1", "a/prod"))
		n, found, err := s.ClaimNotice(t.Context(), "test", 2*time.Minute)
		if err != nil || !found {
			t.Fatalf("found %v, %v", found, err)
		}
		grows(t, s, "SELECT claimed_until FROM notices WHERE sent_at = 0 AND claim = 1")
		if err := s.NoticeSent(t.Context(), n, "1.0"); err != nil {
			t.Error(err)
		}
	})
}

func TestAnEnvelopeIsClaimedForAsLongAsItIsBeingHandled(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		begun, end := make(chan struct{}, 10), make(chan struct{})
		running(t, s, store.Handlers{Envelope: func(context.Context, json.RawMessage) error {
			begun <- struct{}{}
			<-end
			return nil
		}})
		defer close(end)
		if err := s.Receive(t.Context(), []store.Envelope{{ID: "e1", Body: json.RawMessage(`1`)}}); err != nil {
			t.Fatal(err)
		}
		<-begun
		grows(t, s, "SELECT claimed_until FROM envelopes WHERE id = 'e1'")
		if len(begun) > 0 {
			t.Error("it is being handled twice")
		}
	})
}

func TestAnOperationRemembersWhenAWorkerOfItWasLost(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op, err := s.Change(t.Context(), confirm(create(t, s, request("op1", "a/prod"))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Claim(t.Context(), op.ID, op.Epoch, "sleeper", time.Microsecond); err != nil {
			t.Fatal(err)
		}
		running(t, s, store.Handlers{Wake: func(context.Context, operation.ID, int64) error { return nil }})
		eventually(t, func() (struct{}, error) {
			op, err := s.Operation(t.Context(), op.ID)
			if err == nil && op.Lost.IsZero() {
				err = errors.New("nothing is remembered")
			}
			return struct{}{}, err
		})
	})
}

func TestTimeInWhichNobodyWorkedIsNotTheSteps(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		for name, gone := range map[string]time.Duration{"the bot was down": time.Hour, "the clock was set back": -time.Hour} {
			s := open(t, address)
			change := confirm(create(t, s, request(operation.ID(name), operation.SecretName(name))))
			change.Operation.StepSince = s.Clock().Add(-time.Second - gone)
			op, err := s.Change(t.Context(), change)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Claim(t.Context(), op.ID, op.Epoch, "gone", 12*time.Second); err != nil {
				t.Fatal(err)
			}
			if _, err := s.DB().ExecContext(t.Context(), "UPDATE operations SET lease_until = lease_until - $1 WHERE id = $2", (12*time.Second + gone).Microseconds(), name); err != nil {
				t.Fatal(err)
			}
			running(t, s, store.Handlers{Wake: func(context.Context, operation.ID, int64) error { return nil }})
			eventually(t, func() (struct{}, error) {
				op, err := s.Operation(t.Context(), op.ID)
				if err != nil || op.Lost.IsZero() {
					return struct{}{}, errors.New("nobody found out that its worker is gone")
				}
				if took := s.Clock().Sub(op.StepSince); took < time.Second || took > 30*time.Second {
					t.Errorf("%s: the step seems to have taken %s", name, took)
				}
				return struct{}{}, nil
			})
		}
	})
}
