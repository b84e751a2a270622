package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/twokey/twokey/operation"
)

// Proof shows that entries of one operation are in the record that a checkpoint
// was signed over. It is checked with the verifier key alone. It cannot show that
// the operation has no other entries; only the whole record does.
type Proof struct {
	Operation  operation.ID  `json:"operation"`
	Checkpoint string        `json:"checkpoint"` // the signed note
	Entries    []ProvenEntry `json:"entries"`
}

// ProvenEntry is an entry as recorded and its path to the checkpoint's hash.
type ProvenEntry struct {
	// Entry is hashed in its compact form, so that the file may be indented.
	Entry json.RawMessage  `json:"entry"`
	Path  tlog.RecordProof `json:"path"`
}

// Consistency shows that the record of a newer checkpoint continues that of an
// older one, without changing it.
type Consistency struct {
	Older string         `json:"older"` // the signed notes
	Newer string         `json:"newer"`
	Path  tlog.TreeProof `json:"path"`
}

// Proven is what a checked proof says.
type Proven struct {
	Operation operation.ID
	Entries   []operation.Entry
	Size      int64  // of the record when it was signed
	Signer    string // the key's name
}

// Prove makes the proof of all entries of an operation against the newest kept
// checkpoint. The hashes are computed from the entries, and the proof is checked
// before it is returned: a broken record proves nothing.
func Prove(ctx context.Context, src Source, id operation.ID, known note.Verifiers) (Proof, error) {
	signed, text, err := newestKept(ctx, src, known)
	if err != nil {
		return Proof{}, err
	}
	tree, rows, err := treeOf(ctx, src, id)
	if err != nil {
		return Proof{}, fmt.Errorf("prove operation %s: %w", id, err)
	}
	if len(rows) == 0 {
		return Proof{}, operation.Refuse("no_entries", "The record has no entry of an operation %q.", id)
	}
	proof := Proof{Operation: id, Checkpoint: text}
	for _, row := range rows {
		if row.Number > signed.tree.N {
			return Proof{}, operation.Refuse("not_signed", "Entry %d of operation %s is newer than the newest checkpoint, of %d entries. Try again after the next one was signed.", row.Number, id, signed.tree.N)
		}
		path, err := tlog.ProveRecord(signed.tree.N, row.Number-1, reader(tree))
		if err != nil {
			return Proof{}, fmt.Errorf("prove entry %d: %w", row.Number, err)
		}
		proof.Entries = append(proof.Entries, ProvenEntry{Entry: row.Entry, Path: path})
	}
	if _, err := proof.check(known); err != nil {
		return Proof{}, operation.RefuseBecause(err, "record_broken", "The record does not fit its checkpoint, so nothing can be proven. Run: twokey audit verify")
	}
	return proof, nil
}

// newestKept returns the largest kept checkpoint with a valid signature.
func newestKept(ctx context.Context, src Source, known note.Verifiers) (checkpoint, string, error) {
	kept, err := src.Kept(ctx)
	if err != nil {
		return checkpoint{}, "", err
	}
	var newest checkpoint
	var text string
	for _, k := range kept.Checkpoints {
		c, err := openCheckpoint(k.Note, known)
		if err == nil && c.tree.N > newest.tree.N {
			newest, text = c, k.Note
		}
	}
	if text == "" {
		return checkpoint{}, "", operation.Refuse("no_checkpoint", "No checkpoint signed by a known key is kept in the record.")
	}
	return newest, text, nil
}

// treeOf hashes a whole record and picks out the rows of one operation.
func treeOf(ctx context.Context, src Source, id operation.ID) ([]tlog.Hash, []Row, error) {
	var t verification
	var rows []Row
	err := src.Entries(ctx, func(row Row) error {
		if row.Damage != "" || row.Number != t.count+1 {
			return fmt.Errorf("entry %d is not in its place; verify the record", t.count+1)
		}
		t.add(tlog.RecordHash(row.Entry))
		if id == "" {
			return nil
		}
		e, err := decode(row.Entry)
		if err != nil {
			return fmt.Errorf("entry %d: %w; verify the record", row.Number, err)
		}
		if e.Operation == id {
			row.Entry = bytes.Clone(row.Entry)
			rows = append(rows, row)
		}
		return nil
	})
	return t.computed, rows, err
}

// CheckProof reads a proof as [WriteProof] wrote it and checks it with nothing but
// verifier keys. Its error says what does not fit.
func CheckProof(data []byte, known note.Verifiers) (Proven, error) {
	var proof Proof
	if err := json.Unmarshal(data, &proof); err != nil {
		return Proven{}, fmt.Errorf("read the proof: %w", err)
	}
	return proof.check(known)
}

