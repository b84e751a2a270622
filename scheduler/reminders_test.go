package scheduler

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/store"
)

// survey is an inventory as a test wants it.
type survey struct {
	items []inventory.Item
	gaps  []inventory.Gap
}

func (s survey) Sweep(context.Context) (inventory.Inventory, error) {
	return inventory.Inventory{Items: s.items, Gaps: s.gaps}, nil
}

func secret(id string, end time.Time) inventory.Item {
	return inventory.Item{ID: inventory.ID("secret:" + id), Kind: inventory.Secret, Name: id + "/prod", KeyID: runbook.KeyID(id), Live: true, End: end,
		Feeds: inventory.Feeds{Secret: operation.SecretName(id + "/prod"), Parameter: "/p/" + id, Cluster: "c", Service: id, Endpoint: "https://" + id}}
}

func policy() Policy {
	return Policy{Stages: DefaultStages(), Escalate: DefaultEscalate, Channel: "C0OPS", Ring: "S0ONCALL"}
}

// openStore opens a store whose now is the test's.
func openStore(t testing.TB, address string) *store.Store {
	t.Helper()
	private, _, err := audit.GenerateKey("twokey.test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), address, store.Options{Recorder: audit.NewLog(key, audit.Cadence{}, time.Now), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// watched is a book that notes what was told, and fails when the test says so.
type watched struct {
	*store.Store
	mu    sync.Mutex
	told  []operation.Reminder
	fails func() (before, after bool)
}

var errCrash = errors.New("the process died")

// Remind implements Book.
func (w *watched) Remind(ctx context.Context, now time.Time, due []operation.Reminder) ([]operation.Reminder, error) {
	w.mu.Lock()
	before, after := w.fails()
	w.mu.Unlock()
	if before {
		return nil, errCrash
	}
	told, err := w.Store.Remind(ctx, now, due)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.told = append(w.told, told...)
	w.mu.Unlock()
	if after {
		return nil, errCrash // committed, and nobody knows
	}
	return told, nil
}

func never() (before, after bool) { return false, false }

func TestTheStageIsTheLatestThatIsDue(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 6, 30, 15, 0, 0, 0, time.UTC)
	for now, want := range map[string]string{
		"2026-03-31T09:00:00Z": "none", // 91 days
		"2026-03-31T22:30:00Z": "90",   // midnight has passed in Berlin
		"2026-04-01T09:00:00Z": "90",
		"2026-05-31T09:00:00Z": "30",
		"2026-06-20T09:00:00Z": "14", // ten days are past the fourteenth
		"2026-06-29T05:00:00Z": "1",
		"2026-06-30T09:00:00Z": "1", // its last morning
		"2026-06-30T15:00:00Z": "0",
		"2026-07-02T09:00:00Z": "-2",
	} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		got := "none"
		if s, ok := StageAt(DefaultStages(), end, at, berlin); ok {
			got = fmt.Sprint(int(s))
		}
		if got != want {
			t.Errorf("at %s stage %s, want %s", now, got, want)
		}
	}
}

