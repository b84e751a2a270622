package node_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
	"github.com/twokey/twokey/sandbox/slack/node"
)

func TestSlacksOwnNodeClientsWorkAgainstTheStandIn(t *testing.T) {
	dir := node.Install(t)
	s := slack.New(conditions.New(conditions.NewClock()))
	s.Set(func(now *slack.Settings) { now.PingSeconds = 0.5 })
	for _, name := range []string{"alice", "bob", "carol"} {
		s.AddUser(slack.User{Name: name})
	}
	if _, err := s.AddChannel(slack.Channel{Name: "platform-ops", Members: []string{"alice", "bob", "carol"}}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/slack/", http.StripPrefix("/slack", s.Handler()))
	mux.Handle("/_sandbox/slack/", http.StripPrefix("/_sandbox/slack", s.Control()))
	web := httptest.NewServer(mux)
	defer web.Close()
	defer s.Close()

	cmd := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "clients.test.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SLACK_API_URL="+web.URL+"/slack/api/", "SLACK_BOT_TOKEN="+s.BotToken(), "SLACK_APP_TOKEN="+s.AppToken(),
		"SANDBOX_CONTROL="+web.URL+"/_sandbox/slack/")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

func TestBlocksAreCheckedAgainstSlacksOwnTypes(t *testing.T) {
	text := map[string]any{"type": "plain_text", "text": "x"}
	button := func(style string) map[string]any {
		return map[string]any{"type": "actions", "elements": []any{map[string]any{"type": "button", "action_id": "a", "text": text, "style": style}}}
	}
	good := []node.Item{
		{Name: "a button", Blocks: []any{button("danger")}},
		{Name: "a plan", Blocks: []any{map[string]any{"type": "plan", "title": "Rotate", "tasks": []any{map[string]any{"type": "task_card", "task_id": "1", "title": "x", "status": "complete"}}}}},
		{Name: "a modal", View: map[string]any{"type": "modal", "title": text, "blocks": []any{map[string]any{"type": "divider"}}}},
	}
	node.CheckBlocks(t, good)
	for want, bad := range map[string]node.Item{
		"a wrong style: ":        {Name: "a wrong style", Blocks: []any{button("default")}},
		"a made-up block: ":      {Name: "a made-up block", Blocks: []any{map[string]any{"type": "marquee"}}},
		"a made-up member: ":     {Name: "a made-up member", Blocks: []any{map[string]any{"type": "divider", "colour": "red"}}},
		"a modal without title:": {Name: "a modal without title", View: map[string]any{"type": "modal", "blocks": []any{}}},
	} {
		if got := node.Mistakes(t, append(good, bad)); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s got %q", want, got)
		}
	}
}
