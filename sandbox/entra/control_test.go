package entra_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twokey/twokey/sandbox/entra"
)

// control sends one control call and returns status and body.
func control(t *testing.T, url, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, url+path, strings.NewReader(body))
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	return resp.StatusCode, decode(t, resp)
}

func TestATenantIsSeededAndSpoiltThroughTheControl(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.server.Control())
	defer srv.Close()
	do := func(method, path, body string) map[string]any {
		t.Helper()
		status, out := control(t, srv.URL, method, path, body)
		if status != 200 {
			t.Fatalf("%s %s: %d %v", method, path, status, out)
		}
		return out
	}
	app := do("POST", "/applications", `{"name":"jira dev","client_id":"7b0a6a2e-1111-4222-8333-444455556666","roles":["User.Read.All"]}`)
	same(t, any("7b0a6a2e-1111-4222-8333-444455556666"), app["client_id"])
	client := app["client_id"].(string)
	key := do("POST", "/applications/"+client+"/passwords", `{"name":"one"}`)
	secret := key["secret"].(string)
	same(t, 0, w.code(client, secret))
	do("PATCH", "/applications/"+client, `{"blocked_by_conditional_access":true}`)
	same(t, 53003, w.code(client, secret))
	do("PATCH", "/applications/"+client, `{"blocked_by_conditional_access":false,"disabled":true}`)
	same(t, 7000112, w.code(client, secret))
	do("PATCH", "/applications/"+client, `{"disabled":false,"policy":{"enabled":true,"max_lifetime_days":30}}`)
	do("POST", "/applications/"+client+"/passwords/"+key["key_id"].(string)+"/revoke", "")
	same(t, 7005003, w.code(client, secret))
	do("DELETE", "/applications/"+client+"/passwords/"+key["key_id"].(string), "")
	same(t, 7000215, w.code(client, secret))
	user := do("POST", "/users", `{"name":"Carol","mail":"carol@example.com","user_principal_name":"carol@example.com","enabled":true}`)
	do("POST", "/applications/"+client+"/owners", `{"id":"`+user["id"].(string)+`"}`)
	do("POST", "/applications/"+client+"/federated-credentials", `{"name":"aws","issuer":"i","subject":"s","audiences":["a"]}`)
	do("PUT", "/behaviour", `{"learn":[4,18],"forget":[0,9],"read":[0,5],"write_takes":0.1}`)
	do("PUT", "/late-timeouts", `{"operation":"graph.addPassword","count":2}`)
	do("PUT", "/default-policy", `{"enabled":true,"forbid_passwords":true}`)

	state := do("GET", "/state", "")
	same(t, any(float64(18)), at(state, "behaviour", "learn", 1))
	same(t, any(float64(2)), at(state, "late_timeouts", "graph.addPassword"))
	same(t, any(true), at(state, "default_policy", "forbid_passwords"))
	same(t, 4, len(w.server.State().(entra.State).Applications))
}

func TestAMisspeltSettingIsRefused(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.server.Control())
	defer srv.Close()
	status, body := control(t, srv.URL, "PUT", "/behaviour", `{"lern":[4]}`)
	same(t, 400, status)
	if !strings.Contains(body["error"].(string), "lern") {
		t.Error(body)
	}
	status, _ = control(t, srv.URL, "PATCH", "/applications/unknown", `{}`)
	same(t, 404, status)
	status, _ = control(t, srv.URL, "DELETE", "/applications/"+w.owned.Client+"/passwords/unknown", "")
	same(t, 404, status)
}
