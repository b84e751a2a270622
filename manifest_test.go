package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/twokey/twokey/handlers"
)

func TestTheManifestIsWhatSlackPublishesAsValid(t *testing.T) {
	b, err := os.ReadFile("manifest.yml")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	schema := manifestSchema(t)
	if err := schema.Validate(manifest); err != nil {
		t.Errorf("%#v", err)
	}

	// The schema must be able to say no.
	features, ok := manifest.(map[string]any)["features"].(map[string]any)
	if !ok {
		t.Fatal("the manifest has no features")
	}
	features["slash_command"] = features["slash_commands"]
	if err := schema.Validate(manifest); err == nil {
		t.Error("a key that does not exist is valid")
	}
}

func TestTheManifestHasWhatIsAnsweredAndNothingElse(t *testing.T) {
	b, err := os.ReadFile("manifest.yml")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Features struct {
			Commands  []struct{ Command string } `yaml:"slash_commands"`
			Shortcuts []struct {
				Callback string `yaml:"callback_id"`
			}
		}
	}
	if err := yaml.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	var commands, shortcuts []string
	for _, c := range manifest.Features.Commands {
		commands = append(commands, c.Command)
	}
	for _, s := range manifest.Features.Shortcuts {
		shortcuts = append(shortcuts, s.Callback)
	}
	h := handlers.New(nil, nil, nil, nil, nil, nil, handlers.Shelf{}, nil, nil, nil)
	for name, got := range map[string][2][]string{"commands": {commands, h.Commands()}, "shortcuts": {shortcuts, h.Shortcuts()}} {
		slices.Sort(got[0])
		slices.Sort(got[1])
		if diff := cmp.Diff(got[0], got[1]); diff != "" || len(got[0]) == 0 {
			t.Errorf("%s of the manifest (-), and what is answered (+):\n%s", name, diff)
		}
	}
}

// manifestSchema compiles Slack's schema, its second part under its public address.
func manifestSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	const published = "https://raw.githubusercontent.com/slackapi/manifest-schema/v0.5.0/schemas/"
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(compilePattern)
	add := func(address string, schema any) {
		if err := c.AddResource(address, schema); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) any {
		f, err := os.Open(filepath.Join("testdata", "slack", name))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }() // only read from
		schema, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		return schema
	}
	add(published+"manifest.schema.2.0.0.json", read("manifest.schema.2.0.0.json"))
	add(published+"manifest.schema.1.0.0.json", false) // ours says that it is of version 2
	add("https://github.com/slackapi/manifest-schema/blob/main/manifest.schema.json", read("manifest.schema.json"))
	schema, err := c.Compile("https://github.com/slackapi/manifest-schema/blob/main/manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// compilePattern is Go's regexp. Patterns that look ahead, which Go does not have,
// match nothing: they are of unfurled domains, which the manifest must not have.
func compilePattern(pattern string) (jsonschema.Regexp, error) {
	if strings.Contains(pattern, "(?!") {
		return regexp.MustCompile(`[^\s\S]`), nil
	}
	return regexp.Compile(pattern)
}

func TestEveryScopeOfTheManifestSaysWhatItIsFor(t *testing.T) {
	b, err := os.ReadFile("manifest.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "    bot:\n")
	list, _, _ := strings.Cut(after, "\n\n")
	line := regexp.MustCompile(`^ {6}- ([a-z:.]+) +# .{6,}$`)
	var scopes []string
	for l := range strings.Lines(list) {
		m := line.FindStringSubmatch(strings.TrimRight(l, "\n"))
		if m == nil {
			t.Errorf("no comment: %s", l)
			continue
		}
		scopes = append(scopes, m[1])
	}
	// One more scope is one more thing that a stolen token can do: add it here as well.
	want := []string{"commands", "chat:write", "users:read", "users:read.email", "usergroups:read",
		"channels:read", "groups:read", "channels:history", "groups:history", "im:write",
		"channels:manage", "groups:write", "pins:write", "bookmarks:read", "bookmarks:write", "files:write"}
	if !slices.Equal(scopes, want) {
		t.Errorf("scopes %v, want %v", scopes, want)
	}
}
