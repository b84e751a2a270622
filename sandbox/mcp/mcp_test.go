package mcp

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
)

// login is a token endpoint that knows one secret.
type login struct {
	mu       sync.Mutex
	secret   string
	requests int
}

func (l *login) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if r.URL.Path != "/contoso/oauth2/v2.0/token" || r.FormValue("client_secret") != l.secret || r.FormValue("grant_type") != "client_credentials" {
		conditions.WriteJSON(w, http.StatusUnauthorized, "application/json", map[string]any{
			"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided.", "error_codes": []int{7000215},
		})
		return
	}
	conditions.WriteJSON(w, http.StatusOK, "application/json", map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ.a.b"})
}

func (l *login) accept(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secret = secret
}

func (l *login) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

// platform is one sharepoint service in prod, with its login.
type platform struct {
	*Server
	cond  *conditions.Conditions
	login *login
	url   string
}

func newPlatform(t *testing.T) platform {
	t.Helper()
	entra := &login{secret: "right"}
	tls := httptest.NewTLSServer(entra)
	t.Cleanup(tls.Close)
	cond := conditions.New(conditions.NewClock())
	s := New(cond, Options{Login: tls.URL, Tenant: "contoso", Client: tls.Client()})
	t.Cleanup(s.Close)
	s.AddService(Service{Environment: "prod", Server: "sharepoint", Cluster: "aiconnectors-prod", Service: "sharepoint"})
	front := httptest.NewServer(s.Handler())
	t.Cleanup(front.Close)
	return platform{Server: s, cond: cond, login: entra, url: front.URL + "/prod/sharepoint"}
}

func (p platform) launch(t *testing.T, id, secret string) {
	t.Helper()
	if err := p.Start(t.Context(), aws.TaskSpec{ID: id, Cluster: "aiconnectors-prod", Service: "sharepoint", Environment: map[string]string{ClientIDVariable: "app", ClientSecretVariable: secret}}); err != nil {
		t.Fatal(err)
	}
	p.warming.Wait()
}

// call calls search_documents through the protocol.
func (p platform) call(t *testing.T) *sdk.CallToolResult {
	t.Helper()
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test"}, nil).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: p.url}, nil)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = session.Close() }()
	result, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "search_documents", Arguments: map[string]any{"query": "onboarding"}})
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	return result
}

func (p platform) health(t *testing.T) (int, string) {
	t.Helper()
	status, body, _ := p.get(t, p.url+"/health")
	return status, body
}

func (p platform) get(t *testing.T, url string) (status int, body string, header http.Header) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b), response.Header
}

func text(r *sdk.CallToolResult) string {
	var parts []string
	for _, c := range r.Content {
		if t, ok := c.(*sdk.TextContent); ok {
			parts = append(parts, t.Text)
		}
	}
	return strings.Join(parts, "\n")
}

func TestAServerWithALiveSecretAnswers(t *testing.T) {
	p := newPlatform(t)
	p.launch(t, "task-1", "right")
	result := p.call(t)
	if result.IsError || !strings.Contains(text(result), "Onboarding guide.docx") {
		t.Errorf("got %q (isError %v), want the onboarding guide", text(result), result.IsError)
	}
	if strings.Contains(text(result), "Travel policy") {
		t.Errorf("got %q, which was not asked for", text(result))
	}
	if status, body := p.health(t); status != 200 {
		t.Errorf("health: %d %s", status, body)
	}
	if n := p.login.count(); n != 1 {
		t.Errorf("%d token requests, want one that is kept", n)
	}
}

func TestAServerWithADeadSecretFailsHonestly(t *testing.T) {
	p := newPlatform(t)
	p.launch(t, "task-1", "wrong")
	result := p.call(t)
	if !result.IsError || !strings.Contains(text(result), "AADSTS7000215") {
		t.Errorf("got %q (isError %v), want Entra's refusal", text(result), result.IsError)
	}
	if status, body := p.health(t); status != 503 || !strings.Contains(body, "AADSTS7000215") {
		t.Errorf("health: %d %s, want 503 with the reason", status, body)
	}
}

