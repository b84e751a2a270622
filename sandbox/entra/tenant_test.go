package entra_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
)

const tenantID = "3f0c2c3e-6b1f-4a55-9f5e-0d6f6f5e7a10"

// world is a tenant with a bot that owns one of two applications.
type world struct {
	t      *testing.T
	cond   *conditions.Conditions
	server *entra.Server
	url    string

	bot, owned, foreign       entra.IDs
	botSecret, ownedKey, user string
	ownedSecret               string
}

// newWorld gives the bot what it needs and, beyond that, roles.
func newWorld(t *testing.T, roles ...string) *world {
	t.Helper()
	cond := conditions.New(conditions.NewClock())
	s := entra.New(cond, tenantID)
	w := &world{t: t, cond: cond, server: s}
	w.bot = s.AddApplication(entra.NewApplication{Name: "twokey", Roles: append([]string{"Application.ReadWrite.OwnedBy"}, roles...)})
	w.owned = s.AddApplication(entra.NewApplication{Name: "sharepoint prod"})
	w.foreign = s.AddApplication(entra.NewApplication{Name: "payroll"})
	w.user = s.AddUser(entra.User{Name: "Bob Builder", Mail: "bob@example.com", UserPrincipalName: "bob@example.com", Enabled: true})
	must(t, s.AddOwner(w.owned.Client, w.bot.Principal))
	must(t, s.AddOwner(w.owned.Client, w.user))
	bot, err := s.AddPassword(w.bot.Client, entra.NewPassword{Name: "bot"})
	must(t, err)
	owned, err := s.AddPassword(w.owned.Client, entra.NewPassword{Name: "first"})
	must(t, err)
	w.botSecret, w.ownedSecret, w.ownedKey = bot.Secret, owned.Secret, owned.KeyID
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// token asks for one and returns the answer's status and body.
func (w *world) token(client, secret string, more ...string) (int, map[string]any) {
	w.t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret},
		"scope": {"https://graph.microsoft.com/.default"},
	}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
		if more[i+1] == "" {
			form.Del(more[i])
		}
	}
	resp, err := http.PostForm(w.url+"/"+tenantID+"/oauth2/v2.0/token", form)
	must(w.t, err)
	return resp.StatusCode, decode(w.t, resp)
}

// code is the error number that a token request is refused with; 0 is a token.
func (w *world) code(client, secret string, more ...string) int {
	w.t.Helper()
	_, body := w.token(client, secret, more...)
	if body["access_token"] != nil {
		return 0
	}
	codes, _ := body["error_codes"].([]any)
	if len(codes) != 1 {
		w.t.Fatalf("error_codes of %v", body)
	}
	return int(codes[0].(float64))
}

// bearer signs the bot in.
func (w *world) bearer() string {
	w.t.Helper()
	_, body := w.token(w.bot.Client, w.botSecret)
	token, _ := body["access_token"].(string)
	if token == "" {
		w.t.Fatalf("no token: %v", body)
	}
	return token
}

// graph sends a request as the bot.
func (w *world) graph(method, path string, body any) (int, map[string]any) {
	w.t.Helper()
	status, out, _ := w.graphWith(w.bearer(), method, path, body)
	return status, out
}

func (w *world) graphWith(token, method, path string, body any) (int, map[string]any, http.Header) {
	w.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		must(w.t, err)
		r = bytes.NewReader(b)
	}
	if !strings.HasPrefix(path, "http") {
		path = w.url + path
	}
	req, err := http.NewRequest(method, path, r)
	must(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	must(w.t, err)
	return resp.StatusCode, decode(w.t, resp), resp.Header
}

