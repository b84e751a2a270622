package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twokey/twokey/discovery"
	"github.com/twokey/twokey/doctor"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/conditions"
)

// flags are what "twokey init" has to be told in a sandbox: its addresses, and what
// nobody can find out.
func (p *platform) flags() []string {
	dir := filepath.Dir(p.path)
	return []string{
		"--operations-channel", sandbox.OperationsChannel, "--approvers", sandbox.ApproversGroup, "--tenant", p.Team.Tenant,
		"--client-id", p.Team.Bot.ClientID, "--region", "eu-central-1", "--path", "/aiconnectors",
		"--app-token", "file:" + filepath.Join(dir, sandbox.AppTokenFile), "--bot-token", "file:" + filepath.Join(dir, sandbox.BotTokenFile),
		"--key-file", filepath.Join(dir, sandbox.RecordKeyFile), "--origin", sandbox.RecordOrigin, "--database", "sqlite:" + filepath.Join(dir, "twokey.db"),
		"--slack-api-url", p.URL() + "/slack/api/", "--login-url", p.EntraURL(), "--graph-url", p.EntraURL(), "--ca-file", filepath.Join(dir, sandbox.CAFile),
		"--aws-endpoint-url", p.URL() + "/aws", "--mcp-url", p.URL() + "/mcp/{env}/{mcp}", "--mcp-health", p.URL() + "/mcp/{env}/{mcp}/health",
	}
}

// tools are the calls that prove a server of the sandbox.
func tools() []string {
	return []string{
		"--tool", "sharepoint=search_documents", "--arguments", `sharepoint={"query":"onboarding"}`, "--expect", "sharepoint=Onboarding guide",
		"--tool", "github=search_repositories", "--expect", "github=platform/connectors",
		"--tool", "jira=search_issues", "--expect", "jira=OPS-101",
		"--tool", "confluence=search_pages", "--expect", "confluence=rotate a client secret",
	}
}

// init types "twokey init" with these words; in is what is typed at the terminal, nil
// that there is none. It returns what was asked and printed, and the file.
func (p *platform) init(in io.Reader, words ...string) (said, file string, err error) {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "twokey.yml")
	var out bytes.Buffer
	err = dispatch(p.t.Context(), append([]string{"init", "--config", path}, words...), streams{out: &out, err: &out, in: in, getenv: func(string) string { return "" }})
	text, readErr := os.ReadFile(path)
	if err == nil && readErr != nil {
		p.t.Fatal(readErr)
	}
	p.path = path // so that the others of the command look at it
	return out.String(), string(text), err
}

func TestWhatInitWritesMakesTheDoctorHappy(t *testing.T) {
	p := newPatient(t)
	before := p.Conditions.Counts()
	said, file, err := p.init(nil, append(p.flags(), tools()...)...)
	if err != nil || strings.Contains(file, discovery.FillIn) || !strings.Contains(said, "8 secrets") || strings.Contains(said, "as yet") {
		t.Fatalf("%v\n%s\n%s", err, said, file)
	}
	for name, n := range p.Conditions.Counts() {
		if changes(name) && n > before[name] {
			t.Errorf("init changed something: %s", name)
		}
	}
	if n := strings.Count(file, "- servers:"); n != 1 || strings.Contains(file, "not own") || strings.Contains(file, "per_secret") {
		t.Errorf("%d entries:\n%s", n, file)
	}
	for _, parameter := range p.AWS.Snapshot().Parameters {
		if value := parameter.Versions[0].Value; strings.Contains(file+said, value) {
			t.Errorf("the value of %s is in the file", parameter.Name)
		}
	}
	r, err := p.diagnosis()
	if err != nil || r.Counts[doctor.Fail] > 0 || r.Counts[doctor.Unknown] > 0 {
		t.Errorf("%v: %+v\n%s", err, r, file)
	}
}

