package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Shelf keeps what was told of leftovers.
type Shelf interface {
	OpenLeftovers(ctx context.Context) ([]operation.Leftover, error)
	// TellLeftovers tells those that are not told just so already, each once.
	TellLeftovers(ctx context.Context, now time.Time, found []operation.Leftover) ([]operation.Leftover, error)
	CloseLeftovers(ctx context.Context, gone []operation.Leftover) error
}

// Unfinished tells which operations are open.
type Unfinished interface {
	OpenOperations(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error)
}

// Sweeps find what something unforeseen has left behind, and tell it. They remove
// nothing: that takes two people.
type Sweeps struct {
	Surveyor   Surveyor
	Shelf      Shelf
	Operations Unfinished
	Channel    operation.ChannelID // where it is told
}

// Ask tells every leftover that was not told just so, and closes what is gone.
// Asked again, it tells nothing.
func (s *Sweeps) Ask(ctx context.Context, now time.Time) error {
	found, err := s.Surveyor.Sweep(ctx)
	if err != nil {
		return fmt.Errorf("look for what was left behind: %w", err)
	}
	told, err := s.Shelf.OpenLeftovers(ctx)
	if err != nil {
		return err
	}
	told = slices.DeleteFunc(told, operation.Leftover.OfPolicy)
	left := s.leftovers(found)
	gone, err := s.gone(ctx, found, left, told, now)
	if err != nil {
		return err
	}
	if err := s.Shelf.CloseLeftovers(ctx, gone); err != nil {
		return err
	}
	untold := slices.DeleteFunc(left, func(l operation.Leftover) bool { return slices.ContainsFunc(told, l.Same) })
	if len(untold) == 0 {
		return nil
	}
	_, err = s.Shelf.TellLeftovers(ctx, now, untold)
	return err
}

// leftovers are the findings that are about something left behind.
func (s *Sweeps) leftovers(v inventory.Inventory) []operation.Leftover {
	var out []operation.Leftover
	for _, f := range v.Findings {
		l := operation.Leftover{Finding: f.ID, Secret: f.Feeds.Secret, Text: f.Text, Channel: s.Channel}
		if f.Key != nil {
			l.Key = string(f.Key.ID) // its hint is three characters of a secret and goes nowhere
		}
		switch {
		case f.Kind == inventory.PendingLeft:
			l.Title, l.Parameter, l.Removable = "Left behind: a pending parameter of "+string(l.Secret), f.Feeds.Parameter, true
		case f.Kind == inventory.KeyReturned:
			l.Title, l.Returned = "A removed key of "+string(l.Secret)+" is there again", true
		case f.Key != nil && strings.HasPrefix(f.Key.Name, runbook.Mark("")) && !live(v, f.Key.ID):
			l.Title, l.Removable = "Left behind: a key of "+string(l.Secret), true
		default:
			continue
		}
		out = append(out, l)
	}
	return out
}

func live(v inventory.Inventory, id runbook.KeyID) bool {
	return slices.ContainsFunc(v.Items, func(i inventory.Item) bool { return i.KeyID == id && i.Live })
}

// gone finds what was told of and is not found any more. While an operation on its
// secret is open nothing is said: what that needs is not found either.
func (s *Sweeps) gone(ctx context.Context, v inventory.Inventory, left, told []operation.Leftover, now time.Time) ([]operation.Leftover, error) {
	var out []operation.Leftover
	for _, l := range told {
		if slices.ContainsFunc(left, func(f operation.Leftover) bool { return f.Finding == l.Finding }) {
			continue
		}
		why := goneBecause(v, l)
		if why == "" {
			continue
		}
		open, err := s.Operations.OpenOperations(ctx, l.Secret)
		if err != nil {
			return nil, err
		}
		if len(open) > 0 {
			continue
		}
		l.Closed = operation.Settled{At: now, Why: why}
		out = append(out, l)
	}
	return out, nil
}

// goneBecause says why something is found no more; empty when it may only not have
// been read.
func goneBecause(v inventory.Inventory, l operation.Leftover) string {
	for _, g := range v.Gaps {
		if slices.Contains([]string{inventory.GapApplications, inventory.GapPrincipals, inventory.GapOperations, l.Parameter}, g.Source) {
			return ""
		}
	}
	for _, i := range v.Items {
		switch {
		case i.KeyID != "" && strings.EqualFold(string(i.KeyID), l.Key) && i.Live:
			return "the live parameter holds it by now."
		case i.KeyID != "" && strings.EqualFold(string(i.KeyID), l.Key):
			return "an operation explains it by now."
		case i.KeyID == "" && i.Feeds.Secret == l.Secret && l.Key != "" && i.Status == inventory.Unknown:
			return "" // its application could not be read
		}
	}
	return "it is there no longer."
}
