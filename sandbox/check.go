package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/mcp"
)

// Verdict judges what is left of one secret, without asking the bot.
type Verdict struct {
	Secret   string       `json:"secret"`
	OK       bool         `json:"ok"`
	Problems []string     `json:"problems"`     // what a finished or resting rotation must not leave; empty when OK
	Working  int          `json:"working_keys"` // 1, or 2 in an overlap
	Keys     []KeyVerdict `json:"keys"`         // that are not removed
	Version  int64        `json:"version"`      // of the live parameter
	Tasks    int          `json:"tasks"`        // running with the live secret
}

// KeyVerdict is one key that is not removed.
type KeyVerdict struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	End    time.Time `json:"end"`
	Works  bool      `json:"works"`
	Reason string    `json:"reason,omitempty"` // why it does not
	Live   bool      `json:"live"`             // the live parameter holds it
	Former bool      `json:"former"`           // an older version of the parameter holds it
}

// ours is how the bot names the keys that it makes, pending what it adds to a
// parameter's name for a secret that is not live yet.
const (
	ours    = "twokey:"
	pending = ".pending"
)

// Check judges the secret called name, such as "sharepoint/prod": one key works
// (or two in an overlap), the live parameter holds a working one, every running
// task has it, no pending parameter and no key of an unfinished rotation is left.
func (s *Sandbox) Check(name string) (Verdict, error) {
	secret, ok := s.Team.Secret(name)
	if !ok {
		return Verdict{}, fmt.Errorf("there is no secret %q in the sandbox", name)
	}
	return s.judge(secret, s.look()), nil
}

// world is both vendors at one moment. Copying it is dear, so many secrets are
// judged by one copy.
type world struct {
	directory entra.State
	platform  aws.State
}

func (s *Sandbox) look() world {
	directory, ok := s.Entra.State().(entra.State)
	if !ok {
		panic("sandbox: the state of Entra is no entra.State") // its documentation says so
	}
	return world{directory, s.AWS.Snapshot()}
}

func (s *Sandbox) judge(secret Secret, w world) Verdict {
	v := Verdict{Secret: secret.Name, Problems: []string{}, Keys: []KeyVerdict{}}
	live, former := v.checkParameters(secret, w.platform)
	keys := slices.DeleteFunc(w.passwords(secret.ClientID), func(p entra.Password) bool { return !p.Removed.IsZero() })
	v.checkKeys(keys, live, former, func(text string) error { return s.Entra.Admits(secret.ClientID, text) })
	v.checkTasks(secret, w.platform, live)
	v.OK = len(v.Problems) == 0
	return v
}

// CheckAll judges all secrets, in the order of the team's list.
func (s *Sandbox) CheckAll() []Verdict {
	all := make([]Verdict, 0, len(s.Team.Secrets))
	w := s.look()
	for _, secret := range s.Team.Secrets {
		all = append(all, s.judge(secret, w))
	}
	return all
}

func (v *Verdict) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// passwords returns the keys of an application and of its service principal,
// removed ones included.
func (w world) passwords(client string) []entra.Password {
	var all []entra.Password
	for _, a := range w.directory.Applications {
		if a.Client != client {
			continue
		}
		all = append(all, a.Passwords...)
		if a.Principal != nil {
			all = append(all, a.Principal.Passwords...)
		}
	}
	return all
}

// checkParameters returns what the live parameter holds and held.
func (v *Verdict) checkParameters(secret Secret, platform aws.State) (live string, former []string) {
	for _, p := range platform.Parameters {
		switch p.Name {
		case secret.SecretParameter:
			newest := p.Versions[len(p.Versions)-1]
			live, v.Version = newest.Value, newest.Version
			for _, old := range p.Versions[:len(p.Versions)-1] {
				former = append(former, old.Value)
			}
			if newest.Type != "SecureString" {
				v.problem("the live parameter is a %s, not a SecureString", newest.Type)
			}
		case secret.SecretParameter + pending:
			v.problem("the pending parameter %s is left", p.Name)
		}
	}
	if live == "" {
		v.problem("the live parameter %s is gone", secret.SecretParameter)
	}
	return live, former
}

func (v *Verdict) checkKeys(keys []entra.Password, live string, former []string, admits func(string) error) {
	holds := false
	for _, k := range keys {
		verdict := KeyVerdict{ID: k.KeyID, Name: k.Name, End: k.End, Live: k.Secret == live, Former: k.Secret != live && slices.Contains(former, k.Secret)}
		if err := admits(k.Secret); err != nil {
			verdict.Reason = err.Error()
		} else {
			verdict.Works = true
			v.Working++
		}
		holds = holds || verdict.Live && verdict.Works
		if !verdict.Live && !verdict.Former && strings.HasPrefix(k.Name, ours) {
			v.problem("the key %s (%s) is an orphan: the parameter never held it", k.Name, k.KeyID)
		} else if !verdict.Live && !verdict.Former && verdict.Works {
			v.problem("the key %s (%s) works and the parameter never held it", k.Name, k.KeyID)
		}
		v.Keys = append(v.Keys, verdict)
	}
	if !holds {
		v.problem("the live parameter holds no key that works")
	}
	if v.Working == 0 || v.Working > 2 {
		v.problem("%d keys work; it must be one, or two in an overlap", v.Working)
	}
}

func (v *Verdict) checkTasks(secret Secret, platform aws.State, live string) {
	i := slices.IndexFunc(platform.Services, func(s aws.ServiceState) bool {
		return s.Cluster == secret.Cluster && s.Name == secret.Service
	})
	if i < 0 {
		v.problem("the service %s/%s is gone", secret.Cluster, secret.Service)
		return
	}
	service := platform.Services[i]
	for _, t := range service.Tasks {
		switch {
		case t.Last != "RUNNING" || t.Desired != "RUNNING":
		case t.Environment[mcp.ClientSecretVariable] != live:
			v.problem("the task %s runs with another secret than the live one", t.ID)
		default:
			v.Tasks++
		}
	}
	if v.Tasks < service.Desired {
		v.problem("%d of %d tasks run with the live secret", v.Tasks, service.Desired)
	}
	if d := service.Deployments[0]; d.Rollout != "COMPLETED" {
		v.problem("the deployment %s is %s", d.ID, d.Rollout)
	}
}
