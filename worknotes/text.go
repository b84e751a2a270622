package worknotes

import (
	"fmt"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// Text is what a change request reads of an entry: what happened to the operation
// and, where it stands still or has ended, each step with its proof until then.
func Text(op operation.Operation, e operation.Entry, told []operation.Entry) string {
	var b strings.Builder
	what := string(op.Kind)
	if op.Drill() {
		what = "DRILL of " + what
	}
	fmt.Fprintf(&b, "twokey: %s of %s, operation %s: %s\n", what, op.Secret, op.ID, e.State.Words())
	fmt.Fprintf(&b, "At %s", instant(e.At))
	if e.By != nil {
		fmt.Fprintf(&b, ", by %s", name(*e.By))
	}
	if e.Text != "" {
		fmt.Fprintf(&b, ": %s", e.Text)
	}
	b.WriteString("\n")
	fmt.Fprintf(&b, "Asked for by %s at %s (%s)", name(op.Requester), instant(op.RequestedAt), op.Reason)
	if op.Approver.User != "" {
		fmt.Fprintf(&b, ", confirmed by %s", name(op.Approver))
	}
	b.WriteString(".\n")
	if e.State.Open() && e.State != operation.Parked && e.State != operation.Waiting {
		return b.String()
	}
	for _, step := range told {
		if step.Step != "" && step.Sequence <= e.Sequence {
			fmt.Fprintf(&b, "- %s: %s. %s\n", step.Step, step.Outcome, step.Text)
		}
	}
	return b.String()
}

func name(p operation.Person) string {
	if p.Name == "" {
		return string(p.User)
	}
	return p.Name
}

// instant is in UTC: nobody knows the zone of who reads a change request.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
