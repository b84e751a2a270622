package handlers

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
)

// Whatever stands behind a command is read word by word, or refused with a sentence;
// and a change reference is never what its pattern does not take.
func FuzzACommandIsReadOrRefused(f *testing.F) {
	for _, s := range []string{
		"", "help", "sharepoint prod CHG0012345 yearly rotation", "github dev OPS-123 it", "sharepoint prod CHG00123456", "ＳＨＡＲＥＰＯＩＮＴ prod", "share\u200bpoint prod",
		"sharepoint\u00a0prod x", "github dev CHG0012345\n", "ѕharepoint prod", "<https://evil|sharepoint> prod", strings.Repeat("x", 9000),
	} {
		f.Add(s)
	}
	h := team()
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Fields(text)
		w, err := h.read(words)
		var refusal *operation.Refusal
		if err != nil {
			if !errors.As(err, &refusal) || refusal.Text == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if w.server != "" && !slices.Contains(h.servers(), w.server) || w.environment != "" && !slices.Contains(h.environments(w.server), w.environment) {
			t.Errorf("%q names %s %s, which there is not", text, w.server, w.environment)
		}
		if len(words) > 2 {
			if rest := strings.Fields(w.change + " " + w.reason); !slices.Equal(rest, words[2:]) {
				t.Errorf("%q became change %q, reason %q", text, w.change, w.reason)
			}
		}
		if w.environment == "prod" && w.change != "" && (len(w.change) != len("CHG0012345") || !strings.HasPrefix(w.change, "CHG")) {
			t.Errorf("%q has the change reference %q", text, w.change)
		}
	})
}

// A time in the past, or a sentence.
func FuzzSinceIsAnInstantOfThePastOrRefused(f *testing.F) {
	for _, s := range []string{"", "48h", "0s", "-1h", "2026-11-24", "2026-11-24 13:05", "2026-11-24T13:05:00+02:00", "9999-12-31", "2562047h47m16.854775807s", "1e9h", "0000-01-01", "yesterday"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		at, err := readSince(text, now)
		var refusal *operation.Refusal
		switch {
		case err != nil && !errors.As(err, &refusal):
			t.Errorf("%q: %v", text, err)
		case err == nil && text != "" && !at.Before(now):
			t.Errorf("%q is %s", text, at)
		}
	})
}
