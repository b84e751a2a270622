package doctor

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFullDiskFailsAndAScarceOneWarns(t *testing.T) {
	for _, c := range []struct {
		free uint64
		err  error
		want State
	}{{2 << 30, nil, OK}, {1<<30 - 1, nil, Warn}, {100 << 20, nil, Warn}, {100<<20 - 1, nil, Fail}, {0, errors.New("no such folder"), Unknown}} {
		d := &Doctor{Machine: Machine{Free: func() (uint64, error) { return c.free, c.err }}}
		if got := d.disk(t.Context()); len(got) != 1 || got[0].State != c.want || (c.want == Warn || c.want == Fail) != strings.Contains(got[0].Remedy, "Free some space") {
			t.Errorf("%d bytes free, %v: %+v, want %s", c.free, c.err, got, c.want)
		}
	}
}

func TestChecksRunBesideEachOtherWithinTheirBoundsAndKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		hang := func(ctx context.Context) []Finding {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			<-ctx.Done()
			return trouble(ctx.Err(), "")
		}
		checks := []Check{{"a", "", hang}, {"b", "", hang}, {"c", "", hang}, {"d", "one", func(context.Context) []Finding { return ok("well") }}}
		began := time.Now()
		got := Run(t.Context(), checks, Options{AtOnce: 2, Each: time.Minute})
		if took := time.Since(began); took != 2*time.Minute || most.Load() != 2 {
			t.Errorf("took %s, %d at once", took, most.Load())
		}
		if len(got) != 4 || got[0].Check != "a" || got[2].State != Unknown || got[3] != (Finding{Check: "d", About: "one", State: OK, Seen: "well"}) {
			t.Errorf("found %+v", got)
		}
	})
}
