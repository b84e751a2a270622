package exposure

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// longest is how many characters of a text are kept. Callers choose their user
// agents and session names, and may choose long ones.
const longest = 200

// clean makes a text that others chose fit to be shown in one line: without
// control characters, without those that hide or turn what stands beside them,
// of bounded length.
func clean(text string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n == most {
			return strings.TrimRight(b.String(), " ") + "…"
		}
		switch {
		case r == '\t' || r == '\n' || r == '\r' || unicode.Is(unicode.Zs, r):
			r = ' '
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp):
			r = '\u00b7'
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}

// code puts a text between backquotes, and leaves none in it that would end it.
func code(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + strings.ReplaceAll(text, "`", "'") + "`"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// span says two instants, the day once where it is the same.
func span(from, to time.Time) string {
	from, to = from.UTC().Truncate(time.Second), to.UTC().Truncate(time.Second)
	switch {
	case from.Equal(to):
		return stamp(from)
	case from.Format(time.DateOnly) == to.Format(time.DateOnly):
		return stamp(from) + " – " + to.Format(time.TimeOnly)
	default:
		return stamp(from) + " – " + stamp(to)
	}
}
