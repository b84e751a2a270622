// Package store keeps operations, the record and what must be told, in SQLite or
// PostgreSQL with the same statements, and wakes workers through River.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib" // and the "pgx" driver
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the "sqlite" driver

	"github.com/twokey/twokey/operation"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Recorder appends to the record inside the transaction of what it records.
type Recorder interface {
	// Append returns the entries with their sequence numbers. It locks out
	// other appends until the transaction ends.
	Append(ctx context.Context, tx *sql.Tx, entries []operation.Entry) ([]operation.Entry, error)
	// Seal returns the record's head, signed, if it is due: always when an
	// operation has ended. It refuses to sign over a record that was tampered with.
	Seal(ctx context.Context, tx *sql.Tx, ended bool) (text string, sealed bool, err error)
	// Vouch makes a code over parts that nobody can make without the record's key.
	Vouch(parts ...string) string
}

// Store is the database. It is safe for concurrent use.
type Store struct {
	clock    clock
	claims   *claims
	db       database
	mover    *sql.DB       // moves the write-ahead log, on SQLite
	listen   *pgxpool.Pool // for River's LISTEN, on PostgreSQL
	patience patience      // of the connections to PostgreSQL, but for that
	river    *river.Client[*sql.Tx]
	driver   riverdriver.Driver[*sql.Tx]
	local    *local
	insert   *sql.Stmt // insertEnvelope
	handlers Handlers
	watched  []watched // of each of the handlers' ticks
	recorder Recorder
	now      func() time.Time
	log      *slog.Logger
	changed  chan struct{} // a notice was written in this process
	// workNotes: change requests are told what came of their operations.
	workNotes bool
}

// Options are what a store needs besides its address.
type Options struct {
	Recorder Recorder
	Now      func() time.Time // nil: see [Store.Now]
	Log      *slog.Logger
	// WorkNotes writes down what the operations' change requests are to be told.
	// Somebody has to take it from there: see [Store.ClaimWorkNote].
	WorkNotes bool
}

// ErrNewer is wrapped by what Open returns for a database of a newer twokey.
var ErrNewer = errors.New("the database was made by a newer twokey")

// Open connects to address, "sqlite:PATH" or "postgres://…", and brings its
// tables up to date. Close it after Run has returned.
func Open(ctx context.Context, address string, o Options) (*Store, error) {
	s := &Store{local: newLocal(), claims: newClaims(), recorder: o.Recorder, log: o.Log, changed: make(chan struct{}, 1), workNotes: o.WorkNotes}
	s.db.outage = &outage{log: o.Log}
	dialect, err := s.connect(ctx, address)
	if err != nil {
		return nil, err
	}
	s.now = s.nowOf(o.Now)
	if err := s.bringUpToDate(ctx, dialect, o.Log); err != nil { // which may take its time
		s.Close()
		return nil, err
	}
	if err := s.startClock(ctx); err != nil {
		s.Close()
		return nil, err
	}
	s.patience.limit.Store(int64(answerTime))
	if s.insert, err = s.db.PrepareContext(ctx, insertEnvelope); err != nil {
		s.Close()
		return nil, fmt.Errorf("prepare to keep envelopes: %w", err)
	}
	if s.river, err = s.newClient(o.Log); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) connect(ctx context.Context, address string) (goose.Dialect, error) {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		return goose.DialectSQLite3, s.connectSQLite(ctx, path)
	}
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		return goose.DialectPostgres, s.connectPostgres(ctx, address)
	}
	return "", fmt.Errorf("database address %q: write sqlite:PATH or postgres://…", redactAddress(address))
}

// connectSQLite opens one connection: SQLite has one writer, and waiting for it
// in Go is fair, where SQLite's own waiting is not. Another moves what is in the
// write-ahead log into the database beside it: the writer would do so inside a
// commit, and an acknowledgement would wait for it.
func (s *Store) connectSQLite(ctx context.Context, path string) (err error) {
	pragmas := []string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "wal_autocheckpoint(0)"}
	if s.db.DB, err = openSQLite(path, pragmas...); err != nil {
		return err
	}
	s.driver = riversqlite.New(s.db.DB)
	if err := s.db.PingContext(ctx); err != nil {
		_ = s.db.Close()
		return fmt.Errorf("open the database file %s (is its folder there and writable?): %w", path, err)
	}
	if s.mover, err = openSQLite(path, append(pragmas, "cache_size(-64)")...); err != nil {
		_ = s.db.Close()
	}
	return err
}

