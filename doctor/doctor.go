// Package doctor looks at everything that the bot needs of Slack, Entra, AWS, the
// MCP servers and its own machine, changes nothing, and says of each what is wrong
// and what exactly to do about it.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/operation"
)

// State is what a look came to.
type State string

// A finding is in one of these states. What could not be looked at is unknown, and
// never ok.
const (
	OK      State = "ok"
	Warn    State = "warn"
	Fail    State = "fail"
	Unknown State = "unknown"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"`           // "slack.channel"
	About  string `json:"about,omitempty"` // what of: a channel, a secret
	State  State  `json:"state"`
	Seen   string `json:"seen"`             // what was found, for people
	Remedy string `json:"remedy,omitempty"` // what to do: a command, a policy statement, a line of the manifest
}

// Check is one look.
type Check struct {
	Name  string
	About string
	Look  func(ctx context.Context) []Finding
}

// Options bound how the checks are run.
type Options struct {
	AtOnce int           // checks that run beside each other
	Each   time.Duration // that one check may take
}

// Run does the checks side by side. The findings come in the order of the checks. A
// check that is out of time is unknown.
func Run(ctx context.Context, checks []Check, o Options) []Finding {
	found := make([][]Finding, len(checks))
	var g errgroup.Group
	g.SetLimit(o.AtOnce)
	for i, c := range checks {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, o.Each)
			defer cancel()
			for _, f := range c.Look(ctx) {
				f.Check = c.Name
				if f.About == "" {
					f.About = c.About
				}
				found[i] = append(found[i], f)
			}
			return nil
		})
	}
	_ = g.Wait() // checks return findings, never errors
	var out []Finding
	for _, list := range found {
		out = append(out, list...)
	}
	return out
}

// Healthy reports that nothing fails. Warnings, and what could not be checked, are
// told and do not count.
func Healthy(list []Finding) bool { return Count(list)[Fail] == 0 }

// Count counts the findings by state.
func Count(list []Finding) map[State]int {
	n := map[State]int{}
	for _, f := range list {
		n[f.State]++
	}
	return n
}

// remedied is an error that knows what a person has to do.
type remedied interface {
	error
	Remedy() (seen, todo string)
}

// ok is a finding that all is well.
func ok(format string, args ...any) []Finding {
	return []Finding{{State: OK, Seen: fmt.Sprintf(format, args...)}}
}

// finding is one of any state.
func finding(s State, remedy, format string, args ...any) Finding {
	return Finding{State: s, Seen: fmt.Sprintf(format, args...), Remedy: remedy}
}

// trouble is a look that ended in an error. Only a definite answer fails; after any
// other nothing is known.
func trouble(err error, remedy string) []Finding {
	if r, is := errors.AsType[remedied](err); is {
		seen, todo := r.Remedy()
		return []Finding{{State: Fail, Seen: seen, Remedy: todo}}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return []Finding{{State: Unknown, Seen: "not checked: no answer in time", Remedy: remedy}}
	case operation.IsPermanent(err):
		return []Finding{{State: Fail, Seen: err.Error(), Remedy: remedy}}
	default:
		return []Finding{{State: Unknown, Seen: "not checked: " + err.Error(), Remedy: remedy}}
	}
}
