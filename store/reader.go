package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/twokey/twokey/operation"
)

// Reader reads operations beside a running bot. It changes nothing: what the bot
// keeps stays as the bot made it, its tables' version included.
type Reader struct{ store Store }

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
	return &Reader{Store{db: db}}, nil
}

// Operation returns operation.ErrUnknown when there is none.
func (r *Reader) Operation(ctx context.Context, id operation.ID) (operation.Operation, error) {
	return r.store.Operation(ctx, id)
}

// OperationsOf returns the newest operations on a secret, open and ended.
func (r *Reader) OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error) {
	return r.store.OperationsOf(ctx, secret)
}

// Close closes the connections.
func (r *Reader) Close() { _ = r.store.db.Close() } // only read from
