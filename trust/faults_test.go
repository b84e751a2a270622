package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// point is one place in a play where something can be broken.
type point struct {
	operation string // of the call; empty: a commit
	number    int
	moment    conditions.Moment
}

func (p point) String() string {
	if p.operation == "" {
		return fmt.Sprintf("commit #%d", p.number)
	}
	return fmt.Sprintf("%s %s #%d", p.moment, p.operation, p.number)
}

// places are where a sweep takes its points from: the calls of an undisturbed play
// and the number of its commits.
type places struct {
	name  string
	among func(calls []point, commits int) []point
}

func atCalls() places {
	return places{"calls", func(calls []point, _ int) []point { return calls }}
}

func atWrites() places {
	return places{"writes", func(calls []point, _ int) []point { return writes(calls) }}
}

func afterWrites() places {
	return places{"writes", func(calls []point, _ int) []point {
		return slices.DeleteFunc(writes(calls), func(p point) bool { return p.moment == conditions.Before })
	}}
}

// afterConfirmation are the calls from the first write on, each once: whoever asks and
// is told that a look failed asks again, so nothing is wrong with that.
func afterConfirmation() places {
	return places{"calls after the confirmation", func(calls []point, _ int) []point {
		calls = slices.DeleteFunc(slices.Clone(calls), func(p point) bool { return p.moment == conditions.After })
		return calls[max(0, slices.IndexFunc(calls, func(p point) bool { return strings.HasSuffix(p.operation, "Password") })):]
	}}
}

func atCommits() places {
	return places{"commits", func(_ []point, n int) []point { return commitPoints(n) }}
}

// atRandom is so many times anywhere.
func atRandom(n int) places {
	return places{"random moments", func([]point, int) []point { return commitPoints(n) }}
}

// callPoints are the moments of the calls that an undisturbed play made.
func callPoints(calls []conditions.Call, since time.Time) []point {
	calls = slices.Clone(calls)
	slices.SortStableFunc(calls, func(a, b conditions.Call) int { return a.Arrived.Compare(b.Arrived) })
	count := map[string]int{}
	var out []point
	for _, c := range calls {
		count[c.Operation]++
		if c.Arrived.Before(since) {
			continue
		}
		out = append(out, point{c.Operation, count[c.Operation], conditions.Before})
		if c.Status != 0 && c.Status != http.StatusSwitchingProtocols {
			out = append(out, point{c.Operation, count[c.Operation], conditions.After})
		}
	}
	return out
}

// commitPoints are the commits of an undisturbed play.
func commitPoints(n int) []point {
	out := make([]point, n)
	for i := range out {
		out[i] = point{number: i + 1}
	}
	return out
}

// writes keeps the points of calls that change something.
func writes(points []point) []point {
	return slices.DeleteFunc(slices.Clone(points), func(p point) bool {
		_, call, _ := strings.Cut(p.operation, ".")
		return !slices.ContainsFunc([]string{"add", "remove", "Put", "Delete", "Label", "Unlabel", "Update", "chat."}, func(prefix string) bool {
			return strings.HasPrefix(call, prefix)
		})
	})
}

// choose takes n of a sweep's points, the same ones for the same seed even when the
// list differs a little; all when n is 0.
func choose(points []point, n int, seed uint64, sweep string) []point {
	if n == 0 || n >= len(points) {
		return points
	}
	lot := func(p point) uint64 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", seed, sweep, p)) // names that differ little are far apart
		return binary.BigEndian.Uint64(sum[:])
	}
	points = slices.Clone(points)
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(lot(a), lot(b)) })
	return points[:n]
}

// how is a way to break a play at a point.
type how struct {
	name string
	set  func(*world, point)
}

// killing ends the process that makes the call, or the only one, with SIGKILL. A
// call that was about to have its effect never has it.
func killing() how {
	return how{"kill", func(w *world, p point) {
		w.at(p, func(r *http.Request) {
			w.crash(w.who(r))
			p.abort()
		})
	}}
}

// abort ends the handling of a call that has had no effect yet.
func (p point) abort() {
	if p.moment == conditions.Before {
		panic(http.ErrAbortHandler) // net/http closes the connection and says nothing
	}
}

