package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustParse(t testing.TB, line, zone string) Schedule {
	t.Helper()
	s, err := ParseSchedule(line, zone)
	if err != nil {
		t.Fatalf("%s in %s: %v", line, zone, err)
	}
	return s
}

// next lists the first n instants after one, in the schedule's zone.
func next(s Schedule, after string, n int) []string {
	at, err := time.Parse(time.RFC3339, after)
	if err != nil {
		panic(err)
	}
	var out []string
	for range n {
		at = s.Next(at)
		out = append(out, at.In(s.Zone()).Format("Jan 2 15:04 -07"))
	}
	return out
}

func TestNineInTheMorningIsNineInTheMorningAllYear(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about, line, zone, after string
		want                     []string
	}{
		{"the clocks go forward on Sunday", "0 9 * * *", "Europe/Berlin", "2026-03-27T20:00:00Z",
			[]string{"Mar 28 09:00 +01", "Mar 29 09:00 +02", "Mar 30 09:00 +02"}},
		{"the clocks go back on Sunday", "0 9 * * *", "Europe/Berlin", "2026-10-23T20:00:00Z",
			[]string{"Oct 24 09:00 +02", "Oct 25 09:00 +01", "Oct 26 09:00 +01"}},
		{"a time that is skipped comes an hour later", "30 2 * * *", "Europe/Berlin", "2026-03-27T20:00:00Z",
			[]string{"Mar 28 02:30 +01", "Mar 29 03:30 +02", "Mar 30 02:30 +02"}},
		{"a time that comes twice counts once", "30 2 * * *", "Europe/Berlin", "2026-10-23T20:00:00Z",
			[]string{"Oct 24 02:30 +02", "Oct 25 02:30 +02", "Oct 26 02:30 +01"}},
		{"every hour is every hour", "0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z",
			[]string{"Oct 25 02:00 +02", "Oct 25 02:00 +01", "Oct 25 03:00 +01"}},
		{"every hour when one is skipped", "0 * * * *", "Europe/Berlin", "2026-03-28T23:30:00Z",
			[]string{"Mar 29 01:00 +01", "Mar 29 03:00 +02", "Mar 29 04:00 +02"}},
		{"the line names its zone", "CRON_TZ=Asia/Tokyo 0 9 * * 1-5", "", "2026-03-27T20:00:00Z",
			[]string{"Mar 30 09:00 +09", "Mar 31 09:00 +09"}},
		{"a day without midnight", "0 0 * * *", "America/Santiago", "2026-09-04T12:00:00Z",
			[]string{"Sep 5 00:00 -04", "Sep 6 01:00 -03", "Sep 7 00:00 -03"}},
		{"half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00:00Z",
			[]string{"Oct 4 02:45 +11", "Oct 5 02:15 +11"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			if got := next(mustParse(t, c.line, c.zone), c.after, len(c.want)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestALineThatCannotBeMeantIsRefused(t *testing.T) {
	t.Parallel()
	for line, zone := range map[string]string{
		"": "", "nine": "", "0 0 9 * * *": "", "0 9 * *": "", "@every 1h": "", "60 9 * * *": "", "CRON_TZ=UTC": "", "CRON_TZ=": "", "TZ=UTC 0 9 * * *": "",
		"CRON_TZ=UTC TZ=UTC 0 9 * * *": "",
	} {
		if s, err := ParseSchedule(line, zone); err == nil || errors.Is(err, ErrZone) && line != "CRON_TZ=" {
			t.Errorf("%q is taken for %s, %v", line, s, err)
		}
	}
	if _, err := ParseSchedule("0 9 30 2 *", ""); !errors.Is(err, ErrNever) {
		t.Errorf("the 30th of February: %v", err)
	}
	for line, zone := range map[string]string{"0 9 * * *": "Middle/Earth", "CRON_TZ=Local 0 9 * * *": "", "CRON_TZ=Asia/Tokyo 0 9 * * *": "Europe/Berlin"} {
		if _, err := ParseSchedule(line, zone); !errors.Is(err, ErrZone) {
			t.Errorf("%q in %q: %v", line, zone, err)
		}
	}
}

func zones() []string {
	return []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca", "Pacific/Apia"}
}

// minutes walks through every minute behind an instant and says at which the line
// is due, without knowing how cron works.
func minutes(zone *time.Location, minute, hour int, after time.Time, span time.Duration) []time.Time {
	var out []time.Time
	seen := map[string]bool{}
	begin := after.Truncate(time.Minute).Add(-3 * time.Hour) // to have seen what comes twice
	last := begin.In(zone)
	for t := begin.Add(time.Minute); t.Before(after.Add(span)); t = t.Add(time.Minute) {
		now := t.In(zone)
		_, before := last.Zone()
		_, behind := now.Zone()
		for skipped := range max(behind-before, 0) / 60 { // what the clocks on the walls leave out
			on := last.Add(time.Duration(skipped+1) * time.Minute) // by the zone of before
			wall := time.Unix(on.Unix()+int64(before), 0).UTC()
			if wall.Minute() == minute && wall.Hour() == hour {
				out = append(out, on)
			}
		}
		label := now.Format("2006-01-02 15:04")
		if now.Minute() == minute && now.Hour() == hour && !seen[label] {
			out = append(out, t)
		}
		seen[label] = true
		last = now
	}
	return slices.DeleteFunc(out, func(t time.Time) bool { return !t.After(after) })
}

func TestALineIsDueWhenAClockOnTheWallSaysSo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones()).Draw(t, "zone")
		minute, hour := rapid.IntRange(0, 59).Draw(t, "minute"), rapid.IntRange(0, 4).Draw(t, "hour")
		s, err := ParseSchedule(fmt.Sprintf("%d %d * * *", minute, hour), zone)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		after := begin.Add(time.Duration(rapid.IntRange(0, 2*365*24*60).Draw(t, "after")) * time.Minute)
		want := minutes(s.Zone(), minute, hour, after, 72*time.Hour)
		at := after
		for _, w := range want[:2] {
			if at = s.Next(at); !at.Equal(w) {
				t.Fatalf("after %s: %s, want %s", after.In(s.Zone()), at.In(s.Zone()), w.In(s.Zone()))
			}
		}
	})
}

func FuzzAnyLineIsReadOrRefused(f *testing.F) {
	for _, line := range []string{"0 9 * * *", "CRON_TZ=Europe/Berlin 0 9 * * 1-5", "@daily", "CRON_TZ=", "TZ=UTC", "*/5 0-23/2 ? JAN MON"} {
		f.Add(line, "Europe/Berlin")
	}
	f.Fuzz(func(t *testing.T, line, zone string) {
		s, err := ParseSchedule(line, zone)
		if err != nil {
			return
		}
		at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
		for range 5 {
			before := at
			if at = s.Next(at); !at.After(before) {
				t.Fatalf("%q: %s comes after %s", line, at, before)
			}
		}
		if strings.TrimSpace(s.String()) == "" {
			t.Errorf("%q has no words", line)
		}
	})
}