func decode(t *testing.T, resp *http.Response) map[string]any {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	if len(raw) == 0 {
		return nil
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return out
}

// at walks into a decoded body.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// ids lists one member of every entity of a collection.
func ids(body map[string]any, member string) []string {
	out := []string{}
	list, _ := body["value"].([]any)
	for _, e := range list {
		s, _ := at(e, member).(string)
		out = append(out, s)
	}
	return out
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAnAddedSecretSignsInAndARemovedOneDoesNot(t *testing.T) {
	w := newWorld(t)
	status, added := w.graph("POST", "/v1.0/applications/"+w.owned.Object+"/addPassword",
		map[string]any{"passwordCredential": map[string]any{"displayName": "twokey:k7m2p9", "endDateTime": time.Now().AddDate(2, 0, 0)}})
	same(t, 200, status)
	secret, _ := added["secretText"].(string)
	same(t, secret[:3], added["hint"])
	same(t, 0, w.code(w.owned.Client, secret))
	same(t, 0, w.code(w.owned.Client, w.ownedSecret)) // both, while they overlap

	_, read := w.graph("GET", "/v1.0/applications/"+w.owned.Object, nil)
	for i := range 2 {
		same(t, nil, at(read, "passwordCredentials", i, "secretText"))
	}
	status, _ = w.graph("POST", "/v1.0/applications/"+w.owned.Object+"/removePassword", map[string]any{"keyId": w.ownedKey})
	same(t, 204, status)
	same(t, 7000215, w.code(w.owned.Client, w.ownedSecret))
	same(t, 0, w.code(w.owned.Client, secret))

	status, again := w.graph("POST", "/v1.0/applications/"+w.owned.Object+"/removePassword", map[string]any{"keyId": w.ownedKey})
	same(t, 400, status)
	same(t, "Request_BadRequest", at(again, "error", "code"))
}

func TestAMadeSecretLooksLikeEntras(t *testing.T) {
	w := newWorld(t)
	for range 50 {
		p, err := w.server.AddPassword(w.owned.Client, entra.NewPassword{})
		must(t, err)
		rest, ok := strings.CutPrefix(p.Secret[4:], "Q~")
		if !ok || !strings.ContainsAny(p.Secret[3:4], "0123456789") || len(rest) < 31 || len(rest) > 34 {
			t.Fatalf("%q", p.Secret)
		}
	}
}

func TestASecretOfTheServicePrincipalSignsInToo(t *testing.T) {
	w := newWorld(t)
	p, err := w.server.AddPassword(w.owned.Client, entra.NewPassword{Name: "hidden", OnServicePrincipal: true})
	must(t, err)
	same(t, 0, w.code(w.owned.Client, p.Secret))
	_, sp := w.graph("GET", "/v1.0/servicePrincipals(appId='"+w.owned.Client+"')", nil)
	same(t, any(p.KeyID), at(sp, "passwordCredentials", 0, "keyId"))
	status, _ := w.graph("POST", "/v1.0/servicePrincipals/"+w.owned.Principal+"/removePassword", map[string]any{"keyId": p.KeyID})
	same(t, 204, status)
	same(t, 7000215, w.code(w.owned.Client, p.Secret))
}

func TestEveryRefusalHasItsNumber(t *testing.T) {
	yes, no := true, false
	past := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name string
		set  func(w *world) (client, secret string, more []string)
		want int
	}{
		{"a wrong secret", func(w *world) (string, string, []string) { return w.owned.Client, "wrong", nil }, 7000215},
		{"an expired secret", func(w *world) (string, string, []string) {
			p, err := w.server.AddPassword(w.owned.Client, entra.NewPassword{Start: past.AddDate(-1, 0, 0), End: past})
			must(w.t, err)
			return w.owned.Client, p.Secret, nil
		}, 7000222},
		{"a revoked secret", func(w *world) (string, string, []string) {
			must(w.t, w.server.RevokePassword(w.owned.Client, w.ownedKey))
			return w.owned.Client, w.ownedSecret, nil
		}, 7005003},
		{"an unknown application", func(w *world) (string, string, []string) { return "00000000-0000-0000-0000-000000000001", "x", nil }, 700016},
		{"no service principal", func(w *world) (string, string, []string) {
			return w.server.AddApplication(entra.NewApplication{Name: "bare", WithoutPrincipal: true}).Client, "x", nil
		}, 7000229},
		{"a disabled application", func(w *world) (string, string, []string) {
			must(w.t, w.server.ChangeApplication(w.owned.Client, entra.Change{Disabled: &yes}))
			return w.owned.Client, w.ownedSecret, nil
		}, 7000112},
		{"a disabled service principal", func(w *world) (string, string, []string) {
			must(w.t, w.server.ChangeApplication(w.owned.Client, entra.Change{PrincipalEnabled: &no}))
			return w.owned.Client, w.ownedSecret, nil
		}, 7000112},
		{"conditional access", func(w *world) (string, string, []string) {
			must(w.t, w.server.ChangeApplication(w.owned.Client, entra.Change{BlockedByConditionalAccess: &yes}))
			return w.owned.Client, w.ownedSecret, nil
		}, 53003},
		{"a wrong secret although access is blocked", func(w *world) (string, string, []string) {
			must(w.t, w.server.ChangeApplication(w.owned.Client, entra.Change{BlockedByConditionalAccess: &yes}))
			return w.owned.Client, "wrong", nil
		}, 7000215},
		{"no secret", func(w *world) (string, string, []string) { return w.owned.Client, "", nil }, 7000218},
		{"no scope", func(w *world) (string, string, []string) {
			return w.owned.Client, w.ownedSecret, []string{"scope", ""}
		}, 900144},
		{"a scope without .default", func(w *world) (string, string, []string) {
			return w.owned.Client, w.ownedSecret, []string{"scope", "https://graph.microsoft.com/User.Read"}
		}, 1002012},
		{"the scopes that MSAL adds", func(w *world) (string, string, []string) {
			return w.owned.Client, w.ownedSecret, []string{"scope", "https://graph.microsoft.com/.default openid offline_access profile"}
		}, 0},
		{"two resources at once", func(w *world) (string, string, []string) {
			return w.owned.Client, w.ownedSecret, []string{"scope", "https://graph.microsoft.com/.default " + w.foreign.Client + "/.default"}
		}, 500011},
		{"another grant", func(w *world) (string, string, []string) {
			return w.owned.Client, w.ownedSecret, []string{"grant_type", "password"}
		}, 70003},
		{"an unknown resource", func(w *world) (string, string, []string) {
			return w.owned.Client, w.ownedSecret, []string{"scope", "api://nobody/.default"}
		}, 500011},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			client, secret, more := c.set(w)
			same(t, c.want, w.code(client, secret, more...))
		})
	}
}

