package operation

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
)

// Secret is a client secret in flight. It lives in memory only, and whoever
// prints, logs, marshals or stores one gets "(redacted)" or an error. The only
// way to the text is [Secret.Reveal]; every call of it is worth a second look.
//
// The text is behind a pointer: fmt calls no method for %p, nor for what lies in an
// unexported field, and prints what is there.
type Secret struct{ text *string }

// redacted is what every formatter sees.
const redacted = "(redacted)"

// ErrSecretMarshalled is returned when something tries to encode a Secret in a
// form that could be stored or sent.
var ErrSecretMarshalled = errors.New("a secret must not be encoded")

// NewSecret wraps text. Nothing but the wrapper may keep the text afterwards.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text, for the one call that sends it to its vendor.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text at all.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal compares two secrets without revealing either.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// HasHint reports whether the secret begins with hint, the first three
// characters that Entra shows of a password credential.
func (s Secret) HasHint(hint string) bool {
	text := s.Reveal()
	return hint != "" && len(text) > len(hint) && text[:len(hint)] == hint
}

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb reaches the field.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler. Logs and state dumps stay readable.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// GobEncode implements gob.GobEncoder by refusing.
func (Secret) GobEncode() ([]byte, error) { return nil, ErrSecretMarshalled }

// Value implements driver.Valuer by refusing: no statement may carry a secret.
func (Secret) Value() (driver.Value, error) { return nil, ErrSecretMarshalled }

// entraSecret is how client secrets of Entra look: three characters, a digit,
// "Q~" and 31 to 34 more; a piece of one is bad enough.
var entraSecret = regexp.MustCompile(`[A-Za-z0-9~._-]{3}[0-9]Q~[A-Za-z0-9~._-]{20,40}`)

// Redact takes out of somebody else's words what looks like a client secret: nobody
// knows what a broken server or program puts into its errors.
func Redact(text string) string { return entraSecret.ReplaceAllString(text, redacted) }
