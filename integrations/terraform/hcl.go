package terraform

import (
	"slices"
	"strings"

	"github.com/twokey/twokey/policy"
)

// A reader of HCL that knows blocks, attributes, strings and comments, and no more:
// two questions are asked of it, and hashicorp/hcl would add 2.2 MB to a
// program that is to stay small. What it does not understand it gives up on, and
// then nothing counts as ignored, which is the safe side.

// lifecycles tells for each aws_ssm_parameter with an ignore_changes whether its
// value is ignored.
func lifecycles(source string) map[string]bool {
	found := map[string]bool{}
	s := &scanner{src: source}
	s.body(nil, func(path []string, expr []token) {
		if len(path) != 3 || path[1] != "lifecycle" || path[2] != "ignore_changes" {
			return
		}
		if name, ok := strings.CutPrefix(path[0], "resource aws_ssm_parameter "); ok {
			found[name] = ignoresValue(expr)
		}
	})
	if s.lost {
		return nil
	}
	return found
}

// Code implements [policy.Code].
type Code struct{}

// Backends implements policy.Code: "backend" blocks of Terraform's and OpenTofu's, and
// Terragrunt's "remote_state". Encryption that is not plainly said to be on counts as off.
func (Code) Backends(source string) ([]policy.Backend, bool) {
	found := map[string]*policy.Backend{}
	var order []string
	at := func(place, kind string) *policy.Backend {
		if found[place] == nil {
			found[place] = &policy.Backend{}
			order = append(order, place)
		}
		if kind != "" {
			found[place].Kind = kind
		}
		return found[place]
	}
	s := &scanner{src: source}
	s.block = func(path []string) {
		if kind, ok := strings.CutPrefix(path[len(path)-1], "backend "); ok && len(path) == 2 && path[0] == "terraform" {
			at(kind, kind)
		}
	}
	s.body(nil, func(path []string, expr []token) {
		switch {
		case len(path) == 3 && path[0] == "terraform" && strings.HasPrefix(path[1], "backend ") && path[2] == "encrypt":
			at(strings.TrimPrefix(path[1], "backend "), "").Encrypted = isTrue(expr)
		case len(path) == 2 && path[0] == "remote_state" && path[1] == "backend" && len(expr) == 1:
			at("remote_state", expr[0].text)
		case len(path) == 2 && path[0] == "remote_state" && path[1] == "config":
			at("remote_state", "").Encrypted = saysEncrypt(expr)
		}
	})
	if s.lost {
		return nil, false
	}
	var out []policy.Backend
	for _, place := range order {
		out = append(out, *found[place])
	}
	return out, true
}

func isTrue(expr []token) bool { return len(expr) == 1 && expr[0] == token{word, "true"} }

// saysEncrypt looks for encrypt = true in an object, at its first level.
func saysEncrypt(expr []token) bool {
	depth := 0
	for i, t := range expr {
		switch {
		case t.kind == mark && strings.Contains("{[(", t.text):
			depth++
		case t.kind == mark && strings.Contains("}])", t.text):
			depth--
		case depth == 1 && t.text == "encrypt" && t.kind != mark && i+2 < len(expr) && (expr[i+1].text == "=" || expr[i+1].text == ":"):
			return expr[i+2] == token{word, "true"}
		}
	}
	return false
}

// ignoresValue reads "all" or a list with "value" in it.
func ignoresValue(expr []token) bool {
	expr = slices.DeleteFunc(slices.Clone(expr), func(t token) bool { return t.kind == newline })
	if len(expr) == 1 {
		return expr[0] == token{word, "all"}
	}
	depth := 0
	for i, t := range expr {
		switch {
		case t.kind == mark && t.text == "[":
			depth++
		case t.kind == mark && t.text == "]":
			depth--
		case depth == 1 && t.kind != mark && t.text == "value" && expr[0] == token{mark, "["} && i+1 < len(expr):
			before, after := expr[i-1].text, expr[i+1].text // value alone, and not tags.value
			if (before == "[" || before == ",") && (after == "]" || after == ",") {
				return true
			}
		}
	}
	return false
}

type kind int

const (
	end     kind = iota
	word         // an identifier or a number
	quoted       // a string, without its quotes
	newline      // where an attribute may end
	mark         // one character of anything else
)

type token struct {
	kind kind
	text string
}

type scanner struct {
	src   string
	pos   int
	lost  bool                // what follows is not understood
	block func(path []string) // is shown each block's header; nil: nobody asks
}

