package smithycheck

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fromForm reads the members of an input out of a query's form, and returns
// what the form has beyond them.
func (m *model) fromForm(id string, form url.Values) (any, []string) {
	left := maps.Clone(form)
	left.Del("Action")
	left.Del("Version")
	v := m.formValue(id, "", left)
	if v == nil {
		v = map[string]any{}
	}
	return v, slices.Sorted(maps.Keys(left))
}

// formValue reads one value and removes from form what it used. Nil is absent.
func (m *model) formValue(id, prefix string, form url.Values) any {
	s := m.shape(id)
	switch s.Type {
	case "structure":
		out := map[string]any{}
		for name, of := range s.Members {
			if v := m.formValue(of.Target, strings.TrimPrefix(prefix+"."+name, "."), form); v != nil {
				out[name] = v
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case "list":
		var out []any
		for i := 1; ; i++ {
			v := m.formValue(s.Member.Target, prefix+".member."+strconv.Itoa(i), form)
			if v == nil {
				break
			}
			out = append(out, v)
		}
		if out == nil {
			return nil
		}
		return out
	default:
		if !form.Has(prefix) {
			return nil
		}
		text := form.Get(prefix)
		form.Del(prefix)
		return simpleValue(s, text)
	}
}

// simpleValue gives a text of a form or an XML document its model's type, or
// leaves it a text for the checker to complain about.
func simpleValue(s shape, text string) any {
	switch s.Type {
	case "boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case "integer", "long", "short", "byte", "double", "float":
		return json.Number(text)
	case "timestamp":
		if _, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return isoTime(text)
		}
	}
	return text
}

// node is an XML element.
type node struct {
	XMLName  xml.Name
	Text     string `xml:",chardata"`
	Children []node `xml:",any"`
}

func (n node) child(name string) (node, bool) {
	i := slices.IndexFunc(n.Children, func(c node) bool { return c.XMLName.Local == name })
	if i < 0 {
		return node{}, false
	}
	return n.Children[i], true
}

// fromXML reads a value out of an element, guided by the model. Elements that
// the model does not have are kept, so that the checker finds them.
func (m *model) fromXML(id string, n node) any {
	s := m.shape(id)
	switch s.Type {
	case "structure":
		out := map[string]any{}
		for _, c := range n.Children {
			of, known := s.Members[c.XMLName.Local]
			if !known {
				out[c.XMLName.Local] = c.Text
				continue
			}
			out[c.XMLName.Local] = m.fromXML(of.Target, c)
		}
		return out
	case "list":
		out := []any{}
		for _, c := range n.Children {
			if c.XMLName.Local != "member" {
				return fmt.Sprintf("a list with an element %s", c.XMLName.Local)
			}
			out = append(out, m.fromXML(s.Member.Target, c))
		}
		return out
	default:
		return simpleValue(s, n.Text)
	}
}
