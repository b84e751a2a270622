package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/slack"
)

// emergency is a leak: the compromised key has to die, and the service to come back.
func emergency() story {
	return story{
		name: "emergency", command: "/emergency-disable sharepoint prod it stood in a public repository", confirm: bot.ActionConfirmTyped,
		kinds: []operation.Kind{runbook.KindEmergency}, set: steal, ends: []operation.State{operation.Succeeded},
	}
}

// frozenEmergency is one in which the application is frozen and thawed meanwhile, by
// two people each.
func frozenEmergency() story {
	s := emergency()
	s.name, s.kinds, s.more = "emergency with a freeze", append(s.kinds, runbook.KindFreeze, runbook.KindThaw), freezeAndThaw
	return s
}

func freezeAndThaw(w *world) error {
	if err := w.ask("alice", bot.ActionFreeze, 1); err != nil {
		return err
	}
	if err := w.confirm("bob", bot.ActionConfirm, 2); err != nil {
		return err
	}
	if err := w.until(w.ctx, patience, "the freeze to be done", func() bool { return w.ended(2) }); err != nil {
		return err
	}
	if err := w.ask("bob", bot.ActionThaw, 2); err != nil {
		return err
	}
	return w.confirm("carol", bot.ActionConfirm, 3)
}

// ask clicks a button of the n-th request's card that makes the next request.
func (w *world) ask(person, action string, n int) error {
	if err := w.shown(action, n); err != nil {
		return err
	}
	_, err := w.insist(person+"'s request", func() (slack.Result, error) {
		card, err := w.card(action, n)
		if err != nil {
			return slack.Result{}, err
		}
		return w.box.Slack.Click(person, channel, card, action)
	}, func() bool { return len(w.requests()) > n })
	return err
}

// confirm turns the second key of the n-th request.
func (w *world) confirm(person, action string, n int) error {
	if err := w.shown(action, n); err != nil {
		return err
	}
	_, err := w.turn(person, action, n)
	return err
}

func (w *world) shown(action string, n int) error {
	return w.until(w.ctx, patience, "the button "+action, func() bool { _, err := w.card(action, n); return err == nil })
}

// turn clicks, and types the secret's name where that is wanted.
func (w *world) turn(person, action string, n int) (clicks int, err error) {
	confirmed := func() bool {
		all := w.requests()
		return len(all) >= n && all[n-1].Approver != ""
	}
	return w.insist(person+"'s click", func() (slack.Result, error) {
		card, err := w.card(action, n)
		if err != nil {
			return slack.Result{}, err
		}
		if action != bot.ActionConfirmTyped {
			return w.box.Slack.Click(person, channel, card, action)
		}
		if !w.hasForm(person) {
			if result, err := w.box.Slack.Click(person, channel, card, action); err != nil || result.Error != "" {
				return result, err
			}
			if w.until(w.ctx, formTime, "the form", func() bool { return w.hasForm(person) }) != nil {
				return slack.Result{Error: "no form came"}, nil // whoever was to open it died
			}
		}
		return w.box.Slack.Submit(person, "", map[string]any{bot.InputTyped: secret})
	}, confirmed)
}

// formTime is how long a form may take: what opens it is worth three seconds.
const formTime = 8 * time.Second

func (w *world) hasForm(person string) bool {
	screen, err := w.box.Slack.Views(person)
	return err == nil && len(screen.Modals) > 0
}

func (w *world) ended(n int) bool {
	all := w.requests()
	return len(all) >= n && !all[n-1].State.Open()
}

// thief has a copy of the secret, and asks again and again whether it still works.
type thief struct {
	text string

	mu    sync.Mutex
	alive time.Time // when it last worked
	dead  bool      // it was refused
}

// steal takes a copy of the secret that is in use.
func steal(w *world) {
	s, _ := w.box.Team.Secret(secret)
	w.thief = &thief{}
	for _, p := range w.passwords(s.ClientID) {
		if w.box.Entra.Admits(s.ClientID, p.Secret) == nil {
			w.thief.text = p.Secret
		}
	}
	stop := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				w.thief.note(w.box.Entra.Admits(s.ClientID, w.thief.text) == nil, w.box.Clock.Now())
			}
		}
	})
	w.cleanUp(func() { close(stop); ended.Wait() })
}

func (t *thief) note(works bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if works {
		t.alive = now
	} else {
		t.dead = true
	}
}

// passwords are an application's, those that were removed too.
func (w *world) passwords(client string) []entra.Password {
	state, ok := w.box.Entra.State().(entra.State)
	if !ok {
		return nil
	}
	for _, app := range state.Applications {
		if app.Client == client {
			return app.Passwords
		}
	}
	return nil
}

// containment judges whether the stolen copy died, and stayed dead.
func (j *judge) containment() {
	t := j.w.thief
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, _ := j.w.box.Team.Secret(secret)
	keys := j.w.passwords(s.ClientID)
	i := slices.IndexFunc(keys, func(p entra.Password) bool { return p.Secret == t.text })
	switch {
	case t.text == "" || t.alive.IsZero():
		j.breach(contained, "nothing was stolen, so nothing is proven")
	case i < 0 || keys[i].Removed.IsZero() || !t.dead:
		j.breach(contained, "the compromised key is still alive")
	case t.alive.After(keys[i].Removed.Add(50 * time.Millisecond)): // it was asked before, and noted after
		j.breach(contained, "the stolen copy works at %s, the key was removed at %s", t.alive, keys[i].Removed)
	}
	for _, e := range j.entries {
		if e.Step != runbook.StepRefused || e.Outcome != operation.Verified {
			continue
		}
		// The record's instants are the bot's, whose clock may be wrong; a message's is Slack's.
		if j.w.story.clock == ordinary && t.alive.After(e.At) {
			j.breach(contained, "the stolen copy works at %s, and was proven to be refused at %s", t.alive, e.At)
		}
		for _, m := range j.messages {
			if k, _ := key(m); k == fmt.Sprintf("entry:%s:%d", e.Operation, e.Sequence) && t.alive.After(instantOf(m.TS)) {
				j.breach(contained, "the stolen copy works at %s, and at %s people were told that it is refused", t.alive, instantOf(m.TS))
			}
		}
	}
}
