package discovery

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// account is an AWS and an Entra with these things in them.
type account struct {
	parameters   []Parameter
	services     []Service
	ids          map[string]string
	applications []Application
	noServices   error
	noOwned      error
	read         []string // parameters whose values were read
}

func (a *account) ParametersUnder(_ context.Context, path string) ([]Parameter, error) {
	var out []Parameter
	for _, p := range a.parameters {
		if path == "/" || strings.HasPrefix(p.Name, path+"/") {
			out = append(out, p)
		}
	}
	return out, nil
}

func (a *account) ServicesWithSecrets(context.Context) ([]Service, error) {
	return a.services, a.noServices
}

func (a *account) ClientIDs(_ context.Context, names []string) (map[string]string, error) {
	a.read = append(a.read, names...)
	return a.ids, nil
}

func (a *account) OwnedApplications(context.Context) ([]Application, error) {
	return a.applications, a.noOwned
}

// pair adds a client id and a client secret, and the service that takes them.
func (a *account) pair(folder, cluster, service, variable, id string) {
	a.parameters = append(a.parameters, Parameter{folder + "/client_id", "String"}, Parameter{folder + "/client_secret", "SecureString"})
	if a.ids == nil {
		a.ids = map[string]string{}
	}
	a.ids[folder+"/client_id"] = id
	if service != "" {
		a.services = append(a.services, Service{Cluster: cluster, Name: service, Secrets: map[string]string{variable: folder + "/client_secret"}})
	}
}

func full() Answers {
	return Answers{
		AppToken: "env:SLACK_APP_TOKEN", BotToken: "file:/run/secrets/bot token", OperationsChannel: "C0OPS", Approvers: "S0APPROVERS",
		Tenant: "contoso.onmicrosoft.com", ClientID: "11111111-2222-3333-4444-555555555555", Region: "eu-central-1",
		URL: "https://{mcp}.{env}.example.com/mcp",
	}
}

func TestWhatIsFoundIsWrittenAsBrieflyAsItCanBe(t *testing.T) {
	regular := func() *account {
		a := &account{}
		for _, server := range []string{"github", "jira"} {
			for _, env := range []string{"dev", "prod"} {
				a.pair("/x/"+env+"/"+server, "x-"+env, server, "CLIENT_SECRET", "id "+server+env)
				a.applications = append(a.applications, Application{"ID " + server + env, server})
			}
		}
		return a
	}
	for name, c := range map[string]struct {
		account func(a *account) Answers
		path    string
	}{
		"one entry": {func(*account) Answers { return full() }, "/x"},
		"exceptions": {func(a *account) Answers {
			a.pair("/x/dev/sap", "x-dev", "erp", "SECRET", "id")
			a.pair("/x/prod/sap", "x-prod", "erp", "SECRET", "id")
			a.services[1].Cluster = "legacy" // github/prod
			return full()
		}, "/x/"},
		"another environment's cluster": {func(a *account) Answers {
			a.pair("/x/dev/sap", "x-dev", "sap", "CLIENT_SECRET", "id")
			a.pair("/x/prod/sap", "main", "sap", "CLIENT_SECRET", "id")
			a.pair("/x/qa/sap", "x-qa", "sap", "CLIENT_SECRET", "id")
			for i := range a.services {
				if a.services[i].Cluster == "x-prod" {
					a.services[i].Cluster = "main"
				}
			}
			return full()
		}, "/x"},
		"gaps": {func(a *account) Answers {
			a.services = a.services[:3]
			a.services = append(a.services, Service{Cluster: "batch", Name: "nightly", Secrets: map[string]string{"S": "/x/dev/github/client_secret"}})
			a.applications = append(a.applications[1:], Application{"33", "orphan"})
			a.parameters = append(a.parameters[1:], Parameter{"/x/prod/deep/er/client_secret", "SecureString"}, Parameter{"/x/prod/jira/client_secret.pending", "SecureString"})
			answers := full()
			answers.URL = ""
			return answers
		}, "/x"},
		"not looked at": {func(a *account) Answers {
			a.noServices, a.noOwned = errors.New("AccessDenied\nof ECS"), errors.New("not signed in")
			a.services = nil
			return full()
		}, "/x"},
		"everything given": {func(*account) Answers {
			answers := full()
			answers.Requesters, answers.Credential, answers.Database, answers.KeyFile, answers.Origin = "S0REQUESTERS", "env:SECRET", "sqlite:/var/lib/two key.db", "k", "example.com/record"
			answers.Health = "https://{mcp}.{env}.example.com/health"
			answers.Tool, answers.Expect = map[string]string{"jira": "list_projects"}, map[string]string{"jira": `say "yes": #1`}
			answers.Arguments = map[string]string{"jira": `{"limit": 1}`}
			answers.Offered = map[string][]Tool{"github": {{"delete_repository", false}, {"list_repositories", true}, {"read_file", true}}}
			return answers
		}, "/x/{env}/{mcp}/client_secret"},
		"nothing": {func(a *account) Answers { a.parameters = nil; return full() }, "/x"},
	} {
		t.Run(name, func(t *testing.T) {
			a := regular()
			answers := c.account(a)
			found, err := Look(t.Context(), a, a, c.path)
			if err != nil {
				t.Fatal(err)
			}
			for _, read := range a.read {
				if !strings.HasSuffix(read, "client_id") {
					t.Errorf("the value of %s was read", read)
				}
			}
			var got bytes.Buffer
			if err := Write(&got, found, answers); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", strings.NewReplacer(" ", "-", "'", "").Replace(name)+".golden.yml")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(go test ./discovery -update accepts it)\n%s", diff)
			}
		})
	}
}

