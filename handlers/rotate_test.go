package handlers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// team is two servers in two environments; production wants change references.
func team() *Handlers {
	h := &Handlers{}
	for _, server := range []string{"sharepoint", "github"} {
		for _, environment := range []string{"dev", "prod"} {
			t := runbook.Target{Name: operation.SecretName(server + "/" + environment), Server: server, Environment: environment}
			if environment == "prod" {
				t.ChangeReferencePattern = "^CHG[0-9]{7}$"
			}
			h.targets = append(h.targets, t)
		}
	}
	return h
}

func TestWhatIsTypedBecomesAWish(t *testing.T) {
	for typed, want := range map[string]wish{
		"":                      {},
		"sharepoint":            {server: "sharepoint"},
		"SharePoint PROD":       {server: "sharepoint", environment: "prod"},
		"github dev it is old":  {server: "github", environment: "dev", reason: "it is old"},
		"github dev OPS-123":    {server: "github", environment: "dev", change: "OPS-123"},
		"github dev OPS-123 it": {server: "github", environment: "dev", change: "OPS-123", reason: "it"},
		"github dev ops-123 it": {server: "github", environment: "dev", reason: "ops-123 it"},
		"github dev A1 leaked":  {server: "github", environment: "dev", reason: "A1 leaked"},
		"sharepoint prod CHG0012345 yearly rotation": {server: "sharepoint", environment: "prod", change: "CHG0012345", reason: "yearly rotation"},
		"sharepoint prod OPS-123 yearly rotation":    {server: "sharepoint", environment: "prod", reason: "OPS-123 yearly rotation"}, // prod's references look otherwise
		"sharepoint prod yearly rotation CHG0012345": {server: "sharepoint", environment: "prod", reason: "yearly rotation CHG0012345"},
		"  github\tdev   two   blanks ":              {server: "github", environment: "dev", reason: "two blanks"},
	} {
		got, err := team().read(strings.Fields(typed))
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", typed, got, err, want)
		}
	}
}

func TestWhatIsMistypedIsAnsweredWithWhatWasMeant(t *testing.T) {
	for typed, want := range map[string]string{
		"sharepont prod":  `I don't know the server "sharepont", so nothing was changed. Did you mean sharepoint?`,
		"gihtub dev":      `I don't know the server "gihtub", so nothing was changed. Did you mean github?`,
		"wiki prod":       `I don't know the server "wiki", so nothing was changed. I know sharepoint, github.`,
		"github prd":      `I don't know the environment "prd" of github, so nothing was changed. Did you mean prod?`,
		"github moonbase": `I don't know the environment "moonbase" of github, so nothing was changed. I know dev, prod.`,
		"prod sharepoint": `I don't know the server "prod", so nothing was changed. I know sharepoint, github.`,
	} {
		_, err := team().read(strings.Fields(typed))
		var refusal *operation.Refusal
		if !errors.As(err, &refusal) || refusal.Text != want {
			t.Errorf("%q: %v, want %s", typed, err, want)
		}
	}
}

// Whatever is typed is read, or refused with a sentence; no word gets lost.
func TestNoWordGetsLost(t *testing.T) {
	h := team()
	rapid.Check(t, func(t *rapid.T) {
		words := strings.Fields(rapid.StringOf(rapid.Rune()).Draw(t, "typed"))
		if rapid.Bool().Draw(t, "begins well") {
			words = slices.Concat([]string{"github", "dev"}, words)
		}
		w, err := h.read(words)
		var refusal *operation.Refusal
		if err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%q: %v", words, err)
		}
		if err == nil && len(words) > 2 {
			if read := strings.Fields(w.server + " " + w.environment + " " + w.change + " " + w.reason); !slices.Equal(read, words) {
				t.Fatalf("%q became %q", words, read)
			}
		}
	})
}

func TestWhoLooksAfterAThousandReadsOfTwenty(t *testing.T) {
	h := &Handlers{}
	for n := range 1000 {
		h.targets = append(h.targets, runbook.Target{Server: fmt.Sprint("server", n), Environment: "prod"})
	}
	got := h.everything()
	if strings.Count(got, "server") != 20 || !strings.HasSuffix(got, "server19 (prod), and 980 more (`/secrets` lists them)") {
		t.Errorf("got %q", got)
	}
}
