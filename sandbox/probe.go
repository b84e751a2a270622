package sandbox

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/mcp"
)

// probeEvery is how often the probe looks unless told otherwise.
const probeEvery = 20 * time.Millisecond

// Probe watches whether each service always has a working secret: whether every
// running task could get a token with the secret that it holds, at any replica
// of the token endpoint. It judges by the directory's state and sends nothing,
// so it uses up no fault and appears in no log.
type Probe struct {
	running func() []mcp.Credentials
	admits  func(client, secret string) error
	now     func() time.Time

	stop  context.CancelFunc
	ended sync.WaitGroup

	mu       sync.Mutex
	looks    int
	services map[string]*ServiceProbe // by "sharepoint/prod"
}

// ServiceProbe is what the probe saw of one service.
type ServiceProbe struct {
	Secret string      `json:"secret"` // "sharepoint/prod"
	Tasks  []TaskProbe `json:"tasks"`  // at the last look
	Gaps   []Gap       `json:"gaps"`   // oldest first
}

// TaskProbe is one task at the last look.
type TaskProbe struct {
	ID     string `json:"id"`
	Works  bool   `json:"works"`
	Reason string `json:"reason,omitempty"` // why it gets no token
}

// Gap is a time in which not every task of a service could get a token.
type Gap struct {
	From  time.Time `json:"from"`            // the sandbox's time
	Until time.Time `json:"until,omitzero"`  // zero while it lasts
	Down  bool      `json:"down"`            // at some time in it no task at all could
	Why   string    `json:"why"`             // of the first task that could not
	Tasks []string  `json:"tasks,omitempty"` // that could not, at some time in it
}

// Report is all that the probe saw.
type Report struct {
	Looks    int            `json:"looks"`
	Services []ServiceProbe `json:"services"`
}

// Gaps returns all gaps by secret; empty when every service always worked.
func (r Report) Gaps() map[string][]Gap {
	out := map[string][]Gap{}
	for _, s := range r.Services {
		if len(s.Gaps) > 0 {
			out[s.Secret] = s.Gaps
		}
	}
	return out
}

func newProbe(running func() []mcp.Credentials, admits func(client, secret string) error, now func() time.Time) *Probe {
	return &Probe{running: running, admits: admits, now: now, stop: func() {}, services: map[string]*ServiceProbe{}}
}

// begin looks again and again until end.
func (p *Probe) begin(every time.Duration) {
	p.Look()
	if every < 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.ended.Go(func() {
		tick := time.NewTicker(cmp.Or(every, probeEvery))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.Look()
			}
		}
	})
}

func (p *Probe) end() {
	p.stop()
	p.ended.Wait()
}

// Look looks once, now, and returns all that was seen so far.
func (p *Probe) Look() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	seen := map[string][]TaskProbe{}
	for _, c := range p.running() {
		t := TaskProbe{ID: c.Task, Works: true}
		if err := p.admits(c.ClientID, c.ClientSecret); err != nil {
			t.Works, t.Reason = false, err.Error()
		}
		name := secretName(c.Service.Server, c.Service.Environment)
		seen[name] = append(seen[name], t)
		if p.services[name] == nil {
			p.services[name] = &ServiceProbe{Secret: name, Gaps: []Gap{}}
		}
	}
	for name, service := range p.services {
		service.note(seen[name], p.now())
	}
	return p.report()
}

// Forget forgets the gaps that were seen so far.
func (p *Probe) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.services)
	p.looks = 0
}

// report copies what was seen. The caller holds the lock.
func (p *Probe) report() Report {
	r := Report{Looks: p.looks, Services: []ServiceProbe{}}
	for _, name := range slices.Sorted(maps.Keys(p.services)) {
		s := *p.services[name]
		s.Gaps = slices.Clone(s.Gaps)
		for i := range s.Gaps {
			s.Gaps[i].Tasks = slices.Clone(s.Gaps[i].Tasks)
		}
		r.Services = append(r.Services, s)
	}
	return r
}

// note opens, extends or ends a gap by what was seen at one look.
func (s *ServiceProbe) note(tasks []TaskProbe, now time.Time) {
	s.Tasks = tasks
	var broken []TaskProbe
	for _, t := range tasks {
		if !t.Works {
			broken = append(broken, t)
		}
	}
	var open *Gap
	if n := len(s.Gaps); n > 0 && s.Gaps[n-1].Until.IsZero() {
		open = &s.Gaps[n-1]
	}
	if len(broken) == 0 && len(tasks) > 0 {
		if open != nil {
			open.Until = now
		}
		return
	}
	if open == nil {
		s.Gaps = append(s.Gaps, Gap{From: now, Why: "no task is running"})
		open = &s.Gaps[len(s.Gaps)-1]
		if len(broken) > 0 {
			open.Why = broken[0].Reason
		}
	}
	open.Down = open.Down || len(broken) == len(tasks)
	for _, t := range broken {
		if !slices.Contains(open.Tasks, t.ID) {
			open.Tasks = append(open.Tasks, t.ID)
		}
	}
}
