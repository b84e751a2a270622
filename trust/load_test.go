package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

const (
	// slackWaits is how long Slack waits for an acknowledgement.
	slackWaits = 3 * time.Second
	// away is how long a replica that left stays away.
	away = time.Second
	// around is how close to a replica's leaving a command must be typed for Slack to have
	// sent it there. Socket Mode has no word for "send me nothing more", so what is on its
	// way then is called failed after 3 s and delivered again.
	around = 500 * time.Millisecond
	// askAgain is how long alice waits for her request to be there before she asks once
	// more: an answer that says no, or none, is not counted against the bot.
	askAgain = 10 * time.Second
	// drained is how long what was acknowledged may take to be handled, after the last.
	drained = 5 * time.Minute
)

// residentLimit is what a replica may have resident at any time, in bytes. The race
// detector multiplies what it watches.
func residentLimit() int64 {
	if len(raceFlags()) > 0 {
		return 2e9
	}
	return 200e6
}

// load is what is asked of the bot at once.
type load struct {
	*world
	rate, seconds, open int
	lapse               time.Duration // of requests; 0: they are decided
	churn               time.Duration // between two replicas' leaving

	decided []string // cards

	mu      sync.Mutex
	acked   []string // envelopes
	took    []float64
	missed  map[time.Time]string // commands that Slack called failed, by when they were typed
	strikes []time.Time          // when a replica was told to leave, or killed
	most    int64                // bytes that a replica had resident
	asks    int                  // of requests
	stuck   int                  // replicas that did not leave when asked to
}

func TestUnderLoadNothingIsLostAndMemoryIsBounded(t *testing.T) {
	need.Postgres(t) // or skip
	program, err := compile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rate, seconds, open := count(t, "TWOKEY_TRUST_RATE", 60), count(t, "TWOKEY_TRUST_SECONDS", 5), count(t, "TWOKEY_TRUST_OPEN", 0)
	t.Run("commands", func(t *testing.T) {
		(&load{rate: rate, seconds: seconds, churn: time.Duration(max(1, seconds/8)) * time.Second}).play(t, program)
	})
	if open == 0 {
		return
	}
	t.Run("requests", func(t *testing.T) { // each is looked up in Slack, Entra and AWS: within a minute, not a second
		(&load{rate: max(1, open/50), seconds: 60, open: open, lapse: 3 * time.Minute, churn: 7 * time.Second}).play(t, program)
	})
}

// play starts the replicas, loads them, and judges.
func (l *load) play(t *testing.T, program string) {
	l.missed = map[time.Time]string{}
	tale := rotation()
	tale.config = func(config string) string {
		config = strings.Replace(config, "\nreminders:\n", "\nsweeps: {off: true}\npolicy: {off: true}\ndigest: {off: true}\nreminders:\n", 1)
		if l.lapse > 0 {
			config = strings.Replace(config, "\ndefaults:\n", fmt.Sprintf("\ndefaults:\n  lapse: %s\n", l.lapse), 1)
		}
		return config
	}
	l.world = newWorld(t, program, setting{database: "postgres", replicas: count(t, "TWOKEY_TRUST_REPLICAS", 2), overlap: 3 * time.Second, story: tale,
		seed: number(t, "TWOKEY_TRUST_SEED", 1), servers: l.open, look: time.Second})
	// Slack's own limits would refuse nearly all of the answers: it is to refuse half.
	l.box.Slack.Set(func(s *slack.Settings) { s.Limits = false })
	if err := l.startAll(); err != nil {
		t.Fatalf("%v\n%s", err, l.logs())
	}
	// Opening the WebSocket is no call of the Web API; what gives its address is.
	l.box.Conditions.Add(conditions.Fault{Operation: "slack.socket", Kind: conditions.Slow})
	l.box.Conditions.Add(conditions.Fault{Operation: "slack.*", Kind: conditions.Throttle, RetryAfter: 1, Share: 0.5})
	if err := l.run(t); err != nil {
		t.Errorf("%v\n%s", err, l.logs())
	}
	l.judge(t)
}

func count(t *testing.T, name string, fallback uint64) int {
	t.Helper()
	return int(min(number(t, name, fallback), math.MaxInt32)) //nolint:gosec // bounded
}

