package scheduler

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
	checks "github.com/twokey/twokey/policy"
	"github.com/twokey/twokey/runbook"
)

// board is a policy that finds what a test says, and a shelf of what was told.
type board struct {
	report checks.Report
	open   []operation.Leftover
	told   []string
	closed []string
}

func (b *board) Inspect(context.Context) (checks.Report, error) { return b.report, nil }

func (b *board) OpenLeftovers(context.Context) ([]operation.Leftover, error) {
	return slices.Clone(b.open), nil
}

func (b *board) TellLeftovers(_ context.Context, _ time.Time, found []operation.Leftover) ([]operation.Leftover, error) {
	for _, l := range found {
		b.told = append(b.told, l.Title+" in "+string(l.Channel)+": "+l.Text)
		b.open = append(slices.DeleteFunc(b.open, func(o operation.Leftover) bool { return o.Finding == l.Finding }), l)
	}
	return found, nil
}

func (b *board) CloseLeftovers(_ context.Context, gone []operation.Leftover) error {
	for _, l := range gone {
		b.closed = append(b.closed, l.Finding+": "+l.Closed.Why)
		b.open = slices.DeleteFunc(b.open, func(o operation.Leftover) bool { return o.Finding == l.Finding })
	}
	return nil
}

func TestAFindingIsToldOnceAnewWhenItChangesAndClosedWhenItIsMended(t *testing.T) {
	b := &board{open: []operation.Leftover{{Finding: "pending:a leftover of the sweep"}}}
	c := &Checks{Inspector: b, Shelf: b, Channel: "C0OPS", Targets: []runbook.Target{{Name: "jira/dev", Owner: runbook.Owner{Channel: "C0JIRA"}}}}
	plain := checks.Finding{ID: "1", Check: checks.Encrypted, Secret: "jira/dev", Subject: "/a", Evidence: "It is a String."}
	otherKey := checks.Finding{ID: "1", Check: checks.Encrypted, Secret: "jira/dev", Subject: "/a", Evidence: "Another key."}
	reader := checks.Finding{ID: "2", Check: checks.ActualReader, Secret: "github/dev", Subject: "mallory", Evidence: "Read at nine."}
	later := checks.Finding{ID: "2", Check: checks.ActualReader, Secret: "github/dev", Subject: "mallory", Evidence: "Read at ten."}
	blind := checks.Finding{ID: "3", Check: checks.Encrypted, Subject: "/a", Evidence: "Not checked: request 1.", Unchecked: true}
	blindAgain := checks.Finding{ID: "3", Check: checks.Encrypted, Subject: "/a", Evidence: "Not checked: request 2.", Unchecked: true}
	for _, step := range []struct {
		name         string
		found        []checks.Finding
		told, closed []string
	}{
		{"something is wrong", []checks.Finding{plain}, []string{"Against the policy: jira/dev in C0JIRA: /a: It is a String."}, nil},
		{"it is still", []checks.Finding{plain}, nil, nil},
		{"it has changed", []checks.Finding{otherKey}, []string{"Against the policy: jira/dev in C0JIRA: /a: Another key."}, nil},
		{"somebody reads", []checks.Finding{otherKey, reader}, []string{"Against the policy: github/dev in C0OPS: mallory: Read at nine."}, nil},
		{"and reads again", []checks.Finding{otherKey, later}, nil, nil},
		{"the check cannot be made", []checks.Finding{blind, later}, []string{"Not checked: Each secret is a SecureString, encrypted with the configured key. in C0OPS: /a: Not checked: request 1."}, nil},
		{"and again not", []checks.Finding{blindAgain, later}, nil, nil},
		{"all is mended", nil, nil, []string{"policy:no-other-did-read:2: there was no such read since.", "policy:parameter-encrypted:1: it is mended.", "policy:parameter-encrypted:3: it is mended."}},
		{"and stays so", nil, nil, nil},
	} {
		b.told, b.closed, b.report.Findings = nil, nil, step.found
		if err := c.Ask(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(b.closed)
		if !slices.Equal(b.told, step.told) || !slices.Equal(b.closed, step.closed) {
			t.Errorf("%s: told %q, want %q; closed %q, want %q", step.name, b.told, step.told, b.closed, step.closed)
		}
	}
	if len(b.open) != 1 || b.open[0].Finding != "pending:a leftover of the sweep" {
		t.Errorf("what the sweep told was touched: %+v", b.open)
	}
}
