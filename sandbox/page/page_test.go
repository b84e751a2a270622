package page_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/page"
)

func TestWhatIsEmbeddedIsWhatTheSourcesGive(t *testing.T) {
	node := need.Node(t, ".")
	fresh := t.TempDir()
	cmd := exec.CommandContext(t.Context(), node, filepath.Join("node_modules", "vite", "bin", "vite.js"), "build", "--outDir", fresh, "--emptyOutDir", "--logLevel", "warn")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the page: %v\n%s", err, out)
	}
	built, committed := files(t, fresh), files(t, "dist")
	for name := range built {
		if !bytes.Equal(built[name], committed[name]) {
			t.Errorf("dist/%s is not what src/ gives; run: npm ci && npm run build", name)
		}
	}
	for name := range committed {
		if built[name] == nil {
			t.Errorf("dist/%s is left over", name)
		}
	}
}

// files reads a folder's files. What is compressed is unpacked: two versions of Node
// may pack the same bytes differently.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(e.Name()) == ".gz" {
			packed, err := gzip.NewReader(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if content, err = io.ReadAll(packed); err != nil {
				t.Fatal(err)
			}
		}
		all[e.Name()] = content
	}
	return all
}

func TestThePagesTypesAreRight(t *testing.T) {
	node := need.Node(t, ".")
	if out, err := exec.CommandContext(t.Context(), node, filepath.Join("node_modules", "typescript", "bin", "tsc"), "--noEmit").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	srv := httptest.NewServer(page.Handler())
	defer srv.Close()
	for path, kind := range map[string]string{"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css", "/licences.md": "text/"} {
		resp, err := http.Get(srv.URL + path) // which unpacks by itself
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(resp.Body)
		if err != nil || len(content) < 500 {
			t.Errorf("%s: %d bytes, %v", path, len(content), err)
		}
		_ = resp.Body.Close() // it was read
		if plain := unpacked(t, srv.URL+path); !bytes.Equal(plain, content) {
			t.Errorf("%s: a client that cannot unpack gets something else", path)
		}
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
		}
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
}

// unpacked asks as a client that cannot unpack.
func unpacked(t *testing.T, address string) []byte {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestEveryElementCanBeUsed(t *testing.T) {
	node := need.Node(t, "test")
	chromium := need.Program(t, "chromium", "apt-get install chromium (Debian)")
	box, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	a := newApp(t, box)
	defer a.stop()
	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", "elements.test.mjs")
	cmd.Dir = "test"
	cmd.Env = append(os.Environ(), "PAGE_URL="+box.URL(), "CHROMIUM="+chromium)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

// app is a Slack app that shows every element and says what reaches it.
type app struct {
	t     *testing.T
	box   *sandbox.Sandbox
	conn  *websocket.Conn
	ended sync.WaitGroup
	show  struct{ Message, Modal, Home json.RawMessage }
}

func newApp(t *testing.T, box *sandbox.Sandbox) *app {
	t.Helper()
	a := &app{t: t, box: box}
	b, err := os.ReadFile(filepath.Join("test", "elements.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &a.show); err != nil {
		t.Fatal(err)
	}
	var opened struct{ URL string }
	a.call(box.Slack.AppToken(), "apps.connections.open", struct{}{}, &opened)
	var resp *http.Response
	if a.conn, resp, err = websocket.DefaultDialer.DialContext(t.Context(), opened.URL, nil); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // a handshake has none
	a.ended.Go(a.listen)
	return a
}

func (a *app) stop() {
	_ = a.conn.Close() // which ends listen
	a.ended.Wait()
}

// call calls the Web API, and waits as long as a rate limit says. Slack's refusal
// fails the test.
func (a *app) call(token, method string, in, out any) {
	body, err := json.Marshal(in)
	if err != nil {
		a.t.Error(err)
		return
	}
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.box.URL()+"/slack/api/"+method, bytes.NewReader(body))
	if err != nil {
		a.t.Error(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusTooManyRequests {
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil {
			a.t.Errorf("%s: a rate limit without an end: %v", method, err)
			return
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
			a.call(token, method, in, out)
		case <-a.t.Context().Done():
		}
		return
	}
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil || !bytes.Contains(answer.Bytes(), []byte(`"ok":true`)) {
		a.t.Errorf("%s: %v %s", method, err, answer.String())
	}
	if out != nil {
		if err := json.Unmarshal(answer.Bytes(), out); err != nil {
			a.t.Error(err)
		}
	}
}

// interaction is what the app reads of an envelope's payload.
type interaction struct {
	Type      string `json:"type"`
	Command   string `json:"command"`
	TriggerID string `json:"trigger_id"`
	Actions   []map[string]any
	View      struct {
		State struct {
			Values map[string]map[string]map[string]any
		}
	}
	Event struct{ Type, User string }
}

func (a *app) listen() {
	for {
		var e struct {
			EnvelopeID string `json:"envelope_id"`
			Payload    interaction
		}
		if err := a.conn.ReadJSON(&e); err != nil {
			return
		}
		if e.EnvelopeID == "" || e.Payload.Command == "/silence" {
			continue
		}
		ack := map[string]any{"envelope_id": e.EnvelopeID}
		if e.Payload.View.State.Values["line"]["v"]["value"] == "wrong" && e.Payload.Type == "view_submission" {
			ack["payload"] = map[string]any{"response_action": "errors", "errors": map[string]string{"line": "That is wrong."}}
			e.Payload.Type = ""
		}
		if err := a.conn.WriteJSON(ack); err != nil {
			return
		}
		a.answer(e.Payload)
	}
}

func (a *app) answer(in interaction) {
	bot := a.box.Slack.BotToken()
	switch {
	case in.Command == "/show":
		a.call(bot, "chat.postMessage", map[string]any{"channel": sandbox.OperationsChannel, "text": "Every element", "blocks": a.show.Message}, nil)
	case in.Command == "/ask":
		a.call(bot, "views.open", map[string]any{"trigger_id": in.TriggerID, "view": a.show.Modal}, nil)
	case in.Event.Type == "app_home_opened":
		a.call(bot, "views.publish", map[string]any{"user_id": in.Event.User, "view": a.show.Home}, nil)
	case in.Type == "block_actions":
		a.say(fmt.Sprintf("%s is %s", in.Actions[0]["action_id"], entered(in.Actions[0])))
	case in.Type == "view_submission":
		var lines []string
		for block, actions := range in.View.State.Values {
			lines = append(lines, fmt.Sprintf("%s is %s", block, entered(actions["v"])))
		}
		slices.Sort(lines)
		a.say(strings.Join(lines, "\n"))
	}
}

func (a *app) say(text string) {
	a.call(a.box.Slack.BotToken(), "chat.postMessage", map[string]any{"channel": sandbox.OperationsChannel, "text": text}, nil)
}

// entered is the value of an action or of an input's state, wherever it stands.
func entered(state map[string]any) string {
	for _, name := range []string{"value", "selected_option", "selected_options", "selected_date", "selected_time", "selected_date_time", "selected_user", "selected_channel"} {
		if v, ok := state[name]; ok {
			return values(v)
		}
	}
	return fmt.Sprint(state)
}

func values(v any) string {
	switch v := v.(type) {
	case []any:
		var all []string
		for _, o := range v {
			all = append(all, values(o))
		}
		return strings.Join(all, ",")
	case map[string]any:
		return values(v["value"])
	case float64:
		return fmt.Sprintf("%.0f", v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
