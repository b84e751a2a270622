// Package scheduler says when something is due and who is to be told of it: cron
// lines with their time zones, and reminders of what expires. It asks and tells;
// nothing here changes a secret.
package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is a cron line in a time zone.
type Schedule struct {
	line  string
	zone  *time.Location
	there cron.Schedule // by the instants of the zone
	civil cron.Schedule // by the clock on its walls
	fixed bool          // the line names hours
}

// ErrZone is wrapped by what is returned for a time zone that does not exist, or for
// two of them.
var ErrZone = errors.New("no such time zone")

// ErrNever is returned for a line whose day never comes.
var ErrNever = errors.New("this day never comes")

// zoneMark is how a cron line names its time zone.
const zoneMark = "CRON_TZ="

// ParseSchedule reads a line of five fields, or a word such as @daily. The line can
// name its zone itself, as CRON_TZ=Europe/Berlin before the fields; zone is used
// otherwise, and UTC when it is empty.
func ParseSchedule(line, zone string) (Schedule, error) {
	fields := strings.TrimSpace(line)
	if rest, marked := strings.CutPrefix(fields, zoneMark); marked {
		named, behind, _ := strings.Cut(rest, " ")
		if zone != "" && zone != named {
			return Schedule{}, fmt.Errorf("%w: the line says %s, and its zone is %s", ErrZone, named, zone)
		}
		zone, fields = named, strings.TrimSpace(behind)
	}
	if zone == "" {
		zone = "UTC"
	}
	where, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return Schedule{}, fmt.Errorf("%w: %q", ErrZone, zone)
	}
	// An interval begins anew with every start; a line that names times does not.
	if strings.HasPrefix(fields, "@every") || strings.Contains(fields, "TZ=") {
		return Schedule{}, errors.New("it must name times of the day")
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	s := Schedule{line: fields, zone: where}
	if s.there, err = parser.Parse(zoneMark + zone + " " + fields); err != nil {
		return Schedule{}, err
	}
	if s.civil, err = parser.Parse(zoneMark + "UTC " + fields); err != nil {
		return Schedule{}, err
	}
	spec, isSpec := s.there.(*cron.SpecSchedule)
	if !isSpec {
		return Schedule{}, errors.New("it must name times of the day")
	}
	const every = 1 << 63 // robfig/cron's mark of a "*"
	s.fixed = spec.Hour&every == 0
	if s.civil.Next(time.Unix(0, 0).UTC()).IsZero() {
		return Schedule{}, ErrNever
	}
	return s, nil
}

// String is the line with its zone.
func (s Schedule) String() string { return s.line + " " + s.zone.String() }

// Zone is where the line's times are.
func (s Schedule) Zone() *time.Location { return s.zone }

// Next is the first instant of the schedule after one. A time that is skipped when
// the clocks go forward comes as much later as they skip; one that comes twice when
// they go back counts once, unless the line is for every hour.
func (s Schedule) Next(after time.Time) time.Time {
	next := s.there.Next(after)
	for s.fixed && !next.IsZero() && !s.onWall(wall(next, s.zone)).Equal(next) {
		next = s.there.Next(next)
	}
	// robfig/cron leaves the skipped times out.
	if c := s.civil.Next(wall(after, s.zone)); !c.IsZero() {
		if t := s.onWall(c); t.After(after) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if next.IsZero() {
		return after.AddDate(100, 0, 0) // the 29th of February is more than five years away
	}
	return next
}

// wall is what a clock on the wall shows, as if it were UTC.
func wall(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// onWall is when a clock on the wall shows c for the first time or, when it skips
// c, when it would have.
func (s Schedule) onWall(c time.Time) time.Time {
	t := time.Date(c.Year(), c.Month(), c.Day(), c.Hour(), c.Minute(), c.Second(), c.Nanosecond(), s.zone)
	_, before := t.Add(-6 * time.Hour).Zone() // clocks never change twice in so short a time
	early := c.Add(-time.Duration(before) * time.Second).In(s.zone)
	if wall(t, s.zone).Equal(c) && !wall(early, s.zone).Equal(c) {
		return t
	}
	return early
}

// day counts the days of a place since 1970, as its people do.
func day(t time.Time, zone *time.Location) int {
	t = t.In(zone)
	return int(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
}