// run loads the bot, and returns when everything that was asked has come to its end.
func (l *load) run(t *testing.T) error {
	t.Logf("before: load average %s", loadAverage())
	loading, loaded := context.WithCancel(t.Context())
	defer loaded()
	var beside sync.WaitGroup
	beside.Go(func() { l.comeAndGo(loading) })
	watching, seen := context.WithCancel(t.Context())
	beside.Go(func() { l.watchMemory(watching) })
	defer beside.Wait()
	defer seen()
	began := time.Now()
	err := l.typeAll(t.Context())
	typed := time.Since(began)
	loaded()
	if err != nil {
		return err
	}
	open, err := l.scan("SELECT COUNT(*) FROM operations WHERE state = 'pending'")
	if err != nil {
		return err
	}
	t.Logf("after: load average %s; typed for %.1f s, and all %d of %d requests are open", loadAverage(), typed.Seconds(), open, l.open)
	if open != l.open {
		return fmt.Errorf("%d requests are open, of %d that were taken", open, l.open)
	}
	if err := l.until(l.ctx, drained, "every envelope to be handled", func() bool {
		n, err := l.scan("SELECT COUNT(*) FROM envelopes WHERE handled_at = 0")
		return err == nil && n == 0
	}); err != nil {
		return err
	}
	t.Logf("all was handled %.1f s after the last command", time.Since(began.Add(typed)).Seconds())
	return l.end(t)
}

// typeAll types all commands, and returns when each was acknowledged or given up by Slack
// and every request is there.
func (l *load) typeAll(ctx context.Context) error {
	instants := rand.New(rand.NewPCG(l.seed, 3))
	var requests errgroup.Group
	var commands sync.WaitGroup
	total, asked := l.rate*l.seconds, 0
	began, at := time.Now(), time.Duration(0)
	for n := range total {
		at += time.Duration(instants.ExpFloat64() / float64(l.rate) * float64(time.Second))
		time.Sleep(time.Until(began.Add(at)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if asked < (n+1)*l.open/total {
			secret := l.box.Team.Secrets[len(l.box.Team.Secrets)-l.open+asked]
			asked++
			requests.Go(func() error { return l.ask(secret.Server, secret.Environment) })
			continue
		}
		commands.Go(func() { l.command("/rotate help") })
	}
	commands.Wait()
	return requests.Wait()
}

// command types one line and notes what came of it.
func (l *load) command(line string) {
	at := time.Now()
	result, err := l.box.Slack.Command("alice", channel, line)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.missed[at] = err.Error()
	case !result.Acked:
		l.missed[at] = result.Error
	default:
		l.acked, l.took = append(l.acked, result.EnvelopeID), append(l.took, result.AckedMS)
	}
}

// ask asks for a rotation until it waits for its confirmation.
func (l *load) ask(server, environment string) error {
	for deadline := time.Now().Add(drained); time.Now().Before(deadline); {
		l.mu.Lock()
		l.asks++
		l.mu.Unlock()
		l.command("/rotate " + server + " " + environment + " CHG0012345 for the load")
		for again := time.Now().Add(askAgain); time.Now().Before(again); time.Sleep(time.Second) {
			var n int
			if err := l.db.QueryRowContext(l.ctx, "SELECT COUNT(*) FROM operations WHERE secret = $1", server+"/"+environment).Scan(&n); err == nil && n > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("no request for %s within %s", server, drained)
}

// comeAndGo has one replica after the other leave and come back, by SIGTERM and by
// SIGKILL in turn, while the others stay.
func (l *load) comeAndGo(ctx context.Context) {
	for n := 0; pauseFor(ctx, l.churn); n++ {
		r := l.replicas[l.dice.IntN(len(l.replicas))]
		l.mu.Lock()
		l.strikes = append(l.strikes, time.Now())
		l.mu.Unlock()
		if n%2 == 1 {
			if !r.leave() {
				l.mu.Lock()
				l.stuck++
				l.mu.Unlock()
			}
		} else {
			r.kill()
		}
		pauseFor(ctx, away)
		sockets := len(l.box.Slack.Sockets())
		_ = r.start() // one that does not come back shows in what is left undone
		// The next leaves when this one is there; that it is late is no fault of the load.
		_ = l.until(ctx, bootTime, "the replica to be back", func() bool { return len(l.box.Slack.Sockets()) > sockets })
	}
}

func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// watchMemory keeps the most that any replica had resident. The kernel keeps each
// process's own maximum, so that nothing is missed between two looks but a process's end.
func (l *load) watchMemory(ctx context.Context) {
	for pauseFor(ctx, 100*time.Millisecond) {
		for _, r := range l.replicas {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.pid()))
			if err != nil {
				continue // it is away
			}
			_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
			var kilobytes int64
			if _, err := fmt.Sscan(string(rest), &kilobytes); err != nil {
				continue // it ends
			}
			l.mu.Lock()
			l.most = max(l.most, kilobytes*1024)
			l.mu.Unlock()
		}
	}
}

// end lets the requests come to their ends: a few cards are decided by people, and what
// nobody decides lapses.
func (l *load) end(t *testing.T) error {
	want := map[operation.State]int{}
	decide := min(l.open, 4)
	for n := range decide {
		person, action, state := "alice", bot.ActionCancel, operation.Cancelled
		if l.lapse > 0 && n%2 == 1 {
			person, action, state = "bob", bot.ActionConfirm, operation.Succeeded
		}
		if err := l.decide(person, action); err != nil {
			return err
		}
		want[state]++
	}
	if l.open > decide { // what nobody decides
		want[operation.Lapsed] = l.open - decide
	}
	err := l.until(l.ctx, l.lapse+drained, "the requests' ends", func() bool {
		n, err := l.scan("SELECT COUNT(*) FROM operations WHERE state IN ('pending', 'approved', 'running', 'waiting', 'undoing')")
		return err == nil && n == 0
	})
	got := map[operation.State]int{}
	for _, r := range l.requests() {
		got[r.State]++
	}
	untold, e := l.scan("SELECT COUNT(*) FROM notices WHERE sent_at = 0")
	t.Logf("the requests ended as %v; %d sentences wait for their second in the channel", got, untold)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		err = errors.Join(err, fmt.Errorf("the requests ended as %v, and not as %v", got, want))
	}
	for _, secret := range l.box.Team.Secrets[len(l.box.Team.Secrets)-l.open:] {
		verdict, e := l.box.Check(secret.Name)
		if e != nil || !verdict.OK {
			err = errors.Join(err, e, fmt.Errorf("%s: %s", secret.Name, strings.Join(verdict.Problems, "; ")))
		}
	}
	return errors.Join(err, e)
}

