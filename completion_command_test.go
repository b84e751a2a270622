package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twokey/twokey/internal/need"
)

func completion(t *testing.T, shell string) string {
	t.Helper()
	var out bytes.Buffer
	if err := dispatch(t.Context(), []string{"completion", shell}, streams{out: &out, err: &out}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestBashCompletesCommandsAndFlags(t *testing.T) {
	bash := need.Program(t, "bash", "apt-get install bash (Debian)")
	script := filepath.Join(t.TempDir(), "twokey.bash")
	if err := os.WriteFile(script, []byte(completion(t, "bash")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want string }{ // the last word is being typed
		{"twokey do", "doctor"},
		{"twokey audit v", "verify"},
		{"twokey audit verify --c", ""},
		{"twokey audit verify --v", "--verifier"},
		{"twokey audit verify --d", "--database"}, // of an embedded struct
		{"twokey doctor --at", "--at-once"},
		{"twokey doctor --config verify --js", "--json"},
		{"twokey config check --c", "--config"},
		{"twokey nonsense", ""},
	} {
		words := strings.Fields(c.line)
		run := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "-c", `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _twokey; echo "${COMPREPLY[*]}"; complete -p twokey >/dev/null`, script}, words...)...)
		out, err := run.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s completes to %q (%v), want %q", c.line, got, err, c.want)
		}
	}
}

func TestEveryShellIsOfferedEveryCommand(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := completion(t, shell)
		for _, name := range []string{"run", "doctor", "completion", "inventory", "verify"} {
			if !slices.Contains(strings.FieldsFunc(script, func(r rune) bool { return strings.ContainsRune(" \n\"'", r) }), name) {
				t.Errorf("%s is not told of %s", shell, name)
			}
		}
	}
	if err := dispatch(t.Context(), []string{"completion", "tcsh"}, streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}}); exitCode(err) != 2 {
		t.Errorf("an unknown shell ends with %v", err)
	}
}
