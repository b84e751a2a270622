package entra

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// condition tells whether a $filter holds for an entity. An unknown property is
// an error, as it is with Graph.
type condition func(document) (bool, error)

// filter returns the entities that expression holds for, in their order.
func filter(all []document, expression string) ([]document, error) {
	if strings.TrimSpace(expression) == "" {
		return append([]document(nil), all...), nil
	}
	p := &filterParser{tokens: filterToken.FindAllString(expression, -1)}
	holds, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek() != "" {
		return nil, invalidFilter("unexpected '%s'", p.peek())
	}
	var out []document
	for _, d := range all {
		ok, err := holds(d)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, d)
		}
	}
	return out, nil
}

func invalidFilter(format string, args ...any) *graphError {
	return badRequest("Invalid filter clause: "+format, args...)
}

// filterToken matches texts, brackets, and words: paths, operators and literals.
var filterToken = regexp.MustCompile(`'(?:[^']|'')*'|[(),]|:|[^\s(),:']+(?::\d[^\s(),']*)?`)

type filterParser struct{ tokens []string }

func (p *filterParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *filterParser) next() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *filterParser) expect(want string) error {
	if got := p.next(); got != want {
		return invalidFilter("'%s' where '%s' should be", got, want)
	}
	return nil
}

func (p *filterParser) or() (condition, error) {
	return p.chain("or", p.and, func(a, b bool) bool { return a || b })
}

func (p *filterParser) and() (condition, error) {
	return p.chain("and", p.term, func(a, b bool) bool { return a && b })
}

// chain parses operands joined by a word. Both sides are always evaluated, so
// that an unknown property is found whatever the other side says.
func (p *filterParser) chain(word string, operand func() (condition, error), join func(a, b bool) bool) (condition, error) {
	left, err := operand()
	for err == nil && p.peek() == word {
		p.next()
		var right condition
		right, err = operand()
		left = joined(left, right, join)
	}
	return left, err
}

func joined(a, b condition, join func(a, b bool) bool) condition {
	return func(d document) (bool, error) {
		x, err := a(d)
		if err != nil {
			return false, err
		}
		y, err := b(d)
		return join(x, y), err
	}
}

func (p *filterParser) term() (condition, error) {
	switch t := p.next(); {
	case t == "(":
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	case t == "not":
		inner, err := p.term()
		return joined(inner, inner, func(a, _ bool) bool { return !a }), err
	case t == "startswith" && p.peek() == "(":
		return p.startsWith()
	case strings.HasSuffix(t, "/any") && p.peek() == "(":
		return p.any(strings.TrimSuffix(t, "/any"))
	case t == "":
		return nil, invalidFilter("it ends too early")
	default:
		return p.comparison(t)
	}
}

func (p *filterParser) comparison(path string) (condition, error) {
	operator, literal := p.next(), p.next()
	if literal == "" {
		return nil, invalidFilter("nothing to compare '%s' with", path)
	}
	switch operator {
	case "eq", "ne", "gt", "ge", "lt", "le":
	default:
		return nil, invalidFilter("unknown operator '%s'", operator)
	}
	return func(d document) (bool, error) {
		v, err := lookUp(d, path)
		if err != nil {
			return false, err
		}
		return compare(v, operator, literal), nil
	}, nil
}

func (p *filterParser) startsWith() (condition, error) {
	p.next()
	path := p.next()
	if err := p.expect(","); err != nil {
		return nil, err
	}
	prefix := strings.ToLower(unquote(p.next()))
	return func(d document) (bool, error) {
		v, err := lookUp(d, path)
		return strings.HasPrefix(strings.ToLower(text(v)), prefix), err
	}, p.expect(")")
}

// any parses "list/any(x: x eq 'value')" and "list/any(x:x/member eq 'value')".
func (p *filterParser) any(path string) (condition, error) {
	p.next()
	variable := p.next()
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	inner, err := p.or()
	if err != nil {
		return nil, err
	}
	return func(d document) (bool, error) {
		v, err := lookUp(d, path)
		if err != nil {
			return false, err
		}
		for _, member := range members(v) {
			if ok, err := inner(document{variable: member}); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}, p.expect(")")
}

func members(v any) []any {
	var out []any
	switch list := v.(type) {
	case []string:
		for _, m := range list {
			out = append(out, m)
		}
	case []document:
		for _, m := range list {
			out = append(out, m)
		}
	}
	return out
}

// lookUp follows a path such as "signInActivity/lastSignInDateTime".
func lookUp(d document, path string) (any, error) {
	var v any = d
	for name := range strings.SplitSeq(path, "/") {
		inner, ok := v.(document)
		if !ok && v != nil {
			return nil, invalidFilter("'%s' has no members", path)
		}
		if v, ok = inner[name]; !ok && inner != nil {
			return nil, invalidFilter("Could not find a property named '%s' on this type", name)
		}
	}
	return v, nil
}

// compare compares a property with a literal: moments as moments, texts without
// regard to case, as the directory does.
func compare(v any, operator, literal string) bool {
	if literal == "null" {
		return (v == nil) == (operator == "eq")
	}
	have, want := strings.ToLower(text(v)), strings.ToLower(unquote(literal))
	n := strings.Compare(have, want)
	if a, err := time.Parse(time.RFC3339Nano, text(v)); err == nil {
		if b, err := time.Parse(time.RFC3339Nano, unquote(literal)); err == nil {
			n = a.Compare(b)
		}
	}
	switch operator {
	case "eq":
		return n == 0
	case "ne":
		return n != 0
	case "gt":
		return n > 0
	case "ge":
		return n >= 0
	case "lt":
		return n < 0
	default:
		return n <= 0
	}
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// unquote takes the quotes off a text; other literals stay.
func unquote(literal string) string {
	if len(literal) < 2 || literal[0] != '\'' {
		return literal
	}
	return strings.ReplaceAll(literal[1:len(literal)-1], "''", "'")
}
