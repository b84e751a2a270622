package audit

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/twokey/twokey/operation"
)

// Fault is what is wrong with a record.
type Fault string

// The faults.
const (
	Changed     Fault = "changed"      // an entry is not the one that was recorded
	Missing     Fault = "missing"      // entries are gone: removed, cut off, or rolled back
	OutOfOrder  Fault = "out of order" // an entry stands in another one's place
	Repeated    Fault = "repeated"     // two entries carry one number
	Inserted    Fault = "inserted"     // an entry did not come through Append
	Unreadable  Fault = "unreadable"   // a line or row that is no entry
	Misfiled    Fault = "misfiled"     // filed under an operation that it is not of
	HashDamaged Fault = "hash damaged" // the entry is right, its stored hash is not
	Forked      Fault = "forked"       // two histories were signed
	NotSigned   Fault = "not signed"   // a checkpoint without a valid signature, or none at all
)

// Finding is one thing that is wrong, and where.
type Finding struct {
	Fault Fault `json:"fault"`
	// First and Last bound the entries that can be the broken one; they are equal
	// when it is known exactly, and 0 when no entry is concerned.
	First int64 `json:"first,omitempty"`
	Last  int64 `json:"last,omitempty"`
	// Operation is what the first of them says it belongs to; it may be forged.
	Operation  operation.ID `json:"operation,omitempty"`
	Checkpoint int64        `json:"checkpoint,omitempty"` // size of the checkpoint that shows it
	Text       string       `json:"text"`                 // a sentence
}

// Report is the outcome of a verification.
type Report struct {
	Entries  int64  `json:"entries"`            // that were read
	Newest   int64  `json:"newest"`             // size of the largest checkpoint that fits
	Signer   string `json:"signer,omitempty"`   // the name of the key that signed it
	Kept     int    `json:"kept"`               // kept checkpoints that fit
	Posted   int    `json:"posted"`             // given checkpoints that fit
	Unsigned int64  `json:"unsigned,omitempty"` // entries after the newest checkpoint
	// Vouched is up to which entry all are as they were signed, whatever is wrong
	// after it. Beyond it only the stored hashes speak, which a forger can change.
	Vouched int64 `json:"vouched"`
	// Findings has the first broken entry first.
	Findings []Finding `json:"findings,omitempty"`
}

// Whole reports whether nothing is wrong.
func (r Report) Whole() bool { return len(r.Findings) == 0 }

// verification is one run of Verify.
type verification struct {
	src      Source
	kept     Kept
	computed []tlog.Hash // the tree's hashes, made from the entries
	count    int64       // entries in their place, from the first on
	broken   bool        // the walk stopped at an entry that is not in its place
	fits     []checkpoint
	misfits  []checkpoint // covers entries that are there, and does not fit them
	beyond   checkpoint   // the largest that covers entries which are not there
	vouched  int64        // see Report
	findings []Finding
}

// Verify computes the record anew from its entries and compares it with the
// stored hashes, with the checkpoints kept beside it and with the posted ones
// given. It needs no connection to anything but the source. An error says that
// the source could not be read; everything wrong with the record is in the report.
//
// What no checkpoint covers yet is only checked against the stored hashes, so
// whoever can write to the database can still have changed it.
func Verify(ctx context.Context, src Source, posted []string, known note.Verifiers) (Report, error) {
	v := &verification{src: src}
	var err error
	if v.kept, err = src.Kept(ctx); err != nil {
		return Report{}, fmt.Errorf("verify the record: %w", err)
	}
	if err := v.walk(ctx); err != nil {
		return Report{}, fmt.Errorf("verify the record: %w", err)
	}
	report := Report{Entries: v.count}
	for _, c := range v.kept.Checkpoints {
		if v.check(c.Note, "kept in the record", known) {
			report.Kept++
		}
	}
	for i, text := range posted {
		if v.check(text, fmt.Sprintf("number %d of those given", i+1), known) {
			report.Posted++
		}
	}
	newest := v.newest()
	v.vouched = newest.tree.N
	if err := v.compareWithHashes(ctx); err != nil {
		return Report{}, fmt.Errorf("verify the record: %w", err)
	}
	report.Newest, report.Signer, report.Unsigned = newest.tree.N, newest.signer, v.count-newest.tree.N
	v.checkEnd()
	if err := v.nameOperations(ctx); err != nil {
		return Report{}, fmt.Errorf("verify the record: %w", err)
	}
	report.Vouched, report.Findings = v.vouched, v.sorted()
	return report, nil
}

