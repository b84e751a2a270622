package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/slack"
)

type rotationBenchmark struct {
	slowness
	Runs int `default:"3" help:"rotations, each of another secret; at most 8"`
}

// slowness is what the sandbox imposes on every rotation.
type slowness struct {
	Latency   time.Duration `default:"50ms" help:"of every call to Slack, Entra, Graph, AWS and MCP"`
	Learn     time.Duration `default:"18s" help:"until the last token replica knows a new secret; the first knows it after half of that"`
	Forget    time.Duration `default:"60s" help:"until the last token replica refuses a removed secret; the first does at once"`
	TaskStart time.Duration `arg:"--task-start" default:"30s" help:"from an ECS task's creation to its start"`
	Health    time.Duration `default:"10s" help:"from the start to the first verdict on a task's health"`
	Drain     time.Duration `default:"15s" help:"until an old task has stopped"`
	Overlap   time.Duration `default:"5s" help:"that the old key lives on; configured, in seconds"`
}

// wait is one thing that a rotation cannot go without, on its critical path.
type wait struct {
	step  string // whose end it comes before, as the record names it
	what  string
	calls int           // one after the other, each of the set latency
	long  time.Duration // that the sandbox imposes besides
}

// begun is the way from the click to the first step; the record has no step of
// that name.
const begun = "(the click, the plan made again)"

// waits is what any correct rotation waits for, from the click that confirms it
// to the last line of the record. Calls that do not need each other count as one.
// A call that only looks counts where without it something would be claimed that
// nobody saw. How often a proof is repeated, and the time between, is the bot's
// own choice and does not count.
func (b *slowness) waits() []wait {
	return []wait{
		{begun, "who clicked, then who that is in Entra; the client id, then the application, then what belongs to it", 2 + 3, 0},
		{"Make a new secret in Entra", "add the key, write the pending parameter, read both back at once", 3, 0},
		// Writing and reading back go on while the replicas learn.
		{"Prove the new secret by fresh tokens", "until the last replica knows it, then one token", 1, b.Learn - 2*b.Latency},
		{"Put it into the live parameter", "write it, label the version, read it back", 3, 0},
		{"Redeploy the service", "begin the roll-out, wait for it, look at the service, list its tasks and look at them", 4, b.TaskStart + b.Health + b.Drain},
		{"Check the MCP server", "open the session, call the tool", 2, 0},
		{"Keep both keys for the overlap", "the configured time, then one look", 1, b.Overlap},
		{"Remove the old key", "remove it, read it back", 2, 0},
		{"Prove the old secret is refused", "until the last replica refuses it, then one token", 1, b.Forget - b.Latency},
		{"Clear up", "delete the pending parameter, look that it is gone", 2, 0},
	}
}

// rotation is one that was measured.
type rotation struct {
	total time.Duration
	told  time.Duration            // until the thread said so
	steps map[string]time.Duration // from the end of the step before
	calls map[string]int
	idle  time.Duration // no call was under way
}

// Run rotates secrets one after the other.
func (b *rotationBenchmark) Run(ctx context.Context, out io.Writer) error {
	describeMachine(out)
	w, err := newWorld(ctx, sandbox.Options{}, func(config string) string {
		return strings.Replace(config, "    ecs: {", fmt.Sprintf("    overlap: %ds\n    ecs: {", int(b.Overlap.Seconds())), 1)
	})
	if err != nil {
		return err
	}
	defer w.close()
	b.slow(w, 0)
	bot, err := w.bot()
	if err != nil {
		return err
	}
	defer bot.stop()
	if _, err := connected(ctx, bot, w.box.Slack, 1); err != nil {
		return err
	}
	var runs []rotation
	for _, secret := range w.box.Team.Secrets[:min(b.Runs, len(w.box.Team.Secrets))] {
		r, err := b.rotate(ctx, w, secret.Name)
		if err != nil {
			return fmt.Errorf("rotate %s: %w", secret.Name, err)
		}
		runs = append(runs, r)
	}
	b.report(out, runs)
	return nil
}

