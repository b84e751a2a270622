package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/servicenow"
)

// changeVerbs are change requests in ServiceNow.
func changeVerbs() []verb {
	return []verb{
		{pattern: `change (\S+) is (.+)`, act: (*conversation).changeIs},
		{pattern: `change (\S+) has (\d+) notes?`, look: func(c *conversation, a []string) error {
			change, _ := c.box.ServiceNow.Change(a[0])
			if strconv.Itoa(len(change.Notes)) != a[1] {
				return fmt.Errorf("it has %d:\n%s", len(change.Notes), notesOf(change))
			}
			return nil
		}},
		{pattern: `change (\S+) has the note (.+)`, look: func(c *conversation, a []string) error {
			change, _ := c.box.ServiceNow.Change(a[0])
			if !strings.Contains(notesOf(change), c.filled(a[1])) {
				return fmt.Errorf("its notes:\n%s", notesOf(change))
			}
			return nil
		}},
		{pattern: `work notes are hidden`, act: func(c *conversation, _ []string) error { c.box.ServiceNow.HideNotes(true); return nil }},
	}
}

// changeIs reads "state=-1 approval=requested start=-1h end=2h"; what is left out is
// as a change has it whose work may be done now.
func (c *conversation) changeIs(a []string) error {
	now := c.box.Clock.Now()
	change := servicenow.Change{Number: a[0], State: "-1", Approval: "approved", Start: now.Add(-time.Hour), End: now.Add(2 * time.Hour)}
	for word := range strings.FieldsSeq(a[1]) {
		key, value, _ := strings.Cut(word, "=")
		var at time.Time
		if key == "start" || key == "end" {
			if d, err := time.ParseDuration(value); err == nil {
				at = now.Add(d)
			}
		}
		switch key {
		case "open":
		case "state":
			change.State = value
		case "approval":
			change.Approval = value
		case "start":
			change.Start = at
		case "end":
			change.End = at
		default:
			return fmt.Errorf("a change has no %q", key)
		}
	}
	c.box.ServiceNow.Put(change)
	return nil
}

func notesOf(change servicenow.Change) string {
	var out []string
	for _, n := range change.Notes {
		out = append(out, n.Text)
	}
	return strings.Join(out, "\n\n")
}

// notedOnce: no two work notes bear the same marker, and none is without.
func (c *conversation) notedOnce() error {
	state, _ := c.box.ServiceNow.State().(map[string]any)
	changes, _ := state["changes"].([]servicenow.Change)
	seen := map[string]bool{}
	for _, change := range changes {
		for _, n := range change.Notes {
			marker := regexp.MustCompile(`\[work_note:[a-z0-9]+:\d+\]$`).FindString(n.Text)
			if marker == "" || seen[marker] {
				return fmt.Errorf("marker %q of %s: %s", marker, change.Number, n.Text)
			}
			seen[marker] = true
		}
	}
	return nil
}
