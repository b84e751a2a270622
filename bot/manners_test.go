package bot_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	slackgo "github.com/slack-go/slack"

	"github.com/twokey/twokey/bot"
)

// rings reports whether a message rings a group or a channel: a person may be named.
// In plain text and in rich text's own words Slack rings nobody.
func rings(t *testing.T, m bot.Message) bool {
	t.Helper()
	encoded, err := json.Marshal(slackgo.Blocks{BlockSet: m.Blocks})
	if err != nil {
		t.Fatal(err)
	}
	var blocks any
	if err := json.Unmarshal(encoded, &blocks); err != nil {
		t.Fatal(err)
	}
	ringing := regexp.MustCompile(`<!(subteam|here|channel|everyone)`)
	var look func(v any) bool
	look = func(v any) bool {
		switch v := v.(type) {
		case []any:
			return slices.ContainsFunc(v, look)
		case map[string]any:
			text, _ := v["text"].(string)
			if kind := v["type"]; kind == "usergroup" || kind == "broadcast" || (kind == "mrkdwn" || kind == "markdown") && ringing.MatchString(text) {
				return true
			}
			return slices.ContainsFunc(slices.Collect(maps.Values(v)), look)
		}
		return false
	}
	return ringing.MatchString(m.Text) || look(blocks)
}

func TestNothingRingsAGroupButAnEmergencyAndWhatIsOverdue(t *testing.T) {
	// A round of reminders rings the group that it is given; that it is given one only for
	// what is overdue is the scheduler's, and tested there.
	want := []string{"card-emergency-pending", "card-emergency-pending-drill", "round"}
	var rang []string
	for name, m := range bot.AllMessages() {
		if rings(t, m) {
			rang = append(rang, name)
		}
	}
	slices.Sort(rang)
	if !slices.Equal(rang, want) {
		t.Errorf("these ring somebody: %v, want %v", rang, want)
	}
}

func TestEveryMessageCanBeUnderstoodFromItsTextAlone(t *testing.T) {
	for name, m := range bot.AllMessages() {
		if len(strings.Fields(m.Text)) < 3 {
			t.Errorf("%s: a screen reader reads %q", name, m.Text)
		}
		for _, b := range m.Blocks {
			header, ok := b.(*slackgo.HeaderBlock)
			if !ok {
				continue
			}
			words := strings.TrimSpace(regexp.MustCompile(`:[a-z_]+:`).ReplaceAllString(header.Text.Text, ""))
			if !strings.Contains(m.Text, strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(words)) {
				t.Errorf("%s: its header %q is not in the text that a screen reader reads:\n%s", name, words, m.Text)
			}
		}
	}
}
