package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// player talks to a sandbox over HTTP and nothing else.
type player struct {
	t      *testing.T
	client *http.Client
	url    string
	entra  string
}

func newPlayer(t *testing.T) player {
	t.Helper()
	s, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	client := s.Client()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		s.Close()
	})
	return player{t: t, client: client, url: s.URL(), entra: s.EntraURL()}
}

// do sends one request and returns the status and the body, and decodes it into out.
func (p player) do(request *http.Request, out any) int {
	p.t.Helper()
	response, err := p.client.Do(request)
	if err != nil {
		p.t.Fatalf("%s %s: %v", request.Method, request.URL, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			p.t.Fatalf("%s %s answered %s", request.Method, request.URL, body)
		}
	}
	return response.StatusCode
}

// sandbox makes a call of the control API; body is JSON or empty.
func (p player) sandbox(method, path, body string, out any) int {
	p.t.Helper()
	request, err := http.NewRequest(method, p.url+"/_sandbox/"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.do(request, out)
}

// must is sandbox for calls that have to succeed.
func (p player) must(method, path, body string, out any) {
	p.t.Helper()
	var raw json.RawMessage
	if status := p.sandbox(method, path, body, &raw); status != http.StatusOK {
		p.t.Fatalf("%s %s: %d %s", method, path, status, raw)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			p.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
		}
	}
}

// aws makes a call of one of AWS's JSON APIs.
func (p player) aws(target, body string, out any) int {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodPost, p.url+"/aws/", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", target)
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+accessKey+"/20260101/eu-central-1/ssm/aws4_request, SignedHeaders=host, Signature=00")
	return p.do(request, out)
}

const (
	ssmTarget = "AmazonSSM."
	ecsTarget = "AmazonEC2ContainerServiceV20141113."
)

// secret is what the state tells of one secret of the team.
func (p player) secret(name string) Secret {
	p.t.Helper()
	var state struct{ Team Team }
	p.must("GET", "state", "", &state)
	secret, ok := state.Team.Secret(name)
	if !ok {
		p.t.Fatalf("no secret %s among %v", name, state.Team.Secrets)
	}
	return secret
}

func (p player) check(name string) Verdict {
	p.t.Helper()
	var answer struct {
		OK      bool
		Secrets []Verdict
	}
	status := p.sandbox("GET", "check?secret="+name, "", &answer)
	if (status == http.StatusOK) != answer.OK || len(answer.Secrets) != 1 || answer.Secrets[0].OK != answer.OK {
		p.t.Fatalf("check of %s: %d %+v", name, status, answer)
	}
	return answer.Secrets[0]
}

func (p player) probe() Report {
	p.t.Helper()
	var r Report
	p.must("GET", "probe", "", &r)
	return r
}

// newKey makes a key as the portal would and returns its id and text.
func (p player) newKey(client, name string) (id, text string) {
	p.t.Helper()
	var key struct {
		ID     string `json:"key_id"`
		Secret string `json:"secret"`
	}
	p.must("POST", "entra/applications/"+client+"/passwords", fmt.Sprintf(`{"name":%q}`, name), &key)
	return key.ID, key.Secret
}

func (p player) put(parameter, value string) {
	p.t.Helper()
	var out struct{ Version int64 }
	if status := p.aws(ssmTarget+"PutParameter", fmt.Sprintf(`{"Name":%q,"Value":%q,"Type":"SecureString","Overwrite":true}`, parameter, value), &out); status != http.StatusOK {
		p.t.Fatalf("put %s: %d", parameter, status)
	}
}

func (p player) redeploy(s Secret) {
	p.t.Helper()
	var out json.RawMessage
	if status := p.aws(ecsTarget+"UpdateService", fmt.Sprintf(`{"cluster":%q,"service":%q,"forceNewDeployment":true}`, s.Cluster, s.Service), &out); status != http.StatusOK {
		p.t.Fatalf("redeploy %s: %d %s", s.Name, status, out)
	}
}

// eventually waits until holds does, and fails with why when it takes too long.
func (p player) eventually(why string, holds func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			p.t.Fatalf("not within 20 s: %s", why)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p player) health(s Secret) int {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodGet, p.url+"/mcp/"+s.Environment+"/"+s.Server+"/health", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.do(request, nil)
}

