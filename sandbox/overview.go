package sandbox

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/mcp"
)

// Overview is the infrastructure as people look at it: everything that tells how
// the secrets fare, and no secret's text.
type Overview struct {
	Secrets   []SecretOverview `json:"secrets"`
	Trouble   Trouble          `json:"trouble"`
	Directory entra.Behaviour  `json:"directory"` // how its replicas lag
	Loot      Loot             `json:"intruder"`
}

// Health is how one secret fares, the worst first.
type Health string

// The healths.
const (
	Broken    Health = "broken"    // a task gets no token, or no key works
	Unsettled Health = "unsettled" // it works, and something is under way or left over
	Expiring  Health = "expiring"  // the live key ends within 30 days
	Well      Health = "well"
)

// expiringWithin is when an end counts as near.
const expiringWithin = 30 * day

// SecretOverview is one secret and all that it is tied to.
type SecretOverview struct {
	Name        string `json:"name"`
	Server      string `json:"server"`
	Environment string `json:"environment"`
	Health      Health `json:"health"`
	Words       string `json:"words"` // why, for people

	ClientID   string              `json:"client_id"`
	Disabled   bool                `json:"disabled"` // its application gets no tokens
	Keys       []KeyOverview       `json:"keys"`     // newest first
	Parameters []ParameterOverview `json:"parameters"`
	Service    ServiceOverview     `json:"service"`
	Tokens     TokensOverview      `json:"tokens"`
	Gaps       []Gap               `json:"gaps"` // in which a task got no token
}

// KeyOverview is one key; removed ones stay for a look back.
type KeyOverview struct {
	KeyVerdict
	Start   time.Time `json:"start"`
	Removed time.Time `json:"removed,omitzero"`
}

// ParameterOverview is one parameter's newest version, without its value.
type ParameterOverview struct {
	Name     string    `json:"name"`
	Version  int64     `json:"version"`
	Type     string    `json:"type"`
	Labels   []string  `json:"labels"`
	Modified time.Time `json:"modified"`
	By       string    `json:"by"`
}

// ServiceOverview is the ECS service.
type ServiceOverview struct {
	Cluster     string                `json:"cluster"`
	Name        string                `json:"name"`
	Desired     int                   `json:"desired"`
	Deployments []aws.DeploymentState `json:"deployments"`
	Tasks       []TaskOverview        `json:"tasks"`
	Behaviour   aws.Behaviour         `json:"behaviour"`
}

// TaskOverview is one task that has not stopped.
type TaskOverview struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Health  string    `json:"health"`
	Created time.Time `json:"created"`
	Live    bool      `json:"live"` // it runs with what the live parameter holds
}

// TokensOverview is what the token endpoint did for the application.
type TokensOverview struct {
	Granted int             `json:"granted"`
	Refused int             `json:"refused"`
	Recent  []TokenOverview `json:"recent"` // newest first
}

// TokenOverview is one request for a token.
type TokenOverview struct {
	At      time.Time `json:"at"`
	Key     string    `json:"key_id"`
	Refusal string    `json:"refusal,omitempty"` // empty: granted
	From    string    `json:"from"`
}

// Bounds of what is worth looking at.
const (
	recentTokens = 6
	removedKeys  = 3
)

// Overview looks at everything once.
func (s *Sandbox) Overview() Overview {
	w, probe := s.look(), s.Probe.Look()
	out := Overview{Secrets: []SecretOverview{}, Trouble: s.faults(), Directory: w.directory.Behaviour, Loot: s.Intruder.Loot()}
	for _, secret := range s.Team.Secrets {
		out.Secrets = append(out.Secrets, s.overview(secret, w, probe))
	}
	return out
}

func (s *Sandbox) overview(secret Secret, w world, probe Report) SecretOverview {
	v := s.judge(secret, w)
	out := SecretOverview{
		Name: secret.Name, Server: secret.Server, Environment: secret.Environment, ClientID: secret.ClientID,
		Keys: w.keys(secret, v), Parameters: w.parameters(secret), Service: w.service(secret), Tokens: w.tokens(secret), Gaps: []Gap{},
	}
	for _, a := range w.directory.Applications {
		out.Disabled = out.Disabled || a.Client == secret.ClientID && (a.Disabled || a.Principal != nil && !a.Principal.Enabled)
	}
	var tasks []TaskProbe
	for _, p := range probe.Services {
		if p.Secret == secret.Name {
			tasks, out.Gaps = p.Tasks, p.Gaps
		}
	}
	out.Health, out.Words = out.health(v, tasks, s.Clock.Now())
	return out
}

