package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

const codeSince operation.Code = "since"

// drillForm marks the form of a drill. Whoever forges it asks for a drill, which
// only a canary takes.
const drillForm = "drill"

const emergencyHelp = "*`/emergency-disable [server] [environment] reason…`* kills a leaked secret: as soon as a second person has confirmed, its key is removed from Entra; then a new one is put in place.\n" +
	"• The approvers are paged at once. Whoever confirms types the secret's name. No change reference is asked for.\n" +
	"• Without arguments a form opens, in which you can also say which key leaked, and since when.\n" +
	"• `/emergency-disable drill [server] [environment] reason…` rehearses it with a canary.\n" +
	"• `/emergency-disable report <operation>` writes the report of an incident again.\n" +
	"• `/emergency-disable link <operation> <change reference>` ties it to a change that was made afterwards.\n" +
	"• Example: `/emergency-disable sharepoint prod the secret is in a public repository`\n" +
	"• I look after: %s."

// emergencyCommand answers /emergency-disable.
func (h *Handlers) emergencyCommand(ctx context.Context, in bot.Intent) error {
	words := strings.Fields(in.Text)
	if len(words) > 0 {
		switch strings.ToLower(words[0]) {
		case "help":
			return h.tell(ctx, in, fmt.Sprintf(emergencyHelp, h.everything()))
		case "report":
			return h.report(ctx, in, words[1:])
		case "link":
			return h.link(ctx, in, words[1:])
		case "drill":
			return h.emergencyWords(ctx, in, words[1:], true)
		}
	}
	return h.emergencyWords(ctx, in, words, false)
}

func (h *Handlers) emergencyWords(ctx context.Context, in bot.Intent, words []string, drill bool) error {
	w, rest, err := h.names(words)
	if err != nil {
		return err
	}
	w.reason = strings.Join(rest, " ")
	target, found := h.target(w.server, w.environment)
	if !found || w.reason == "" {
		return h.openEmergencyForm(ctx, in, w, drill)
	}
	return h.askForEmergency(ctx, in, target, w, emergencyOptions(drill, "", time.Time{}), in.Channel)
}

// emergencyButton opens the form from a card, with its secret filled in.
func (h *Handlers) emergencyButton(ctx context.Context, in bot.Intent) error {
	op, err := h.operationOf(ctx, in.Value)
	if err != nil {
		return err
	}
	server, environment, _ := strings.Cut(string(op.Secret), "/")
	return h.openEmergencyForm(ctx, in, wish{server: server, environment: environment}, false)
}

// emergencyShortcut answers the shortcut in a message's menu. In a message that is
// about no secret the form is empty. What the message says is not read: it may be
// what leaked.
func (h *Handlers) emergencyShortcut(ctx context.Context, in bot.Intent) error {
	secret, err := h.told.SecretOf(ctx, in.Channel, in.Message, in.Thread)
	if err != nil && !errors.Is(err, operation.ErrUnknown) {
		return err
	}
	server, environment, _ := strings.Cut(string(secret), "/")
	return h.openEmergencyForm(ctx, in, wish{server: server, environment: environment}, false)
}

func (h *Handlers) openEmergencyForm(ctx context.Context, in bot.Intent, w wish, drill bool) error {
	form := bot.EmergencyForm{
		Servers: h.servers(), Environments: h.environments(w.server), Server: w.server, Environment: w.environment, Reason: w.reason, Drill: drill,
	}
	if drill {
		form.Metadata = drillForm
	}
	err := h.chat.OpenModal(ctx, in.Trigger, bot.EmergencyModal(form))
	if errors.Is(err, bot.ErrTriggerExpired) {
		return operation.RefuseBecause(err, codeFormLate, "The form came too late for Slack. Please send it again, all in one line: `/emergency-disable server environment reason`.")
	}
	return err
}

// emergencyForm answers the form.
func (h *Handlers) emergencyForm(ctx context.Context, in bot.Intent) error {
	w := wish{server: in.Values[bot.InputServer], environment: in.Values[bot.InputEnvironment], reason: strings.TrimSpace(in.Values[bot.InputReason])}
	target, found := h.target(w.server, w.environment)
	if !found {
		return operation.Refuse(codeUnknownServer, "I don't look after %s in %s. I look after: %s. Nothing was changed.", w.server, w.environment, h.everything())
	}
	key := in.Values[bot.InputKey]
	if key == bot.KeyOther {
		key = strings.TrimSpace(in.Values[bot.InputKeyID])
	}
	if key == "" {
		return operation.Refuse(codeUnreadable, "Which other key? Open the form again and write its id there. Nothing was changed.")
	}
	since, err := readSince(strings.TrimSpace(in.Values[bot.InputSince]), h.rules.Now())
	if err != nil {
		return err
	}
	drill := in.Metadata == drillForm
	return h.askForEmergency(ctx, in, target, w, emergencyOptions(drill, key, since), target.Policy.Channel)
}

func emergencyOptions(drill bool, key string, since time.Time) map[operation.Option]string {
	out := map[operation.Option]string{}
	if drill {
		out[runbook.OptionDrill] = "true"
	}
	if key != "" {
		out[runbook.OptionKey] = key
	}
	if !since.IsZero() {
		out[runbook.OptionSince] = since.UTC().Format(time.RFC3339)
	}
	return out
}

// readSince reads an instant: "2026-11-24", "2026-11-24 13:05" (UTC), RFC 3339, or a
// span such as "48h" back from now.
func readSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Before(now) {
			return t, nil
		}
	}
	return time.Time{}, operation.Refuse(codeSince, "I can't read %q as a time in the past. Write 2026-11-24, 2026-11-24 13:05 (UTC), or 48h for the last two days. Nothing was changed.", text)
}

