package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/twokey/twokey/internal/need"
)

// TestAYearOfRemindersIsToldOnceByTwoReplicas plays what "demo --script reminders"
// plays, which judges itself.
func TestAYearOfRemindersIsToldOnceByTwoReplicas(t *testing.T) {
	t.Setenv(databaseVariable, need.Postgres(t))
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, os.Getenv(name)) // the play sets them
	}
	var out bytes.Buffer
	if err := dispatch(t.Context(), []string{"demo", "--script", "reminders"}, streams{out: &out, err: &out, getenv: os.Getenv}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "by 2 replicas; it is what a calendar says") {
		t.Error(out.String())
	}
}