func (v *verification) found(fault Fault, first, last int64, checkpoint int64, format string, args ...any) {
	v.findings = append(v.findings, Finding{Fault: fault, First: first, Last: last, Checkpoint: checkpoint, Text: fmt.Sprintf(format, args...)})
}

// walk reads all entries, hashes those that stand in their place, and stops
// hashing at the first that does not: from there on no position is certain.
func (v *verification) walk(ctx context.Context) error {
	var stopped Row
	var came bool // the entry that should stand where the walk stopped comes later
	err := v.src.Entries(ctx, func(row Row) error {
		want := v.count + 1
		if v.broken {
			came = came || row.Number == want
			return nil
		}
		if row.Damage != "" || row.Number != want {
			v.broken, stopped = true, row
			return nil
		}
		if !isPlaced(row) {
			v.checkPlace(row)
		}
		v.add(tlog.RecordHash(row.Entry))
		return nil
	})
	if err != nil || !v.broken {
		return err
	}
	want := v.count + 1
	switch {
	case stopped.Damage != "":
		v.found(Unreadable, want, want, 0, "Entry %d cannot be read: %s.", want, stopped.Damage)
	case stopped.Number < 1:
		v.found(Inserted, want, want, 0, "Something with the number %d was put in where entry %d should stand.", stopped.Number, want)
	case stopped.Number < want:
		v.found(Repeated, stopped.Number, stopped.Number, 0, "Entry %d stands in the record twice, the second time after entry %d.", stopped.Number, v.count)
	case came:
		v.found(OutOfOrder, want, want, 0, "Entry %d is out of order: entry %d stands in its place.", want, stopped.Number)
	default:
		v.found(Missing, want, want, 0, "Entry %d is missing: after entry %d comes entry %d.", want, v.count, stopped.Number)
	}
	return nil
}

// checkPlace says what is wrong with an entry that is stored under a number or
// an operation other than it carries.
func (v *verification) checkPlace(row Row) {
	e, err := decode(row.Entry)
	switch {
	case err != nil:
		v.found(Unreadable, row.Number, row.Number, 0, "Entry %d cannot be read: it is not the JSON of an entry.", row.Number)
	case e.Sequence != row.Number:
		v.found(OutOfOrder, row.Number, row.Number, 0, "Entry %d is out of order: what stands in its place says that it is entry %d.", row.Number, e.Sequence)
	case row.Filed && e.Operation != row.Operation:
		v.found(Misfiled, row.Number, row.Number, 0, "Entry %d is filed under operation %q, but it is of operation %q.", row.Number, row.Operation, e.Operation)
	}
}

// add puts the hash of the next entry into the tree, with those of the subtrees
// that it completes. tlog.StoredHashes does the same with six allocations.
func (v *verification) add(hash tlog.Hash) {
	v.computed = append(v.computed, hash)
	for level, n := 0, v.count; n&1 == 1; level, n = level+1, n>>1 {
		left := v.computed[tlog.StoredHashIndex(level, n-1)]
		hash = tlog.NodeHash(left, hash)
		v.computed = append(v.computed, hash)
	}
	v.count++
}

// reader reads hashes out of a slice.
func reader(hashes []tlog.Hash) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index >= int64(len(hashes)) {
				return nil, fmt.Errorf("hash %d is not there", index)
			}
			out[i] = hashes[index]
		}
		return out, nil
	})
}

// check opens one checkpoint, compares it and reports whether it fits.
func (v *verification) check(text, where string, known note.Verifiers) bool {
	c, err := openCheckpoint(text, known)
	if err != nil {
		size, _ := CheckpointSize(text) // 0 when even that cannot be read
		v.found(NotSigned, 0, 0, size, "The checkpoint %s (it says %d entries) has no valid signature by a known key: %v.", where, size, err)
		return false
	}
	if c.tree.N > v.count {
		if c.tree.N > v.beyond.tree.N {
			v.beyond = c
		}
		return false
	}
	hash, err := tlog.TreeHash(c.tree.N, reader(v.computed))
	if err != nil || hash != c.tree.Hash {
		v.misfits = append(v.misfits, c)
		return false
	}
	v.fits = append(v.fits, c)
	return true
}

