package policy

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteTable writes the report for people: each check, and what is not as it demands
// with what to do below.
func (r Report) WriteTable(w io.Writer) error {
	_, err := io.WriteString(w, r.text())
	return err
}

func (r Report) text() string {
	var b strings.Builder
	wrong, unchecked := 0, 0
	for _, c := range r.demands() {
		var mine []Finding
		state := "ok"
		for _, f := range r.Findings {
			switch {
			case f.Check != c.Check:
				continue
			case f.Unchecked:
				unchecked++
				if state == "ok" {
					state = "not checked"
				}
			default:
				wrong++
				state = "WRONG"
			}
			mine = append(mine, f)
		}
		fmt.Fprintf(&b, "%-11s  %s\n", state, c.Text)
		for _, f := range mine {
			about := []string{f.Subject}
			if f.Secret != "" {
				about = []string{string(f.Secret), f.Subject}
			}
			if f.Owner != "" {
				about = append(about, "owner "+f.Owner)
			}
			fmt.Fprintf(&b, "             - %s\n               %s\n               → %s\n", strings.Join(about, ", "), f.Evidence, f.Remedy)
		}
	}
	fmt.Fprintf(&b, "\n%s were looked at: %d wrong, %d not checked.\n", r.looked(), wrong, unchecked)
	return b.String()
}

// most is how many findings a summary has in full.
const most = 5

// Summary is the report in a few lines for a chat: each check, and the first findings.
func (r Report) Summary() string {
	var b strings.Builder
	wrong, unchecked := map[Check]int{}, map[Check]int{}
	for _, f := range r.Findings {
		if f.Unchecked {
			unchecked[f.Check]++
		} else {
			wrong[f.Check]++
		}
	}
	fmt.Fprintf(&b, "The policy, for %s:\n", r.looked())
	for _, c := range r.demands() {
		state := "ok"
		switch w, u := wrong[c.Check], unchecked[c.Check]; {
		case w > 0 && u > 0:
			state = fmt.Sprintf("%d wrong, %d not checked", w, u)
		case w > 0:
			state = fmt.Sprintf("%d wrong", w)
		case u > 0:
			state = fmt.Sprintf("%d not checked", u)
		}
		fmt.Fprintf(&b, "• %s %s.\n", c.Text, state)
	}
	for n, f := range r.Findings {
		if n == most {
			fmt.Fprintf(&b, "And %d more, in the file.\n", len(r.Findings)-most)
			break
		}
		about := f.Subject
		if f.Secret != "" {
			about = string(f.Secret) + ", " + f.Subject
		}
		fmt.Fprintf(&b, "\n%s: %s → %s\n", about, f.Evidence, f.Remedy)
	}
	return strings.TrimSpace(b.String())
}

// looked says what was looked at.
func (r Report) looked() string {
	all := count(r.Secrets, "secret") + " and " + count(r.Roles, "role")
	if r.Repositories > 0 {
		all = count(r.Secrets, "secret") + ", " + count(r.Roles, "role") + " and " + count(r.Repositories, "repository")
	}
	return all
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if stem, ok := strings.CutSuffix(what, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// WriteJSON writes the report for machines.
func (r Report) WriteJSON(w io.Writer) error {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return encode(w, struct {
		Clean bool `json:"clean"`
		Report
	}{r.Clean(), r})
}

// The part of SARIF that is written: https://docs.oasis-open.org/sarif/sarif/v2.1.0/
type (
	sarif struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful bool   `json:"executionSuccessful"`
		End        string `json:"endTimeUtc"`
	}
	sarifResult struct {
		Rule         string            `json:"ruleId"`
		Kind         string            `json:"kind"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Logical []sarifLogical `json:"logicalLocations"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

// WriteSARIF writes the report for tools that gather findings. What was not checked is
// "open", which is neither a failure nor good news.
func (r Report) WriteSARIF(w io.Writer) error {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "twokey policy", Rules: []sarifRule{}}}, Invocations: []sarifInvocation{{true, r.At.UTC().Format("2006-01-02T15:04:05Z")}}, Results: []sarifResult{}}
	for _, c := range r.demands() {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{string(c.Check), sarifText{c.Text}})
	}
	for _, f := range r.Findings {
		kind, level := "fail", "error"
		if f.Unchecked {
			kind, level = "open", "none" // a kind that is no failure has no level
		}
		run.Results = append(run.Results, sarifResult{
			Rule: string(f.Check), Kind: kind, Level: level, Message: sarifText{f.Evidence + " " + f.Remedy},
			Locations:    []sarifLocation{{[]sarifLogical{{f.Subject, "resource"}}}},
			Fingerprints: map[string]string{"twokey/v1": f.ID},
		})
	}
	return encode(w, sarif{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