// killingTwice does it again a little later, while the first crash is mended.
func killingTwice() how {
	return how{"kill twice", func(w *world, p point) {
		again := time.Duration(w.dice.IntN(20000)) * time.Millisecond
		w.at(p, func(r *http.Request) {
			victim := w.who(r)
			w.crash(victim)
			w.after(again, func() { w.crash(victim) })
			p.abort()
		})
	}}
}

// freezing stops the process that makes the call for longer than its lease. A
// call that was about to have its effect has it just before the process wakes:
// that is the late write of somebody who slept.
func freezing() how {
	return how{"freeze", func(w *world, p point) {
		if p.operation == "" {
			w.at(p, func(*http.Request) { w.after(0, func() { w.freeze(w.any())() }) })
			return
		}
		wake := make(chan func(), 1)
		w.box.Conditions.At(p.operation, p.number, p.moment, func(r *http.Request) { wake <- w.freeze(w.who(r)) })
		w.after(0, func() {
			select {
			case rise := <-wake:
				// The handler goes on at the same time; its effect takes no longer than this.
				time.Sleep(50 * time.Millisecond)
				rise()
			case <-w.ctx.Done():
			}
		})
	}}
}

// losingTheAnswer lets the call have its effect and cuts the connection.
func losingTheAnswer() how {
	return how{"lose the answer", func(w *world, p point) {
		w.box.Conditions.Add(conditions.Fault{Operation: p.operation, Kind: conditions.CutAfter, Skip: p.number - 1 - w.box.Conditions.Arrived(p.operation), Count: 1})
		w.box.Conditions.At(p.operation, p.number, conditions.After, func(*http.Request) { w.strikes.Add(1) })
	}}
}

// losingTheAnswerAndCrashing does both: the process dies a little after.
func losingTheAnswerAndCrashing() how {
	return how{"lose the answer, kill", func(w *world, p point) {
		losingTheAnswer().set(w, p)
		wait := time.Duration(w.dice.IntN(2000)) * time.Millisecond
		w.box.Conditions.At(p.operation, p.number, conditions.After, func(r *http.Request) {
			victim := w.who(r)
			w.after(wait, func() { w.crash(victim) })
		})
	}}
}

// faults are what a vendor may do to one call.
func faults() []conditions.Fault {
	return []conditions.Fault{
		{Kind: conditions.Refuse, Status: http.StatusForbidden, Code: "Forbidden"},
		{Kind: conditions.Throttle, RetryAfter: 1},
		{Kind: conditions.ServerErr},
		{Kind: conditions.Timeout},
		{Kind: conditions.CutBefore},
		{Kind: conditions.CutAfter},
		{Kind: conditions.Nonsense},
		{Kind: conditions.Slow, Delay: 3 * time.Second},
	}
}

// failing has one call fail so.
func failing(f conditions.Fault) how {
	return how{"answer with " + string(f.Kind), func(w *world, p point) {
		f := f
		f.Operation, f.Skip, f.Count = p.operation, p.number-1-w.box.Conditions.Arrived(p.operation), 1
		w.box.Conditions.Add(f)
		w.box.Conditions.At(p.operation, p.number, conditions.Before, func(*http.Request) { w.strikes.Add(1) })
	}}
}

// killingAtRandom kills some replica at up to four moments of a play.
func killingAtRandom() how {
	return how{"kill", func(w *world, p point) {
		dice := rand.New(rand.NewPCG(w.seed, uint64(p.number)))
		at := time.Duration(0)
		for range 1 + dice.IntN(4) {
			at += time.Duration(dice.IntN(9000)) * time.Millisecond
			victim := w.replicas[dice.IntN(len(w.replicas))]
			w.after(at, func() { w.crash(victim) })
		}
	}}
}

// at has do run at a point of the play.
func (w *world) at(p point, do func(*http.Request)) {
	if p.operation == "" {
		w.watch.onCommit(p.number, func() { do(nil) })
		return
	}
	w.box.Conditions.At(p.operation, p.number, p.moment, do)
}

// after has do run later, unless the play is over by then.
func (w *world) after(d time.Duration, do func()) {
	go func() {
		select {
		case <-time.After(d):
			do()
		case <-w.ctx.Done():
		}
	}()
}
