package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module   = "github.com/twokey/twokey/"
	slackGo  = "github.com/slack-go/slack"
	msgraph  = "github.com/microsoftgraph/msgraph-sdk-go"
	kiota    = "github.com/microsoft/kiota-"
	anywhere = "..."
)

// arrows says what each folder may import of this module, tests aside. "x/..." is
// x and all below it. A folder that is not here may not exist.
func arrows() map[string][]string {
	return map[string][]string{
		".":                {anywhere},
		"operation":        {},
		"runbook":          {"operation"},
		"inventory":        {"operation", "runbook", "internal/csvsafe"},
		"bot":              {"operation", "inventory"},
		"handlers":         {"bot", "operation", "runbook", "inventory", "policy", "internal/near"},
		"scheduler":        {"operation", "inventory", "runbook", "policy"},
		"doctor":           {"operation", "runbook"},
		"discovery":        {},
		"store":            {"operation", "runbook", "inventory"},
		"picture":          {"operation"},
		"audit":            {"operation", "inventory"},
		"incident":         {"operation", "runbook", "exposure"},
		"worknotes":        {"operation"},
		"evidence":         {"operation", "runbook", "inventory", "audit", "evidence/checker", "internal/csvsafe"},
		"evidence/checker": {}, // it is given away: it must read and run without the rest
		"exposure":         {"operation", "runbook", "internal/csvsafe"},
		"policy":           {"operation", "runbook", "exposure"},
		"integrations/...": {"operation", "runbook", "inventory", "exposure", "policy", "discovery"},
		"sandbox/...":      {"sandbox/..."}, // the bot's side must not leak into what it is tried against
		"internal/strict":  {"internal/near"},
		"internal/csvsafe": {},
		"internal/near":    {},
		"internal/need":    {},
		"bench/...":        {anywhere},
		"trust":            {}, // it runs its tests, which may use anything
	}
}

// owners says which folder alone may import a module. Only the sandbox's tests may
// use it as well, as a client that we did not write.
func owners() map[string]string {
	return map[string]string{
		slackGo: "bot",
		msgraph: "integrations/entra",
		kiota:   "integrations/entra",
	}
}

func TestThePackagesImportOnlyAlongTheArrows(t *testing.T) {
	for _, i := range imports(t) {
		for _, complaint := range complaints(i) {
			t.Errorf("%s: %s", i.at, complaint)
		}
	}
}

// imported is one import of one file.
type imported struct {
	folder string // of the file that imports, with slashes: "integrations/entra"
	path   string
	test   bool
	at     string // file:line
}

// complaints says which arrows an import breaks.
func complaints(i imported) []string {
	var out []string
	client := i.test && within(i.folder, "sandbox/...")
	for path, owner := range owners() {
		if strings.HasPrefix(i.path, path) && i.folder != owner && !client {
			out = append(out, i.folder+" → "+i.path+": only "+owner+" may import it")
		}
	}
	if i.path == msgraph {
		out = append(out, i.folder+" → "+i.path+": the root package takes minutes to build; import its parts")
	}
	if i.test {
		return out // tests may start the sandbox and read other packages
	}
	allowed, known := allowance(i.folder)
	inside, ours := strings.CutPrefix(i.path, module)
	switch {
	case !known:
		out = append(out, i.folder+" is in no arrow: add it to arrows() and to ARCHITECTURE.md")
	case i.folder == "operation" && strings.Contains(strings.Split(i.path, "/")[0], "."):
		out = append(out, "operation → "+i.path+": operation imports the standard library only")
	case ours && !slices.ContainsFunc(allowed, func(pattern string) bool { return within(inside, pattern) }) && inside != i.folder:
		out = append(out, i.folder+" → "+inside+": it may import "+strings.Join(append(allowed, "nothing else of this module"), ", "))
	}
	return out
}

// allowance finds the folder's row; the longest pattern wins.
func allowance(folder string) (allowed []string, known bool) {
	best := ""
	for pattern, a := range arrows() {
		if within(folder, pattern) && len(pattern) > len(best) {
			best, allowed, known = pattern, a, true
		}
	}
	return allowed, known
}

// within reports whether a folder is what the pattern means.
func within(folder, pattern string) bool {
	above, below := strings.CutSuffix(pattern, "/...")
	return pattern == anywhere || folder == above || (below && strings.HasPrefix(folder, above+"/"))
}

// imports lists the imports of every Go file of the module. It parses the files
// themselves, so build tags hide nothing.
func imports(t *testing.T) []imported {
	t.Helper()
	var out []imported
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() && path != "." && hasOwnModule(path):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, s := range f.Imports {
			p, err := strconv.Unquote(s.Path.Value)
			if err != nil {
				return err
			}
			pos := files.Position(s.Pos())
			out = append(out, imported{filepath.ToSlash(filepath.Dir(path)), p, strings.HasSuffix(path, "_test.go"), pos.String()})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hasOwnModule reports whether a folder is a module of its own, whose dependencies
// are not the program's.
func hasOwnModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

func TestAnArrowInTheWrongDirectionIsNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		i    imported
		want string // empty: allowed
	}{
		{"the rules know no vendor", imported{folder: "operation", path: "github.com/google/uuid"}, "standard library only"},
		{"the rules know no chat", imported{folder: "operation", path: module + "bot"}, "standard library only"},
		{"the rules use the standard library", imported{folder: "operation", path: "encoding/json"}, ""},
		{"an adapter knows no chat", imported{folder: "integrations/aws", path: module + "bot"}, "integrations/aws → bot"},
		{"an adapter meets the runbook's ports", imported{folder: "integrations/aws", path: module + "runbook"}, ""},
		{"the bot knows no runbook", imported{folder: "bot", path: module + "runbook"}, "bot → runbook"},
		{"only the bot speaks with Slack", imported{folder: "handlers", path: slackGo}, "only bot"},
		{"also in tests", imported{folder: "handlers", path: slackGo + "/socketmode", test: true}, "only bot"},
		{"the bot speaks with Slack", imported{folder: "bot", path: slackGo + "/socketmode"}, ""},
		{"the root package of msgraph is too big", imported{folder: "integrations/entra", path: msgraph}, "takes minutes"},
		{"its parts are for the adapter", imported{folder: "integrations/entra", path: msgraph + "/applications"}, ""},
		{"and for nobody else", imported{folder: "store", path: msgraph + "-core"}, "only integrations/entra"},
		{"the bot's side does not know the sandbox", imported{folder: "store", path: module + "sandbox/slack"}, "store → sandbox/slack"},
		{"its tests may start it", imported{folder: "store", path: module + "sandbox/slack", test: true}, ""},
		{"the command starts it", imported{folder: ".", path: module + "sandbox"}, ""},
		{"the sandbox does not know the bot's side", imported{folder: "sandbox/entra", path: module + "operation"}, "sandbox/entra → operation"},
		{"the sandbox knows itself", imported{folder: "sandbox", path: module + "sandbox/entra"}, ""},
		{"a new folder needs an arrow", imported{folder: "util", path: "fmt"}, "in no arrow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(complaints(c.i), "; ")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("complaints %q, want %q", got, c.want)
			}
		})
	}
}
