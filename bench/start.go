package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
)

type startBenchmark struct {
	nodeFlag
	Starts int `default:"15" help:"starts of each kind"`
}

// startLimit is the time to be connected in, in seconds.
const startLimit = 0.3

// Run starts the bot with an empty database and with the one that it has, and the
// Bolt app, in turn.
func (b *startBenchmark) Run(ctx context.Context, out io.Writer) error {
	describeMachine(out)
	w, err := newWorld(ctx, sandbox.Options{}, nil)
	if err != nil {
		return err
	}
	defer w.close()
	peer, err := newPeerSlack()
	if err != nil {
		return err
	}
	defer peer.close()
	var first, later, bolt []float64
	for range b.Starts {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.RemoveAll(w.database() + suffix); err != nil {
				return fmt.Errorf("remove the database: %w", err)
			}
		}
		for _, to := range []*[]float64{&first, &later} {
			if err := startOnce(ctx, w.bot, w.box.Slack, to); err != nil {
				return err
			}
		}
		start := func() (*process, error) { return peer.bolt(w.dir, b.Node) }
		if err := startOnce(ctx, start, peer.Server, &bolt); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(out, "seconds from process start to connected\nfirst start:  %s\nlater starts: %s\nBolt app:     %s\n",
		spread(first, "%.3f"), spread(later, "%.3f"), spread(bolt, "%.3f"))
	worst := max(median(first), median(later))
	_, _ = fmt.Fprintf(out, "%.2f × the limit of %.1f s, %.2f × Bolt's; must reach 1.00: %s\n", worst/startLimit, startLimit, worst/median(bolt), verdict(worst, startLimit))
	return nil
}

// startOnce starts a program, appends how long it took to connect, and ends it.
func startOnce(ctx context.Context, start func() (*process, error), s *slack.Server, to *[]float64) error {
	p, err := start()
	if err != nil {
		return err
	}
	opened, err := connected(ctx, p, s, 1)
	p.stop()
	if err != nil {
		return err
	}
	*to = append(*to, opened.Sub(p.started).Seconds())
	return gone(ctx, s)
}
