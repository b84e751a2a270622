package main

import (
	"fmt"
	"net/http"
	"time"
)

// clockSweeps have the machines' clocks jump while secrets are rotated and killed. What
// people ask for ends as it does with clocks that are right: no jump takes it back.
func clockSweeps() []sweep {
	in := func(db string, replicas int, s story) setting {
		s.clock = machines
		return setting{database: db, replicas: replicas, overlap: 3 * time.Second, story: s}
	}
	var out []sweep
	for _, db := range []string{"sqlite", "postgres"} {
		for _, s := range []story{rotation(), takenBack(), emergency()} {
			for _, by := range []time.Duration{time.Hour, -time.Hour} {
				out = append(out,
					sweep{in(db, 1, s), jumping(by), atCalls(), 0},
					sweep{in(db, 1, s), jumpingAndCrashing(by), atCalls(), 0},
				)
			}
		}
	}
	for _, s := range []story{rotation(), takenBack(), emergency()} {
		for _, by := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
			out = append(out, sweep{in("postgres", 3, s), goingApart(by), atCalls(), 0})
		}
	}
	return out
}

// direction says how clocks are set, in the words of a sweep's name.
func direction(by time.Duration) string {
	if by < 0 {
		return fmt.Sprintf("back %s", (-by).String())
	}
	return fmt.Sprintf("forward %s", by.String())
}

// jumping sets the clocks of all machines.
func jumping(by time.Duration) how {
	return how{"set clocks " + direction(by), func(w *world, p point) {
		w.at(p, func(*http.Request) { w.setClocks(by, w.replicas...) })
	}}
}

// jumpingAndCrashing kills the process besides, a little later: the next one knows
// nothing of the time before.
func jumpingAndCrashing(by time.Duration) how {
	return how{"set clocks " + direction(by) + ", kill", func(w *world, p point) {
		wait := time.Duration(w.dice.IntN(4000)) * time.Millisecond
		w.at(p, func(r *http.Request) {
			victim := w.who(r)
			w.setClocks(by, w.replicas...)
			w.after(wait, func() { w.crash(victim) })
		})
	}}
}

// goingApart sets the clock of the machine whose process makes the call, and of no other.
func goingApart(by time.Duration) how {
	return how{"set a clock " + direction(by), func(w *world, p point) {
		w.at(p, func(r *http.Request) { w.setClocks(by, w.who(r)) })
	}}
}

func (w *world) setClocks(by time.Duration, replicas ...*replica) {
	w.watch.struck()
	w.strikes.Add(1)
	for _, r := range replicas {
		if err := r.clock.move(by); err != nil {
			w.mishap(fmt.Errorf("set a clock: %w", err))
		}
	}
}
