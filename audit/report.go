package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteReport writes a report as sentences for a person: one line if the record
// is whole; otherwise the first broken entry first, and what else was found.
func WriteReport(w io.Writer, r Report) error {
	var b strings.Builder
	if r.Whole() {
		b.WriteString("The record is whole: " + count(r.Entries, "entry", "entries"))
		if r.Newest > 0 {
			fmt.Fprintf(&b, ", checkpoint %d signed by %s", r.Newest, r.Signer)
		}
		if r.Posted > 0 {
			fmt.Fprintf(&b, ", %s", agree(r.Posted))
		}
		b.WriteString(".\n")
		if r.Unsigned > 0 {
			fmt.Fprintf(&b, "The newest %s not under a signed checkpoint yet.\n", isOrAre(r.Unsigned))
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
	b.WriteString("The record is broken.\n")
	for _, f := range r.Findings {
		b.WriteString(f.Sentence() + "\n")
	}
	if r.Vouched > 0 {
		fmt.Fprintf(&b, "The entries up to %d are as they were signed.\n", r.Vouched)
	}
	if first := r.Findings[0].First; first > r.Vouched+1 {
		fmt.Fprintf(&b, "From entry %d to %d only the stored hashes say that nothing was changed; no checkpoint that is given does.\n", r.Vouched+1, first-1)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Sentence returns the finding as a sentence that names the operation too.
func (f Finding) Sentence() string {
	text := plain(f.Text)
	name := fmt.Sprintf("Entry %d ", f.First)
	if rest, ok := strings.CutPrefix(text, name); ok && f.Operation != "" {
		return fmt.Sprintf("%s(operation %s) %s", name, plain(string(f.Operation)), rest)
	}
	return text
}

// WriteReportJSON writes a report as one JSON object.
func WriteReportJSON(w io.Writer, r Report) error {
	lines := json.NewEncoder(w)
	lines.SetIndent("", "  ")
	return lines.Encode(r)
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func agree(n int) string {
	if n == 1 {
		return "1 posted checkpoint agrees"
	}
	return fmt.Sprintf("%d posted checkpoints agree", n)
}

func isOrAre(n int64) string {
	if n == 1 {
		return "entry is"
	}
	return fmt.Sprintf("%d entries are", n)
}

// plain makes text from a record that may be forged safe for a terminal: control
// characters become spaces.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return ' '
		}
		return r
	}, text)
}
