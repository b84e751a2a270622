package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/pressly/goose/v3"

	"github.com/twokey/twokey/operation"
)

// Reader reads operations beside a running bot. It changes nothing: what the bot
// keeps stays as the bot made it, its tables' version included.
type Reader struct {
	store    Store
	postgres bool
}

// OpenToRead connects to address, as [Open] has it. A SQLite file must be there.
func OpenToRead(ctx context.Context, address string) (*Reader, error) {
	driver, source := "pgx", address
	switch path, isFile := strings.CutPrefix(address, "sqlite:"); {
	case isFile:
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("open the database file: %w", err)
		}
		driver, source = "sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(10000)"
	case !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://"):
		return nil, fmt.Errorf("database address %q: write sqlite:PATH or postgres://…", redactAddress(address))
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", redactAddress(address), err)
	}
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close() // nothing was read
		return nil, fmt.Errorf("reach the database %s: %w", redactAddress(address), err)
	}
	return &Reader{Store{db: database{db, &outage{log: slog.New(slog.DiscardHandler)}}}, driver == "pgx"}, nil
}

// Operation returns operation.ErrUnknown when there is none.
func (r *Reader) Operation(ctx context.Context, id operation.ID) (operation.Operation, error) {
	return r.store.Operation(ctx, id)
}

// OperationsOf returns the newest operations on a secret, open and ended.
func (r *Reader) OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error) {
	return r.store.OperationsOf(ctx, secret)
}

// Version returns the version of the database's tables, and the newest that this
// program knows. 0 is a database without tables.
func (r *Reader) Version(ctx context.Context) (current, known int64, err error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, 0, fmt.Errorf("list the migrations: %w", err)
	}
	for _, f := range files {
		v, err := goose.NumericComponent(f)
		if err != nil {
			return 0, 0, fmt.Errorf("read the migrations: %w", err)
		}
		known = max(known, v)
	}
	tables := "SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'"
	if r.postgres {
		tables = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'goose_db_version'"
	}
	var n int
	if err := r.store.db.QueryRowContext(ctx, tables).Scan(&n); err != nil {
		return 0, 0, fmt.Errorf("look for the database's tables: %w", err)
	}
	if n == 0 {
		return 0, known, nil
	}
	if err := r.store.db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&current); err != nil {
		return 0, 0, fmt.Errorf("read the database's version: %w", err)
	}
	return current, known, nil
}

// Close closes the connections.
func (r *Reader) Close() { _ = r.store.db.Close() } // only read from
