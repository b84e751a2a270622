package runbook_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/twokey/twokey/integrations/terraform"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox"
	tfsandbox "github.com/twokey/twokey/sandbox/terraform"
)

// The ways in which people write a parameter.
const driftCode = `
variable "secret" {
  sensitive = true
  default   = "first" # }
}
/* resource "aws_ssm_parameter" "plain" { lifecycle { ignore_changes = all } } */
resource "aws_ssm_parameter" "plain" {
  name  = "/drift/plain"
  type  = "SecureString"
  value = var.secret
  lifecycle {
    # ignore_changes = [value]
    ignore_changes = [tags["value"], description]
  }
}
resource "aws_ssm_parameter" "ignored" {
  name        = "/drift/ignored"
  type        = "SecureString"
  value       = var.secret
  description = "braces } and ${"quotes \" } {"} in a string"
  lifecycle { ignore_changes = [value] }
}
resource "aws_ssm_parameter" "all" {
  name  = "/drift/all"
  type  = "SecureString"
  value = var.secret
  lifecycle {
    ignore_changes = all
  }
}
resource "aws_ssm_parameter" "write_only" {
  name             = "/drift/write_only"
  type             = "SecureString"
  value_wo         = var.secret
  value_wo_version = 1
}
resource "aws_ssm_parameter" "overridden" {
  name  = "/drift/overridden"
  type  = "SecureString"
  value = var.secret
  lifecycle {
    ignore_changes = [value]
  }
}
module "inner" {
  source   = "./inner"
  for_each = toset(["a.b"])
  secret   = var.secret
}
`

const driftInner = `
variable "secret" {}
locals {
  text = <<-EOT
    lifecycle { ignore_changes = [value] }
  EOT
}
resource "aws_ssm_parameter" "plain" {
  name  = "/drift/inner_plain"
  type  = "SecureString"
  value = var.secret
}
resource "aws_ssm_parameter" "ignored" {
  count = 1
  name  = "/drift/inner_ignored"
  type  = "SecureString"
  value = var.secret
  lifecycle {
    ignore_changes = [
      description,
      value, # the bot writes it
    ]
  }
}
`

const driftOverride = `
resource "aws_ssm_parameter" "overridden" {
  lifecycle {
    ignore_changes = [tags]
  }
}
`

