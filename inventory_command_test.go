package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/endpoint"
)

// platform is a sandbox with a bot's configuration for it, and nobody running.
type platform struct {
	*sandbox.Sandbox
	t    *testing.T
	path string
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	awsCredentials(t)
	return startPlatform(t)
}

// awsCredentials are those of the bot's role in every sandbox. A test that starts
// several beside each other sets them once.
func awsCredentials(t *testing.T) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "TWOKEYSANDBOX0001")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func startPlatform(t *testing.T) *platform {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Options{Tasks: 1, ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	dir := t.TempDir()
	path, err := s.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &platform{s, t, path}
}

// inventory types "twokey inventory" with these words.
func (p *platform) inventory(words ...string) (string, error) {
	p.t.Helper()
	var out, log bytes.Buffer
	err := dispatch(p.t.Context(), append([]string{"inventory", "--config", p.path}, words...), streams{out: &out, err: &log, getenv: func(string) string { return "" }})
	return out.String(), err
}

func (p *platform) read(words ...string) inventory.Inventory {
	p.t.Helper()
	out, err := p.inventory(append(words, "--json")...)
	if err != nil && !errors.Is(err, errAlarming) {
		p.t.Fatal(err)
	}
	var v inventory.Inventory
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		p.t.Fatalf("%v in %s", err, out)
	}
	return v
}

func TestTheInventoryOfAPlatformHasEverySecretAndCertificate(t *testing.T) {
	p := newPlatform(t)
	v := p.read()
	for _, secret := range p.Team.Secrets {
		live := v.Of(operation.SecretName(secret.Name))
		if len(live) != 1 || !live[0].Live || !live[0].End.Equal(secret.Expires) || live[0].Owner.Name != "Platform team" || live[0].Feeds.Parameter != secret.SecretParameter {
			t.Errorf("%s is %+v", secret.Name, live)
		}
	}
	n := v.Counts()
	if n[inventory.Due] != 3 || n[inventory.Overdue]+n[inventory.Unknown] > 0 { // github/dev, sharepoint/prod, jira/dev
		t.Errorf("counts %v", n)
	}
	var certificates, endpoints int
	for _, i := range v.Items {
		switch i.Kind {
		case inventory.ACM:
			certificates++
		case inventory.TLS:
			endpoints++
		default:
		}
	}
	if certificates != 2 || endpoints != 1 || len(v.Findings) > 0 {
		t.Errorf("%d certificates, %d endpoints, findings %+v", certificates, endpoints, v.Findings)
	}
	if len(v.Gaps) != 1 || !strings.Contains(v.Gaps[0].Source, "operations") {
		t.Errorf("without a bot's database the gaps are %+v", v.Gaps)
	}
}

func TestWhatIsOverdueOrUnknownMakesTheCommandFail(t *testing.T) {
	p := newPlatform(t)
	if out, err := p.inventory(); err != nil || !strings.Contains(out, "0 overdue, 0 unknown, 3 due") {
		t.Fatalf("%v:\n%s", err, out)
	}
	if err := p.Endpoint.Show(endpoint.Certificate{Start: time.Now().AddDate(-1, 0, 0), End: time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	out, err := p.inventory()
	if !errors.Is(err, errAlarming) || !strings.Contains(out, "has expired or does not hold yet") || !strings.HasPrefix(strings.Split(out, "\n")[1], "overdue") {
		t.Errorf("an expired endpoint: %v\n%s", err, out)
	}
	if _, err := p.inventory("--kind", "secret"); err != nil {
		t.Errorf("what is filtered out fails the command: %v", err)
	}
	p.Conditions.Add(conditions.Fault{Operation: "graph.listApplications", Kind: conditions.Refuse, Status: 403, Code: "Authorization_RequestDenied"})
	out, err = p.inventory("--kind", "secret", "--status", "unknown")
	if !errors.Is(err, errAlarming) || strings.Count(out, "the permission to read it is missing") < 9 {
		t.Errorf("a missing permission: %v\n%s", err, out)
	}
}

func TestTheInventoryIsFilteredSortedAndExported(t *testing.T) {
	p := newPlatform(t)
	v := p.read("--environment", "prod", "--server", "github", "--server", "jira", "--sort", "name")
	if len(v.Items) != 2 || v.Items[0].Name != "github/prod" || v.Items[1].Name != "jira/prod" {
		t.Errorf("%+v", v.Items)
	}
	if v := p.read("--due", "50d", "--status", "due", "--configured", "prod"); len(v.Items) != 2 { // sharepoint and github
		t.Errorf("%+v", v.Items)
	}
	out, err := p.inventory("--csv", "--kind", "acm")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestWordsThatAreNoneAreToldTogether(t *testing.T) {
	p := newPlatform(t)
	_, err := p.inventory("--kind", "password", "--status", "late", "--sort", "size", "--due", "soon", "--zone", "Mars/Base", "--concurrency", "0")
	for _, part := range []string{`no kind "password"`, `no status "late"`, `no order "size"`, "--due", "--zone", "--concurrency"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if _, err := p.inventory("--json", "--csv"); err == nil {
		t.Error("two formats at once were taken")
	}
}
