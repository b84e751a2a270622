package handlers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// shelfOf is an inventory of the team's secrets, of somebody else's key, and of an
// endpoint.
func shelfOf(now time.Time) inventory.Inventory {
	secret := func(server, environment, owner string, days int) inventory.Item {
		name := server + "/" + environment
		return inventory.Item{
			ID: inventory.ID(name), Kind: inventory.Secret, Name: name, Live: true, KeyID: runbook.KeyID(name), Owner: runbook.Owner{Name: owner}, OwnerFrom: inventory.FromConfig,
			Feeds: inventory.Feeds{Secret: operation.SecretName(name), Server: server, Environment: environment}, End: now.AddDate(0, 0, days),
		}
	}
	drift := secret("github", "dev", "Platform team", 0).Feeds
	return inventory.Inventory{
		At: now, Due: 30 * 24 * time.Hour,
		Items: []inventory.Item{
			secret("github", "prod", "Platform team", 300), secret("sharepoint", "prod", "Documents", 20), secret("sharepoint", "dev", "Documents", -1), secret("github", "dev", "Platform team", 20),
			{ID: "other", Kind: inventory.Secret, Name: "billing-batch", KeyID: "k", End: now.AddDate(0, 0, 5)},
			{ID: "tls", Kind: inventory.TLS, Name: "mcp.example.com:443"},
		},
		Findings: []inventory.Finding{{ID: "f", Kind: inventory.ParameterDrift, Feeds: drift, Text: "It drifted."}, {ID: "r", Kind: inventory.KeyReturned, Feeds: drift, Text: "It is there again."}},
	}
}

func TestWordsSayWhatOfTheInventoryIsShown(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	const all = "sharepoint/dev mcp.example.com:443 github/dev sharepoint/prod github/prod"
	for words, want := range map[string]string{
		"":                  all,
		"all":               "sharepoint/dev mcp.example.com:443 billing-batch github/dev sharepoint/prod github/prod",
		"sharepoint":        "sharepoint/dev sharepoint/prod",
		"prod dev":          "sharepoint/dev github/dev sharepoint/prod github/prod",
		"due":               "github/dev sharepoint/prod",
		"overdue unknown":   "sharepoint/dev mcp.example.com:443",
		"due github":        "github/dev",
		"tls":               "mcp.example.com:443",
		"unowned":           "mcp.example.com:443",
		"documents due":     "sharepoint/prod",
		"billing":           "billing-batch",
		"drift":             "It drifted.",
		"findings":          "It drifted. It is there again.",
		"returned":          "It is there again.",
		"findings prod":     "",
		"overdue github":    "",
		"sharepoint/prod":   "page of sharepoint/prod",
		"github dev":        "page of github/dev",
		"mcp.example.com:4": "mcp.example.com:443",
	} {
		found := shelfOf(now)
		w, err := team().wanted(strings.Fields(words), found)
		if err != nil {
			t.Errorf("%q: %v", words, err)
			continue
		}
		if got := shown(w, found, now); got != want {
			t.Errorf("%q shows %q, want %q", words, got, want)
		}
	}
}

func shown(w wanted, found inventory.Inventory, now time.Time) string {
	if w.one {
		return "page of " + string(w.target.Name)
	}
	part := w.of(found, now)
	var out []string
	if len(w.findings) > 0 {
		for _, f := range part.Findings {
			out = append(out, f.Text)
		}
		return strings.Join(out, " ")
	}
	for _, i := range part.Items {
		out = append(out, i.Name)
	}
	return strings.Join(out, " ")
}

func TestAWordThatNothingHasIsRefusedWithWhatWasMeant(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for words, want := range map[string]string{
		"ovredue":         "Did you mean overdue?",
		"gihtub":          "Did you mean github?",
		"documnets":       "Did you mean documents?",
		"sharepont/prod":  "Did you mean sharepoint/prod?",
		"due unexplaimed": "Did you mean unexplained?",
		"moonbase":        "`/secrets help` says which words I know",
	} {
		_, err := team().wanted(strings.Fields(words), shelfOf(now))
		var refusal *operation.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Text, want) {
			t.Errorf("%q: %v, want %s", words, err, want)
		}
	}
}

// What one person looks at is everybody's: nobody's look changes it.
func TestLookingLeavesTheInventoryAsItWas(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	found := shelfOf(now)
	w, err := team().wanted([]string{"all"}, found)
	if err != nil {
		t.Fatal(err)
	}
	w.of(found, now.AddDate(1, 0, 0))
	for n, i := range shelfOf(now).Items {
		if got := found.Items[n]; got.ID != i.ID || got.Status != i.Status {
			t.Errorf("item %d is %s %s, was %s %s", n, got.ID, got.Status, i.ID, i.Status)
		}
	}
}
