package main

import (
	"net/http"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/slack"
)

// socketSweeps break the connections to Slack while secrets are rotated and killed.
func socketSweeps() []sweep {
	var out []sweep
	for _, db := range []string{"sqlite", "postgres"} {
		for _, s := range []story{rotation(), emergency()} {
			for _, h := range []how{halfOpening(true), halfOpening(false), cutting(), disconnecting(slack.RefreshRequested), disconnecting(slack.LinkDisabled), comingLate()} {
				few := 0
				if db == "sqlite" && h.name == "both sockets half open" {
					few = 1
				}
				s.ends = []operation.State{operation.Succeeded}
				out = append(out, sweep{setting{database: db, replicas: 1, overlap: 3 * time.Second, story: s}, h, atCalls(), few})
			}
		}
	}
	return out
}

// severing does something to Slack's sockets at a point. No process is hurt.
func severing(name string, do func(*world)) how {
	return how{name, func(w *world, p point) {
		w.at(p, func(*http.Request) {
			w.watch.struck()
			w.strikes.Add(1)
			do(w)
		})
	}}
}

// halfOpening has sockets go silent without an end: no byte comes, and none arrives.
func halfOpening(both bool) how {
	if both {
		return severing("both sockets half open", func(w *world) { w.box.Slack.HalfOpen(0) })
	}
	return severing("a socket half open", func(w *world) {
		if open := w.box.Slack.Sockets(); len(open) > 0 {
			w.box.Slack.HalfOpen(open[w.dice.IntN(len(open))].ID)
		}
	})
}

// cutting ends all sockets at once, without a word.
func cutting() how {
	return severing("both sockets cut", func(w *world) { w.box.Slack.CutSockets(0) })
}

// disconnecting has Slack ask all sockets to go. Where that is because Socket Mode
// was switched off, somebody switches it on again; the bot ends by itself meanwhile, and
// whatever runs it starts it again.
func disconnecting(reason string) how {
	return severing("disconnect "+reason, func(w *world) {
		w.box.Slack.Disconnect(reason, 0)
		if reason == slack.LinkDisabled {
			w.after(3*time.Second, func() { w.box.Slack.Set(func(s *slack.Settings) { s.SocketMode = true }) })
		}
	})
}

// comingLate holds what comes next from people back for longer than the bot waits to be
// sure, and delivers all that came so far again: at once, and after a minute, when it was
// decided long ago.
func comingLate() how {
	return severing("envelopes late and again", func(w *world) {
		w.box.Slack.DeliverLate(5 * time.Second)
		again := func() {
			for _, e := range w.box.Slack.Envelopes() {
				_ = w.box.Slack.Redeliver(e.ID) // who is not connected gets it later
			}
		}
		again()
		w.after(20*time.Second, again)
		w.after(time.Minute, again)
	})
}
