package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
	sandbox "github.com/twokey/twokey/sandbox/mcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is one sharepoint server of the sandbox, and how to ask it.
type stage struct {
	*sandbox.Server
	cond     *conditions.Conditions
	endpoint runbook.Endpoint
}

func newStage(t *testing.T, secret string) stage {
	t.Helper()
	login := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_secret") != "right" {
			conditions.WriteJSON(w, http.StatusUnauthorized, "application/json", map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."})
			return
		}
		conditions.WriteJSON(w, http.StatusOK, "application/json", map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ.a.b"})
	}))
	cond := conditions.New(conditions.NewClock())
	s := sandbox.New(cond, sandbox.Options{Login: login.URL, Tenant: "contoso", Client: login.Client()})
	s.AddService(sandbox.Service{Environment: "prod", Server: "sharepoint", Cluster: "aiconnectors-prod", Service: "sharepoint"})
	front := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		front.Close()
		s.Close()
		login.Client().CloseIdleConnections()
		login.Close()
	})
	if err := s.Start(t.Context(), aws.TaskSpec{ID: "task-1", Cluster: "aiconnectors-prod", Service: "sharepoint", Environment: map[string]string{sandbox.ClientIDVariable: "app", sandbox.ClientSecretVariable: secret}}); err != nil {
		t.Fatal(err)
	}
	return stage{Server: s, cond: cond, endpoint: runbook.Endpoint{
		URL: front.URL + "/prod/sharepoint", Health: front.URL + "/prod/sharepoint/health",
		Tool: "search_documents", Arguments: map[string]any{"query": "onboarding"}, Expect: "Onboarding guide",
	}}
}

func newServers(options Options) *Servers { return New(options, time.Now) }

// wantError checks that err says what is wanted and is permanent or not.
func wantError(t *testing.T, err error, text string, permanent bool) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want one with %q", err, text)
	}
	if operation.IsPermanent(err) != permanent {
		t.Errorf("permanent is %v, want %v: %v", !permanent, permanent, err)
	}
}

func TestAWorkingServerGivesEvidence(t *testing.T) {
	s := newStage(t, "right")
	evidence, err := newServers(Options{}).Healthy(t.Context(), s.endpoint)
	if err != nil || !strings.HasPrefix(evidence, "health answered HTTP 200 in ") {
		t.Errorf("health: %q, %v", evidence, err)
	}
	evidence, err = newServers(Options{}).CallTool(t.Context(), s.endpoint)
	if err != nil || !strings.HasPrefix(evidence, "tool search_documents answered in ") || !strings.HasSuffix(evidence, " ms, as expected") {
		t.Errorf("tool: %q, %v", evidence, err)
	}
}

func TestEvidenceClaimsNoMoreThanWasAsked(t *testing.T) {
	s := newStage(t, "right")
	s.endpoint.Health, s.endpoint.Expect = "", ""
	evidence, err := newServers(Options{}).Healthy(t.Context(), s.endpoint)
	if err != nil || evidence != "no health URL is configured; not asked" {
		t.Errorf("health: %q, %v", evidence, err)
	}
	evidence, err = newServers(Options{}).CallTool(t.Context(), s.endpoint)
	if err != nil || !strings.HasSuffix(evidence, "without error") {
		t.Errorf("tool: %q, %v", evidence, err)
	}
}

func TestADeadSecretIsSeenInHealthAndTool(t *testing.T) {
	s := newStage(t, "dead")
	_, err := newServers(Options{}).Healthy(t.Context(), s.endpoint)
	wantError(t, err, "HTTP 503", false)
	_, err = newServers(Options{}).CallTool(t.Context(), s.endpoint)
	wantError(t, err, "AADSTS7000215", false)
}

func TestAnotherResultThanExpectedIsAnError(t *testing.T) {
	s := newStage(t, "right")
	s.Set("", "", sandbox.Settings{ToolText: "The index is being rebuilt."})
	_, err := newServers(Options{}).CallTool(t.Context(), s.endpoint)
	wantError(t, err, `answered "The index is being rebuilt.", which does not contain "Onboarding guide"`, false)
}

func TestAToolThatIsNotOfferedIsPermanent(t *testing.T) {
	s := newStage(t, "right")
	s.endpoint.Tool = "search_document"
	_, err := newServers(Options{}).CallTool(t.Context(), s.endpoint)
	wantError(t, err, `does not offer the tool "search_document", but list_sites, search_documents`, true)
	if n := s.cond.Counts()["mcp.tools/call"]; n != 0 {
		t.Errorf("the tool was called %d times all the same", n)
	}
}

func TestAnErrorOfTheToolNeverShowsASecret(t *testing.T) {
	s := newStage(t, "right")
	secret := "Ab3" + "8Q~" + strings.Repeat("x", 34)
	s.Set("", "", sandbox.Settings{ToolError: "login with " + secret + " failed\n\x1b[31m" + strings.Repeat("!", 500)})
	_, err := newServers(Options{}).CallTool(t.Context(), s.endpoint)
	wantError(t, err, "login with (redacted) failed", false)
	if strings.Contains(err.Error(), "Q~") || len(err.Error()) > 300 {
		t.Errorf("the error is %q", err)
	}
}

