package operation

import (
	"errors"
	"testing"
	"time"
)

// Every case of approval × state × window.
func TestAChangeAllowsWorkOnlyWhenApprovedWorkableAndInItsWindow(t *testing.T) {
	now := time.Date(2026, 11, 24, 21, 0, 0, 0, time.UTC)
	hour := time.Hour
	windows := map[string]struct {
		start, end time.Time
		open       bool
	}{
		"open":           {now.Add(-hour), now.Add(hour), true},
		"opens now":      {now, now.Add(hour), true},
		"closes now":     {now.Add(-hour), now, false},
		"not yet open":   {now.Add(hour), now.Add(2 * hour), false},
		"closed":         {now.Add(-2 * hour), now.Add(-hour), false},
		"without start":  {time.Time{}, now.Add(hour), false},
		"without end":    {now.Add(-hour), time.Time{}, false},
		"none":           {time.Time{}, time.Time{}, false},
		"the wrong way":  {now.Add(hour), now.Add(-hour), false},
		"of one instant": {now, now, false},
	}
	for name, w := range windows {
		for _, isApproved := range []bool{true, false} {
			for _, workable := range []bool{true, false} {
				c := ChangeRequest{Number: "CHG1", Approved: isApproved, Workable: workable, Start: w.start, End: w.end}
				err := c.allows(now, "Implement")
				want := Code("")
				switch {
				case !isApproved:
					want = CodeChangeApproval
				case !w.open:
					want = CodeChangeWindow
				case !workable:
					want = CodeChangeState
				}
				var refusal *Refusal
				if got := errors.As(err, &refusal); got != (want != "") || got && refusal.Code != want {
					t.Errorf("%s, approved %v, workable %v: %v, want %q", name, isApproved, workable, err, want)
				}
			}
		}
	}
}
