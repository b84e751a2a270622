// Package smithycheck holds requests and answers against AWS's own Smithy
// models, for the tests of whatever plays AWS or talks to it. The models are in
// testdata; operations that their cut lacks are checked against the SDK's
// types, which know names and types but no constraints.
package smithycheck

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

//go:embed testdata/*.smithy.json
var models embed.FS

type shape struct {
	Type    string
	Members map[string]member
	Member  *member // of a list
	Key     *member // of a map
	Value   *member // of a map
	Traits  map[string]json.RawMessage
	Input   *member // of an operation
	Output  *member
	Errors  []member
	Version string // of a service
}

type member struct {
	Target string
	Traits map[string]json.RawMessage
}

func (m member) required() bool {
	_, ok := m.Traits["smithy.api#required"]
	return ok
}

// model is one service.
type model struct {
	namespace string
	target    string // what X-Amz-Target begins with
	version   string
	query     bool
	shapes    map[string]shape
}

func load(file string) (*model, error) {
	b, err := models.ReadFile("testdata/" + file + ".smithy.json")
	if err != nil {
		return nil, fmt.Errorf("read the model: %w", err)
	}
	var document struct{ Shapes map[string]shape }
	if err := json.Unmarshal(b, &document); err != nil {
		return nil, fmt.Errorf("parse the model %s: %w", file, err)
	}
	m := &model{shapes: document.Shapes}
	for id, s := range m.shapes {
		if s.Type == "service" {
			m.namespace, m.target, _ = strings.Cut(id, "#")
			m.version = s.Version
			_, m.query = s.Traits["aws.protocols#awsQuery"]
		}
	}
	m.supplement()
	return m, nil
}

// supplement adds operations that the cut of the model lacks.
func (m *model) supplement() {
	add := func(name string, input, output any) {
		id := m.namespace + "#" + name
		if _, ok := m.shapes[id]; !ok {
			m.shapes[id] = shape{Type: "operation", Input: &member{Target: m.take(reflect.TypeOf(input))}, Output: &member{Target: m.take(reflect.TypeOf(output))}}
		}
	}
	switch m.namespace {
	case "com.amazonaws.ssm":
		add("DeleteParameter", ssm.DeleteParameterInput{}, ssm.DeleteParameterOutput{})
		add("DeleteParameters", ssm.DeleteParametersInput{}, ssm.DeleteParametersOutput{})
		add("GetParametersByPath", ssm.GetParametersByPathInput{}, ssm.GetParametersByPathOutput{})
	case "com.amazonaws.ecs":
		add("ListClusters", ecs.ListClustersInput{}, ecs.ListClustersOutput{})
		add("RegisterTaskDefinition", ecs.RegisterTaskDefinitionInput{}, ecs.RegisterTaskDefinitionOutput{})
		add("DeregisterTaskDefinition", ecs.DeregisterTaskDefinitionInput{}, ecs.DeregisterTaskDefinitionOutput{})
	case "com.amazonaws.sts":
		add("GetWebIdentityToken", sts.GetWebIdentityTokenInput{}, sts.GetWebIdentityTokenOutput{})
	}
}

// take copies one of the SDK's types into the model and returns its id. The SDK
// knows names and types, and nothing of lengths and patterns. A shape of that name
// that the model has stays as it is: it says more.
func (m *model) take(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	id := m.namespace + "#" + t.Name()
	switch {
	case t == reflect.TypeFor[time.Time]():
		return m.know(m.namespace+"#SDKTimestamp", shape{Type: "timestamp"})
	case t.Kind() == reflect.Struct:
		if _, known := m.shapes[id]; known {
			return id
		}
		made := shape{Type: "structure", Members: map[string]member{}}
		m.shapes[id] = made // before its members: shapes may contain themselves
		for field := range fields(t) {
			made.Members[m.memberName(field.Name)] = member{Target: m.take(field.Type)}
		}
		return id
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		of := m.take(t.Elem())
		return m.know(of+"SDKList", shape{Type: "list", Member: &member{Target: of}})
	case t.Kind() == reflect.Map:
		key, value := m.take(t.Key()), m.take(t.Elem())
		return m.know(value+"SDKMap", shape{Type: "map", Key: &member{Target: key}, Value: &member{Target: value}})
	}
	simple := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int32: "long", reflect.Int64: "long", reflect.Float32: "double", reflect.Float64: "double",
	}
	if t.Name() != "" && m.shapes[id].Type == "enum" {
		return id
	}
	return m.know(m.namespace+"#SDK"+t.Kind().String(), shape{Type: cmp.Or(simple[t.Kind()], "unsupported")})
}

// know adds a shape that may be there already.
func (m *model) know(id string, s shape) string {
	m.shapes[id] = s
	return id
}

// fields are the members of one of the SDK's structs: what it keeps for itself is
// no member.
func fields(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && f.Name != "ResultMetadata" && !yield(f) {
				return
			}
		}
	}
}

// memberName is how the service writes a member: ECS begins with a small letter.
func (m *model) memberName(field string) string {
	if m.namespace == "com.amazonaws.ecs" {
		return strings.ToLower(field[:1]) + field[1:]
	}
	return field
}

// shape finds a shape by id; the prelude's simple shapes need no model.
func (m *model) shape(id string) shape {
	if s, ok := m.shapes[id]; ok {
		return s
	}
	simple := map[string]string{
		"String": "string", "Boolean": "boolean", "PrimitiveBoolean": "boolean", "Integer": "integer", "PrimitiveInteger": "integer",
		"Long": "long", "PrimitiveLong": "long", "Double": "double", "Float": "float", "Timestamp": "timestamp", "Blob": "blob", "Unit": "structure",
	}
	return shape{Type: simple[strings.TrimPrefix(id, "smithy.api#")]}
}

