package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	_ "modernc.org/sqlite" // to count what the bot kept

	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
)

type ackBenchmark struct {
	nodeFlag
	Rounds  int           `default:"7" help:"rounds of each of the two"`
	Length  time.Duration `default:"10s" help:"of a round"`
	Rate    float64       `default:"200" help:"commands a second, at random instants"`
	Warm    time.Duration `default:"5s" help:"a round of each before, that does not count"`
	Line    string        `default:"/rotate help" help:"what is typed"`
	Request int           `default:"0" placeholder:"N" help:"every N-th command asks for a real rotation; 0: none"`
}

// contestant is one of the two that are measured.
type contestant struct {
	name  string
	slack *slack.Server
	times []float64 // of acknowledgements, in milliseconds
}

// Run alternates rounds between the bot and the Bolt app.
func (b *ackBenchmark) Run(ctx context.Context, out io.Writer) error {
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
	// Without Slack's limits every command is answered, as well as acknowledged;
	// with them most of the bot's answers would be refused and cost it nothing.
	for _, s := range []*slack.Server{w.box.Slack, peer.Server} {
		s.Set(func(set *slack.Settings) { set.Limits = false })
	}
	app, err := peer.bolt(w.dir, b.Node)
	if err != nil {
		return err
	}
	defer app.stop()
	bot, err := w.bot()
	if err != nil {
		return err
	}
	defer bot.stop()
	if _, err := connected(ctx, app, peer.Server, 1); err != nil {
		return err
	}
	if _, err := connected(ctx, bot, w.box.Slack, 2); err != nil { // the second comes ten seconds later
		return err
	}
	sync, err := syncTime(w.dir)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "writing 4 KiB and fsync here: median %.2f ms, p99 %.2f ms\n", percentile(sync, 50), percentile(sync, 99))
	return b.compete(ctx, out, w, &contestant{name: "twokey", slack: w.box.Slack}, &contestant{name: "Bolt", slack: peer.Server})
}

// compete measures, and judges.
func (b *ackBenchmark) compete(ctx context.Context, out io.Writer, w *world, bot, app *contestant) error {
	acknowledged := 0
	for _, c := range []*contestant{bot, app} {
		times, err := b.round(ctx, c, b.Warm, 0)
		if err != nil {
			return err
		}
		if c == bot {
			acknowledged += len(times)
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "round\ttwokey p50\tp99\tBolt p50\tp99\tratio p50\tp99\t")
	var p50s, p99s []float64
	for i := range b.Rounds {
		first, second := bot, app
		if i%2 == 1 { // whoever is second may find the machine warmer
			first, second = app, bot
		}
		round := map[*contestant][]float64{}
		for _, c := range []*contestant{first, second} {
			times, err := b.round(ctx, c, b.Length, uint64(i)+1)
			if err != nil {
				return err
			}
			round[c] = times
			c.times = append(c.times, times...)
		}
		acknowledged += len(round[bot])
		p50s, p99s = append(p50s, row(table, fmt.Sprint(i+1), round[bot], round[app], 50)), append(p99s, row(nil, "", round[bot], round[app], 99))
	}
	row(table, "all", bot.times, app.times, 50)
	_ = table.Flush() // the writer is the terminal's
	kept, err := envelopesKept(ctx, w.database())
	if err != nil {
		return err
	}
	if kept < acknowledged {
		return fmt.Errorf("%d commands were acknowledged and only %d are in the database", acknowledged, kept)
	}
	_, _ = fmt.Fprintf(out, "in ms; %.0f commands a second; all %d that were acknowledged are in the database\n", b.Rate, kept)
	_, _ = fmt.Fprintf(out, "p50 ratio: %s\np99 ratio: %s\n", spread(p50s, "%.2f"), spread(p99s, "%.2f"))
	all := percentile(bot.times, 99) / percentile(app.times, 99)
	_, _ = fmt.Fprintf(out, "p99 over all rounds: %.2f × Bolt's; must reach 1.00: %s\n", all, verdict(all, 1))
	return nil
}

// row prints a round and returns the ratio of the p-th percentiles.
func row(table io.Writer, name string, bot, app []float64, p float64) float64 {
	if table != nil {
		_, _ = fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", name, percentile(bot, 50), percentile(bot, 99), percentile(app, 50), percentile(app, 99),
			percentile(bot, 50)/percentile(app, 50), percentile(bot, 99)/percentile(app, 99))
	}
	return percentile(bot, p) / percentile(app, p)
}

// round types commands at random instants, the same for the same seed, whether
// earlier ones are acknowledged or not. It returns how long each took to be.
func (b *ackBenchmark) round(ctx context.Context, c *contestant, length time.Duration, seed uint64) ([]float64, error) {
	instants := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // no secret
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		times []float64
		errs  []error // of those that were not
	)
	began := time.Now()
	for n, at := 0, time.Duration(0); ctx.Err() == nil; n++ {
		at += time.Duration(instants.ExpFloat64() / b.Rate * float64(time.Second))
		if at > length {
			break
		}
		time.Sleep(time.Until(began.Add(at)))
		wg.Go(func() {
			result, err := c.slack.Command(peerUser, peerChannel, b.line(n))
			if err == nil && !result.Acked {
				err = fmt.Errorf("%s did not acknowledge: %s", c.name, result.Shown)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			times = append(times, result.AckedMS)
		})
	}
	wg.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(errs) > 0:
		return nil, fmt.Errorf("%d of %d commands went wrong; the first: %w", len(errs), len(errs)+len(times), errs[0])
	case len(times) == 0:
		return nil, errors.New("the round was too short for a single command")
	}
	return times, nil
}

func (b *ackBenchmark) line(n int) string {
	if b.Request > 0 && n%b.Request == 0 {
		return "/rotate sharepoint prod for the benchmark"
	}
	return b.Line
}

// envelopesKept counts the envelopes in the bot's database.
func envelopesKept(ctx context.Context, path string) (int, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return 0, fmt.Errorf("open the bot's database: %w", err)
	}
	defer func() { _ = db.Close() }() // read only
	var n int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM envelopes").Scan(&n); err != nil {
		return 0, fmt.Errorf("count the envelopes: %w", err)
	}
	return n, nil
}

// syncTime measures what durability costs here: writes of 4 KiB, each synced.
func syncTime(dir string) ([]float64, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { _ = f.Close() }() // nobody reads it
	var times []float64
	for range 200 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return nil, fmt.Errorf("measure the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("measure the disk: %w", err)
		}
		times = append(times, float64(time.Since(began).Microseconds())/1000)
	}
	return times, nil
}