func openSQLite(path string, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// moveEvery is how often the write-ahead log is moved into the database.
const moveEvery = time.Second

// move keeps the write-ahead log short, until ctx ends. Closing the database
// moves the rest.
func (s *Store) move(ctx context.Context) {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := s.mover.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the write-ahead log grows: it could not be moved into the database", "error", err)
		}
	}
}

func (s *Store) connectPostgres(ctx context.Context, address string) error {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return fmt.Errorf("open %s: %w", redactAddress(address), err)
	}
	listening, err := pgxpool.ParseConfig(address)
	if err != nil {
		return fmt.Errorf("open %s: %w", redactAddress(address), err)
	}
	for _, c := range []*pgx.ConnConfig{config, listening.ConnConfig} {
		if c.ConnectTimeout == 0 { // the address may name one
			c.ConnectTimeout = connectTime
		}
	}
	config.DialFunc = s.patience.dialer(config.DialFunc)
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(20)
	pool, err := pgxpool.NewWithConfig(ctx, listening)
	if err != nil {
		_ = db.Close()
		return fmt.Errorf("open %s: %w", redactAddress(address), err)
	}
	s.db.DB, s.listen, s.driver = db, pool, riverdatabasesql.NewWithPgxListener(db, pool)
	if err := db.PingContext(ctx); err != nil {
		s.Close()
		return fmt.Errorf("reach the database %s: %w", redactAddress(address), err)
	}
	return nil
}

// redactAddress drops what may be a password.
func redactAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(unreadable address)"
	}
	return u.Redacted()
}

// bringUpToDate migrates. On SQLite the commits of it are not synced one by one, which
// would be most of a first start: after a power cut the last ones may be missing, never
// one before another that is there (https://sqlite.org/pragma.html#pragma_synchronous),
// and the next start makes them again. The next commit syncs them all.
func (s *Store) bringUpToDate(ctx context.Context, dialect goose.Dialect, log *slog.Logger) error {
	if dialect != goose.DialectSQLite3 {
		return s.migrate(ctx, dialect, log)
	}
	if _, err := s.db.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return fmt.Errorf("have migrations not synced one by one: %w", err)
	}
	if err := s.migrate(ctx, dialect, log); err != nil {
		return err
	}
	if _, err := s.db.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		return fmt.Errorf("have every commit synced: %w", err)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context, dialect goose.Dialect, log *slog.Logger) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	ours, err := goose.NewProvider(dialect, s.db.DB, dir, goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, known, err := ours.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	if current > known {
		return fmt.Errorf("%w: it has version %d and this program knows %d; run the newer twokey, or restore a backup of before", ErrNewer, current, known)
	}
	if _, err := ours.Up(ctx); err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	theirs, err := rivermigrate.New(s.driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return fmt.Errorf("read River's migrations: %w", err)
	}
	if _, err := theirs.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("bring River's tables up to date: %w", err)
	}
	return nil
}

// Close closes the connections.
func (s *Store) Close() {
	if s.listen != nil {
		s.listen.Close()
	}
	if s.mover != nil {
		_ = s.mover.Close()
	}
	_ = s.db.Close()
}

// DB gives the record's readers the connection.
func (s *Store) DB() *sql.DB { return s.db.DB }

// Ready returns why the database cannot be used, when it cannot.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return s.db.outage.mark(err)
	}
	if why := s.db.outage.trouble(); why == diskFull { // which a look does not find
		return &operation.Unavailable{Why: why, Err: errors.New("a write failed a moment ago")}
	}
	return nil
}

// inTx runs f in one transaction. Nothing in f may wait for the outside world.
func (s *Store) inTx(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: begin: %w", what, s.db.outage.mark(err))
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := f(tx); err != nil {
		return fmt.Errorf("%s: %w", what, s.db.outage.mark(err))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: commit: %w", what, s.db.outage.mark(err))
	}
	return nil
}

// micros and instant turn instants into what is stored, and back.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
