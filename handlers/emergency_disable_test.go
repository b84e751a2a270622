package handlers

import (
	"errors"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
)

func TestSinceWhenASecretLeakedIsReadOrRefused(t *testing.T) {
	now := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"48h":                       now.Add(-48 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
		"2026-11-24":                time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC),
		"2026-11-24 13:05":          time.Date(2026, 11, 24, 13, 5, 0, 0, time.UTC),
		"2026-11-24T13:05":          time.Date(2026, 11, 24, 13, 5, 0, 0, time.UTC),
		"2026-11-24T13:05:00Z":      time.Date(2026, 11, 24, 13, 5, 0, 0, time.UTC),
		"2026-11-24T13:05:00+02:00": time.Date(2026, 11, 24, 11, 5, 0, 0, time.UTC),
	} {
		if got, err := readSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is read as %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"tomorrow", "-48h", "0s", "2026-11-26", "2026-11-25 03:00", "2026-02-30", "24/11/2026", "2026-11-24 25:00"} {
		got, err := readSince(text, now)
		if refusal, ok := errors.AsType[*operation.Refusal](err); !ok || refusal.Code != codeSince {
			t.Errorf("%q is read as %s, %v; want a refusal", text, got, err)
		}
	}
}