func TestARefusalHasTheFormOfEntras(t *testing.T) {
	w := newWorld(t)
	status, body := w.token(w.owned.Client, "wrong")
	same(t, 401, status)
	same(t, any("invalid_client"), body["error"])
	for _, member := range []string{"error_description", "timestamp", "trace_id", "correlation_id"} {
		if s, _ := body[member].(string); s == "" {
			t.Errorf("%s is missing", member)
		}
	}
	if d := body["error_description"].(string); !strings.HasPrefix(d, "AADSTS7000215: ") {
		t.Error(d)
	}
}

func TestReplicasOfTheTokenEndpointLearnAndForgetEachInItsTime(t *testing.T) {
	w := newWorld(t)
	token := w.bearer()
	w.server.SetBehaviour(entra.Behaviour{Learn: []float64{0, 10}, Forget: []float64{0, 60}})
	_, added, _ := w.graphWith(token, "POST", "/v1.0/applications/"+w.owned.Object+"/addPassword", nil)
	secret := added["secretText"].(string)
	first, second := w.code(w.owned.Client, secret), w.code(w.owned.Client, secret)
	same(t, 7000215, first+second) // one of them knows it already
	w.cond.Clock.Advance(11 * time.Second)
	same(t, 0, w.code(w.owned.Client, secret)+w.code(w.owned.Client, secret))

	_, _, _ = w.graphWith(token, "POST", "/v1.0/applications/"+w.owned.Object+"/removePassword", map[string]any{"keyId": w.ownedKey})
	same(t, 7000215, w.code(w.owned.Client, w.ownedSecret)+w.code(w.owned.Client, w.ownedSecret))
	w.cond.Clock.Advance(61 * time.Second)
	same(t, 2*7000215, w.code(w.owned.Client, w.ownedSecret)+w.code(w.owned.Client, w.ownedSecret))
}

