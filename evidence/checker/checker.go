// Package checker checks a folder of evidence with nothing but Go's standard library.
// This file is also written into each folder, as check.go, so that whoever audits it
// can read what is checked and run it without twokey:
//
//	go run check.go [verifier key]
//
// What is checked:
//  1. every file is the one that MANIFEST.sha256 names, and no other file is there;
//  2. MANIFEST.sig signs that manifest;
//  3. the record in record.jsonl gives the hash of every checkpoint in checkpoints.txt,
//     and these are signed: no entry was changed, left out or put in;
//  4. operations.json, steps.json and refusals.json say what the record says, and no
//     operation was confirmed by the person who asked for it.
package checker

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Main checks the folder dir and returns an exit code: 0 only if all is as it was
// written. The verifier key is the line that begins with the record's name; without
// one the folder's own is used, which proves less.
func Main(dir, verifier string, out io.Writer) int {
	c := &check{dir: dir, out: out}
	c.verifiers(verifier)
	c.files()
	c.manifest()
	c.record()
	c.tables()
	if c.wrong > 0 {
		c.say("NOT AS IT WAS WRITTEN: %d findings.", c.wrong)
		return 1
	}
	c.say("All is as it was written and signed.")
	return 0
}

type check struct {
	dir     string
	out     io.Writer
	wrong   int
	keys    []key
	entries map[int64]json.RawMessage // those that record.jsonl shows, by number
	leaves  [][sha256.Size]byte       // the hash of every entry, shown or not
}

func (c *check) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", args...) // who closes the output does not want it
}

// bad is something that is not as it was written.
func (c *check) bad(format string, args ...any) {
	c.wrong++
	c.say("WRONG: "+format, args...)
}

func (c *check) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.bad("%s cannot be read: %v", name, err)
	}
	return b
}

// key is the public half of a key that signs, "name+hash+base64".
type key struct {
	name   string
	hash   []byte // 4 bytes, which stand in each signature
	public ed25519.PublicKey
}

func parseKey(line string) (key, error) {
	parts := strings.SplitN(strings.TrimSpace(line), "+", 3)
	if len(parts) != 3 {
		return key{}, errors.New("it is not name+hash+key")
	}
	hash, err1 := hex.DecodeString(parts[1])
	public, err2 := base64.StdEncoding.DecodeString(parts[2])
	if err := errors.Join(err1, err2); err != nil || len(hash) != 4 || len(public) != 1+ed25519.PublicKeySize || public[0] != 1 {
		return key{}, errors.New("it is no Ed25519 key")
	}
	return key{parts[0], hash, public[1:]}, nil
}

func (c *check) verifiers(given string) {
	text := given
	if given == "" {
		text = string(c.read("verifier.pub"))
		c.say("No verifier key was given, so the folder's own is used. Compare it with the one that you have from elsewhere:\n%s", strings.TrimSpace(text))
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			c.bad("the verifier key %q cannot be used: %v", line, err)
			continue
		}
		c.keys = append(c.keys, k)
	}
}

// signed returns the text of a signed note, or says why it is not signed.
func (c *check) signed(note string) (string, error) {
	i := strings.LastIndex(note, "\n\n")
	if i < 0 {
		return "", errors.New("it has no signature")
	}
	text := note[:i+1]
	var holds bool
	for line := range strings.Lines(note[i+2:]) {
		name, encoded, ok := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— "), " ")
		signature, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || !strings.HasPrefix(line, "— ") || !strings.HasSuffix(line, "\n") || len(signature) != 4+ed25519.SignatureSize {
			return "", fmt.Errorf("%q is no signature", line)
		}
		for _, k := range c.keys {
			holds = holds || k.name == name && bytes.Equal(k.hash, signature[:4]) && ed25519.Verify(k.public, []byte(text), signature[4:])
		}
	}
	if holds {
		return text, nil
	}
	return "", errors.New("no known key has signed it")
}

// files compares each file with the manifest.
func (c *check) files() {
	listed := map[string]bool{"MANIFEST.sha256": true, "MANIFEST.sig": true}
	for line := range strings.Lines(string(c.read("MANIFEST.sha256"))) {
		want, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "  ")
		if !ok || !filepath.IsLocal(name) {
			c.bad("MANIFEST.sha256 has a line that names no file: %q", line)
			continue
		}
		listed[name] = true
		if sum := sha256.Sum256(c.read(name)); hex.EncodeToString(sum[:]) != want {
			c.bad("%s is not the file that was written", name)
		}
	}
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(c.dir, path)
		if err == nil && !listed[filepath.ToSlash(name)] {
			c.bad("%s was put in: the manifest does not name it", name)
		}
		return err
	})
	if err != nil {
		c.bad("the folder cannot be read: %v", err)
	}
	c.say("%d files are compared with the manifest.", len(listed)-2)
}

// manifest checks its signature.
func (c *check) manifest() {
	note, err := os.ReadFile(filepath.Join(c.dir, "MANIFEST.sig"))
	if errors.Is(err, fs.ErrNotExist) {
		c.bad("MANIFEST.sig is missing: nobody has signed for these files")
		return
	}
	text, err := c.signed(string(note))
	sum := sha256.Sum256(c.read("MANIFEST.sha256"))
	switch {
	case err != nil:
		c.bad("MANIFEST.sig does not hold: %v", err)
	case text != "twokey evidence\n"+hex.EncodeToString(sum[:])+"\n":
		c.bad("MANIFEST.sig is for another manifest")
	default:
		c.say("The manifest is signed.")
	}
}

// line is one line of record.jsonl.
type line struct {
	Entry json.RawMessage `json:"entry"`
	Hash  string          `json:"hash"`
}

