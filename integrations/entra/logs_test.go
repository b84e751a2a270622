package entra_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox/conditions"
	sandbox "github.com/twokey/twokey/sandbox/entra"
)

// today is from an hour ago to now.
func (w *world) today() exposure.Window {
	now := w.cond.Clock.Now()
	return exposure.Window{From: now.Add(-time.Hour), To: now.Add(time.Second)}
}

func (w *world) signIns() ([]exposure.SignIn, error) {
	return w.client.SignIns(w.t.Context(), runbook.ClientID(w.app.Client), w.today())
}

func (w *world) audits() ([]exposure.Audit, error) {
	return w.client.DirectoryAudits(w.t.Context(), runbook.ObjectID(w.app.Object), runbook.ObjectID(w.app.Principal), w.today())
}

// stranger asks for tokens from another address, without a network.
func (w *world) stranger(secret string, times int) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {w.app.Client}, "client_secret": {secret}, "scope": {"https://graph.microsoft.com/.default"}}.Encode()
	for range times {
		r := httptest.NewRequest(http.MethodPost, "/"+tenantID+"/oauth2/v2.0/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", "203.0.113.66")
		r.Header.Set("User-Agent", "curl")
		w.tenant.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
}

func TestSignInsTellTheKeyTheAddressAndTheOutcome(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	w.refused(w.app.Client, operation.NewSecret(w.first.Secret))
	w.stranger(w.first.Secret, 1)
	w.stranger("wrong", 1)
	got, err := w.signIns()
	must(t, err)
	key := runbook.KeyID(w.first.KeyID)
	want := []exposure.SignIn{
		{Address: "203.0.113.66", Resource: "Microsoft Graph", Agent: "curl", Code: runbook.SecretInvalid},
		{Address: "203.0.113.66", Resource: "Microsoft Graph", Agent: "curl", Key: key},
		{Address: "127.0.0.1", Resource: "Microsoft Graph", Key: key},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(exposure.SignIn{}, "ID", "At"), cmpopts.AcyclicTransformer("agent", func(s exposure.SignIn) exposure.SignIn {
		if strings.HasPrefix(s.Agent, "Go-http-client") {
			s.Agent = ""
		}
		return s
	})); d != "" {
		t.Error(d)
	}
	mine, err := w.client.SignIns(t.Context(), runbook.ClientID(w.bot.Client), w.today())
	must(t, err)
	if len(mine) == 0 || !mine[0].Federated || mine[0].ID == "" || mine[0].At.IsZero() {
		t.Errorf("the bot's own sign-ins are %+v", mine)
	}
	w.cond.Clock.Advance(2 * time.Hour)
	got, err = w.signIns()
	must(t, err)
	same(t, 0, len(got))
}

func TestAuditsTellKeysOwnersAndFederatedCredentialsOfThisApplicationAlone(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	other := w.tenant.AddApplication(sandbox.NewApplication{Name: "other"})
	carol := w.tenant.AddUser(sandbox.User{Name: "carol", UserPrincipalName: "carol@contoso.example", Enabled: true})
	by := w.tenant.By(sandbox.Hand{ID: "m", User: "mallory@contoso.example", Address: "203.0.113.66"})
	_, _, err := w.add("twokey:k7m2p9")
	must(t, err)
	_, err = by.AddPassword(w.app.Client, sandbox.NewPassword{Name: "hidden", OnServicePrincipal: true})
	must(t, err)
	must(t, by.AddOwner(w.app.Client, carol))
	must(t, by.AddOwner(other.Client, carol))
	must(t, by.AddFederatedCredential(w.app.Client, sandbox.Federated{Name: "ci", Issuer: issuer, Subject: "ci", Audiences: []string{audience}}))
	_, err = by.AddPassword(other.Client, sandbox.NewPassword{Name: "elsewhere"})
	must(t, err)

	got, err := w.audits()
	must(t, err)
	byActivity := map[string]exposure.Audit{}
	for _, a := range got {
		byActivity[strings.TrimSpace(a.Activity)] = a
	}
	if len(byActivity) != 4 {
		t.Fatalf("the audits are %+v", got)
	}
	owner := byActivity["Add owner to application"]
	same(t, exposure.Actor{Principal: "m", Name: "mallory@contoso.example", Address: "203.0.113.66"}, owner.By)
	same(t, exposure.Target{ID: carol, Kind: "User", Name: "carol@contoso.example"}, exposure.Target{ID: owner.Targets[0].ID, Kind: owner.Targets[0].Kind, Name: owner.Targets[0].Name})
	added := byActivity["Update application \u2013 Certificates and secrets management"]
	same(t, exposure.Actor{Principal: runbook.ObjectID(w.bot.Principal), Name: "twokey", App: true}, added.By)
	if told := fmt.Sprint(added.Targets); !strings.Contains(told, "DisplayName=twokey:k7m2p9") || !strings.Contains(told, "KeyDescription") {
		t.Errorf("the new key's audit tells %s", told)
	}
	if told := fmt.Sprint(byActivity["Update application"].Targets); !strings.Contains(told, "FederatedIdentityCredentials") {
		t.Errorf("the federated credential's audit tells %s", told)
	}
	same(t, w.app.Principal, byActivity["Add service principal credentials"].Targets[0].ID)
}

