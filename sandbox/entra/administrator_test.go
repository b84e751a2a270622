package entra_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/sandbox/entra"
)

// audits asks for the directory audits that a filter leaves.
func (w *world) audits(filter string) map[string]any {
	w.t.Helper()
	status, body := w.graph("GET", "/v1.0/auditLogs/directoryAudits?$filter="+url.QueryEscape(filter), nil)
	same(w.t, 200, status)
	return body
}

func TestWhatAnAdministratorDoesIsInTheDirectoryAudits(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	by := w.server.By(entra.Hand{User: "mallory@contoso.example", Address: "203.0.113.66"})
	p, err := by.AddPassword(w.owned.Client, entra.NewPassword{Name: "mine"})
	must(t, err)
	must(t, by.RemovePassword(w.owned.Client, p.KeyID))
	must(t, by.AddFederatedCredential(w.owned.Client, entra.Federated{Name: "ci", Issuer: issuer, Subject: "s", Audiences: []string{"a"}}))

	body := w.audits("targetResources/any(t:t/id eq '" + w.owned.Object + "')")
	same(t, []string{
		"Update application",
		"Update application - Certificates and secrets management",
		"Update application \u2013 Certificates and secrets management ",
	}, ids(body, "activityDisplayName"))
	same(t, any("203.0.113.66"), at(body, "value", 0, "initiatedBy", "user", "ipAddress"))
	same(t, any("FederatedIdentityCredentials"), at(body, "value", 0, "targetResources", 0, "modifiedProperties", 1, "displayName"))
	same(t, any("[]"), at(body, "value", 1, "targetResources", 0, "modifiedProperties", 0, "newValue"))
	same(t, true, strings.Contains(at(body, "value", 2, "targetResources", 0, "modifiedProperties", 0, "newValue").(string), "KeyIdentifier="+p.KeyID))
}

func TestTheAuditOfANewOwnerIsAboutTheOwner(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	must(t, w.server.By(entra.Hand{}).AddOwner(w.owned.Client, w.user))
	body := w.audits("startswith(activityDisplayName,'Add owner to ')")
	same(t, any(w.user), at(body, "value", 0, "targetResources", 0, "id"))
	same(t, any(`"`+w.owned.Object+`"`), at(body, "value", 0, "targetResources", 0, "modifiedProperties", 0, "newValue"))
}

func TestTheLogsAreLateAndShorterWithoutALicence(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	bearer := w.bearer()
	ask := func(path string) (int, int) {
		status, body, _ := w.graphWith(bearer, "GET", path, nil)
		return status, len(ids(body, "id"))
	}
	const audits = "/v1.0/auditLogs/directoryAudits"
	signIns := "/beta/auditLogs/signIns?$filter=" + url.QueryEscape("signInEventTypes/any(t: t eq 'servicePrincipal')")
	must(t, w.server.By(entra.Hand{}).AddOwner(w.owned.Client, w.user))
	w.server.SetBehaviour(entra.Behaviour{LogDelay: 300})
	for _, path := range []string{audits, signIns} {
		status, n := ask(path)
		same(t, []int{200, 0}, []int{status, n})
	}
	w.cond.Clock.Advance(5 * time.Minute)
	for _, path := range []string{audits, signIns} {
		status, n := ask(path)
		same(t, []int{200, 1}, []int{status, n})
	}
	w.server.SetBehaviour(entra.Behaviour{Unlicensed: true})
	status, _ := ask(signIns)
	same(t, 403, status)
	w.cond.Clock.Advance(8 * 24 * time.Hour)
	bearer = w.bearer()
	status, n := ask(audits)
	same(t, []int{200, 0}, []int{status, n})
}
