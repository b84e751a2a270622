package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// update rewrites the goldens: go test . -update
var update = flag.Bool("update", false, "rewrite the golden files")

// goldens runs test on each archive of dir. What test returns must be the
// archive's file named want.
func goldens(t *testing.T, dir, want string, test func(t *testing.T, a *txtar.Archive) string) {
	t.Helper()
	dir, err := filepath.Abs(dir) // tests may change the working directory
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no goldens in %s: %v", dir, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := test(t, a)
			for i, f := range a.Files {
				if f.Name != want {
					continue
				}
				if *update {
					a.Files[i].Data = []byte(got)
					if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if d := cmp.Diff(string(f.Data), got); d != "" {
					t.Errorf("not what %s says (-want +got):\n%s", filepath.Base(path), d)
				}
				return
			}
			t.Fatalf("%s has no file %s", path, want)
		})
	}
}
