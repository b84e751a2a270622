package exposure

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Group is events that differ in their time alone.
type Group struct {
	Event           // the first of them
	Last  time.Time // when the last happened
	Count int
}

// Groups puts like events together: those that stand out first, then what
// somebody has to know, then what is expected; each in order of time.
func (f Findings) Groups() []Group {
	type key struct {
		source                            Source
		what, who, address, resource, why string
		verdict                           Verdict
	}
	at := map[key]int{}
	var out []Group
	for _, e := range f.Events {
		k := key{e.Source, e.What, e.Who, e.Address, e.Resource, e.Why, e.Verdict}
		i, known := at[k]
		if !known {
			i = len(out)
			at[k] = i
			out = append(out, Group{Event: e})
		}
		out[i].Count++
		out[i].Last = e.At
	}
	slices.SortStableFunc(out, func(a, b Group) int { return cmp.Compare(rank(a.Verdict), rank(b.Verdict)) })
	return out
}

func rank(v Verdict) int { return slices.Index([]Verdict{StandsOut, Unknown, Expected}, v) }

// summaryRoom is how long a summary may become: the chat's lines take no more.
const summaryRoom = 2500

// Summary says line by line what stands out, what somebody has to know and what
// was not covered, in at most 2500 characters as Slack counts them. What others
// chose stands between backquotes. The lists are cut where there is no room, and
// say so; that something was not covered never is.
func (f Findings) Summary() string {
	head := fmt.Sprintf("%s\n%s, %s UTC. %s", f.headline(), code(string(f.Secret)), span(f.Window.From, f.Window.To), f.counts())
	gaps := f.gapLines()
	room := summaryRoom - size(head) - 100
	gapText := listed("Not covered:", gaps, room/2)
	var lines []string
	for _, g := range f.Groups() {
		if g.Verdict != Expected {
			lines = append(lines, g.line())
		}
	}
	body := listed("", lines, room-size(gapText))
	return strings.Join(slices.DeleteFunc([]string{head, body, gapText}, func(s string) bool { return s == "" }), "\n")
}

// headline never calls anything clean: it says what was found in what was
// looked at.
func (f Findings) headline() string {
	rest := "."
	if len(f.NotCovered) > 0 {
		rest = ", and not everything was looked at."
	}
	kinds := 0
	for _, g := range f.Groups() {
		if g.Verdict == StandsOut {
			kinds++
		}
	}
	switch kinds {
	case 0:
		return "Nothing stands out in what was looked at" + rest
	case 1:
		return "One thing stands out" + rest
	default:
		return fmt.Sprintf("%d things stand out%s", kinds, rest)
	}
}

func (f Findings) counts() string {
	c := f.Counts
	text := fmt.Sprintf("Events that stand out: %d, unknown: %d, expected: %d.", c.StandOut, c.Unknown, c.Expected)
	if c.OtherKeys > 0 {
		text += fmt.Sprintf(" Sign-ins with other known keys, left out: %d.", c.OtherKeys)
	}
	return text
}

// line is one group for the thread. All that others chose stands as code.
func (g Group) line() string {
	times := ""
	if g.Count > 1 {
		times = fmt.Sprintf(" %d times", g.Count)
	}
	mark := ""
	if g.Verdict == Unknown {
		mark = "Not known: "
	}
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "• %s%s: %s%s by %s", mark, span(g.At, g.Last), code(g.What), times, code(g.Who))
	if g.Address != "" {
		b.WriteString(" from " + code(g.Address))
	}
	if g.Resource != "" {
		b.WriteString(" on " + code(g.Resource))
	}
	b.WriteString(". " + upperFirst(plainText(g.Why)) + ".")
	return b.String()
}

func (f Findings) gapLines() []string {
	var out []string
	for _, g := range f.NotCovered {
		when := ""
		if !g.From.Equal(g.Until) {
			when = ", " + span(g.From, g.Until) + " UTC"
		}
		out = append(out, fmt.Sprintf("• %s%s: %s.", g.Source, when, plainText(g.Why)))
	}
	return out
}

// plainText shows our own words, which may quote others', outside of backquotes.
func plainText(text string) string { return strings.ReplaceAll(text, "`", "'") }

// size is how many characters a text takes once Slack's mark-up is escaped in it.
func size(text string) int {
	return utf8.RuneCountInString(text) + 3*strings.Count(text, "<") + 3*strings.Count(text, ">") + 4*strings.Count(text, "&")
}

func upperFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// listed joins as many lines as there is room for, and says how many are left.
func listed(title string, lines []string, room int) string {
	if len(lines) == 0 {
		return ""
	}
	var out []string
	if title != "" {
		out = append(out, title)
	}
	for i, line := range lines {
		if room -= size(line) + 1; room < 0 {
			out = append(out, fmt.Sprintf("… and %d more.", len(lines)-i))
			break
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// Table is the events for people, in plain text without markup.
type Table struct {
	Header []string
	Rows   [][]string
	Left   int // groups that found no room
}

// Table shows at most that many groups of like events, what stands out first.
func (f Findings) Table(most int) Table {
	t := Table{Header: []string{"Verdict", "When (UTC)", "What", "Who", "From", "Why"}}
	for i, g := range f.Groups() {
		if i == most {
			t.Left = len(f.Groups()) - most
			break
		}
		what := g.What
		if g.Count > 1 {
			what = fmt.Sprintf("%d × %s", g.Count, what)
		}
		t.Rows = append(t.Rows, []string{g.Verdict.Words(), span(g.At, g.Last), what, g.Who, cmp.Or(g.Address, "–"), g.Why})
	}
	return t
}

// cellWidth bounds a column of the monospaced table.
const cellWidth = 44

// Monospaced draws the table as a code block in Slack's mrkdwn, each row one
// line, for where there are no tables.
func (t Table) Monospaced() string {
	rows := append([][]string{t.Header}, t.Rows...)
	widths := make([]int, len(t.Header))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], min(utf8.RuneCountInString(cell), cellWidth))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if utf8.RuneCountInString(cell) > cellWidth {
				cell = string([]rune(cell)[:cellWidth-1]) + "…"
			}
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	if t.Left > 0 {
		_, _ = fmt.Fprintf(&b, "… and %d more.\n", t.Left)
	}
	return "```\n" + literal().Replace(b.String()) + "```\n"
}