func TestWhoIsTold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)
	in := func(days int) time.Time { return now.AddDate(0, 0, days) }
	change := func(days int, f func(*inventory.Item)) inventory.Item {
		i := secret("a", in(days))
		f(&i)
		return i
	}
	owned := func(i *inventory.Item) {
		i.Owner = runbook.Owner{Name: "Docs", Channel: "C0DOCS", Escalation: "C0DOCLEADS"}
	}
	foreign := func(i *inventory.Item) { i.Live, i.Feeds = false, inventory.Feeds{} }
	for _, c := range []struct {
		about   string
		item    inventory.Item
		policy  func(*Policy)
		want    bool
		stage   operation.Stage
		channel operation.ChannelID
		above   operation.ChannelID
		ring    bool
	}{
		{about: "the default channel", item: change(30, func(*inventory.Item) {}), want: true, stage: 30, channel: "C0OPS"},
		{about: "the owner's channel", item: change(30, owned), want: true, stage: 30, channel: "C0DOCS"},
		{about: "it escalates at seven days", item: change(7, owned), want: true, stage: 7, channel: "C0DOCS", above: "C0DOCLEADS"},
		{about: "nowhere to escalate", item: change(3, func(*inventory.Item) {}), want: true, stage: 3, channel: "C0OPS"},
		{about: "escalates where all do", item: change(3, func(*inventory.Item) {}), policy: func(p *Policy) { p.Escalation = "C0LEADS" }, want: true, stage: 3, channel: "C0OPS", above: "C0LEADS"},
		{about: "it escalates on its day, which is no stage", item: change(7, owned), policy: func(p *Policy) { p.Stages = []int{30, 3} }, want: true, stage: 7, channel: "C0DOCS", above: "C0DOCLEADS"},
		{about: "and is told on no such day without", item: change(7, func(*inventory.Item) {}), policy: func(p *Policy) { p.Stages = []int{30, 3} }, want: true, stage: 30, channel: "C0OPS"},
		{about: "never escalates", item: change(3, owned), policy: func(p *Policy) { p.Escalate = 0 }, want: true, stage: 3, channel: "C0DOCS"},
		{about: "overdue rings", item: change(-2, func(*inventory.Item) {}), want: true, stage: -2, channel: "C0OPS", ring: true},
		{about: "a certificate rings nobody", item: inventory.Item{ID: "tls:x:443", Kind: inventory.TLS, Name: "x:443", End: in(-2)}, want: true, stage: -2, channel: "C0OPS"},
		{about: "replaced", item: change(3, func(i *inventory.Item) { i.Replaced = true })},
		{about: "far away", item: change(100, func(*inventory.Item) {})},
		{about: "foreign", item: change(3, foreign)},
		{about: "foreign, wanted", item: change(3, foreign), policy: func(p *Policy) { p.Others = true }, want: true, stage: 3, channel: "C0OPS"},
		{about: "a dead key is told once", item: change(-40, func(i *inventory.Item) { i.Live = false }), want: true, stage: 0, channel: "C0OPS"},
		{about: "it may renew itself", item: change(60, func(i *inventory.Item) { i.Kind, i.KeyID, i.Renews = inventory.ACM, "", true })},
		{about: "it did not renew itself", item: change(29, func(i *inventory.Item) { i.Kind, i.KeyID, i.Renews = inventory.ACM, "", true }), want: true, stage: 30, channel: "C0OPS"},
		{about: "unknown", item: change(0, func(i *inventory.Item) { i.End, i.KeyID = time.Time{}, "" }), want: true, stage: operation.Stage(-day(now, time.UTC)), channel: "C0OPS"},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			p := policy()
			if c.policy != nil {
				c.policy(&p)
			}
			stage, ok := p.due(c.item, now, time.UTC)
			if ok != c.want {
				t.Fatalf("due: %t", ok)
			}
			if !ok {
				return
			}
			r := p.reminder(c.item, stage, now, time.UTC)
			if stage != c.stage || r.Channel != c.channel || r.Escalation != c.above || (r.Ring != "") != c.ring {
				t.Errorf("stage %d in %s, escalates to %q, rings %q", stage, r.Channel, r.Escalation, r.Ring)
			}
		})
	}
}

