package entra_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox/conditions"
	sandbox "github.com/twokey/twokey/sandbox/entra"
)

func gather[T any](all iter.Seq2[T, error]) (out []T, err error) {
	for one, err := range all {
		if err != nil {
			return out, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (w *world) listed(client string) inventory.Application {
	w.t.Helper()
	all, err := gather(w.client.Applications(w.t.Context()))
	must(w.t, err)
	for _, a := range all {
		if string(a.Client) == client {
			return a
		}
	}
	w.t.Fatalf("%s is not among %+v", client, all)
	return inventory.Application{}
}

func TestAnApplicationIsListedWithKeysCertificatesAndOwners(t *testing.T) {
	w := newWorld(t)
	user := w.tenant.AddUser(sandbox.User{Name: "Eve Owner", UserPrincipalName: "eve@contoso.example", Enabled: true})
	must(t, w.tenant.AddOwner(w.app.Client, user))
	end := time.Now().AddDate(0, 3, 0).UTC().Truncate(time.Second)
	certificate, err := w.tenant.AddCertificate(w.app.Client, sandbox.NewCertificate{Name: "CN=signing", End: end})
	must(t, err)
	const graphs = 100 * time.Nanosecond // as exactly as Graph tells instants
	a := w.listed(w.app.Client)
	same(t, []string{"twokey", "Eve Owner"}, a.Owners)
	same(t, []runbook.Key{{ID: runbook.KeyID(w.first.KeyID), Name: "first", Hint: w.first.Hint, Start: w.first.Start.Truncate(graphs), End: w.first.End.Truncate(graphs)}}, a.Secrets)
	same(t, 1, len(a.Certificates))
	if c := a.Certificates[0]; string(c.ID) != certificate.KeyID || !c.End.Equal(end) || c.Name != "CN=signing" || c.OnServicePrincipal {
		t.Errorf("%+v", c)
	}
	if a.Name != "sharepoint prod" || string(a.Object) != w.app.Object {
		t.Errorf("%+v", a)
	}
}

func TestOnlyServicePrincipalsWithKeysAreListedAndASigningCertificateOnce(t *testing.T) {
	w := newWorld(t)
	for range 2 { // for signing and for verifying
		_, err := w.tenant.AddCertificate(w.app.Client, sandbox.NewCertificate{Name: "CN=SSO", Thumbprint: "dGh1bWI=", OnServicePrincipal: true})
		must(t, err)
	}
	_, err := w.tenant.AddPassword(w.app.Client, sandbox.NewPassword{Name: "by hand", OnServicePrincipal: true})
	must(t, err)
	all, err := gather(w.client.ServicePrincipals(t.Context()))
	must(t, err)
	if len(all) != 1 || string(all[0].Object) != w.app.Principal || string(all[0].Client) != w.app.Client {
		t.Fatalf("%+v", all)
	}
	if p := all[0]; len(p.Certificates) != 1 || len(p.Secrets) != 1 || !p.Secrets[0].OnServicePrincipal || !p.Certificates[0].OnServicePrincipal {
		t.Errorf("%+v", p)
	}
}

func TestALargeTenantIsListedWholeInFewPages(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	must(t, w.tenant.Populate(sandbox.Population{Applications: 2100, Keys: 2, Name: `"@odata.nextLink":"https://evil.example/`, Used: true}))
	applications, err := gather(w.client.Applications(t.Context()))
	must(t, err)
	uses, err := gather(w.client.LastUses(t.Context()))
	must(t, err)
	same(t, 2102, len(applications))
	same(t, 4200, len(uses))
	same(t, 3, w.cond.Counts()["graph.listApplications"])
	if uses[0].Key == "" || time.Since(uses[0].At) > 2*time.Hour {
		t.Errorf("%+v", uses[0])
	}
}

func TestWhatMayNotBeListedIsSaidAsSuch(t *testing.T) {
	w := newWorld(t) // without AuditLog.Read.All
	if _, err := gather(w.client.LastUses(t.Context())); !errors.Is(err, inventory.ErrNotPermitted) || !operation.IsPermanent(err) {
		t.Errorf("last uses: %v", err)
	}
	for name, list := range w.lists() {
		w.cond.Add(conditions.Fault{Operation: name, Kind: conditions.Refuse, Status: 403, Code: "Authorization_RequestDenied", Count: 1})
		if err := list(); !errors.Is(err, inventory.ErrNotPermitted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lists are the lists that need no more permission than the bot has.
func (w *world) lists() map[string]func() error {
	return map[string]func() error{
		"graph.listApplications":      func() error { _, err := gather(w.client.Applications(w.t.Context())); return err },
		"graph.listServicePrincipals": func() error { _, err := gather(w.client.ServicePrincipals(w.t.Context())); return err },
	}
}

func TestPagesAreAskedForAgainWhenThatMayHelp(t *testing.T) {
	w := newWorld(t)
	for name, list := range w.lists() {
		for _, kind := range []conditions.Kind{conditions.Throttle, conditions.ServerErr, conditions.CutBefore, conditions.Nonsense} {
			w.cond.Add(conditions.Fault{Operation: name, Kind: kind, Count: 2})
			if err := list(); err != nil {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
		}
	}
}

func TestAListThatBreaksOffSaysWhatItHadAndWhy(t *testing.T) {
	w := newWorld(t)
	must(t, w.tenant.Populate(sandbox.Population{Applications: 1500, Name: "legacy"}))
	w.cond.Add(conditions.Fault{Operation: "graph.listApplications", Kind: conditions.Refuse, Status: 400, Code: "Directory_ExpiredPageToken", Skip: 1})
	got, err := gather(w.client.Applications(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "list the applications: Graph answered 400 Directory_ExpiredPageToken") {
		t.Errorf("got %v", err)
	}
	same(t, 999, len(got))
}

func TestThePagesOfAnotherAddressAreNotAskedFor(t *testing.T) {
	w := newWorld(t)
	must(t, w.tenant.Populate(sandbox.Population{Applications: 1500, Name: "legacy"}))
	w.spoil = func(_ string, answer []byte) []byte {
		return bytes.Replace(answer, []byte(`"@odata.nextLink":"https://`), []byte(`"@odata.nextLink":"https://evil.example/`), 1)
	}
	if _, err := gather(w.client.Applications(t.Context())); err == nil || !strings.Contains(err.Error(), "at another address") {
		t.Errorf("got %v", err)
	}
}

func TestWhoStopsListeningLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	must(t, w.tenant.Populate(sandbox.Population{Applications: 3000, Name: "legacy"}))
	for _, err := range w.client.Applications(t.Context()) {
		must(t, err)
		break
	}
	if n := w.cond.Counts()["graph.listApplications"]; n > 3 {
		t.Errorf("%d pages were asked for", n)
	} // TestMain looks for goroutines
}

func TestASweepOfATenantThroughTheRealClient(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	must(t, w.tenant.SetLastUse(w.app.Client, w.first.KeyID, time.Now().Add(-time.Hour)))
	s := inventory.Sweeper{Directory: w.client, Now: time.Now}
	v, err := s.Sweep(t.Context())
	must(t, err)
	i, ok := v.Item(inventory.ID("secret:" + w.first.KeyID))
	if !ok || i.Status != inventory.Fine || i.Used.At.IsZero() || i.Name != "sharepoint prod" {
		t.Errorf("%+v among %+v", i, v.Items)
	}
	if printed := fmt.Sprintf("%+v", v); strings.Contains(printed, w.first.Secret) {
		t.Error("a secret is in the inventory")
	}
}
