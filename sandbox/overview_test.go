package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/entra"
)

func started(t *testing.T) *Sandbox {
	t.Helper()
	s, err := Start(t.Context(), Options{App: App{Commands: []Command{{Command: "/rotate"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func secretOverview(t *testing.T, s *Sandbox, name string) SecretOverview {
	t.Helper()
	for _, o := range s.Overview().Secrets {
		if o.Name == name {
			return o
		}
	}
	t.Fatalf("%s is not in the overview", name)
	return SecretOverview{}
}

func TestTheOverviewHasNoSecretsText(t *testing.T) {
	s := started(t)
	b, err := json.Marshal(map[string]any{"overview": s.Overview(), "chat": s.chat()})
	if err != nil {
		t.Fatal(err)
	}
	told := string(b)
	for _, a := range s.look().directory.Applications {
		for _, p := range a.Passwords {
			if strings.Contains(told, p.Secret) {
				t.Errorf("the text of the key %s is in it", p.Name)
			}
		}
	}
	for _, token := range []string{s.Slack.BotToken(), s.Slack.AppToken()} {
		if strings.Contains(told, token) {
			t.Error("a token of Slack is in it")
		}
	}
	if !strings.Contains(told, "/aiconnectors/prod/sharepoint/client_secret") {
		t.Error("the parameter's name is not in it")
	}
}

func TestTheHealthOfASecretSaysWhatComesFirst(t *testing.T) {
	s := started(t)
	expect := func(name string, want Health, words string) {
		t.Helper()
		if o := secretOverview(t, s, name); o.Health != want || !strings.Contains(o.Words, words) {
			t.Errorf("%s is %s: %s; want %s: …%s…", name, o.Health, o.Words, want, words)
		}
	}
	expect("sharepoint/dev", Well, "one key works")
	expect("github/dev", Expiring, "5 days")

	jira, _ := s.Team.Secret("jira/prod")
	key, err := s.Entra.AddPassword(jira.ClientID, entra.NewPassword{Name: "twokey:test"})
	if err != nil {
		t.Fatal(err)
	}
	expect("jira/prod", Unsettled, "not in use yet")
	if err := s.AWS.SeedParameter(aws.Parameter{Name: jira.SecretParameter + pending, Value: key.Secret}); err != nil {
		t.Fatal(err)
	}
	expect("jira/prod", Unsettled, "waits in the pending parameter")

	old := secretOverview(t, s, "jira/prod").Keys[1]
	if err := s.Entra.RemovePassword(jira.ClientID, old.ID); err != nil {
		t.Fatal(err)
	}
	expect("jira/prod", Broken, "gets no token")
	o := secretOverview(t, s, "jira/prod")
	if len(o.Gaps) == 0 || o.Keys[1].Removed.IsZero() || o.Keys[1].Works || !o.Keys[0].Works {
		t.Errorf("the removed key does not show: %+v, gaps %+v", o.Keys, o.Gaps)
	}
	if len(o.Parameters) != 3 || len(o.Service.Tasks) != 2 || !o.Service.Tasks[0].Live {
		t.Errorf("parameters %+v, tasks %+v", o.Parameters, o.Service.Tasks)
	}
}

func TestThePageIsToldEverythingAndThenEveryChange(t *testing.T) {
	s := started(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/_sandbox/page", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	events := eventReader{t, bufio.NewReader(resp.Body)}
	if first := events.until("chat", "platform-ops"); !strings.Contains(first, `"/rotate"`) {
		t.Error("the app's commands are not in the first event")
	}
	events.until("clock", "now")
	events.until("overview", "sharepoint/prod")

	if _, err := s.Slack.Say("alice", "#general", "hello there", ""); err != nil {
		t.Fatal(err)
	}
	events.until("change", "hello there")
	s.Clock.Advance(24 * time.Hour)
	events.until("clock", s.Clock.Now().Format(time.DateOnly))
	if err := s.AWS.Behave("aiconnectors-dev", "jira", aws.Behaviour{Stuck: true}); err != nil {
		t.Fatal(err)
	}
	events.until("overview", `"stuck":true`)
}

// eventReader reads server-sent events.
type eventReader struct {
	t    *testing.T
	from *bufio.Reader
}

// until reads on to an event of a kind that has a text in it.
func (e eventReader) until(kind, text string) string {
	e.t.Helper()
	now := ""
	for {
		line, err := e.from.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			e.t.Fatalf("waiting for %s with %q: %v", kind, text, err)
		}
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			now = strings.TrimSpace(name)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok && now == kind && strings.Contains(data, text) {
			return data
		}
		if errors.Is(err, io.EOF) {
			e.t.Fatalf("the stream ended before %s with %q", kind, text)
		}
	}
}