func TestEveryFaultIsAnErrorAndNothingIsLeftRunning(t *testing.T) {
	for _, at := range []string{"mcp.server/discover", "mcp.tools/list", "mcp.tools/call", "mcp.health"} {
		for _, kind := range []conditions.Kind{conditions.Refuse, conditions.Throttle, conditions.ServerErr, conditions.CutBefore, conditions.CutAfter, conditions.Timeout} {
			t.Run(at+" "+string(kind), func(t *testing.T) {
				s := newStage(t, "right")
				s.cond.Add(conditions.Fault{Operation: at, Kind: kind, Status: http.StatusUnauthorized})
				servers := newServers(Options{})
				if kind == conditions.Timeout {
					servers = newServers(Options{Timeout: 300 * time.Millisecond}) // which runs out, however fast the machine is
				}
				ask := servers.CallTool
				if at == "mcp.health" {
					ask = servers.Healthy
				}
				evidence, err := ask(t.Context(), s.endpoint)
				if at == "mcp.server/discover" && kind != conditions.Timeout {
					// Discovery is new; a server that cannot do it is initialized the old way.
					if err != nil || !strings.HasSuffix(evidence, "as expected") {
						t.Fatalf("got %q, %v; want the older handshake", evidence, err)
					}
					return
				}
				if err == nil {
					t.Fatalf("got %q, want an error", evidence)
				}
				if got, want := operation.IsPermanent(err), kind == conditions.Refuse; got != want {
					t.Errorf("permanent is %v, want %v: %v", got, want, err)
				}
			})
		}
	}
}

func TestTheCallersContextEndsTheWait(t *testing.T) {
	s := newStage(t, "right")
	s.Set("", "", sandbox.Settings{Slow: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := newServers(Options{}).CallTool(ctx, s.endpoint)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("gave up after %s", took)
	}
}

func TestOwnTimeoutEndsTheWait(t *testing.T) {
	s := newStage(t, "right")
	s.Set("", "", sandbox.Settings{Slow: time.Minute})
	_, err := newServers(Options{Timeout: 100 * time.Millisecond}).CallTool(t.Context(), s.endpoint)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

func TestEndlessAnswersAreCutOff(t *testing.T) {
	// endless speaks every kind of answer and never stops.
	endless := func(contentType, begin string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			chunk := strings.Repeat(" ", 64<<10)
			_, err := io.WriteString(w, begin)
			for err == nil {
				_, err = io.WriteString(w, chunk)
			}
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"JSON":             endless("application/json", "{"),
		"one large event":  endless("text/event-stream", "data: {"),
		"no event at all":  endless("text/event-stream", ": comment\n\n"),
		"an error's words": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400); endless("text/plain", "no")(w, r) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			servers := newServers(Options{Timeout: 2 * time.Minute}) // on a slow machine the size is still reached first
			_, err := servers.CallTool(t.Context(), runbook.Endpoint{URL: server.URL, Tool: "x"})
			wantError(t, err, "too large", false)
			_, err = servers.Healthy(t.Context(), runbook.Endpoint{Health: server.URL})
			wantError(t, err, "too large", false)
		})
	}
}

func TestAListOfToolsWithoutEndIsCutOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			t.Error(err)
		}
		result := `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`
		switch call.Method {
		case "server/discover":
			http.NotFound(w, r)
			return
		case "notifications/initialized":
			w.WriteHeader(http.StatusAccepted)
			return
		case "tools/list": // the same page for ever
			result = `{"tools":[{"name":"` + strings.Repeat("n", 100<<10) + `","inputSchema":{"type":"object"}}],"nextCursor":"again"}`
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, call.ID, result)
	}))
	defer server.Close()
	_, err := newServers(Options{Timeout: 2 * time.Minute}).CallTool(t.Context(), runbook.Endpoint{URL: server.URL, Tool: "x"})
	wantError(t, err, "too large", false)
}

func TestTheTokenGoesWithEveryRequestAndFollowsNoRedirect(t *testing.T) {
	token := operation.NewSecret("t0ken-" + strings.Repeat("z", 8))
	var seen []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed with Authorization %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if r.URL.Path == "/echo" {
			http.Error(w, "you said "+r.Header.Get("Authorization"), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	servers := newServers(Options{Token: token})

	_, err := servers.Healthy(t.Context(), runbook.Endpoint{Health: server.URL})
	wantError(t, err, "HTTP 307", false)
	_, err = servers.CallTool(t.Context(), runbook.Endpoint{URL: server.URL, Tool: "x"})
	wantError(t, err, "HTTP 307", false)
	_, err = servers.Healthy(t.Context(), runbook.Endpoint{Health: server.URL + "/echo"})
	wantError(t, err, "HTTP 403", true)
	if strings.Contains(err.Error(), token.Reveal()) {
		t.Errorf("the error shows the token: %v", err)
	}
	for _, header := range seen {
		if header != "Bearer "+token.Reveal() {
			t.Errorf("Authorization was %q", header)
		}
	}
}

func TestAnAddressThatIsNoneIsPermanentlyWrong(t *testing.T) {
	_, err := newServers(Options{}).Healthy(t.Context(), runbook.Endpoint{Health: "http://[::bad"})
	wantError(t, err, "ask the health URL", true)
}

func TestAnUntrustedCertificateIsRefused(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	_, err := newServers(Options{}).Healthy(t.Context(), runbook.Endpoint{Health: server.URL})
	wantError(t, err, "certificate", false)
	if _, err := newServers(Options{Roots: rootsOf(server)}).Healthy(t.Context(), runbook.Endpoint{Health: server.URL}); err != nil {
		t.Errorf("with its root: %v", err)
	}
}
