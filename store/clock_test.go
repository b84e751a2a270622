package store

import (
	"log/slog"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
)

func TestPeoplesClockDoesNotFollowAJumpThatIsMended(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for _, off := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -10 * time.Minute} {
		c := &calendar{log: slog.New(slog.DiscardHandler)}
		for _, look := range []struct {
			after, off, want time.Duration // since it began: when it is looked at, by how much the machine is off, what it shows
		}{
			{0, 0, 0},
			{time.Minute, time.Second, time.Minute + time.Second}, // as what keeps it right moves it
			{2 * time.Minute, off, 2*time.Minute + time.Second},
			{50 * time.Minute, off, 50*time.Minute + time.Second},
			{51 * time.Minute, 0, 51 * time.Minute}, // somebody has mended it
			{52 * time.Minute, off, 52 * time.Minute},
			{111 * time.Minute, off, 111 * time.Minute},
			{113 * time.Minute, off, 113*time.Minute + off}, // it has stayed so for an hour
			{114 * time.Minute, off, 114*time.Minute + off},
		} {
			got := c.read(began.Add(look.after+look.off), began.Add(look.after)).Sub(began)
			if got != look.want {
				t.Errorf("the machine is off by %s after %s: people's clock shows %s, want %s", look.off, look.after, got, look.want)
			}
		}
	}
}

func TestTheClockThatMeasuresStaysWhereItCanBeRight(t *testing.T) {
	t.Parallel()
	here := time.Now()
	there := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) // of the database, when it is here
	var c clock
	shows := func(after time.Duration) time.Duration { return c.base.Add(here.Add(after).Sub(c.at)).Sub(there) }
	learn := func(told, asked, answered time.Duration) {
		c.learn(there.Add(told), here.Add(asked), here.Add(answered))
	}
	learn(10*time.Millisecond, 0, 20*time.Millisecond)
	if got := shows(20 * time.Millisecond); got < 10*time.Millisecond || got > 30*time.Millisecond {
		t.Errorf("at first it shows %s", got)
	}
	first := shows(2 * time.Second)
	learn(2*time.Second, 1900*time.Millisecond, 2100*time.Millisecond) // somewhere around
	if got := shows(2 * time.Second); got != first {
		t.Errorf("a slow answer moved it by %s", got-first)
	}
	learn(time.Hour, 3*time.Second, 3*time.Second+time.Millisecond) // the database's own clock has jumped
	if got := shows(3*time.Second + time.Millisecond); got < time.Hour || got > time.Hour+2*time.Millisecond {
		t.Errorf("after the database's jump it shows %s", got)
	}
}

func TestOnSQLiteTheNextProcessGoesOnWhereTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	address := "sqlite:" + t.TempDir() + "/twokey.db"
	private, _, err := audit.GenerateKey("twokey.test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	start := func() *Store {
		s, err := Open(t.Context(), address, Options{Recorder: audit.NewLog(key, audit.Cadence{}, time.Now), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	if off := time.Until(s.Clock()).Abs(); off > time.Second {
		t.Errorf("it begins %s away from the machine's clock", off)
	}
	s.clock.base = s.clock.base.Add(time.Hour) // so that the machine's is set back by one, for who comes after
	if err := s.keepClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.keepEnvelopes(t.Context(), []Envelope{{ID: "e1", Body: []byte(`1`)}}, s.until(jobTime)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = start()
	defer s.Close()
	if ahead := time.Until(s.Clock()); ahead < time.Hour-time.Minute || ahead > time.Hour+time.Minute {
		t.Errorf("the next process is %s ahead of the machine's clock that was set back by an hour", ahead)
	}
	if lost, err := s.lostEnvelopes(t.Context(), 10); err != nil || len(lost) != 1 {
		t.Errorf("what the process before had claimed: %d are free, %v", len(lost), err)
	}
	if off := time.Until(s.Now()).Abs(); off > time.Second {
		t.Errorf("people's clock is %s away from the machine's", off)
	}
}
