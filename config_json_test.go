package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/twokey/twokey/sandbox"
)

func TestConfigCheckTellsMachinesTheSecretsOrTheMistakes(t *testing.T) {
	s, err := sandbox.Start(t.Context(), sandbox.Options{Tasks: 1, ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path, err := s.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	check := func() (checkedConfig, error) {
		var out bytes.Buffer
		err := dispatch(t.Context(), []string{"config", "check", "--json", "--config", path}, streams{out: &out, err: &out, getenv: func(string) string { return "" }})
		var c checkedConfig
		if jsonErr := json.Unmarshal(out.Bytes(), &c); jsonErr != nil {
			t.Fatalf("%v in %s", jsonErr, out.String())
		}
		return c, err
	}
	if c, err := check(); err != nil || !c.Valid || len(c.Mistakes) > 0 || len(c.Secrets) != 8 || c.Secrets[0].ClientSecretParameter != "/aiconnectors/dev/sharepoint/client_secret" {
		t.Errorf("a right one: %+v, %v", c, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "approvers:", "aprovers:", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := check(); err == nil || c.Valid || len(c.Mistakes) < 1 || c.Mistakes[0].Line == 0 || !strings.Contains(c.Mistakes[0].Text, "approvers") {
		t.Errorf("a wrong one: %+v, %v", c, err)
	}
}