func bySize(a, b checkpoint) int { return cmp.Compare(a.tree.N, b.tree.N) }

// newest returns the largest checkpoint that fits; a zero one if none does.
func (v *verification) newest() checkpoint {
	if len(v.fits) == 0 {
		return checkpoint{}
	}
	return slices.MaxFunc(v.fits, bySize)
}

// compareWithHashes compares the tree with the stored hashes, and places the
// blame for what does not fit.
func (v *verification) compareWithHashes(ctx context.Context) error {
	stored := make([]tlog.Hash, len(v.computed)) // a zero hash is one that is missing
	top := int64(-1)
	if err := v.src.Hashes(ctx, func(index int64, hash tlog.Hash) error {
		if top = max(top, index); index < int64(len(stored)) {
			stored[index] = hash
		}
		return nil
	}); err != nil {
		return err
	}
	if len(v.misfits) > 0 {
		v.blame(stored)
	}
	v.compare(stored)
	if top >= int64(len(stored)) { // hashes of entries that are not there: as good a witness as the head
		level, n := tlog.SplitStoredHashIndex(top)
		v.kept.Head = max(v.kept.Head, (n+1)<<level)
	}
	return nil
}

// withInner returns the tree's hashes over the entries' own hashes in stored.
func withInner(stored []tlog.Hash) []tlog.Hash {
	t := &verification{computed: make([]tlog.Hash, 0, len(stored))}
	for tlog.StoredHashIndex(0, t.count) < int64(len(stored)) {
		t.add(stored[tlog.StoredHashIndex(0, t.count)])
	}
	return t.computed
}

// compare reports the first entry whose stored hash is not the computed one.
func (v *verification) compare(stored []tlog.Hash) {
	for index, hash := range v.computed {
		if stored[index] == hash {
			continue
		}
		level, n := tlog.SplitStoredHashIndex(int64(index))
		if v.kept.LeavesOnly && level > 0 {
			continue
		}
		first, last := n<<level+1, (n+1)<<level
		v.blameHash(first, last, stored[index] == (tlog.Hash{}))
		return
	}
}

// blameHash decides between an entry and its stored hash: a checkpoint that fits
// vouches for the entries it covers.
func (v *verification) blameHash(first, last int64, missing bool) {
	name := fmt.Sprintf("Entry %d", first)
	if first != last {
		name = fmt.Sprintf("One of the entries %d to %d", first, last)
	}
	state := "was changed"
	if missing {
		state = "is missing"
	}
	newest := v.newest().tree.N
	switch {
	case last <= newest:
		v.found(HashDamaged, first, last, newest, "%s is as signed in checkpoint %d, but its stored hash %s.", name, newest, state)
	case missing && first == last:
		v.found(Inserted, first, last, 0, "%s was put in past the record: it has no stored hash.", name)
	default:
		v.found(Changed, first, last, 0, "%s was changed after it was recorded: its hash is not the stored one.", name)
	}
}

// blame finds the entries that make the smallest misfitting checkpoint misfit.
// Stored hashes that add up to the checkpoint's own hash are as good as signed,
// and so name the entry; otherwise only the fitting checkpoints below bound it.
func (v *verification) blame(stored []tlog.Hash) {
	signed := slices.MinFunc(v.misfits, bySize)
	for _, witness := range [][]tlog.Hash{withInner(stored), stored} {
		first, last, ok := locate(signed.tree, witness, v.computed)
		if !ok {
			continue
		}
		v.vouched = first - 1
		if first == last {
			v.found(Changed, first, last, signed.tree.N, "Entry %d was changed after it was recorded: its hash is not the one in checkpoint %d.", first, signed.tree.N)
			return
		}
		v.found(Changed, first, last, signed.tree.N, "One of the entries %d to %d was changed after it was recorded: their common hash is not the one in checkpoint %d.", first, last, signed.tree.N)
		return
	}
	var below int64
	for _, c := range v.fits {
		if c.tree.N < signed.tree.N {
			below = max(below, c.tree.N)
		}
	}
	v.vouched = below
	first, last := below+1, signed.tree.N
	if newest := v.newest().tree.N; newest >= signed.tree.N {
		v.found(Forked, first, last, signed.tree.N, "Two histories were signed: checkpoint %d fits the record and checkpoint %d does not. The record was rolled back and written anew; the first entry that differs is one of %d to %d.", newest, signed.tree.N, first, last)
		return
	}
	v.found(Changed, first, last, signed.tree.N, "One of the entries %d to %d was changed, or the record was forked before it: checkpoint %d does not fit, and the stored hashes were changed with the entries.", first, last, signed.tree.N)
}