func TestReadsAreStaleEitherWay(t *testing.T) {
	w := newWorld(t)
	token := w.bearer()
	w.server.SetBehaviour(entra.Behaviour{Read: []float64{30}})
	path := "/v1.0/applications/" + w.owned.Object
	count := func() int {
		_, body, _ := w.graphWith(token, "GET", path, nil)
		return len(body["passwordCredentials"].([]any))
	}
	_, added, _ := w.graphWith(token, "POST", path+"/addPassword", nil)
	same(t, 1, count()) // the new one is not there yet
	status, _, _ := w.graphWith(token, "POST", path+"/removePassword", map[string]any{"keyId": added["keyId"]})
	same(t, 400, status) // nor can it be removed yet
	w.cond.Clock.Advance(31 * time.Second)
	same(t, 2, count())
	status, _, _ = w.graphWith(token, "POST", path+"/removePassword", map[string]any{"keyId": added["keyId"]})
	same(t, 204, status)
	same(t, 2, count()) // the removed one is still there
	w.cond.Clock.Advance(31 * time.Second)
	same(t, 1, count())
}

func TestOverlappingWritesOfOneTenantAreRefused(t *testing.T) {
	w := newWorld(t)
	token := w.bearer()
	w.server.SetBehaviour(entra.Behaviour{WriteTakes: 0.3, ConflictStatus: 400})
	path := "/v1.0/applications/" + w.owned.Object + "/addPassword"
	statuses := make(chan int)
	var refused map[string]any
	for range 2 {
		go func() {
			status, body, _ := w.graphWith(token, "POST", path, nil)
			if status != 200 {
				refused = body
			}
			statuses <- status
		}()
	}
	a, b := <-statuses, <-statuses
	same(t, 600, a+b) // one 200, one 400
	same(t, any("Directory_ConcurrencyViolation"), at(refused, "error", "code"))
	status, _, _ := w.graphWith(token, "POST", path, nil)
	same(t, 200, status)
}

func TestAWriteMayHappenAndStillAnswer504(t *testing.T) {
	w := newWorld(t)
	w.server.TimeOutAfter("graph.addPassword", 1)
	path := "/v1.0/applications/" + w.owned.Object
	status, _ := w.graph("POST", path+"/addPassword", map[string]any{"passwordCredential": map[string]any{"displayName": "lost"}})
	same(t, 504, status)
	_, body := w.graph("GET", path, nil)
	same(t, any("lost"), at(body, "passwordCredentials", 1, "displayName"))
	status, _ = w.graph("POST", path+"/addPassword", nil)
	same(t, 200, status)
}

func TestOnlyAnOwnerMayChangeAnApplication(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/v1.0/applications/" + w.foreign.Object, "/v1.0/servicePrincipals/" + w.foreign.Principal} {
		status, body := w.graph("POST", path+"/addPassword", nil)
		same(t, 403, status)
		same(t, any("Authorization_RequestDenied"), at(body, "error", "code"))
	}
	all := newWorld(t, "Application.ReadWrite.All")
	status, _ := all.graph("POST", "/v1.0/applications/"+all.foreign.Object+"/addPassword", nil)
	same(t, 200, status)
}

func TestEachAreaNeedsItsPermission(t *testing.T) {
	poor := newWorld(t)
	rich := newWorld(t, "AuditLog.Read.All", "Policy.Read.All", "User.Read.All")
	for _, path := range []string{
		"/v1.0/users", "/v1.0/policies/defaultAppManagementPolicy", "/v1.0/policies/appManagementPolicies",
		"/v1.0/auditLogs/directoryAudits", "/beta/auditLogs/signIns", "/beta/reports/appCredentialSignInActivities",
	} {
		status, _ := poor.graph("GET", path, nil)
		same(t, 403, status)
		status, body := rich.graph("GET", path, nil)
		if status != 200 {
			t.Errorf("%s: %d %v", path, status, body)
		}
	}
}