// body reads blocks and attributes up to a closing brace, and shows each attribute.
func (s *scanner) body(path []string, attribute func(path []string, expr []token)) {
	for !s.lost {
		t := s.next()
		switch {
		case t.kind == newline:
			continue
		case t.kind == end, t == token{mark, "}"}:
			s.lost = s.lost || (t.kind == end) != (len(path) == 0)
			return
		case t.kind != word:
			s.lost = true
			return
		}
		header := t.text
		for t = s.next(); t.kind == word || t.kind == quoted; t = s.next() {
			header += " " + t.text
		}
		switch t {
		case token{mark, "{"}:
			inside := append(slices.Clone(path), header)
			if s.block != nil {
				s.block(inside)
			}
			s.body(inside, attribute)
		case token{mark, "="}:
			attribute(append(slices.Clone(path), header), s.expression())
		default:
			s.lost = true
		}
	}
}

// expression reads up to the end of the line, or the brace that closes the block.
func (s *scanner) expression() []token {
	var out []token
	for depth := 0; ; {
		before := s.pos
		t := s.next()
		switch {
		case t.kind == end, t.kind == newline && depth == 0:
			return out
		case t.kind == mark && strings.Contains("{[(", t.text):
			depth++
		case t.kind == mark && strings.Contains("}])", t.text):
			if depth == 0 {
				s.pos = before
				return out
			}
			depth--
		}
		out = append(out, t)
	}
}

// next reads one token; comments and blanks are none.
func (s *scanner) next() token {
	for s.pos < len(s.src) {
		rest := s.src[s.pos:]
		switch c := rest[0]; {
		case c == ' ', c == '\t', c == '\r':
			s.pos++
		case c == '#', strings.HasPrefix(rest, "//"):
			s.skipTo("\n", 0)
		case strings.HasPrefix(rest, "/*"):
			s.skipTo("*/", 2)
		case c == '\n':
			s.pos++
			return token{newline, "\n"}
		case c == '"':
			s.pos++
			return token{quoted, s.quotedText()}
		case strings.HasPrefix(rest, "<<"):
			s.heredoc()
			return token{quoted, ""}
		case isWord(c):
			n := 0
			for n < len(rest) && (isWord(rest[n]) || rest[n] == '-') {
				n++
			}
			s.pos += n
			return token{word, rest[:n]}
		default:
			s.pos++
			return token{mark, string(c)}
		}
	}
	return token{kind: end}
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// skipTo goes to the next text, and so many bytes beyond.
func (s *scanner) skipTo(text string, beyond int) {
	n := strings.Index(s.src[s.pos:], text)
	if n < 0 {
		s.pos = len(s.src)
		return
	}
	s.pos += n + beyond
}

// quotedText reads a string behind its first quote. ${…} and %{…} hold expressions,
// which hold strings.
func (s *scanner) quotedText() string {
	from := s.pos
	for s.pos < len(s.src) {
		rest := s.src[s.pos:]
		switch {
		case rest[0] == '"':
			s.pos++
			return s.src[from : s.pos-1]
		case rest[0] == '\n':
			s.lost = true
			return ""
		case rest[0] == '\\', strings.HasPrefix(rest, "$${"), strings.HasPrefix(rest, "%%{"):
			s.pos += min(2, len(rest))
			if rest[0] != '\\' {
				s.pos++
			}
		case strings.HasPrefix(rest, "${"), strings.HasPrefix(rest, "%{"):
			s.pos += 2
			s.template()
		default:
			s.pos++
		}
	}
	s.lost = true
	return ""
}

// template skips an expression in a string, up to its closing brace.
func (s *scanner) template() {
	for depth := 1; depth > 0; {
		switch t := s.next(); {
		case t.kind == end:
			s.lost = true
			return
		case t == token{mark, "{"}:
			depth++
		case t == token{mark, "}"}:
			depth--
		}
	}
}

// heredoc skips <<EOT and all up to the line that is EOT.
func (s *scanner) heredoc() {
	first, rest, found := strings.Cut(s.src[s.pos:], "\n")
	name := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(first, "<<"), "-"))
	if !found || name == "" {
		s.lost, s.pos = true, len(s.src)
		return
	}
	s.pos = len(s.src) - len(rest)
	for s.pos < len(s.src) {
		line, _, more := strings.Cut(s.src[s.pos:], "\n")
		if strings.TrimSpace(line) == name {
			s.pos += len(line) // its newline ends the attribute
			return
		}
		s.pos += len(line)
		if more {
			s.pos++
		}
	}
	s.lost = true
}
