package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

func proofFile(t testing.TB, src audit.Source, id operation.ID, known note.Verifiers) []byte {
	t.Helper()
	proof, err := audit.Prove(context.Background(), src, id, known)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := audit.WriteProof(&b, proof); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAProofIsCheckedWithTheVerifierKeyAlone(t *testing.T) {
	record, log, _ := signedRecord(t)
	file := proofFile(t, record, "op7", log.Known())
	proven, err := audit.CheckProof(file, log.Known())
	if err != nil {
		t.Fatal(err)
	}
	if proven.Operation != "op7" || len(proven.Entries) != 5 || proven.Entries[0].Sequence != 36 || proven.Size != 57 || proven.Signer != keyName {
		t.Errorf("%+v", proven)
	}
	var said strings.Builder
	if err := audit.WriteProven(&said, proven); err != nil {
		t.Fatal(err)
	}
	if want := "The proof holds: 5 entries of operation op7 are in the record of 57 entries that twokey.example signed.\n"; !strings.HasPrefix(said.String(), want) {
		t.Errorf("it says %q", said.String())
	}
}

func TestAProofSurvivesOtherIndentationAndNothingElse(t *testing.T) {
	record, log, _ := signedRecord(t)
	file := proofFile(t, record, "op7", log.Known())
	var compact bytes.Buffer
	if err := json.Compact(&compact, file); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.CheckProof(compact.Bytes(), log.Known()); err != nil {
		t.Errorf("compact: %v", err)
	}
	for _, c := range []struct{ name, old, new string }{
		{"a word of an entry", "5 of 5", "4 of 5"},
		{"an entry's number", `"seq": 36`, `"seq": 35`},
		{"a number out of the record", `"seq": 36`, `"seq": 99`},
		{"a negative number", `"seq": 36`, `"seq": -1`},
		{"the operation", `"operation": "op7"`, `"operation": "op6"`},
		{"the checkpoint's size", `tree\n57\n`, `tree\n58\n`},
		{"a field put in", `"seq": 36,`, `"seq": 36,"x":1,`},
	} {
		forged := strings.Replace(string(file), c.old, c.new, 1)
		if forged == string(file) {
			t.Fatalf("%s: nothing replaced in\n%s", c.name, file)
		}
		if _, err := audit.CheckProof([]byte(forged), log.Known()); err == nil {
			t.Errorf("%s changed, and the proof holds", c.name)
		}
	}
	if _, err := audit.CheckProof(file, newKey(t).Verifiers()); err == nil {
		t.Error("the proof holds for another key of the same name")
	}
}

func TestAProofCannotListAnEntryTwiceOrNone(t *testing.T) {
	record, log, _ := signedRecord(t)
	proof, err := audit.Prove(context.Background(), record, "op7", log.Known())
	if err != nil {
		t.Fatal(err)
	}
	for name, entries := range map[string][]audit.ProvenEntry{
		"none":         nil,
		"twice":        {proof.Entries[0], proof.Entries[0]},
		"out of order": {proof.Entries[1], proof.Entries[0]},
		"no path":      {{Entry: proof.Entries[0].Entry}},
		"other's path": {{Entry: proof.Entries[0].Entry, Path: proof.Entries[1].Path}},
	} {
		forged := proof
		forged.Entries = entries
		file, err := json.Marshal(forged)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.CheckProof(file, log.Known()); err == nil {
			t.Errorf("%s: the proof holds", name)
		}
	}
}

func TestNothingIsProvenThatIsNotSignedOrNotWhole(t *testing.T) {
	record, log, _ := signedRecord(t)
	ctx := context.Background()
	none := record.clone()
	none.kept.Checkpoints = nil
	broken := record.clone()
	broken.rows[3] = edit(broken.rows[3])
	gap := record.clone()
	gap.rows = slices.Delete(gap.rows, 3, 4)
	for _, c := range []struct {
		name string
		src  audit.Source
		id   operation.ID
		code operation.Code
	}{
		{"unknown operation", record, "nope", "no_entries"},
		{"newer than the checkpoint", record, "op11", "not_signed"},
		{"no checkpoint", none, "op7", "no_checkpoint"},
		{"another entry was changed", broken, "op7", "record_broken"},
		{"an entry is missing", gap, "op7", ""},
	} {
		_, err := audit.Prove(ctx, c.src, c.id, log.Known())
		var refusal *operation.Refusal
		if err == nil || errors.As(err, &refusal) != (c.code != "") || refusal != nil && refusal.Code != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTwoCheckpointsAreConsistentOnlyIfOneContinuesTheOther(t *testing.T) {
	record, log, notes := signedRecord(t)
	ctx := context.Background()
	proof, err := audit.ProveConsistency(ctx, record, notes[2], notes[0], log.Known()) // in either order
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := audit.WriteProof(&file, proof); err != nil {
		t.Fatal(err)
	}
	older, newer, err := audit.CheckConsistency(file.Bytes(), log.Known())
	if err != nil || older != 20 || newer != 57 {
		t.Errorf("%d to %d, %v", older, newer, err)
	}
	proof.Path[0] = tlog.Hash{1}
	forged, err := json.Marshal(proof)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := audit.CheckConsistency(forged, log.Known()); err == nil {
		t.Error("a forged path holds")
	}
	if _, err := audit.ProveConsistency(ctx, &copied{rows: record.rows[:50]}, notes[0], notes[2], log.Known()); err == nil {
		t.Error("proven with a record that is too short")
	}

	other, _ := newSQLite(t)
	fork := grow(t, other, log, 1, 21) // 20 entries, other ones
	if _, err := audit.ProveConsistency(ctx, record, fork[0], notes[1], log.Known()); err == nil {
		t.Error("a fork is consistent")
	}
}

func FuzzCheckProof(f *testing.F) {
	record, log, notes := signedRecord(f)
	f.Add(proofFile(f, record, "op7", log.Known()))
	consistency, err := audit.ProveConsistency(context.Background(), record, notes[0], notes[2], log.Known())
	if err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	if err := audit.WriteProof(&file, consistency); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"operation":"op7","checkpoint":"","entries":[{"entry":{"seq":9223372036854775807},"path":["x"]}]}`))
	recorded := map[int64]string{}
	for _, row := range record.rows {
		recorded[row.Number] = string(row.Entry)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Whatever the file says, what it proves is what was recorded.
		if proven, err := audit.CheckProof(data, log.Known()); err == nil {
			for _, e := range proven.Entries {
				raw, err := json.Marshal(e)
				if err != nil || recorded[e.Sequence] != string(raw) {
					t.Errorf("it proves %s", raw)
				}
			}
		}
		_, _, _ = audit.CheckConsistency(data, log.Known()) // it must not panic
	})
}
