package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	_ "modernc.org/sqlite"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

const keyName = "twokey.example"

func start() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 891_000_000, time.UTC) }

// newKey makes a key; tests never share one, so no signature fits by accident.
func newKey(t testing.TB) audit.Key {
	t.Helper()
	private, _, err := audit.GenerateKey(keyName)
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newSQLite makes a database file with the record's tables and the store's pragmas.
func newSQLite(t testing.TB) (db *sql.DB, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "twokey.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	exec(t, db, audit.Schema())
	return db, path
}

func exec(t testing.TB, db audit.Execer, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// entry makes the i-th of a story's entries; five make one operation.
func entry(i int) operation.Entry {
	return operation.Entry{
		At:        start().Add(time.Duration(i) * time.Second),
		Operation: operation.ID(fmt.Sprintf("op%d", i/5)),
		Secret:    []operation.SecretName{"sharepoint/prod", "jira/dev"}[i/5%2],
		Event:     operation.Confirm,
		State:     operation.Approved,
		Epoch:     int64(i),
		Step:      "prove the new secret",
		Outcome:   operation.Verified,
		By:        &operation.Person{User: operation.UserID(fmt.Sprintf("U%d", i%3)), Person: operation.PersonID(fmt.Sprintf("oid-%d", i%3)), Name: []string{"Alice", "Bob", "Carol"}[i%3]},
		Text:      fmt.Sprintf("5 of 5 fresh tokens; key <%d> & others are untouched", i),
		Channel:   "C1",
		Message:   operation.MessageID(fmt.Sprintf("1700000000.%06d", i)),
	}
}

func entries(from, to int) []operation.Entry {
	var out []operation.Entry
	for i := from; i < to; i++ {
		out = append(out, entry(i))
	}
	return out
}

// inTx runs f in a transaction that is committed.
func inTx(t testing.TB, db *sql.DB, f func(tx *sql.Tx)) {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // after the commit it does nothing
	f(tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// grow appends up to each of sizes and seals a checkpoint there.
func grow(t testing.TB, db *sql.DB, log *audit.Log, from int, sizes ...int) []string {
	t.Helper()
	var notes []string
	for _, size := range sizes {
		inTx(t, db, func(tx *sql.Tx) {
			if _, err := log.Append(context.Background(), tx, entries(from, size)); err != nil {
				t.Fatal(err)
			}
			text, sealed, err := log.Seal(context.Background(), tx, true)
			if err != nil || !sealed {
				t.Fatalf("seal at %d: sealed %v, %v", size, sealed, err)
			}
			notes = append(notes, text)
		})
		from = size
	}
	return notes
}

func newLog(key audit.Key, before ...note.Verifier) *audit.Log {
	return audit.NewLog(key, audit.Cadence{}, start, before...)
}

func verify(t testing.TB, src audit.Source, known note.Verifiers, posted ...string) audit.Report {
	t.Helper()
	report, err := audit.Verify(context.Background(), src, posted, known)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// copied is a record in memory that a test can forge as it likes.
type copied struct {
	rows   []audit.Row
	hashes map[int64]tlog.Hash
	kept   audit.Kept
}

func copyOf(t testing.TB, src audit.Source) *copied {
	t.Helper()
	ctx := context.Background()
	c := &copied{hashes: map[int64]tlog.Hash{}}
	err := src.Entries(ctx, func(row audit.Row) error {
		row.Entry = slices.Clone(row.Entry)
		c.rows = append(c.rows, row)
		return nil
	})
	if err == nil {
		err = src.Hashes(ctx, func(index int64, hash tlog.Hash) error {
			c.hashes[index] = hash
			return nil
		})
	}
	if err == nil {
		c.kept, err = src.Kept(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *copied) clone() *copied {
	out := &copied{rows: slices.Clone(c.rows), hashes: map[int64]tlog.Hash{}, kept: c.kept}
	for index, hash := range c.hashes {
		out.hashes[index] = hash
	}
	out.kept.Checkpoints = slices.Clone(c.kept.Checkpoints)
	return out
}

// rehash does what a forger with the source code does: it makes the stored hashes
// fit the entries.
func (c *copied) rehash(t testing.TB) {
	t.Helper()
	clear(c.hashes)
	for i, row := range c.rows {
		made, err := tlog.StoredHashes(int64(i), row.Entry, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			out := make([]tlog.Hash, len(indexes))
			for j, index := range indexes {
				out[j] = c.hashes[index]
			}
			return out, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		for j, h := range made {
			c.hashes[tlog.StoredHashIndex(0, int64(i))+int64(j)] = h
		}
	}
}

func (c *copied) Entries(_ context.Context, visit func(audit.Row) error) error {
	for _, row := range c.rows {
		if err := visit(row); err != nil {
			return err
		}
	}
	return nil
}

func (c *copied) Hashes(_ context.Context, visit func(int64, tlog.Hash) error) error {
	for _, index := range sortedKeys(c.hashes) {
		if err := visit(index, c.hashes[index]); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(m map[int64]tlog.Hash) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (c *copied) Kept(context.Context) (audit.Kept, error) { return c.kept, nil }

// appendOnly appends without a checkpoint.
func appendOnly(t testing.TB, db *sql.DB, log *audit.Log, from, to int) {
	t.Helper()
	inTx(t, db, func(tx *sql.Tx) {
		if _, err := log.Append(context.Background(), tx, entries(from, to)); err != nil {
			t.Fatal(err)
		}
	})
}