func TestPatternsAreGuessedFromTheNames(t *testing.T) {
	for _, c := range []struct {
		name, path string
		names      []string
		want       []string
	}{
		{"the environment first", "/x", []string{"/x/dev/a/client_secret", "/x/prod/a/client_secret"}, []string{"/x/{env}/{mcp}/client_secret"}},
		{"the environment last", "/x", []string{"/x/a/prod/client_secret", "/x/a/dev/client_secret"}, []string{"/x/{mcp}/{env}/client_secret"}},
		{"unusual environments are the fewer", "/x", []string{"/x/a/blue/secret", "/x/b/blue/secret", "/x/c/blue/secret"}, []string{"/x/{mcp}/{env}/secret"}},
		{"the root", "/", []string{"/dev/a/clientSecret"}, []string{"/{env}/{mcp}/clientSecret"}},
		{"two kinds", "/x", []string{"/x/dev/a/client_secret", "/x/dev/a/webhook_secret"}, []string{"/x/{env}/{mcp}/client_secret", "/x/{env}/{mcp}/webhook_secret"}},
		{"neither pending ones nor others", "/x", []string{"/x/dev/a/client_secret.pending", "/x/dev/a/password", "/x/a/client_secret", "/y/dev/a/client_secret"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parameters []Parameter
			for _, n := range c.names {
				parameters = append(parameters, Parameter{n, "SecureString"})
			}
			if diff := cmp.Diff(c.want, Patterns(parameters, c.path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheClientIDHasTheNameOfItsSecret(t *testing.T) {
	for secret, id := range map[string]string{
		"/x/{env}/{mcp}/client_secret": "/x/{env}/{mcp}/client_id", "/x/{mcp}-{env}-ClientSecret": "/x/{mcp}-{env}-ClientID", "/secret/{env}/{mcp}/secret": "/secret/{env}/{mcp}/id",
	} {
		if got := idPattern(secret); got != id {
			t.Errorf("%s has %s, want %s", secret, got, id)
		}
	}
}

func TestAPatternNeedsBothPlaceholders(t *testing.T) {
	if _, err := Look(t.Context(), &account{}, nil, "/x/{mcp}/client_secret"); err == nil || !strings.Contains(err.Error(), "{env}") {
		t.Errorf("it is taken: %v", err)
	}
}
