package terraform

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/entra"
)

// ForSandbox gets Terraform ready for a sandbox, with an identity of its own there,
// and builds the stand-in for the azuread provider, for which Go and this source
// are needed.
func ForSandbox(ctx context.Context, box *sandbox.Sandbox, dir string) (*Kit, error) {
	ids := box.Entra.AddApplication(entra.NewApplication{Name: "terraform", Roles: []string{"Application.ReadWrite.All"}})
	key, err := box.Entra.AddPassword(ids.Client, entra.NewPassword{Name: "terraform"})
	if err != nil {
		return nil, fmt.Errorf("give Terraform an identity: %w", err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the folder of Terraform's configuration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of Terraform's configuration: %w", err)
	}
	ca := filepath.Join(dir, "entra-ca.pem")
	if err := os.WriteFile(ca, box.CA(), 0o600); err != nil {
		return nil, fmt.Errorf("write the authority of the sandbox's Entra: %w", err)
	}
	environ := []string{
		"ARM_TENANT_ID=" + box.Team.Tenant, "ARM_CLIENT_ID=" + ids.Client, "ARM_CLIENT_SECRET=" + key.Secret,
		"ARM_SANDBOX_URL=" + box.EntraURL(), "ARM_SANDBOX_CA_FILE=" + ca,
	}
	for _, pair := range box.Environ(dir) {
		if strings.HasPrefix(pair, "AWS_") {
			environ = append(environ, pair)
		}
	}
	k, err := Prepare(ctx, dir, environ)
	if err != nil {
		return nil, err
	}
	return k, k.buildStandIn(ctx)
}

// buildStandIn puts the stand-in where Terraform looks for it.
func (k *Kit) buildStandIn(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	source := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "sandbox", "terraform", "azuread")
	if err == nil {
		_, err = os.Stat(filepath.Join(source, "go.mod"))
	}
	if err != nil {
		return fmt.Errorf("%w: the stand-in for the azuread provider, which is built from this source; install Go, and run this in its folder", ErrMissing)
	}
	target := filepath.Join(k.dir, "providers", "registry.terraform.io", "hashicorp", "azuread", StandInVersion, runtime.GOOS+"_"+runtime.GOARCH, "terraform-provider-azuread_v"+StandInVersion)
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", target, ".")
	build.Dir = source
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the stand-in for the azuread provider: %w: %s", err, text)
	}
	return nil
}

// The code of a team that has Terraform make the secret, and its way to code that
// lives well beside a bot.
const (
	teamPassword = `
resource "azuread_application_password" "this" {
  application_id = "/applications/%s"
  display_name   = "terraform"
}
`
	teamParameter = `
resource "aws_ssm_parameter" "client_secret" {
  name  = "%s"
  type  = "SecureString"
%s
}
`
)

// TeamModule is code as the team has it: the parameter's value is the password's.
// The parameter is there already, so it is imported.
func TeamModule(s sandbox.Secret) string {
	return Providers("aws", "azuread") + fmt.Sprintf(teamPassword, s.ObjectID) +
		fmt.Sprintf(teamParameter, s.SecretParameter, "  value = azuread_application_password.this.value") +
		fmt.Sprintf("import {\n  to = aws_ssm_parameter.client_secret\n  id = %q\n}\n", s.SecretParameter)
}

// WriteOnlyModule is the first step: the same value, written and not kept.
func WriteOnlyModule(s sandbox.Secret) string {
	return Providers("aws", "azuread") + fmt.Sprintf(teamPassword, s.ObjectID) +
		fmt.Sprintf(teamParameter, s.SecretParameter, "  value_wo         = azuread_application_password.this.value\n  value_wo_version = 1")
}

// BotModule is the second: the password is forgotten and not destroyed, and the
// value is the bot's affair.
func BotModule(s sandbox.Secret) string {
	return Providers("aws", "azuread") +
		"removed {\n  from = azuread_application_password.this\n  lifecycle {\n    destroy = false\n  }\n}\n" +
		fmt.Sprintf(teamParameter, s.SecretParameter, "  value_wo         = \"written by twokey\"\n  value_wo_version = 1")
}