func (h *Handlers) askForEmergency(ctx context.Context, in bot.Intent, target runbook.Target, w wish, options map[operation.Option]string, channel operation.ChannelID) error {
	op, err := h.rules.Request(ctx, operation.Ask{
		Envelope: in.Envelope, Kind: runbook.KindEmergency, Secret: target.Name, User: in.User, Channel: channel,
		Reason: w.reason, Options: options, Policy: runbook.EmergencyPolicy(target),
	})
	if err != nil {
		return err
	}
	return h.tell(ctx, in, fmt.Sprintf("The approvers are being paged. The card is in <#%s>; the key is removed the moment one of them confirms there. Operation %s.", op.Channel, op.ID))
}

// confirmTyped opens the form in which an approver types the secret's name.
func (h *Handlers) confirmTyped(ctx context.Context, in bot.Intent) error {
	op, err := h.operationOf(ctx, in.Value)
	if err != nil {
		return err
	}
	// The card that was clicked, by the envelope: where it stands may not be noted yet.
	op.Channel, op.Card = in.Channel, in.Message
	err = h.chat.OpenModal(ctx, in.Trigger, bot.TypedModal(op))
	if errors.Is(err, bot.ErrTriggerExpired) {
		if op.State != operation.Pending {
			return nil // an old click, handled once more after a crash: it was decided meanwhile
		}
		return operation.RefuseBecause(err, codeFormLate, "The form came too late for Slack. Please click Confirm again.")
	}
	return err
}

// typedForm answers that form.
func (h *Handlers) typedForm(ctx context.Context, in bot.Intent) error {
	return h.decideByForm(ctx, in, operation.Confirm, in.Values[bot.InputTyped])
}

// freezeButton asks to deactivate an application, or to activate it again: a
// decision of its own, for two people of its own.
func (h *Handlers) freezeButton(kind operation.Kind) handler {
	return func(ctx context.Context, in bot.Intent) error {
		emergency, err := h.operationOf(ctx, in.Value)
		if err != nil {
			return err
		}
		server, environment, _ := strings.Cut(string(emergency.Secret), "/")
		target, found := h.target(server, environment)
		if !found {
			return unreadable()
		}
		op, err := h.rules.Request(ctx, operation.Ask{
			Envelope: in.Envelope, Kind: kind, Secret: target.Name, User: in.User, Channel: target.Policy.Channel,
			Reason: fmt.Sprintf("Asked for from the card of emergency %s.", emergency.ID), Policy: target.Policy,
		})
		if err != nil {
			return err
		}
		return h.tell(ctx, in, fmt.Sprintf("I have asked for a second person's confirmation in <#%s>. Operation %s.", op.Channel, op.ID))
	}
}

// report has the draft of an incident's report written again.
func (h *Handlers) report(ctx context.Context, in bot.Intent, words []string) error {
	if len(words) != 1 {
		return operation.Refuse(codeUnreadable, "Which incident? Write `/emergency-disable report <operation>`, with the operation's six characters.")
	}
	op, err := h.rules.Reader.Operation(ctx, operation.ID(strings.ToLower(words[0])))
	if errors.Is(err, operation.ErrUnknown) || err == nil && op.Kind != runbook.KindEmergency {
		return operation.Refuse(codeUnreadable, "There is no emergency %q. Its six characters stand on its card.", words[0])
	}
	if err != nil {
		return fmt.Errorf("read operation %s: %w", words[0], err)
	}
	if op.State.Open() && op.State != operation.Parked {
		return operation.Refuse(codeUnreadable, "Emergency %s is %s: its report is drafted at its end.", op.ID, op.State.Words())
	}
	if err := h.rules.MayLook(ctx, in.User, in.Channel, op.Secret, in.Command+" "+in.Text, op.Plan.Policy); err != nil {
		return err
	}
	report, err := h.reports.Draft(ctx, op.ID)
	if err != nil {
		return err
	}
	_, err = h.rules.Writer.Change(ctx, operation.Transition{Operation: op, From: op.State, Documents: report.Documents, Entries: []operation.Entry{{
		At: h.rules.Now(), Operation: op.ID, Secret: op.Secret, State: op.State, Outcome: operation.Noted, By: &operation.Person{User: in.User}, Text: "The report was written again.",
	}}})
	if err != nil {
		return fmt.Errorf("keep the report of %s: %w", op.ID, err)
	}
	return h.tell(ctx, in, fmt.Sprintf("The report of %s is written again, and uploaded to its thread.", op.ID))
}

// link ties an emergency to a change that was made for it afterwards.
func (h *Handlers) link(ctx context.Context, in bot.Intent, words []string) error {
	if len(words) != 2 {
		return operation.Refuse(codeUnreadable, "Which emergency, and which change? Write `/emergency-disable link <operation> <change reference>`, such as `/emergency-disable link k7m2p9 CHG0012345`.")
	}
	id := operation.ID(strings.ToLower(words[0]))
	op, err := h.rules.Reader.Operation(ctx, id)
	if err != nil && !errors.Is(err, operation.ErrUnknown) {
		return fmt.Errorf("read operation %s: %w", id, err)
	}
	pattern := ""
	for _, t := range h.targets {
		if t.Name == op.Secret {
			pattern = t.ChangeReferencePattern
		}
	}
	if op, err = h.rules.Link(ctx, in.User, in.Channel, id, words[1], pattern); err != nil {
		return err
	}
	return h.tell(ctx, in, fmt.Sprintf("Emergency %s is linked to change %s.", op.ID, op.ChangeReference))
}
