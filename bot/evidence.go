package bot

import (
	"strings"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// bullet begins a line of evidence that is one of a list.
const bullet = "• "

// evidence shows what a step found, line by line: lists as lists, and rows as a
// table.
func (b *builder) evidence(text string) {
	var items []line
	var rows [][]string
	var open []paragraph
	flush := func() {
		switch {
		case len(open) > 0:
			b.paragraphs(open...)
		case len(items) > 0:
			b.list(items)
		case len(rows) > 0:
			b.table(rows)
		}
		open, items, rows = nil, nil, nil
	}
	for text := range strings.Lines(text) {
		text = strings.TrimRight(text, "\n")
		item, isItem := strings.CutPrefix(text, bullet)
		cells, isRow := operation.Cells(text)
		if isItem != (len(items) > 0) || isRow != (len(rows) > 0) {
			flush()
		}
		switch {
		case isItem:
			items = append(items, marked(item))
		case isRow:
			rows = append(rows, cells)
		case text != "":
			open = append(open, paragraph{line: marked(text)})
		}
	}
	flush()
}

// table adds rows of which the first is the header. Read out, each is a line.
func (b *builder) table(rows [][]string) {
	t := slack.NewTableBlock("")
	for range rows[0] {
		t.ColumnSettings = append(t.ColumnSettings, slack.ColumnSetting{Align: slack.ColumnAlignmentLeft, IsWrapped: true})
	}
	for i, row := range rows {
		var cells []slack.TableCell
		var read []string
		for _, text := range row {
			cell := marked(text)
			if i == 0 {
				cell = line{bold(text)}
			}
			cells = append(cells, slack.NewTableRichTextCell(slack.NewRichTextSection(cell.rich()...)))
			read = append(read, cell.read())
		}
		t.AddRow(cells...)
		b.text = append(b.text, "- "+strings.Join(read, "; "))
	}
	b.add(t)
}

// Findings shows what somebody had looked up.
func Findings(text string) Message {
	b := builder{}
	head, rest, _ := strings.Cut(plain(text, maxSection), "\n")
	b.lines(append(line{sign("mag")}, bold(head)))
	b.evidence(rest)
	return b.message("")
}

// manyLines reports whether an entry's text is a step's evidence of several lines.
func manyLines(e operation.Entry) bool {
	return e.Outcome == operation.Verified && strings.Contains(e.Text, "\n")
}
