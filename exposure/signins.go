package exposure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/twokey/twokey/runbook"
)

// signIns reads who got tokens as the application. It begins before the window,
// to learn which addresses are no news.
func (l looker) signIns(ctx context.Context) part {
	if l.SignIns == nil {
		return part{gaps: []Gap{l.whole(EntraUse, "it is not configured")}}
	}
	w, gaps := l.kept(EntraUse, entraKeeps, entraLate, "Entra keeps sign-ins for 30 days", "sign-ins reach Entra's log some minutes late")
	before := Window{From: later(w.From.Add(-baseline), l.now.Add(-entraKeeps)), To: w.To}
	p := part{gaps: gaps}
	found, err := l.SignIns.SignIns(ctx, l.subject.Application.Client, before)
	p.licensed, p.unpaid = err == nil, errors.Is(err, ErrNoLicence)
	var cut *Truncated
	switch {
	case errors.As(err, &cut):
		p.licensed = true
		if cut.Since.After(w.From) {
			p.gaps = append(p.gaps, Gap{Source: EntraUse, From: w.From, Until: cut.Since, Why: err.Error()})
		}
	case err != nil:
		p.gaps = []Gap{l.whole(EntraUse, reason(ctx, err))}
	}
	known, gap := l.places(ctx, found)
	p.gaps = append(p.gaps, gap...)
	return l.judgeSignIns(p, found, known)
}

// places are the addresses of which it is known whose they are.
type places struct {
	service map[string]string // address → how it is known
	bot     map[string]bool
	stayed  map[string]bool // addresses that went on after the removal
	fixed   []netip.Prefix
}

// places learns addresses: the service's from what it used before the window
// and from the key that only the service was given after the removal; the bot's
// from its own sign-ins.
func (l looker) places(ctx context.Context, found []SignIn) (places, []Gap) {
	k := places{service: map[string]string{}, bot: map[string]bool{}, stayed: map[string]bool{}, fixed: l.subject.Addresses}
	for _, e := range found {
		switch {
		case e.Code != 0:
			if !l.subject.Removed.IsZero() && e.At.After(l.subject.Removed) {
				k.stayed[e.Address] = true
			}
		case e.Federated:
		case e.At.Before(l.window.From):
			k.service[e.Address] = "an address that was in use before"
		case l.successor(e.Key):
			k.service[e.Address] = cmp.Or(k.service[e.Address], "the address that uses the new secret")
		}
	}
	if l.subject.BotClient == "" || len(found) == 0 {
		return k, nil
	}
	mine, err := l.SignIns.SignIns(ctx, l.subject.BotClient, l.window)
	for _, e := range mine {
		if e.Code == 0 {
			k.bot[e.Address] = true
		}
	}
	if err != nil {
		return k, []Gap{l.whole(EntraUse, "my own sign-ins, by which I would know my own addresses, were not read: "+reason(ctx, err))}
	}
	return k, nil
}

// ours reports whether a key was made by an operation that the record has.
func (l looker) ours(id runbook.KeyID) bool {
	k, ok := l.subject.key(id)
	if ok {
		_, ok = l.subject.marked(k.Name)
	}
	return ok
}

// successor reports whether a key took the place of the exposed ones.
func (l looker) successor(id runbook.KeyID) bool {
	k, ok := l.subject.key(id)
	return ok && l.ours(id) && !l.subject.exposed(id) && !l.subject.Removed.IsZero() && !k.Start.Before(l.subject.Removed.Add(-clocks))
}

// older reports whether a key stood on the application before the window.
func (l looker) older(id runbook.KeyID) bool {
	k, ok := l.subject.key(id)
	return ok && k.Start.Before(l.window.From)
}

func (k places) ofService(address string) (string, bool) {
	if how, ok := k.service[address]; ok {
		return how, true
	}
	a, err := netip.ParseAddr(address)
	for _, p := range k.fixed {
		if err == nil && p.Contains(a.Unmap()) {
			return "a configured address", true
		}
	}
	return "", false
}

func (l looker) judgeSignIns(p part, found []SignIn, known places) part {
	for _, e := range found {
		if !l.window.holds(e.At) {
			continue
		}
		other := e.Key != "" && len(l.subject.Keys) > 0 && !l.subject.exposed(e.Key) && !e.Federated
		if event := l.judgeSignIn(e, other, known); other && e.Code == 0 && (l.ours(e.Key) || l.older(e.Key)) {
			p.others = append(p.others, event)
		} else {
			p.events = append(p.events, event)
		}
	}
	return p
}

func (l looker) judgeSignIn(s SignIn, other bool, known places) Event {
	e := Event{At: s.At, Source: EntraUse, Address: s.Address, Resource: s.Resource, Agent: s.Agent, ID: s.ID, What: "token granted", Who: "key " + string(s.Key)}
	if s.Code != 0 {
		e.What = fmt.Sprintf("token refused (AADSTS%d)", s.Code)
	}
	switch {
	case s.Federated:
		e.Who = "a federated credential, " + string(s.Key)
	case s.Key == "":
		e.Who = "a secret that fits no key"
	}
	e.Verdict, e.Why = l.weigh(s, other, known)
	return e
}

// weigh judges by what signed in and from where.
func (l looker) weigh(s SignIn, other bool, known places) (Verdict, string) {
	how, service := known.ofService(s.Address)
	_, working := l.subject.reading(s.At)
	_, listed := l.subject.key(s.Key)
	after := !l.subject.Removed.IsZero() && s.At.After(l.subject.Removed)
	switch {
	case s.Federated:
		return StandsOut, "it signed in without any secret, by a federated credential"
	case other && s.Code == 0 && listed && (l.ours(s.Key) || l.older(s.Key)):
		return Unknown, "another key, which the record or the time before the window explains"
	case other && s.Code == 0 && listed:
		return StandsOut, "no operation explains this key"
	case other && s.Code == 0 && !service:
		return StandsOut, "another key, which the application does not have any more, from an address that is not known as the service's"
	case other && s.Code == 0:
		return Unknown, "another key, which the application does not have any more"
	case service && s.Code != 0 && after:
		return Expected, "the removed secret was refused, at " + how + ": tasks hold it until they are started anew"
	case service && s.Code != 0:
		return Unknown, "refused at " + how
	case service:
		return Expected, how
	case known.bot[s.Address] && working:
		return Expected, "my own proof, in an operation"
	case known.bot[s.Address]:
		return Unknown, "from my own address, and no operation was under way"
	default:
		return strange(s, after, known)
	}
}

// strange judges what came from an address that nobody is known to use.
func strange(s SignIn, after bool, known places) (Verdict, string) {
	switch {
	case s.Code != 0 && after:
		return StandsOut, "it goes on after the removal, from an address that is not known as the service's"
	case s.Code != 0:
		return StandsOut, "refused, from an address that is not known as the service's"
	case known.stayed[s.Address]:
		return StandsOut, "the same address goes on after the removal, and is not known as the service's"
	case len(known.service)+len(known.fixed) > 0:
		return StandsOut, "the address appears first in this window"
	default:
		return Unknown, "there is nothing earlier to tell the service's addresses by"
	}
}