func (p player) callTool(s Secret, tool string) *sdk.CallToolResult {
	p.t.Helper()
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test"}, nil).Connect(p.t.Context(),
		&sdk.StreamableClientTransport{Endpoint: p.url + "/mcp/" + s.Environment + "/" + s.Server, HTTPClient: p.client}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	result, err := session.CallTool(p.t.Context(), &sdk.CallToolParams{Name: tool})
	if err != nil {
		p.t.Fatal(err)
	}
	return result
}

func TestTheSeededPlatformIsWell(t *testing.T) {
	p := newPlayer(t)
	var all struct {
		OK      bool
		Secrets []Verdict
	}
	p.must("GET", "check", "", &all)
	if !all.OK || len(all.Secrets) != 8 {
		t.Errorf("%d secrets, ok %v: %+v", len(all.Secrets), all.OK, all.Secrets)
	}
	for _, v := range all.Secrets {
		if v.Working != 1 || v.Tasks != 2 || v.Version != 1 {
			t.Errorf("%+v", v)
		}
	}
	if r := p.probe(); len(r.Services) != 8 || len(r.Gaps()) != 0 {
		t.Errorf("the probe saw %+v", r)
	}
	for server, tool := range map[string]string{"sharepoint": "search_documents", "github": "search_repositories", "jira": "search_issues", "confluence": "search_pages"} {
		if result := p.callTool(p.secret(server+"/prod"), tool); result.IsError {
			t.Errorf("%s failed", tool)
		}
	}
}

func TestSomeSecretsAreNearTheirEndAndNoneIsPastIt(t *testing.T) {
	p := newPlayer(t)
	var state struct {
		Now  time.Time
		Team Team
	}
	p.must("GET", "state", "", &state)
	near := 0
	for _, s := range state.Team.Secrets {
		left := s.Expires.Sub(state.Now)
		if left <= 0 || left > 731*day {
			t.Errorf("%s lives for another %s", s.Name, left)
		}
		if left < 30*day {
			near++
		}
	}
	if near < 2 || near > 6 {
		t.Errorf("%d of %d secrets are near their end", near, len(state.Team.Secrets))
	}
}

func TestARedeployPicksUpANewSecretAndNobodyIsWithout(t *testing.T) {
	p := newPlayer(t)
	s := p.secret("sharepoint/prod")
	old := p.check(s.Name).Keys[0].ID
	_, text := p.newKey(s.ClientID, "twokey:k7m2p9")
	p.put(s.SecretParameter, text)

	v := p.check(s.Name)
	if v.OK || v.Version != 2 || v.Tasks != 0 {
		t.Errorf("before the redeploy: %+v", v)
	}
	p.redeploy(s)
	p.eventually("the tasks run with the new secret", func() bool { return p.check(s.Name).OK })
	if v := p.check(s.Name); v.Working != 2 || v.Tasks != 2 {
		t.Errorf("in the overlap: %+v", v)
	}
	p.must("DELETE", "entra/applications/"+s.ClientID+"/passwords/"+old, "", nil)
	if v := p.check(s.Name); !v.OK || v.Working != 1 {
		t.Errorf("after the removal: %+v", v)
	}
	if result := p.callTool(s, "list_sites"); result.IsError {
		t.Error("the tool fails with the new secret")
	}
	if gaps := p.probe().Gaps(); len(gaps) != 0 {
		t.Errorf("a service was without a working secret: %+v", gaps)
	}
}