// health says how a secret fares, by what serves its users first.
func (o SecretOverview) health(v Verdict, tasks []TaskProbe, now time.Time) (Health, string) {
	for _, t := range tasks {
		if !t.Works {
			return Broken, "a task gets no token: " + t.Reason
		}
	}
	switch {
	case v.Working == 0:
		return Broken, "no key works"
	case !v.OK:
		return Unsettled, cmp.Or(o.underWay(), v.Problems[0])
	case v.Working > 1:
		return Unsettled, "two keys work: an overlap"
	}
	for _, k := range v.Keys {
		if left := k.End.Sub(now); k.Live && left < expiringWithin {
			return Expiring, fmt.Sprintf("the key ends in %.0f days", left.Hours()/24)
		}
	}
	return Well, "one key works, and all tasks have it"
}

// underWay names what a rotation is at. While it is, that is no problem yet.
func (o SecretOverview) underWay() string {
	for _, d := range o.Service.Deployments {
		if d.Rollout == "IN_PROGRESS" {
			return "the service is being rolled out"
		}
	}
	for _, p := range o.Parameters {
		if strings.HasSuffix(p.Name, pending) {
			return "a new secret waits in the pending parameter"
		}
	}
	for _, k := range o.Keys {
		if k.Works && !k.Live && !k.Former && strings.HasPrefix(k.Name, ours) {
			return "a new key is not in use yet"
		}
	}
	return ""
}

func (w world) keys(secret Secret, v Verdict) []KeyOverview {
	out, removed := []KeyOverview{}, 0
	passwords := w.passwords(secret.ClientID)
	slices.SortStableFunc(passwords, func(a, b entra.Password) int { return b.Start.Compare(a.Start) })
	for _, p := range passwords {
		k := KeyOverview{KeyVerdict: KeyVerdict{ID: p.KeyID, Name: p.Name, End: p.End}, Start: p.Start, Removed: p.Removed}
		if !p.Removed.IsZero() {
			if removed++; removed > removedKeys {
				continue
			}
		}
		for _, judged := range v.Keys {
			if judged.ID == p.KeyID && p.Removed.IsZero() {
				k.KeyVerdict = judged
			}
		}
		out = append(out, k)
	}
	return out
}

// parameters are those of the secret that exist, a pending one included.
func (w world) parameters(secret Secret) []ParameterOverview {
	out := []ParameterOverview{}
	for _, p := range w.platform.Parameters {
		switch p.Name {
		case secret.ClientIDParameter, secret.SecretParameter, secret.SecretParameter + pending:
			newest := p.Versions[len(p.Versions)-1]
			out = append(out, ParameterOverview{p.Name, newest.Version, newest.Type, newest.Labels, newest.Modified, newest.By})
		}
	}
	return out
}

func (w world) service(secret Secret) ServiceOverview {
	out := ServiceOverview{Cluster: secret.Cluster, Name: secret.Service, Deployments: []aws.DeploymentState{}, Tasks: []TaskOverview{}}
	live := w.live(secret)
	for _, service := range w.platform.Services {
		if service.Cluster != secret.Cluster || service.Name != secret.Service {
			continue
		}
		out.Desired, out.Deployments, out.Behaviour = service.Desired, service.Deployments, service.Behaviour
		for _, t := range service.Tasks {
			if t.Last != "STOPPED" {
				out.Tasks = append(out.Tasks, TaskOverview{t.ID, t.Last, t.Health, t.Created, t.Environment[mcp.ClientSecretVariable] == live})
			}
		}
	}
	slices.SortFunc(out.Tasks, func(a, b TaskOverview) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (w world) live(secret Secret) string {
	for _, p := range w.platform.Parameters {
		if p.Name == secret.SecretParameter {
			return p.Versions[len(p.Versions)-1].Value
		}
	}
	return ""
}

func (w world) tokens(secret Secret) TokensOverview {
	out := TokensOverview{Recent: []TokenOverview{}}
	for _, s := range slices.Backward(w.directory.SignIns) {
		if s.Client != secret.ClientID {
			continue
		}
		t := TokenOverview{At: s.At, Key: s.KeyID, From: s.IP}
		if s.Code == 0 {
			out.Granted++
		} else {
			out.Refused++
			t.Refusal = fmt.Sprintf("AADSTS%d", s.Code)
		}
		if len(out.Recent) < recentTokens {
			out.Recent = append(out.Recent, t)
		}
	}
	return out
}
