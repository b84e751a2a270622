package main

import (
	"cmp"

	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/scheduler"
)

// TaskConfig is when something is done by itself, and where it is told: the weekly
// digest, or the sweeps for what was left behind.
type TaskConfig struct {
	Schedule *scheduler.Schedule // nil: never
	Channel  operation.ChannelID
}

type taskSection struct {
	At      strict.Position
	Off     strict.Text `yaml:"off"`
	Cron    strict.Text `yaml:"cron"`
	Zone    strict.Text `yaml:"zone"`
	Channel strict.Text `yaml:"channel"`
}

// When the digest is told, and when it is swept, unless the file says otherwise.
const (
	defaultDigest = "0 9 * * 1"
	defaultSweep  = "0 8 * * *"
	defaultChecks = "0 7 * * *"
)

// task reads a section called name. Without the section it is done as by default, and
// told in the operations channel.
func (r *configReader) task(s taskSection, name, line string, c *Config) TaskConfig {
	out := TaskConfig{Channel: cmp.Or(r.channel(s.Channel, name+".channel"), c.Slack.OperationsChannel)}
	off := r.yes(s.Off, name+".off")
	if off && s.Cron.IsSet() {
		r.mistake(s.Off.At, "%s.off says never, and %s.cron says when; remove one", name, name)
	}
	if off {
		return out
	}
	if !s.Cron.IsSet() {
		s.Cron = strict.Text{Value: line, At: s.At}
	}
	if schedule, ok := r.schedule(scheduleSection{At: s.At, Cron: s.Cron, Zone: s.Zone}, name+"."); ok {
		out.Schedule = &schedule
	}
	return out
}

// String says when and where.
func (c TaskConfig) String() string {
	if c.Schedule == nil {
		return "off"
	}
	return c.Schedule.String() + ", in " + string(c.Channel)
}