func TestAKeptTokenOutlivesItsSecretUntilItRunsOut(t *testing.T) {
	p := newPlatform(t)
	p.launch(t, "task-1", "right")
	p.login.accept("another")

	p.cond.Clock.Advance(58 * time.Minute) // due for renewal, which is refused
	if result := p.call(t); result.IsError {
		t.Errorf("two minutes before its token runs out the server fails: %s", text(result))
	}
	p.cond.Clock.Advance(3 * time.Minute)
	if result := p.call(t); !result.IsError {
		t.Error("the server still answers without a token")
	}
	if status, _ := p.health(t); status != 503 {
		t.Errorf("health is %d, want 503", status)
	}
	p.login.accept("right")
	if status, _ := p.health(t); status != 200 {
		t.Errorf("health is %d although the secret works again", status)
	}
}

func TestATokensLifetimeCanBeSet(t *testing.T) {
	p := newPlatform(t)
	p.Set("", "", Settings{TokenLifetime: time.Minute})
	p.launch(t, "task-1", "right")
	p.login.accept("another")
	p.cond.Clock.Advance(61 * time.Second)
	if result := p.call(t); !result.IsError {
		t.Error("the token is still used after its set lifetime")
	}
}

func TestTheLoadBalancerTakesTurnsAndLeavesOutTheSick(t *testing.T) {
	p := newPlatform(t)
	p.launch(t, "task-1", "right")
	p.launch(t, "task-2", "right")
	served := map[string]int{}
	look := func(n int) {
		clear(served)
		for range n {
			_, _, header := p.get(t, p.url+"/health")
			served[header.Get("X-Served-By")]++
		}
	}
	if look(6); served["task-1"] != 3 || served["task-2"] != 3 {
		t.Errorf("served %v, want three each", served)
	}
	p.launch(t, "task-3", "wrong")
	if look(6); served["task-3"] != 0 {
		t.Errorf("served %v, want none by the sick task-3", served)
	}
	p.Stop("task-1")
	p.Stop("task-2")
	if look(2); served["task-3"] != 2 {
		t.Errorf("served %v, want all by task-3 when none is well", served)
	}
}

func TestAServiceWithoutTasksIsUnavailable(t *testing.T) {
	p := newPlatform(t)
	if status, _ := p.health(t); status != 503 {
		t.Errorf("health is %d, want 503", status)
	}
	p.launch(t, "task-1", "right")
	p.Stop("task-1")
	if status, _ := p.health(t); status != 503 {
		t.Errorf("health after the stop is %d, want 503", status)
	}
}

func TestAnUnknownServiceCannotStart(t *testing.T) {
	p := newPlatform(t)
	if err := p.Start(t.Context(), aws.TaskSpec{ID: "task-1", Cluster: "aiconnectors-prod", Service: "nonesuch"}); err == nil {
		t.Error("started a server nobody described")
	}
	if status, _, _ := p.get(t, strings.Replace(p.url, "sharepoint", "nonesuch", 1)); status != 404 {
		t.Errorf("got %d, want 404", status)
	}
}

func TestCallsAreNamedInTheLog(t *testing.T) {
	p := newPlatform(t)
	p.launch(t, "task-1", "right")
	p.call(t)
	p.health(t)
	counts := p.cond.Counts()
	// A streamed answer is read before its call is over and in the log.
	for deadline := time.Now().Add(10 * time.Second); counts["mcp.tools/call"] == 0 && time.Now().Before(deadline); counts = p.cond.Counts() {
		time.Sleep(time.Millisecond)
	}
	for _, operation := range []string{"mcp.tools/call", "mcp.health"} {
		if counts[operation] != 1 {
			t.Errorf("%s was logged %d times, want once: %v", operation, counts[operation], counts)
		}
	}
	if counts["mcp.unknown"] != 0 {
		t.Errorf("calls without a name: %v", counts)
	}
}

