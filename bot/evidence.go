package bot

import (
	"strings"

	"github.com/twokey/twokey/operation"
)

// bullet begins a line of evidence that is one of a list.
const bullet = "• "

// evidence shows what a step found, line by line: lists as lists.
func (b *builder) evidence(text string) {
	var items []line
	var open []paragraph
	flush := func() {
		if len(open) > 0 {
			b.paragraphs(open...)
		}
		if len(items) > 0 {
			b.list(items)
		}
		open, items = nil, nil
	}
	for text := range strings.Lines(text) {
		text = strings.TrimRight(text, "\n")
		item, isItem := strings.CutPrefix(text, bullet)
		if isItem != (len(items) > 0) {
			flush()
		}
		if isItem {
			items = append(items, marked(item))
		} else if text != "" {
			open = append(open, paragraph{line: marked(text)})
		}
	}
	flush()
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
