package entra

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
)

// numbered makes one assertion after the other.
func numbered() *early {
	n := 0
	return &early{make: func(context.Context) (string, error) {
		n++
		return fmt.Sprint("assertion ", n), nil
	}}
}

func TestOneAssertionIsMadeAheadAndNobodyWaitsForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which who waits for nothing is found
		e := numbered()
		end := e.begin(t.Context())
		for _, want := range []string{"assertion 1", "assertion 2"} { // both of one sign-in, or of two at once
			if got, err := e.take(t.Context()); err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		end()
		e.begin(t.Context())() // of a later sign-in, that makes none ahead
		if got, err := e.take(t.Context()); err != nil || got != "assertion 3" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestAnAssertionThatWasMadeAheadAndNotWantedIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := numbered()
		e.begin(t.Context())()
		if got, err := e.take(t.Context()); err != nil || got != "assertion 2" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestAnAssertionIsMadeAgainWhenWhoBeganItHasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &early{make: func(ctx context.Context) (string, error) {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			return "an assertion", nil
		}}
		gone, give := context.WithCancel(t.Context())
		give()
		defer e.begin(gone)()
		if got, err := e.take(t.Context()); err != nil || got != "an assertion" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := e.take(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("who has given up gets %v", err)
		}
	})
}
