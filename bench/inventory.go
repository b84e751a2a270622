package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
)

type inventoryBenchmark struct {
	Applications int           `default:"10000" help:"in the tenant, besides the sandbox's own"`
	Keys         int           `default:"2" help:"of each"`
	Latency      time.Duration `default:"20ms" help:"of every call"`
	Runs         int           `default:"5" help:"sweeps of each concurrency"`
	Ticks        int           `default:"5" help:"sweeps of a bot that runs, one a minute, after its first"`
}

// sweepMemory is what may be resident during a sweep, in bytes.
const sweepMemory = 100e6

// sweepRatio is how much longer a sweep may take than its calls.
const sweepRatio = 1.2

// Run sweeps a large tenant with the real command.
func (b *inventoryBenchmark) Run(ctx context.Context, out io.Writer) error {
	describeMachine(out)
	w, err := newWorld(ctx, sandbox.Options{}, nil)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.box.Entra.Populate(entra.Population{Applications: b.Applications, Keys: b.Keys, Name: "legacy", Used: true}); err != nil {
		return err
	}
	w.box.Conditions.SetLatency("*", b.Latency)
	_, _ = fmt.Fprintf(out, "%d applications with %d keys each, every key used once; %s a call\n", b.Applications, b.Keys, b.Latency)
	for _, concurrency := range []int{1, 2, 3} {
		if err := b.sweeps(ctx, out, w, concurrency); err != nil {
			return err
		}
	}
	return b.ticks(ctx, out, w)
}

// ticks has a bot run that asks every minute what expires, with as many calls at once as
// it has by itself. Its first sweep signs in; the others are what a bot does all year.
func (b *inventoryBenchmark) ticks(ctx context.Context, out io.Writer, w *world) error {
	config, err := os.ReadFile(w.config)
	if err != nil {
		return fmt.Errorf("read the bot's configuration: %w", err)
	}
	const once, always = "\nreminders:\n  schedules: [{cron: \"0 9 * * *\", zone: Europe/Berlin}]\n", "\nsweeps: {off: true}\npolicy: {off: true}\ndigest: {off: true}\nreminders:\n  schedules: [{cron: \"* * * * *\"}]\n"
	path := filepath.Join(w.dir, "every-minute.yml")
	if err := os.WriteFile(path, []byte(strings.Replace(string(config), once, always, 1)), 0o600); err != nil {
		return fmt.Errorf("write the bot's configuration: %w", err)
	}
	bot, err := launch(w.dir, "twokey", w.box.Environ(w.dir), w.program, "run", "--config", path)
	if err != nil {
		return err
	}
	defer bot.stop()
	before := len(w.box.Conditions.Calls())
	swept, err := b.swept(ctx, bot)
	if err != nil {
		return err
	}
	m, err := bot.memory()
	if err != nil {
		return err
	}
	c := count(w.box.Conditions.Calls()[before:])
	pages, longest := c.pages/len(swept), c.longest/len(swept)
	bound := max(time.Duration(pages)*b.Latency/inventory.DefaultConcurrency, time.Duration(longest)*b.Latency)
	var times, ratios []float64
	for _, s := range swept[1:] {
		times, ratios = append(times, float64(s.Took.Milliseconds())), append(ratios, float64(s.Took)/float64(bound))
	}
	_, _ = fmt.Fprintf(out, "a bot that sweeps every minute: %d items with %d calls at once in %s ms, after a first that signed in and took %d ms\n",
		swept[0].Items, inventory.DefaultConcurrency, spread(times, "%.0f"), swept[0].Took.Milliseconds())
	_, _ = fmt.Fprintf(out, "  pages × %s ÷ %d: %s ×; must reach %.2f: %s\n", b.Latency, inventory.DefaultConcurrency, spread(ratios, "%.2f"), sweepRatio, verdict(median(ratios), sweepRatio))
	_, _ = fmt.Fprintf(out, "  most that was resident: %.1f MB; must reach %.0f: %s\n", megabytes(m.peak), megabytes(sweepMemory), verdict(megabytes(m.peak), megabytes(sweepMemory)))
	return nil
}

// swept is what the bot's log says of a sweep.
type swept struct {
	Message string        `json:"msg"`
	Items   int           `json:"items"`
	Took    time.Duration `json:"took"`
}

