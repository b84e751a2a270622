package slack

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

func TestTheReadmesExamplesWork(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.AddUser(User{Name: "dave"})
	if err := w.ChangeChannel("platform-ops", func(ch *Channel) { id, _ := w.user("dave"); ch.Members = append(ch.Members, id.ID) }); err != nil {
		t.Fatal(err)
	}
	client := w.client()
	w.connect(t, func(c *socketmode.Client, e socketmode.Event) {
		if e.Request != nil && e.Request.EnvelopeID != "" {
			_ = c.Ack(*e.Request)
		}
		if data, ok := e.Data.(api.SlashCommand); ok && data.Text == "" {
			_, _ = client.OpenView(data.TriggerID, modal())
		}
	})
	_, ts, err := client.PostMessage(w.ops, api.MsgOptionBlocks(buttons("b", "confirm")))
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile(`(?m)^curl -s(N -H 'Accept: text/event-stream')? "?\$SLACK/([^"\s]+)"?(?: -d '(.*)')?$`).FindAllStringSubmatch(string(readme), -1)
	if n := strings.Count(string(readme), "\ncurl "); n != len(examples) || n < 25 {
		t.Fatalf("%d of %d examples can be read", len(examples), n)
	}
	for _, e := range examples {
		view, envelope := "", ""
		if screen, _ := w.Views("alice"); len(screen.Modals) > 0 {
			view = screen.Modals[0].ID
		}
		if all := w.Envelopes(); len(all) > 0 {
			envelope = all[0].ID
		}
		if strings.Contains(e[3], "again") { // after the disconnect, before it
			if err := w.Wait(within(t, 10*time.Second), func() bool { s := w.Sockets(); return len(s) == 1 && !s[0].Draining }); err != nil {
				t.Fatal(err)
			}
		}
		body := strings.NewReplacer("$TS", ts, "$VIEW", view, "$ENVELOPE", envelope).Replace(e[3])
		if status, answer := w.curl(t, e[2], body, e[1] != ""); status != http.StatusOK {
			t.Errorf("%s: got %d %s", e[0], status, answer)
		}
	}
}

// curl does what a line of the README does.
func (w *world) curl(t *testing.T, path, body string, stream bool) (int, string) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.control+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if stream {
		req.Header.Set("Accept", "text/event-stream")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if stream {
		return resp.StatusCode, ""
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}
