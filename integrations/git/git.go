// Package git reads checkouts on this machine by the programs git and gitleaks,
// without a shell and with fixed arguments. It changes nothing in them.
package git

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/twokey/twokey/policy"
)

// Checkouts implements [policy.Checkouts] and [policy.Scanner].
type Checkouts struct{}

// maxFile bounds what is read of a file, in bytes.
const maxFile = 4 << 20

// run runs a program in a checkout, and returns its output and exit code.
func run(ctx context.Context, checkout, program string, words ...string) (string, int, error) {
	cmd := exec.CommandContext(ctx, program, words...)
	cmd.Dir = checkout
	// A checkout's own settings can name programs that git runs; these two are switched
	// off, for the git that gitleaks runs as well. Whose checkouts are looked at is trusted
	// otherwise.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GIT_CONFIG_NOSYSTEM=1", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=core.fsmonitor", "GIT_CONFIG_VALUE_0=false", "GIT_CONFIG_KEY_1=core.hooksPath", "GIT_CONFIG_VALUE_1=/dev/null",
	}
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		first, _, _ := strings.Cut(strings.TrimSpace(trouble.String()), "\n")
		return out.String(), exit.ExitCode(), fmt.Errorf("%s in %s: exit code %d: %s", program, checkout, exit.ExitCode(), first)
	}
	if err != nil {
		return "", -1, fmt.Errorf("%s in %s: %w", program, checkout, err)
	}
	return out.String(), 0, nil
}

// Files implements policy.Checkouts.
func (Checkouts) Files(ctx context.Context, checkout string) ([]string, error) {
	out, _, err := run(ctx, checkout, "git", "ls-files", "-z")
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(out, func(c rune) bool { return c == 0 }), nil
}

// Ignores implements policy.Checkouts.
func (Checkouts) Ignores(ctx context.Context, checkout, file string) (bool, error) {
	_, code, err := run(ctx, checkout, "git", "check-ignore", "--quiet", "--no-index", "--", file)
	if code == 1 {
		return false, nil
	}
	return err == nil, err
}

// Read implements policy.Checkouts. A link that leads out of the checkout is not followed.
func (Checkouts) Read(checkout, file string) ([]byte, error) {
	root, err := os.OpenRoot(checkout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // only read from
	f, err := root.Open(filepath.FromSlash(file))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", file, maxFile)
	}
	return b, err
}

// foundLeaks is gitleaks's exit code when it found something.
const foundLeaks = 9

// Leaks implements policy.Scanner, by gitleaks in its version 8.
func (Checkouts) Leaks(ctx context.Context, checkout string) ([]policy.Leak, error) {
	out, code, err := run(ctx, checkout, "gitleaks", "git", "--no-banner", "--redact", "--log-level=error", "--exit-code=9", "--report-format=json", "--report-path=-", ".")
	if err != nil && code != foundLeaks {
		return nil, err
	}
	// What was matched is in it as well, redacted; it is not read.
	var found []struct {
		RuleID    string
		File      string
		StartLine int
		Commit    string
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		return nil, fmt.Errorf("read gitleaks's report on %s: %w", checkout, err)
	}
	leaks := make([]policy.Leak, len(found))
	for i, f := range found {
		leaks[i] = policy.Leak{Rule: f.RuleID, File: f.File, Line: f.StartLine, Commit: f.Commit}
	}
	if (code == foundLeaks) != (len(leaks) > 0) {
		return nil, fmt.Errorf("gitleaks on %s: exit code %d, and %d places in its report", checkout, code, len(leaks))
	}
	return leaks, nil
}