func TestWhatIsGoneIsSettledAndWhatCannotBeReadIsNot(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	matter := operation.Matter{Item: "secret:a", End: end, Told: 30}
	unread := inventory.Item{ID: "secret@b/prod", Kind: inventory.Secret, Why: "no permission"}
	replaced := secret("a", end)
	replaced.Replaced = true
	for _, c := range []struct {
		about  string
		survey survey
		matter operation.Matter
		want   string // empty: open
	}{
		{about: "as it was", survey: survey{items: []inventory.Item{secret("a", end)}}, matter: matter},
		{about: "another key", survey: survey{items: []inventory.Item{replaced}}, matter: matter, want: "another key"},
		{about: "renewed", survey: survey{items: []inventory.Item{secret("a", end.AddDate(1, 0, 0))}}, matter: matter, want: "renewed"},
		{about: "gone", matter: matter, want: "no longer"},
		{about: "gone, or not read", survey: survey{items: []inventory.Item{unread}}, matter: matter},
		{about: "gone, or not read at all", survey: survey{gaps: []inventory.Gap{{Source: "applications"}}}, matter: matter},
		{about: "not readable now", survey: survey{items: []inventory.Item{secret("a", time.Time{})}}, matter: matter},
		{about: "readable again", survey: survey{items: []inventory.Item{secret("b", end)}}, matter: operation.Matter{Item: "secret@b/prod"}, want: "read again"},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			v, err := c.survey.Sweep(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := settled(v, []operation.Matter{c.matter}, end)
			if (len(got) == 1) != (c.want != "") || len(got) == 1 && !strings.Contains(got[0].Settled.Why, c.want) {
				t.Errorf("settled: %+v", got)
			}
		})
	}
}

// told is one line of what was told when.
type told struct {
	Item  string
	Stage int
	At    time.Time
}

// life is what becomes of one secret in a property's case.
type life struct {
	id      string
	end     time.Time
	rotated time.Time // zero: never
	unseen  bool      // the sweep that is under way then does not see it
	snoozes []snooze
}

type snooze struct {
	at    time.Time
	until time.Time // zero: it was not allowed
}

// TestEveryDueStageIsToldOnceWhateverHappens plays random lives against the real
// store, and compares with what a person with a calendar would expect.
func TestEveryDueStageIsToldOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		address := "sqlite:" + filepath.Join(t.TempDir(), "twokey.db")
		livesAreTold(t, 20, openStore(t, address), openStore(t, address))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		address := need.Postgres(t)
		livesAreTold(t, 10, openStore(t, address), openStore(t, address))
	})
}

// livesAreTold plays so many cases, and more only to make a failing one smaller:
// each takes seconds, since every commit waits for the disk. With -rapid.checks it
// plays that many.
func livesAreTold(t *testing.T, cases int, replicas ...*store.Store) {
	n, failed := 0, false
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "rapid.checks" {
			cases = math.MaxInt
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > cases && !failed {
			return
		}
		c := drawCase(rt, fmt.Sprintf("case%d-", n))
		c.run(rt, replicas)
		if d := cmp.Diff(c.expected(), c.told); d != "" {
			failed = true
			rt.Fatalf("what was told differs (-expected +told):\n%s", d)
		}
	})
}

// run is one case.
type run struct {
	begin, end time.Time
	schedule   Schedule
	stages     []int
	lives      []life
	down       [][2]time.Time
	asks       []time.Time // at which the bot asks
	crash      func() (before, after bool)
	replicas   int
	told       []told
}

func drawCase(t *rapid.T, prefix string) *run {
	minutes := func(label string, low, high int) time.Duration {
		return time.Duration(rapid.IntRange(low, high).Draw(t, label)) * time.Minute
	}
	const days = 24 * 60
	s, err := ParseSchedule(drawLine(t), rapid.SampledFrom(zones()).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 1, rapid.IntRange(1, 365).Draw(t, "begins"), 0, 0, 0, 0, time.UTC) // clocks change on some of the days
	c := &run{schedule: s, begin: begin, replicas: rapid.IntRange(1, 3).Draw(t, "replicas")}
	c.end = c.begin.AddDate(0, 0, 60)
	c.stages = rapid.SliceOfNDistinct(rapid.IntRange(1, 60), 1, 7, rapid.ID).Draw(t, "stages")
	for range rapid.IntRange(0, 2).Draw(t, "downs") {
		from := c.begin.Add(minutes("down from", 0, 55*days))
		c.down = append(c.down, [2]time.Time{from, from.Add(minutes("down for", 1, 10*days))})
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "secrets") {
		l := life{id: fmt.Sprint(prefix, i), end: c.begin.Add(minutes("ends", -5*days, 70*days))}
		if rapid.Bool().Draw(t, "is rotated") {
			l.rotated = c.begin.Add(minutes("rotated", 1, 60*days))
			l.unseen = rapid.Bool().Draw(t, "the next sweep began before")
		}
		for range rapid.IntRange(0, 2).Draw(t, "snoozes") {
			at := c.begin.Add(minutes("snoozed at", 0, 60*days))
			l.snoozes = append(l.snoozes, snooze{at: at, until: at.Add(minutes("for", 1, 20*days))})
		}
		slices.SortFunc(l.snoozes, func(a, b snooze) int { return a.at.Compare(b.at) })
		c.lives = append(c.lives, l)
	}
	dies := append(rapid.SliceOfN(rapid.IntRange(0, 5), 7, 7).Draw(t, "dies"), 0) // and lives once in eight times
	calls := 0
	c.crash = func() (before, after bool) {
		calls++
		return dies[calls%len(dies)] == 1, dies[calls%len(dies)] == 2
	}
	c.asks = c.instants()
	return c
}