func TestAnAppReadsItselfWithoutPermission(t *testing.T) {
	w := newWorld(t)
	_, body := w.token(w.owned.Client, w.ownedSecret)
	token := body["access_token"].(string)
	status, _, _ := w.graphWith(token, "GET", "/v1.0/servicePrincipals(appId='"+w.owned.Client+"')", nil)
	same(t, 200, status)
	status, _, _ = w.graphWith(token, "GET", "/v1.0/applications/"+w.foreign.Object, nil)
	same(t, 403, status)
}

func TestNobodyComesInWithoutATokenOfThisTenant(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	for _, token := range []string{"", "nonsense", other.bearer()} {
		status, body, _ := w.graphWith(token, "GET", "/v1.0/applications", nil)
		same(t, 401, status)
		same(t, any("InvalidAuthenticationToken"), at(body, "error", "code"))
	}
}

func TestAnOldTokenIsRefusedAndACapableClientIsChallenged(t *testing.T) {
	w := newWorld(t)
	_, plain := w.token(w.bot.Client, w.botSecret)
	_, capable := w.token(w.bot.Client, w.botSecret, "claims", `{"access_token":{"xms_cc":{"values":["CP1"]}}}`)
	same(t, any(float64(3599)), plain["expires_in"])
	same(t, any(float64(86399)), capable["expires_in"])
	w.cond.Clock.Advance(2 * time.Hour)
	status, _, h := w.graphWith(plain["access_token"].(string), "GET", "/v1.0/applications", nil)
	same(t, 401, status)
	same(t, "", h.Get("WWW-Authenticate"))
	status, _, _ = w.graphWith(capable["access_token"].(string), "GET", "/v1.0/applications", nil)
	same(t, 200, status)
	w.cond.Clock.Advance(23 * time.Hour)
	status, _, h = w.graphWith(capable["access_token"].(string), "GET", "/v1.0/applications", nil)
	same(t, 401, status)
	if !strings.Contains(h.Get("WWW-Authenticate"), `error="insufficient_claims", claims="`) {
		t.Error(h)
	}
}

func TestAPolicyCapsTheLifetimeAndForbidsSecrets(t *testing.T) {
	w := newWorld(t)
	add := func(days int) any {
		_, body := w.graph("POST", "/v1.0/applications/"+w.owned.Object+"/addPassword",
			map[string]any{"passwordCredential": map[string]any{"endDateTime": time.Now().AddDate(0, 0, days)}})
		return at(body, "error", "code")
	}
	w.server.SetDefaultPolicy(entra.Policy{Enabled: true, MaxLifetimeDays: 90})
	same(t, any("CredentialInvalidLifetimeAsPerAppPolicy"), add(91))
	same(t, nil, add(89))
	must(t, w.server.ChangeApplication(w.owned.Client, entra.Change{Policy: &entra.Policy{Enabled: true, MaxLifetimeDays: 400}}))
	same(t, nil, add(91)) // its own policy goes before the tenant's
	w.server.SetDefaultPolicy(entra.Policy{Enabled: true, ForbidPasswords: true})
	same(t, any("CredentialTypeNotAllowedAsPerAppPolicy"), add(10))
	w.server.SetDefaultPolicy(entra.Policy{Enabled: true, ForbidPasswords: true, CreatedAfter: time.Now().Add(time.Hour)})
	same(t, nil, add(10)) // this application was there before
}

func TestAnApplicationIsDisabledThroughTheBetaOnly(t *testing.T) {
	w := newWorld(t)
	body := map[string]any{"isDisabled": true}
	status, _ := w.graph("PATCH", "/v1.0/applications/"+w.owned.Object, body)
	same(t, 400, status)
	same(t, 0, w.code(w.owned.Client, w.ownedSecret))
	status, _ = w.graph("PATCH", "/beta/applications/"+w.owned.Object, body)
	same(t, 204, status)
	same(t, 7000112, w.code(w.owned.Client, w.ownedSecret))
	status, _ = w.graph("PATCH", "/beta/applications/"+w.owned.Object, map[string]any{"isDisabled": false})
	same(t, 204, status)
	status, _ = w.graph("PATCH", "/v1.0/servicePrincipals/"+w.owned.Principal, map[string]any{"accountEnabled": false})
	same(t, 204, status)
	same(t, 7000112, w.code(w.owned.Client, w.ownedSecret))
}

func TestAnUnknownMemberOfABodyIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, member := range []string{"secretText", "lifetime", "keyId"} {
		status, body := w.graph("POST", "/v1.0/applications/"+w.owned.Object+"/addPassword",
			map[string]any{"passwordCredential": map[string]any{member: "x"}})
		same(t, 400, status)
		same(t, any("Invalid property '"+member+"'."), at(body, "error", "message"))
	}
}

func TestSignInsTellWhichKeyGotATokenFromWhere(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	same(t, 0, w.code(w.owned.Client, w.ownedSecret))
	same(t, 7000215, w.code(w.owned.Client, "wrong"))
	query := func(filter string) map[string]any {
		status, body := w.graph("GET", "/beta/auditLogs/signIns?$filter="+url.QueryEscape(filter), nil)
		same(t, 200, status)
		return body
	}
	kind := "signInEventTypes/any(t: t eq 'servicePrincipal')"
	hour := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	got := query(kind + " and createdDateTime ge " + hour + " and servicePrincipalCredentialKeyId eq '" + w.ownedKey + "'")
	same(t, []string{w.owned.Client}, ids(got, "appId"))
	same(t, any("127.0.0.1"), at(got, "value", 0, "ipAddress"))
	same(t, any("Microsoft Graph"), at(got, "value", 0, "resourceDisplayName"))
	failed := query(kind + " and appId eq '" + w.owned.Client + "' and status/errorCode ne 0")
	same(t, any(float64(7000215)), at(failed, "value", 0, "status", "errorCode"))
	same(t, 0, len(ids(query(kind+" and createdDateTime lt "+hour), "id")))
	same(t, 0, len(ids(query("appId eq '"+w.owned.Client+"'"), "id"))) // service principals must be asked for

	status, report := w.graph("GET", "/beta/reports/appCredentialSignInActivities?$filter="+url.QueryEscape("keyId eq '"+w.ownedKey+"'"), nil)
	same(t, 200, status)
	same(t, []string{w.owned.Client}, ids(report, "appId"))
	w.cond.Clock.Advance(31 * 24 * time.Hour)
	same(t, []string{}, ids(query(kind+" and appId eq '"+w.owned.Client+"'"), "id")) // out of the retention
}

func TestEveryWriteIsInTheDirectoryAudits(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	for range 2 {
		status, _ := w.graph("POST", "/v1.0/applications/"+w.owned.Object+"/addPassword", nil)
		same(t, 200, status)
	}
	_, body := w.graph("GET", "/v1.0/auditLogs/directoryAudits?$filter="+url.QueryEscape("targetResources/any(t:t/id eq '"+w.owned.Object+"')"), nil)
	same(t, []string{ // both spellings are seen in the real log
		"Update application - Certificates and secrets management",
		"Update application \u2013 Certificates and secrets management ",
	}, ids(body, "activityDisplayName"))
	same(t, any(w.bot.Principal), at(body, "value", 0, "initiatedBy", "app", "servicePrincipalId"))
}