func (p Proof) check(known note.Verifiers) (Proven, error) {
	signed, err := openCheckpoint(p.Checkpoint, known)
	if err != nil {
		return Proven{}, fmt.Errorf("check the proof: %w", err)
	}
	if len(p.Entries) == 0 {
		return Proven{}, errors.New("check the proof: it holds no entry")
	}
	proven := Proven{Operation: p.Operation, Size: signed.tree.N, Signer: signed.signer}
	var before int64
	for i, entry := range p.Entries {
		e, err := entry.check(signed.tree)
		switch {
		case err != nil:
			return Proven{}, fmt.Errorf("check the proof: entry %d of it: %w", i+1, err)
		case e.Operation != p.Operation:
			return Proven{}, fmt.Errorf("check the proof: entry %d of it is of operation %q, not %q", i+1, e.Operation, p.Operation)
		case e.Sequence <= before:
			return Proven{}, fmt.Errorf("check the proof: entry %d of it is out of order", i+1)
		}
		before = e.Sequence
		proven.Entries = append(proven.Entries, e)
	}
	return proven, nil
}

func (p ProvenEntry) check(tree tlog.Tree) (operation.Entry, error) {
	var raw bytes.Buffer
	if err := json.Compact(&raw, p.Entry); err != nil {
		return operation.Entry{}, fmt.Errorf("read it: %w", err)
	}
	e, err := decode(raw.Bytes())
	if err != nil {
		return operation.Entry{}, err
	}
	if e.Sequence < 1 || e.Sequence > tree.N {
		return operation.Entry{}, fmt.Errorf("its number %d is not in a record of %d entries", e.Sequence, tree.N)
	}
	// The number chooses the path, so an entry cannot be passed off as another.
	if err := tlog.CheckRecord(p.Path, tree.N, tree.Hash, e.Sequence-1, tlog.RecordHash(raw.Bytes())); err != nil {
		return operation.Entry{}, fmt.Errorf("entry %d is not in the signed record: %w", e.Sequence, err)
	}
	return e, nil
}

// ProveConsistency makes the proof that the record continued from one signed
// checkpoint to another. The order of the two does not matter.
func ProveConsistency(ctx context.Context, src Source, older, newer string, known note.Verifiers) (Consistency, error) {
	old, err := openCheckpoint(older, known)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	recent, err := openCheckpoint(newer, known)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	if old.tree.N > recent.tree.N {
		old, recent, older, newer = recent, old, newer, older
	}
	tree, _, err := treeOf(ctx, src, "")
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	if tlog.StoredHashCount(recent.tree.N) > int64(len(tree)) {
		return Consistency{}, fmt.Errorf("prove consistency: the record has fewer than %d entries", recent.tree.N)
	}
	path, err := tlog.ProveTree(recent.tree.N, old.tree.N, reader(tree))
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	proof := Consistency{Older: older, Newer: newer, Path: path}
	return proof, proof.check(known)
}

// CheckConsistency reads a consistency proof and checks it with nothing but
// verifier keys; it returns the sizes of the two checkpoints.
func CheckConsistency(data []byte, known note.Verifiers) (older, newer int64, err error) {
	var proof Consistency
	if err := json.Unmarshal(data, &proof); err != nil {
		return 0, 0, fmt.Errorf("read the proof: %w", err)
	}
	if err := proof.check(known); err != nil {
		return 0, 0, err
	}
	if older, err = CheckpointSize(proof.Older); err != nil {
		return 0, 0, err
	}
	newer, err = CheckpointSize(proof.Newer)
	return older, newer, err
}

func (c Consistency) check(known note.Verifiers) error {
	old, err := openCheckpoint(c.Older, known)
	if err != nil {
		return fmt.Errorf("check the proof: older: %w", err)
	}
	recent, err := openCheckpoint(c.Newer, known)
	if err != nil {
		return fmt.Errorf("check the proof: newer: %w", err)
	}
	if err := tlog.CheckTree(c.Path, recent.tree.N, recent.tree.Hash, old.tree.N, old.tree.Hash); err != nil {
		return fmt.Errorf("the record of %d entries does not continue that of %d: %w", recent.tree.N, old.tree.N, err)
	}
	return nil
}

// WriteProof writes a [Proof] or a [Consistency] as an indented JSON file.
func WriteProof[P Proof | Consistency](w io.Writer, proof P) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	if err := out.Encode(proof); err != nil {
		return fmt.Errorf("write the proof: %w", err)
	}
	return nil
}

// WriteProven writes what a checked proof says, for a person.
func WriteProven(w io.Writer, p Proven) error {
	verb := "are"
	if len(p.Entries) == 1 {
		verb = "is"
	}
	_, err := fmt.Fprintf(w, "The proof holds: %s of operation %s %s in the record of %s that %s signed.\n",
		count(int64(len(p.Entries)), "entry", "entries"), plain(string(p.Operation)), verb, count(p.Size, "entry", "entries"), p.Signer)
	if err != nil {
		return fmt.Errorf("write the proof's outcome: %w", err)
	}
	lines := make([]Line, len(p.Entries))
	for i, e := range p.Entries {
		lines[i].Entry = e
	}
	return WriteList(w, lines)
}
