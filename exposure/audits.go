package exposure

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/runbook"
)

// audits reads what was changed on the application and its service principal.
func (l looker) audits(ctx context.Context) part {
	if l.Audits == nil {
		return part{gaps: []Gap{l.whole(EntraAudit, "it is not configured")}}
	}
	w, gaps := l.kept(EntraAudit, entraKeeps, entraLate, "Entra keeps audits for 30 days", "changes reach Entra's log some minutes late")
	p := part{gaps: gaps}
	found, err := l.Audits.DirectoryAudits(ctx, l.subject.Application.Object, l.subject.Application.ServicePrincipal, w)
	var cut *Truncated
	switch {
	case errors.As(err, &cut):
		p.gaps = append(p.gaps, Gap{Source: EntraAudit, From: w.From, Until: later(cut.Since, w.From), Why: err.Error()})
	case err != nil:
		p.gaps = []Gap{l.whole(EntraAudit, reason(ctx, err))}
	}
	for _, a := range found {
		if !l.window.holds(a.At) {
			continue
		}
		e, added := l.judgeAudit(a)
		p.events = append(p.events, e)
		p.added = append(p.added, added...)
	}
	return p
}

// keptShorter says what a tenant without a paid licence does not keep. Whether
// it has one shows by its sign-ins, which come with it.
func (l looker) keptShorter(use part) []Gap {
	oldest := l.now.Add(-entraKeepsFree)
	switch {
	case l.Audits == nil || use.licensed || !l.window.From.Before(oldest):
		return nil
	case use.unpaid:
		return []Gap{{Source: EntraAudit, From: l.window.From, Until: earlier(oldest, l.window.To), Why: "without a P1 or P2 licence Entra keeps audits for 7 days"}}
	default:
		return []Gap{{Source: EntraAudit, From: l.window.From, Until: earlier(oldest, l.window.To), Why: "whether the tenant has a P1 or P2 licence is not known; without one Entra keeps audits for 7 days"}}
	}
}

// change is what an audit comes down to.
type change struct {
	what          string
	keys          bool     // it is about keys
	added         []keyRef // keys that came
	opens, closes bool     // it gives or takes a way in or a right
}

type keyRef struct{ id, name string }

func (l looker) judgeAudit(a Audit) (Event, []string) {
	c := read(a)
	e := Event{At: a.At, Source: EntraAudit, What: c.what, Who: actor(a.By), Address: a.By.Address, Resource: l.target(a), Agent: a.Agent, ID: a.ID}
	if a.Failed {
		e.What += " (failed)"
	}
	var added []string
	for _, k := range c.added {
		added = append(added, k.id)
	}
	bot := l.subject.BotPrincipal != "" && a.By.Principal == l.subject.BotPrincipal
	if bot {
		e.Who = "twokey itself"
	}
	e.Verdict, e.Why = l.explain(a, c, bot)
	return e, added
}

// explain matches a change with the record.
func (l looker) explain(a Audit, c change, bot bool) (Verdict, string) {
	d, working := l.subject.changing(a.At)
	switch {
	case bot && len(c.added) > 0:
		for _, k := range c.added {
			if by, ok := l.subject.marked(k.name); !ok || !by.covers(a.At, by.Confirmed) {
				return StandsOut, "I made this key, and no operation of the record explains it"
			}
		}
		return Expected, "an operation made it: " + c.added[0].name
	case bot && c.opens:
		return StandsOut, "it was done in my name, and no operation of mine does such a thing"
	case bot && working:
		return Expected, "operation " + string(d.Operation) + " did it"
	case bot:
		return StandsOut, "it was done in my name, and no confirmed operation was under way"
	case c.keys:
		return StandsOut, "nobody's operation explains it"
	case c.opens:
		return StandsOut, "it opens another way in, and nobody's operation explains it"
	case c.closes:
		return StandsOut, "nobody's operation explains it"
	default:
		return Unknown, "somebody else changed it"
	}
}

func actor(a Actor) string {
	kind := "user "
	if a.App {
		kind = "application "
	}
	return kind + cmp.Or(a.Name, string(a.Principal), "unknown")
}

// target names what was changed; of a new owner that is the owner.
func (l looker) target(a Audit) string {
	var names []string
	for _, t := range a.Targets {
		names = append(names, strings.TrimSpace(strings.ToLower(t.Kind)+" "+cmp.Or(t.Name, t.ID)))
	}
	return strings.Join(names, ", ")
}

// plain makes the ways in which Entra spells an activity one: dashes differ,
// and some end in a space.
func plain(activity string) string {
	return strings.ToLower(strings.Join(strings.Fields(strings.NewReplacer("\u2013", "-", "\u2014", "-").Replace(activity)), " "))
}

