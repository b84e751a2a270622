// Package strict reads a YAML file into structs, knows where everything stood,
// and collects all mistakes of the file's shape instead of stopping at the first.
//
// It takes the part of YAML that a configuration needs: mappings, sequences and
// scalars. Anchors, aliases, merge keys and tags are refused: what a reviewer
// reads on a line is then all that the line means.
package strict

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/twokey/twokey/internal/near"
)

// Position is a place in the file, counted from 1. The zero Position is nowhere.
type Position struct{ Line, Column int }

// Mistake is one thing that is wrong with the file: where, what, and what to do.
type Mistake struct {
	At   Position
	Text string
}

// Sort puts mistakes in the file's order, and drops exact repetitions.
func Sort(m []Mistake) []Mistake {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(m)
}

// Text is a scalar as it was written, and where.
type Text struct {
	Value string
	At    Position
}

// IsSet reports whether the file has the key at all.
func (t Text) IsSet() bool { return t.At.Line > 0 }

// Or returns the text, or fallback when the file does not have the key.
func (t Text) Or(fallback string) string {
	if t.IsSet() {
		return t.Value
	}
	return fallback
}

// Tree is a mapping of anything, for values that are handed on as they are.
type Tree struct {
	Value map[string]any
	At    Position
}

// Decode reads src into the struct that into points to. Fields are named by
// their yaml tags and have the types [Text], [Tree], another struct, a slice of
// these, or a map from string to a struct. Two tags are special: ",inline" for
// an embedded struct, and ",scalar" for the field that takes a bare scalar where
// the struct is expected. A struct's field At of type [Position] is set to where
// the struct stood. Values never appear in a mistake's text, since they may be
// secrets in the wrong place; keys do. Readable is false when src is no single
// YAML document, and into then says nothing.
func Decode(src []byte, into any) (mistakes []Mistake, readable bool) {
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return []Mistake{syntax(err)}, false
	}
	d := &decoder{}
	for i, doc := range file.Docs {
		switch {
		case doc.Body == nil: // empty, or comments only
		case i > 0 || doc.Body.Type() == ast.DirectiveType:
			d.mistake(position(doc.Body), "the file must be a single YAML document; remove lines that begin with --- or %%")
			return d.mistakes, false
		default:
			d.value(doc.Body, reflect.ValueOf(into).Elem(), "the file", Position{1, 1})
		}
	}
	return Sort(d.mistakes), true
}

// syntax tells the parser's error without the source lines that it would quote.
func syntax(err error) Mistake {
	var at yaml.Error
	if !errors.As(err, &at) {
		return Mistake{Position{1, 1}, "is not YAML: " + err.Error()}
	}
	m := Mistake{Position{1, 1}, "is not YAML: " + at.GetMessage()}
	if t := at.GetToken(); t != nil && t.Position != nil {
		m.At = Position{t.Position.Line, t.Position.Column}
	}
	return m
}

type decoder struct{ mistakes []Mistake }

func (d *decoder) mistake(at Position, format string, args ...any) {
	d.mistakes = append(d.mistakes, Mistake{at, fmt.Sprintf(format, args...)})
}

// value decodes one node. At is where its key stands; name is the key.
func (d *decoder) value(n ast.Node, v reflect.Value, name string, at Position) {
	if n == nil || n.Type() == ast.NullType {
		d.mistake(at, "%s has no value; give it one, or leave the line out", name)
		return
	}
	if !d.plain(n, name) {
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *Text:
		d.text(n, target, name)
	case *Tree:
		d.tree(n, target, name)
	default:
		d.composite(n, v, name, at)
	}
}

// composite decodes what has parts: structs, slices and maps.
func (d *decoder) composite(n ast.Node, v reflect.Value, name string, at Position) {
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, name, at)
	case reflect.Slice:
		d.sequence(n, v, name)
	case reflect.Map:
		d.mapping(n, v, name)
	default:
		panic("strict: cannot decode into " + v.Type().String())
	}
}

// plain refuses the parts of YAML that hide what a line means.
func (d *decoder) plain(n ast.Node, name string) bool {
	switch n.Type() {
	case ast.AnchorType, ast.AliasType:
		d.mistake(position(n), "%s uses an anchor or an alias (& or *), which this file does not take; write the value out, or put what is common under defaults", name)
	case ast.TagType:
		d.mistake(position(n), "%s has a tag (!), which this file does not take; write the value alone", name)
	default:
		return true
	}
	return false
}

func (d *decoder) text(n ast.Node, into *Text, name string) {
	value, ok := scalar(n)
	if !ok {
		d.mistake(position(n), "%s must be a single value, and is a %s", name, n.Type().YAMLName())
		return
	}
	*into = Text{value, position(n)}
}