func TestTheOtherWaysInAreTold(t *testing.T) {
	w := newWorld(t)
	must(t, w.tenant.AddFederatedCredential(w.app.Client, sandbox.Federated{Name: "ci", Issuer: "https://issuer.example", Subject: "repo", Audiences: []string{audience}}))
	got, err := w.client.Doors(t.Context(), runbook.ObjectID(w.app.Object))
	must(t, err)
	want := []exposure.Door{
		{Name: "ci", Federated: true, Detail: "issuer https://issuer.example, subject repo"},
		{ID: w.bot.Principal, Name: "twokey", Detail: "servicePrincipal"},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(exposure.Door{}, "ID")); d != "" {
		t.Error(d)
	}
	own, err := w.client.Principal(t.Context())
	must(t, err)
	same(t, runbook.ObjectID(w.bot.Principal), own)
}

func TestWhatIsMissingToReadTheLogsIsToldApart(t *testing.T) {
	w := newWorld(t)
	_, err := w.signIns()
	same(t, true, errors.Is(err, exposure.ErrNotPermitted))
	_, err = w.audits()
	same(t, true, errors.Is(err, exposure.ErrNotPermitted))
	w.cond.Add(conditions.Fault{Operation: "graph.listFederatedIdentityCredentials", Kind: conditions.Refuse, Status: http.StatusForbidden, Code: "Authorization_RequestDenied", Count: 1})
	doors, err := w.client.Doors(t.Context(), runbook.ObjectID(w.app.Object))
	same(t, []bool{true, true}, []bool{errors.Is(err, exposure.ErrNotPermitted), len(doors) == 1})

	w = newWorld(t, "AuditLog.Read.All")
	w.tenant.SetBehaviour(sandbox.Behaviour{Unlicensed: true})
	_, err = w.signIns()
	same(t, []bool{true, false}, []bool{errors.Is(err, exposure.ErrNoLicence), errors.Is(err, exposure.ErrNotPermitted)})
	w.cond.Add(conditions.Fault{Operation: "graph.listDirectoryAudits", Kind: conditions.Refuse, Status: http.StatusBadRequest, Code: "Request_BadRequest", Count: 1})
	_, err = w.audits()
	same(t, []bool{true, false}, []bool{operation.IsPermanent(err), errors.Is(err, exposure.ErrNotPermitted)})
}

func TestALogIsReadPageByPage(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	w.stranger("wrong", 1100)
	got, err := w.signIns()
	must(t, err)
	ids := map[string]bool{}
	for _, s := range got {
		ids[s.ID] = true
	}
	same(t, []int{1100, 1100}, []int{len(got), len(ids)})
}

func TestALogWithoutAnEndIsCutAndSaysSo(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	w.stranger("wrong", 999)
	w.spoil = func(path string, answer []byte) []byte {
		if !strings.HasSuffix(path, "auditLogs/signIns") {
			return answer
		}
		next := w.config.GraphURL + "/beta/auditLogs/signIns?$filter=" + url.QueryEscape("signInEventTypes/any(t: t eq 'servicePrincipal')") + "&$top=999"
		return append(bytes.TrimRight(bytes.TrimSpace(answer), "}"), `,"@odata.nextLink":"`+next+`"}`...)
	}
	got, err := w.signIns()
	var cut *exposure.Truncated
	if !errors.As(err, &cut) {
		t.Fatalf("%d sign-ins: %v", len(got), err)
	}
	same(t, []any{len(got), got[len(got)-1].At}, []any{cut.Limit, cut.Since})
}

func TestTheNextPageIsNotFetchedFromElsewhere(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	w.stranger("wrong", 1)
	w.spoil = func(path string, answer []byte) []byte {
		if strings.HasSuffix(path, "auditLogs/signIns") {
			return append(bytes.TrimRight(bytes.TrimSpace(answer), "}"), `,"@odata.nextLink":"https://127.0.0.1.evil.example/beta/auditLogs/signIns"}`...)
		}
		return answer
	}
	if got, err := w.signIns(); err == nil || len(got) != 1 {
		t.Errorf("%d sign-ins: %v", len(got), err)
	}
}

func TestAReadOfTheLogsEndsWithItsContext(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.client.DirectoryAudits(ctx, runbook.ObjectID(w.app.Object), "", w.today()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
