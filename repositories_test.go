package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/integrations/git"
	"github.com/twokey/twokey/integrations/github"
	"github.com/twokey/twokey/integrations/terraform"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/policy"
)

// emptyAccount is an AWS account with nothing in it: here it is about repositories.
type emptyAccount struct{}

func (emptyAccount) Roles(context.Context) ([]string, error) { return nil, nil }
func (emptyAccount) MayRead(context.Context, string, []string) (map[string]bool, error) {
	return nil, nil
}
func (emptyAccount) Kinds(context.Context, []string) (map[string]policy.Kind, error) { return nil, nil }
func (emptyAccount) Calls(context.Context, string, exposure.Window) ([]exposure.Call, error) {
	return nil, nil
}

// checkout is a repository as it should be.
type checkout struct {
	t   *testing.T
	dir string
	api *hub
}

// hub answers as GitHub's REST API does.
type hub struct {
	address    string
	status     int
	scanning   string // of both settings; empty: not shown
	protection string
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/repos/contoso/mcp" || r.Header.Get("Authorization") != "Bearer ghp-hush" || r.Header.Get("Accept") != "application/vnd.github+json" {
		h.status = http.StatusNotFound
	}
	answer := map[string]any{"full_name": "contoso/mcp", "private": true}
	if h.scanning != "" {
		answer["security_and_analysis"] = map[string]any{"secret_scanning": map[string]string{"status": h.scanning}, "secret_scanning_push_protection": map[string]string{"status": h.protection}}
	}
	w.WriteHeader(h.status)
	_ = json.NewEncoder(w).Encode(answer) // the client is gone if it fails
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	need.Program(t, "git", "apt-get install git (Debian)")
	need.Program(t, "gitleaks", "go install github.com/zricethezav/gitleaks/v8@latest")
	c := &checkout{t, t.TempDir(), &hub{status: http.StatusOK, scanning: "enabled", protection: "enabled"}}
	srv := httptest.NewServer(c.api)
	t.Cleanup(srv.Close)
	c.api.address = srv.URL
	c.git("init", "--quiet")
	c.keep(".gitignore", ".env\n.env.*\n")
	c.keep("Dockerfile", "FROM scratch\nCOPY . .\nCOPY .env.example /etc/app/\n")
	c.keep(".pre-commit-config.yaml", "repos:\n  - repo: https://github.com/gitleaks/gitleaks\n    rev: v8.30.1\n    hooks: [{id: gitleaks}]\n")
	c.keep(".github/workflows/ci.yml", "jobs: {scan: {steps: [{run: gitleaks git .}]}}\n")
	c.keep("infra/main.tf", "terraform {\n  backend \"s3\" {\n    bucket  = \"state\"\n    encrypt = true\n  }\n}\n")
	c.keep("infra/terragrunt.hcl", "remote_state {\n  backend = \"s3\"\n  config = {\n    encrypt = true\n    bucket = \"state\"\n  }\n}\n")
	return c
}

func (c *checkout) git(words ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "git", append([]string{"-c", "user.name=alice", "-c", "user.email=alice@example.com", "-c", "commit.gpgsign=false"}, words...)...)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("git %s: %v\n%s", words[0], err, out)
	}
}

