package main

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/twokey/twokey/operation"
)

// glance is what the database looked like at one instant, in numbers. Two that
// differ have a commit between them.
type glance struct {
	operations, epochs, records, notices, told, claims, envelopes, handled int64
}

// glances reads a glance.
const glances = `SELECT
	(SELECT COUNT(*) FROM operations), (SELECT COALESCE(SUM(epoch), 0) FROM operations), (SELECT COUNT(*) FROM record),
	(SELECT COUNT(*) FROM notices), (SELECT COUNT(*) FROM notices WHERE sent_at > 0), (SELECT COALESCE(SUM(claim), 0) FROM notices),
	(SELECT COUNT(*) FROM envelopes), (SELECT COUNT(*) FROM envelopes WHERE handled_at > 0)`

// sign is what people can see of a glance: requests, results and messages.
func (g glance) sign() [3]int64 { return [3]int64{g.operations, g.records, g.told} }

// watcher looks at the database from outside, again and again.
type watcher struct {
	db    *sql.DB
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu      sync.Mutex
	last    glance
	commits int            // changes seen
	at      map[int]func() // what to do at the n-th commit
	since   time.Time      // when people last saw something new; zero: they wait for nothing
	blow    time.Time      // the last strike
	silence time.Duration  // the longest time without anything new, after a strike
}

// lookEvery is how often the watcher looks.
const lookEvery = 5 * time.Millisecond

func newWatcher(db *sql.DB, every time.Duration) *watcher {
	ctx, stop := context.WithCancel(context.Background())
	w := &watcher{db: db, stop: stop, at: map[int]func(){}}
	w.ended.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				w.look(ctx)
			}
		}
	})
	return w
}

func (w *watcher) end() {
	w.stop()
	w.ended.Wait()
}

func (w *watcher) look(ctx context.Context) {
	var g glance
	err := w.db.QueryRowContext(ctx, glances).Scan(&g.operations, &g.epochs, &g.records, &g.notices, &g.told, &g.claims, &g.envelopes, &g.handled)
	if err != nil {
		return // the tables are not made yet
	}
	if do := w.note(g); do != nil {
		do()
	}
}

// note takes a glance in and returns what is to be done now.
func (w *watcher) note(g glance) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g == w.last {
		return nil
	}
	if g.sign() != w.last.sign() {
		w.seen(time.Now())
	}
	w.last = g
	w.commits++
	do := w.at[w.commits]
	delete(w.at, w.commits)
	return do
}

// seen ends a silence. Only what a strike may have caused counts.
func (w *watcher) seen(now time.Time) {
	if !w.since.IsZero() && w.blow.After(w.since) {
		w.silence = max(w.silence, now.Sub(w.blow))
		w.blow = time.Time{}
	}
	w.since = now
}

// struck notes that a replica was killed or frozen.
func (w *watcher) struck() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blow.IsZero() || w.blow.Before(w.since) {
		w.blow = time.Now()
	}
	if w.since.IsZero() {
		w.since = w.blow.Add(-1)
	}
}

// still is the longest silence that followed a strike.
func (w *watcher) still() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silence
}

func (w *watcher) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.commits
}

// onCommit has do run when the n-th commit from now on is seen.
func (w *watcher) onCommit(n int, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[w.commits+n] = do
}

// rest tells how much is still to be told and to be handled. Pages that are not due
// are for nobody any more.
func (w *watcher) rest(ctx context.Context) (int, error) {
	var n int
	err := w.db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM notices WHERE sent_at = 0 AND (kind <> 'page' OR not_before <= $1)) +
		(SELECT COUNT(*) FROM envelopes WHERE handled_at = 0)`, time.Now().UnixMicro()).Scan(&n)
	return n, err
}

// request is an operation as the people wait for it.
type request struct {
	ID       string
	State    operation.State
	Approver string
	Room     string
}

// requests are all operations, in the order in which they were asked for.
func (w *watcher) requests(ctx context.Context) ([]request, error) {
	rows, err := w.db.QueryContext(ctx, `SELECT id, state, approver_person, room_channel FROM operations ORDER BY requested_at`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []request
	for rows.Next() {
		var r request
		if err := rows.Scan(&r.ID, &r.State, &r.Approver, &r.Room); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}
