package operation

import (
	"fmt"
	"strings"
	"time"
)

// DigestID numbers the weekly digests.
type DigestID int64

// StepDigest is the step under which the record has that a digest was told.
const StepDigest = "digest"

// WeeklyDigest tells what expires in the coming year, and what was done since the
// digest before it.
type WeeklyDigest struct {
	ID      DigestID  `json:"id"`
	Channel ChannelID `json:"channel"`
	Since   time.Time `json:"since"`
	At      time.Time `json:"at"`
	Zone    string    `json:"zone"` // of its days and months

	Overdue []Expiring `json:"overdue,omitempty"`
	Unknown []Expiring `json:"unknown,omitempty"` // when they expire could not be read
	Months  []Month    `json:"months"`            // this one and those that follow, twelve months ahead
	Later   int        `json:"later,omitempty"`   // what expires after them

	Deeds         []Deed          `json:"deeds,omitempty"` // oldest first
	Unconfirmable []Unconfirmable `json:"unconfirmable,omitempty"`
	Leftovers     int             `json:"leftovers,omitempty"` // that are told of and not removed
	Retired       int             `json:"retired,omitempty"`   // keys that were removed since, and are not there
	Gaps          []string        `json:"gaps,omitempty"`      // what could not be read

	Alternative string `json:"alternative"`          // the picture, for those who hear it
	NoPicture   string `json:"no_picture,omitempty"` // why there is none

	Message MessageID `json:"-"` // once it is posted
}

// Month is what expires in one.
type Month struct {
	Name  string     `json:"name"` // "December 2026"
	Items []Expiring `json:"items,omitempty"`
}

// Expiring is one thing that expires.
type Expiring struct {
	Name  string    `json:"name"`
	Kind  string    `json:"kind"`
	Owner string    `json:"owner,omitempty"`
	End   time.Time `json:"end,omitzero"`
	Why   string    `json:"why,omitempty"` // its end is unknown
}

// Deed is an operation that ended, or an emergency that has not.
type Deed struct {
	Operation ID            `json:"operation"`
	Kind      Kind          `json:"kind"`
	Secret    SecretName    `json:"secret"`
	State     State         `json:"state"`
	Emergency bool          `json:"emergency,omitempty"`
	Drill     bool          `json:"drill,omitempty"`
	By        Person        `json:"by"`
	Confirmed Person        `json:"confirmed"`
	At        time.Time     `json:"at"`                // when it ended, or was asked for
	Decided   time.Duration `json:"decided,omitempty"` // from the request to the confirmation
	Removed   time.Duration `json:"removed,omitempty"` // from the confirmation until the key was gone
	Took      time.Duration `json:"took,omitempty"`    // from the confirmation to the end
}

// Unconfirmable is a secret of which nobody could confirm an operation today.
type Unconfirmable struct {
	Secret SecretName `json:"secret"`
	Why    string     `json:"why"`
}

// Items counts what expires in the coming months.
func (d WeeklyDigest) Items() int {
	n := 0
	for _, m := range d.Months {
		n += len(m.Items)
	}
	return n
}

// Summary says the most important of it in a sentence or two.
func (d WeeklyDigest) Summary() string {
	parts := []string{fmt.Sprintf("%d overdue", len(d.Overdue))}
	if len(d.Unknown) > 0 {
		parts = append(parts, fmt.Sprintf("of %d nobody knows when they expire", len(d.Unknown)))
	}
	parts = append(parts, fmt.Sprintf("%d expire in the next 12 months", d.Items()))
	if n := len(d.Unconfirmable); n > 0 {
		parts = append(parts, fmt.Sprintf("for %d nobody could confirm anything today", n))
	}
	return sentence(strings.Join(parts, "; ")) + "."
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
