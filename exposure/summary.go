package exposure

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twokey/twokey/operation"
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

// Summary says how much was found, shows it as a table (see [operation.Row]) with
// what stands out first, and says what was not covered, in at most 2500 characters
// as Slack counts them. What others chose stands between backquotes. The table and
// the list are cut where there is no room, and say so; that something was not
// covered never is.
func (f Findings) Summary() string {
	head := fmt.Sprintf("%s\n%s, %s UTC. %s", f.headline(), code(string(f.Secret)), span(f.Window.From, f.Window.To), f.counts())
	gaps := f.gapLines()
	room := summaryRoom - size(head) - 100
	gapText := listed("Not covered:", gaps, room/2)
	var rows []string
	for _, g := range f.Groups() {
		rows = append(rows, g.row())
	}
	body := listed(operation.Row("Verdict", "When (UTC)", "What"), rows, room-size(gapText))
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

// row is one group in the table, of few columns: it is read on phones too. All that
// others chose stands as code.
func (g Group) row() string {
	var what strings.Builder
	if g.Count > 1 {
		_, _ = fmt.Fprintf(&what, "%d × ", g.Count)
	}
	what.WriteString(code(g.What) + " by " + code(g.Who))
	if g.Address != "" {
		what.WriteString(" from " + code(g.Address))
	}
	if g.Resource != "" {
		what.WriteString(" on " + code(g.Resource))
	}
	return operation.Row(upperFirst(g.Verdict.Words())+": "+plainText(g.Why), span(g.At, g.Last), what.String())
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
	out := []string{title}
	for i, line := range lines {
		if room -= size(line) + 1; room < 0 {
			out = append(out, fmt.Sprintf("… and %d more.", len(lines)-i))
			break
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