// record computes the record's hashes anew and compares them with the checkpoints.
func (c *check) record() {
	c.entries = map[int64]json.RawMessage{}
	lines := bufio.NewScanner(bytes.NewReader(c.read("record.jsonl")))
	lines.Buffer(nil, 16<<20)
	for n := int64(1); lines.Scan(); n++ {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			c.bad("entry %d of the record cannot be read: %v", n, err)
		}
		hash, err := base64.StdEncoding.DecodeString(l.Hash)
		if err != nil || len(hash) != sha256.Size {
			c.bad("entry %d of the record has no hash", n)
			hash = make([]byte, sha256.Size)
		}
		if l.Entry != nil {
			if own := sha256.Sum256(append([]byte{0}, l.Entry...)); !bytes.Equal(own[:], hash) {
				c.bad("entry %d of the record is not the one that was recorded", n)
			}
			c.entries[n] = l.Entry
		}
		c.leaves = append(c.leaves, [sha256.Size]byte(hash))
	}
	if err := lines.Err(); err != nil {
		c.bad("record.jsonl cannot be read: %v", err)
	}
	covered := 0
	notes := strings.Split(string(c.read("checkpoints.txt")), "\n\n\n")
	for i, note := range notes {
		if note = strings.TrimLeft(note, "\n"); strings.TrimSpace(note) == "" {
			continue
		}
		covered = max(covered, c.checkpoint(i+1, strings.TrimRight(note, "\n")+"\n"))
	}
	if covered == 0 {
		c.bad("no checkpoint vouches for the record")
	} else {
		c.say("The record has %d entries, %d of them shown here; signed checkpoints vouch for the first %d.", len(c.leaves), len(c.entries), covered)
	}
}

// checkpoint checks a signed head of the record and returns how many entries it covers.
func (c *check) checkpoint(number int, note string) int {
	text, err := c.signed(note)
	if err != nil {
		c.bad("checkpoint %d does not hold: %v", number, err)
		return 0
	}
	parts := strings.Split(text, "\n") // "go.sum database tree", size, hash, ""
	if len(parts) != 4 || parts[0] != "go.sum database tree" {
		c.bad("checkpoint %d is something else that was signed", number)
		return 0
	}
	size, err := strconv.Atoi(parts[1])
	if err != nil || size < 1 || size > len(c.leaves) {
		c.bad("checkpoint %d covers %s entries, and the record has %d", number, parts[1], len(c.leaves))
		return 0
	}
	root := tree(c.leaves[:size])
	if base64.StdEncoding.EncodeToString(root[:]) != parts[2] {
		c.bad("the first %d entries of the record are not those that were signed", size)
		return 0
	}
	return size
}

// tree is the Merkle tree hash of RFC 6962, section 2.1.
func tree(leaves [][sha256.Size]byte) [sha256.Size]byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := tree(leaves[:k]), tree(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

// entry is what is compared of an entry.
type entry struct {
	Operation       string `json:"operation"`
	Event           string `json:"event"`
	Outcome         string `json:"outcome"`
	ChangeReference string `json:"change_reference"`
	By              *struct {
		Person string `json:"person"`
	} `json:"by"`
}

// operation is what is compared of an operation.
type operation struct {
	ID              string `json:"id"`
	ChangeReference string `json:"change_reference"`
	Requester       struct {
		Person string `json:"person"`
	} `json:"requester"`
	Approver struct {
		Person string `json:"person"`
	} `json:"approver"`
}

// tables compares what was drawn from the record with the record.
func (c *check) tables() {
	for _, name := range []string{"steps.json", "refusals.json"} {
		var rows []json.RawMessage
		if err := json.Unmarshal(c.read(name), &rows); err != nil {
			c.bad("%s cannot be read: %v", name, err)
		}
		for _, row := range rows {
			var number struct {
				Sequence int64 `json:"seq"`
			}
			if err := json.Unmarshal(row, &number); err != nil || !same(row, c.entries[number.Sequence]) {
				c.bad("%s: entry %d is not in the record as it stands here", name, number.Sequence)
			}
		}
		c.say("%s: %d entries are compared with the record.", name, len(rows))
	}
	var operations []operation
	if err := json.Unmarshal(c.read("operations.json"), &operations); err != nil {
		c.bad("operations.json cannot be read: %v", err)
	}
	for _, op := range operations {
		c.operation(op)
	}
	c.say("operations.json: %d operations are compared with the record.", len(operations))
}

// operation compares who asked and who confirmed, and for which change.
func (c *check) operation(op operation) {
	var asked, confirmed, change string
	for _, n := range slices.Sorted(numbers(c.entries)) {
		var e entry
		if err := json.Unmarshal(c.entries[n], &e); err != nil || e.Operation != op.ID || e.Outcome == "refused" || e.By == nil {
			continue
		}
		switch {
		case e.Event == "request":
			asked, change = e.By.Person, e.ChangeReference
		case e.Event == "confirm":
			confirmed = e.By.Person
		case e.Event == "" && e.ChangeReference != "":
			change = e.ChangeReference
		}
	}
	switch {
	case asked == "" || asked != op.Requester.Person:
		c.bad("operation %s: the record names another person as the one who asked", op.ID)
	case confirmed != op.Approver.Person:
		c.bad("operation %s: the record names another person as the one who confirmed", op.ID)
	case confirmed == asked:
		c.bad("operation %s: one person asked and confirmed", op.ID)
	case change != op.ChangeReference:
		c.bad("operation %s: the record has the change %q", op.ID, change)
	}
}

func numbers(entries map[int64]json.RawMessage) func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		for n := range entries {
			if !yield(n) {
				return
			}
		}
	}
}

// same reports whether two JSON texts say the same, however they are indented.
func same(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
