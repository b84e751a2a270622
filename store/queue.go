package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/twokey/twokey/operation"
)

// Handlers are what the queue runs.
type Handlers struct {
	// Envelope handles one of the chat's messages.
	Envelope func(ctx context.Context, body json.RawMessage) error
	// GiveUp tells whose message could not be handled, though it was tried often.
	GiveUp func(ctx context.Context, body json.RawMessage) error
	// Wake works on an operation whose epoch is the given one.
	Wake func(ctx context.Context, id operation.ID, epoch int64) error
	// Lapse ends a request that nobody confirmed in time.
	Lapse func(ctx context.Context, op operation.Operation) error
	// Ticks are what recurs.
	Ticks []Tick
}

// wakeArgs are stored by River: ids, and never a secret.
type wakeArgs struct {
	Operation operation.ID `json:"operation"`
	Epoch     int64        `json:"epoch"`
}

func (wakeArgs) Kind() string { return "wake" }

func (wakeArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: operationQueue, MaxAttempts: 2} // the reconciler wakes what is lost
}

const (
	operationQueue = "operations"
	// wakeTime is how long a wake-up may take to find a worker before the
	// reconciler sends another.
	wakeTime = 15 * time.Second
	// jobTime bounds one envelope and one shift of work on an operation.
	jobTime = 35 * time.Second
	// reconcileEvery is how often each replica looks for what is due or lost.
	reconcileEvery = 500 * time.Millisecond
)

// errFailed is all that River stores of a failure; the log has the rest.
var errFailed = errors.New("failed; the log says why")

// newClient makes River's client. It inserts at once; Run starts its workers.
func (s *Store) newClient(log *slog.Logger) (*river.Client[*sql.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &wakeWorker{store: s, log: log})
	river.AddWorker(workers, &tickWorker{store: s, log: log})
	client, err := river.NewClient(s.driver, &river.Config{
		Workers: workers,
		Queues: map[string]river.QueueConfig{
			operationQueue: {MaxWorkers: 100}, // they mostly wait for vendors
			tickQueue:      {MaxWorkers: 4},
		},
		FetchCooldown:     20 * time.Millisecond,
		FetchPollInterval: 2 * time.Second, // the net under wakeHere; each look costs the connection
		// A worker that was killed is noticed after this. One that only slept may
		// wake beside its successor: envelopes and epochs make that harmless.
		JobTimeout:           jobTime,
		RescueStuckJobsAfter: 45 * time.Second,
		SoftStopTimeout:      5 * time.Second,
		Logger:               slog.New(hush{log.Handler(), s.db.outage}),
	})
	if err != nil {
		return nil, fmt.Errorf("set the queue up: %w", err)
	}
	return client, nil
}

// wake has a worker look at an operation, once tx is committed.
func (s *Store) wake(ctx context.Context, tx *sql.Tx, id operation.ID, epoch int64) error {
	if _, err := s.river.InsertTx(ctx, tx, wakeArgs{Operation: id, Epoch: epoch}, nil); err != nil {
		return fmt.Errorf("enqueue operation %s: %w", id, err)
	}
	return nil
}

// wakeHere works on an operation in this process, without waiting for the queue.
// The epoch lets one of the two have it.
func (s *Store) wakeHere(id operation.ID, epoch int64) {
	s.local.soon(func(ctx context.Context) {
		_ = guard(ctx, s.log, "operation", string(id), func() error { return s.handlers.Wake(ctx, id, epoch) }) // logged; the queue tries again
	})
}

type wakeWorker struct {
	river.WorkerDefaults[wakeArgs]
	store *Store
	log   *slog.Logger
}

// Work implements river.Worker.
func (w *wakeWorker) Work(ctx context.Context, job *river.Job[wakeArgs]) error {
	return guard(ctx, w.log, "operation", string(job.Args.Operation), func() error {
		return w.store.handlers.Wake(ctx, job.Args.Operation, job.Args.Epoch)
	})
}

// guard logs what went wrong and hands River a constant: River stores errors and
// panics with their traces, and neither may carry what it shouldn't.
func guard(ctx context.Context, log *slog.Logger, what, id string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "panic while handling", what, id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errFailed
		}
	}()
	if err := f(); err != nil {
		log.ErrorContext(ctx, "handling failed", what, id, "error", err)
		return errFailed
	}
	return nil
}