// check returns everything that is wrong with a value of that shape.
func (m *model) check(at, id string, v any) []string {
	s := m.shape(id)
	switch s.Type {
	case "structure", "union":
		return m.checkStructure(at, s, v)
	case "list", "set":
		items, ok := v.([]any)
		if !ok {
			return []string{at + " is not a list"}
		}
		wrong := lengthOf(at, s, len(items))
		for i, item := range items {
			wrong = append(wrong, m.check(fmt.Sprintf("%s[%d]", at, i), s.Member.Target, item)...)
		}
		return wrong
	case "map":
		entries, ok := v.(map[string]any)
		if !ok {
			return []string{at + " is not a map"}
		}
		wrong := lengthOf(at, s, len(entries))
		for k, item := range entries {
			wrong = append(wrong, m.check(at+" key", s.Key.Target, k)...)
			wrong = append(wrong, m.check(at+"."+k, s.Value.Target, item)...)
		}
		return wrong
	case "string", "enum":
		return checkText(at, s, v)
	case "boolean":
		if _, ok := v.(bool); !ok {
			return []string{at + " is not a boolean"}
		}
		return nil
	case "integer", "long", "short", "byte", "intEnum", "double", "float":
		return checkNumber(at, s, v)
	case "timestamp":
		switch t := v.(type) {
		case json.Number:
			return nil
		case isoTime:
			_ = t
			return nil
		}
		return []string{at + " is not a timestamp"}
	default:
		return []string{fmt.Sprintf("%s has the shape %s of type %q, which the checker does not know", at, id, s.Type)}
	}
}

// isoTime is a timestamp that the query protocol's reader found well-formed.
type isoTime string

func (m *model) checkStructure(at string, s shape, v any) []string {
	fields, ok := v.(map[string]any)
	if !ok {
		return []string{at + " is not a structure"}
	}
	var wrong []string
	for name, value := range fields {
		of, known := s.Members[name]
		switch {
		case !known:
			wrong = append(wrong, fmt.Sprintf("%s has no member %s", at, name))
		case value != nil:
			wrong = append(wrong, m.check(at+"."+name, of.Target, value)...)
		}
	}
	for name, of := range s.Members {
		if of.required() && fields[name] == nil {
			wrong = append(wrong, fmt.Sprintf("%s.%s is required and missing", at, name))
		}
	}
	return wrong
}

func checkText(at string, s shape, v any) []string {
	text, ok := v.(string)
	if !ok {
		return []string{at + " is not a text"}
	}
	if s.Type == "enum" {
		for _, of := range s.Members {
			var value string
			if json.Unmarshal(of.Traits["smithy.api#enumValue"], &value) == nil && value == text {
				return nil
			}
		}
		return []string{fmt.Sprintf("%s is %q, which the enum does not have", at, text)}
	}
	wrong := lengthOf(at, s, len([]rune(text)))
	raw, ok := s.Traits["smithy.api#pattern"]
	if !ok {
		return wrong
	}
	var pattern string
	if err := json.Unmarshal(raw, &pattern); err != nil {
		return append(wrong, at+": the model's pattern cannot be read")
	}
	re, err := regexp.Compile(goPattern(pattern))
	if err != nil {
		return append(wrong, at+": the checker cannot read the pattern "+pattern)
	}
	if !re.MatchString(text) {
		wrong = append(wrong, fmt.Sprintf("%s does not match %s", at, pattern))
	}
	return wrong
}

// goPattern writes a pattern (ECMA 262) as Go takes it: its escapes (\u002F), and a
// domain's labels (ACM), whose first character the model forbids to be a dash by
// looking ahead, which Go's patterns cannot.
func goPattern(pattern string) string {
	pattern = strings.NewReplacer(
		`(?!-)[A-Za-z0-9-]{0,62}[A-Za-z0-9]`, `[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?`,
		`(?!-)[A-Za-z0-9-]{1,62}[A-Za-z0-9]`, `[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]`,
	).Replace(pattern)
	return regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`).ReplaceAllString(pattern, `\x{$1}`)
}

type bounds struct {
	Min *json.Number
	Max *json.Number
}

func (b bounds) outside(n float64) bool {
	if b.Min != nil {
		if least, err := b.Min.Float64(); err == nil && n < least {
			return true
		}
	}
	if b.Max != nil {
		if most, err := b.Max.Float64(); err == nil && n > most {
			return true
		}
	}
	return false
}

func lengthOf(at string, s shape, n int) []string {
	var b bounds
	if raw, ok := s.Traits["smithy.api#length"]; ok && json.Unmarshal(raw, &b) == nil && b.outside(float64(n)) {
		return []string{fmt.Sprintf("%s has the length %d, outside %s", at, n, raw)}
	}
	return nil
}

func checkNumber(at string, s shape, v any) []string {
	number, ok := v.(json.Number)
	if !ok {
		return []string{at + " is not a number"}
	}
	if s.Type != "double" && s.Type != "float" {
		if _, err := number.Int64(); err != nil {
			return []string{at + " is not a whole number"}
		}
	}
	n, err := number.Float64()
	if err != nil {
		return []string{at + " is not a number"}
	}
	var b bounds
	if raw, ok := s.Traits["smithy.api#range"]; ok && json.Unmarshal(raw, &b) == nil && b.outside(n) {
		return []string{fmt.Sprintf("%s is %s, outside %s", at, number, raw)}
	}
	return nil
}
