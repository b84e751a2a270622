package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/twokey/twokey/operation"
)

// An export is JSON lines. One line an entry, {"entry":{…},"hash":"…"}, where the
// entry's bytes are exactly those that were hashed; then one line a checkpoint,
// {"checkpoint":"…","channel":"…","message":"…"}.
const (
	entryStart = `{"entry":`
	hashStart  = `,"hash":"`
	hashEnd    = `"}`
	hashText   = 44 // a hash in base64
)

// checkpointLine is an export's line of a checkpoint.
type checkpointLine struct {
	Checkpoint string              `json:"checkpoint"`
	Channel    operation.ChannelID `json:"channel,omitempty"`
	Message    operation.MessageID `json:"message,omitempty"`
}

// WriteExport writes the whole record as JSON lines, with the stored hashes and
// the kept checkpoints, as it lies there: exporting repairs nothing and hides
// nothing. It fails if an entry has no stored hash.
func WriteExport(ctx context.Context, w io.Writer, src Source) error {
	leaves, err := storedLeaves(ctx, src)
	if err != nil {
		return fmt.Errorf("export the record: %w", err)
	}
	out := bufio.NewWriter(w)
	err = src.Entries(ctx, func(row Row) error {
		hash, ok := leaves[row.Number]
		if !ok {
			return fmt.Errorf("entry %d has no stored hash; verify the database itself", row.Number)
		}
		if row.Damage != "" || bytes.ContainsAny(row.Entry, "\r\n") {
			return fmt.Errorf("entry %d is not one line of JSON; verify the database itself", row.Number)
		}
		// Errors stay in the writer until Flush.
		_, _ = out.WriteString(entryStart)
		_, _ = out.Write(row.Entry)
		_, _ = out.WriteString(hashStart)
		_, _ = out.WriteString(hash.String())
		_, _ = out.WriteString(hashEnd + "\n")
		return nil
	})
	if err != nil {
		return fmt.Errorf("export the record: %w", err)
	}
	kept, err := src.Kept(ctx)
	if err != nil {
		return fmt.Errorf("export the record: %w", err)
	}
	lines := json.NewEncoder(out)
	for _, c := range kept.Checkpoints {
		if err := lines.Encode(checkpointLine{c.Note, c.Channel, c.Message}); err != nil {
			return fmt.Errorf("export the record: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export the record: %w", err)
	}
	return nil
}

// storedLeaves returns the stored hash of each entry, by the entry's number.
func storedLeaves(ctx context.Context, src Source) (map[int64]tlog.Hash, error) {
	leaves := map[int64]tlog.Hash{}
	err := src.Hashes(ctx, func(index int64, hash tlog.Hash) error {
		if level, n := tlog.SplitStoredHashIndex(index); level == 0 {
			leaves[n+1] = hash
		}
		return nil
	})
	return leaves, err
}

// Export is an exported record, read back.
type Export struct {
	rows   []Row
	leaves []tlog.Hash // of each row; zero where it could not be read
	kept   Kept
}

// ParseExport takes an exported record apart, without copying it. Lines that are
// none of an export are kept as damaged entries, for [Verify] to name.
func ParseExport(text []byte) *Export {
	lines := bytes.Count(text, []byte("\n")) + 1
	e := &Export{rows: make([]Row, 0, lines), leaves: make([]tlog.Hash, 0, lines), kept: Kept{Head: -1, LeavesOnly: true}}
	for number := 1; len(text) > 0; number++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			continue
		}
		if bytes.HasPrefix(line, []byte(`{"checkpoint":`)) {
			e.addCheckpoint(line, number)
			continue
		}
		row, hash, err := parseEntryLine(line)
		if err != nil {
			row.Damage = fmt.Sprintf("line %d of the export: %v", number, err)
		}
		e.rows = append(e.rows, row)
		e.leaves = append(e.leaves, hash)
	}
	return e
}

func (e *Export) addCheckpoint(line []byte, number int) {
	var c checkpointLine
	err := json.Unmarshal(line, &c)
	size, sizeErr := CheckpointSize(c.Checkpoint)
	if err := errors.Join(err, sizeErr); err != nil {
		e.rows = append(e.rows, Row{Entry: line, Damage: fmt.Sprintf("line %d of the export: not a checkpoint", number)})
		e.leaves = append(e.leaves, tlog.Hash{})
		return
	}
	e.kept.Checkpoints = append(e.kept.Checkpoints, KeptCheckpoint{size, c.Checkpoint, c.Channel, c.Message})
}

// parseEntryLine takes an entry's line apart without touching the entry's bytes.
func parseEntryLine(line []byte) (Row, tlog.Hash, error) {
	row := Row{Entry: line}
	rest, ok := bytes.CutPrefix(line, []byte(entryStart))
	cut := len(rest) - len(hashStart) - hashText - len(hashEnd)
	if !ok || cut < 0 || !bytes.HasPrefix(rest[cut:], []byte(hashStart)) || !bytes.HasSuffix(rest, []byte(hashEnd)) {
		return row, tlog.Hash{}, errors.New("not an entry with its hash")
	}
	var decoded [hashText]byte // tlog.ParseHash allocates twice
	n, err := base64.StdEncoding.Decode(decoded[:], rest[cut+len(hashStart):len(rest)-len(hashEnd)])
	if err != nil || n != tlog.HashSize {
		return row, tlog.Hash{}, errors.New("its hash is none")
	}
	row.Entry = rest[:cut]
	row.Number, err = numberOf(row.Entry)
	return row, tlog.Hash(decoded[:n]), err
}

// numberOf reads the number that an entry carries.
func numberOf(raw []byte) (int64, error) {
	if rest, ok := bytes.CutPrefix(raw, []byte(`{"seq":`)); ok {
		if digits, _, ok := bytes.Cut(rest, []byte(`,"at":"`)); ok {
			if n, err := strconv.ParseInt(string(digits), 10, 64); err == nil {
				return n, nil
			}
		}
	}
	e, err := decode(raw)
	return e.Sequence, err
}

// Entries implements [Source].
func (e *Export) Entries(_ context.Context, visit func(Row) error) error {
	for _, row := range e.rows {
		if err := visit(row); err != nil {
			return err
		}
	}
	return nil
}

// Hashes implements [Source]. The hashes are those of the lines, in their order.
func (e *Export) Hashes(_ context.Context, visit func(int64, tlog.Hash) error) error {
	for i, hash := range e.leaves {
		if err := visit(tlog.StoredHashIndex(0, int64(i)), hash); err != nil {
			return err
		}
	}
	return nil
}

// Kept implements [Source].
func (e *Export) Kept(context.Context) (Kept, error) { return e.kept, nil }

// Close implements [io.Closer]; an export is in memory.
func (e *Export) Close() error { return nil }
