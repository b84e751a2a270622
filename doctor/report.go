package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteTable writes the findings for people: a line each, with what to do below.
func WriteTable(w io.Writer, list []Finding) error {
	var b strings.Builder
	width := 0
	for _, f := range list {
		width = max(width, utf8.RuneCountInString(f.name()))
	}
	for _, f := range list {
		state := string(f.State)
		if f.State == Fail {
			state = "FAIL"
		}
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", state, width, f.name(), f.Seen)
		if f.Remedy != "" {
			fmt.Fprintf(&b, "         → %s\n", f.Remedy)
		}
	}
	n := Count(list)
	fmt.Fprintf(&b, "\n%d ok, %d to be warned of, %d not checked, %d failing.\n", n[OK], n[Warn], n[Unknown], n[Fail])
	_, err := io.WriteString(w, b.String())
	return err
}

// Report is the shape of the JSON.
type Report struct {
	Healthy  bool          `json:"healthy"` // nothing fails
	Counts   map[State]int `json:"counts"`
	Findings []Finding     `json:"findings"`
}

// WriteJSON writes the findings for machines.
func WriteJSON(w io.Writer, list []Finding) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(Report{Healthy(list), Count(list), list})
}

// name is the check and what it is about.
func (f Finding) name() string { return strings.TrimSpace(f.Check + " " + f.About) }
