package main

import (
	"context"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/picture"
	"github.com/twokey/twokey/scheduler"
	"github.com/twokey/twokey/store"
)

// ticks are all that the bot does on a schedule. A tick's name has its line in it:
// whoever changes the line begins a new schedule.
func ticks(c *Config, survey *inventory.Sweeper, db *store.Store, rules *operation.Rules, inspector scheduler.Inspector) []store.Tick {
	var out []store.Tick
	reminders := &scheduler.Reminders{Surveyor: survey, Book: db, Policy: c.Reminders.Policy}
	for _, s := range c.Reminders.Schedules {
		out = append(out, store.Tick{
			Name: "reminders " + s.String(), Next: s.Next,
			Do: func(ctx context.Context, now time.Time) error { return reminders.Ask(ctx, now, s.Zone()) },
		})
	}
	if s := c.Digest.Schedule; s != nil {
		digests := &scheduler.Digests{
			Surveyor: survey, Archive: db, Deeds: db, Judge: rules, Targets: c.Targets,
			Schedule: *s, Channel: c.Digest.Channel, Others: c.Reminders.Policy.Others, Draw: picture.Timeline,
		}
		out = append(out, store.Tick{Name: "digest " + s.String(), Next: s.Next, Do: digests.Ask})
	}
	if s := c.Sweeps.Schedule; s != nil {
		sweeps := &scheduler.Sweeps{Surveyor: survey, Shelf: db, Operations: db, Channel: c.Sweeps.Channel}
		out = append(out, store.Tick{Name: "sweeps " + s.String(), Next: s.Next, Do: sweeps.Ask})
	}
	if s := c.Checks.Schedule; s != nil {
		checks := &scheduler.Checks{Inspector: inspector, Shelf: db, Targets: c.Targets, Channel: c.Checks.Channel}
		out = append(out, store.Tick{Name: "policy " + s.String(), Next: s.Next, Do: checks.Ask})
	}
	return out
}
