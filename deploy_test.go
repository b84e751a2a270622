package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/internal/need"
)

// deployment is a root module that runs the bot, against moto.
const deployment = `
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "a"
  secret_key                  = "b"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  endpoints {
    sts = "%[1]s"
    iam = "%[1]s"
    ec2 = "%[1]s"
    ecs = "%[1]s"
    rds = "%[1]s"
  }
}
module "twokey" {
  source     = "%[2]s"
  image      = "registry.example.com/twokey@sha256:0"
  config     = file("%[3]s")
  secrets    = { SLACK_APP_TOKEN = "arn:aws:ssm:eu-central-1:123456789012:parameter/twokey/slack_app_token" }
  database   = %[4]s
  cluster    = "platform"
  vpc_id     = "vpc-1"
  subnet_ids = ["subnet-1", "subnet-2"]
}
output "policy" { value = module.twokey.policy }
`

// statement is one of an IAM policy's; one text may stand for a list of one.
type statement struct {
	SID      string          `json:"Sid"`
	Action   json.RawMessage `json:"Action"`
	Resource json.RawMessage `json:"Resource"`
}

func several(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	var many []string
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	var one string
	if err := json.Unmarshal(raw, &one); err != nil {
		t.Fatal(err)
	}
	return []string{one}
}

// plan is what terraform would make, and the bot's policy.
func plan(t *testing.T, moto, database string) (types []string, policy []statement) {
	t.Helper()
	module, err := filepath.Abs(filepath.Join("deploy", "terraform", "twokey"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := filepath.Abs("twokey.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), fmt.Appendf(nil, deployment, moto, module, example, database), 0o600); err != nil {
		t.Fatal(err)
	}
	terraform := need.Terraform(t, dir)
	if out, err := terraform("validate", "-no-color"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := terraform("plan", "-no-color", "-input=false", "-out=plan"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := terraform("show", "-json", "plan")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var shown struct {
		Changes []struct{ Type string } `json:"resource_changes"`
		Planned struct {
			Outputs struct{ Policy struct{ Value string } }
		} `json:"planned_values"`
	}
	if err := json.Unmarshal(out, &shown); err != nil {
		t.Fatal(err)
	}
	for _, c := range shown.Changes {
		types = append(types, c.Type)
	}
	var document struct{ Statement []statement }
	if err := json.Unmarshal([]byte(shown.Planned.Outputs.Policy.Value), &document); err != nil {
		t.Fatalf("the policy: %v\n%s", err, out)
	}
	return types, document.Statement
}

func TestTheDeploymentCanBePlanned(t *testing.T) {
	moto := need.Moto(t)
	for name, c := range map[string]struct {
		database  string
		databases int
	}{
		"with a database":           {"{}", 1},
		"with a database elsewhere": {"null", 0},
	} {
		t.Run(name, func(t *testing.T) {
			types, policy := plan(t, moto, c.database)
			if !slices.Contains(types, "aws_ecs_service") || !slices.Contains(types, "aws_iam_role_policy") {
				t.Errorf("it makes %v", types)
			}
			databases := 0
			for _, kind := range types {
				if kind == "aws_db_instance" {
					databases++
				}
			}
			if databases != c.databases {
				t.Errorf("%d databases, want %d", databases, c.databases)
			}
			allowsNoMoreThanNeeded(t, policy)
		})
	}
}

// allowsNoMoreThanNeeded holds the policy against the calls in the adapter's source.
func allowsNoMoreThanNeeded(t *testing.T, policy []statement) {
	t.Helper()
	var allowed []string
	for _, s := range policy {
		for _, action := range several(t, s.Action) {
			if strings.Contains(action, "*") {
				t.Errorf("%s allows %s", s.SID, action)
			}
			if !slices.Contains(allowed, action) {
				allowed = append(allowed, action)
			}
		}
		for _, resource := range several(t, s.Resource) {
			if strings.Contains(resource, "*") && strings.HasPrefix(s.SID, "R") { // ReadClientIDs, RotateClientSecrets, RedeployServices
				t.Errorf("%s reaches %s", s.SID, resource)
			}
		}
	}
	slices.Sort(allowed)
	if diff := cmp.Diff(actionsCalled(t), allowed); diff != "" {
		t.Errorf("what the adapter calls (-) and what deploy/terraform/twokey/iam.tf allows (+):\n%s", diff)
	}
}

// actionsCalled are the calls of AWS in the adapter's source, as IAM names them.
func actionsCalled(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("integrations", "aws", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(ssm|ecs|sts|acm|cloudtrail|iam)\.(?:New)?([A-Z][A-Za-z]+?)(?:Input\{|Paginator\()`)
	written := regexp.MustCompile(`"Action": *\{"([A-Z][A-Za-z]+)"\}`) // IAM's, which are called without its client
	found := map[string]bool{}
	for _, f := range files {
		// discover.go is for "twokey init" alone, which runs with the rights of whoever
		// types it: the bot's role must not have them.
		if strings.HasSuffix(f, "_test.go") || filepath.Base(f) == "discover.go" {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(src), -1) {
			found[m[1]+":"+m[2]] = true
		}
		for _, m := range written.FindAllStringSubmatch(string(src), -1) {
			found["iam:"+m[1]] = true
		}
	}
	delete(found, "sts:GetCallerIdentity") // which nobody needs a permission for
	out := make([]string, 0, len(found))
	for a := range found {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

func TestTheAlarmsGoOffWhenTheyShould(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), need.Program(t, "promtool", "apt-get install prometheus (Debian)"), "test", "rules", "twokey.rules.test.yml")
	cmd.Dir = filepath.Join("deploy", "prometheus")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheAlarmsAndTheDashboardAskForMetricsThatThereAre(t *testing.T) {
	src := ""
	for _, file := range []string{filepath.Join("bot", "metrics.go"), filepath.Join("store", "metrics.go")} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		src += string(b)
	}
	exposed := map[string]bool{}
	for _, m := range regexp.MustCompile(`"(twokey_[a-z_]+)`).FindAllStringSubmatch(src, -1) {
		exposed[m[1]] = true
	}
	asked := map[string]bool{}
	for _, file := range []string{filepath.Join("prometheus", "twokey.rules.yml"), filepath.Join("grafana", "twokey.json")} {
		b, err := os.ReadFile(filepath.Join("deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`twokey_[a-z_]+`).FindAllString(string(b), -1) {
			name = strings.TrimSuffix(name, "_bucket")
			asked[name] = true
			if !exposed[name] {
				t.Errorf("%s asks for %s, which the bot does not have", file, name)
			}
		}
	}
	for name := range exposed {
		if !asked[name] {
			t.Errorf("nobody looks at %s", name)
		}
	}
}