// decide clicks a button of a card that has it, until the operation is not pending any more.
func (l *load) decide(person, action string) error {
	pending := func() int {
		n, err := l.scan("SELECT COUNT(*) FROM operations WHERE state = 'pending'")
		if err != nil {
			return math.MaxInt
		}
		return n
	}
	before := pending()
	var card string
	if err := l.until(l.ctx, patience, "a card", func() bool {
		messages, err := l.box.Slack.Messages(channel, "")
		i := slices.IndexFunc(messages, func(m slack.Message) bool {
			return !slices.Contains(l.decided, m.TS) && slices.ContainsFunc(m.Actions, func(a slack.Action) bool { return a.ActionID == action })
		})
		if err == nil && i >= 0 {
			card = messages[i].TS
		}
		return card != ""
	}); err != nil {
		return err
	}
	// A click that is refused, because Slack did not say who clicked, is told so and
	// clicked again.
	var err error
	for range 5 {
		if _, err = l.box.Slack.Click(person, channel, card, action); err != nil && !errors.Is(err, slack.ErrNotShown) {
			return err
		}
		if err = l.until(l.ctx, askAgain, person+"'s click to count", func() bool { return pending() < before }); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	// The card follows when the channel has a second for it.
	l.decided = append(l.decided, card)
	return nil
}

func (l *load) scan(query string) (n int, err error) {
	return n, l.db.QueryRowContext(l.ctx, query).Scan(&n)
}

// judge tells what was measured, and fails for what must not be.
func (l *load) judge(t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		t.Error("no command was acknowledged")
		return
	}
	slices.Sort(l.took)
	at := func(p float64) float64 { return l.took[max(1, int(math.Ceil(p/100*float64(len(l.took)))))-1] }
	t.Logf("%d commands acknowledged, p50 %.1f ms, p99 %.1f ms, the slowest %.0f ms; %d were not; replicas left %d times; alice asked %d times for %d rotations; most resident %.0f MB",
		len(l.took), at(50), at(99), at(100), len(l.missed), len(l.strikes), l.asks, l.open, float64(l.most)/1e6)
	late := map[string]int{}
	for typed, why := range l.missed {
		if !slices.ContainsFunc(l.strikes, func(s time.Time) bool { return typed.After(s.Add(-around)) && typed.Before(s.Add(around)) }) {
			late[why]++
		}
	}
	if len(late) > 0 {
		t.Errorf("commands were not acknowledged within %s, and no replica left then: %v", slackWaits, late)
	}
	known := map[string]bool{}
	if err := l.collect(known); err != nil {
		t.Error(err)
	}
	lost := 0
	for _, id := range l.acked {
		if !known[id] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("nothing lost: %d of %d commands that were acknowledged are not in the database as handled", lost, len(l.acked))
	}
	if l.stuck > 0 {
		t.Errorf("%d replicas did not end within %s of SIGTERM", l.stuck, patience)
	}
	if l.most == 0 || l.most > residentLimit() {
		t.Errorf("%d bytes were resident, and must be at most %d", l.most, residentLimit())
	}
	for _, r := range l.replicas {
		if s := r.disgraceful(); s != "" {
			t.Errorf("replica %d: %s", r.number, s)
		}
		text, err := os.ReadFile(r.log)
		if err != nil {
			t.Error(err)
		}
		if n := bytes.Count(text, []byte("could not be handled and is given up")); n > 0 {
			t.Errorf("nothing lost: replica %d gave %d envelopes up", r.number, n)
		}
	}
}

// collect reads which envelopes were handled.
func (l *load) collect(known map[string]bool) error {
	rows, err := l.db.QueryContext(l.ctx, "SELECT id FROM envelopes WHERE handled_at > 0")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // read only
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		known[id] = true
	}
	return rows.Err()
}

// loadAverage says how busy the machine is.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
