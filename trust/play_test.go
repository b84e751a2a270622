package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

const (
	channel = "#platform-ops"
	secret  = "sharepoint/prod"
)

// story is what happens in a play, and how it has to end.
type story struct {
	name    string
	command string                        // alice's
	confirm string                        // the button by which bob turns the second key
	kinds   []operation.Kind              // of the operations, in the order in which they are asked for
	set     func(*world)                  // what is wrong in the world from the start
	clock   clockwork                     // that can be moved
	config  func(config string) string    // changes the bot's configuration; nil: as it is
	first   func(*world, *deeds) error    // before alice asks; nil: nothing
	judge   func(context.Context, *judge) // of what the play has in addition; nil: nothing
	rooms   []string                      // channels that the bot tells things in, besides
	lapses  []string                      // secrets that end in the play, so that their services stop working
	more    func(*world) error
	ends    []operation.State // of the first operation; the others succeed
}

// rotation goes through.
func rotation() story {
	return story{
		name: "rotate", command: "/rotate sharepoint prod CHG0012345 yearly rotation", confirm: bot.ActionConfirm,
		kinds: []operation.Kind{runbook.KindRotate}, set: func(*world) {}, ends: []operation.State{operation.Succeeded},
	}
}

// takenBack is a rotation that fails when the live parameter is written already,
// so that everything has to be undone.
func takenBack() story {
	s := rotation()
	s.name, s.ends = "take back", []operation.State{operation.TakenBack}
	s.set = func(w *world) {
		w.box.Conditions.Add(conditions.Fault{Operation: "ssm.LabelParameterVersion", Kind: conditions.Refuse, Status: 400, Code: "AccessDeniedException"})
	}
	return s
}

// orTakenBack is a story that may be taken back, since somebody refused what it needs.
func orTakenBack(s story) story {
	s.ends = append(slices.Clone(s.ends), operation.TakenBack)
	return s
}

// orRetried is a story in which two approvers have what was refused tried again, when
// there is no way back.
func orRetried(s story) story {
	s.more = func(w *world) error {
		if err := w.until(w.ctx, patience, "the end, or a question", w.over); err != nil {
			return err
		}
		parked := func() bool { all := w.requests(); return len(all) > 0 && all[0].State == operation.Parked }
		if !parked() {
			return nil
		}
		if err := w.pressRetry("bob", "Retry", func() bool { return w.labelled("Confirm retry") != "" }); err != nil {
			return err
		}
		return w.pressRetry("carol", "Confirm retry", func() bool { return !parked() })
	}
	return s
}

// pressRetry clicks the button of a card that reads so, once it is there, until it is done.
func (w *world) pressRetry(person, label string, done func() bool) error {
	if err := w.until(w.ctx, patience, "the button "+label, func() bool { return w.labelled(label) != "" }); err != nil {
		return err
	}
	_, err := w.insist(person+"'s click", func() (slack.Result, error) {
		card := w.labelled(label)
		if card == "" {
			return slack.Result{}, slack.ErrNotShown
		}
		return w.box.Slack.Click(person, channel, card, bot.ActionRetry)
	}, done)
	if err != nil {
		return err
	}
	return w.until(w.ctx, patience, person+"'s click to count", done)
}

// labelled is the card that has a button which reads so; empty: none has.
func (w *world) labelled(label string) string {
	messages, err := w.box.Slack.Messages(channel, "")
	if err != nil {
		return ""
	}
	for _, m := range messages {
		if slices.ContainsFunc(m.Actions, func(a slack.Action) bool { return a.Text == label }) {
			return m.TS
		}
	}
	return ""
}

// deeds are what the people did, as they experienced it.
type deeds struct {
	commands, clicks int // how often it took until Slack took it
}

