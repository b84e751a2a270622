package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// now is a Tuesday in the tests' world.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// fake is every source at once. It says what it was given, and fails where told.
type fake struct {
	mu           sync.Mutex
	applications []Application
	principals   []Application
	uses         []LastUse
	parameters   map[string]runbook.Parameter
	kms          map[string]string
	certificates map[string][]ACMCertificate
	handshakes   map[string]Handshake
	operations   []operation.Operation

	fail   map[string]error // by source, and by parameter's name
	after  int              // applications that are told before their failure
	calls  map[string]int
	atOnce int
	most   int // calls that were under way at once at Entra and AWS
}

func (f *fake) call(what string) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[what]++
	f.atOnce++
	f.most = max(f.most, f.atOnce)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.atOnce--
	}
}

func tell[T any](f *fake, source string, all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		defer f.call(source)()
		err := f.fail[source]
		for n, one := range all {
			if err != nil && n == f.after {
				break
			}
			if !yield(one, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

func (f *fake) Applications(context.Context) iter.Seq2[Application, error] {
	return tell(f, "applications", f.applications)
}

func (f *fake) ServicePrincipals(context.Context) iter.Seq2[Application, error] {
	return tell(f, "principals", f.principals)
}

func (f *fake) LastUses(context.Context) iter.Seq2[LastUse, error] { return tell(f, "uses", f.uses) }

func (f *fake) ParametersNamed(_ context.Context, names []string) ([]runbook.Parameter, error) {
	defer f.call("parameters")()
	if len(names) > ParametersAtOnce {
		return nil, fmt.Errorf("%d names in a call", len(names))
	}
	var out []runbook.Parameter
	for _, name := range names {
		if err := f.fail[name]; err != nil {
			return nil, err
		}
		if p, ok := f.parameters[name]; ok {
			out = append(out, p)
		}
	}
	return out, f.fail["parameters"]
}

func (f *fake) KMSKeys(_ context.Context, names []string) (map[string]string, error) {
	defer f.call("kms")()
	if len(names) > KMSKeysAtOnce {
		return nil, fmt.Errorf("%d names in a call", len(names))
	}
	out := map[string]string{}
	for _, name := range names {
		if key, ok := f.kms[name]; ok {
			out[name] = key
		}
	}
	return out, f.fail["kms"]
}

func (f *fake) Certificates(_ context.Context, region string) ([]ACMCertificate, error) {
	return f.certificates[region], f.fail[region]
}

func (f *fake) Handshake(_ context.Context, address string, at time.Time) (Handshake, error) {
	if !at.Equal(now) {
		return Handshake{}, errors.New("another instant than the sweep's")
	}
	return f.handshakes[address], f.fail[address]
}

func (f *fake) Operation(_ context.Context, id operation.ID) (operation.Operation, error) {
	for _, op := range f.operations {
		if op.ID == id {
			return op, nil
		}
	}
	return operation.Operation{}, operation.ErrUnknown
}

func (f *fake) OperationsOf(_ context.Context, secret operation.SecretName) ([]operation.Operation, error) {
	var out []operation.Operation
	for _, op := range f.operations {
		if op.Secret == secret && op.Reason != "too old to be among the newest" {
			out = append(out, op)
		}
	}
	return out, f.fail["operations"]
}

func target(server, env string) runbook.Target {
	path := "/aiconnectors/" + env + "/" + server
	return runbook.Target{
		Name: operation.SecretName(server + "/" + env), Server: server, Environment: env, ClientIDParameter: path + "/client_id", SecretParameter: path + "/client_secret",
		KMSKey: "aws/ssm", Cluster: "aiconnectors-" + env, Service: server, MCP: runbook.Endpoint{URL: "https://" + server + "." + env + ".example.com/mcp"},
	}
}

func clientOf(t runbook.Target) runbook.ClientID { return runbook.ClientID("client-" + t.Name) }

// hint is what a secret of a key begins with.
func secretOf(hint string) operation.Secret { return operation.NewSecret(hint + "-the-rest-of-it") }

func key(id, name, hint string, end time.Time) runbook.Key {
	return runbook.Key{ID: runbook.KeyID(id), Name: name, Hint: hint, Start: end.AddDate(-2, 0, 0), End: end}
}

// newWorld has sharepoint in prod and dev, one application each with one key that
// is in the parameter, and nothing wrong.
func newWorld() (*fake, *Sweeper) {
	f := &fake{parameters: map[string]runbook.Parameter{}, kms: map[string]string{}, certificates: map[string][]ACMCertificate{},
		handshakes: map[string]Handshake{}, fail: map[string]error{}, calls: map[string]int{}}
	s := &Sweeper{Directory: f, Parameters: f, Certificates: f, Handshakes: f, Operations: f, Now: func() time.Time { return now }}
	for n, env := range []string{"prod", "dev"} {
		t := target("sharepoint", env)
		if env == "prod" {
			t.Owner = runbook.Owner{Name: "Platform", Channel: "C0PLATFORM", Escalation: "C0LEADS"}
		}
		s.Targets = append(s.Targets, t)
		hint := string(rune('a'+n)) + "00"
		f.applications = append(f.applications, Application{Object: runbook.ObjectID("object-" + t.Name), Client: clientOf(t), Name: "aiconnectors-sharepoint-" + env,
			Secrets: []runbook.Key{key("key-"+env, "portal", hint, now.AddDate(0, 6, 0))}, Owners: []string{"twokey", "Eve Owner"}})
		f.put(t.ClientIDParameter, string(clientOf(t)))
		f.put(t.SecretParameter, secretOf(hint).Reveal())
	}
	return f, s
}

func (f *fake) put(name, value string) {
	f.parameters[name] = runbook.Parameter{Name: name, Version: 1, Type: secureString, Value: operation.NewSecret(value)}
	f.kms[name] = "alias/aws/ssm"
}

func sweep(t *testing.T, s *Sweeper) Inventory {
	t.Helper()
	v, err := s.Sweep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	promises(t, s, v)
	return v
}

// promises are kept by every inventory, whatever happened.
func promises(t *testing.T, s *Sweeper, v Inventory) {
	t.Helper()
	seen := map[ID]bool{}
	for _, i := range v.Items {
		if i.ID == "" || seen[i.ID] {
			t.Errorf("the id %q is empty or there twice", i.ID)
		}
		seen[i.ID] = true
		if i.Status == Unknown && i.Why == "" {
			t.Errorf("%s is unknown, and nobody says why", i.ID)
		}
		if i.Name == "" {
			t.Errorf("%s has no name", i.ID)
		}
		if i.StatusAt(v.At, v.Due) != i.Status {
			t.Errorf("%s is %s, and %s at the same instant", i.ID, i.Status, i.StatusAt(v.At, v.Due))
		}
	}
	for _, target := range s.Targets {
		if !slices.ContainsFunc(v.Of(target.Name), func(i Item) bool { return i.Live || i.Status == Unknown }) {
			t.Errorf("nothing says when %s expires, nor that nobody knows", target.Name)
		}
	}
	ids := map[string]bool{}
	for _, f := range v.Findings {
		if ids[f.ID] || f.Text == "" {
			t.Errorf("the finding %q is there twice or says nothing", f.ID)
		}
		ids[f.ID] = true
		if strings.Contains(f.Text, "the-rest-of-it") {
			t.Errorf("a secret is in a finding: %s", f.Text)
		}
	}
}

func (v Inventory) kinds() []FindingKind {
	var out []FindingKind
	for _, f := range v.Findings {
		out = append(out, f.Kind)
	}
	return out
}

func live(t *testing.T, v Inventory, secret operation.SecretName) Item {
	t.Helper()
	for _, i := range v.Of(secret) {
		if i.Live {
			return i
		}
	}
	t.Fatalf("%s has no live key among %+v", secret, v.Of(secret))
	return Item{}
}

func only(t *testing.T, v Inventory, kind FindingKind) Finding {
	t.Helper()
	if len(v.Findings) != 1 || v.Findings[0].Kind != kind {
		t.Fatalf("findings %+v, want one %s", v.Findings, kind)
	}
	return v.Findings[0]
}
