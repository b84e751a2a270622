package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

func TestEveryDependencyIsExplained(t *testing.T) {
	used := map[string]string{} // module → "yes" or "tests only"
	all := imports(t)
	linked := linkedFolders(all)
	for _, i := range all {
		module, ok := moduleOf(t, i.path)
		switch {
		case !ok:
		case !i.test && linked[i.folder]:
			used[module] = "yes"
		case used[module] == "":
			used[module] = "tests only"
		}
	}
	explained := explainedDependencies(t)
	for module, how := range used {
		if row, ok := explained[module]; !ok {
			t.Errorf("docs/dependencies.md does not say what %s is for", module)
		} else if row != how {
			t.Errorf("docs/dependencies.md says of %s in the program: %q, and it is %q", module, row, how)
		}
	}
	for module := range explained {
		if used[module] == "" {
			t.Errorf("docs/dependencies.md explains %s, which nothing imports", module)
		}
	}
}

// linkedFolders are the folders whose packages are in the program: those that the
// command reaches. Other folders hold what only tests import.
func linkedFolders(all []imported) map[string]bool {
	linked := map[string]bool{}
	for next := []string{"."}; len(next) > 0; next = next[1:] {
		if linked[next[0]] {
			continue
		}
		linked[next[0]] = true
		for _, i := range all {
			if inside, ours := strings.CutPrefix(i.path, module); ours && !i.test && i.folder == next[0] {
				next = append(next, inside)
			}
		}
	}
	return linked
}

// explainedDependencies reads the table: module → its last column.
func explainedDependencies(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	var order []string
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]+ \\| (MIT|Apache-2\\.0|BSD-[23]-Clause|MPL-2\\.0|MIT and Apache-2\\.0) \\| (yes|tests only) \\|$")
	for _, m := range row.FindAllStringSubmatch(string(b), -1) {
		rows[m[1]] = m[3]
		order = append(order, m[1])
	}
	if lines := strings.Count(string(b), "\n| `"); lines != len(rows) {
		t.Errorf("%d rows, of which %d say module, use, a licence we know, and yes or tests only, once each", lines, len(rows))
	}
	if !slices.IsSorted(order) {
		t.Error("the rows are not in order")
	}
	return rows
}

// moduleOf returns the module of go.mod that a package belongs to; none for the
// standard library and our own packages.
func moduleOf(t *testing.T, path string) (string, bool) {
	t.Helper()
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") || strings.HasPrefix(path, module) {
		return "", false
	}
	best := ""
	for _, m := range requirements(t) {
		if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	if best == "" {
		t.Errorf("%s is in no module of go.mod", path)
	}
	return best, best != ""
}

func requirements(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range f.Require {
		out = append(out, r.Mod.Path)
	}
	return out
}
