package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox"
)

// manyBenchmark rotates many secrets at once. What bounds them is not the bot: Graph
// takes one write at a time in a tenant, and Slack one message a second in a channel.
type manyBenchmark struct {
	slowness
	AtOnce    int           `arg:"--at-once" default:"16" help:"rotations"`
	WriteTime time.Duration `arg:"--write-time" default:"300ms" help:"that Graph's tenant is held by a write; another within it is refused"`
}

// manyRatio is how much longer they may take than the limits make them.
const manyRatio = 1.1

// Run asks for all of them, waits for the cards, and confirms all at once.
func (b *manyBenchmark) Run(ctx context.Context, out io.Writer) error {
	describeMachine(out)
	w, err := newWorld(ctx, sandbox.Options{More: b.AtOnce, Tasks: 1, ProbeEvery: -1}, func(config string) string {
		return strings.ReplaceAll(config, "    ecs: {", fmt.Sprintf("    overlap: %ds\n    ecs: {", int(b.Overlap.Seconds())))
	})
	if err != nil {
		return err
	}
	defer w.close()
	bot, err := w.bot()
	if err != nil {
		return err
	}
	defer bot.stop()
	if _, err := connected(ctx, bot, w.box.Slack, 1); err != nil {
		return err
	}
	var secrets []string
	for _, s := range w.box.Team.Secrets[len(w.box.Team.Secrets)-b.AtOnce:] {
		secrets = append(secrets, s.Name)
	}
	cards, err := b.ask(ctx, w, secrets)
	if err != nil {
		return err
	}
	b.slow(w, b.WriteTime)
	clicked, err := b.confirm(ctx, w, cards)
	if err != nil {
		return err
	}
	done, told, messages, err := b.wait(ctx, w, clicked, secrets, cards)
	if err != nil {
		return err
	}
	b.judge(out, done, told, messages)
	return nil
}

// ask asks for every rotation and waits for its card.
func (b *manyBenchmark) ask(ctx context.Context, w *world, secrets []string) (map[string]string, error) {
	for _, secret := range secrets {
		server, environment, _ := strings.Cut(secret, "/")
		if _, err := w.box.Slack.Command("alice", peerChannel, "/rotate "+server+" "+environment+" for the benchmark"); err != nil {
			return nil, fmt.Errorf("ask for %s: %w", secret, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(2*len(secrets))*time.Second)
	defer cancel()
	cards := map[string]string{}
	for _, secret := range secrets {
		card, err := w.card(ctx, secret)
		if err != nil {
			return nil, fmt.Errorf("wait for the card of %s: %w", secret, err)
		}
		cards[secret] = card
	}
	return cards, nil
}

// confirm clicks all cards at once and returns when that was.
func (b *manyBenchmark) confirm(ctx context.Context, w *world, cards map[string]string) (time.Time, error) {
	var wg sync.WaitGroup
	errs := make(chan error, len(cards))
	clicked := time.Now()
	for _, card := range cards {
		wg.Go(func() {
			_, err := w.box.Slack.Click("bob", peerChannel, card, "confirm")
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return clicked, errors.Join(append(all, ctx.Err())...)
}

// wait returns how long the rotations took, how long it took until the threads had
// said so, and how many messages were posted meanwhile.
func (b *manyBenchmark) wait(ctx context.Context, w *world, clicked time.Time, secrets []string, cards map[string]string) (done, told time.Duration, messages int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute+time.Duration(30*len(secrets))*time.Second)
	defer cancel()
	for _, secret := range secrets {
		if err := w.threadSays(ctx, cards[secret], "Every step is done and verified"); err != nil {
			return 0, 0, 0, fmt.Errorf("%s: %w", secret, err)
		}
		verdict, err := w.box.Check(secret)
		if err != nil || !verdict.OK {
			return 0, 0, 0, fmt.Errorf("the sandbox is not content with %s: %s, %w", secret, strings.Join(verdict.Problems, "; "), err)
		}
	}
	told = time.Since(clicked)
	db, err := sql.Open("sqlite", "file:"+w.database()+"?mode=ro")
	if err != nil {
		return 0, 0, 0, fmt.Errorf("open the bot's database: %w", err)
	}
	defer func() { _ = db.Close() }() // read only
	var last int64
	row := db.QueryRowContext(ctx, "SELECT MAX(created_at), COUNT(*) FROM notices WHERE created_at >= $1 AND kind = 'entry'", clicked.UnixMicro())
	if err := row.Scan(&last, &messages); err != nil {
		return 0, 0, 0, fmt.Errorf("read when the last was done: %w", err)
	}
	return time.UnixMicro(last).Sub(clicked), told, messages, nil
}

// judge compares with what the vendors' limits make of it.
func (b *manyBenchmark) judge(out io.Writer, done, told time.Duration, messages int) {
	var one time.Duration
	for _, w := range b.waits() {
		one += w.long + time.Duration(w.calls)*b.Latency
	}
	// The last may add its key when all others have added theirs.
	work := one + time.Duration(b.AtOnce-1)*b.WriteTime
	talk := max(work, time.Duration(messages)*time.Second)
	_, _ = fmt.Fprintf(out, "%d rotations, confirmed at once; one alone must wait %.1f s; Graph takes one write in %s\n", b.AtOnce, one.Seconds(), b.WriteTime)
	ratio := done.Seconds() / work.Seconds()
	_, _ = fmt.Fprintf(out, "done after %.1f s: %.3f × the %.1f s that Graph's limit makes of it; must reach 1.10: %s\n", done.Seconds(), ratio, work.Seconds(), verdict(ratio, manyRatio))
	ratio = told.Seconds() / talk.Seconds()
	_, _ = fmt.Fprintf(out, "told after %.1f s: %.3f × the %.1f s that %d messages take, one a second; must reach 1.10: %s\n", told.Seconds(), ratio, talk.Seconds(), messages, verdict(ratio, manyRatio))
}
