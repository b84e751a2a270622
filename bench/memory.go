package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/twokey/twokey/sandbox"
)

type memoryBenchmark struct {
	nodeFlag
	Idle time.Duration `default:"60s" help:"how long nothing happens before it is measured"`
	Runs int           `default:"3" help:"how often both are started"`
}

// memoryLimit is what may be resident, in bytes.
const memoryLimit = 40e6

// Run lets the bot and the Bolt app idle side by side.
func (b *memoryBenchmark) Run(ctx context.Context, out io.Writer) error {
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
	var bots, apps []float64
	for range b.Runs {
		bot, app, err := b.idle(ctx, w, peer)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "after %s: twokey %.1f MB (its own %.1f, pages of files %.1f), Bolt app %.1f MB\n", b.Idle, megabytes(bot.resident),
			megabytes(bot.anonymous), megabytes(bot.file), megabytes(app.resident))
		bots, apps = append(bots, megabytes(bot.resident)), append(apps, megabytes(app.resident))
	}
	_, _ = fmt.Fprintf(out, "twokey: %s MB\nBolt app: %s MB\n", spread(bots, "%.1f"), spread(apps, "%.1f"))
	_, _ = fmt.Fprintf(out, "%.2f × the limit of %.0f MB, %.2f × Bolt's; must reach 1.00: %s\n", median(bots)/megabytes(memoryLimit), megabytes(memoryLimit),
		median(bots)/median(apps), verdict(median(bots), megabytes(memoryLimit)))
	return nil
}

// idle starts both, waits, and reads what they hold.
func (b *memoryBenchmark) idle(ctx context.Context, w *world, peer *peerSlack) (bot, app memory, err error) {
	theApp, err := peer.bolt(w.dir, b.Node)
	if err != nil {
		return bot, app, err
	}
	defer theApp.stop()
	theBot, err := w.bot()
	if err != nil {
		return bot, app, err
	}
	defer theBot.stop()
	if _, err := connected(ctx, theApp, peer.Server, 1); err != nil {
		return bot, app, err
	}
	if _, err := connected(ctx, theBot, w.box.Slack, 1); err != nil {
		return bot, app, err
	}
	select {
	case <-time.After(b.Idle):
	case <-ctx.Done():
		return bot, app, ctx.Err()
	}
	if bot, err = theBot.memory(); err != nil {
		return bot, app, err
	}
	app, err = theApp.memory()
	return bot, app, err
}

func megabytes[T int64 | float64](bytes T) float64 { return float64(bytes) / 1e6 }