// drawLine is any line of cron's five fields that comes often enough to be asked in
// two months.
func drawLine(t *rapid.T) string {
	list := func(label string, low, high, most int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			numbers := rapid.SliceOfNDistinct(rapid.IntRange(low, high), 1, most, rapid.ID).Draw(t, label)
			return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(numbers)), ","), "[]")
		})
	}
	always := rapid.Just("*")
	return strings.Join([]string{
		list("minutes", 0, 59, 2).Draw(t, "minute"),
		rapid.OneOf(list("hours", 0, 23, 3), rapid.SampledFrom([]string{"*/6", "*/8", "22-23", "0", "2"})).Draw(t, "hour"),
		rapid.OneOf(always, list("days", 1, 31, 6), rapid.SampledFrom([]string{"*/2", "*/5", "1-7"})).Draw(t, "day of the month"),
		always.Draw(t, "month"),
		rapid.OneOf(always, list("weekdays", 0, 6, 3), rapid.Just("1-5")).Draw(t, "day of the week"),
	}, " ")
}

// instants are the ticks that the bot answers: those in a time when it was down come
// as one, as soon as it is up.
func (c *run) instants() []time.Time {
	var out []time.Time
	for at := c.schedule.Next(c.begin); at.Before(c.end); at = c.schedule.Next(at) {
		up := at
		for again := true; again; {
			again = false
			for _, d := range c.down {
				if !up.Before(d[0]) && up.Before(d[1]) {
					up, again = d[1], true
				}
			}
		}
		if len(out) == 0 || up.After(out[len(out)-1]) {
			out = append(out, up)
		}
	}
	return out
}

