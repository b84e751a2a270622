package operation_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twokey/twokey/operation"
)

var update = flag.Bool("update", false, "write the chart of the states anew")

// TestTheChartInTheArchitectureIsTheTable draws the table as people read it.
func TestTheChartInTheArchitectureIsTheTable(t *testing.T) {
	const path, begin, end = "../ARCHITECTURE.md", "<!-- chart -->\n", "<!-- /chart -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the chart", path)
	}
	want := before + begin + chart() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("the chart in %s is not the table; run go test ./operation -run Chart -update", path)
	}
}

func chart() string {
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> pending: request\n")
	for _, from := range operation.States() {
		byTarget := map[operation.State][]string{}
		for _, event := range operation.Events() {
			if to, ok := operation.Next(from, event); ok && event != operation.Supersede && event != operation.Distrust {
				byTarget[to] = append(byTarget[to], string(event))
			}
		}
		for _, to := range operation.States() {
			if events := byTarget[to]; len(events) > 0 {
				fmt.Fprintf(&b, "    %s --> %s: %s\n", from, to, strings.Join(events, ", "))
			}
		}
		if !from.Open() {
			fmt.Fprintf(&b, "    %s --> [*]\n", from)
		}
	}
	b.WriteString("```\nEvery open state also goes to `superseded` when an emergency takes its place; a confirmed one to `handed_over` when its row was forged.\n")
	return b.String()
}

func TestEveryOpenStateGivesWayToAnEmergency(t *testing.T) {
	for _, s := range operation.States() {
		to, ok := operation.Next(s, operation.Supersede)
		if ok != s.Open() || ok && to != operation.Superseded {
			t.Errorf("%s: %s, %v", s, to, ok)
		}
	}
}

func TestEveryConfirmedStateEndsWhenItsRowIsForged(t *testing.T) {
	for _, s := range operation.States() {
		to, ok := operation.Next(s, operation.Distrust)
		if ok != (s.Open() && s != operation.Pending) || ok && to != operation.HandedOver {
			t.Errorf("%s: %s, %v", s, to, ok)
		}
	}
}

func TestEveryStateHasWords(t *testing.T) {
	for _, s := range operation.States() {
		if s.Words() == string(s) && s != operation.Denied && s != operation.Cancelled && s != operation.Lapsed && s != operation.Running {
			t.Errorf("%s has no words of its own", s)
		}
	}
}