func TestADeadSecretMakesTasksFail(t *testing.T) {
	p := newPlayer(t)
	s := p.secret("jira/dev")
	p.must("DELETE", "entra/applications/"+s.ClientID+"/passwords/"+p.check(s.Name).Keys[0].ID, "", nil)

	if v := p.check(s.Name); v.OK || v.Working != 0 {
		t.Errorf("without a key: %+v", v)
	}
	gaps := p.probe().Gaps()[s.Name]
	if len(gaps) != 1 || !gaps[0].Down || !gaps[0].Until.IsZero() || !strings.Contains(gaps[0].Why, "AADSTS7000215") || len(gaps[0].Tasks) != 2 {
		t.Errorf("gaps: %+v", gaps)
	}
	if status := p.health(s); status != http.StatusOK {
		t.Errorf("health is %d, while tokens that were issued live on", status)
	}
	p.must("POST", "clock", `{"advance":"2h"}`, nil)
	p.eventually("the server is unhealthy", func() bool { return p.health(s) == http.StatusServiceUnavailable })
	if status := p.health(p.secret("jira/prod")); status != http.StatusOK {
		t.Errorf("health of another server is %d", status)
	}
	_, text := p.newKey(s.ClientID, "repair")
	p.put(s.SecretParameter, text)
	p.redeploy(s)
	p.eventually("all is well again", func() bool { return p.check(s.Name).OK && p.health(s) == http.StatusOK })
	gaps = p.probe().Gaps()[s.Name]
	if len(gaps) != 1 || gaps[0].Until.IsZero() {
		t.Errorf("gaps after the repair: %+v", gaps)
	}
	p.must("DELETE", "probe", "", nil)
	if gaps := p.probe().Gaps(); len(gaps) != 0 {
		t.Errorf("forgotten gaps came back: %+v", gaps)
	}
}

func TestAClockJumpExpiresSecrets(t *testing.T) {
	p := newPlayer(t)
	p.must("POST", "clock", `{"advance":"312h"}`, nil) // 13 days
	for name, lives := range map[string]bool{"sharepoint/prod": false, "github/dev": false, "jira/dev": true, "github/prod": true} {
		v := p.check(name)
		if (v.Working == 1) != lives {
			t.Errorf("%s after 13 days: %+v", name, v)
		}
		if !lives && !strings.Contains(v.Keys[0].Reason, "AADSTS7000222") {
			t.Errorf("%s is dead because of %q", name, v.Keys[0].Reason)
		}
	}
}

func TestFaultsHitCallsUntilTheirCountIsUsedUp(t *testing.T) {
	p := newPlayer(t)
	var set struct{ Faults []faultForm }
	p.must("POST", "faults", `{"operation":"ssm.GetParameter","kind":"refuse","code":"AccessDeniedException","skip":1,"count":1}`, &set)
	if len(set.Faults) != 1 || set.Faults[0].Skip != 1 {
		t.Errorf("set %+v", set)
	}
	get := func() (int, string) {
		var out struct {
			Type string `json:"__type"`
		}
		status := p.aws(ssmTarget+"GetParameter", `{"Name":"/aiconnectors/prod/jira/client_id"}`, &out)
		return status, out.Type
	}
	for i, want := range []int{200, 400, 200} {
		if status, kind := get(); status != want || (want == 400) != strings.HasSuffix(kind, "AccessDeniedException") {
			t.Errorf("call %d: %d %s, want %d", i+1, status, kind, want)
		}
	}
	var calls struct {
		Calls []struct {
			Operation, Fault string
			Status           int
		}
		Counts map[string]int
	}
	p.must("GET", "calls?operation=ssm.", "", &calls)
	if len(calls.Calls) != 3 || calls.Calls[1].Fault != "refuse" || calls.Calls[1].Status != 400 || calls.Counts["ssm.GetParameter"] != 3 {
		t.Errorf("calls: %+v", calls)
	}
	p.must("POST", "faults", `{"operation":"*","kind":"error"}`, nil)
	if status, _ := get(); status != 500 {
		t.Errorf("got %d, want 500", status)
	}
	p.must("DELETE", "faults", "", nil)
	if status, _ := get(); status != 200 {
		t.Errorf("after the faults were removed: %d", status)
	}
}

func TestLatencySlowsCallsUntilCleared(t *testing.T) {
	p := newPlayer(t)
	took := func() time.Duration {
		start := time.Now()
		var out json.RawMessage
		p.aws(ssmTarget+"GetParameter", `{"Name":"/aiconnectors/prod/jira/client_id"}`, &out)
		return time.Since(start)
	}
	p.must("POST", "latency", `{"operation":"ssm.GetParameter","latency":"150ms"}`, nil)
	if d := took(); d < 150*time.Millisecond {
		t.Errorf("took %s in spite of the latency", d)
	}
	p.must("DELETE", "faults", "", nil)
	if d := took(); d < 150*time.Millisecond {
		t.Errorf("took %s: removing the faults removed the latency", d)
	}
	var left Trouble
	p.must("POST", "clear", "", &left)
	if len(left.Latency) != 0 || len(left.Faults) != 0 {
		t.Errorf("left after clear: %+v", left)
	}
}

