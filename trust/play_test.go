package trust

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

const (
	channel = "#platform-ops"
	secret  = "sharepoint/prod"
	command = "/rotate sharepoint prod CHG0012345 yearly rotation"
)

// story is what happens in a play, and how it has to end.
type story struct {
	name string
	set  func(*world) // what is wrong in the world from the start
	ends []operation.State
}

// rotation goes through.
func rotation() story {
	return story{name: "rotate", set: func(*world) {}, ends: []operation.State{operation.Succeeded}}
}

// takenBack is a rotation that fails when the live parameter is written already,
// so that everything has to be undone.
func takenBack() story {
	return story{name: "take back", ends: []operation.State{operation.TakenBack}, set: func(w *world) {
		w.box.Conditions.Add(conditions.Fault{Operation: "ssm.LabelParameterVersion", Kind: conditions.Refuse, Status: 400, Code: "AccessDeniedException"})
	}}
}

// deeds are what the people did, as they experienced it.
type deeds struct {
	commands, clicks int // how often it took until Slack took it
	card             string
}

// play has alice ask and bob confirm, and waits until everything is told.
func (w *world) play() (deeds, error) {
	var d deeds
	var err error
	d.commands, err = w.insist("alice's command", func() (slack.Result, error) { return w.box.Slack.Command("alice", channel, command) },
		func() bool { _, err := w.card(); return err == nil })
	if err != nil {
		return d, err
	}
	if d.card, err = w.card(); err != nil {
		return d, err
	}
	d.clicks, err = w.insist("bob's click", func() (slack.Result, error) { return w.box.Slack.Click("bob", channel, d.card, bot.ActionConfirm) }, w.confirmed)
	if err != nil {
		return d, err
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

// doubled reports whether the channel tells something twice.
func (w *world) doubled() bool {
	messages, err := w.box.Slack.Messages(channel, "")
	if err != nil {
		return true
	}
	seen := map[string]bool{}
	for _, m := range messages {
		for _, m := range append([]slack.Message{m}, m.Replies...) {
			k, kind := key(m)
			if kind == string(operation.NoticeCard) {
				k = kind // of which there is one, whichever notice posted it
			}
			if k != "" && seen[k] {
				return true
			}
			seen[k] = true
		}
	}
	return false
}

// insist does what a person does: again when Slack says that it did not work.
func (w *world) insist(what string, do func() (slack.Result, error), done func() bool) (tries int, err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
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

// card finds the message that can be confirmed.
func (w *world) card() (string, error) {
	messages, err := w.box.Slack.Messages(channel, "")
	if err != nil {
		return "", err
	}
	for _, m := range messages {
		for _, a := range m.Actions {
			if a.ActionID == bot.ActionConfirm {
				return m.TS, nil
			}
		}
	}
	return "", errNoCard
}

func (w *world) confirmed() bool {
	_, approver, err := w.watch.stateOf(w.ctx)
	return err == nil && approver != ""
}

func (w *world) over() bool {
	state, _, err := w.watch.stateOf(w.ctx)
	return err == nil && (!operation.State(state).Open() || state == string(operation.Parked))
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