func TestInitProposesToolsAndTellsWhatIsNotOwned(t *testing.T) {
	p := newPatient(t)
	s, _ := p.Team.Secret("jira/prod")
	if err := p.Entra.RemoveOwner(s.ClientID, p.Team.Bot.Principal); err != nil {
		t.Fatal(err)
	}
	said, file, err := p.init(nil, p.flags()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"      # tool: list_projects (it only reads, says the server); there are also search_issues\n      jira: {mcp: {tool: FILL_IN, expect: FILL_IN}}\n",
		"# jira/prod: the bot does not own the Entra application " + s.ClientID,
	} {
		if !strings.Contains(file, want) {
			t.Errorf("%q is not in\n%s", want, file)
		}
	}
	if strings.Contains(said, "as yet") { // config check takes it; the doctor does not
		t.Error(said)
	}
	r, err := p.diagnosis()
	if err == nil || !strings.Contains(r.Findings[len(r.Findings)-1].Seen, discovery.FillIn) {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestInitSaysWhatItCouldNotLookAt(t *testing.T) {
	p := newPatient(t)
	p.Conditions.Add(conditions.Fault{Operation: "ecs.ListClusters", Kind: conditions.Refuse, Status: 400, Code: "AccessDeniedException"})
	p.Conditions.Add(conditions.Fault{Operation: "sts.GetWebIdentityToken", Kind: conditions.Refuse, Status: 403, Code: "AccessDenied"})
	_, file, err := p.init(nil, p.flags()...)
	if err != nil || !strings.Contains(file, "# The ECS services were not looked at: ecs:ListClusters") || !strings.Contains(file, "# The Entra applications that the bot owns were not looked at: ") ||
		!strings.Contains(file, "ecs: {cluster: FILL_IN") {
		t.Errorf("%v\n%s", err, file)
	}
	p.Conditions.Add(conditions.Fault{Operation: "ssm.DescribeParameters", Kind: conditions.Refuse, Status: 400, Code: "AccessDeniedException"})
	if _, file, err := p.init(nil, p.flags()...); err == nil || file != "" {
		t.Errorf("without parameters there is nothing to write: %v\n%s", err, file)
	}
}

func TestInitAsksOnlyForWhatNoFlagSays(t *testing.T) {
	p := newPatient(t)
	flags := p.flags()[4:] // neither channel nor approvers
	if _, file, err := p.init(nil, flags...); exitCode(err) != 2 || !strings.Contains(explain(err), "--operations-channel") || file != "" {
		t.Errorf("without a terminal: %v", err)
	}
	if _, file, err := p.init(strings.NewReader("C0PLATFORMOPS\n"), flags...); exitCode(err) != 2 || !strings.Contains(explain(err), "--approvers is missing, and nobody answers") || file != "" {
		t.Errorf("with half an answer: %v", err)
	}
	said, file, err := p.init(strings.NewReader("#platform-ops\n C0PLATFORMOPS \nS0APPROVERS\n"), flags...)
	if err != nil || !strings.Contains(file, "operations_channel: C0PLATFORMOPS\n") || !strings.Contains(file, "approvers: S0APPROVERS\n") {
		t.Fatalf("%v\n%s", err, file)
	}
	if strings.Count(said, "its id, C…") != 2 || strings.Count(said, "its id, S…") != 1 || strings.Contains(said, "tenant") {
		t.Errorf("it asked\n%s", said)
	}
}

func TestInitNeverReplacesAFileUnasked(t *testing.T) {
	p := newPatient(t)
	if err := os.WriteFile(p.path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(words ...string) error {
		return dispatch(t.Context(), append(append([]string{"init", "--config", p.path}, p.flags()...), words...), streams{out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }})
	}
	if err := run(); exitCode(err) != 2 || !strings.Contains(explain(err), "--force") {
		t.Errorf("it ends with %v", err)
	}
	if text, err := os.ReadFile(p.path); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if err := run("--force"); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(p.path, func(string) string { return "" }); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(p.path), ".twokey-init-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestInitTakesNoSecretOnItsCommandLine(t *testing.T) {
	for _, flag := range []string{"--app-token", "--bot-token", "--credential"} {
		err := dispatch(t.Context(), []string{"init", "--config", filepath.Join(t.TempDir(), "x.yml"), "--operations-channel", "C0X", "--approvers", "S0X", "--tenant", "a.b",
			"--client-id", "11111111-2222-3333-4444-555555555555", "--region", "eu-central-1", "--path", "/x", flag, "xoxb-1-secret"}, streams{out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }})
		if exitCode(err) != 2 || !strings.Contains(explain(err), flag) || strings.Contains(explain(err), "xoxb") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestEveryFileThatInitCanWriteIsAConfiguration(t *testing.T) {
	files, err := filepath.Glob("discovery/testdata/*.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	read := func(string, int64) ([]byte, error) { return []byte("xoxb-1"), nil }
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, mistakes := parseConfig(text, func(name string) string { return "xapp-1" }, read); len(mistakes) > 0 {
			t.Errorf("%s: %v", file, mistakes)
		}
	}
}
