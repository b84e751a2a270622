package sandbox

import (
	"errors"
	"testing"
	"time"

	"github.com/twokey/twokey/sandbox/mcp"
)

// watched is a platform of one service that the probe looks at.
type watched struct {
	tasks map[string]string // secret by task
	alive map[string]bool   // by secret
	now   time.Time
}

func (w *watched) running() []mcp.Credentials {
	var all []mcp.Credentials
	for _, id := range []string{"task-1", "task-2"} {
		if secret, ok := w.tasks[id]; ok {
			all = append(all, mcp.Credentials{Service: mcp.Service{Environment: "prod", Server: "jira"}, Task: id, ClientSecret: secret})
		}
	}
	return all
}

func (w *watched) admits(_, secret string) error {
	if !w.alive[secret] {
		return errors.New("refused " + secret)
	}
	return nil
}

func newWatched() (*watched, *Probe) {
	w := &watched{tasks: map[string]string{"task-1": "old", "task-2": "old"}, alive: map[string]bool{"old": true}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	return w, newProbe(w.running, w.admits, func() time.Time { return w.now })
}

func TestAGapLastsFromTheFirstRefusalToTheFirstLookWithoutOne(t *testing.T) {
	w, p := newWatched()
	if gaps := p.Look().Gaps(); len(gaps) != 0 {
		t.Fatalf("gaps at rest: %+v", gaps)
	}
	began := w.now.Add(time.Second)
	w.now = began
	w.tasks["task-2"] = "new" // not alive yet
	p.Look()
	w.now = w.now.Add(time.Second)
	gap := p.Look().Gaps()["jira/prod"]
	if len(gap) != 1 || gap[0].Down || gap[0].From != began || !gap[0].Until.IsZero() || gap[0].Why != "refused new" {
		t.Fatalf("one of two tasks refused: %+v", gap)
	}
	w.alive["old"] = false
	if gap = p.Look().Gaps()["jira/prod"]; len(gap) != 1 || !gap[0].Down || len(gap[0].Tasks) != 2 {
		t.Errorf("both tasks refused: %+v", gap)
	}
	w.alive["old"], w.alive["new"] = true, true
	w.now = w.now.Add(time.Second)
	if gap = p.Look().Gaps()["jira/prod"]; len(gap) != 1 || gap[0].Until != w.now || !gap[0].Down {
		t.Errorf("all is well again: %+v", gap)
	}
	w.alive["new"] = false
	if gap = p.Look().Gaps()["jira/prod"]; len(gap) != 2 || gap[1].Down {
		t.Errorf("a second gap: %+v", gap)
	}
}

func TestAServiceWithoutTasksIsDown(t *testing.T) {
	w, p := newWatched()
	p.Look()
	clear(w.tasks)
	gap := p.Look().Gaps()["jira/prod"]
	if len(gap) != 1 || !gap[0].Down || gap[0].Why != "no task is running" {
		t.Errorf("gaps: %+v", gap)
	}
}
