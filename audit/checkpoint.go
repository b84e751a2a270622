package audit

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkpoint is a signed tree head whose signature was verified.
type checkpoint struct {
	tree   tlog.Tree
	signer string // the key's name
}

// openCheckpoint verifies a checkpoint's signature and reads it.
func openCheckpoint(text string, known note.Verifiers) (checkpoint, error) {
	n, err := note.Open([]byte(text), known)
	if err != nil {
		return checkpoint{}, fmt.Errorf("open a checkpoint: %w", err)
	}
	tree, err := tlog.ParseTree([]byte(n.Text))
	if err != nil {
		return checkpoint{}, fmt.Errorf("open a checkpoint: %w", err)
	}
	// Longer notes would be something else signed with this key.
	if string(tlog.FormatTree(tree)) != n.Text {
		return checkpoint{}, errors.New("open a checkpoint: it has more lines than a tree head")
	}
	return checkpoint{tree: tree, signer: n.Sigs[0].Name}, nil
}

// CheckpointSize returns how many entries a checkpoint says it covers. It checks
// no signature.
func CheckpointSize(text string) (int64, error) {
	tree, err := tlog.ParseTree([]byte(text))
	if err != nil {
		return 0, fmt.Errorf("read a checkpoint: %w", err)
	}
	return tree.N, nil
}

// FindCheckpoints picks the checkpoints out of text copied from the channel:
// with other messages around them, code fences, indentation or lost line ends.
// It checks no signature.
func FindCheckpoints(text string) []string {
	const header = "go.sum database tree"
	const dash = "— " // begins a signature line
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimFunc(line, func(r rune) bool { return r == '`' || unicode.IsSpace(r) })
	}
	var found []string
	for i, line := range lines {
		if line != header {
			continue
		}
		// header, size, hash, empty line, then one or more signatures
		end := i + 4
		for end < len(lines) && strings.HasPrefix(lines[end], dash) {
			end++
		}
		if end > i+4 {
			found = append(found, strings.Join(lines[i:end], "\n")+"\n")
		}
	}
	return found
}