// keep writes a file and commits it, ignored or not.
func (c *checkout) keep(file, text string) {
	c.t.Helper()
	path := filepath.Join(c.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.git("add", "--force", "--", file)
	c.git("commit", "--quiet", "--message", "keep "+file)
}

func (c *checkout) findings() []policy.Finding {
	c.t.Helper()
	i := policy.Inspector{
		Platform: emptyAccount{}, Trail: emptyAccount{}, Bot: func(context.Context) (string, error) { return "arn:aws:iam::1:role/twokey", nil }, Now: time.Now,
		Repositories: []policy.Repository{{Path: c.dir, GitHub: "contoso/mcp", Owner: "Connectors"}},
		Checkouts:    git.Checkouts{}, Scanner: git.Checkouts{}, Code: terraform.Code{},
		Hosting: &github.Client{Address: c.api.address, Token: operation.NewSecret("ghp-hush")},
	}
	report, err := i.Inspect(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return report.Findings
}

func TestARepositoryAsItShouldBeIsClean(t *testing.T) {
	if found := newCheckout(t).findings(); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// Each way in which a repository goes wrong is found by its check, and by no other.
func TestWhatIsWrongWithARepositoryIsFound(t *testing.T) {
	token := "ghp_" + strings.Repeat("x7Kq2mZp9", 4) // of the shape that gitleaks knows; nobody's
	for name, tt := range map[string]struct {
		spoil     func(c *checkout)
		check     policy.Check
		says      string
		unchecked bool
	}{
		"a token in an old commit": {func(c *checkout) {
			c.keep("settings.py", "token = \""+token+"\"\n")
			c.keep("settings.py", "token = os.environ[\"TOKEN\"]\n")
		}, policy.NoLeaks, "github-pat in settings.py line 1", false},
		"a .env that is kept":        {func(c *checkout) { c.keep("service/.env", "A=b\n") }, policy.EnvIgnored, "Git keeps it", false},
		"a .env that nobody ignores": {func(c *checkout) { c.keep(".gitignore", "*.log\n") }, policy.EnvIgnored, "does not ignore .env", false},
		"an image with a .env": {func(c *checkout) {
			c.keep("build/Dockerfile.prod", "FROM scratch\nCOPY --chown=1:1 \\\n  app .env /srv/\n")
		}, policy.NoEnvCopied, "COPY --chown=1:1 app .env /srv/", false},
		"an image with a .env, in brackets": {func(c *checkout) { c.keep("Dockerfile", "FROM scratch\nADD [\"conf/.env.prod\", \"/srv/\"]\n") }, policy.NoEnvCopied, "conf/.env.prod", false},
		"no hook":                           {func(c *checkout) { c.keep(".pre-commit-config.yaml", "repos: []\n") }, policy.ScannedBefore, "No pre-commit hook", false},
		"a hook that cannot be read":        {func(c *checkout) { _ = os.Remove(filepath.Join(c.dir, ".pre-commit-config.yaml")) }, policy.ScannedBefore, "Not checked", true},
		"a pipeline that scans for nothing": {func(c *checkout) { c.keep(".github/workflows/ci.yml", "jobs: {}\n") }, policy.ScannedInCI, "No pipeline", false},
		"a state in plain text": {func(c *checkout) {
			c.keep("infra/main.tf", "terraform {\n  backend \"s3\" {\n    bucket = \"state\"\n  }\n}\n")
		}, policy.StateEncrypted, `"s3"`, false},
		"a state that is not to be": {func(c *checkout) {
			c.keep("infra/terragrunt.hcl", "remote_state {\n  backend = \"s3\"\n  config = {\n    encrypt = false\n  }\n}\n")
		}, policy.StateEncrypted, `"s3"`, false},
		"a state on somebody's disk":         {func(c *checkout) { c.keep("infra/main.tf", "terraform {\n  backend \"local\" {}\n}\n") }, policy.StateEncrypted, `"local"`, false},
		"a state in the repository":          {func(c *checkout) { c.keep("infra/terraform.tfstate", "{}\n") }, policy.StateEncrypted, "kept in the repository", false},
		"code that nobody understands":       {func(c *checkout) { c.keep("infra/other.tf", "terraform {\n  backend \"s3\" {\n") }, policy.StateEncrypted, "not understood", true},
		"push protection that is off":        {func(c *checkout) { c.api.protection = "disabled" }, policy.Protected, "Off: push protection.", false},
		"a token that may not look":          {func(c *checkout) { c.api.scanning = "" }, policy.Protected, "does not show", true},
		"a GitHub that is broken":            {func(c *checkout) { c.api.status = http.StatusBadGateway }, policy.Protected, "502", true},
		"a checkout that is none, but files": {func(c *checkout) { _ = os.RemoveAll(filepath.Join(c.dir, ".git")) }, policy.EnvIgnored, "Not checked", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			tt.spoil(c)
			found := c.findings()
			if !slices.ContainsFunc(found, func(f policy.Finding) bool {
				return f.Check == tt.check && f.Unchecked == tt.unchecked && strings.Contains(f.Evidence, tt.says) && strings.HasPrefix(f.Subject, "contoso/mcp") && f.Owner == "Connectors" && f.Remedy != ""
			}) {
				t.Errorf("not found in %+v", found)
			}
			for _, f := range found {
				if strings.Contains(f.Evidence, token) {
					t.Errorf("the token is told: %s", f.Evidence)
				}
				if f.Check != tt.check && !strings.Contains(name, "none") {
					t.Errorf("another check found %+v", f)
				}
			}
		})
	}
}
