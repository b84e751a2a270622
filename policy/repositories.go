package policy

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Repository is where the code and the deployment of the services live.
type Repository struct {
	Path   string // of a checkout on this machine; empty: its files are not looked at
	GitHub string // "owner/name"; empty: GitHub is not asked about it
	Owner  string
}

// name is what findings call it.
func (r Repository) name() string {
	if r.GitHub != "" {
		return r.GitHub
	}
	return r.Path
}

// Checkouts reads what a repository keeps.
type Checkouts interface {
	// Files lists what git keeps there, with slashes, from the checkout's root.
	Files(ctx context.Context, checkout string) ([]string, error)
	Read(checkout, file string) ([]byte, error)
	// Ignores reports whether git would leave a file out that has this name.
	Ignores(ctx context.Context, checkout, file string) (bool, error)
}

// Leak is a place that looks like a secret. What stands there is not in it.
type Leak struct {
	Rule   string
	File   string
	Line   int
	Commit string
}

// Scanner looks for secrets in every commit of a checkout.
type Scanner interface {
	Leaks(ctx context.Context, checkout string) ([]Leak, error)
}

// Scanning is what GitHub does by itself about secrets in a repository.
type Scanning struct{ Secrets, PushProtection bool }

// Hosting is GitHub.
type Hosting interface {
	Scanning(ctx context.Context, repository string) (Scanning, error)
}

// Backend is where Terraform keeps its state.
type Backend struct {
	Kind      string // "s3", "local", …
	Encrypted bool   // by what the code says
}

// Code reads Terraform's code.
type Code interface {
	// Backends returns those that a file configures; false when it is not understood.
	Backends(source string) ([]Backend, bool)
}

// The checks of repositories.
const (
	NoLeaks        Check = "no-secret-in-repository"
	EnvIgnored     Check = "env-file-ignored"
	NoEnvCopied    Check = "no-env-file-in-image"
	ScannedBefore  Check = "scanned-before-commit"
	ScannedInCI    Check = "scanned-in-ci"
	Protected      Check = "github-secret-scanning"
	StateEncrypted Check = "terraform-state-encrypted"
)

// RepositoryChecks lists what is demanded of repositories, in the order in which it is told.
func RepositoryChecks() []Demand {
	return []Demand{
		{NoLeaks, "No commit holds a secret, as far as gitleaks knows one."},
		{EnvIgnored, "Git ignores .env files, and keeps none."},
		{NoEnvCopied, "No Dockerfile copies a .env file into an image by its name."},
		{ScannedBefore, "A pre-commit hook names a program that looks for secrets."},
		{ScannedInCI, "A pipeline names a program that looks for secrets."},
		{Protected, "GitHub's secret scanning and push protection are on."},
		{StateEncrypted, "Every backend that Terraform's code names encrypts the state, and none is kept here."},
	}
}

