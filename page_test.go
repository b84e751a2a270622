package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/sandbox"
)

// screenshots is where TestThePage leaves its pictures: go test . -run TestThePage -screenshots docs/img
var screenshots = flag.String("screenshots", "", "folder for the pictures that TestThePage takes")

// TestThePage has people use the sandbox's page in a real browser, with the real bot
// behind it; sandbox/page/test/page.test.mjs says what they do.
func TestThePage(t *testing.T) {
	const folder = "sandbox/page/test"
	node := need.Node(t, folder)
	chromium := need.Program(t, "chromium", "apt-get install chromium (Debian)")
	t.Setenv("AWS_ACCESS_KEY_ID", "TWOKEYSANDBOX0001")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	app, err := sandboxApp()
	if err != nil {
		t.Fatal(err)
	}
	app.Clock = true
	box, err := sandbox.Start(t.Context(), sandbox.Options{App: app})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	quicken(box)
	bot, err := newBot(box, t.TempDir(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	bot.does = []string{"reminders"}
	defer bot.stop()
	if err := bot.start(); err != nil {
		t.Fatal(err)
	}

	pictures := *screenshots
	if pictures != "" {
		if pictures, err = filepath.Abs(pictures); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", "page.test.mjs")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PAGE_URL="+box.URL(), "CHROMIUM="+chromium, "SCREENSHOTS="+pictures)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("people in the browser: %v\nThe bot's log:\n%s", err, regexp.MustCompile(`(?m)^.*"level":"DEBUG".*\n`).ReplaceAllString(bot.log.String(), ""))
	}
	for _, v := range box.CheckAll() {
		if want := map[string]int64{"sharepoint/prod": 2, "github/dev": 2, "confluence/prod": 2, "jira/prod": 2}[v.Secret]; want > 0 && v.Version != want {
			t.Errorf("%s: the live parameter is version %d, want %d: it has no new secret", v.Secret, v.Version, want)
		}
	}
	gaps := box.Probe.Look().Gaps()
	for _, leaked := range []string{"confluence/prod", "jira/prod"} { // an emergency cannot help it
		delete(gaps, leaked)
	}
	if len(gaps) > 0 {
		t.Errorf("a service was without a working secret: %+v", gaps)
	}
}
