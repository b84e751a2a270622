package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/twokey/twokey/operation"
)

// Why a database cannot be used, as people read it.
const (
	silent   = "My database does not answer just now"
	diskFull = "My database's disk is full"
)

// database marks what fails because the database cannot be used, and notes it.
type database struct {
	*sql.DB
	outage *outage
}

// ExecContext is sql.DB's.
func (d database) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	result, err := d.DB.ExecContext(ctx, statement, args...)
	return result, d.outage.mark(err)
}

// QueryContext is sql.DB's. It has read the first row.
func (d database) QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	rows, err := d.DB.QueryContext(ctx, statement, args...)
	return rows, d.outage.mark(err)
}

// QueryRowContext is sql.DB's.
func (d database) QueryRowContext(ctx context.Context, statement string, args ...any) row {
	return row{d.DB.QueryRowContext(ctx, statement, args...), d.outage}
}

// row is one that was asked for.
type row struct {
	*sql.Row
	outage *outage
}

// Scan is sql.Row's.
func (r row) Scan(into ...any) error { return r.outage.mark(r.Row.Scan(into...)) }

// mark wraps an error that is the database's and not of what was asked of it.
func (o *outage) mark(err error) error {
	why := unusable(err)
	var marked *operation.Unavailable
	if why == "" || errors.As(err, &marked) {
		return err
	}
	if !errors.Is(err, context.DeadlineExceeded) { // the time may have gone elsewhere
		o.began(why, err)
	}
	return &operation.Unavailable{Why: why, Err: err}
}

// unusable says why the database cannot be used, if that is what err tells. Whatever
// the network says is about the database: nothing else is waited for in here.
func unusable(err error) string {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	var network net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled): // whoever asked does not want to know any more
		return ""
	case errors.As(err, &lite):
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return diskFull
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
			return silent
		}
		return ""
	case errors.As(err, &pg):
		// Classes 08 connection, 53 resources, 57 an operator's intervention, 58 the
		// system, and 25006: it is a standby.
		switch {
		case pg.Code == "53100":
			return diskFull
		case pg.Code == "25006", len(pg.Code) == 5 && slices.Contains([]string{"08", "53", "57", "58"}, pg.Code[:2]):
			return silent
		}
		return ""
	case errors.As(err, new(*pgconn.ConnectError)), errors.As(err, &network), pgconn.SafeToRetry(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		return silent
	}
	return ""
}

// uniqueViolation reports whether err is a breach of a unique index.
func uniqueViolation(err error) bool {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	return errors.As(err, &lite) && (lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) ||
		errors.As(err, &pg) && pg.Code == "23505"
}
