package audit_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

// signedRecord is a record of 60 entries with checkpoints at 20, 40 and 57.
func signedRecord(t testing.TB) (*copied, *audit.Log, []string) {
	t.Helper()
	db, _ := newSQLite(t)
	log := newLog(newKey(t))
	notes := grow(t, db, log, 0, 20, 40, 57)
	appendOnly(t, db, log, 57, 60)
	return copyOf(t, audit.NewDatabase(db)), log, notes
}

// edit changes one word of an entry.
func edit(row audit.Row) audit.Row {
	row.Entry = []byte(strings.Replace(string(row.Entry), "5 of 5", "4 of 5", 1))
	return row
}

// renumber makes an entry carry another number.
func renumber(row audit.Row, to int64) audit.Row {
	row.Entry = []byte(strings.Replace(string(row.Entry), fmt.Sprintf(`"seq":%d,`, row.Number), fmt.Sprintf(`"seq":%d,`, to), 1))
	row.Number = to
	return row
}

func TestAWholeRecordIsWhole(t *testing.T) {
	record, log, notes := signedRecord(t)
	got := verify(t, record, log.Known(), notes...)
	want := audit.Report{Entries: 60, Newest: 57, Signer: keyName, Kept: 3, Posted: 3, Unsigned: 3, Vouched: 57}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAnEmptyRecordIsWhole(t *testing.T) {
	db, _ := newSQLite(t)
	if report := verify(t, audit.NewDatabase(db), newKey(t).Verifiers()); !report.Whole() {
		t.Errorf("%+v", report)
	}
}

func TestEachForgeryIsNamedWithItsFirstBrokenEntry(t *testing.T) {
	record, log, notes := signedRecord(t)
	for _, c := range []struct {
		name  string
		forge func(c *copied) (posted []string)
		want  audit.Finding // Text is what it must contain
	}{
		{"an entry edited", func(c *copied) []string {
			c.rows[32] = edit(c.rows[32])
			return nil
		}, audit.Finding{Fault: audit.Changed, First: 33, Last: 33, Operation: "op6", Checkpoint: 40, Text: "Entry 33 was changed after it was recorded: its hash is not the one in checkpoint 40."}},
		{"the first of two edited entries", func(c *copied) []string {
			c.rows[50], c.rows[4] = edit(c.rows[50]), edit(c.rows[4])
			return nil
		}, audit.Finding{Fault: audit.Changed, First: 5, Last: 5, Operation: "op0", Checkpoint: 20}},
		{"an entry edited that no checkpoint covers", func(c *copied) []string {
			c.rows[58] = edit(c.rows[58])
			return nil
		}, audit.Finding{Fault: audit.Changed, First: 59, Last: 59, Operation: "op11", Text: "not the stored one"}},
		{"an entry edited with its own hash", func(c *copied) []string {
			c.rows[32] = edit(c.rows[32])
			c.hashes[tlog.StoredHashIndex(0, 32)] = tlog.RecordHash(c.rows[32].Entry)
			return nil
		}, audit.Finding{Fault: audit.Changed, First: 33, Last: 34, Operation: "op6", Checkpoint: 40, Text: "One of the entries 33 to 34"}},
		{"an entry edited and all hashes with it", func(c *copied) []string {
			c.rows[32] = edit(c.rows[32])
			c.rehash(t)
			return nil
		}, audit.Finding{Fault: audit.Changed, First: 21, Last: 40, Operation: "op4", Checkpoint: 40, Text: "the stored hashes were changed with the entries"}},
		{"an entry edited, all hashes made anew, the checkpoints thrown away, one was posted", func(c *copied) []string {
			c.rows[32] = edit(c.rows[32])
			c.rehash(t)
			c.kept.Checkpoints = nil
			return notes[2:]
		}, audit.Finding{Fault: audit.Changed, First: 1, Last: 57, Operation: "op0", Checkpoint: 57}},
		{"two entries swapped", func(c *copied) []string {
			c.rows[10].Entry, c.rows[30].Entry = c.rows[30].Entry, c.rows[10].Entry
			return nil
		}, audit.Finding{Fault: audit.OutOfOrder, First: 11, Last: 11, Operation: "op6", Text: "says that it is entry 31"}},
		{"two rows swapped", func(c *copied) []string {
			c.rows[10], c.rows[30] = c.rows[30], c.rows[10]
			return nil
		}, audit.Finding{Fault: audit.OutOfOrder, First: 11, Last: 11, Operation: "op2", Text: "entry 31 stands in its place"}},
		{"two entries swapped and renumbered", func(c *copied) []string {
			c.rows[10], c.rows[30] = renumber(c.rows[30], 11), renumber(c.rows[10], 31)
			return nil
		}, audit.Finding{Fault: audit.Changed, First: 11, Last: 11, Operation: "op6", Checkpoint: 20}},
		{"an entry removed", func(c *copied) []string {
			c.rows = slices.Delete(c.rows, 24, 25)
			return nil
		}, audit.Finding{Fault: audit.Missing, First: 25, Last: 25, Text: "after entry 24 comes entry 26"}},
		{"an entry removed and the others moved up", func(c *copied) []string {
			c.rows = slices.Delete(c.rows, 24, 25)
			for i := 24; i < len(c.rows); i++ {
				c.rows[i] = renumber(c.rows[i], int64(i+1))
			}
			return nil
		}, audit.Finding{Fault: audit.Changed, First: 25, Last: 25, Operation: "op5", Checkpoint: 40}},
		{"an entry put in twice", func(c *copied) []string {
			c.rows = slices.Insert(c.rows, 31, c.rows[6])
			return nil
		}, audit.Finding{Fault: audit.Repeated, First: 7, Last: 7, Operation: "op1", Text: "the second time after entry 31"}},
		{"a forged entry put in at the end", func(c *copied) []string {
			c.rows = append(c.rows, renumber(c.rows[59], 61))
			return nil
		}, audit.Finding{Fault: audit.Inserted, First: 61, Last: 61, Operation: "op11"}},
		{"an entry numbered zero put in front", func(c *copied) []string {
			c.rows = slices.Insert(c.rows, 0, renumber(c.rows[3], 0))
			return nil
		}, audit.Finding{Fault: audit.Inserted, First: 1, Last: 1, Operation: "op0"}},
		{"the end cut off", func(c *copied) []string {
			c.rows = c.rows[:45]
			return nil
		}, audit.Finding{Fault: audit.Missing, First: 46, Last: 57, Checkpoint: 57, Text: "cut off or rolled back"}},
		{"the unsigned end cut off", func(c *copied) []string {
			c.rows = c.rows[:58]
			return nil
		}, audit.Finding{Fault: audit.Missing, First: 59, Last: 60}},
		{"the unsigned end cut off with the head", func(c *copied) []string {
			c.rows, c.kept.Head = c.rows[:58], 58
			return nil
		}, audit.Finding{Fault: audit.Missing, First: 59, Last: 60}},
		{"rolled back to an older copy, one checkpoint was posted", func(c *copied) []string {
			c.rows, c.kept.Head, c.kept.Checkpoints = c.rows[:20], 20, c.kept.Checkpoints[:1]
			c.rehash(t)
			return notes
		}, audit.Finding{Fault: audit.Missing, First: 21, Last: 57, Checkpoint: 57, Text: "rolled back"}},
		{"filed under another operation", func(c *copied) []string {
			c.rows[14].Operation = "op9"
			return nil
		}, audit.Finding{Fault: audit.Misfiled, First: 15, Last: 15, Operation: "op2", Text: `"op9"`}},
		{"an entry that is no JSON", func(c *copied) []string {
			c.rows[14].Entry = []byte("{")
			return nil
		}, audit.Finding{Fault: audit.Unreadable, First: 15, Last: 15}},
		{"a stored hash changed", func(c *copied) []string {
			c.hashes[tlog.StoredHashIndex(0, 14)] = tlog.Hash{1}
			return nil
		}, audit.Finding{Fault: audit.HashDamaged, First: 15, Last: 15, Operation: "op2", Checkpoint: 57, Text: "Entry 15 is as signed in checkpoint 57, but its stored hash was changed."}},
		{"a stored hash of several entries gone", func(c *copied) []string {
			delete(c.hashes, tlog.StoredHashIndex(2, 3))
			return nil
		}, audit.Finding{Fault: audit.HashDamaged, First: 13, Last: 16, Operation: "op2", Checkpoint: 57, Text: "is missing"}},
		{"a checkpoint's size changed", func(c *copied) []string {
			c.kept.Checkpoints[1].Note = strings.Replace(c.kept.Checkpoints[1].Note, "\n40\n", "\n41\n", 1)
			return nil
		}, audit.Finding{Fault: audit.NotSigned, Checkpoint: 41, Text: "kept in the record"}},
		{"a posted checkpoint that is none", func(*copied) []string {
			return []string{notes[0], "hello"}
		}, audit.Finding{Fault: audit.NotSigned, Text: "number 2 of those given"}},
		{"no checkpoint at all", func(c *copied) []string {
			c.kept.Checkpoints = nil
			return nil
		}, audit.Finding{Fault: audit.NotSigned, Text: "nothing vouches for the 60 entries"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			forged := record.clone()
			posted := c.forge(forged)
			report := verify(t, forged, log.Known(), posted...)
			if report.Whole() {
				t.Fatal("not found")
			}
			got := report.Findings[0]
			if !strings.Contains(got.Text, c.want.Text) {
				t.Errorf("it says %q, not %q", got.Text, c.want.Text)
			}
			got.Text, c.want.Text = "", ""
			if got != c.want {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestAForkIsFoundByACheckpointThatWasPostedBeforeIt(t *testing.T) {
	key := newKey(t)
	log := newLog(key)
	ours, _ := newSQLite(t)
	grow(t, ours, log, 0, 20)
	grow(t, ours, log, 20, 40, 50)

	// The same record restored from a copy taken at 20, and written on otherwise.
	theirs, _ := newSQLite(t)
	posted := grow(t, theirs, log, 0, 20)
	posted = append(posted, grow(t, theirs, log, 21, 41)...) // entries 21 to 40, one number off
	report := verify(t, audit.NewDatabase(ours), log.Known(), posted...)
	if report.Whole() || report.Posted != 1 {
		t.Fatalf("%+v", report)
	}
	got := report.Findings[0]
	if got.Fault != audit.Forked || got.First != 21 || got.Last != 40 || got.Checkpoint != 40 {
		t.Errorf("%+v", got)
	}
}

// TestEveryForgeryIsFoundAtItsFirstEntry forges at random, with or without making
// the stored hashes fit.
func TestEveryForgeryIsFoundAtItsFirstEntry(t *testing.T) {
	record, log, notes := signedRecord(t)
	const signed = 57
	rapid.Check(t, func(rt *rapid.T) {
		forged := record.clone()
		draw := func(label string, most int) int { return rapid.IntRange(0, most-1).Draw(rt, label) }
		for range rapid.IntRange(1, 4).Draw(rt, "forgeries") {
			at := draw("at", signed)
			if at >= len(forged.rows) {
				continue
			}
			switch rapid.SampledFrom([]string{"byte", "swap", "swap rows", "remove", "cut", "repeat"}).Draw(rt, "forgery") {
			case "byte":
				raw := slices.Clone(forged.rows[at].Entry)
				raw[draw("byte", len(raw))] ^= byte(1 + draw("bits", 255))
				forged.rows[at].Entry = raw
			case "swap":
				to := draw("to", len(forged.rows))
				forged.rows[at].Entry, forged.rows[to].Entry = forged.rows[to].Entry, forged.rows[at].Entry
			case "swap rows":
				to := draw("to", len(forged.rows))
				forged.rows[at], forged.rows[to] = forged.rows[to], forged.rows[at]
			case "remove":
				forged.rows = slices.Delete(forged.rows, at, at+1)
			case "cut":
				forged.rows = forged.rows[:at]
			case "repeat":
				forged.rows = slices.Insert(forged.rows, at+1, forged.rows[at])
			}
		}
		first := firstDifference(record.rows, forged.rows)
		if first == 0 {
			rt.Skip("the forgeries undid one another")
		}
		rehashed := rapid.Bool().Draw(rt, "hashes made to fit")
		if rehashed {
			forged.rehash(t)
		}
		report, err := audit.Verify(context.Background(), forged, notes, log.Known())
		if err != nil {
			rt.Fatal(err)
		}
		if report.Whole() {
			rt.Fatalf("entry %d is broken and nothing was found", first)
		}
		if report.Vouched >= first {
			rt.Fatalf("entry %d is broken, and it vouches for %d", first, report.Vouched)
		}
		got := report.Findings[0]
		named := got.First == first && (got.Last == first || got.Fault == audit.Missing)
		bounded := got.First <= first && first <= got.Last
		// An entry that is there twice is named where it stood first, or after it.
		twice := got.Fault == audit.Repeated && got.First <= first
		// Where hashes were made to fit, only checkpoints speak; and they cannot when
		// an entry further on is not in its place or gone.
		unplaced := (got.Checkpoint == 0 || got.Fault == audit.Missing) && got.First > first
		if !named && !twice && (!rehashed || !bounded && !unplaced) {
			rt.Fatalf("entry %d is the first broken one, it says %+v", first, report.Findings)
		}
	})
}

// firstDifference returns the number of the first entry at which two records
// differ; 0 if they do not.
func firstDifference(a, b []audit.Row) int64 {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i].Number != b[i].Number || string(a[i].Entry) != string(b[i].Entry) {
			return int64(i + 1)
		}
	}
	return 0
}

func TestEverySingleByteOfAnEntryIsCovered(t *testing.T) {
	record, log, _ := signedRecord(t)
	for _, at := range []int{0, 19, 20, 56, 57, 59} { // on both sides of the checkpoints
		for i := range record.rows[at].Entry {
			forged := record.clone()
			raw := slices.Clone(forged.rows[at].Entry)
			raw[i] ^= 1
			forged.rows[at].Entry = raw
			report := verify(t, forged, log.Known())
			if report.Whole() || report.Findings[0].First != int64(at+1) {
				t.Fatalf("byte %d of entry %d: %+v", i, at+1, report.Findings)
			}
		}
	}
}

func TestTheReportIsASentence(t *testing.T) {
	record, log, notes := signedRecord(t)
	var whole strings.Builder
	if err := audit.WriteReport(&whole, verify(t, record, log.Known(), notes...)); err != nil {
		t.Fatal(err)
	}
	want := "The record is whole: 60 entries, checkpoint 57 signed by twokey.example, 3 posted checkpoints agree.\n" +
		"The newest 3 entries are not under a signed checkpoint yet.\n"
	if whole.String() != want {
		t.Errorf("got %q\nwant %q", whole.String(), want)
	}
	record.rows[41] = edit(record.rows[41])
	var broken strings.Builder
	if err := audit.WriteReport(&broken, verify(t, record, log.Known(), notes...)); err != nil {
		t.Fatal(err)
	}
	want = "The record is broken.\n" +
		"Entry 42 (operation op8) was changed after it was recorded: its hash is not the one in checkpoint 57.\n" +
		"The entries up to 41 are as they were signed.\n"
	if broken.String() != want {
		t.Errorf("got %q\nwant %q", broken.String(), want)
	}
}

func TestAForgedEntryCannotWriteToTheTerminal(t *testing.T) {
	e := entry(0)
	e.Operation, e.Text = "\x1b]0;x\a", "all is well\x1b[2K\u202eevil\nEntry"
	var list, report strings.Builder
	if err := audit.WriteList(&list, []audit.Line{{Entry: e}}); err != nil {
		t.Fatal(err)
	}
	finding := audit.Finding{First: 1, Last: 1, Operation: operation.ID("\x1b[31m"), Text: "Entry 1 is \x1b[2J"}
	if err := audit.WriteReport(&report, audit.Report{Findings: []audit.Finding{finding}}); err != nil {
		t.Fatal(err)
	}
	if out := list.String() + report.String(); strings.ContainsAny(out, "\x1b\a\u202e") || strings.Count(list.String(), "\n") != 2 {
		t.Errorf("%q", out)
	}
}
