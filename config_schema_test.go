package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/sandbox"
)

const schemaFile = "twokey.schema.json"

// schemaOf says in JSON Schema what [strict.Decode] takes for a type: the shape of
// the file. What the values must be like, "twokey config check" tells in sentences.
func schemaOf(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[strict.Text]():
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	case t == reflect.TypeFor[strict.Tree]():
		return map[string]any{"type": "object"}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	}
	properties := map[string]any{}
	var bare map[string]any
	collectSchema(t, properties, &bare)
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if bare == nil {
		return object
	}
	return map[string]any{"anyOf": []any{bare, object}}
}

func collectSchema(t reflect.Type, properties map[string]any, bare *map[string]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch tag := f.Tag.Get("yaml"); tag {
		case "": // where it stood
		case ",inline":
			collectSchema(f.Type, properties, bare)
		case ",scalar":
			*bare = schemaOf(f.Type)
		default:
			properties[tag] = schemaOf(f.Type)
		}
	}
}

func TestTheConfigurationsSchemaIsCurrent(t *testing.T) {
	schema := schemaOf(reflect.TypeFor[configFile]())
	schema["$schema"], schema["title"] = "https://json-schema.org/draft/2020-12/schema", "The configuration of twokey"
	schema["required"] = []string{"slack", "approvers", "entra", "secrets"}
	want, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(schemaFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the configuration's types give (%v); run: go test . -run Schema -update", schemaFile, err)
	}
}

// schemaJudge compiles the checked-in schema.
func schemaJudge(t *testing.T) func(text string) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v) // as an editor sees it
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(instance)
	}
}

func TestTheSchemaTakesTheExampleAndTheSandboxesConfiguration(t *testing.T) {
	judge := schemaJudge(t)
	example, err := os.ReadFile("twokey.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := judge(string(example)); err != nil {
		t.Errorf("the example: %v", err)
	}
	if !strings.HasPrefix(string(example), "# yaml-language-server: $schema="+schemaFile+"\n") {
		t.Error("the example does not tell editors where its schema is")
	}
	s, err := sandbox.Start(t.Context(), sandbox.Options{Tasks: 1, ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := judge(s.ConfigYAML(t.TempDir())); err != nil {
		t.Errorf("the sandbox's: %v", err)
	}
}

func TestTheSchemaRefusesWhatTheDecoderRefuses(t *testing.T) {
	judge := schemaJudge(t)
	const well = "slack: {app_token: {env: A}, bot_token: {file: b}}\napprovers: S0A\nentra: {tenant: a.example}\nsecrets: [{servers: [a], environments: [b], per_server: {a: {mcp: {arguments: {limit: 1}}}}}]\n"
	if err := judge(well); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a key that does not exist":        well + "aprovers: S0A\n",
		"a nested key that does not exist": strings.Replace(well, "tenant", "tennant", 1),
		"a mapping where a list belongs":   strings.Replace(well, "[a]", "{a: b}", 1),
		"a list where a text belongs":      strings.Replace(well, "S0A", "[S0A]", 1),
		"an unknown source of a secret":    strings.Replace(well, "{env: A}", "{vault: A}", 1),
		"a text where arguments belong":    strings.Replace(well, "{limit: 1}", "limit", 1),
		"an override's unknown key":        strings.Replace(well, "{mcp:", "{mpc:", 1),
		"no approvers":                     strings.Replace(well, "approvers: S0A\n", "", 1),
	} {
		if judge(text) == nil {
			t.Errorf("%s passes", name)
		}
	}
}
