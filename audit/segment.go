package audit

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/twokey/twokey/operation"
)

// WriteSegment writes the record so that a part of it can be checked without the
// rest: as JSON lines, in order, {"entry":{…},"hash":"…"} for each entry that keep
// wants and {"hash":"…"} for the others. The hashes are computed from the entries, and
// together they give the hash of every signed checkpoint: nothing can be left out of
// the part, or put into it, without that showing.
func WriteSegment(ctx context.Context, w io.Writer, src Source, keep func(operation.Entry) bool) error {
	out := bufio.NewWriter(w)
	err := src.Entries(ctx, func(row Row) error {
		if row.Damage != "" {
			return fmt.Errorf("%s; verify the record", row.Damage)
		}
		e, err := decode(row.Entry)
		if err != nil {
			return fmt.Errorf("entry %d: %w; verify the record", row.Number, err)
		}
		// Errors stay in the writer until Flush.
		if keep(e) {
			_, _ = out.WriteString(entryStart)
			_, _ = out.Write(row.Entry)
			_, _ = out.WriteString(hashStart)
		} else {
			_, _ = out.WriteString(`{"hash":"`)
		}
		_, _ = out.WriteString(tlog.RecordHash(row.Entry).String() + hashEnd + "\n")
		return nil
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("write a part of the record: %w", err)
	}
	return nil
}

// Sign signs a text that is no checkpoint. The text must end with a line end.
func (k Key) Sign(text string) (string, error) {
	if _, err := tlog.ParseTree([]byte(text)); err == nil {
		return "", fmt.Errorf("sign a text: it is a checkpoint, and those are signed by the record alone")
	}
	signed, err := note.Sign(&note.Note{Text: text}, k.signer)
	if err != nil {
		return "", fmt.Errorf("sign a text: %w", err)
	}
	return string(signed), nil
}
