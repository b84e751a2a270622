package terraform

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// program puts a program of that name, a shell script, before all others.
func program(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// client is a client that lives as long as the test.
func client(t *testing.T, o Options) *Client {
	t.Helper()
	o.Folder, o.Environ = t.TempDir(), append(os.Environ(), o.Environ...)
	c := New(o, time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestAFailedPlanIsToldByItsHeadlineAndWithoutSecrets(t *testing.T) {
	program(t, "terraform", `printf '╷\n│ Error: no access with abc8Q~abcdefghijklmnopqrstuvwxyz-12345678 here\n│ \n│   the value is hush\n' >&2; exit 1`)
	_, err := client(t, Options{}).Next(t.Context(), runbook.Module{Directory: t.TempDir(), Program: "terraform"})
	if !operation.IsPermanent(err) || err.Error() != "terraform plan failed: no access with (redacted) here" {
		t.Errorf("error %v", err)
	}
}

func TestAProgramThatIsNotThereIsToldSo(t *testing.T) {
	_, err := client(t, Options{}).Next(t.Context(), runbook.Module{Directory: t.TempDir(), Program: "terragrunt-that-nobody-has"})
	if !operation.IsPermanent(err) || !strings.Contains(err.Error(), "is not installed") {
		t.Errorf("error %v", err)
	}
}

func TestAPlanThatTakesTooLongIsStopped(t *testing.T) {
	program(t, "terraform", `trap 'echo stopped > "$HOME/stopped"; exit 1' INT; while :; do sleep 0.1; done`)
	home := t.TempDir()
	t.Setenv("HOME", home)
	_, err := client(t, Options{Limit: time.Second}).Next(t.Context(), runbook.Module{Directory: t.TempDir(), Program: "terraform"})
	if !operation.IsPermanent(err) || !strings.Contains(err.Error(), "was stopped after 1s") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(home, "stopped")); err != nil {
		t.Errorf("it was not interrupted: %v", err)
	}
}

func TestTheProgramIsNotGivenOurTokensNorOthersArguments(t *testing.T) {
	program(t, "terraform", `if [ -e /proc/$$/environ ]; then tr '\0' '\n' < /proc/$$/environ > "$HOME/env"; else env > "$HOME/env"; fi; echo "$@" > "$HOME/args"; exit 1`)
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, name := range []string{"SLACK_BOT_TOKEN", "TF_CLI_ARGS", "TF_LOG", "DATABASE_URL"} {
		t.Setenv(name, "hush")
	}
	t.Setenv("AWS_REGION", "eu-central-1")
	c := client(t, Options{})
	if _, err := c.Next(t.Context(), runbook.Module{Directory: t.TempDir(), Program: "terraform"}); err == nil {
		t.Fatal("no error")
	}
	env, err := os.ReadFile(filepath.Join(home, "env"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "hush") || !strings.Contains(string(env), "AWS_REGION=eu-central-1") {
		t.Errorf("the environment:\n%s", env)
	}
	args, err := os.ReadFile(filepath.Join(home, "args"))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(args))
	if len(words) != 5 || words[0] != "plan" || words[1] != "-input=false" || words[2] != "-no-color" || !strings.HasPrefix(words[3], "-out=/") || words[4] != "-lock=false" {
		t.Errorf("arguments %q", words)
	}
}

// A step's call is short, and a plan is not: whoever asks again hears its end.
func TestAnAnswerWaitsForWhoAsksAgain(t *testing.T) {
	program(t, "terraform", `echo once >> "$HOME/runs"; while ! [ -e "$HOME/go" ]; do sleep 0.02; done; echo "Error: no" >&2; exit 1`)
	home := t.TempDir()
	t.Setenv("HOME", home)
	c := client(t, Options{})
	m := runbook.Module{Directory: t.TempDir(), Program: "terraform"}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Next(short, m); err == nil || operation.IsPermanent(err) {
		t.Fatalf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(home, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(t.Context(), m); !operation.IsPermanent(err) {
		t.Fatalf("error %v", err)
	}
	runs, err := os.ReadFile(filepath.Join(home, "runs"))
	if err != nil || strings.Count(string(runs), "once") != 1 {
		t.Errorf("it ran %q, %v", runs, err)
	}
}

func TestWhatADeadProcessLeftIsSwept(t *testing.T) {
	folder := t.TempDir()
	now := time.Now()
	c := New(Options{Folder: folder}, func() time.Time { return now })
	dir, err := c.private("look-1", now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v, %v", info.Mode(), err)
	}
	for _, c2 := range []struct {
		after time.Duration
		there bool
	}{{59 * time.Minute, true}, {2 * time.Minute, false}} {
		now = now.Add(c2.after)
		if err := c.sweep(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); (err == nil) != c2.there {
			t.Errorf("after %s: %v", c2.after, err)
		}
	}
}
