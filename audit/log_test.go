package audit_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		db, _ := newSQLite(t)
		test(t, db)
	})
	t.Run("postgres", func(t *testing.T) {
		db, _ := newPostgres(t)
		test(t, db)
	})
}

func TestEntriesAreNumberedInOrderAndReadBackAsRecorded(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB) {
		log := newLog(newKey(t))
		var recorded []operation.Entry
		for _, batch := range [][]operation.Entry{entries(0, 1), entries(1, 7), nil, entries(7, 10)} {
			inTx(t, db, func(tx *sql.Tx) {
				got, err := log.Append(context.Background(), tx, batch)
				if err != nil {
					t.Fatal(err)
				}
				recorded = append(recorded, got...)
			})
		}
		var read []operation.Entry
		for _, id := range []operation.ID{"op0", "op1"} {
			of, err := audit.OfOperation(context.Background(), db, id)
			if err != nil {
				t.Fatal(err)
			}
			read = append(read, of...)
		}
		if diff := cmp.Diff(recorded, read); diff != "" {
			t.Errorf("read back otherwise than recorded (-recorded +read):\n%s", diff)
		}
		for i, e := range recorded {
			if e.Sequence != int64(i+1) {
				t.Errorf("entry %d has the number %d", i+1, e.Sequence)
			}
		}
	})
}

func TestWhatIsStoredIsTheCanonicalJSONOfTheEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB) {
		odd := entry(0)
		odd.At = time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.FixedZone("CET", 3600))
		odd.Text = "bad UTF-8: \xff, a zero \x00, quotes \"'`, <@U1> & \u2028 \U0001F511"
		odd.Operation = "weird\"\\\u00e9"
		bare := operation.Entry{Outcome: operation.Noted}
		log := newLog(newKey(t))
		var recorded []operation.Entry
		inTx(t, db, func(tx *sql.Tx) {
			var err error
			if recorded, err = log.Append(context.Background(), tx, []operation.Entry{odd, bare}); err != nil {
				t.Fatal(err)
			}
		})
		if !recorded[0].At.Equal(odd.At) {
			t.Errorf("recorded at %v, happened at %v", recorded[0].At, odd.At)
		}
		for i, row := range copyOf(t, audit.NewDatabase(db)).rows {
			again, err := json.Marshal(recorded[i])
			if err != nil {
				t.Fatal(err)
			}
			if string(again) != string(row.Entry) {
				t.Errorf("stored %s\nencoded again %s", row.Entry, again)
			}
		}
		grow(t, db, log, 2, 5)
		if report := verify(t, audit.NewDatabase(db), log.Known()); !report.Whole() {
			t.Errorf("odd entries break the record: %+v", report.Findings)
		}
	})
}

func TestARolledBackTransactionLeavesNoEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB) {
		log := newLog(newKey(t))
		grow(t, db, log, 0, 3)
		tx, err := db.BeginTx(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(context.Background(), tx, entries(3, 9)); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		grow(t, db, log, 3, 6)
		if report := verify(t, audit.NewDatabase(db), log.Known()); !report.Whole() || report.Entries != 6 {
			t.Errorf("after a roll-back: %+v", report)
		}
	})
}

func TestAppendsAtOnceStandInLine(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB) {
		log := newLog(newKey(t))
		const writers, each = 4, 12
		var wg sync.WaitGroup
		for w := range writers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range each {
					tx, err := db.BeginTx(context.Background(), nil)
					if err == nil {
						_, err = log.Append(context.Background(), tx, entries(w*each+i, w*each+i+1+i%2))
					}
					if err == nil {
						err = tx.Commit()
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
		inTx(t, db, func(tx *sql.Tx) {
			if _, sealed, err := log.Seal(context.Background(), tx, true); err != nil || !sealed {
				t.Errorf("seal: sealed %v, %v", sealed, err)
			}
		})
		report := verify(t, audit.NewDatabase(db), log.Known())
		if !report.Whole() || report.Entries != writers*each*3/2 {
			t.Errorf("after appends at once: %+v", report)
		}
	})
}

func TestACheckpointIsAFiveLineNoteThatTheVerifierLineOpens(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB) {
		key := newKey(t)
		log := newLog(key)
		grow(t, db, log, 0, 4)
		text, size, err := log.Checkpoint(context.Background(), db)
		if err != nil || size != 4 {
			t.Fatalf("size %d, %v", size, err)
		}
		if lines := strings.Split(text, "\n"); len(lines) != 6 || lines[1] != "4" || !strings.HasPrefix(lines[4], "— "+keyName+" ") {
			t.Errorf("not a checkpoint:\n%s", text)
		}
		known, err := audit.ParseVerifiers("# the record's key\n\n" + key.VerifierLine() + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if report := verify(t, audit.NewDatabase(db), known, text); !report.Whole() || report.Posted != 1 {
			t.Errorf("%+v", report)
		}
	})
}

