package bot

import (
	"strings"

	"github.com/twokey/twokey/operation"
)

// Ref is what a button or a modal carries about its operation. It comes back
// from outside and may be forged: it says which operation is meant, and nothing
// about who means it.
type Ref struct {
	Operation operation.ID
	Digest    operation.Digest
	Channel   operation.ChannelID // of the card, in modals
	Message   operation.MessageID
}

// String is the form that travels in a button's value and a modal's metadata.
func (r Ref) String() string {
	return strings.TrimRight(strings.Join([]string{string(r.Operation), string(r.Digest), string(r.Channel), string(r.Message)}, " "), " ")
}

// ParseRef reads what [Ref.String] wrote, and reports whether it can be that.
func ParseRef(text string) (Ref, bool) {
	parts := strings.Split(text, " ")
	if len(text) > 300 || (len(parts) != 2 && len(parts) != 4) {
		return Ref{}, false
	}
	for _, p := range parts {
		if p == "" || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return Ref{}, false
		}
	}
	r := Ref{Operation: operation.ID(parts[0]), Digest: operation.Digest(parts[1])}
	if len(parts) == 4 {
		r.Channel, r.Message = operation.ChannelID(parts[2]), operation.MessageID(parts[3])
	}
	return r, true
}
