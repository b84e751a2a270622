package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/evidence/checker"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Operations reads operations.
type Operations interface {
	// Operation returns operation.ErrUnknown when there is none.
	Operation(ctx context.Context, id operation.ID) (operation.Operation, error)
}

// Signer signs the manifest with the record's key.
type Signer interface {
	Sign(text string) (string, error)
}

// Material is what evidence is drawn from.
type Material struct {
	From, To time.Time // the window: From is in it, To is not
	At       time.Time // when it is written
	Targets  []runbook.Target
	// Inventory is as of At: it tells nothing of the window.
	Inventory  inventory.Inventory
	Record     audit.Source
	Operations Operations
	Verifier   string // the lines of the key that signed the record, and of those before it
	Signer     Signer
}

// drawn is what the record has about the window.
type drawn struct {
	Material
	operations []operation.Operation // that something happened to in the window, oldest first
	entries    []operation.Entry     // of them all, and all others of the window, in order
	refusals   []operation.Entry     // of the window
	steps      []operation.Entry     // steps and undos of the operations
	found      []operation.Entry     // what checks and sweeps found in the window, and what was closed
	total      int                   // entries of the whole record
}

// Write writes the evidence into dir, which must be empty or not there yet.
func Write(ctx context.Context, dir string, m Material) error {
	if err := emptyFolder(dir); err != nil {
		return err
	}
	d, err := draw(ctx, m)
	if err != nil {
		return err
	}
	files, err := d.files(ctx)
	if err != nil {
		return err
	}
	var manifest strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(&manifest, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	files["MANIFEST.sha256"] = []byte(manifest.String())
	sum := sha256.Sum256([]byte(manifest.String()))
	signed, err := m.Signer.Sign("twokey evidence\n" + hex.EncodeToString(sum[:]) + "\n")
	if err != nil {
		return fmt.Errorf("sign the manifest: %w", err)
	}
	files["MANIFEST.sig"] = []byte(signed)
	for name, body := range files {
		// It names people, so it is for whoever it is given to.
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			return fmt.Errorf("write the evidence: %w", err)
		}
	}
	return nil
}

// emptyFolder makes the folder. Older evidence in it would pass for new.
func emptyFolder(dir string) error {
	there, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the folder for the evidence: %w", err)
		}
	case err != nil:
		return fmt.Errorf("look into the folder for the evidence: %w", err)
	case len(there) > 0:
		return operation.Refuse("not_empty", "%s is not empty. Name a folder that is, or one that is not there yet.", dir)
	}
	return nil
}

// draw reads what happened in the window. All that is told of an operation is its
// whole story, also what lies before and after the window.
func draw(ctx context.Context, m Material) (*drawn, error) {
	d := &drawn{Material: m}
	lines, err := audit.List(ctx, m.Record, audit.Filter{})
	if err != nil {
		return nil, err
	}
	d.total = len(lines)
	touched := map[operation.ID]bool{}
	for _, l := range lines {
		if d.inWindow(l.Entry) && l.Entry.Operation != "" {
			touched[l.Entry.Operation] = true
		}
	}
	for _, l := range lines {
		e := l.Entry
		if !d.inWindow(e) && !touched[e.Operation] {
			continue
		}
		d.entries = append(d.entries, e)
		switch {
		case e.Outcome == operation.Refused && d.inWindow(e):
			d.refusals = append(d.refusals, e)
		case (e.Step == operation.StepLeftover || e.Step == operation.StepLeftoverGone) && d.inWindow(e):
			d.found = append(d.found, e)
		case e.Step != "" && e.Operation != "":
			d.steps = append(d.steps, e)
		}
		if e.Event == operation.Request && e.Outcome == operation.Asked {
			op, err := m.Operations.Operation(ctx, e.Operation)
			if err != nil {
				return nil, fmt.Errorf("read operation %s, which entry %d of the record asked for: %w", e.Operation, e.Sequence, err)
			}
			d.operations = append(d.operations, op)
		}
	}
	return d, nil
}

func (d *drawn) inWindow(e operation.Entry) bool { return !e.At.Before(d.From) && e.At.Before(d.To) }

// files is everything but the manifest, by name.
func (d *drawn) files(ctx context.Context) (map[string][]byte, error) {
	files := map[string][]byte{
		"README.md": d.readme(), "operations.md": d.story(), "verifier.pub": []byte(d.Verifier),
		"check.go": []byte(checker.Program()), "check.sh": []byte(checkScript),
	}
	shown := map[int64]bool{}
	for _, e := range d.entries {
		shown[e.Sequence] = true
	}
	var record bytes.Buffer
	if err := audit.WriteSegment(ctx, &record, d.Record, func(e operation.Entry) bool { return shown[e.Sequence] }); err != nil {
		return nil, err
	}
	files["record.jsonl"] = record.Bytes()
	kept, err := d.Record.Kept(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the record's checkpoints: %w", err)
	}
	var notes []string
	for _, c := range kept.Checkpoints {
		notes = append(notes, strings.TrimRight(c.Note, "\n"))
	}
	files["checkpoints.txt"] = []byte(strings.Join(notes, "\n\n\n") + "\n")
	for name, rows := range map[string][][]string{
		"inventory.csv": d.inventoryRows(), "access.csv": d.accessRows(), "operations.csv": operationRows(d.operations),
		"drills.csv": operationRows(drills(d.operations)), "steps.csv": entryRows(d.steps), "refusals.csv": entryRows(d.refusals), "findings.csv": d.findingRows(),
		"findings-over-time.csv": entryRows(d.found),
	} {
		if files[name], err = table(rows); err != nil {
			return nil, err
		}
	}
	for name, v := range map[string]any{
		"inventory.json": d.Inventory, "operations.json": orEmpty(d.operations), "steps.json": orEmpty(d.steps), "refusals.json": orEmpty(d.refusals),
	} {
		if files[name], err = json.MarshalIndent(v, "", "  "); err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		files[name] = append(files[name], '\n')
	}
	return files, nil
}

// orEmpty makes [] of nothing, where JSON would have null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func drills(all []operation.Operation) []operation.Operation {
	return slices.DeleteFunc(slices.Clone(all), func(op operation.Operation) bool { return !op.Drill() })
}

// checkScript is for auditors without Go: it finds a changed file, and leaves the
// signatures to check.go.
const checkScript = `#!/bin/sh
# Compares every file of this folder with the manifest. Exit code 0: all are as they
# were written. It checks no signature; for that and for the record itself, with Go:
#   go run check.go [verifier key]
cd "$(dirname "$0")" || exit 1
sha256sum -c MANIFEST.sha256 || exit 1
for f in *; do
  case "$f" in MANIFEST.sha256|MANIFEST.sig) continue ;; esac
  grep -q "  $f\$" MANIFEST.sha256 || { echo "$f was put in: the manifest does not name it"; exit 1; }
done
echo "All files are those of the manifest."
`