func TestCollectionsAreFilteredSelectedAndPaged(t *testing.T) {
	w := newWorld(t, "User.Read.All")
	quote := w.server.AddUser(entra.User{Name: "Pat O'Neil", Mail: "pat.o'neil@example.com", UserPrincipalName: "p1@example.com"})
	get := func(path string, query ...string) map[string]any {
		q := url.Values{}
		for i := 0; i < len(query); i += 2 {
			q.Set(query[i], query[i+1])
		}
		status, body := w.graph("GET", path+"?"+q.Encode(), nil)
		if status != 200 {
			t.Fatalf("%s %v: %d %v", path, query, status, body)
		}
		return body
	}
	same(t, []string{w.owned.Object}, ids(get("/v1.0/applications", "$filter", "appId eq '"+w.owned.Client+"'"), "id"))
	same(t, []string{w.foreign.Object}, ids(get("/v1.0/applications", "$filter", "startswith(displayName,'PAY')"), "id"))
	same(t, []string{w.foreign.Object}, ids(get("/v1.0/applications", "$filter", "not (displayName eq 'twokey' or startswith(displayName,'share'))"), "id"))
	same(t, []string{quote}, ids(get("/v1.0/users", "$filter", "mail eq 'pat.o''neil@example.com' or userPrincipalName eq 'pat.o''neil@example.com'"), "id"))

	selected := get("/v1.0/users", "$select", "id,accountEnabled", "$filter", "accountEnabled eq false")
	same(t, any(map[string]any{"id": quote, "accountEnabled": false}), at(selected, "value", 0))
	if _, sent := at(get("/v1.0/users/bob@example.com"), "accountEnabled").(bool); sent {
		t.Error("accountEnabled is sent without being selected")
	}

	var seen []string
	next := w.url + "/v1.0/applications?$top=2"
	for pages := 0; next != ""; pages++ {
		status, body, _ := w.graphWith(w.bearer(), "GET", strings.Replace(next, "https://", "http://", 1), nil)
		same(t, 200, status)
		seen = append(seen, ids(body, "id")...)
		next, _ = body["@odata.nextLink"].(string)
		if pages > 3 {
			t.Fatal("the pages do not end")
		}
	}
	same(t, 3, len(seen))

	for _, bad := range []string{"$filter=colour eq 'red'", "$filter=appId eq", "$filter=(appId eq 'x'", "$filter=appId like 'x'", "$select=colour", "$top=0", "$expand=extensionProperties", "$skiptoken=x"} {
		name, value, _ := strings.Cut(bad, "=")
		status, _ := w.graph("GET", "/v1.0/applications?"+url.Values{name: {value}}.Encode(), nil)
		if status != 400 {
			t.Errorf("%s: %d", bad, status)
		}
	}
}

func TestFaultsAreWordedAsTheVendorWordsThem(t *testing.T) {
	w := newWorld(t)
	token := w.bearer()
	w.cond.Add(conditions.Fault{Operation: "graph.getApplication", Kind: conditions.Throttle, RetryAfter: 7, Count: 1})
	status, body, h := w.graphWith(token, "GET", "/v1.0/applications(appId='"+w.owned.Client+"')", nil)
	same(t, 429, status)
	same(t, "7", h.Get("Retry-After"))
	same(t, any("TooManyRequests"), at(body, "error", "code"))
	w.cond.Add(conditions.Fault{Operation: "graph.addPassword", Kind: conditions.Refuse, Status: 403, Code: "Authorization_RequestDenied", Count: 1})
	status, body, _ = w.graphWith(token, "POST", "/v1.0/applications/"+w.owned.Object+"/addPassword", nil)
	same(t, 403, status)
	same(t, any("Authorization_RequestDenied"), at(body, "error", "code"))
	w.cond.Add(conditions.Fault{Operation: "entra.token", Kind: conditions.Refuse, Code: "700016", Count: 1})
	same(t, 700016, w.code(w.owned.Client, w.ownedSecret))
	w.cond.Add(conditions.Fault{Operation: "entra.token", Kind: conditions.ServerErr, Count: 1})
	same(t, 90033, w.code(w.owned.Client, w.ownedSecret))
	same(t, 1, w.cond.Counts()["graph.addPassword"])
}

func TestTheStateTellsWhoGotATokenWithWhichKey(t *testing.T) {
	w := newWorld(t)
	same(t, 0, w.code(w.owned.Client, w.ownedSecret))
	state := w.server.State().(entra.State)
	same(t, 1, len(state.Tokens))
	same(t, w.ownedKey, state.Tokens[0].KeyID)
	same(t, time.Hour, state.Tokens[0].Expires.Sub(state.Tokens[0].At))
	if _, err := json.Marshal(state); err != nil {
		t.Error(err)
	}
}
