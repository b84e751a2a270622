package main

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
)

type completionCommand struct {
	Shell string `arg:"positional,required" placeholder:"SHELL" help:"bash, zsh or fish"`
}

// Run prints the shell's script.
func (c *completionCommand) Run(_ context.Context, s streams) error {
	write := map[string]func(io.Writer, []typed) error{"bash": writeBash, "zsh": writeZsh, "fish": writeFish}[c.Shell]
	if write == nil {
		return misuse{fmt.Errorf("there is no completion for %q: bash, zsh or fish", c.Shell)}
	}
	return write(s.out, typedWords(reflect.TypeFor[commands](), nil))
}

// typed is what can be typed behind some subcommands.
type typed struct {
	path  []string // "audit", "verify"
	words []word
}

type word struct{ text, help string }

// typedWords reads the tags by which go-arg parses, so both always agree.
func typedWords(t reflect.Type, path []string) []typed {
	here, below := typed{path: path}, []typed(nil)
	var collect func(reflect.Type)
	collect = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous {
				collect(f.Type)
				continue
			}
			name, subcommand := "--"+strings.ToLower(f.Name), false // go-arg's own default
			for part := range strings.SplitSeq(f.Tag.Get("arg"), ",") {
				switch sub, is := strings.CutPrefix(part, "subcommand:"); {
				case is:
					name, subcommand = sub, true
				case strings.HasPrefix(part, "--"):
					name = part
				case part == "positional":
					name = ""
				}
			}
			if name == "" {
				continue
			}
			here.words = append(here.words, word{name, f.Tag.Get("help")})
			if subcommand {
				below = append(below, typedWords(f.Type.Elem(), append(path[:len(path):len(path)], name))...)
			}
		}
	}
	collect(t)
	here.words = append(here.words, word{"--help", "display this help and exit"})
	return append([]typed{here}, below...)
}

// writeBash has bash offer files where no word fits.
func writeBash(w io.Writer, all []typed) error {
	var known, offers strings.Builder
	for _, t := range all {
		path := strings.Join(t.path, " ")
		if path != "" {
			fmt.Fprintf(&known, "      %q) path=${path:+$path }$word ;;\n", path)
		}
		var texts []string
		for _, word := range t.words {
			texts = append(texts, word.text)
		}
		fmt.Fprintf(&offers, "    %q) words=%q ;;\n", path, strings.Join(texts, " "))
	}
	_, err := fmt.Fprintf(w, `_twokey() {
  local current=${COMP_WORDS[COMP_CWORD]} path= words= word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "${path:+$path }$word" in
%s    esac
  done
  case "$path" in
%s  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _twokey twokey
`, known.String(), offers.String())
	return err
}

// writeZsh has zsh run bash's.
func writeZsh(w io.Writer, all []typed) error {
	if _, err := io.WriteString(w, "autoload -U +X bashcompinit && bashcompinit\n"); err != nil {
		return err
	}
	return writeBash(w, all)
}

func writeFish(w io.Writer, all []typed) error {
	for _, t := range all {
		condition := "__fish_use_subcommand"
		if len(t.path) > 0 {
			condition = "__fish_seen_subcommand_from " + strings.Join(t.path, "; and __fish_seen_subcommand_from ")
		}
		for _, word := range t.words {
			option := "-f -a " + word.text
			if flag, is := strings.CutPrefix(word.text, "--"); is {
				option = "-l " + flag
			}
			if _, err := fmt.Fprintf(w, "complete -c twokey -n '%s' %s -d '%s'\n", condition, option, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(word.help)); err != nil {
				return err
			}
		}
	}
	return nil
}
