package runbook

import (
	"time"

	"github.com/twokey/twokey/operation"
)

// RemovedAt is when an emergency had removed the compromised key, to the second;
// zero when it has not.
func RemovedAt(op operation.Operation) time.Time {
	at, err := time.Parse(time.RFC3339, op.Facts[factRemoved])
	if err != nil {
		return time.Time{}
	}
	return at
}

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