func TestClearEndsEverythingThatWasSetToGoWrong(t *testing.T) {
	p := newPlayer(t)
	s := p.secret("github/prod")
	p.must("PUT", "entra/behaviour", `{"learn":[1000]}`, nil)
	p.must("PUT", "aws/services/"+s.Cluster+"/"+s.Service+"/behaviour", `{"stuck":true}`, nil)
	p.must("POST", "mcp/settings", `{"unhealthy":true}`, nil)
	p.must("POST", "clear", "", nil)
	_, text := p.newKey(s.ClientID, "twokey:x")
	p.put(s.SecretParameter, text)
	p.redeploy(s)
	p.eventually("the redeploy goes through", func() bool { return p.check(s.Name).OK })
}

func TestAMistypedControlCallChangesNothing(t *testing.T) {
	p := newPlayer(t)
	for _, c := range [][3]string{
		{"POST", "faults", `{"operation":"ssm.PutParameter","kind":"explode"}`},
		{"POST", "faults", `{"operation":"PutParameter","kind":"error"}`},
		{"POST", "faults", `{"operation":"*","kind":"error","times":3}`},
		{"POST", "faults", `{"operation":"*","kind":"slow","delay":"long"}`},
		{"POST", "latency", `{"operation":"*","latency":"1 second"}`},
		{"POST", "latency", `{"operation":"","latency":"1s"}`},
		{"POST", "clock", `{"advance":"tomorrow"}`},
		{"POST", "clock", `{"forward":"24h"}`},
		{"POST", "clock", ``},
	} {
		var answer struct{ Error string }
		if status := p.sandbox(c[0], c[1], c[2], &answer); status != http.StatusBadRequest || answer.Error == "" {
			t.Errorf("%s %s %s: %d %q", c[0], c[1], c[2], status, answer.Error)
		}
	}
	var left Trouble
	if p.must("GET", "faults", "", &left); len(left.Faults)+len(left.Latency) != 0 {
		t.Errorf("left: %+v", left)
	}
	if status := p.sandbox("GET", "check?secret=sharepoint/test", "", nil); status != http.StatusNotFound {
		t.Errorf("check of an unknown secret: %d", status)
	}
}

func TestCheckSeesWhatAnUnfinishedRotationLeaves(t *testing.T) {
	p := newPlayer(t)
	s := p.secret("confluence/prod")
	problem := func(part string) {
		t.Helper()
		if v := p.check(s.Name); v.OK || !strings.Contains(strings.Join(v.Problems, "\n"), part) {
			t.Errorf("problems %q lack %q", v.Problems, part)
		}
	}
	id, text := p.newKey(s.ClientID, "twokey:orphan")
	problem("is an orphan")
	p.must("DELETE", "entra/applications/"+s.ClientID+"/passwords/"+id, "", nil)
	id, _ = p.newKey(s.ClientID, "made by hand")
	problem("made by hand")
	p.must("DELETE", "entra/applications/"+s.ClientID+"/passwords/"+id, "", nil)
	p.put(s.SecretParameter+".pending", text)
	problem("pending")
	p.aws(ssmTarget+"DeleteParameter", fmt.Sprintf(`{"Name":%q}`, s.SecretParameter+".pending"), nil)
	if v := p.check(s.Name); !v.OK {
		t.Errorf("after cleaning up: %q", v.Problems)
	}
	p.put(s.SecretParameter, text)
	problem("holds no key that works")
	problem("another secret than the live one")
	p.aws(ssmTarget+"DeleteParameter", fmt.Sprintf(`{"Name":%q}`, s.SecretParameter), nil)
	problem("is gone")
}