// swept waits until the bot has swept once, and as often as is to be measured.
func (b *inventoryBenchmark) swept(ctx context.Context, bot *process) ([]swept, error) {
	for {
		log, err := os.ReadFile(bot.log)
		if err != nil {
			return nil, fmt.Errorf("read the bot's log: %w", err)
		}
		var found []swept
		for line := range strings.Lines(string(log)) {
			var s swept
			if json.Unmarshal([]byte(line), &s) == nil && s.Message == "swept" {
				found = append(found, s)
			}
		}
		if len(found) > b.Ticks {
			return found, nil
		}
		select {
		case <-time.After(time.Second):
		case <-bot.ended:
			return nil, bot.died()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sweep is one sweep as it was measured.
type sweep struct {
	took   time.Duration
	items  int
	memory int64 // most that was resident, in bytes
	calls  calls
}

// calls are those that one sweep made to Entra.
type calls struct {
	pages   int           // of lists
	others  int           // to sign in
	longest int           // pages of the longest list, which come one after the other
	each    time.Duration // how long the stand-in took for a page, latency included
}

func (b *inventoryBenchmark) sweeps(ctx context.Context, out io.Writer, w *world, concurrency int) error {
	var times, divided, ordered, signedIn, memories []float64
	var last sweep
	for range b.Runs {
		s, err := b.sweep(ctx, w, concurrency)
		if err != nil {
			return err
		}
		shared := time.Duration(s.calls.pages) * b.Latency / time.Duration(concurrency)
		longest := max(shared, time.Duration(s.calls.longest)*b.Latency)
		first := longest + time.Duration(s.calls.others-1)*b.Latency // two of them are asked at once
		times = append(times, float64(s.took.Milliseconds()))
		divided = append(divided, float64(s.took)/float64(shared))
		ordered = append(ordered, float64(s.took)/float64(longest))
		signedIn = append(signedIn, float64(s.took)/float64(first))
		memories = append(memories, megabytes(s.memory))
		last = s
	}
	c := last.calls
	_, _ = fmt.Fprintf(out, "concurrency %d: %d items in %s ms; %d pages (the longest list has %d, one after the other) and before them %d calls to sign in, two of them at once; a page took the stand-in %.1f ms\n",
		concurrency, last.items, spread(times, "%.0f"), c.pages, c.longest, c.others, float64(c.each.Microseconds())/1000)
	_, _ = fmt.Fprintf(out, "  pages × %s ÷ %d: %s ×; must reach %.2f: %s\n", b.Latency, concurrency, spread(divided, "%.2f"), sweepRatio, verdict(median(divided), sweepRatio))
	_, _ = fmt.Fprintf(out, "  the same, or the longest list's pages × %s where that is more, since only a page tells where the next is: %s ×; must reach %.2f: %s\n", b.Latency, spread(ordered, "%.2f"), sweepRatio, verdict(median(ordered), sweepRatio))
	_, _ = fmt.Fprintf(out, "  the same and the calls to sign in, which no page can come before: %s ×; must reach %.2f: %s\n", spread(signedIn, "%.2f"), sweepRatio, verdict(median(signedIn), sweepRatio))
	_, _ = fmt.Fprintf(out, "  resident: %s MB; must reach %.0f: %s\n", spread(memories, "%.1f"), megabytes(sweepMemory), verdict(median(memories), megabytes(sweepMemory)))
	return nil
}

// sweep runs "twokey inventory" once and reads what it prints. It prints the
// configured part alone, which keeps printing out of what is measured.
func (b *inventoryBenchmark) sweep(ctx context.Context, w *world, concurrency int) (sweep, error) {
	before := len(w.box.Conditions.Calls())
	cmd := exec.CommandContext(ctx, w.program, "inventory", "--config", w.config, "--concurrency", fmt.Sprint(concurrency), "--json")
	cmd.Env = append(os.Environ(), w.box.Environ(w.dir)...)
	printed, err := cmd.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return sweep{}, fmt.Errorf("sweep: %w", err)
	}
	if failed != nil && len(printed) == 0 { // else something is overdue, as some of these keys are
		return sweep{}, fmt.Errorf("sweep: %w\n%s", err, failed.Stderr)
	}
	var v struct {
		Took  time.Duration     `json:"took"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(printed, &v); err != nil {
		return sweep{}, fmt.Errorf("read the inventory: %w", err)
	}
	if want := b.Applications * b.Keys; len(v.Items) < want {
		return sweep{}, fmt.Errorf("%d items are there, of %d keys", len(v.Items), want)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return sweep{}, errors.New("this system does not tell how much memory a process had")
	}
	return sweep{v.Took, len(v.Items), usage.Maxrss * 1024, count(w.box.Conditions.Calls()[before:])}, nil
}

// count sorts a sweep's calls.
func count(all []conditions.Call) calls {
	var c calls
	var took time.Duration
	lists := map[string]int{}
	for _, call := range all {
		switch {
		case strings.HasPrefix(call.Operation, "graph.list"):
			c.pages++
			took += call.Took
			lists[call.Operation]++
			c.longest = max(c.longest, lists[call.Operation])
		case strings.HasPrefix(call.Operation, "entra."), call.Operation == "sts.GetWebIdentityToken":
			c.others++
		}
	}
	if c.pages > 0 {
		c.each = took / time.Duration(c.pages)
	}
	return c
}
