// Package node runs Slack's own Node clients and types for tests: the clients
// against the stand-in for Slack, and Block Kit through the TypeScript compiler.
package node

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// oldest is the first Node that the clients run on.
const oldest = 20

// Install returns the folder with the clients, installing them from the lock
// file if they are missing. It skips the test, saying why, where there is no
// Node 20 or no npm, or where npm cannot install; in CI that fails instead.
func Install(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Dir(here)
	missing := t.Skipf
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	out, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		missing("Node is missing: install Node %d or later to run Slack's own clients", oldest)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		missing("Node %s is too old: Slack's own clients need %d or later", strings.TrimSpace(string(out)), oldest)
	}
	// Packages are tested side by side, and one npm at a time is enough.
	unlock, err := lockedfile.MutexAt(filepath.Join(os.TempDir(), "twokey-npm-ci.lock")).Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil { // npm writes it last
		return dir
	}
	if _, err := exec.LookPath("npm"); err != nil {
		missing("npm is missing: it installs Slack's own clients from sandbox/slack/node/package-lock.json")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing("npm could not install Slack's own clients: %v\n%s", err, out)
	}
	return dir
}

// Item is one thing to check: a message's blocks or a whole view.
type Item struct {
	Name   string `json:"name"` // for the mistakes found in it
	Blocks any    `json:"blocks,omitempty"`
	View   any    `json:"view,omitempty"`
}

// CheckBlocks fails the test for everything in items that Slack's own types do
// not allow. It skips as [Install] does.
func CheckBlocks(t testing.TB, items []Item) {
	t.Helper()
	for _, mistake := range Mistakes(t, items) {
		t.Error(mistake)
	}
}

// Mistakes returns what Slack's own types do not allow in items, a line each.
// It skips as [Install] does.
func Mistakes(t testing.TB, items []Item) []string {
	t.Helper()
	dir := Install(t)
	b, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "messages.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "blocks", "check.mjs"), file).CombinedOutput()
	text := strings.TrimSpace(string(out))
	switch {
	case err == nil && text == "":
		return nil
	case text == "":
		t.Fatal(err)
	}
	return strings.Split(text, "\n")
}
