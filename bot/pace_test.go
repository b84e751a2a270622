package bot

import (
	"fmt"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
)

// Slack's clock may be apart from ours; here it is an hour ahead.
func stamp(at time.Time) operation.MessageID {
	at = at.Add(time.Hour)
	return operation.MessageID(fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000))
}

func TestAMessagesSecondBeginsWhenSlackTookIt(t *testing.T) {
	t.Parallel()
	var q quickest
	began := time.Now().Truncate(time.Microsecond)
	call := func(way, back time.Duration) time.Duration {
		return q.reached(began, began.Add(way+back), stamp(began.Add(way))).Sub(began)
	}
	const ms = time.Millisecond
	for range quickestOf - 1 {
		if got := call(20*ms, 80*ms); got != 100*ms {
			t.Errorf("before the quickest is known the second begins after %s, and not when the call ended", got)
		}
	}
	for _, c := range []struct{ way, back, want time.Duration }{
		{20 * ms, 80 * ms, 0}, // as quick as the quickest
		{20 * ms, 5000 * ms, 0},
		{500 * ms, 10 * ms, 480 * ms}, // the next may be quick again
		{10 * ms, 80 * ms, 0},
		{20 * ms, 80 * ms, 10 * ms},
	} {
		if got := call(c.way, c.back); got != c.want {
			t.Errorf("%s there and %s back: the second begins after %s, want %s", c.way, c.back, got, c.want)
		}
	}
	if got := q.reached(began, began.Add(ms), "").Sub(began); got != ms {
		t.Errorf("of a message without a date the second begins after %s", got)
	}
	if got := q.reached(began, began.Add(ms), stamp(began.Add(time.Minute))).Sub(began); got != ms {
		t.Errorf("after a clock was set, the second begins after %s", got)
	}
}
