package entra

import (
	"errors"
	"testing"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

func TestWatchingWhoIsAdmittedChangesNothingAndAsksEveryReplica(t *testing.T) {
	clock := conditions.NewClock()
	s := New(conditions.New(clock), "contoso")
	s.SetBehaviour(Behaviour{Learn: []float64{0, 60}})
	app := s.AddApplication(NewApplication{Name: "jira"})
	key, err := s.AddPassword(app.Client, NewPassword{Name: "seeded"})
	if err != nil {
		t.Fatal(err)
	}
	late := s.newPassword(NewPassword{Name: "new"})
	late.Added = clock.Now()
	if err := s.change(app.Client, func(a *application) error { a.Passwords = append(a.Passwords, late); return nil }); err != nil {
		t.Fatal(err)
	}
	refused := func(secret string, code int) {
		t.Helper()
		var r *refusal
		if err := s.Admits(app.Client, secret); !errors.As(err, &r) || r.code != code {
			t.Errorf("got %v, want %d", err, code)
		}
	}
	if err := s.Admits(app.Client, key.Secret); err != nil {
		t.Errorf("a key that everybody knows: %v", err)
	}
	refused("wrong", invalidSecret)
	refused(late.Secret, invalidSecret) // one replica has not heard of it yet
	clock.Advance(61 * time.Second)
	if err := s.Admits(app.Client, late.Secret); err != nil {
		t.Errorf("after every replica has learnt it: %v", err)
	}
	clock.Advance(3 * 365 * 24 * time.Hour)
	refused(key.Secret, expiredSecret)
	if s.turn != 0 || len(s.signIns) != 0 || len(s.tokens) != 0 {
		t.Errorf("watching left traces: turn %d, %d sign-ins, %d tokens", s.turn, len(s.signIns), len(s.tokens))
	}
	if err := s.Admits("nobody", key.Secret); err == nil {
		t.Error("an unknown application is admitted")
	}
}
