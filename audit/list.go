package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twokey/twokey/operation"
)

// Filter says which entries to list; what is zero does not count.
type Filter struct {
	Operation operation.ID
	Secret    operation.SecretName
	Person    string    // a chat user id, a directory id or a name, as in the entry
	Since     time.Time // entries at this instant or later
}

func (f Filter) fits(e operation.Entry) bool {
	switch {
	case f.Operation != "" && e.Operation != f.Operation:
		return false
	case f.Secret != "" && e.Secret != f.Secret:
		return false
	case f.Person != "" && !isPerson(e.By, f.Person):
		return false
	}
	return !e.At.Before(f.Since)
}

func isPerson(p *operation.Person, who string) bool {
	return p != nil && (string(p.User) == who || string(p.Person) == who || strings.EqualFold(p.Name, who))
}

// Line is one entry of a list, with its JSON as recorded.
type Line struct {
	Entry operation.Entry
	Raw   []byte
}

// List returns the entries that fit the filter, in order. It checks nothing;
// [Verify] does.
func List(ctx context.Context, src Source, f Filter) ([]Line, error) {
	var out []Line
	err := src.Entries(ctx, func(row Row) error {
		if row.Damage != "" {
			return fmt.Errorf("%s; verify the record", row.Damage)
		}
		e, err := decode(row.Entry)
		if err != nil {
			return fmt.Errorf("entry %d: %w; verify the record", row.Number, err)
		}
		if f.fits(e) {
			out = append(out, Line{Entry: e, Raw: bytes.Clone(row.Entry)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the record: %w", err)
	}
	return out, nil
}

// WriteList writes entries as a table.
func WriteList(w io.Writer, lines []Line) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ENTRY\tTIME (UTC)\tOPERATION\tSECRET\tWHO\tWHAT\tOUTCOME\tTEXT") //nolint:errcheck // Flush tells it
	for _, line := range lines {
		e := line.Entry
		cells := []string{string(e.Operation), string(e.Secret), who(e.By), what(e), string(e.Outcome), e.Text}
		for i, cell := range cells {
			cells[i] = plain(cell)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", e.Sequence, e.At.UTC().Format(time.DateTime), strings.Join(cells, "\t")) //nolint:errcheck // Flush tells it
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return nil
}

func who(p *operation.Person) string {
	switch {
	case p == nil:
		return "twokey"
	case p.Name != "":
		return p.Name
	default:
		return string(p.User)
	}
}

// what names what happened: the step, or else the event, or the refusing rule.
func what(e operation.Entry) string {
	switch {
	case e.Step != "":
		return e.Step
	case e.Event != "":
		return string(e.Event)
	default:
		return string(e.Code)
	}
}

// WriteListJSON writes entries as JSON lines, each exactly as it was recorded.
func WriteListJSON(w io.Writer, lines []Line) error {
	for _, line := range lines {
		if _, err := w.Write(append(bytes.Clone(line.Raw), '\n')); err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
	}
	return nil
}
