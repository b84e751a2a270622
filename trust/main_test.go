package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheInvariantsAndSweepsAreInTheDocument lists them as well.
func TestTheInvariantsAndSweepsAreInTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/trust.md")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintln(t.Output(), "Invariants:")
	for _, i := range invariants() {
		_, _ = fmt.Fprintf(t.Output(), "  %s\n", i)
		if !strings.Contains(string(text), "| "+string(i)+" |") {
			t.Errorf("docs/trust.md does not say what is checked by %q", i)
		}
	}
	_, _ = fmt.Fprintln(t.Output(), "Sweeps:")
	names := map[string]bool{}
	for _, s := range sweeps() {
		_, _ = fmt.Fprintf(t.Output(), "  %s\n", s)
		if names[s.String()] {
			t.Errorf("two sweeps are called %q, so neither can be run alone", s)
		}
		names[s.String()] = true
	}
}

// A command that ran no test would report that all is well.
func TestEachCommandRunsATestThatIsThere(t *testing.T) {
	sources, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, s := range sources {
		text, err := os.ReadFile(s.Name())
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, name := range []string{testOfList, testOfRun, testOfLoad, testOfBugs} {
		if !strings.Contains(all.String(), "func "+name+"(t *testing.T)") {
			t.Errorf("there is no %s", name)
		}
	}
	words, environ := (&runCommand{Points: "40", Seed: 2, Parallel: 3, Only: "rotate.*freeze", Within: "1h", Race: true}).test()
	want := "-run ^" + testOfRun + "$/rotate.*freeze -timeout 1h -race TWOKEY_TRUST=40 TWOKEY_TRUST_SEED=2 TWOKEY_TRUST_PARALLEL=3"
	if got := strings.Join(append(words, environ...), " "); got != want {
		t.Errorf("it runs %s", got)
	}
}
