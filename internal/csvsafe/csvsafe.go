// Package csvsafe writes tables that people open in spreadsheets, whatever texts
// strangers chose to put into them.
package csvsafe

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// Table writes rows as RFC 4180 has it, with CRLF ends, and every cell made
// harmless. The same rows give the same bytes. The rows themselves stay as they
// are.
func Table(rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	for _, row := range rows {
		safe := make([]string, len(row))
		for i, cell := range row {
			safe[i] = Cell(cell)
		}
		if err := w.Write(safe); err != nil {
			return nil, fmt.Errorf("write a line of CSV: %w", err)
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("write CSV: %w", err)
	}
	return b.Bytes(), nil
}

// Cell keeps spreadsheets from taking a cell for a formula: those that begin
// like one, in the full-width forms too and behind whatever cannot be seen, get
// an apostrophe before them. A number stays one, whatever its sign.
func Cell(cell string) string {
	if regexp.MustCompile(`^-[0-9]+$`).MatchString(cell) {
		return cell
	}
	seen := strings.TrimLeftFunc(cell, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) })
	if strings.IndexAny(seen, "=+-@＝＋－＠") == 0 {
		return "'" + cell
	}
	return cell
}
