package main

import (
	"context"
	"time"

	"github.com/twokey/twokey/scheduler"
	"github.com/twokey/twokey/store"
)

// ticks are all that the bot does on a schedule. A tick's name has its line in it:
// whoever changes the line begins a new schedule.
func ticks(c RemindersConfig, reminders *scheduler.Reminders) []store.Tick {
	var out []store.Tick
	for _, s := range c.Schedules {
		out = append(out, store.Tick{
			Name: "reminders " + s.String(), Next: s.Next,
			Do: func(ctx context.Context, now time.Time) error { return reminders.Ask(ctx, now, s.Zone()) },
		})
	}
	return out
}
