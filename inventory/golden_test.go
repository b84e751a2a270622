package inventory

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// update rewrites the goldens: go test ./inventory -update
var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("not what %s says (-want +got):\n%s", path, d)
	}
}

// everything has one of each kind and status, and names that strangers chose to
// break what shows them.
func everything(t *testing.T) Inventory {
	t.Helper()
	f, s := newWorld()
	s.Regions = []Region{{Name: "eu-central-1", Owner: runbook.Owner{Name: "Network", Channel: "C0NETWORK"}}, {Name: "us-east-1"}}
	s.Endpoints = []Endpoint{{Address: "mcp.example.com:443", Feeds: Feeds{Endpoint: "https://mcp.example.com/mcp"}}, {Address: "dead.example.com:443"}}
	f.applications[0].Secrets[0].Name = "twokey:k7m2p9"
	f.applications[0].Secrets[0].End = now.AddDate(0, 0, 12).Add(11 * time.Hour) // the 7th in Berlin, the 6th in London
	f.operations = []operation.Operation{{ID: "k7m2p9", Secret: "sharepoint/prod", Kind: runbook.KindRotate, State: operation.Succeeded,
		Requester: operation.Person{Name: "Alice Jansen"}, Approver: operation.Person{Name: "Bob Okafor"}}}
	f.uses = []LastUse{{Key: "key-prod", At: now.Add(-3 * time.Hour)}}
	f.put(s.Targets[1].SecretParameter, secretOf("???").Reveal())
	f.applications = append(f.applications,
		Application{Object: "o1", Client: "c1", Name: `=HYPERLINK("http://evil.example","Click")`, Secrets: []runbook.Key{key("k1", "@SUM(A1)", "", now.AddDate(0, 0, -1))}},
		Application{Object: "o2", Client: "c2", Name: "new\nline\x1b[31mred\u202egnp.exe", Certificates: []runbook.Key{key("k2", strings.Repeat("long ", 40), "", now.AddDate(0, 3, 0))}},
	)
	f.certificates["eu-central-1"] = []ACMCertificate{{ARN: "arn:aws:acm:eu-central-1:123456789012:certificate/1", Domain: "*.example.com", Start: now.AddDate(-1, 0, 0), End: now.AddDate(0, 0, 20),
		Imported: true, InUseBy: []string{"arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/mcp/1"}}}
	f.fail["us-east-1"] = operation.Permanent(ErrNotPermitted)
	f.handshakes["mcp.example.com:443"] = Handshake{Start: now.AddDate(0, -2, 0), End: now.AddDate(0, 1, 10), Issuer: "CN=R3,O=Let's Encrypt,C=US"}
	f.fail["dead.example.com:443"] = errors.New("no answer within 10s")
	f.fail["principals"] = operation.Permanent(ErrNotPermitted)
	v := sweep(t, s)
	v.Took = 0 // it is another every time
	return v
}

func TestTheTableReadsAsTheGoldenSays(t *testing.T) {
	v := everything(t)
	for name, zone := range map[string]string{"table.txt": "UTC", "table-berlin.txt": "Europe/Berlin"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Skipf("this machine does not know the zone %s: %v", zone, err)
		}
		var b bytes.Buffer
		if err := v.WriteTable(&b, loc); err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(b.Bytes(), "\x1b\u202e") {
			t.Errorf("%s: what strangers chose reaches the terminal", name)
		}
		golden(t, name, b.Bytes())
	}
	var b bytes.Buffer
	if err := v.Select(Filter{Text: "nothing is called so"}).WriteTable(&b, time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, "table-empty.txt", b.Bytes())
}

func TestTheCSVReadsAsTheGoldenSaysAndHoldsNoFormula(t *testing.T) {
	v := everything(t)
	b, err := v.CSV()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "inventory.csv", b)
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(v.Items)+1 {
		t.Errorf("%d lines for %d items", len(rows), len(v.Items))
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.IndexAny(strings.TrimSpace(cell), "=+@") == 0 {
				t.Errorf("a spreadsheet would compute %q", cell)
			}
		}
	}
}

func TestTheJSONIsReadBack(t *testing.T) {
	v := everything(t)
	var b bytes.Buffer
	if err := v.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Inventory
	d := json.NewDecoder(bytes.NewReader(b.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v, back); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if strings.Contains(b.String(), "the-rest-of-it") {
		t.Error("a secret is in it")
	}
}

func TestADayIsOverWhenItsLastMomentIs(t *testing.T) {
	for left, want := range map[time.Duration]int{0: 0, time.Second: 0, day: 1, day - 1: 0, -time.Second: -1, -day: -1, -day - 1: -2} {
		if got := wholeDays(left); got != want {
			t.Errorf("%s are %d days, want %d", left, got, want)
		}
	}
}

func FuzzAPlainTextHasOneLineAndNothingHidden(f *testing.F) {
	f.Add("a\nb\x1b[0m\u202e", 5)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(most, 1)
		got := Plain(s, most)
		if len([]rune(got)) > most || strings.ContainsAny(got, "\n\r\t\x1b\u202e\u200b") {
			t.Errorf("%q became %q", s, got)
		}
	})
}
