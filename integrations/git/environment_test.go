package git

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheProgramsAreNotGivenOurTokens(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("what a process was given is only seen on Linux")
	}
	bin, home := t.TempDir(), t.TempDir()
	script := "#!/bin/sh\ncat /proc/$$/environ /proc/$$/cmdline > \"$HOME/given\"\n"
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o700); err != nil { //nolint:gosec // a program has to be executable
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HOME", home)
	for _, name := range []string{"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "GIT_ASKPASS"} {
		t.Setenv(name, "hush")
	}
	if _, err := (Checkouts{}).Files(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	given, err := os.ReadFile(filepath.Join(home, "given"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(given), "hush") || !strings.Contains(string(given), "GIT_OPTIONAL_LOCKS=0") {
		t.Errorf("it was given %q", given)
	}
}
