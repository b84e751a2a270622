package mcp

import (
	"strings"
	"unicode"

	"github.com/twokey/twokey/operation"
)

// maxExcerpt is how much of a server's words goes into an error, in runes.
const maxExcerpt = 200

// excerpt shortens what a server said to one line for people. Errors go into
// threads and logs, and nobody knows what a broken server puts into its words:
// what looks like a client secret, and our own token, are taken out.
func (s *Servers) excerpt(text string) string {
	if token := s.options.Token; !token.IsZero() {
		text = strings.ReplaceAll(text, token.Reveal(), token.String())
	}
	text = operation.Redact(text)
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	runes := []rune(strings.Join(words, " "))
	if len(runes) > maxExcerpt {
		return string(runes[:maxExcerpt-1]) + "…"
	}
	return string(runes)
}
