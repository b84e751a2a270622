package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// LeftoverID numbers what is told of one leftover.
type LeftoverID int64

// Leftover is something that no open operation explains: a key that an operation had
// made and that is in no parameter, a pending parameter, or a key that was removed
// and is there again. It is as it was told.
type Leftover struct {
	ID      LeftoverID `json:"id"`
	Finding string     `json:"finding"` // the inventory's id of it
	Secret  SecretName `json:"secret"`
	Title   string     `json:"title"` // "Left behind: a key of sharepoint/prod"
	Text    string     `json:"text"`  // what was found
	Key     string     `json:"key,omitempty"`
	// Parameter is what was left; empty: it is a key.
	Parameter string `json:"parameter,omitempty"`
	// Remedy is what to do about it; empty: what the message says of its kind.
	Remedy string `json:"remedy,omitempty"`
	// Removable is true when two people can have it removed here.
	Removable bool `json:"removable,omitempty"`
	// Returned is true of a key that an operation had removed.
	Returned bool      `json:"returned,omitempty"`
	Channel  ChannelID `json:"channel"`
	At       time.Time `json:"at"`
	Closed   Settled   `json:"closed,omitzero"`

	Message MessageID `json:"-"` // once it is posted
}

// PolicyMark begins the ids of what is no leftover but a finding against the policy. It
// is told in the same way: once, anew when it changes, and closed when it is mended.
const PolicyMark = "policy:"

// OfPolicy reports whether it is a finding against the policy.
func (l Leftover) OfPolicy() bool { return strings.HasPrefix(l.Finding, PolicyMark) }

// Open reports whether it may still be there.
func (l Leftover) Open() bool { return l.Closed.At.IsZero() }

// Same reports whether people need not be told again: they were told just this.
func (l Leftover) Same(told Leftover) bool {
	return l.Finding == told.Finding && l.Secret == told.Secret && l.Text == told.Text && l.Removable == told.Removable && l.Channel == told.Channel
}

// Steps under which the record has what happened to leftovers.
const (
	StepLeftover     = "leftover found"
	StepLeftoverGone = "leftover closed"
)

// CodeNoLeftover is the refusal of a button that is not the leftover's own.
const CodeNoLeftover Code = "no_leftover"

// Leftovers keeps what was told of leftovers.
type Leftovers interface {
	// Leftover returns ErrUnknown when there is none.
	Leftover(ctx context.Context, id LeftoverID) (Leftover, error)
}

// FindLeftover returns the leftover that a click on its message names. The message
// can be clicked in the instant in which it is posted, and the note of where it
// stands may come later.
func FindLeftover(ctx context.Context, from Leftovers, id LeftoverID, channel ChannelID, message MessageID) (Leftover, error) {
	l, err := from.Leftover(ctx, id)
	for until := time.Now().Add(cardTime); err == nil && l.Message == "" && l.Open() && l.Channel == channel && time.Now().Before(until); {
		if err = sleep(ctx, cardPause); err == nil {
			l, err = from.Leftover(ctx, id)
		}
	}
	switch {
	case errors.Is(err, ErrUnknown) || err == nil && (l.Message == "" || l.Message != message || l.Channel != channel || !l.Removable):
		return l, Refuse(CodeNoLeftover, "This button is not on a leftover's own message, so it was not counted.")
	case err != nil:
		return l, fmt.Errorf("read leftover %d: %w", id, err)
	case !l.Open():
		return l, Refuse(CodeSettled, "This leftover is closed: nothing was changed.")
	}
	return l, nil
}
