package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/sandbox/terraform"
)

// TestConversationsBesideTerraform plays the scripts in testdata/conversations/terraform
// with real Terraform: one after the other, since it is told by the environment
// where the sandbox is.
func TestConversationsBesideTerraform(t *testing.T) {
	paths, err := filepath.Glob("testdata/conversations/terraform/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			play, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			converse(t, path, string(play))
		})
	}
}

// provision has Terraform make the secrets that the script names, before the bot
// starts. Terragrunt is a program of that name which calls Terraform with the same
// arguments: all that is relied on of it.
func (c *conversation) provision() error {
	if len(c.provisioned) == 0 {
		return nil
	}
	kit, err := terraform.ForSandbox(c.t.Context(), c.box, filepath.Join(c.dir, "terraform"))
	if errors.Is(err, terraform.ErrMissing) {
		need.Installed(c.t, "terraform", err)
	}
	if err != nil {
		return err
	}
	for _, pair := range kit.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		c.t.Setenv(name, value)
	}
	programs := c.t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "terragrunt"), []byte("#!/bin/sh\nexec terraform \"$@\"\n"), 0o700); err != nil { //nolint:gosec // it is to be run
		return err
	}
	c.t.Setenv("PATH", programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	cloud, err := aws.New(c.t.Context(), aws.Config{Region: "eu-central-1", Endpoint: c.box.URL() + "/aws"})
	if err != nil {
		return err
	}
	c.code = teamsCode{box: c.box, kit: kit, cloud: cloud, folder: c.dir}
	for _, name := range c.provisioned {
		if err := c.code.team(c.t.Context(), name); err != nil {
			return err
		}
	}
	return nil
}

// terraformVerbs are what a team does with its code.
func terraformVerbs() []verb {
	const secret = `([a-z]+/[a-z]+)`
	return []verb{
		{pattern: `somebody applies the code of ` + secret, act: func(c *conversation, a []string) error {
			return c.code.kit.Apply(context.Background(), c.code.directory(a[0]))
		}},
		{pattern: `somebody writes ` + secret + ` as write-only`, act: func(c *conversation, a []string) error {
			s, err := c.secret(a[0])
			if err != nil {
				return err
			}
			return errors.Join(c.code.apply(context.Background(), a[0], terraform.WriteOnlyModule(s)), c.code.apply(context.Background(), a[0], terraform.BotModule(s)))
		}},
		{pattern: `somebody (changes|breaks) the code of ` + secret + `(?: to (.+))?`, act: func(c *conversation, a []string) error {
			path := filepath.Join(c.code.directory(a[1]), "main.tf")
			code, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if a[0] == "breaks" {
				return os.WriteFile(path, append(code, "\nresource {\n"...), 0o600)
			}
			return os.WriteFile(path, append(code, "\n"+strings.ReplaceAll(a[2], ";", "\n")+"\n"...), 0o600)
		}},
		{pattern: `somebody writes over the code of ` + secret + `: (\S+) makes before it destroys`, act: func(c *conversation, a []string) error {
			kind, name, _ := strings.Cut(a[1], ".")
			text := fmt.Sprintf("resource %q %q {\n  lifecycle {\n    create_before_destroy = true\n  }\n}\n", kind, name)
			return os.WriteFile(filepath.Join(c.code.directory(a[0]), "main_override.tf"), []byte(text), 0o600)
		}},
		{pattern: `the saved plan is (lost|swapped)`, act: func(c *conversation, a []string) error {
			found, err := filepath.Glob(filepath.Join(c.dir, "plans", "*", "plan"))
			if err != nil || len(found) != 1 {
				return fmt.Errorf("saved plans: %v, %w", found, err)
			}
			if a[0] == "lost" {
				return os.Remove(found[0])
			}
			return os.WriteFile(found[0], []byte("another plan"), 0o600)
		}},
		{pattern: `no plan is left`, look: func(c *conversation, _ []string) error {
			left, err := os.ReadDir(filepath.Join(c.dir, "plans"))
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("%v", left)
			}
			return err
		}},
	}
}
