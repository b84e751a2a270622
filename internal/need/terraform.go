package need

import (
	"os"
	"os/exec"
	"testing"
)

// Terraform prepares the configuration in dir, with the providers that it wants,
// and returns what runs terraform there: with some words, for what it prints.
// TWOKEY_TERRAFORM_MIRROR names a folder that has the providers where Terraform's
// registry is out of reach (terraform providers mirror FOLDER makes one).
func Terraform(t testing.TB, dir string, environment ...string) func(words ...string) ([]byte, error) {
	t.Helper()
	program := Program(t, "terraform", "see developer.hashicorp.com/terraform/install")
	data := t.TempDir()
	run := func(words ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), program, words...)
		cmd.Dir = dir
		// Whatever the developer's own settings say of mirrors and caches is not for tests.
		cmd.Env = append(append(os.Environ(), "TF_DATA_DIR="+data, "TF_IN_AUTOMATION=1", "TF_CLI_CONFIG_FILE=", "CHECKPOINT_DISABLE=1"), environment...)
		return cmd.CombinedOutput()
	}
	words := []string{"init", "-backend=false", "-input=false", "-no-color"}
	if mirror := os.Getenv("TWOKEY_TERRAFORM_MIRROR"); mirror != "" {
		words = append(words, "-plugin-dir="+mirror)
	}
	if out, err := run(words...); err != nil {
		missing(t, "terraform", "terraform cannot get its providers; let it reach its registry, or set TWOKEY_TERRAFORM_MIRROR (%v):\n%s", err, out)
	}
	return run
}
