package main

import (
	"context"
	"errors"
	"time"

	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/integrations/git"
	"github.com/twokey/twokey/integrations/terraform"
	"github.com/twokey/twokey/policy"
)

type policyCommand struct {
	ConfigFile string        `arg:"--config" default:"twokey.yml" placeholder:"FILE" help:"the configuration; env:NAME takes it from an environment variable"`
	Back       time.Duration `arg:"--back" default:"24h" placeholder:"DURATION" help:"how far back CloudTrail is read for who read the secrets"`
	JSON       bool          `arg:"--json" help:"print JSON"`
	SARIF      bool          `arg:"--sarif" help:"print SARIF 2.1.0"`
}

var errAgainstPolicy = errors.New("something is against the policy, or could not be checked")

// Run does the checks once and prints what they found.
func (c *policyCommand) Run(ctx context.Context, io streams) error {
	if c.JSON && c.SARIF {
		return misuse{errors.New("--json and --sarif: take one of them")}
	}
	if c.Back <= 0 {
		return misuse{errors.New("--back takes a time such as 24h")}
	}
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if err != nil {
		return misuse{err}
	}
	cloud, err := aws.New(ctx, aws.Config{Region: cfg.AWS.Region, Endpoint: cfg.AWS.EndpointURL})
	if err != nil {
		return err
	}
	inspector := newInspector(cfg, cloud, time.Now)
	inspector.Back = c.Back
	report, err := inspector.Inspect(ctx)
	if err != nil {
		return err
	}
	write := report.WriteTable
	switch {
	case c.JSON:
		write = report.WriteJSON
	case c.SARIF:
		write = report.WriteSARIF
	}
	if err := write(io.out); err != nil {
		return err
	}
	if !report.Clean() {
		return errAgainstPolicy
	}
	return nil
}

// newInspector ties the checks to what they look at.
func newInspector(cfg *Config, cloud *aws.Client, now func() time.Time) *policy.Inspector {
	return &policy.Inspector{
		Targets: cfg.Targets, Platform: cloud, Services: cloud, Trail: cloud, Bot: cloud.Role, Now: now,
		Repositories: cfg.Checks.Repositories, Checkouts: git.Checkouts{}, Scanner: git.Checkouts{}, Hosting: &cfg.Checks.GitHub, Code: terraform.Code{},
	}
}
