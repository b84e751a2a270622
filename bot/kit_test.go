package bot_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	slackgo "github.com/slack-go/slack"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/slack"
)

func TestSlackTakesEveryMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slack.Set(func(s *slack.Settings) { s.Limits = false })
	for name, m := range bot.AllMessages() {
		blocks, err := json.Marshal(slackgo.Blocks{BlockSet: m.Blocks})
		w.must(blocks, err)
		resp, err := w.client.PostForm(w.address+"/chat.postMessage", url.Values{
			"token": {w.slack.BotToken()}, "channel": {w.ops}, "text": {m.Text}, "blocks": {string(blocks)},
		})
		w.must(resp, err)
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || answer["ok"] != true {
			t.Errorf("%s: %v %v", name, answer, err)
		}
		_ = resp.Body.Close() // only read from
	}
}

func TestSlackTakesEveryHomeTab(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	alice, err := w.slack.UserID("alice")
	w.must(alice, err)
	for name, h := range bot.AllHomes() {
		if err := b.PublishHome(t.Context(), operation.UserID(alice), h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// nodeDir holds Slack's own types.
const nodeDir = "../sandbox/slack/node"

func TestEveryMessageIsWhatSlacksOwnTypesSay(t *testing.T) {
	t.Parallel()
	node := need.Node(t, nodeDir)
	var ts strings.Builder
	ts.WriteString("import type { HomeView, KnownBlock, ModalView } from '@slack/types';\n")
	declare := func(name, kind string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		ts.WriteString("export const " + strings.ReplaceAll(name, "-", "_") + ": " + kind + " = " + string(b) + ";\n")
	}
	messages, modals, homes := bot.AllMessages(), bot.AllModals(), bot.AllHomes()
	for _, name := range slices.Sorted(maps.Keys(messages)) {
		declare("message_"+name, "KnownBlock[]", slackgo.Blocks{BlockSet: messages[name].Blocks})
	}
	for _, name := range slices.Sorted(maps.Keys(modals)) {
		declare("modal_"+name, "ModalView", bot.ViewOf(modals[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(homes)) {
		declare("home_"+name, "HomeView", bot.TabOf(homes[name]))
	}
	check := func(source string) ([]byte, error) {
		dir := t.TempDir()
		file := filepath.Join(dir, "messages.ts")
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		modules, err := filepath.Abs(filepath.Join(nodeDir, "node_modules"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		tsc := filepath.Join(modules, "typescript", "bin", "tsc")
		return exec.Command(node, tsc, "--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "node", "--target", "es2022", file).CombinedOutput()
	}
	if out, err := check(ts.String()); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// The check must be able to say no.
	if _, err := check(strings.Replace(ts.String(), `"rich_text_section"`, `"rich_text_sektion"`, 1)); err == nil {
		t.Error("a type that does not exist passes")
	}
}

func TestTheManifestAsksForTheScopesThatTheBotNeedsAndNoMore(t *testing.T) {
	b, err := os.ReadFile("../manifest.yml")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		OAuth struct {
			Scopes struct {
				Bot []string `yaml:"bot"`
			} `yaml:"scopes"`
		} `yaml:"oauth_config"`
	}
	if err := yaml.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	got, want := manifest.OAuth.Scopes.Bot, bot.Scopes()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("manifest.yml asks for\n%v\nthe bot needs\n%v", got, want)
	}
}