// The drift table: what real Terraform with the real AWS provider does to a secret
// that somebody else rotated, and what the guard says of it before and after.
func TestTheGuardForeseesWhatTheNextApplyDoes(t *testing.T) {
	t.Run("against the sandbox", func(t *testing.T) {
		box, err := sandbox.Start(t.Context(), sandbox.Options{ProbeEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(box.Close)
		drift(t, box.URL()+"/aws")
	})
	t.Run("against moto", func(t *testing.T) { drift(t, need.Moto(t)) })
}

func drift(t *testing.T, endpoint string) {
	kit := kit(t, endpoint)
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.tf": tfsandbox.Providers("aws") + driftCode, "inner/main.tf": driftInner, "main_override.tf": driftOverride})
	if err := kit.Apply(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	next := asker(t, kit, dir)
	before := next()
	cloud := ssm.New(ssm.Options{Region: "eu-central-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("TWOKEYSANDBOX0001", "not-a-secret", "")})
	cases := []struct {
		name, does, holds string
		inState           bool // the rotated secret, by refresh
	}{
		{"plain", "PUTS THE OLD SECRET BACK", "first", false},
		{"ignored", "leaves the secret alone", "rotated", true},
		{"all", "leaves the secret alone", "rotated", true},
		{"write_only", "leaves the secret alone", "rotated", false},
		{"overridden", "PUTS THE OLD SECRET BACK", "first", false},
		{"inner_plain", "PUTS THE OLD SECRET BACK", "first", false},
		{"inner_ignored", "leaves the secret alone", "rotated", true},
	}
	for _, c := range cases {
		name := "/drift/" + c.name
		if does, _ := runbook.Foresee(before, name, "old"); does != c.does {
			t.Errorf("%s: before the rotation the guard says that the next apply %s; it %s", c.name, does, c.does)
		}
		put, err := cloud.PutParameter(t.Context(), &ssm.PutParameterInput{Name: &name, Value: sdk.String("rotated"), Overwrite: sdk.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cloud.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: &name, ParameterVersion: &put.Version, Labels: []string{"key-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	after := next()
	if err := kit.Apply(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		name := "/drift/" + c.name
		if does, _ := runbook.Foresee(after, name, ""); does != c.does {
			t.Errorf("%s: after the rotation the guard says that the next apply %s; it %s", c.name, does, c.does)
		}
		p, err := cloud.GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name, WithDecryption: sdk.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		if *p.Parameter.Value != c.holds {
			t.Errorf("%s: after the apply the parameter holds the %s secret, not the %s", c.name, *p.Parameter.Value, c.holds)
		}
		if got := inState(t, dir, name, "rotated"); got != c.inState {
			t.Errorf("%s: the rotated secret in Terraform's state: %t, not %t", c.name, got, c.inState)
		}
	}
	if does, _ := runbook.Foresee(after, "/drift/elsewhere", ""); does != "is not known" {
		t.Errorf("of a parameter that the module does not have, the guard says that the next apply %s", does)
	}
}

// What cannot be seen with one provider only.
func TestEveryForecast(t *testing.T) {
	parameter := func(leaves bool, actions ...string) runbook.Resource {
		return runbook.Resource{Address: "aws_ssm_parameter.this", Type: "aws_ssm_parameter", Actions: actions, Parameter: "/p", LeavesValue: leaves}
	}
	password := func(key runbook.KeyID, actions ...string) runbook.Resource {
		return runbook.Resource{Address: "azuread_application_password.this", Type: "azuread_application_password", Actions: actions, Key: key}
	}
	for _, c := range []struct {
		name      string
		old       runbook.KeyID // "": after the rotation
		resources []runbook.Resource
		does      string
		litter    bool
	}{
		{"before: the team's module", "old", []runbook.Resource{parameter(false, "no-op"), password("old", "no-op")}, "MAKES ANOTHER SECRET and puts it in", false},
		{"before: the secret is another key's by now", "old", []runbook.Resource{parameter(false, "no-op"), password("first", "no-op")}, "PUTS THE OLD SECRET BACK", false},
		{"before: write-only, and the key is Terraform's", "old", []runbook.Resource{parameter(true, "no-op"), password("old", "no-op")}, "leaves the secret alone", true},
		{"before: a password is due anyway", "old", []runbook.Resource{parameter(true, "update"), password("old", "delete", "create")}, "MAKES ANOTHER SECRET and puts it in", false},
		{"before: something about it is due", "old", []runbook.Resource{parameter(true, "update")}, "WRITES THE PARAMETER ANEW", false},
		{"before: write-only", "old", []runbook.Resource{parameter(true, "no-op")}, "leaves the secret alone", false},
		{"before: replaced", "old", []runbook.Resource{parameter(false, "delete", "create")}, "PUTS THE OLD SECRET BACK", false},
		{"before: taken out", "old", []runbook.Resource{parameter(true, "delete")}, "REMOVES THE PARAMETER", false},
		{"before: not there", "old", []runbook.Resource{password("old", "no-op")}, "is not known", false},
		{"after: nothing to do", "", []runbook.Resource{parameter(false, "no-op"), password("new", "no-op")}, "leaves the secret alone", false},
		{"after: the team's module", "", []runbook.Resource{parameter(false, "update"), password("", "create")}, "MAKES ANOTHER SECRET and puts it in", false},
		{"after: only the value", "", []runbook.Resource{parameter(false, "update"), password("new", "no-op")}, "PUTS THE OLD SECRET BACK", false},
		{"after: the key is made anew, and goes nowhere", "", []runbook.Resource{parameter(true, "no-op"), password("", "create")}, "leaves the secret alone", true},
		{"after: taken out", "", []runbook.Resource{parameter(true, "delete")}, "REMOVES THE PARAMETER", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			does, litter := runbook.Foresee(c.resources, "/p", c.old)
			if does != c.does || (litter != "") != c.litter {
				t.Errorf("the next apply %s, litter %q", does, litter)
			}
		})
	}
}

// kit is real Terraform, or the test is skipped.
func kit(t *testing.T, endpoint string) *tfsandbox.Kit {
	t.Helper()
	kit, err := tfsandbox.Prepare(t.Context(), t.TempDir(), []string{
		"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + endpoint, "AWS_ACCESS_KEY_ID=TWOKEYSANDBOX0001", "AWS_SECRET_ACCESS_KEY=not-a-secret", "AWS_EC2_METADATA_DISABLED=true",
	})
	if errors.Is(err, tfsandbox.ErrMissing) {
		need.Installed(t, "terraform", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kit
}

// asker asks as the bot does.
func asker(t *testing.T, kit *tfsandbox.Kit, dir string) func() []runbook.Resource {
	t.Helper()
	folder := t.TempDir()
	client := terraform.New(terraform.Options{Folder: folder, Environ: append(os.Environ(), kit.Environ()...)}, time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() []runbook.Resource {
		t.Helper()
		resources, err := client.Next(t.Context(), runbook.Module{Directory: dir, Program: "terraform"})
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("the look left %v, %v", left, err)
		}
		return resources
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// inState reports whether a text is among a parameter's attributes in the state.
func inState(t *testing.T, dir, parameter, text string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Resources []struct {
			Instances []struct {
				Attributes json.RawMessage `json:"attributes"`
			} `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	for _, r := range state.Resources {
		for _, i := range r.Instances {
			if strings.Contains(string(i.Attributes), `"`+parameter+`"`) {
				return strings.Contains(string(i.Attributes), `"`+text+`"`)
			}
		}
	}
	t.Fatalf("no %s in the state", parameter)
	return false
}

// The module that we ship, without its Entra part: the real azuread provider is not
// at hand, so entra.tf is not validated here.
func TestTheModuleInDeployLeavesTheSecretAlone(t *testing.T) {
	box, err := sandbox.Start(t.Context(), sandbox.Options{ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	endpoint := box.URL() + "/aws"
	kit := kit(t, endpoint)
	dir := t.TempDir()
	files := map[string]string{
		"main.tf":          tfsandbox.Providers("aws") + "module \"this\" {\n  source        = \"./module\"\n  name          = \"wiki\"\n  environment   = \"prod\"\n  bot_object_id = \"0\"\n}\n",
		"module/entra.tf":  "locals {\n  client_id = \"11111111-2222-3333-4444-555555555555\"\n}\n",
		"module/needed.tf": "terraform {\n  required_version = \">= 1.11\"\n}\n",
	}
	for _, name := range []string{"variables.tf", "ssm.tf", "outputs.tf"} {
		code, err := os.ReadFile(filepath.Join("..", "deploy", "terraform", "mcp_app_registration", name))
		if err != nil {
			t.Fatal(err)
		}
		files["module/"+name] = string(code)
	}
	write(t, dir, files)
	if err := kit.Apply(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := kit.Run(t.Context(), dir, "validate"); err != nil {
		t.Error(err)
	}
	next := asker(t, kit, dir)
	name := "/aiconnectors/prod/wiki/client_secret"
	if does, _ := runbook.Foresee(next(), name, "old"); does != "leaves the secret alone" {
		t.Errorf("before the rotation the guard says that the next apply %s", does)
	}
	cloud := ssm.New(ssm.Options{Region: "eu-central-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("TWOKEYSANDBOX0001", "not-a-secret", "")})
	if _, err := cloud.PutParameter(t.Context(), &ssm.PutParameterInput{Name: &name, Value: sdk.String("rotated"), Overwrite: sdk.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if does, _ := runbook.Foresee(next(), name, ""); does != "leaves the secret alone" {
		t.Errorf("after the rotation the guard says that the next apply %s", does)
	}
	if inState(t, dir, name, "rotated") {
		t.Error("the rotated secret is in the state")
	}
}