// Run works the queue until ctx is done, and returns when every worker has.
func (s *Store) Run(ctx context.Context, h Handlers, log *slog.Logger) error {
	s.handlers, s.watched = h, make([]watched, len(h.Ticks))
	for _, t := range h.Ticks {
		if _, err := s.answered(ctx, t.Name); err != nil { // a new schedule begins now
			return err
		}
		s.river.PeriodicJobs().Add(t.river(s.now))
	}
	if err := s.river.Start(ctx); err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	s.local.start(ctx)
	var beside sync.WaitGroup
	if s.mover != nil {
		beside.Go(func() { s.move(ctx) })
	}
	beside.Go(func() { s.keepTidy(ctx, log) })
	defer beside.Wait()
	defer s.finish(log)
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	tidy := time.NewTicker(forgetEvery)
	defer tidy.Stop()
	keep := time.NewTicker(reconcileEvery)
	defer keep.Stop()
	for {
		select {
		case <-s.river.Stopped():
			return nil
		case ids := <-s.local.done:
			warn(ctx, log, "handled envelopes could not be struck off; they will be handled again, without effect", s.strike(ctx, ids))
		case <-tick.C:
			err := s.readClock(ctx)
			next, failed := s.reconcile(ctx)
			if err = errors.Join(err, failed, s.takeUp(ctx), s.watchTicks(ctx)); err == nil {
				s.db.outage.over()
			}
			warn(ctx, log, "looking for what is due or lost failed", err)
			tick.Reset(next)
		case <-tidy.C:
			warn(ctx, log, "old envelopes stay longer", s.forget(ctx))
			warn(ctx, log, "who starts after me may not notice that the clock was set back", s.keepClock(ctx))
		case <-keep.C:
			warn(ctx, log, "what is worked on here may be taken over, and done twice", s.keepClaims(ctx))
		}
	}
}

// warn logs what failed, unless it is an outage, which is told already.
func warn(ctx context.Context, log *slog.Logger, what string, err error) {
	var away *operation.Unavailable
	if err != nil && ctx.Err() == nil && !errors.As(err, &away) {
		log.WarnContext(ctx, what, "error", err) //nolint:sloglint // its callers give constants
	}
}

// finish waits for what runs here and strikes off what it handled.
func (s *Store) finish(log *slog.Logger) {
	if ids := s.local.wait(); len(ids) > 0 {
		if err := s.strike(context.Background(), ids); err != nil {
			log.Warn("handled envelopes could not be struck off; they will be handled again, without effect", "error", err)
		}
	}
}

// reconcile wakes operations that are due or whose worker is gone, and ends the
// requests that lapsed. Every replica does it; the epoch lets one win. It returns
// when to look again: sooner than usual if an operation falls due before.
func (s *Store) reconcile(ctx context.Context) (time.Duration, error) {
	clock, now := s.clock.now(), s.now()
	next := reconcileEvery
	from, to := s.clock.others(longestClaim)
	rows, err := s.db.QueryContext(ctx, "SELECT "+columns+` FROM operations
		WHERE state IN ('approved', 'running', 'undoing') AND lease_until NOT BETWEEN $1 AND $2
		OR state = 'waiting' AND due <= $3 AND lease_until NOT BETWEEN $1 AND $2
		OR state = 'pending' AND (lapses_at <= $3 OR due BETWEEN 1 AND $4)`, from, to, micros(now.Add(reconcileEvery)), micros(clock))
	if err != nil {
		return next, fmt.Errorf("look for due and lost operations: %w", err)
	}
	found, err := s.collect(rows)
	if err != nil {
		return next, err
	}
	for _, op := range found {
		if soon := falls(op, clock).Sub(now); soon > 0 {
			next = min(next, soon+time.Millisecond)
			continue
		}
		if op.State == operation.Pending {
			err = errors.Join(err, s.handlers.Lapse(ctx, op))
			continue
		}
		err = errors.Join(err, s.wakeAgain(ctx, op, clock))
	}
	return next, err
}

// falls is the instant that an operation waits for, if it does.
func falls(op operation.Operation, clock time.Time) time.Time {
	switch {
	case op.State == operation.Pending && !op.Over(clock):
		return op.LapsesAt
	case op.State == operation.Waiting:
		return op.Due
	default:
		return time.Time{}
	}
}

// wakeAgain finds a new worker for an operation. For how long it had none is no part of
// what its step may take: the bot was down, or the clock is another.
func (s *Store) wakeAgain(ctx context.Context, op operation.Operation, clock time.Time) error {
	if !op.LeaseUntil.IsZero() {
		op = op.Idle(clock.Sub(op.LeaseUntil))
	}
	if op.LeaseOwner != "" {
		op.Lost = clock
	}
	body, err := json.Marshal(op)
	if err != nil {
		return fmt.Errorf("encode operation %s: %w", op.ID, err)
	}
	err = s.inTx(ctx, "wake operation "+string(op.ID), func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE operations SET epoch = epoch + 1, lease_owner = '', lease_until = $1, body = $2, vouched = $3
			WHERE id = $4 AND epoch = $5 AND state = $6`, micros(clock.Add(wakeTime)), string(body), s.vouchOperation(op.ID, op.State, string(body)), string(op.ID), op.Epoch, string(op.State))
		if err := exactlyOne(done, err); err != nil {
			return err
		}
		return s.wake(ctx, tx, op.ID, op.Epoch+1)
	})
	if errors.Is(err, operation.ErrStale) {
		return nil // another replica woke it, or its worker is alive after all
	}
	if err == nil {
		s.wakeHere(op.ID, op.Epoch+1)
	}
	return err
}