// slow sets the sandbox's waits; writes is how long one write holds Graph's tenant.
func (b *slowness) slow(w *world, writes time.Duration) {
	w.box.Conditions.SetLatency("*", b.Latency)
	w.box.Conditions.SetLatency("slack.socket", 0) // not a call of the rotation
	w.box.Entra.SetBehaviour(entra.Behaviour{Learn: []float64{b.Learn.Seconds() / 2, b.Learn.Seconds()}, Forget: []float64{0, b.Forget.Seconds()}, WriteTakes: writes.Seconds()})
	settings := aws.DefaultSettings()
	settings.TaskStart, settings.Health, settings.Drain = aws.Span(b.TaskStart), aws.Span(b.Health), aws.Span(b.Drain)
	w.box.AWS.Set(settings)
}

// rotate asks, confirms, and waits for the end.
func (b *rotationBenchmark) rotate(ctx context.Context, w *world, secret string) (rotation, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	server, environment, _ := strings.Cut(secret, "/")
	asked := time.Now()
	if _, err := w.box.Slack.Command("alice", peerChannel, "/rotate "+server+" "+environment+" for the benchmark"); err != nil {
		return rotation{}, err
	}
	card, err := w.card(ctx, secret)
	if err != nil {
		return rotation{}, fmt.Errorf("wait for the card, asked for %s ago: %w", time.Since(asked).Round(time.Second), err)
	}
	clicked := time.Now()
	if _, err := w.box.Slack.Click("bob", peerChannel, card, "confirm"); err != nil {
		return rotation{}, err
	}
	if err := w.threadSays(ctx, card, "Every step is done and verified"); err != nil {
		return rotation{}, err
	}
	told := time.Since(clicked)
	verdict, err := w.box.Check(secret)
	if err != nil {
		return rotation{}, err
	}
	if !verdict.OK || verdict.Working != 1 {
		return rotation{}, fmt.Errorf("the sandbox is not content: %s", strings.Join(verdict.Problems, "; "))
	}
	entries, err := w.record(ctx, operation.SecretName(secret))
	if err != nil {
		return rotation{}, err
	}
	r := measured(clicked, entries)
	r.told = told
	r.calls, r.idle = callsBetween(w.box.Conditions.Calls(), clicked, clicked.Add(r.total))
	return r, nil
}

// card waits for the card that asks about secret and returns its id.
func (w *world) card(ctx context.Context, secret string) (string, error) {
	var ts string
	err := w.box.Slack.Wait(ctx, func() bool {
		messages, err := w.box.Slack.Messages(peerChannel, "")
		if err != nil {
			return false
		}
		for _, m := range slices.Backward(messages) {
			if len(m.Actions) > 0 && strings.Contains(m.Text, secret) {
				ts = m.TS
				return true
			}
		}
		return false
	})
	return ts, err
}

// threadSays waits for words in the thread under a card, and gives up when the card
// says that people are needed.
func (w *world) threadSays(ctx context.Context, card, words string) error {
	var last string
	err := w.box.Slack.Wait(ctx, func() bool {
		thread, err := w.box.Slack.Thread(peerChannel, card)
		if err != nil || len(thread) == 0 {
			return false
		}
		last = thread[len(thread)-1].Text
		return slices.ContainsFunc(thread[1:], func(m slack.Message) bool { return strings.Contains(m.Text, words) })
	})
	if err != nil {
		return fmt.Errorf("wait for the thread to say %q; the last that it said: %s: %w", words, last, err)
	}
	return nil
}