// play has alice ask and bob confirm, and waits until everything is told.
func (w *world) play() (deeds, error) {
	var d deeds
	var err error
	if w.story.first != nil {
		if err := w.story.first(w, &d); err != nil {
			return d, err
		}
	}
	asked := func() bool { _, err := w.card(w.story.confirm, 1); return err == nil }
	d.commands, err = w.insist("alice's command", func() (slack.Result, error) { return w.box.Slack.Command("alice", channel, w.story.command) }, asked)
	if err != nil {
		return d, err
	}
	clicks, err := w.turn("bob", w.story.confirm, 1)
	if d.clicks = max(d.clicks, clicks); err != nil {
		return d, err
	}
	if w.story.more != nil {
		if err := w.story.more(w); err != nil {
			return d, err
		}
	}
	if err := w.until(w.ctx, patience, "the end", w.over); err != nil {
		return d, err
	}
	if err := w.settled(); err != nil {
		return d, err
	}
	err = w.until(w.ctx, patience, "everything to be told and handled", func() bool {
		rest, err := w.watch.rest(w.ctx)
		return err == nil && rest == 0
	})
	// Who woke last may have something to withdraw. If it does not, that is judged.
	_ = w.until(w.ctx, wakeTime, "doubles to be withdrawn", func() bool { return !w.doubled() })
	return d, err
}

// wakeTime is how long a replica that woke may take to clean up after itself.
const wakeTime = 10 * time.Second

// doubled reports whether anything is told twice.
func (w *world) doubled() bool {
	messages, err := w.messages()
	if err != nil {
		return true
	}
	seen := map[string]bool{}
	for _, m := range messages {
		k, kind := key(m)
		if kind == string(operation.NoticeCard) || kind == string(operation.NoticeStatus) {
			k = kind + about(m) // of which there is one, whichever notice posted it
		}
		if k != "" && seen[k] {
			return true
		}
		seen[k] = true
	}
	return false
}

// messages are all that the bot posted for everybody, each with its replies behind
// it: in the channel, and in the rooms of emergencies.
func (w *world) messages() ([]slack.Message, error) {
	channels := append([]string{channel}, w.story.rooms...)
	for _, r := range w.requests() {
		if r.Room != "" {
			channels = append(channels, r.Room)
		}
	}
	var out []slack.Message
	for _, c := range channels {
		messages, err := w.box.Slack.Messages(c, "")
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			out = append(append(out, m), m.Replies...)
		}
	}
	return out, nil
}

// insist does what a person does: again when Slack says that it did not work.
func (w *world) insist(what string, do func() (slack.Result, error), done func() bool) (tries int, err error) {
	for deadline := time.Now().Add(patience + w.away); time.Now().Before(deadline); {
		result, err := do()
		if errors.Is(err, slack.ErrNotShown) && done() {
			return tries, nil // the button is gone, because the click before counted
		}
		if err != nil {
			return tries, fmt.Errorf("%s: %w", what, err)
		}
		wait := patience
		switch result.Error {
		case "":
		case "dispatch_failed":
			wait = time.Second // it never left Slack
		default:
			wait = 8 * time.Second // Slack may deliver it again
		}
		if result.Error != "dispatch_failed" {
			tries++
		}
		if w.seed%3 == 2 && result.EnvelopeID != "" {
			_ = w.box.Slack.Redeliver(result.EnvelopeID) // once more, if anybody is connected
		}
		if w.until(w.ctx, wait, what, done) == nil {
			return tries, nil
		}
		if result.Error == "" {
			return tries, fmt.Errorf("%s was acknowledged and had no effect within %s", what, patience)
		}
	}
	return tries, fmt.Errorf("%s: Slack did not take it within %s", what, patience)
}

// card finds the card of the n-th request, if it has that button.
func (w *world) card(action string, n int) (string, error) {
	messages, err := w.box.Slack.Messages(channel, "")
	if err != nil {
		return "", err
	}
	if all := w.requests(); len(all) >= n {
		for _, m := range messages {
			if slices.ContainsFunc(m.Actions, func(a slack.Action) bool {
				return a.ActionID == action && strings.Contains(fmt.Sprint(a.Value), all[n-1].ID)
			}) {
				return m.TS, nil
			}
		}
	}
	return "", slack.ErrNotShown
}

func (w *world) requests() []request {
	all, err := w.watch.requests(w.ctx)
	if err != nil {
		return nil
	}
	return all
}

func (w *world) over() bool {
	all := w.requests()
	return len(all) >= len(w.story.kinds) && !slices.ContainsFunc(all, func(r request) bool { return r.State.Open() && r.State != operation.Parked })
}

// read is what a person reads in the channel that nobody else does.
func (w *world) read(person string) (string, error) {
	messages, err := w.box.Slack.Ephemerals(channel, person)
	var all []string
	for _, m := range messages {
		all = append(all, m.Text)
	}
	return strings.Join(all, "\n"), err
}
