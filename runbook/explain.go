package runbook

import "github.com/twokey/twokey/operation"

// KeysReplaced returns the keys that were there before the operation and that it
// is to remove: the one that it replaces, and those that leaked.
func KeysReplaced(op operation.Operation) []KeyID {
	d := decodeDetails(op.Plan.Details)
	var out []KeyID
	if d.OldKey != "" {
		out = append(out, d.OldKey)
	}
	for _, k := range d.Leaked {
		out = append(out, k.ID)
	}
	return out
}