// scalar returns the text of a scalar as it was written: 1.10 stays "1.10".
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func (d *decoder) tree(n ast.Node, into *Tree, name string) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.mistake(position(n), "%s must be a mapping, such as {limit: 1}", name)
		return
	}
	if !d.plainBelow(m, name) {
		return
	}
	into.At = position(n)
	if err := yaml.NodeToValue(m, &into.Value); err != nil {
		m := syntax(err)
		d.mistake(into.At, "%s cannot be read: %s", name, strings.TrimPrefix(m.Text, "is not YAML: "))
	}
}

// plainBelow applies [decoder.plain] to all of a tree.
func (d *decoder) plainBelow(n ast.Node, name string) bool {
	if n == nil {
		return true
	}
	if !d.plain(n, name) {
		return false
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		seen := map[string]bool{}
		for _, e := range n.Values {
			if key, ok := d.key(e.Key, name, seen); !ok || !d.plainBelow(e.Value, key) {
				return false
			}
		}
	case *ast.SequenceNode:
		for _, e := range n.Values {
			if !d.plainBelow(e, name) {
				return false
			}
		}
	}
	return true
}

func (d *decoder) structure(n ast.Node, v reflect.Value, name string, at Position) {
	if p := v.FieldByName("At"); p.IsValid() {
		p.Set(reflect.ValueOf(at))
	}
	fields := map[string]reflect.Value{}
	bare := collect(v, fields)
	if _, ok := scalar(n); ok && bare.IsValid() {
		d.value(n, bare, name, at)
		return
	}
	known := make([]string, 0, len(fields))
	for k := range fields {
		known = append(known, k)
	}
	slices.Sort(known)
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.mistake(position(n), "%s must be a mapping with the keys %s", name, strings.Join(known, ", "))
		return
	}
	d.entries(m, name, func(key string, at Position, value ast.Node) {
		if f, ok := fields[key]; ok {
			d.value(value, f, key, at)
			return
		}
		d.mistake(at, "%s does not have a key %q; %s", name, key, near.Hint(key, known))
	})
}

// collect gathers the struct's fields by key, embedded ones included, and
// returns the one that takes a bare scalar.
func collect(v reflect.Value, fields map[string]reflect.Value) (bare reflect.Value) {
	for i := range v.NumField() {
		switch tag := v.Type().Field(i).Tag.Get("yaml"); tag {
		case "": // At
		case ",inline":
			collect(v.Field(i), fields)
		case ",scalar":
			bare = v.Field(i)
		default:
			fields[tag] = v.Field(i)
		}
	}
	return bare
}

func (d *decoder) sequence(n ast.Node, v reflect.Value, name string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.mistake(position(n), "%s must be a list, such as [a, b]", name)
		return
	}
	for _, e := range s.Values {
		item := reflect.New(v.Type().Elem()).Elem()
		at := position(s)
		if e != nil {
			at = position(e)
		}
		d.value(e, item, "an entry of "+name, at)
		v.Set(reflect.Append(v, item))
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, name string) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.mistake(position(n), "%s must be a mapping", name)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.entries(m, name, func(key string, at Position, value ast.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(value, item, key, at)
		v.SetMapIndex(reflect.ValueOf(key), item)
	})
}

// entries calls do for each key of a mapping, once a key.
func (d *decoder) entries(m *ast.MappingNode, name string, do func(key string, at Position, value ast.Node)) {
	seen := map[string]bool{}
	for _, e := range m.Values {
		if key, ok := d.key(e.Key, name, seen); ok {
			do(key, position(e.Key), e.Value)
		}
	}
}

// key returns a mapping's key, unless it is no plain text or stands there twice.
func (d *decoder) key(n ast.MapKeyNode, name string, seen map[string]bool) (string, bool) {
	key, ok := scalar(n)
	switch {
	case n.IsMergeKey():
		d.mistake(position(n), "%s has a merge key (<<), which this file does not take; put what is common under defaults", name)
	case !ok:
		d.mistake(position(n), "%s has a key that is not plain text", name)
	case seen[key]:
		d.mistake(position(n), "%s has the key %q twice; remove one of them", name, key)
	default:
		seen[key] = true
		return key, true
	}
	return "", false
}

// position returns where a node begins. A block mapping's own token is its first
// colon, so its first key stands for it.
func position(n ast.Node) Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return position(m.Values[0].Key)
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return Position{1, 1}
	}
	return Position{t.Position.Line, t.Position.Column}
}
