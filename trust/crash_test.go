package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
)

// sweep breaks one play in one way at many points.
type sweep struct {
	setting
	how    how
	places places
	few    int // points of the bounded selection
}

func (s sweep) String() string {
	return fmt.Sprintf("%s, %d × %s, %s at %s", s.story.name, s.replicas, s.database, s.how.name, s.places.name)
}

// sweeps are all that can be done. A frozen replica needs others beside it, and an
// overlap that is longer than its sleep, as it always is in life.
func sweeps() []sweep {
	short := func(db string, replicas int, s story) setting {
		return setting{database: db, replicas: replicas, overlap: 3 * time.Second, story: s}
	}
	long := func(db string, s story) setting {
		s.ends = append(s.ends, operation.TakenBack)
		return setting{database: db, replicas: 2, overlap: 25 * time.Second, story: s}
	}
	var out []sweep
	for _, db := range []string{"sqlite", "postgres"} {
		few := map[string]int{"sqlite": 2, "postgres": 1}[db]
		one := few - 1 // what SQLite alone has in a usual run: the code is the same
		out = append(out,
			sweep{short(db, 1, rotation()), killing(), atCalls(), few},
			sweep{short(db, 1, rotation()), killing(), atCommits(), one},
			sweep{short(db, 1, takenBack()), killing(), atCalls(), one},
			sweep{short(db, 3, rotation()), killing(), atCalls(), 1},
			sweep{short(db, 1, rotation()), killingTwice(), atCalls(), one},
			sweep{short(db, 2, rotation()), killingAtRandom(), atRandom(60), one},
			sweep{short(db, 1, rotation()), losingTheAnswer(), afterWrites(), one},
			sweep{short(db, 1, rotation()), losingTheAnswerAndCrashing(), afterWrites(), 1},
			sweep{long(db, rotation()), freezing(), atCalls(), one},
			sweep{long(db, rotation()), freezing(), atCommits(), 0},
			sweep{long(db, takenBack()), freezing(), atWrites(), 0},
			sweep{short(db, 1, emergency()), killing(), atCalls(), one},
			sweep{short(db, 1, emergency()), killing(), atCommits(), 0},
			sweep{short(db, 3, emergency()), killing(), atCalls(), 0},
			sweep{short(db, 1, emergency()), killingTwice(), atCalls(), 0},
			sweep{short(db, 1, emergency()), losingTheAnswer(), afterWrites(), 0},
			sweep{short(db, 2, emergency()), freezing(), atCalls(), 0},
			sweep{short(db, 1, frozenEmergency()), killing(), atCalls(), 0},
			sweep{short(db, 2, frozenEmergency()), freezing(), atCalls(), 0},
		)
		for _, f := range faults() {
			leak := emergency()
			if f.Kind == conditions.Refuse { // anything else must not park it
				leak = orRetried(leak)
			}
			out = append(out,
				sweep{short(db, 1, orTakenBack(rotation())), failing(f), afterConfirmation(), 0},
				sweep{short(db, 1, leak), failing(f), afterConfirmation(), 0},
			)
		}
	}
	out = append(append(out, reminderSweeps()...), socketSweeps()...)
	out = append(append(out, databaseSweeps()...), clockSweeps()...)
	return append(out, sweep{short("sqlite", 1, rotation()), copying(), atCommits(), 1})
}

// result is what one run came to.
type result struct {
	point    point
	reached  bool
	breaches []breach
	end      operation.State
	still    time.Duration
}

// extent is how much is run: TWOKEY_TRUST is "all", a number of points for each
// sweep, or empty for the few that a usual test run takes.
func extent(t *testing.T, s sweep) (n int, run bool) {
	t.Helper()
	switch text := os.Getenv("TWOKEY_TRUST"); text {
	case "":
		return s.few, s.few > 0
	case "all":
		return 0, true
	default:
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("TWOKEY_TRUST must be all or a number of points, not %q", text)
		}
		return n, true
	}
}

func number(t *testing.T, name string, fallback uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s must be a number, not %q", name, text)
	}
	return n
}