func TestFaultsHitMCPCalls(t *testing.T) {
	for _, c := range []struct {
		fault conditions.Fault
		want  string
	}{
		{conditions.Fault{Kind: conditions.Refuse, Status: 401, Code: "who are you"}, "who are you"},
		{conditions.Fault{Kind: conditions.Throttle, RetryAfter: 7}, "Too Many Requests"},
		{conditions.Fault{Kind: conditions.ServerErr}, "Internal Server Error"},
		{conditions.Fault{Kind: conditions.CutBefore}, "EOF"},
		{conditions.Fault{Kind: conditions.CutAfter}, "EOF"},
		{conditions.Fault{Kind: conditions.Nonsense}, "unsupported content type"},
	} {
		t.Run(string(c.fault.Kind), func(t *testing.T) {
			p := newPlatform(t)
			p.launch(t, "task-1", "right")
			c.fault.Operation = "mcp.tools/call"
			c.fault.Count = 1
			p.cond.Add(c.fault)
			session, err := sdk.NewClient(&sdk.Implementation{Name: "test"}, nil).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: p.url}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = session.Close() }()
			_, err = session.CallTool(t.Context(), &sdk.CallToolParams{Name: "list_sites"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if result := p.call(t); result.IsError {
				t.Errorf("after the fault: %s", text(result))
			}
		})
	}
}

func TestSettingsFromOutside(t *testing.T) {
	p := newPlatform(t)
	p.launch(t, "task-1", "right")
	control := httptest.NewServer(p.Control())
	defer control.Close()
	post := func(body string) int {
		response, err := http.Post(control.URL+"/settings", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}

	if status := post(`{"environment":"prod","server":"sharepoint","tool_text":"something else"}`); status != 200 {
		t.Fatalf("set tool_text: %d", status)
	}
	if got := text(p.call(t)); got != "something else" {
		t.Errorf("got %q", got)
	}
	post(`{"tool_error":"index offline"}`)
	if result := p.call(t); !result.IsError || text(result) != "index offline" {
		t.Errorf("got %q (isError %v)", text(result), result.IsError)
	}
	post(`{"unhealthy":true}`)
	if status, _ := p.health(t); status != 503 {
		t.Errorf("health is %d, want 503", status)
	}
	post(`{"slow":"50ms"}`)
	start := time.Now()
	p.call(t)
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("a slow call took %s", took)
	}
	for _, wrong := range []string{`{"slow":"soon"}`, `{"unknown":1}`, `nonsense`} {
		if status := post(wrong); status != 400 {
			t.Errorf("%s: %d, want 400", wrong, status)
		}
	}
	if status := post(`{"server":"nonesuch","unhealthy":true}`); status != 404 {
		t.Errorf("settings for nobody: %d, want 404", status)
	}
	request, _ := http.NewRequest(http.MethodDelete, control.URL+"/settings", nil)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if status, _ := p.health(t); status != 200 {
		t.Errorf("health after the settings were removed is %d", status)
	}
}

func TestTheStateShowsTasksWithTheirSecrets(t *testing.T) {
	p := newPlatform(t)
	p.launch(t, "task-1", "right")
	b, err := json.Marshal(p.State())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"path":"/prod/sharepoint"`, `"search_documents"`, `"id":"task-1"`, `"client_secret":"right"`, `"token_expires"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the state lacks %s: %s", want, b)
		}
	}
	running := p.Running()
	if len(running) != 1 || running[0].ClientSecret != "right" || running[0].Service.Path() != "/prod/sharepoint" {
		t.Errorf("running: %+v", running)
	}
}

// The state is read and tokens are got at the same time; the race detector and
// a deadlock would tell.
func TestEverythingAtOnce(t *testing.T) {
	p := newPlatform(t)
	p.Set("", "", Settings{TokenLifetime: time.Second})
	p.launch(t, "task-1", "right")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				p.cond.Clock.Advance(time.Second)
				p.State()
				p.Running()
				if !p.Healthy("task-1") {
					t.Error("task-1 is not healthy")
				}
			}
		})
	}
	wg.Wait()
}

func TestATokenComesOverTLSOnly(t *testing.T) {
	p := newPlatform(t)
	p.options.Client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}} // trusts nobody here
	p.launch(t, "task-1", "right")
	if status, body := p.health(t); status != 503 || !strings.Contains(body, "certificate") {
		t.Errorf("health: %d %s, want 503 because of the certificate", status, body)
	}
}
