package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/sandbox"
)

const (
	// lease is how long the bot's workers keep what they work on without a word.
	lease = 12 * time.Second
	// frozen is how long a replica is stopped: longer than the lease.
	frozen = lease + 3*time.Second
	// bootTime is how long the bot may take to connect.
	bootTime = 30 * time.Second
	// patience is how long any one thing may take before the people give up.
	patience = 100 * time.Second
	// supervisor is how long a replica that ended by itself stays down.
	supervisor = time.Second
	// restart is how long a killed replica stays down.
	restart = 200 * time.Millisecond
)

// setting is where a play takes place.
type setting struct {
	database string // "sqlite" or "postgres"
	replicas int
	overlap  time.Duration // of the old key and the new one
	story    story
	ground   ground        // what of its own the database stands on
	away     time.Duration // for how long it is gone, if it goes
	seed     uint64
	servers  int           // besides the sandbox's own; with any, every service has one task, and none is probed
	look     time.Duration // between two looks at the database; 0 is as often as a sweep needs
}

// world is a sandbox, a database and the bot's replicas, for one play.
type world struct {
	setting
	box      *sandbox.Sandbox
	dir      string
	address  string // of the database
	verifier string // file with the record's public key
	db       *sql.DB
	watch    *watcher
	replicas []*replica
	dice     *rand.Rand
	stunned  chan struct{} // one element for each replica that is frozen or down
	strikes  atomic.Int64  // how often a replica was killed or frozen
	copies   chan error    // of SQLite's files that failed
	ctx      context.Context
	cleanUp  func(func()) // before the sandbox is gone
	thief    *thief       // in an emergency
	began    time.Time    // the sandbox's time at the start
	cares    cares        // in a play of reminders
	server   *need.Server // PostgreSQL of the play's own
	line     *line        // to PostgreSQL
	disk     *need.Disk   // a small one, on which the database is
	mishap   func(error)  // of the harness itself
}

// newWorld makes everything but starts no replica. It is taken down with the test.
func newWorld(t *testing.T, program string, s setting) *world {
	t.Helper()
	o := sandbox.Options{}
	if s.servers > 0 {
		o = sandbox.Options{More: s.servers, Tasks: 1, ProbeEvery: -1}
	}
	box, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	w := &world{setting: s, box: box, dir: t.TempDir(), dice: rand.New(rand.NewPCG(s.seed, 2)), stunned: make(chan struct{}, 64), copies: make(chan error, 8), began: box.Clock.Now(), ctx: t.Context(), cleanUp: t.Cleanup, mishap: func(err error) { t.Error(err) }}
	if err := w.write(t); err != nil {
		t.Fatal(err)
	}
	if w.db, err = w.open(); err != nil {
		t.Fatal(err)
	}
	w.watch = newWatcher(w.db, cmp.Or(s.look, lookEvery))
	t.Cleanup(func() {
		w.watch.end()
		_ = w.db.Close()
	})
	for n := range s.replicas {
		r := &replica{number: n, program: program, config: filepath.Join(w.dir, sandbox.ConfigFile), environ: box.Environ(w.dir), log: filepath.Join(w.dir, fmt.Sprintf("replica-%d.log", n))}
		if s.story.clock != ordinary {
			if r.clock, err = newDial(filepath.Join(w.dir, fmt.Sprintf("clock-%d", n))); err != nil {
				t.Fatal(err)
			}
			r.environ = append(r.environ, clockVariable+"="+r.clock.file)
		}
		w.replicas = append(w.replicas, r)
		t.Cleanup(r.retire)
	}
	return w
}

// write writes the bot's configuration, with the play's database and overlap.
func (w *world) write(t *testing.T) error {
	path, err := w.box.WriteFiles(w.dir)
	if err != nil {
		return err
	}
	key := filepath.Join(w.dir, sandbox.RecordKeyFile)
	if _, err := audit.WriteKey(key, sandbox.RecordOrigin); err != nil {
		return err
	}
	w.verifier = key + ".pub"
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	config, found := strings.Replace(string(text), "\ndefaults:\n", fmt.Sprintf("\ndefaults:\n  overlap: %s\n", w.overlap), 1), strings.Contains(string(text), "\ndefaults:\n")
	if !found {
		return errors.New("the sandbox's configuration has no defaults, in which the overlap could be set")
	}
	if w.story.config != nil {
		config = w.story.config(config)
	}
	config = strings.Replace(config, "sqlite:"+filepath.ToSlash(w.dir)+"/twokey.db", w.lay(t), 1)
	return os.WriteFile(path, []byte(config), 0o600)
}

// open connects to the bot's database, for looking only.
func (w *world) open() (*sql.DB, error) {
	file, isFile := strings.CutPrefix(w.address, "sqlite:")
	if !isFile {
		db, err := sql.Open("pgx", w.address)
		if err == nil {
			db.SetMaxOpenConns(2)
		}
		return db, err
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=query_only(1)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// startAll starts the replicas one after the other: the first makes the tables.
func (w *world) startAll() error {
	for i, r := range w.replicas {
		if err := r.start(); err != nil {
			return err
		}
		if err := w.ready(w.ctx, i+1); err != nil {
			return err
		}
	}
	return nil
}

// until waits for the condition itself.
func (w *world) until(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit+w.away)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// who returns the replica that made a request; any when nobody did, as with the
// sandbox's own calls.
func (w *world) who(r *http.Request) *replica {
	if r != nil && len(w.replicas) > 1 {
		if i := slices.IndexFunc(w.replicas, func(x *replica) bool { return x.dials(r) }); i >= 0 {
			return w.replicas[i]
		}
	}
	return w.any()
}

func (w *world) any() *replica { return w.replicas[int(w.seed%uint64(len(w.replicas)))] }

// crash kills a replica and starts it again a moment later.
func (w *world) crash(r *replica) {
	r.kill()
	w.watch.struck()
	w.strikes.Add(1)
	w.stunned <- struct{}{}
	time.AfterFunc(restart, func() {
		defer func() { <-w.stunned }()
		_ = r.start() // one that does not come back shows in what is left undone
	})
}

// freeze stops a replica for longer than its leases hold. It returns when the
// replica is about to go on; wake has it go on.
func (w *world) freeze(r *replica) (wake func()) {
	r.signal(syscall.SIGSTOP)
	w.watch.struck()
	w.strikes.Add(1)
	w.stunned <- struct{}{}
	select {
	case <-time.After(frozen):
	case <-w.ctx.Done():
	}
	return func() {
		r.signal(syscall.SIGCONT)
		<-w.stunned
	}
}

// settled waits until every replica is up and awake.
func (w *world) settled() error {
	return w.until(w.ctx, patience, "the replicas to be up", func() bool { return len(w.stunned) == 0 })
}

// logs is the end of every replica's log, for a failure's report.
func (w *world) logs() string {
	var out strings.Builder
	for _, r := range w.replicas {
		fmt.Fprintf(&out, "-- replica %d\n%s\n", r.number, r.tail(25))
	}
	return out.String()
}
