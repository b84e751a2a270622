package sandbox

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
)

// control serves /_sandbox/. README.md shows each call.
func (s *Sandbox) control() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			v, err := f(r)
			answer(w, v, err)
		})
	}
	handle("GET /state", func(*http.Request) (any, error) { return s.State(), nil })
	handle("GET /calls", s.getCalls)
	handle("GET /clock", func(*http.Request) (any, error) { return s.clock(), nil })
	handle("POST /clock", s.postClock)
	handle("POST /latency", s.postLatency)
	handle("GET /faults", func(*http.Request) (any, error) { return s.faults(), nil })
	handle("POST /faults", s.postFault)
	handle("DELETE /faults", func(*http.Request) (any, error) {
		s.Conditions.ClearFaults()
		return s.faults(), nil
	})
	handle("POST /clear", func(*http.Request) (any, error) {
		err := s.Clear()
		return s.faults(), err
	})
	handle("GET /probe", func(*http.Request) (any, error) { return s.Probe.Look(), nil })
	handle("DELETE /probe", func(*http.Request) (any, error) {
		s.Probe.Forget()
		return s.Probe.Look(), nil
	})
	handle("POST /intruder", s.postIntruder)
	handle("GET /intruder", func(*http.Request) (any, error) { return s.Intruder.Loot(), nil })
	handle("DELETE /intruder", func(*http.Request) (any, error) { return s.Intruder.Stop(), nil })
	mux.HandleFunc("GET /check", s.getCheck)
	mux.HandleFunc("GET /page", s.servePage)
	handle("GET /overview", func(*http.Request) (any, error) { return s.Overview(), nil })
	mount := func(prefix string, h http.Handler) { mux.Handle(prefix+"/", http.StripPrefix(prefix, h)) }
	mount("/slack", s.Slack.Control())
	mount("/entra", s.Entra.Control())
	mount("/aws", s.AWS.Control())
	mount("/mcp", s.MCP.Control())
	mount("/servicenow", s.ServiceNow.Control())
	mount("/endpoint", s.Endpoint.Control())
	return mux
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		conditions.WriteJSON(w, http.StatusBadRequest, "application/json", map[string]string{"error": err.Error()})
		return
	}
	conditions.WriteJSON(w, http.StatusOK, "application/json", v)
}

// strictly reads a JSON body; a misspelt member must not pass for set.
func strictly(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return nil
}

// State is everything, values of secrets included.
type State struct {
	Now     time.Time      `json:"now"`
	URL     string         `json:"url"`
	Entra   string         `json:"entra_url"`
	Team    Team           `json:"team"`
	Trouble Trouble        `json:"trouble"`
	Counts  map[string]int `json:"counts"` // of calls by operation
	Probe   Report         `json:"probe"`
	Loot    Loot           `json:"intruder"`

	SlackState any `json:"slack"`
	EntraState any `json:"entra"`
	AWSState   any `json:"aws"`
	MCPState   any `json:"mcp"`
	ServiceNow any `json:"servicenow"`
	Endpoint   any `json:"endpoint"`
}

// State returns a copy of everything.
func (s *Sandbox) State() State {
	return State{
		Now: s.Clock.Now(), URL: s.url, Entra: s.tlsURL, Team: s.Team, Trouble: s.faults(), Counts: s.Conditions.Counts(), Probe: s.Probe.Look(), Loot: s.Intruder.Loot(),
		SlackState: s.Slack.State(), EntraState: s.Entra.State(), AWSState: s.AWS.State(), MCPState: s.MCP.State(), ServiceNow: s.ServiceNow.State(), Endpoint: s.Endpoint.State(),
	}
}

// Clear ends everything that was set to go wrong: faults, latency, a lagging
// directory, stuck services, settings of MCP servers.
func (s *Sandbox) Clear() error {
	s.Conditions.Clear()
	s.MCP.Clear()
	s.ServiceNow.HideNotes(false)
	s.Entra.SetBehaviour(entra.Behaviour{})
	for _, secret := range s.Team.Secrets {
		if err := s.AWS.Behave(secret.Cluster, secret.Service, aws.Behaviour{}); err != nil {
			return fmt.Errorf("clear the behaviour of %s: %w", secret.Name, err)
		}
	}
	return nil
}

func (s *Sandbox) clock() map[string]time.Time { return map[string]time.Time{"now": s.Clock.Now()} }

func (s *Sandbox) postClock(r *http.Request) (any, error) {
	var form struct {
		Advance string `json:"advance"`
	}
	if err := strictly(r, &form); err != nil {
		return nil, err
	}
	d, err := duration("advance", form.Advance)
	if err != nil {
		return nil, err
	}
	s.Clock.Advance(d)
	return s.clock(), nil
}

// duration reads a time such as "1h30m".
func duration(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s must be a time such as \"24h\" or \"100ms\", not %q", name, text)
	}
	return d, nil
}

