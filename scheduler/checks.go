package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
	checks "github.com/twokey/twokey/policy" // this package has policies of its own
	"github.com/twokey/twokey/runbook"
)

// Inspector checks how the platform keeps its secrets.
type Inspector interface {
	Inspect(ctx context.Context) (checks.Report, error)
}

// Checks have the policy checked, and tell what is against it: once, again when it
// changes, and that it is mended.
type Checks struct {
	Inspector Inspector
	Shelf     Shelf
	Targets   []runbook.Target
	Channel   operation.ChannelID // where it is told, unless the secret's owner has a channel
}

// Ask tells every finding that was not told just so, and closes what is mended. Asked
// again, it tells nothing.
func (c *Checks) Ask(ctx context.Context, now time.Time) error {
	report, err := c.Inspector.Inspect(ctx)
	if err != nil {
		return fmt.Errorf("check the policy: %w", err)
	}
	told, err := c.Shelf.OpenLeftovers(ctx)
	if err != nil {
		return err
	}
	told = slices.DeleteFunc(told, func(l operation.Leftover) bool { return !l.OfPolicy() })
	var found []operation.Leftover
	for _, f := range report.Findings {
		l := c.leftover(f)
		i := slices.IndexFunc(told, func(t operation.Leftover) bool { return t.Finding == l.Finding })
		if i >= 0 && (f.Unchecked || f.Check == checks.ActualReader) {
			l = told[i] // another call of the same reader, another reference of the same refusal
		}
		found = append(found, l)
	}
	if err := c.Shelf.CloseLeftovers(ctx, mended(report, found, told, now)); err != nil {
		return err
	}
	untold := slices.DeleteFunc(found, func(l operation.Leftover) bool { return slices.ContainsFunc(told, l.Same) })
	if len(untold) == 0 {
		return nil
	}
	_, err = c.Shelf.TellLeftovers(ctx, now, untold)
	return err
}

// leftover is a finding as it is told.
func (c *Checks) leftover(f checks.Finding) operation.Leftover {
	l := operation.Leftover{Finding: mark(f.Check) + f.ID, Secret: f.Secret, Text: f.Subject + ": " + f.Evidence, Remedy: f.Remedy, Channel: c.Channel}
	l.Title = "Against the policy"
	if f.Secret != "" {
		l.Title += ": " + string(f.Secret)
	}
	if f.Unchecked {
		l.Title = "Not checked: " + demand(f.Check)
	}
	for _, t := range c.Targets {
		if t.Name == f.Secret && t.Owner.Channel != "" {
			l.Channel = t.Owner.Channel
		}
	}
	return l
}

// demand is what a check demands, in words.
func demand(of checks.Check) string {
	for _, c := range append(checks.Checks(), checks.RepositoryChecks()...) {
		if c.Check == of {
			return c.Text
		}
	}
	return string(of)
}

// mark is what the ids of a check's findings begin with.
func mark(c checks.Check) string { return operation.PolicyMark + string(c) + ":" }

// mended finds what was told of and is not found any more. Where a check could not be
// made, what it does not find says nothing.
func mended(report checks.Report, found, told []operation.Leftover, now time.Time) []operation.Leftover {
	var out []operation.Leftover
	for _, l := range told {
		again := slices.ContainsFunc(found, func(f operation.Leftover) bool { return f.Finding == l.Finding })
		blind := slices.ContainsFunc(report.Findings, func(f checks.Finding) bool {
			return f.Unchecked && strings.HasPrefix(l.Finding, mark(f.Check))
		})
		if again || blind {
			continue
		}
		l.Closed = operation.Settled{At: now, Why: "it is mended."}
		if strings.HasPrefix(l.Finding, mark(checks.ActualReader)) {
			l.Closed.Why = "there was no such read since."
		}
		out = append(out, l)
	}
	return out
}
