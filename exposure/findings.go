package exposure

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twokey/twokey/operation"
)

// Source is where something was seen.
type Source string

// The sources.
const (
	CloudTrail Source = "CloudTrail"
	EntraUse   Source = "Entra sign-ins"
	EntraAudit Source = "Entra audits"
	EntraNow   Source = "Entra now" // how the application stands when looked at
)

// Verdict is what is thought of an event.
type Verdict string

// The verdicts.
const (
	StandsOut Verdict = "stands_out" // nobody's operation explains it, and it should not be
	Unknown   Verdict = "unknown"    // it may be in order; somebody has to know
	Expected  Verdict = "expected"   // the service or an operation explains it
)

// Words says the verdict as a person would.
func (v Verdict) Words() string {
	switch v {
	case StandsOut:
		return "stands out"
	case Expected:
		return "expected"
	case Unknown:
	}
	return "unknown"
}

// Event is one thing that happened. Its texts hold no control characters and
// are bounded; they are otherwise as others chose them.
type Event struct {
	At       time.Time `json:"at"`
	Source   Source    `json:"source"`
	What     string    `json:"what"`
	Who      string    `json:"who"`
	Address  string    `json:"address,omitempty"`
	Resource string    `json:"resource,omitempty"`
	Verdict  Verdict   `json:"verdict"`
	Why      string    `json:"why"`
	Agent    string    `json:"agent,omitempty"` // user agent
	ID       string    `json:"id"`              // the vendor's
}