// record reads what the bot wrote down of the only operation of a secret.
func (w *world) record(ctx context.Context, secret operation.SecretName) ([]operation.Entry, error) {
	db, err := sql.Open("sqlite", "file:"+w.database()+"?mode=ro")
	if err != nil {
		return nil, fmt.Errorf("open the bot's database: %w", err)
	}
	defer func() { _ = db.Close() }() // read only
	var id string
	if err := db.QueryRowContext(ctx, "SELECT id FROM operations WHERE secret = $1", string(secret)).Scan(&id); err != nil {
		return nil, fmt.Errorf("find the operation of %s: %w", secret, err)
	}
	entries, err := audit.OfOperation(ctx, db, operation.ID(id))
	if err == nil && len(entries) == 0 {
		err = errors.New("the record has no entries")
	}
	return entries, err
}

// measured reads the times of a rotation off its record.
func measured(clicked time.Time, entries []operation.Entry) rotation {
	r := rotation{steps: map[string]time.Duration{}}
	before := clicked
	for _, e := range entries {
		if e.At.Before(clicked) {
			continue
		}
		step := e.Step
		if e.Event == operation.Begin {
			step = begun
		}
		if step == "" { // it belongs to what comes next
			continue
		}
		r.steps[step] += e.At.Sub(before)
		before = e.At
	}
	r.total = entries[len(entries)-1].At.Sub(clicked)
	return r
}

// callsBetween counts the bot's calls to the vendors but Slack, and how long none
// was under way.
func callsBetween(calls []conditions.Call, from, to time.Time) (counts map[string]int, idle time.Duration) {
	counts = map[string]int{}
	slices.SortFunc(calls, func(a, b conditions.Call) int { return a.Arrived.Compare(b.Arrived) })
	busyUntil := from
	for _, c := range calls {
		if c.Arrived.Before(from) || c.Arrived.After(to) || strings.HasPrefix(c.Operation, "slack.chat.") {
			continue
		}
		counts[c.Operation]++
		if c.Arrived.After(busyUntil) {
			idle += c.Arrived.Sub(busyUntil)
		}
		if end := c.Arrived.Add(c.Took); end.After(busyUntil) {
			busyUntil = end
		}
	}
	return counts, idle + max(0, to.Sub(busyUntil))
}

// report compares what was measured with what had to be waited for.
func (b *rotationBenchmark) report(out io.Writer, runs []rotation) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "step\ttook\tmust wait\tbeyond\twhat must be waited for")
	var must, imposed time.Duration
	for _, w := range b.waits() {
		least := w.long + time.Duration(w.calls)*b.Latency
		must, imposed = must+least, imposed+w.long
		took := seconds(runs, func(r rotation) time.Duration { return r.steps[w.step] })
		_, _ = fmt.Fprintf(table, "%s\t%.2f s\t%.2f s\t%+.2f s\t%s\n", w.step, median(took), least.Seconds(), median(took)-least.Seconds(), w.what)
	}
	_ = table.Flush() // the writer is the terminal's
	total := seconds(runs, func(r rotation) time.Duration { return r.total })
	idle := seconds(runs, func(r rotation) time.Duration { return r.idle })
	told := seconds(runs, func(r rotation) time.Duration { return r.told })
	_, _ = fmt.Fprintf(out, "calls of the middle run: %s\n", countsOf(runs[len(runs)/2].calls))
	_, _ = fmt.Fprintf(out, "no call under way: median %.2f s, of which %.2f s were imposed\n", median(idle), imposed.Seconds())
	_, _ = fmt.Fprintf(out, "from the click to the record's last line: %s s\nuntil the thread had said it: %s s (Slack takes one message a second)\n", spread(total, "%.2f"), spread(told, "%.2f"))
	ratios := make([]float64, len(total))
	for i := range total {
		ratios[i] = total[i] / must.Seconds()
	}
	_, _ = fmt.Fprintf(out, "%s × the %.2f s that any rotation must wait here; must reach 1.10: %s\n", spread(ratios, "%.3f"), must.Seconds(), verdict(median(ratios), 1.1))
}

func seconds(runs []rotation, of func(rotation) time.Duration) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = of(r).Seconds()
	}
	return out
}

func countsOf(calls map[string]int) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		out = append(out, fmt.Sprintf("%d %s", calls[name], name))
	}
	return strings.Join(out, ", ")
}
