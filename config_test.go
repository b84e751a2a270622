package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// exampleEnvironment is what twokey.example.yml names.
func exampleEnvironment(name string) string {
	return map[string]string{"SLACK_APP_TOKEN": "xapp-hush", "SLACK_BOT_TOKEN": "xoxb-hush"}[name]
}

// noFile is a machine without files.
func noFile(string, int64) ([]byte, error) { return nil, os.ErrNotExist }

func TestTheConfigurationAndItsMistakesReadAsTheGoldensSay(t *testing.T) {
	goldens(t, filepath.Join("testdata", "config"), "want", func(t *testing.T, a *txtar.Archive) string {
		env := map[string]string{}
		dir := t.TempDir()
		for _, f := range a.Files {
			if f.Name == "env" {
				for line := range strings.Lines(string(f.Data)) {
					name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
					env[name] = value
				}
			}
			if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Chdir(dir)
		out := checkOutput(t, "twokey.yml", func(name string) string { return env[name] })
		if strings.Contains(out, "hush") {
			t.Errorf("a secret is in what people read:\n%s", out)
		}
		return out
	})
}

// checkOutput is what "twokey config check" prints, mistakes included.
func checkOutput(t *testing.T, path string, getenv func(string) string) string {
	t.Helper()
	c, err := LoadConfig(path, getenv)
	if err != nil {
		if _, ok := errors.AsType[*Mistakes](err); !ok {
			t.Fatal(err)
		}
		return err.Error() + "\n"
	}
	var b bytes.Buffer
	if err := WriteConfig(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheConfigurationAndTheRecordsKeyCanComeFromTheEnvironment(t *testing.T) {
	key, _, err := audit.GenerateKey("twokey.example.com/record")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("twokey.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(example), "key_file: twokey.record.key ", "key: {env: RECORD_KEY} ", 1)
	env := map[string]string{"TWOKEY_CONFIG": text, "RECORD_KEY": key.Reveal()}
	getenv := func(name string) string {
		if v, ok := env[name]; ok {
			return v
		}
		return exampleEnvironment(name)
	}
	c, err := LoadConfig("env:TWOKEY_CONFIG", getenv)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Record.key(); err != nil || got.Name() != c.Record.Origin {
		t.Errorf("the key signs as %q, %v", got.Name(), err)
	}
	c.Record.Origin = "another.example.com/record"
	if _, err := c.Record.key(); err == nil || !strings.Contains(err.Error(), "correct whichever is wrong") {
		t.Errorf("a key of another record: %v", err)
	}
	env["RECORD_KEY"] = "hush"
	if c, err = LoadConfig("env:TWOKEY_CONFIG", getenv); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Record.key(); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("no key at all: %v", err)
	}
	delete(env, "TWOKEY_CONFIG")
	if _, err := LoadConfig("env:TWOKEY_CONFIG", getenv); err == nil || !strings.Contains(err.Error(), "environment variable TWOKEY_CONFIG") {
		t.Errorf("no configuration: %v", err)
	}
}

func TestTheExampleDescribesFourServersInTwoEnvironments(t *testing.T) {
	c, err := LoadConfig("twokey.example.yml", exampleEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Targets) != 8 {
		t.Fatalf("%d secrets, want 8", len(c.Targets))
	}
	want := runbook.Target{
		Name: "sharepoint/prod", Server: "sharepoint", Environment: "prod",
		ClientIDParameter: "/aiconnectors/prod/sharepoint/client_id",
		SecretParameter:   "/aiconnectors/prod/sharepoint/client_secret",
		KMSKey:            "aws/ssm",
		Cluster:           "aiconnectors-prod",
		Service:           "sharepoint",
		Variable:          "CLIENT_SECRET",
		MCP: runbook.Endpoint{
			URL: "https://sharepoint.prod.example.com/mcp", Health: "https://sharepoint.prod.example.com/health",
			Tool: "list_sites", Arguments: map[string]any{"limit": uint64(1)}, Expect: "Intranet",
		},
		LifetimeMonths:         24,
		Overlap:                24 * time.Hour,
		ChangeReferencePattern: "^CHG[0-9]{7}$",
		Policy:                 operation.Policy{Approvers: "S0APPROVERS", Requesters: "S0REQUESTERS", Channel: "C0PLATFORMOPS", Lapse: 15 * time.Minute},
		Owner:                  runbook.Owner{Name: "Platform team", Channel: "C0PLATFORMOPS", Escalation: "C0LEADS"},
	}
	if d := cmp.Diff(want, c.Targets[1]); d != "" {
		t.Errorf("sharepoint/prod (-want +got):\n%s", d)
	}
}

func TestPlaceholdersAreFilledInTheTestCall(t *testing.T) {
	src := strings.NewReplacer("{limit: 1}", `{where: ["{mcp}-{env}", {deep: "{env}"}], other: "{x}"}`, "expect: Intranet", `expect: "{mcp} {env} {x}"`).Replace(example(t))
	c, mistakes := parseConfig([]byte(src), exampleEnvironment, noFile)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	want := map[string]any{"where": []any{"sharepoint-prod", map[string]any{"deep": "prod"}}, "other": "{x}"}
	if d := cmp.Diff(want, c.Targets[1].MCP.Arguments); d != "" {
		t.Errorf("arguments (-want +got):\n%s", d)
	}
	if got, want := c.Targets[1].MCP.Expect, "sharepoint prod {x}"; got != want {
		t.Errorf("expect %q, want %q", got, want)
	}
}

func TestNothingThatCanHoldASecretIsPrinted(t *testing.T) {
	src := strings.NewReplacer("# database: sqlite:twokey.db", "database: postgres://twokey:hush@localhost/twokey\n#",
		"# credential: aws web identity", "credential: {env: SLACK_APP_TOKEN} #").Replace(example(t))
	c, mistakes := parseConfig([]byte(src), exampleEnvironment, noFile)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	if got := c.Database.Reveal(); got != "postgres://twokey:hush@localhost/twokey" {
		t.Fatalf("the database's address was not read: %q", got)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), string(asJSON)} {
		if strings.Contains(printed, "hush") {
			t.Errorf("printed: %s", printed)
		}
	}
}

func TestAFileThatIsNotThereSaysWhatToDo(t *testing.T) {
	_, err := LoadConfig(filepath.Join(t.TempDir(), "twokey.yml"), exampleEnvironment)
	if err == nil || !strings.Contains(err.Error(), "twokey.example.yml") {
		t.Errorf("got %v", err)
	}
}

func TestAnEndlessFileIsNotReadToItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "twokey.yml")
	if err := os.WriteFile(path, bytes.Repeat([]byte("# long\n"), maxConfig/7+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path, exampleEnvironment); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

func TestTheRegionCanComeFromTheEnvironment(t *testing.T) {
	src := strings.Replace(example(t), "region: eu-central-1", "# no region", 1)
	src = strings.Replace(src, "aws:\n", "", 1)
	c, mistakes := parseConfig([]byte(src), func(name string) string {
		if name == "AWS_REGION" {
			return "eu-west-1"
		}
		return exampleEnvironment(name)
	}, noFile)
	if len(mistakes) > 0 || c.AWS.Region != "eu-west-1" {
		t.Errorf("%v, %v", c, mistakes)
	}
}

func example(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("twokey.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Whatever the file says: no panic, no secret in a mistake, each mistake at a
// place inside the file, and a configuration without mistakes can be used.
func FuzzTheConfiguration(f *testing.F) {
	f.Add(example(f))
	paths, err := filepath.Glob(filepath.Join("testdata", "config", "*.txtar"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(a.Files[0].Data))
	}
	f.Fuzz(func(t *testing.T, src string) {
		c, mistakes := parseConfig([]byte(src), func(string) string { return "xapp-hush-hush" },
			func(string, int64) ([]byte, error) { return []byte("xoxb-hush-hush"), nil })
		for _, m := range mistakes {
			if strings.Contains(m.Text, "hush-hush") {
				t.Errorf("a token in a mistake: %s", m.Text)
			}
			if m.At.Line < 1 || m.At.Column < 1 || m.At.Line > strings.Count(src, "\n")+strings.Count(src, "\r")+1 {
				t.Errorf("a mistake at %v, which is not in the file: %s", m.At, m.Text)
			}
		}
		if len(mistakes) > 0 {
			return
		}
		if c.Approvers == "" || len(c.Targets) == 0 {
			t.Error("no approvers or no secrets, and no mistake")
		}
		for _, s := range c.Targets {
			if s.Policy.Approvers == "" || s.Policy.Channel == "" || s.Policy.Lapse <= 0 || s.SecretParameter == "" || s.MCP.Tool == "" || s.MCP.Expect == "" || s.LifetimeMonths < 1 {
				t.Errorf("%s is incomplete: %+v", s.Name, s)
			}
		}
	})
}