func TestACheckpointIsDueByEndNumberOrAge(t *testing.T) {
	cadence := audit.Cadence{Entries: 100, Interval: time.Hour}
	for _, c := range []struct {
		name       string
		size, last int64
		age        time.Duration
		ended, due bool
	}{
		{"nothing new", 50, 50, 48 * time.Hour, true, false},
		{"an operation ended", 51, 50, 0, true, true},
		{"few and fresh", 149, 50, time.Hour - 1, false, false},
		{"many", 150, 50, 0, false, true},
		{"old", 51, 50, time.Hour, false, true},
		{"the record is empty", 0, 0, 48 * time.Hour, true, false},
	} {
		if got := cadence.Due(c.size, c.last, start(), start().Add(c.age), c.ended); got != c.due {
			t.Errorf("%s: due %v", c.name, got)
		}
	}
	if (audit.Cadence{}).Due(1e6, 0, start(), start().Add(1e6*time.Hour), false) {
		t.Error("the zero cadence signs before an operation ended")
	}
}

func TestACheckpointIsKeptOnceAndRemembersWhereItWasPosted(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		log := newLog(newKey(t))
		notes := grow(t, db, log, 0, 5)
		inTx(t, db, func(tx *sql.Tx) {
			if _, sealed, err := log.Seal(ctx, tx, true); err != nil || sealed {
				t.Errorf("sealed the same size twice: %v, %v", sealed, err)
			}
		})
		if err := log.Posted(ctx, db, 5, "C1", "1700.1"); err != nil {
			t.Fatal(err)
		}
		if err := log.Posted(ctx, db, 6, "C1", "1700.2"); err == nil {
			t.Error("a checkpoint that is not kept was posted")
		}
		kept, err := audit.NewDatabase(db).Kept(ctx)
		want := audit.Kept{Head: 5, Checkpoints: []audit.KeptCheckpoint{{Size: 5, Note: notes[0], Channel: "C1", Message: "1700.1"}}}
		if err != nil || !reflect.DeepEqual(kept, want) {
			t.Errorf("kept %+v, %v", kept, err)
		}
	})
}

func TestNothingIsSignedOverATamperedRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sql.DB) {
		log := newLog(newKey(t))
		grow(t, db, log, 0, 6)
		forged := copyOf(t, audit.NewDatabase(db))
		forged.rows[2].Entry = []byte(strings.Replace(string(forged.rows[2].Entry), "5 of 5", "4 of 5", 1))
		forged.rehash(t)
		exec(t, db, `UPDATE record SET entry = $1 WHERE seq = 3`, string(forged.rows[2].Entry))
		for index, hash := range forged.hashes {
			exec(t, db, `UPDATE record_hashes SET hash = $1 WHERE idx = $2`, hash[:], index)
		}
		inTx(t, db, func(tx *sql.Tx) {
			if _, err := log.Append(context.Background(), tx, entries(6, 8)); err != nil {
				t.Fatal(err)
			}
			if _, sealed, err := log.Seal(context.Background(), tx, true); sealed || !errors.Is(err, audit.ErrOtherHistory) {
				t.Errorf("sealed %v, %v", sealed, err)
			}
		})
	})
}

func TestARotatedKeySignsOnAndOldCheckpointsStillVerify(t *testing.T) {
	db, _ := newSQLite(t)
	first, second := newKey(t), newKey(t)
	grow(t, db, newLog(first), 0, 4)
	old, err := note.NewVerifier(first.VerifierLine())
	if err != nil {
		t.Fatal(err)
	}
	grow(t, db, newLog(second, old), 4, 9)
	known, err := audit.ParseVerifiers(first.VerifierLine() + "\n" + second.VerifierLine())
	if err != nil {
		t.Fatal(err)
	}
	if report := verify(t, audit.NewDatabase(db), known); !report.Whole() || report.Kept != 2 {
		t.Errorf("%+v", report)
	}
	report := verify(t, audit.NewDatabase(db), second.Verifiers())
	if report.Whole() || report.Findings[0].Fault != audit.NotSigned {
		t.Errorf("a checkpoint of an unknown key passed: %+v", report)
	}
}

// holds reports whether a value of type t can hold one of type banned, or
// something whose type says nothing about what it holds.
func holds(t, banned reflect.Type) bool {
	switch {
	case t == banned:
		return true
	case t == reflect.TypeFor[time.Time]():
		return false
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
		return holds(t.Elem(), banned)
	case reflect.Map:
		return holds(t.Key(), banned) || holds(t.Elem(), banned)
	case reflect.Struct:
		for i := range t.NumField() {
			if holds(t.Field(i).Type, banned) {
				return true
			}
		}
		return false
	case reflect.Interface, reflect.Func, reflect.UnsafePointer:
		return true
	default:
		return false
	}
}

func TestAnEntryCannotHoldASecret(t *testing.T) {
	secret := reflect.TypeFor[operation.Secret]()
	for _, planted := range []any{
		struct {
			A []map[string]*operation.Secret
		}{}, struct{ A any }{}, struct{ A [2]operation.Secret }{},
	} {
		if !holds(reflect.TypeOf(planted), secret) {
			t.Fatalf("the test is blind to %T", planted)
		}
	}
	if holds(reflect.TypeFor[operation.Entry](), secret) {
		t.Error("an Entry can hold a Secret")
	}
}