// run lives through the case.
func (c *run) run(t *rapid.T, replicas []*store.Store) {
	books := make([]*watched, c.replicas)
	for i := range books {
		books[i] = &watched{Store: replicas[i%len(replicas)], fails: c.crash}
		if i > 0 {
			books[i].fails = never // one survives
		}
	}
	p := policy()
	p.Stages = c.stages
	last := c.begin
	for _, at := range c.asks {
		c.people(t, replicas[0], last, at)
		found := c.survey(last, at)
		last = at
		var wg sync.WaitGroup
		errs := make([]error, len(books))
		for i, book := range books {
			asker := Reminders{Surveyor: found, Book: book, Policy: p}
			wg.Go(func() {
				for range 10 { // as the queue would try again
					if errs[i] = asker.Ask(context.Background(), at, c.schedule.Zone()); !errors.Is(errs[i], errCrash) {
						return
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
	}
	for _, book := range books {
		for _, r := range book.told {
			c.told = append(c.told, told{r.Matter.Item, int(r.Stage), r.At})
		}
	}
	sortTold(c.told)
}

func sortTold(list []told) {
	slices.SortFunc(list, func(a, b told) int {
		if d := a.At.Compare(b.At); d != 0 {
			return d
		}
		return strings.Compare(a.Item, b.Item)
	})
}

// survey is what a sweep finds at an instant, when the one before was at last.
func (c *run) survey(last, at time.Time) survey {
	var s survey
	for _, l := range c.lives {
		i := secret(l.id, l.end)
		if !l.rotated.IsZero() && !at.Before(l.rotated) && (!l.unseen || l.rotated.Before(last)) {
			i.Replaced, i.Live = true, false
			s.items = append(s.items, secret(l.id+"-new", at.AddDate(2, 0, 0).Truncate(time.Hour)))
		}
		s.items = append(s.items, i)
	}
	return s
}

// people rotate and snooze between two ticks.
func (c *run) people(t *rapid.T, s *store.Store, from, to time.Time) {
	for n := range c.lives {
		l := &c.lives[n]
		if !l.rotated.IsZero() && l.rotated.After(from) && !l.rotated.After(to) {
			// Our operation notes it in the instant in which the new key is in its place.
			if _, err := s.DB().ExecContext(context.Background(), "INSERT INTO replaced_keys (key_id, operation) VALUES ($1, 'x')", l.id); err != nil {
				t.Fatal(err)
			}
		}
		for i := range l.snoozes {
			z := &l.snoozes[i]
			if z.at.Before(from) || !z.at.Before(to) {
				continue
			}
			m, there := matterOf(t, s, "secret:"+l.id)
			if !there || z.until.After(l.end.AddDate(0, 0, -1)) {
				z.until = time.Time{} // there is no card, or the rules refuse
				continue
			}
			m.Snoozed = operation.Snooze{By: operation.Person{User: "U1"}, At: z.at, Until: z.until, Reason: "because"}
			r := operation.Reminder{ID: 1, Channel: "C0OPS", Matter: m, Key: l.id}
			if err := s.Care(context.Background(), r, m, operation.Entry{At: z.at, Outcome: operation.Noted, Step: operation.StepSnoozed}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func matterOf(t *rapid.T, s *store.Store, item string) (operation.Matter, bool) {
	all, err := s.Matters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Item == item {
			return m, true
		}
	}
	return operation.Matter{}, false
}

// expected is what a person with a calendar would tell: at each tick, for each
// secret, the next milestone that lies ahead of it, unless it was said.
func (c *run) expected() []told {
	var out []told
	for _, l := range c.lives {
		said := map[int]bool{}
		lowest := 1 << 30
		for _, at := range c.asks {
			if !l.rotated.IsZero() && !at.Before(l.rotated) {
				break
			}
			quiet := time.Time{}
			for _, z := range l.snoozes {
				if z.at.Before(at) && !z.until.IsZero() {
					quiet = z.until // the last word counts
				}
			}
			if at.Before(quiet) {
				continue
			}
			stage, due := c.milestone(l.end, at)
			if !due || said[stage] || stage > lowest {
				continue
			}
			said[stage], lowest = true, stage
			out = append(out, told{"secret:" + l.id, stage, at})
		}
	}
	sortTold(out)
	return out
}

// milestone counts calendar leaves between today and the end.
func (c *run) milestone(end, at time.Time) (int, bool) {
	const leaf = "2006-01-02"
	there, today, left := end.In(c.schedule.Zone()), at.In(c.schedule.Zone()), 0
	for d := time.Date(today.Year(), today.Month(), today.Day(), 12, 0, 0, 0, time.UTC); d.Format(leaf) < there.Format(leaf); d = d.AddDate(0, 0, 1) {
		left++
	}
	for d := time.Date(there.Year(), there.Month(), there.Day(), 12, 0, 0, 0, time.UTC); d.Format(leaf) < today.Format(leaf); d = d.AddDate(0, 0, 1) {
		left--
	}
	if !at.Before(end) {
		return left, true
	}
	for stage := left; stage <= 100; stage++ {
		if slices.Contains(c.stages, stage) {
			return stage, true
		}
	}
	return 0, false
}