// The bot's way in: a token of its IAM role is what signs it in to Entra.
func TestTheBotSignsInWithoutASecretAndOwnsItsApplications(t *testing.T) {
	p := newPlayer(t)
	form := url.Values{"Action": {"GetWebIdentityToken"}, "Version": {"2011-06-15"}, "Audience.member.1": {audience}, "SigningAlgorithm": {"RS256"}}
	request, err := http.NewRequest(http.MethodPost, p.url+"/aws", strings.NewReader(form.Encode())) // no slash at the end, as some clients do
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+accessKey+"/20260101/eu-central-1/sts/aws4_request, SignedHeaders=host, Signature=00")
	response, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	_, after, _ := strings.Cut(string(body), "<WebIdentityToken>")
	assertion, _, found := strings.Cut(after, "</WebIdentityToken>")
	if !found {
		t.Fatalf("STS answered %s", body)
	}

	var state struct{ Team Team }
	p.must("GET", "state", "", &state)
	form = url.Values{
		"grant_type": {"client_credentials"}, "client_id": {state.Team.Bot.ClientID}, "scope": {"https://graph.microsoft.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
	request, err = http.NewRequest(http.MethodPost, p.entra+"/"+state.Team.Tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var token struct {
		AccessToken string `json:"access_token"`
		Description string `json:"error_description"`
	}
	if p.do(request, &token); token.AccessToken == "" {
		t.Fatalf("Entra answered %q", token.Description)
	}
	for _, s := range state.Team.Secrets {
		request, err = http.NewRequest(http.MethodGet, p.entra+"/v1.0/applications/"+s.ObjectID+"/owners", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token.AccessToken)
		var owners struct{ Value []struct{ ID string } }
		if status := p.do(request, &owners); status != http.StatusOK || len(owners.Value) != 1 || owners.Value[0].ID != state.Team.Bot.Principal {
			t.Errorf("owners of %s: %d %+v", s.Name, status, owners)
		}
	}
}

func TestThePeopleAreInSlackAndInEntra(t *testing.T) {
	p := newPlayer(t)
	var state struct {
		Team  Team
		Slack struct {
			Users []struct {
				ID, Email           string
				Deleted, Restricted bool
			}
			Groups   []struct{ Handle, ID string }
			Channels []struct {
				ID, Name  string
				ExtShared bool `json:"ext_shared"`
			}
		}
	}
	p.must("GET", "state", "", &state)
	people := map[string]Person{}
	for _, person := range state.Team.People {
		people[person.Name] = person
		if !slices.ContainsFunc(state.Slack.Users, func(u struct {
			ID, Email           string
			Deleted, Restricted bool
		}) bool {
			return u.ID == person.Slack && u.Email == person.Email
		}) {
			t.Errorf("%s is not in Slack", person.Name)
		}
	}
	if people["alice"].Entra == "" || people["alice"].Entra != people["alice.admin"].Entra {
		t.Error("alice's two accounts are not one person's")
	}
	if people["alice"].Entra == people["bob"].Entra || people["stan"].Entra != "" {
		t.Error("identities are mixed up")
	}
	for _, c := range state.Slack.Channels {
		if c.ExtShared != (c.ID == SharedChannel) {
			t.Errorf("channel %s: shared outside is %v", c.Name, c.ExtShared)
		}
	}
}

func TestTheFilesPointABotAtTheSandbox(t *testing.T) {
	s, err := Start(t.Context(), Options{Tasks: 1, ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := filepath.Join(t.TempDir(), "new")
	path, err := s.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{s.URL() + "/slack/api/", s.EntraURL(), s.URL() + "/aws", s.URL() + "/mcp/{env}/{mcp}/health", s.Team.Bot.ClientID, filepath.Join(dir, CAFile), s.Endpoint.Address()} {
		if !bytes.Contains(config, []byte(want)) {
			t.Errorf("the configuration lacks %s", want)
		}
	}
	if bytes.Contains(config, []byte(s.Slack.BotToken())) {
		t.Error("the configuration holds a token")
	}
	for _, name := range []string{ConfigFile, CAFile, EndpointCAFile, AppTokenFile, BotTokenFile, EnvironmentFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	environment := s.Environ(dir)
	for _, want := range []string{"AWS_ENDPOINT_URL=" + s.URL() + "/aws", "SLACK_BOT_TOKEN=" + s.Slack.BotToken(), "SSL_CERT_FILE=" + filepath.Join(dir, CAFile)} {
		if !slices.Contains(environment, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
}

func TestAPortThatIsTakenIsSaidAndNothingIsLeftOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	for _, o := range []Options{{Port: port}, {TLSPort: port}} {
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "open a port for the sandbox") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