// read tells what an audit is about.
func read(a Audit) change {
	activity := plain(a.Activity)
	c := change{what: cmp.Or(strings.Join(strings.Fields(a.Activity), " "), "a change without a name")}
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(activity, w) })
	}
	switch {
	case has("certificates and secrets management", "service principal credentials"):
		return keysChanged(a, c)
	case has("add owner"):
		c.opens, c.what = true, "owner added"
	case has("remove owner"):
		c.closes, c.what = true, "owner removed"
	case has("federated identity credential") || changes(a, "FederatedIdentityCredentials"):
		c.opens, c.what = true, "federated credentials changed"
	case has("add app role assignment", "add delegated permission grant", "consent to application"):
		c.opens = true
	}
	return c
}

func changes(a Audit, property string) bool {
	for _, t := range a.Targets {
		for _, c := range t.Changes {
			if strings.EqualFold(c.Property, property) && c.Old != c.New {
				return true
			}
		}
	}
	return false
}

// keysChanged compares the lists of keys before and after.
func keysChanged(a Audit, c change) change {
	c.keys = true
	var told []string
	for _, t := range a.Targets {
		for _, p := range t.Changes {
			if !strings.EqualFold(p.Property, "KeyDescription") {
				continue
			}
			before, after := keysOf(p.Old), keysOf(p.New)
			for _, k := range after {
				if !slices.Contains(before, k) {
					c.added = append(c.added, k)
					told = append(told, "key added: "+k.id+" ("+k.name+")")
				}
			}
			for _, k := range before {
				if !slices.Contains(after, k) {
					told = append(told, "key removed: "+k.id+" ("+k.name+")")
				}
			}
		}
	}
	if len(told) > 0 {
		c.what = strings.Join(told, "; ")
	}
	return c
}

// keyDescription is one key in the log's own notation. A name may hold anything,
// brackets and commas too, so it reaches to the end.
var keyDescription = regexp.MustCompile(`(?s)^\[KeyIdentifier=([^,]*),KeyType=[^,]*,KeyUsage=[^,]*,DisplayName=(.*)\]$`)

func keysOf(list string) []keyRef {
	var texts []string
	if json.Unmarshal([]byte(list), &texts) != nil {
		return nil
	}
	var out []keyRef
	for _, t := range texts {
		if m := keyDescription.FindStringSubmatch(t); m != nil {
			out = append(out, keyRef{m[1], m[2]})
		}
	}
	return out
}

// keys tells of keys that were made in the window and that the audits do not
// tell of: they may be older than the log, or the log may not be readable.
func (l looker) keys(told []string) []Event {
	var out []Event
	for _, k := range l.subject.Application.Keys {
		if !l.window.holds(k.Start) || k.Start.Equal(l.window.From) || slices.ContainsFunc(told, func(id string) bool { return strings.EqualFold(id, string(k.ID)) }) {
			continue
		}
		e := Event{At: k.Start, Source: EntraNow, What: "key made: " + string(k.ID) + " (" + k.Name + ")", Who: "unknown", Resource: place(k), ID: string(k.ID)}
		d, ours := l.subject.marked(k.Name)
		switch {
		case l.subject.exposed(k.ID):
			e.Verdict, e.Why = Expected, "it is a key that is looked into"
		case ours && d.covers(k.Start, d.Confirmed):
			e.Verdict, e.Why = Expected, "operation "+string(d.Operation)+" made it"
		default:
			e.Verdict, e.Why = StandsOut, "nobody's operation explains this key"
		}
		out = append(out, e)
	}
	return out
}

func place(k runbook.Key) string {
	if k.OnServicePrincipal {
		return "serviceprincipal"
	}
	return "application"
}

// doors looks at which other ways into the application stand open now.
func (l looker) doors(ctx context.Context) part {
	now := func(why string) []Gap { return []Gap{{Source: EntraNow, From: l.now, Until: l.now, Why: why}} }
	if l.Doors == nil {
		return part{gaps: now("owners and federated credentials as they stand: not configured")}
	}
	var p part
	found, err := l.Doors.Doors(ctx, l.subject.Application.Object)
	if err != nil {
		p.gaps = now("owners and federated credentials as they stand were not read: " + reason(ctx, err))
	}
	for _, d := range found {
		if e, telling := l.judgeDoor(d, l.now); telling {
			p.events = append(p.events, e)
		}
	}
	return p
}

func (l looker) judgeDoor(d Door, at time.Time) (Event, bool) {
	e := Event{At: at, Source: EntraNow, Who: d.Name, Resource: d.Detail, ID: d.ID}
	switch {
	case d.Federated:
		e.What, e.Verdict, e.Why = "federated credential stands", StandsOut, "it signs in without any secret, whatever is rotated; nobody's operation explains it"
	case l.subject.BotPrincipal != "" && d.ID == string(l.subject.BotPrincipal):
		return Event{}, false
	default:
		e.What, e.Verdict, e.Why = "owner", Unknown, "an owner can make keys; whether they should be one is not known here"
	}
	return e, true
}
