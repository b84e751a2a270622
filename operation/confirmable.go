package operation

import (
	"context"
	"errors"
)

// Unconfirmed says, in a sentence, why nobody could turn the second key today for
// what a policy covers; empty when somebody could. It is judged by the same look-ups
// as a click, and what cannot be looked up counts as nobody.
func (r *Rules) Unconfirmed(ctx context.Context, p Policy) string {
	if err := r.place(ctx, p.Channel); err != nil {
		return because(err, "the channel for confirmations could not be looked up.")
	}
	members, err := r.members(ctx, p.Approvers, anybody)
	approvers := r.equipped(p, members)
	switch {
	case err != nil:
		return "the approvers' group could not be read."
	case len(members) == 0:
		return "the approvers' group has no full member with an enabled identity."
	case len(approvers) == 0:
		return "confirming takes a second factor, and nobody in the approvers' group has one."
	case p.Requesters == "":
		return "" // whoever asks: somebody else of the workspace may
	}
	requesters, err := r.members(ctx, p.Requesters, anybody)
	if err != nil {
		return "the requesters' group could not be read."
	}
	for _, asks := range requesters {
		for _, confirms := range approvers {
			if !same(asks, confirms) {
				return ""
			}
		}
	}
	if len(requesters) == 0 {
		return "the requesters' group has no full member with an enabled identity, so nobody could ask."
	}
	return approvers[0].Name + " is the only one who may ask and who may confirm."
}

func because(err error, otherwise string) string {
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Code == CodeSharedChannel {
		return "the channel for confirmations is shared with people outside the organisation."
	}
	return otherwise
}

func anybody(Person) bool { return true }
