package exposure

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Window is a span of time. A zero From is the beginning of what the sources
// keep, a zero To is now.
type Window struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Subject is the secret that is looked at, and what explains what happened to it.
type Subject struct {
	Secret  operation.SecretName
	Live    string // parameter of the secret
	Pending string // where a new secret waits
	Client  string // parameter of the client id, which is no secret
	Cluster string
	Service string

	ExecutionRole string // ARN of the role by which ECS reads the secret; empty: not known
	TaskRole      string // ARN of the role of the service's own code; empty: none
	BotRole       string // ARN of the bot's own role; empty: not known

	BotClient    runbook.ClientID
	BotPrincipal runbook.ObjectID

	Application runbook.Application
	Keys        []runbook.KeyID // the exposed keys; none: nothing is known to be exposed
	Removed     time.Time       // when the exposed keys were removed; zero: they were not

	// Addresses are those that the service and the bot are known to call from.
	// There may be none: then what was seen before the window, and with the key
	// that the bot made after the removal, has to tell.
	Addresses []netip.Prefix
	Deeds     []Deed
}

// SubjectOf fills in what the configuration and a look at the vendors tell.
func SubjectOf(t runbook.Target, app runbook.Application, s runbook.Service) Subject {
	return Subject{
		Secret: t.Name, Live: t.SecretParameter, Pending: t.PendingParameter(), Client: t.ClientIDParameter,
		Cluster: t.Cluster, Service: t.Service, ExecutionRole: s.ExecutionRole, TaskRole: s.TaskRole, Application: app,
	}
}

// Since is when the oldest of the exposed keys that are still there, or of all
// keys if none is known to be exposed, was made: the beginning of the default
// window. It is zero when there is no such key.
func (s Subject) Since() time.Time {
	var since time.Time
	for _, k := range s.Application.Keys {
		if (len(s.Keys) == 0 || s.exposed(k.ID)) && (since.IsZero() || k.Start.Before(since)) {
			since = k.Start
		}
	}
	return since
}

func (s Subject) exposed(id runbook.KeyID) bool {
	return slices.ContainsFunc(s.Keys, func(k runbook.KeyID) bool { return strings.EqualFold(string(k), string(id)) })
}

// key finds a key of the application as it is now.
func (s Subject) key(id runbook.KeyID) (runbook.Key, bool) {
	for _, k := range s.Application.Keys {
		if strings.EqualFold(string(k.ID), string(id)) {
			return k, true
		}
	}
	return runbook.Key{}, false
}

// Deed is one operation of the record, which explains what the logs show.
type Deed struct {
	Operation operation.ID
	Kind      operation.Kind
	From      time.Time // when it was asked for: from then on it reads
	Confirmed time.Time // from then on it changes things; zero: it never did
	Until     time.Time // zero: it is under way
}

// DeedOf tells what an operation explains.
func DeedOf(op operation.Operation) Deed {
	d := Deed{Operation: op.ID, Kind: op.Kind, From: op.RequestedAt, Until: op.EndedAt}
	if op.Approver.User != "" {
		d.Confirmed = op.DecidedAt
	}
	return d
}

// clocks is how far the vendors' clocks and ours may be apart.
const clocks = 2 * time.Minute

func (d Deed) covers(at, from time.Time) bool {
	return !from.IsZero() && !at.Before(from.Add(-clocks)) && (d.Until.IsZero() || !at.After(d.Until.Add(clocks)))
}

// reading finds an operation that explains a read by the bot.
func (s Subject) reading(at time.Time) (Deed, bool) {
	for _, d := range s.Deeds {
		if d.covers(at, d.From) {
			return d, true
		}
	}
	return Deed{}, false
}

// changing finds a confirmed operation that explains a change by the bot.
func (s Subject) changing(at time.Time) (Deed, bool) {
	for _, d := range s.Deeds {
		if d.covers(at, d.Confirmed) {
			return d, true
		}
	}
	return Deed{}, false
}

// marked finds the confirmed operation that a key's name claims to be of.
func (s Subject) marked(name string) (Deed, bool) {
	for _, d := range s.Deeds {
		if !d.Confirmed.IsZero() && name == runbook.Mark(d.Operation) {
			return d, true
		}
	}
	return Deed{}, false
}