// Gap is something that was not looked at.
type Gap struct {
	Source Source    `json:"source"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Why    string    `json:"why"`
}

// Counts sum the events up.
type Counts struct {
	Events    int `json:"events"`
	StandOut  int `json:"stand_out"`
	Unknown   int `json:"unknown"`
	Expected  int `json:"expected"`
	OtherKeys int `json:"other_keys"` // sign-ins with other known keys, which are no events
}

// Findings is all that was found, and all that was not looked at.
type Findings struct {
	Secret     operation.SecretName `json:"secret"`
	Window     Window               `json:"window"`
	Looked     time.Time            `json:"looked"` // when
	Events     []Event              `json:"events"` // oldest first
	Counts     Counts               `json:"counts"`
	NotCovered []Gap                `json:"not_covered"`
}

// How long the sources keep what they have, and how late it may arrive. Entra
// keeps its logs for 30 days with a P1 or P2 licence and for 7 without.
const (
	trailKeeps     = 90 * 24 * time.Hour
	entraKeeps     = 30 * 24 * time.Hour
	entraKeepsFree = 7 * 24 * time.Hour
	trailLate      = 15 * time.Minute
	entraLate      = 10 * time.Minute
	baseline       = 7 * 24 * time.Hour // how far before the window addresses are learned
	patience       = 3 * time.Minute
)

// Gatherer asks the sources. A nil source is one that is not configured, which
// is said as a gap.
type Gatherer struct {
	Trail    Trail
	SignIns  SignIns
	Audits   Audits
	Doors    Doors
	Now      func() time.Time
	Patience time.Duration // how long one source may take; 0 is three minutes
}

// part is what one source came back with.
type part struct {
	events   []Event
	others   []Event  // sign-ins with other known keys: events only if their address is suspect
	takers   []string // addresses from which somebody else got the secret
	gaps     []Gap
	added    []string // key ids whose addition the audits tell
	licensed bool     // the tenant has proven to have the paid licence
	unpaid   bool     // or not to
}

// Gather asks all sources side by side and judges what they say. It never
// fails: what could not be looked at is among the findings.
func (g *Gatherer) Gather(ctx context.Context, s Subject, w Window) Findings {
	now := g.Now().UTC()
	w = w.within(now)
	look := looker{Gatherer: g, subject: s, window: w, now: now}
	var trail, use, changes, doors part
	var all sync.WaitGroup
	ask := func(into *part, source func(context.Context) part) {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, cmp.Or(g.Patience, patience))
			defer cancel()
			*into = source(ctx)
		})
	}
	ask(&trail, look.trail)
	ask(&use, look.signIns)
	ask(&changes, look.audits)
	ask(&doors, look.doors)
	all.Wait()
	use.suspect(trail.takers)
	changes.gaps = append(changes.gaps, look.keptShorter(use)...)
	doors.events = append(doors.events, look.keys(changes.added)...)
	return collect(s, w, now, trail, use, changes, doors)
}

// suspect takes the trust from sign-ins at addresses from which somebody got the
// secret: who could read it once may have the new one, too.
func (p *part) suspect(takers []string) {
	const why = "from the same address somebody else read the secret in SSM"
	for i, e := range p.events {
		if e.Verdict == Expected && slices.Contains(takers, e.Address) {
			p.events[i].Verdict, p.events[i].Why = Unknown, e.Why+"; but "+why
		}
	}
	p.others = slices.DeleteFunc(p.others, func(e Event) bool {
		suspicious := slices.Contains(takers, e.Address)
		if suspicious {
			e.Verdict, e.Why = StandsOut, "another key, and "+why
			p.events = append(p.events, e)
		}
		return suspicious
	})
}

// within makes a window end by now and begin before it ends.
func (w Window) within(now time.Time) Window {
	if w.To.IsZero() || w.To.After(now) {
		w.To = now
	}
	if w.From.IsZero() {
		w.From = now.Add(-trailKeeps)
	}
	if w.From.After(w.To) {
		w.From = w.To
	}
	return Window{From: w.From.UTC().Truncate(time.Second), To: w.To.UTC()} // CloudTrail dates by the second
}

func (w Window) holds(at time.Time) bool { return !at.Before(w.From) && !at.After(w.To) }

// collect puts the parts together: each event once, in one order whatever order
// the sources answered in.
func collect(s Subject, w Window, now time.Time, parts ...part) Findings {
	f := Findings{Secret: s.Secret, Window: w, Looked: now, Events: []Event{}, NotCovered: []Gap{}}
	seen := map[string]bool{}
	for _, p := range parts {
		for _, e := range p.events {
			id := string(e.Source) + "\x00" + e.ID
			if e.ID != "" && seen[id] {
				continue
			}
			seen[id] = true
			f.Events = append(f.Events, e.cleaned())
		}
		f.NotCovered = append(f.NotCovered, p.gaps...)
		f.Counts.OtherKeys += len(p.others)
	}
	slices.SortFunc(f.Events, Event.compare)
	for i := range f.NotCovered {
		f.NotCovered[i].Why = clean(f.NotCovered[i].Why, 300)
	}
	for _, e := range f.Events {
		f.Counts.Events++
		switch e.Verdict {
		case StandsOut:
			f.Counts.StandOut++
		case Expected:
			f.Counts.Expected++
		case Unknown:
			f.Counts.Unknown++
		}
	}
	return f
}

func (e Event) compare(o Event) int {
	return cmp.Or(e.At.Compare(o.At), cmp.Compare(e.Source, o.Source), cmp.Compare(e.ID, o.ID), cmp.Compare(e.What, o.What), cmp.Compare(e.Who, o.Who),
		cmp.Compare(e.Address, o.Address), cmp.Compare(e.Resource, o.Resource), cmp.Compare(e.Why, o.Why), cmp.Compare(e.Agent, o.Agent))
}

// cleaned takes everything out of the texts that could make them read as
// something else.
func (e Event) cleaned() Event {
	for _, text := range []*string{&e.What, &e.Who, &e.Address, &e.Resource, &e.Why, &e.Agent, &e.ID} {
		*text = clean(*text, longest)
	}
	e.At = e.At.UTC()
	return e
}

// looker asks on behalf of one subject.
type looker struct {
	*Gatherer
	subject Subject
	window  Window
	now     time.Time
}

// kept is the window as far as a source keeps it, and the gaps of age and of
// late delivery.
func (l looker) kept(source Source, keeps, late time.Duration, why, lateWhy string) (Window, []Gap) {
	w := l.window
	var gaps []Gap
	if oldest := l.now.Add(-keeps); w.From.Before(oldest) {
		gaps = append(gaps, Gap{Source: source, From: w.From, Until: earlier(oldest, w.To), Why: why})
		w.From = earlier(oldest, w.To)
	}
	if fresh := l.now.Add(-late); w.To.After(fresh) {
		gaps = append(gaps, Gap{Source: source, From: later(fresh, w.From), Until: w.To, Why: lateWhy})
	}
	return w, gaps
}

func (l looker) whole(source Source, why string) Gap {
	return Gap{Source: source, From: l.window.From, Until: l.window.To, Why: why}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
