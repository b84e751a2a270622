package entra_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/sandbox/entra"
)

func TestALargeTenantIsListedPageByPageEachOnce(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	must(t, w.server.Populate(entra.Population{Applications: 1200, Keys: 2, Name: "legacy", Owner: w.user, Used: true}))
	for path, want := range map[string]int{
		"/v1.0/applications?$top=999&$select=id,appId,passwordCredentials&$expand=owners($select=id,displayName)": 1200,
		"/v1.0/servicePrincipals?$top=999&$select=id":                                                             1200,
		"/beta/reports/appCredentialSignInActivities?$top=999":                                                    2400,
		"/v1.0/applications?$filter=startswith(displayName,'leg')":                                                1200,
	} {
		seen := map[string]bool{}
		for next := path; next != ""; {
			status, page := w.graph("GET", strings.ReplaceAll(next, " ", "%20"), nil)
			same(t, 200, status)
			for _, one := range page["value"].([]any) {
				entity := one.(map[string]any)
				if seen[entity["id"].(string)] {
					t.Fatalf("%s: %s is listed twice", path, entity["id"])
				}
				seen[entity["id"].(string)] = true
				if owners, expanded := entity["owners"].([]any); strings.Contains(path, "$expand") && entity["passwordCredentials"] != nil {
					if !expanded || len(entity["passwordCredentials"].([]any)) == 2 && len(owners) != 1 {
						t.Fatalf("an application without its owner: %v", entity)
					}
				}
			}
			link, _ := page["@odata.nextLink"].(string)
			_, next, _ = strings.Cut(link, "//")
			if _, rest, found := strings.Cut(next, "/"); found {
				next = "/" + rest
			}
		}
		if len(seen) < want || len(seen) > want+10 {
			t.Errorf("%s lists %d, want %d and the few that were there before", path, len(seen), want)
		}
	}
}

func TestOnlyOwnersCanBeExpanded(t *testing.T) {
	w := newWorld(t)
	for _, expand := range []string{"extensionProperties", "owners($top=1)", "owners,appManagementPolicies"} {
		if status, _ := w.graph("GET", "/v1.0/applications?$expand="+expand, nil); status != 400 {
			t.Errorf("%s is answered with %d", expand, status)
		}
	}
	if status, _ := w.graph("GET", "/v1.0/users?$expand=owners", nil); status == 200 {
		t.Error("users have no owners")
	}
}

func TestNoMoreThanTwentyOwnersAreExpanded(t *testing.T) {
	w := newWorld(t)
	for n := range 25 {
		id := w.server.AddUser(entra.User{Name: fmt.Sprint("owner ", n), UserPrincipalName: fmt.Sprint(n, "@contoso.example"), Enabled: true})
		must(t, w.server.AddOwner(w.owned.Client, id))
	}
	status, page := w.graph("GET", "/v1.0/applications?$expand=owners&$filter=appId%20eq%20'"+w.owned.Client+"'", nil)
	same(t, 200, status)
	same(t, 20, len(page["value"].([]any)[0].(map[string]any)["owners"].([]any)))
}

func TestTheReportTellsALastUseThatTheLogsHaveForgotten(t *testing.T) {
	w := newWorld(t, "AuditLog.Read.All")
	key, err := w.server.AddPassword(w.owned.Client, entra.NewPassword{Name: "old"})
	must(t, err)
	long := time.Now().AddDate(-1, 0, 0).UTC().Truncate(time.Second)
	must(t, w.server.SetLastUse(w.owned.Client, key.KeyID, long))
	status, page := w.graph("GET", "/beta/reports/appCredentialSignInActivities?$filter=keyId%20eq%20'"+key.KeyID+"'", nil)
	same(t, 200, status)
	used := page["value"].([]any)[0].(map[string]any)["signInActivity"].(map[string]any)["lastSignInDateTime"]
	at, err := time.Parse(time.RFC3339Nano, used.(string))
	must(t, err)
	same(t, long, at)
}
