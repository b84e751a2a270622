package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/twokey/twokey/operation"
)

// Tick is work that recurs. A tick only asks what is to be done: it may come late
// or twice, and those that were missed come as one.
type Tick struct {
	// Name stays the same for as long as the schedule does: by it the store knows
	// which instants were answered. A new name's first tick is its next.
	Name string
	// Next is the first instant of the schedule after one.
	Next func(after time.Time) time.Time
	// Do answers all instants up to now.
	Do func(ctx context.Context, now time.Time) error
}

// tickArgs are stored by River.
type tickArgs struct {
	Name string `json:"name"`
	// Claim is how often the tick was claimed when it was asked for. River takes the job
	// of a process that died to be running for as long as a tick may take, and would let
	// nobody ask again meanwhile.
	Claim int64 `json:"claim"`
}

func (tickArgs) Kind() string { return "tick" }

// InsertOpts keeps one tick of a name and claim on its way, whoever asks for it.
func (tickArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: tickQueue, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
}

const (
	tickQueue = "ticks"
	// tickTime bounds one tick, which may have to read a whole directory.
	tickTime = 10 * time.Minute
	// askAgain is how long after a tick was asked for, and not answered, it is asked
	// for once more.
	askAgain = 20 * time.Second
)

// river is the schedule as River's leader follows it. Its clock may be another
// than ours, so it is told how long to wait.
func (t Tick) river(now func() time.Time) *river.PeriodicJob {
	args := func() (river.JobArgs, *river.InsertOpts) { return tickArgs{Name: t.Name}, nil }
	return river.NewPeriodicJob(schedule(func(current time.Time) time.Time {
		n := now()
		return current.Add(max(t.Next(n).Sub(n), time.Second))
	}), args, &river.PeriodicJobOpts{RunOnStart: true})
}

type schedule func(current time.Time) time.Time

// Next implements river.PeriodicSchedule.
func (s schedule) Next(current time.Time) time.Time { return s(current) }

type tickWorker struct {
	river.WorkerDefaults[tickArgs]
	store *Store
	log   *slog.Logger
}

// Timeout implements river.Worker.
func (w *tickWorker) Timeout(*river.Job[tickArgs]) time.Duration { return tickTime }

// Work implements river.Worker.
func (w *tickWorker) Work(ctx context.Context, job *river.Job[tickArgs]) error {
	return guard(ctx, w.log, "tick", job.Args.Name, func() error { return w.store.answer(ctx, job.Args.Name) })
}

// answer does what a tick is for, if an instant of its schedule has passed since
// it was last done.
func (s *Store) answer(ctx context.Context, name string) error {
	for _, t := range s.handlers.Ticks {
		if t.Name != name {
			continue
		}
		answered, err := s.answered(ctx, name)
		if err != nil {
			return err
		}
		now := s.now()
		if t.Next(answered).After(now) {
			return nil
		}
		claim, err := s.claimTick(ctx, name, answered)
		if errors.Is(err, operation.ErrStale) {
			return nil // it is being answered, or was meanwhile
		}
		if err != nil {
			return fmt.Errorf("claim the tick %s: %w", name, err)
		}
		defer s.claims.drop(tickClaim(name))
		if err := t.Do(ctx, now); err != nil {
			return errors.Join(err, s.releaseTick(ctx, name, claim))
		}
		_, err = s.db.ExecContext(ctx, "UPDATE ticks SET answered_at = $1 WHERE name = $2 AND answered_at < $1", micros(now), name)
		return errors.Join(err, s.releaseTick(ctx, name, claim))
	}
	return nil // of a schedule that another replica has and this one has not
}

func tickClaim(name string) string { return "tick " + name }

// claimTick keeps others from answering a tick for as long as this process lives;
// ErrStale means that somebody answers it already, or has done so since it was read.
func (s *Store) claimTick(ctx context.Context, name string, answered time.Time) (claim int64, err error) {
	from, to := s.clock.others(longestClaim)
	err = s.db.QueryRowContext(ctx, "UPDATE ticks SET claim = claim + 1, claimed_until = $1 WHERE name = $2 AND claimed_until NOT BETWEEN $3 AND $4 AND answered_at = $5 RETURNING claim",
		s.until(tickTime), name, from, to, micros(answered)).Scan(&claim)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, operation.ErrStale
	}
	if err == nil {
		s.claims.keep(tickClaim(name), tickTime, "UPDATE ticks SET claimed_until = $1 WHERE name = $2 AND claim = $3", name, claim)
	}
	return claim, err
}

// releaseTick lets it be asked for again.
func (s *Store) releaseTick(ctx context.Context, name string, claim int64) error {
	s.claims.drop(tickClaim(name))
	_, err := s.db.ExecContext(context.WithoutCancel(ctx), "UPDATE ticks SET claimed_until = 0 WHERE name = $1 AND claim = $2", name, claim)
	return err
}

// answered is the instant up to which a tick was answered: now, when it is new.
func (s *Store) answered(ctx context.Context, name string) (time.Time, error) {
	var at int64
	err := s.db.QueryRowContext(ctx, "SELECT answered_at FROM ticks WHERE name = $1", name).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		at = micros(s.now())
		_, err = s.db.ExecContext(ctx, "INSERT INTO ticks (name, answered_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, at)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read when %s was last answered: %w", name, err)
	}
	return instant(at), nil
}

// TickAnswered is the instant up to which a tick was answered; zero when it never
// came into being.
func (s *Store) TickAnswered(ctx context.Context, name string) (time.Time, error) {
	var at int64
	err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(answered_at), 0) FROM ticks WHERE name = $1", name).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when %s was last answered: %w", name, err)
	}
	return instant(at), nil
}

// watched is what this process knows of a tick.
type watched struct {
	due   time.Time // when it is due next
	asked time.Time // for which instant it was asked for
	claim int64     // how often it was claimed then
	at    time.Time // when, by the machine's clock
}

// watchTicks asks for ticks that River's leader does not: while there is none, and
// when the clock that people see has jumped. It reads the database only while a
// tick is due.
func (s *Store) watchTicks(ctx context.Context) error {
	var errs []error
	for n, t := range s.handlers.Ticks {
		w := &s.watched[n]
		now := s.now()
		if now.Before(w.due) {
			continue
		}
		answered, err := s.answered(ctx, t.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.due = t.Next(answered)
		if now.Before(w.due) {
			continue
		}
		var claim, until int64
		if err := s.db.QueryRowContext(ctx, "SELECT claim, claimed_until FROM ticks WHERE name = $1", t.Name).Scan(&claim, &until); err != nil {
			errs = append(errs, fmt.Errorf("read who answers %s: %w", t.Name, err))
			continue
		}
		if from, to := s.clock.others(longestClaim); from <= until && until <= to || w.asked.Equal(w.due) && w.claim == claim && time.Since(w.at) < askAgain {
			continue
		}
		w.asked, w.claim, w.at = w.due, claim, time.Now()
		if _, err := s.river.Insert(ctx, tickArgs{Name: t.Name, Claim: claim}, nil); err != nil {
			errs = append(errs, fmt.Errorf("ask for the tick %s: %w", t.Name, err))
		}
	}
	return errors.Join(errs...)
}
