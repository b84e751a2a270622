package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/scheduler"
)

// RemindersConfig is when people are reminded of what expires, and of what.
type RemindersConfig struct {
	Schedules []scheduler.Schedule // empty: nobody is reminded
	Policy    scheduler.Policy
}

type remindersSection struct {
	At         strict.Position
	Off        strict.Text       `yaml:"off"`
	Schedules  []scheduleSection `yaml:"schedules"`
	Stages     []strict.Text     `yaml:"stages"`
	Escalate   strict.Text       `yaml:"escalate"`
	Channel    strict.Text       `yaml:"channel"`
	Escalation strict.Text       `yaml:"escalation"`
	Ring       strict.Text       `yaml:"ring"`
	Others     strict.Text       `yaml:"others"`
}

type scheduleSection struct {
	At   strict.Position
	Cron strict.Text `yaml:"cron"`
	Zone strict.Text `yaml:"zone"`
}

// defaultCron reminds in the morning, every day: what is overdue is so on Sundays too.
const defaultCron = "0 9 * * *"

// maxStage is how many days ahead a reminder makes sense: as long as a secret lives.
const maxStage = 730

// reminders reads when and where people are reminded. Without the section they are,
// in the operations channel.
func (r *configReader) reminders(s remindersSection, c *Config) RemindersConfig {
	out := RemindersConfig{Policy: scheduler.Policy{
		Stages: r.stages(s.Stages), Escalate: r.escalate(s.Escalate), Others: r.yes(s.Others, "reminders.others"),
		Channel:    cmp.Or(r.channel(s.Channel, "reminders.channel"), c.Slack.OperationsChannel),
		Escalation: r.channel(s.Escalation, "reminders.escalation"),
		Ring:       cmp.Or(r.group(s.Ring, "reminders.ring"), c.Requesters, c.Approvers),
	}}
	off := r.yes(s.Off, "reminders.off")
	if off && len(s.Schedules) > 0 {
		r.mistake(s.Off.At, "reminders.off says that nobody is reminded, and reminders.schedules says when; remove one")
	}
	if off {
		return out
	}
	if len(s.Schedules) == 0 {
		s.Schedules = []scheduleSection{{Cron: strict.Text{Value: defaultCron, At: s.At}}}
	}
	for _, one := range s.Schedules {
		if schedule, ok := r.schedule(one, "reminders.schedules: "); ok {
			out.Schedules = append(out.Schedules, schedule)
		}
	}
	return out
}

// schedule reads a cron line and its zone; where is what their keys begin with.
func (r *configReader) schedule(s scheduleSection, where string) (scheduler.Schedule, bool) {
	key := where + "cron"
	if s.Cron.Value == "" {
		r.mistake(s.At, `%s is missing; add cron: "0 9 * * *", which is every day at nine`, key)
		return scheduler.Schedule{}, false
	}
	schedule, err := scheduler.ParseSchedule(s.Cron.Value, s.Zone.Value)
	at := s.Cron.At
	switch {
	case err == nil:
		return schedule, true
	case errors.Is(err, scheduler.ErrZone):
		if s.Zone.IsSet() {
			at = s.Zone.At
		}
		r.mistake(at, "%szone must be a time zone such as Europe/Berlin, and the same as in the line if that has one", where)
	case errors.Is(err, scheduler.ErrNever):
		r.mistake(at, "%s names a day that never comes", key)
	default:
		r.mistake(at, `%s must be a line of five fields, such as "0 9 * * 1-5": minute, hour, day, month, day of the week`, key)
	}
	return scheduler.Schedule{}, false
}

// stages reads days before the end, and orders them.
func (r *configReader) stages(list []strict.Text) []int {
	var out []int
	for _, t := range list {
		n, err := strconv.Atoi(t.Value)
		switch {
		case err != nil || n < 1 || n > maxStage:
			r.mistake(t.At, "reminders.stages must be days before the end, 1 to %d", maxStage)
		case slices.Contains(out, n):
			r.mistake(t.At, "reminders.stages: %d stands there twice; remove one", n)
		default:
			out = append(out, n)
		}
	}
	if len(list) == 0 {
		return scheduler.DefaultStages()
	}
	slices.SortFunc(out, func(a, b int) int { return b - a })
	return out
}

func (r *configReader) escalate(t strict.Text) int {
	if !t.IsSet() {
		return scheduler.DefaultEscalate
	}
	n, err := strconv.Atoi(t.Value)
	if err != nil || n < 0 || n > maxStage {
		r.mistake(t.At, "reminders.escalate must be days before the end, or 0 for never")
	}
	return n
}

// String says when people are reminded.
func (c RemindersConfig) String() string {
	if len(c.Schedules) == 0 {
		return "off"
	}
	var lines, stages []string
	for _, s := range c.Schedules {
		lines = append(lines, s.String())
	}
	for _, s := range c.Policy.Stages {
		stages = append(stages, strconv.Itoa(s))
	}
	return fmt.Sprintf("%s; %s days before, then daily; in %s", strings.Join(lines, ", "), strings.Join(stages, ", "), c.Policy.Channel)
}