func TestWhateverCrashesNothingIsLostLeftBehindOrToldTwice(t *testing.T) {
	s := &suite{t: t, seed: number(t, "TWOKEY_TRUST_SEED", 1), lists: map[string]*list{},
		slots: make(chan struct{}, number(t, "TWOKEY_TRUST_PARALLEL", 10))}
	g, ctx := errgroup.WithContext(t.Context())
	all := sweeps()
	results := make([][]result, len(all))
	for i, sw := range all {
		g.Go(func() error {
			results[i] = s.run(ctx, sw)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d\n%s", s.seed, table(all, results))
	if !slices.ContainsFunc(results, func(r []result) bool { return len(r) > 0 }) {
		t.Error("nothing was run: no sweep is called so, or its database is not there")
	}
}

// suite runs sweeps, many plays at a time: they mostly wait.
type suite struct {
	t        *testing.T
	programs programs
	seed     uint64
	slots    chan struct{}
	starting sync.Mutex // see world

	mu    sync.Mutex
	lists map[string]*list
}

// list is what an undisturbed play is made of.
type list struct {
	once    sync.Once
	calls   []point
	commits int
}

// run breaks the sweep's play at each of its points.
func (s *suite) run(ctx context.Context, sw sweep) []result {
	n, run := extent(s.t, sw)
	if !run {
		return nil
	}
	var mu sync.Mutex
	var out []result
	s.t.Run(sw.String(), func(t *testing.T) {
		if sw.database == "postgres" {
			need.Postgres(t) // or skip the sweep
		}
		l := s.undisturbed(t, sw.setting)
		points := choose(sw.places.among(l.calls, l.commits), n, s.seed, sw.String())
		g, _ := errgroup.WithContext(ctx)
		for _, p := range points {
			g.Go(func() error {
				s.slots <- struct{}{}
				defer func() { <-s.slots }()
				t.Run(p.String(), func(t *testing.T) {
					r := s.one(t, sw, p)
					mu.Lock()
					out = append(out, r)
					mu.Unlock()
				})
				return nil
			})
		}
		_ = g.Wait() // nothing in it fails but through t
	})
	return out
}

// program is the bot that a story needs.
func (s *suite) program(t *testing.T, tale story) string {
	t.Helper()
	path, err := s.programs.with(tale.clock, s.t.TempDir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// undisturbed plays once without breaking anything, and lists what can be broken.
func (s *suite) undisturbed(t *testing.T, where setting) *list {
	t.Helper()
	// A replica more makes no other calls; what comes from the database is another list.
	id := where.story.name + where.database + strconv.Itoa(min(where.replicas, 2))
	s.mu.Lock()
	l := s.lists[id]
	if l == nil {
		l = &list{}
		s.lists[id] = l
	}
	s.mu.Unlock()
	l.once.Do(func() {
		s.slots <- struct{}{}
		defer func() { <-s.slots }()
		where.overlap, where.ground = 3*time.Second, shared
		w := s.world(t, where)
		began := time.Now()
		r := s.perform(t, w, func() {})
		l.calls, l.commits = callPoints(w.box.Conditions.Calls(), began), w.watch.count()
		report(t, w, "an undisturbed play", r)
	})
	if len(l.calls) == 0 {
		t.Fatal("the undisturbed play failed, so there are no points")
	}
	return l
}

// world makes one at a time: its first tasks fail their health checks when many are
// made at once on two processors, and that is no finding.
func (s *suite) world(t *testing.T, where setting) *world {
	t.Helper()
	program := s.program(t, where.story)
	s.starting.Lock()
	defer s.starting.Unlock() // also when it failed
	return newWorld(t, program, where)
}

// one breaks one play at one point.
func (s *suite) one(t *testing.T, sw sweep, p point) result {
	where := sw.setting
	where.seed = s.seed + uint64(p.number)
	w := s.world(t, where)
	r := s.perform(t, w, func() { sw.how.set(w, p) })
	r.point, r.reached = p, w.strikes.Load() > 0
	report(t, w, sw.String()+" "+p.String(), r)
	return r
}

// perform starts the replicas, breaks what is to be broken, plays and judges.
func (s *suite) perform(t *testing.T, w *world, disturb func()) result {
	t.Helper()
	w.story.set(w)
	if w.seed%2 == 1 {
		w.box.Slack.DeliverTwice(2)
	}
	disturb()
	err := w.startAll()
	var d deeds
	if err == nil {
		d, err = w.play()
	}
	for _, r := range w.replicas {
		r.retire() // nothing may depend on an orderly end
	}
	r := result{still: w.watch.still()}
	ctx := context.WithoutCancel(t.Context())
	r.breaches, r.end = w.judgeAll(ctx, d, err)
	r.breaches = append(r.breaches, w.judgeCopies(ctx)...)
	return r
}

func report(t *testing.T, w *world, what string, r result) {
	t.Helper()
	for _, b := range r.breaches {
		t.Errorf("%s: %s: %s", what, b.invariant, b.how)
	}
	if len(r.breaches) > 0 {
		t.Log(w.logs())
	}
}

// table is what all runs came to.
func table(all []sweep, results [][]result) string {
	var text strings.Builder
	out := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(out, "sweep\truns\treached\tfailed\tends\tlongest silence\tfailures by invariant\n")
	for i, s := range all {
		if len(results[i]) == 0 {
			continue
		}
		_, _ = fmt.Fprintln(out, row(s, results[i]))
	}
	_ = out.Flush() // into memory
	return text.String()
}

func row(s sweep, results []result) string {
	var reached, failed int
	var still time.Duration
	ends, by := map[string]int{}, map[invariant]int{}
	for _, r := range results {
		still = max(still, r.still)
		ends[string(r.end)]++
		if r.reached {
			reached++
		}
		if len(r.breaches) > 0 {
			failed++
		}
		broken := map[invariant]bool{}
		for _, b := range r.breaches {
			broken[b.invariant] = true
		}
		for i := range broken {
			by[i]++
		}
	}
	var failures []string
	for _, i := range invariants() {
		if by[i] > 0 {
			failures = append(failures, fmt.Sprintf("%s: %d", i, by[i]))
		}
	}
	return fmt.Sprintf("%s\t%d\t%d\t%d\t%v\t%s\t%s", s, len(results), reached, failed, ends, still.Round(100*time.Millisecond), strings.Join(failures, ", "))
}
