// Package terraform gets real Terraform ready to work beside the sandbox: the
// program and the AWS provider as they are installed, or as its registry has them,
// and a stand-in for the azuread provider that speaks to the sandbox's Graph.
package terraform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// MirrorVariable names the environment variable with the folder of a filesystem
// mirror of providers, for machines that do not reach Terraform's registry. Without
// it, Terraform's own configuration and the registry decide.
const MirrorVariable = "TWOKEY_TERRAFORM_MIRROR"

// ProviderVersion is the version of the AWS provider that all is tried with.
const ProviderVersion = "5.100.0"

// ErrMissing is wrapped by the error of what is not installed, which says what to do.
var ErrMissing = errors.New("not installed")

// Kit is Terraform, ready to use.
type Kit struct {
	dir     string
	environ []string
}

// Prepare looks for Terraform and the AWS provider; dir is a folder for its own
// configuration. Environ is what Terraform needs to know besides, as NAME=value.
func Prepare(ctx context.Context, dir string, environ []string) (*Kit, error) {
	if _, err := exec.LookPath("terraform"); err != nil {
		return nil, fmt.Errorf("%w: the program terraform; install Terraform 1.11 or later (https://developer.hashicorp.com/terraform/install)", ErrMissing)
	}
	k := &Kit{dir: dir, environ: environ}
	if err := k.configure(); err != nil {
		return nil, err
	}
	probe := filepath.Join(dir, "probe")
	if err := k.Write(probe, Providers("aws")); err != nil {
		return nil, err
	}
	if out, err := k.Run(ctx, probe, "init"); err != nil {
		return nil, fmt.Errorf("%w: the AWS provider %s; let Terraform reach registry.terraform.io, or name a filesystem mirror with it in %s: %s", ErrMissing, ProviderVersion, MirrorVariable, lastLine(out))
	}
	return k, nil
}

// configure writes Terraform's own configuration: where providers come from.
func (k *Kit) configure() error {
	own := filepath.Join(k.dir, "providers")
	rest := "direct {\n    exclude = [\"hashicorp/azuread\"]\n  }"
	if mirror := os.Getenv(MirrorVariable); mirror != "" {
		rest = fmt.Sprintf("filesystem_mirror {\n    path    = %q\n    exclude = [\"hashicorp/azuread\"]\n  }", mirror)
	}
	text := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path    = %q\n    include = [\"hashicorp/azuread\"]\n  }\n  %s\n}\n", own, rest)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return fmt.Errorf("make the folder of the stand-in provider: %w", err)
	}
	if err := os.WriteFile(k.config(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write Terraform's configuration: %w", err)
	}
	return nil
}

func (k *Kit) config() string { return filepath.Join(k.dir, "terraform.rc") }

// Environ is what Terraform needs to know, for a bot that runs it.
func (k *Kit) Environ() []string {
	return append([]string{"TF_CLI_CONFIG_FILE=" + k.config(), "CHECKPOINT_DISABLE=1"}, k.environ...)
}

// Run runs Terraform in a folder and returns what it printed.
func (k *Kit) Run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "terraform", append(args, "-no-color")...)
	var out bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), k.Environ()...), &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("terraform %s: %w:\n%s", args[0], err, out.String())
	}
	return out.String(), nil
}

// Write writes the code of a module, in place of what was there.
func (k *Kit) Write(dir, code string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a module's folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(code), 0o600); err != nil {
		return fmt.Errorf("write a module's code: %w", err)
	}
	return nil
}

// Apply initializes a folder and applies it.
func (k *Kit) Apply(ctx context.Context, dir string) error {
	if _, err := k.Run(ctx, dir, "init", "-input=false"); err != nil {
		return err
	}
	_, err := k.Run(ctx, dir, "apply", "-auto-approve", "-input=false")
	return err
}

// Providers is the code that asks for providers, and sets them up for the sandbox.
func Providers(names ...string) string {
	var b strings.Builder
	b.WriteString("terraform {\n  required_providers {\n")
	for _, name := range names {
		version := map[string]string{"aws": ProviderVersion, "azuread": StandInVersion}[name]
		fmt.Fprintf(&b, "    %s = { source = \"hashicorp/%s\", version = %q }\n", name, name, version)
	}
	b.WriteString("  }\n}\n")
	b.WriteString("provider \"aws\" {\n  skip_credentials_validation = true\n  skip_requesting_account_id  = true\n  skip_metadata_api_check     = true\n}\n")
	return b.String()
}

// StandInVersion is the version of the stand-in provider: none that there is.
const StandInVersion = "0.0.1"

func lastLine(text string) string {
	for line := range strings.Lines(text) {
		if _, message, found := strings.Cut(line, "Error: "); found {
			return strings.TrimSpace(message)
		}
	}
	return "terraform init failed"
}