// postIntruder lets somebody in; "every" is a time such as "100ms".
func (s *Sandbox) postIntruder(r *http.Request) (any, error) {
	var form struct {
		IntruderOptions
		Every string `json:"every"`
	}
	if err := strictly(r, &form); err != nil {
		return nil, err
	}
	var err error
	if form.IntruderOptions.Every, err = duration("every", cmp.Or(form.Every, "0s")); err != nil {
		return nil, err
	}
	if err := s.Intruder.Start(r.Context(), form.IntruderOptions); err != nil {
		return nil, err
	}
	return s.Intruder.Loot(), nil
}

// Trouble is what is set to go wrong with calls.
type Trouble struct {
	Faults  []faultForm       `json:"faults"`
	Latency map[string]string `json:"latency"`
}

// faultForm is a fault as people write it.
type faultForm struct {
	Operation  string          `json:"operation"`
	Kind       conditions.Kind `json:"kind"`
	Skip       int             `json:"skip,omitempty"`
	Count      int             `json:"count,omitempty"`
	Status     int             `json:"status,omitempty"`
	Code       string          `json:"code,omitempty"`
	RetryAfter int             `json:"retry_after,omitempty"`
	Delay      string          `json:"delay,omitempty"`
}

func (s *Sandbox) faults() Trouble {
	t := Trouble{Faults: []faultForm{}, Latency: map[string]string{}}
	for _, f := range s.Conditions.Faults() {
		form := faultForm{Operation: f.Operation, Kind: f.Kind, Skip: f.Skip, Count: f.Count, Status: f.Status, Code: f.Code, RetryAfter: f.RetryAfter}
		if f.Delay > 0 {
			form.Delay = f.Delay.String()
		}
		t.Faults = append(t.Faults, form)
	}
	for operation, d := range s.Conditions.Latencies() {
		t.Latency[operation] = d.String()
	}
	return t
}

func (s *Sandbox) postLatency(r *http.Request) (any, error) {
	var form struct {
		Operation string `json:"operation"`
		Latency   string `json:"latency"`
	}
	if err := strictly(r, &form); err != nil {
		return nil, err
	}
	d, err := duration("latency", form.Latency)
	if err != nil {
		return nil, err
	}
	if err := isOperation(form.Operation); err != nil {
		return nil, err
	}
	s.Conditions.SetLatency(form.Operation, d)
	return s.faults(), nil
}

// isOperation catches names that can never match a call.
func isOperation(name string) error {
	vendor, call, _ := strings.Cut(name, ".")
	if name == "*" || call != "" && slices.Contains([]string{"slack", "entra", "graph", "ssm", "ecs", "sts", "cloudtrail", "iam", "mcp", "servicenow"}, vendor) {
		return nil
	}
	return fmt.Errorf("operation must be \"*\" or a call's name such as \"ssm.PutParameter\" or \"graph.addPassword\", not %q", name)
}

func (s *Sandbox) postFault(r *http.Request) (any, error) {
	var form faultForm
	if err := strictly(r, &form); err != nil {
		return nil, err
	}
	if err := isOperation(form.Operation); err != nil {
		return nil, err
	}
	kinds := []conditions.Kind{conditions.Refuse, conditions.Throttle, conditions.ServerErr, conditions.Timeout,
		conditions.CutBefore, conditions.CutAfter, conditions.Nonsense, conditions.Slow}
	if !slices.Contains(kinds, form.Kind) {
		return nil, fmt.Errorf("kind must be one of %v, not %q", kinds, form.Kind)
	}
	delay, err := duration("delay", cmp.Or(form.Delay, "0s"))
	if err != nil {
		return nil, err
	}
	s.Conditions.Add(conditions.Fault{
		Operation: form.Operation, Kind: form.Kind, Skip: form.Skip, Count: form.Count,
		Status: form.Status, Code: form.Code, RetryAfter: form.RetryAfter, Delay: delay,
	})
	return s.faults(), nil
}

// getCalls tells which calls arrived; "operation" keeps those that begin so.
func (s *Sandbox) getCalls(r *http.Request) (any, error) {
	prefix := r.URL.Query().Get("operation")
	calls := slices.DeleteFunc(s.Conditions.Calls(), func(c conditions.Call) bool { return !strings.HasPrefix(c.Operation, prefix) })
	return map[string]any{"calls": calls, "counts": s.Conditions.Counts()}, nil
}

// getCheck answers 200 when all is well and 409 when it is not, so that
// "curl --fail" can judge.
func (s *Sandbox) getCheck(w http.ResponseWriter, r *http.Request) {
	verdicts := s.CheckAll()
	if name := r.URL.Query().Get("secret"); name != "" {
		v, err := s.Check(name)
		if err != nil {
			conditions.WriteJSON(w, http.StatusNotFound, "application/json", map[string]string{"error": err.Error()})
			return
		}
		verdicts = []Verdict{v}
	}
	status := http.StatusOK
	if slices.ContainsFunc(verdicts, func(v Verdict) bool { return !v.OK }) {
		status = http.StatusConflict
	}
	conditions.WriteJSON(w, status, "application/json", map[string]any{"ok": status == http.StatusOK, "secrets": verdicts})
}
