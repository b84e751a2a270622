package mcp

import (
	"regexp"
	"strings"
	"unicode"
)

// maxExcerpt is how much of a server's words goes into an error, in runes.
const maxExcerpt = 200

// secretPattern is how client secrets of Entra look: three characters, a digit,
// "Q~" and some more.
var secretPattern = regexp.MustCompile(`[A-Za-z0-9~._-]{3}[0-9]Q~[A-Za-z0-9~._-]{20,40}`)

// excerpt shortens what a server said to one line for people. Errors go into
// threads and logs, and nobody knows what a broken server puts into its words:
// what looks like a client secret, and our own token, are taken out.
func (s *Servers) excerpt(text string) string {
	if token := s.options.Token; !token.IsZero() {
		text = strings.ReplaceAll(text, token.Reveal(), token.String())
	}
	text = secretPattern.ReplaceAllString(text, "(redacted)")
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	runes := []rune(strings.Join(words, " "))
	if len(runes) > maxExcerpt {
		return string(runes[:maxExcerpt-1]) + "…"
	}
	return string(runes)
}
