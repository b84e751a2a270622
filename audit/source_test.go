package audit_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

func open(t *testing.T, address string) audit.Opened {
	t.Helper()
	src, err := audit.Open(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

func export(t testing.TB, src audit.Source) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := audit.WriteExport(context.Background(), &b, src); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestARecordVerifiesFromEveryKindOfAddress(t *testing.T) {
	log := newLog(newKey(t))
	check := func(t *testing.T, address string, notes []string) {
		t.Helper()
		report := verify(t, open(t, address), log.Known(), notes...)
		if !report.Whole() || report.Entries != 20 || report.Kept != 2 || report.Posted != 2 {
			t.Errorf("%s: %+v", address, report)
		}
	}
	t.Run("files", func(t *testing.T) {
		db, path := newSQLite(t)
		notes := grow(t, db, log, 0, 7, 20)
		check(t, path, notes)
		check(t, "sqlite:"+path, notes)
		exported := filepath.Join(t.TempDir(), "record.jsonl")
		if err := os.WriteFile(exported, export(t, audit.NewDatabase(db)), 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, exported, notes)
	})
	t.Run("postgres", func(t *testing.T) {
		db, address := newPostgres(t)
		check(t, address, grow(t, db, log, 0, 7, 20))
	})
}

func TestAVerificationSeesOneInstantWhileTheBotAppends(t *testing.T) {
	check := func(t *testing.T, db *sql.DB, address string) {
		log := newLog(newKey(t))
		grow(t, db, log, 0, 10)
		src := open(t, address)
		grow(t, db, log, 10, 30)
		if report := verify(t, src, log.Known()); !report.Whole() || report.Entries != 10 {
			t.Errorf("%+v", report)
		}
		if report := verify(t, open(t, address), log.Known()); !report.Whole() || report.Entries != 30 {
			t.Errorf("%+v", report)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		db, path := newSQLite(t)
		check(t, db, path)
	})
	t.Run("postgres", func(t *testing.T) {
		db, address := newPostgres(t)
		check(t, db, address)
	})
}

func TestVerifyingWritesNothingToTheFile(t *testing.T) {
	log := newLog(newKey(t))
	db, path := newSQLite(t)
	grow(t, db, log, 0, 10)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// An odd name, in a folder where nothing can be written beside it.
	dir := filepath.Join(t.TempDir(), "a ?#%41 folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, "twokey & co.db")
	if err := os.WriteFile(odd, before, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) // so that it can be removed
	src := open(t, odd)
	if report := verify(t, src, log.Known()); !report.Whole() || report.Entries != 10 {
		t.Errorf("%+v", report)
	}
	after, err := os.ReadFile(odd)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed, %v", err)
	}
}

func TestAFileThatIsNoRecordIsAnErrorOrABrokenExport(t *testing.T) {
	ctx := context.Background()
	if _, err := audit.Open(ctx, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("opened a file that is not there")
	}
	empty := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", "file:"+empty)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE TABLE x (y TEXT)")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(ctx, empty); err == nil || !strings.Contains(err.Error(), "record") {
		t.Errorf("opened a database without a record: %v", err)
	}
	text := filepath.Join(t.TempDir(), "shopping.txt")
	if err := os.WriteFile(text, []byte("milk\neggs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	report := verify(t, open(t, text), newKey(t).Verifiers())
	if report.Whole() || report.Findings[0].Fault != audit.Unreadable || !strings.Contains(report.Findings[0].Text, "line 1 of the export") {
		t.Errorf("%+v", report)
	}
}

func TestAnExportHoldsTheEntriesByteForByte(t *testing.T) {
	record, log, _ := signedRecord(t)
	text := export(t, record)
	again := audit.ParseExport(text)
	if first := firstDifference(record.rows, copyOf(t, again).rows); first != 0 {
		t.Errorf("entry %d is exported otherwise than recorded", first)
	}
	if !bytes.Equal(text, export(t, again)) {
		t.Error("an export of an export is another one")
	}
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		if !json.Valid(line) {
			t.Errorf("line %d is no JSON: %s", i+1, line)
		}
	}
	if report := verify(t, again, log.Known()); !report.Whole() {
		t.Errorf("%+v", report)
	}
}

func TestAForgedExportIsNamedWithItsFirstBrokenEntry(t *testing.T) {
	record, log, notes := signedRecord(t)
	text := string(export(t, record))
	lines := strings.SplitAfter(text, "\n")
	for _, c := range []struct {
		name  string
		forge func(lines []string) []string
		first int64
		fault audit.Fault
	}{
		{"an entry edited", func(l []string) []string {
			l[32] = strings.Replace(l[32], "5 of 5", "4 of 5", 1)
			return l
		}, 33, audit.Changed},
		{"two lines swapped", func(l []string) []string {
			l[5], l[9] = l[9], l[5]
			return l
		}, 6, audit.OutOfOrder},
		{"a line removed", func(l []string) []string { return slices.Delete(l, 11, 12) }, 12, audit.Missing},
		{"a line repeated", func(l []string) []string { return slices.Insert(l, 30, l[8]) }, 9, audit.Repeated},
		{"cut off, checkpoints too", func(l []string) []string { return l[:25] }, 26, audit.Missing},
		{"cut off within a line", func(l []string) []string { return append(l[:25], l[25][:40]) }, 26, audit.Unreadable},
		{"a line of something else", func(l []string) []string { return slices.Insert(l, 2, "# hello\n") }, 3, audit.Unreadable},
		{"an unsigned entry's hash changed", func(l []string) []string {
			l[58] = strings.Replace(l[58], "5 of 5", "4 of 5", 1)
			return l
		}, 59, audit.Changed},
		{"a signed entry's hash changed", func(l []string) []string {
			l[7] = strings.Replace(l[7], `"hash":"`+l[7][len(l[7])-47:len(l[7])-3], `"hash":"`+l[8][len(l[8])-47:len(l[8])-3], 1)
			return l
		}, 8, audit.HashDamaged},
	} {
		forged := audit.ParseExport([]byte(strings.Join(c.forge(slices.Clone(lines)), "")))
		report := verify(t, forged, log.Known(), notes...)
		if report.Whole() || report.Findings[0].First != c.first || report.Findings[0].Fault != c.fault {
			t.Errorf("%s: %+v", c.name, report.Findings)
		}
	}
}

func TestARecordWithoutItsHashesIsNotExported(t *testing.T) {
	record, _, _ := signedRecord(t)
	clear(record.hashes)
	if err := audit.WriteExport(context.Background(), &bytes.Buffer{}, record); err == nil {
		t.Error("exported")
	}
}

func TestAListIsFilteredByOperationSecretPersonAndTime(t *testing.T) {
	record, _, _ := signedRecord(t)
	for _, c := range []struct {
		name   string
		filter audit.Filter
		want   int
		first  int64
	}{
		{"all", audit.Filter{}, 60, 1},
		{"operation", audit.Filter{Operation: "op3"}, 5, 16},
		{"secret", audit.Filter{Secret: "jira/dev"}, 30, 6},
		{"user", audit.Filter{Person: "U1"}, 20, 2},
		{"directory id", audit.Filter{Person: "oid-2"}, 20, 3},
		{"name", audit.Filter{Person: "alice"}, 20, 1},
		{"since", audit.Filter{Since: start().Add(50 * time.Second)}, 10, 51},
		{"several", audit.Filter{Operation: "op3", Secret: "jira/dev", Person: "Bob"}, 2, 17},
		{"none", audit.Filter{Operation: "op3", Secret: "sharepoint/prod"}, 0, 0},
	} {
		lines, err := audit.List(context.Background(), record, c.filter)
		if err != nil {
			t.Fatal(err)
		}
		if len(lines) != c.want || len(lines) > 0 && lines[0].Entry.Sequence != c.first {
			t.Errorf("%s: %d lines, the first %+v", c.name, len(lines), lines)
		}
	}
}

func TestAListIsATableOrTheLinesAsRecorded(t *testing.T) {
	record, _, _ := signedRecord(t)
	lines, err := audit.List(context.Background(), record, audit.Filter{Operation: "op0", Person: "U1"})
	if err != nil {
		t.Fatal(err)
	}
	lines[1].Entry.By, lines[1].Entry.Step = nil, ""
	var table, jsonLines strings.Builder
	if err := audit.WriteList(&table, lines); err != nil {
		t.Fatal(err)
	}
	want := `ENTRY  TIME (UTC)           OPERATION  SECRET           WHO     WHAT                  OUTCOME   TEXT
2      2026-03-04 05:06:08  op0        sharepoint/prod  Bob     prove the new secret  verified  5 of 5 fresh tokens; key <1> & others are untouched
5      2026-03-04 05:06:11  op0        sharepoint/prod  twokey  confirm               verified  5 of 5 fresh tokens; key <4> & others are untouched
`
	if table.String() != want {
		t.Errorf("got\n%s\nwant\n%s", table.String(), want)
	}
	if err := audit.WriteListJSON(&jsonLines, lines); err != nil {
		t.Fatal(err)
	}
	if want := string(record.rows[1].Entry) + "\n" + string(record.rows[4].Entry) + "\n"; jsonLines.String() != want {
		t.Errorf("got %s", jsonLines.String())
	}
}

func TestADamagedRecordIsNotListed(t *testing.T) {
	record, _, _ := signedRecord(t)
	record.rows[4].Entry = []byte("{")
	if _, err := audit.List(context.Background(), record, audit.Filter{}); err == nil || !strings.Contains(err.Error(), "entry 5") {
		t.Errorf("%v", err)
	}
	record.rows[4].Damage = "line 5 of the export: not an entry with its hash"
	if _, err := audit.List(context.Background(), record, audit.Filter{Operation: operation.ID("op0")}); err == nil || !strings.Contains(err.Error(), "line 5") {
		t.Errorf("%v", err)
	}
}

func FuzzParseExport(f *testing.F) {
	record, log, notes := signedRecord(f)
	text := export(f, record)
	lines := bytes.SplitAfter(text, []byte("\n"))
	f.Add(bytes.Join(lines[:3], nil))
	f.Add(bytes.Join(lines[58:], nil))
	f.Add(text)
	f.Add([]byte(`{"entry":{"seq":1},"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Add([]byte(`{"entry":{"seq":-9223372036854775808,"at":""},"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}` + "\r\n"))
	f.Add([]byte(`{"checkpoint":"go.sum database tree\n9223372036854775807\n"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := audit.ParseExport(data)
		report := verify(t, got, log.Known(), notes...)
		// Whole with all posted checkpoints can only be what was recorded up to the
		// last of them.
		if report.Whole() {
			rows := copyOf(t, got).rows
			if len(rows) < 57 || firstDifference(record.rows[:57], rows[:57]) != 0 {
				t.Errorf("another record is whole: %+v", report)
			}
		}
	})
}