// scanners are the programs that look for secrets, as hooks and pipelines name them.
func scanners() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(gitleaks|trufflehog|detect-secrets|ggshield|git-secrets)\b`)
}

// repositories looks at each repository.
func (l *look) repositories(ctx context.Context) {
	for _, r := range l.Repositories {
		l.report.Repositories++
		if r.Path != "" {
			l.leaks(ctx, r)
			l.files(ctx, r)
		}
		if r.GitHub != "" {
			l.hosting(ctx, r)
		}
	}
}

func (l *look) of(r Repository, f Finding) {
	f.Owner = r.Owner
	f.Subject = strings.TrimSuffix(r.name()+", "+f.Subject, ", ")
	l.add(f)
}

func (l *look) notChecked(r Repository, check Check, err error, remedy string) {
	l.of(r, Finding{Check: check, Evidence: "Not checked: " + err.Error(), Remedy: remedy, Unchecked: true})
}

// mostLeaks is how many places a finding names.
const mostLeaks = 5

func (l *look) leaks(ctx context.Context, r Repository) {
	found, err := l.Scanner.Leaks(ctx, r.Path)
	if err != nil {
		l.notChecked(r, NoLeaks, err, "Install gitleaks where the policy is checked, and give it a checkout with its history: git clone, without --depth.")
		return
	}
	if len(found) == 0 {
		return
	}
	var places []string
	for _, k := range found[:min(len(found), mostLeaks)] {
		places = append(places, fmt.Sprintf("%s in %s line %d, commit %.12s", k.Rule, k.File, k.Line, k.Commit))
	}
	if more := len(found) - len(places); more > 0 {
		places = append(places, fmt.Sprintf("and %d more", more))
	}
	l.of(r, Finding{
		Check: NoLeaks, Evidence: "gitleaks finds " + count(len(found), "place") + ": " + strings.Join(places, "; ") + ".",
		Remedy: "Treat each as leaked: rotate it, then take it out. What is none goes into .gitleaksignore.",
	})
}

// files looks at what the repository keeps.
func (l *look) files(ctx context.Context, r Repository) {
	files, err := l.Checkouts.Files(ctx, r.Path)
	if err != nil {
		for _, check := range []Check{EnvIgnored, NoEnvCopied, ScannedBefore, ScannedInCI, StateEncrypted} {
			l.notChecked(r, check, err, "Correct policy.repositories in the configuration: path is the folder of a git checkout on the machine that checks.")
		}
		return
	}
	l.environment(ctx, r, files)
	l.images(r, files)
	l.pipelines(r, files)
	l.states(r, files)
}

// isEnvironment tells a file with settings from one that shows what they are called.
func isEnvironment(file string) bool {
	base := path.Base(file)
	for _, shows := range []string{"example", "sample", "template", "dist"} {
		if strings.HasSuffix(base, "."+shows) {
			return false
		}
	}
	return base == ".env" || strings.HasPrefix(base, ".env.")
}

func (l *look) environment(ctx context.Context, r Repository, files []string) {
	for _, file := range files {
		if isEnvironment(file) {
			l.of(r, Finding{Check: EnvIgnored, Subject: file, Evidence: "Git keeps it.", Remedy: "git rm --cached " + file + ", ignore it, and rotate what stands in it: it is in the history."})
		}
	}
	ignored, err := l.Checkouts.Ignores(ctx, r.Path, ".env")
	switch {
	case err != nil:
		l.notChecked(r, EnvIgnored, err, "Install git where the policy is checked.")
	case !ignored:
		l.of(r, Finding{Check: EnvIgnored, Evidence: "Git does not ignore .env: one git add . keeps it.", Remedy: "Add a line .env to .gitignore."})
	}
}

// images looks for Dockerfiles that copy settings into an image.
func (l *look) images(r Repository, files []string) {
	for _, file := range files {
		base := strings.ToLower(path.Base(file))
		if base != "dockerfile" && base != "containerfile" && !strings.HasPrefix(base, "dockerfile.") && !strings.HasSuffix(base, ".dockerfile") {
			continue
		}
		src, err := l.Checkouts.Read(r.Path, file)
		if err != nil {
			l.notChecked(r, NoEnvCopied, err, "Let the file be read.")
			continue
		}
		for n, line := range copies(string(src)) {
			l.of(r, Finding{
				Check: NoEnvCopied, Subject: fmt.Sprintf("%s line %d", file, n), Evidence: "It copies a .env file: " + line,
				Remedy: "Take the line out, list .env in .dockerignore, and let ECS inject secrets. Whoever has the image has what stands in the file: rotate it.",
			})
		}
	}
}

// copies returns the instructions that copy an environment file, by their line.
func copies(dockerfile string) map[int]string {
	found := map[int]string{}
	whole, began := "", 0
	for n, line := range strings.Split(dockerfile, "\n") {
		if whole == "" {
			began = n + 1
		}
		if joined, goesOn := strings.CutSuffix(strings.TrimRight(line, " \t\r"), `\`); goesOn {
			whole += joined + " "
			continue
		}
		whole += line
		words := strings.FieldsFunc(whole, func(c rune) bool { return strings.ContainsRune(" \t\r[],\"", c) })
		if len(words) > 2 && slices.Contains([]string{"COPY", "ADD"}, strings.ToUpper(words[0])) && slices.ContainsFunc(words[1:len(words)-1], isEnvironment) {
			found[began] = strings.Join(words, " ")
		}
		whole = ""
	}
	return found
}

// pipelines looks for what scans before a commit and in CI.
func (l *look) pipelines(r Repository, files []string) {
	before, inCI := false, false
	var unread error // a file that could be the one
	for _, file := range files {
		hook := file == ".pre-commit-config.yaml" || file == ".pre-commit-config.yml" || file == "lefthook.yml" || strings.HasPrefix(file, ".husky/") || strings.HasPrefix(file, ".githooks/")
		if !hook && !isPipeline(file) {
			continue
		}
		src, err := l.Checkouts.Read(r.Path, file)
		if err != nil {
			unread = fmt.Errorf("read %s: %w", file, err)
			continue
		}
		if !scanners().Match(src) {
			continue // another may
		}
		before, inCI = before || hook, inCI || !hook
	}
	if unread != nil && (!before || !inCI) {
		for check, found := range map[Check]bool{ScannedBefore: before, ScannedInCI: inCI} {
			if !found {
				l.notChecked(r, check, unread, "Let the file be read.")
			}
		}
		return
	}
	if !before {
		l.of(r, Finding{Check: ScannedBefore, Evidence: "No pre-commit hook that is kept in the repository looks for secrets.", Remedy: "Add gitleaks to .pre-commit-config.yaml, and have everybody run pre-commit install."})
	}
	if !inCI {
		l.of(r, Finding{Check: ScannedInCI, Evidence: "No pipeline names a program that looks for secrets.", Remedy: "Run gitleaks git in CI, with the whole history, and let it fail the build."})
	}
}

func isPipeline(file string) bool {
	switch file {
	case ".gitlab-ci.yml", "azure-pipelines.yml", "bitbucket-pipelines.yml", "Jenkinsfile", "buildspec.yml":
		return true
	}
	return strings.HasPrefix(file, ".github/workflows/") || strings.HasPrefix(file, ".ci/") || strings.HasPrefix(file, ".circleci/") || strings.HasPrefix(file, ".buildkite/")
}

// encryptedByNature are backends whose service encrypts whatever it keeps.
func encryptedByNature(kind string) bool {
	return slices.Contains([]string{"azurerm", "gcs", "remote", "cloud", "oss"}, kind)
}

// states looks at where Terraform keeps its state, secrets and all.
func (l *look) states(r Repository, files []string) {
	for _, file := range files {
		if path.Ext(file) == ".tfstate" {
			l.of(r, Finding{Check: StateEncrypted, Subject: file, Evidence: "A state is kept in the repository.", Remedy: "Move it to an encrypted backend (terraform init -migrate-state), remove the file, and rotate what stands in it."})
			continue
		}
		if path.Ext(file) != ".tf" && path.Ext(file) != ".hcl" || path.Base(file) == ".terraform.lock.hcl" {
			continue
		}
		src, err := l.Checkouts.Read(r.Path, file)
		if err != nil {
			l.notChecked(r, StateEncrypted, err, "Let the file be read.")
			continue
		}
		backends, understood := l.Code.Backends(string(src))
		if !understood {
			l.of(r, Finding{Check: StateEncrypted, Subject: file, Evidence: "Not checked: the file is not understood.", Remedy: "Look at its backend by hand.", Unchecked: true})
			continue
		}
		for _, b := range backends {
			if b.Encrypted || encryptedByNature(b.Kind) {
				continue
			}
			l.of(r, Finding{
				Check: StateEncrypted, Subject: file, Evidence: fmt.Sprintf("The backend %q does not say that it encrypts the state, in which Terraform keeps values as they are.", b.Kind),
				Remedy: "Use the backend s3 with encrypt = true and a kms_key_id, or another that encrypts.",
			})
		}
	}
}

// hosting asks GitHub.
func (l *look) hosting(ctx context.Context, r Repository) {
	s, err := l.Hosting.Scanning(ctx, r.GitHub)
	if err != nil {
		l.notChecked(r, Protected, err, "Give policy.github_token a token that may read the repository's administration settings.")
		return
	}
	var off []string
	if !s.Secrets {
		off = append(off, "secret scanning")
	}
	if !s.PushProtection {
		off = append(off, "push protection")
	}
	if len(off) > 0 {
		l.of(r, Finding{Check: Protected, Evidence: "Off: " + strings.Join(off, " and ") + ".", Remedy: "Settings → Advanced Security → Secret Protection, in " + r.GitHub + "."})
	}
}
