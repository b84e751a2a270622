package main

import (
	"github.com/twokey/twokey/integrations/github"
	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/policy"
)

// PolicyConfig is what is checked besides the platform itself, and when.
type PolicyConfig struct {
	TaskConfig
	Repositories []policy.Repository
	GitHub       github.Client
}

type policySection struct {
	At           strict.Position
	taskSection  `yaml:",inline"`
	Repositories []repositorySection `yaml:"repositories"`
	GitHubToken  source              `yaml:"github_token"`
	GitHubURL    strict.Text         `yaml:"github_url"`
}

type repositorySection struct {
	At     strict.Position
	Path   strict.Text `yaml:"path"`
	GitHub strict.Text `yaml:"github"`
	Owner  strict.Text `yaml:"owner"`
}

// policy reads the section. Without it the platform is checked when somebody asks,
// and no repository is.
func (r *configReader) policy(s policySection, c *Config) PolicyConfig {
	if s.At.Line == 0 {
		return PolicyConfig{}
	}
	s.taskSection.At = s.At
	out := PolicyConfig{TaskConfig: r.task(s.taskSection, "policy", defaultChecks, c)}
	if s.GitHubURL.IsSet() {
		out.GitHub.Address = r.secureURL(s.GitHubURL, "policy.github_url", "")
	}
	asked := false
	for _, repository := range s.Repositories {
		if !repository.Path.IsSet() && !repository.GitHub.IsSet() {
			r.mistake(repository.At, "policy.repositories: an entry needs path, the folder of a checkout, or github, as owner/name, or both")
			continue
		}
		if repository.GitHub.IsSet() {
			asked = true
			r.shape(repository.GitHub, repository.At, "policy.repositories.github", `[A-Za-z0-9-]+/[A-Za-z0-9._-]+`, "a repository's owner and name, such as contoso/mcp-sharepoint")
		}
		out.Repositories = append(out.Repositories, policy.Repository{Path: repository.Path.Value, GitHub: repository.GitHub.Value, Owner: repository.Owner.Value})
	}
	switch {
	case s.GitHubToken.At.Line > 0:
		out.GitHub.Token = r.secret(s.GitHubToken, s.At, "policy.github_token", "GITHUB_TOKEN")
	case asked:
		r.mistake(s.At, "policy.github_token is missing; add github_token: {env: GITHUB_TOKEN}, of somebody who administers the repositories: GitHub shows nobody else these settings")
	}
	return out
}

func describePolicy(c PolicyConfig) string {
	if len(c.Repositories) == 0 {
		return c.String()
	}
	return c.String() + "; with " + count(len(c.Repositories), "repository")
}