// locate compares two trees of tree.N entries from the top down and returns the
// smallest span of entries in which they first differ. It trusts witness only as
// far as it adds up to tree's hash; ok is false when it does not.
func locate(tree tlog.Tree, witness, computed []tlog.Hash) (first, last int64, ok bool) {
	hash, err := tlog.TreeHash(tree.N, reader(witness))
	if err != nil || hash != tree.Hash {
		return 0, 0, false
	}
	for low := int64(0); low < tree.N; {
		level := bits.Len64(uint64(tree.N-low)) - 1 // the next complete subtree
		index := tlog.StoredHashIndex(level, low>>level)
		if witness[index] != computed[index] {
			first, last = descend(level, low>>level, witness, computed)
			return first, last, true
		}
		low += 1 << level
	}
	return 0, 0, false
}

// descend narrows a subtree that differs down to its first differing part.
func descend(level int, n int64, witness, computed []tlog.Hash) (first, last int64) {
	for level > 0 {
		left, right := tlog.StoredHashIndex(level-1, 2*n), tlog.StoredHashIndex(level-1, 2*n+1)
		if tlog.NodeHash(witness[left], witness[right]) != witness[tlog.StoredHashIndex(level, n)] {
			break // below here the witness does not add up
		}
		level, n = level-1, 2*n
		if witness[left] == computed[left] {
			n++
		}
	}
	return n<<level + 1, (n + 1) << level
}

// checkEnd looks for entries beyond the last and for what vouches for none.
func (v *verification) checkEnd() {
	if v.broken {
		return // the walk's finding says what stands where; there is no last entry
	}
	signed, head := v.beyond.tree.N, v.kept.Head
	switch next := v.count + 1; {
	case signed > v.count:
		v.found(Missing, next, signed, signed, "Entries %d to %d are missing: checkpoint %d was signed, and the record ends with entry %d. It was cut off or rolled back.", next, signed, signed, v.count)
	case head > v.count:
		v.found(Missing, next, head, 0, "Entries %d to %d are missing: the record once had %d entries and ends with entry %d.", next, head, head, v.count)
	case head >= 0 && head < v.count:
		v.found(Inserted, head+1, head+1, 0, "Entry %d was put in past the record, which has %d entries by its own count.", head+1, head)
	}
	if v.count > 0 && len(v.fits)+len(v.misfits) == 0 && signed == 0 {
		v.found(NotSigned, 0, 0, 0, "No signed checkpoint is there: nothing vouches for the %d entries.", v.count)
	}
}

// sorted returns one finding for each first entry, the first broken entry first.
// Where a finding only bounds its entry and another one names an entry within
// those bounds, the named one goes to the front.
func (v *verification) sorted() []Finding {
	out := slices.Clone(v.findings)
	slices.SortStableFunc(out, func(a, b Finding) int {
		if a.First == 0 || b.First == 0 {
			return cmp.Compare(b.First, a.First) // those about no entry come last
		}
		return cmp.Compare(a.First, b.First)
	})
	out = slices.CompactFunc(out, func(a, b Finding) bool { return a.First == b.First && a.First > 0 })
	named := slices.IndexFunc(out, func(f Finding) bool {
		return f.First == f.Last && out[0].First <= f.First && f.First <= out[0].Last
	})
	if named > 0 && out[0].First > 0 {
		first := out[named]
		out = slices.Insert(slices.Delete(out, named, named+1), 0, first)
	}
	return out
}

// nameOperations fills in which operations the findings' first entries are of.
func (v *verification) nameOperations(ctx context.Context) error {
	wanted := map[int64]operation.ID{}
	for _, f := range v.findings {
		wanted[f.First] = ""
	}
	if len(wanted) == 0 {
		return nil
	}
	err := v.src.Entries(ctx, func(row Row) error {
		if _, ok := wanted[row.Number]; !ok || row.Damage != "" {
			return nil
		}
		if e, err := decode(row.Entry); err == nil {
			wanted[row.Number] = e.Operation
		}
		return nil
	})
	for i, f := range v.findings {
		v.findings[i].Operation = wanted[f.First]
	}
	return err
}
