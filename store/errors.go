package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/twokey/twokey/operation"
)

// CodeFull is the refusal when the database's disk is full.
const CodeFull operation.Code = "disk_full"

// full turns "disk full" of either database into a sentence for people.
func full(err error) error {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	if errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_FULL || errors.As(err, &pg) && pg.Code == "53100" {
		return operation.RefuseBecause(err, CodeFull, "My database's disk is full, so I could not write this down, and what is not written down is not done. Have its operator free some space, then try again.")
	}
	return err
}

// uniqueViolation reports whether err is a breach of a unique index.
func uniqueViolation(err error) bool {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	return errors.As(err, &lite) && (lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) ||
		errors.As(err, &pg) && pg.Code == "23505"
}
