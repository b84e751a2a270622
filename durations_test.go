package main

import (
	"testing"
	"time"
)

// What is written as a duration and can be read is what it says, and is written back so.
func FuzzADurationIsReadAsItIsWritten(f *testing.F) {
	for _, s := range []string{"24h", "7d", "0s", "60d", "-1d", "1h30m", "32768d", "9223372036s", "d", "1.5d", "0d", "until expiry", "1h1m0s", "+3d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDuration(text)
		if err != nil {
			return
		}
		if again, err := parseDuration(shortDuration(d)); err != nil || again != d {
			t.Errorf("%q is %s, is written %q, and that is %s (%v)", text, d, shortDuration(d), again, err)
		}
		if d > 40000*24*time.Hour && text[len(text)-1] == 'd' {
			t.Errorf("%q days are %s", text, d)
		}
	})
}
