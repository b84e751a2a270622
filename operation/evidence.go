package operation

import "strings"

// Row is a line of a table in an evidence, as Markdown has it. The first of
// consecutive rows is the table's header; an evidence holds one table at most.
func Row(cells ...string) string {
	escaped := make([]string, len(cells))
	for i, c := range cells {
		escaped[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	return "| " + strings.Join(escaped, " | ") + " |"
}

// Cells takes a row of an evidence's table apart, and reports whether the line is
// one.
func Cells(line string) ([]string, bool) {
	inner, begins := strings.CutPrefix(strings.TrimRight(line, "\n"), "| ")
	inner, ends := strings.CutSuffix(inner, " |")
	if !begins || !ends {
		return nil, false
	}
	cells := strings.Split(inner, " | ")
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, `\|`, "|")
	}
	return cells, true
}
