// Package handlers does what each command, button and form of the chat is for,
// one file each. This file is the table of contents.
package handlers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Chat answers the person who did something.
type Chat interface {
	Whisper(ctx context.Context, in bot.Intent, text string) error
	OpenModal(ctx context.Context, trigger string, m bot.Modal) error
	Publish(ctx context.Context, in bot.Intent, title, found string, d operation.Document) error
}

// Slack is all that the handlers need of the chat.
type Slack interface {
	Chat
	Desk
	Wall
}

// Auditor looks into the audit logs about a secret; a zero since is when the key
// in use was made.
type Auditor interface {
	LookInto(ctx context.Context, target runbook.Target, since, now time.Time) (runbook.Findings, error)
}

// Messages knows what the bot told people.
type Messages interface {
	// SecretOf returns the secret that a message, or the thread it is in, is about;
	// operation.ErrUnknown when it is about none.
	SecretOf(ctx context.Context, channel operation.ChannelID, message, thread operation.MessageID) (operation.SecretName, error)
}

// Handlers answers to what people do.
type Handlers struct {
	chat      Slack
	told      Messages
	rules     *operation.Rules
	audits    Auditor
	reports   runbook.Reporter
	care      *operation.Care
	shelf     Shelf
	leftovers operation.Leftovers
	targets   []runbook.Target // in the configuration's order
	log       *slog.Logger
	table     map[route]handler
}

// route is what a person used; handler is what it is for.
type (
	route struct {
		kind bot.IntentKind
		name string
	}
	handler func(ctx context.Context, in bot.Intent) error
)

// New returns the handlers of everything that people can use.
func New(chat Slack, told Messages, rules *operation.Rules, audits Auditor, reports runbook.Reporter, care *operation.Care, shelf Shelf, leftovers operation.Leftovers, targets []runbook.Target, log *slog.Logger) *Handlers {
	h := &Handlers{chat: chat, told: told, rules: rules, audits: audits, reports: reports, care: care, shelf: shelf, leftovers: leftovers, targets: targets, log: log}
	h.table = map[route]handler{
		{bot.IntentCommand, "/rotate"}:             h.rotateCommand,
		{bot.IntentSubmission, bot.CallbackRotate}: h.rotateForm,
		{bot.IntentAction, bot.ActionConfirm}:      h.decide(operation.Confirm),
		{bot.IntentAction, bot.ActionCancel}:       h.decide(operation.Cancel),
		{bot.IntentAction, bot.ActionDeny}:         h.askWhyDenied,
		{bot.IntentSubmission, bot.CallbackDeny}:   h.denyForm,
		{bot.IntentAction, bot.ActionRetry}:        h.decide(operation.Retry),
		{bot.IntentAction, bot.ActionUndo}:         h.decide(operation.Undo),
		{bot.IntentAction, bot.ActionHandOver}:     h.decide(operation.HandOver),

		{bot.IntentCommand, "/emergency-disable"}:     h.emergencyCommand,
		{bot.IntentAction, bot.ActionEmergency}:       h.emergencyButton,
		{bot.IntentShortcut, bot.ShortcutEmergency}:   h.emergencyShortcut,
		{bot.IntentSubmission, bot.CallbackEmergency}: h.emergencyForm,
		{bot.IntentAction, bot.ActionConfirmTyped}:    h.confirmTyped,
		{bot.IntentSubmission, bot.CallbackTyped}:     h.typedForm,
		{bot.IntentAction, bot.ActionFreeze}:          h.freezeButton(runbook.KindFreeze),
		{bot.IntentAction, bot.ActionThaw}:            h.freezeButton(runbook.KindThaw),

		{bot.IntentCommand, "/check-audit-logs"}: h.auditCommand,

		{bot.IntentAction, bot.ActionRemindRotate}:    h.remindRotate,
		{bot.IntentAction, bot.ActionRemindEmergency}: h.remindEmergency,
		{bot.IntentAction, bot.ActionTake}:            h.takeReminder,
		{bot.IntentAction, bot.ActionSnooze}:          h.askSnooze,
		{bot.IntentSubmission, bot.CallbackSnooze}:    h.snoozeForm,

		{bot.IntentCommand, "/secrets"}:               h.secretsCommand,
		{bot.IntentAction, bot.ActionSecretsOpen}:     h.secretsButton,
		{bot.IntentAction, bot.ActionSecretsBack}:     h.secretsButton,
		{bot.IntentAction, bot.ActionSecretsPrevious}: h.secretsButton,
		{bot.IntentAction, bot.ActionSecretsNext}:     h.secretsButton,
		{bot.IntentAction, bot.ActionSecretsFindings}: h.secretsButton,
		{bot.IntentAction, bot.ActionSecretsAgain}:    h.secretsButton,
		{bot.IntentAction, bot.ActionSecretsShare}:    h.shareSecrets,
		{bot.IntentAction, bot.ActionSecretsExport}:   h.exportButton,
		{bot.IntentAction, bot.ActionSecretRotate}:    h.secretRotate,
		{bot.IntentAction, bot.ActionSecretEmergency}: h.secretEmergency,
		{bot.IntentAction, bot.ActionSecretTake}:      h.secretTake,
		{bot.IntentAction, bot.ActionSecretSnooze}:    h.secretSnooze,
		{bot.IntentHome, ""}:                          h.openHome,
		{bot.IntentAction, bot.ActionHomeRefresh}:     h.refreshHome,

		{bot.IntentAction, bot.ActionRemove}: h.removeLeftover,
	}
	return h
}

// Commands lists the slash commands that are answered, for the manifest's test.
func (h *Handlers) Commands() []string { return h.named(bot.IntentCommand) }

// Shortcuts lists the callback ids of the shortcuts that are answered, for the same.
func (h *Handlers) Shortcuts() []string { return h.named(bot.IntentShortcut) }

func (h *Handlers) named(kind bot.IntentKind) []string {
	var out []string
	for r := range h.table {
		if r.kind == kind {
			out = append(out, r.name)
		}
	}
	return out
}

// Handle does what one intent is for, and is the one place where errors become
// words: a refusal is told as it is, anything else gets a reference that the log
// has too. It returns an error only when the same intent should be handled again.
func (h *Handlers) Handle(ctx context.Context, in bot.Intent) error {
	name := nameOf(in)
	handle, ok := h.table[route{in.Kind, name}]
	if !ok {
		h.log.InfoContext(ctx, "nothing to do for this intent", "kind", in.Kind, "name", name)
		return nil
	}
	err := h.persist(ctx, in, handle)
	if err == nil {
		return nil
	}
	if away, ok := errors.AsType[*operation.Unavailable](err); ok {
		return fmt.Errorf("put off: %w", away) // whoever is next does it
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		// The bot is being stopped: nothing was judged and nobody could be told.
		return fmt.Errorf("stopped while handling: %w", err)
	}
	text := "Something went wrong, and I don't know more here. Ref "
	var refusal *operation.Refusal
	if errors.As(err, &refusal) {
		text = refusal.Text
		h.log.InfoContext(ctx, "refused", "code", refusal.Code, "user", in.User, "cause", errors.Unwrap(refusal))
	} else {
		ref := rand.Text()[:6]
		text += ref + ": whoever runs me finds the cause in the log."
		h.log.ErrorContext(ctx, "handling failed", "ref", ref, "kind", in.Kind, "name", name, "user", in.User, "error", err)
	}
	return h.tell(ctx, in, text)
}

// lookAgain is how long a database that cannot be used is left alone.
const lookAgain = 2 * time.Second

// persist handles an intent again for as long as the database cannot be used. What was
// done of it is not done twice: it is known by its envelope. The person is told, once,
// if that takes longer than a hiccup.
func (h *Handlers) persist(ctx context.Context, in bot.Intent, handle handler) error {
	for tries := 1; ; tries++ {
		err := handle(ctx, in)
		away, ok := errors.AsType[*operation.Unavailable](err)
		if !ok {
			return err
		}
		if tries == 2 {
			_ = h.tell(ctx, in, away.Why+". What you did is kept, and I go on with it as soon as I can: you need not do it again.")
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lookAgain):
		}
	}
}

// GiveUp tells the person that what they did could not be done, though it was tried again
// and again.
func (h *Handlers) GiveUp(ctx context.Context, in bot.Intent) error {
	return h.tell(ctx, in, fmt.Sprintf("I tried again and again, and could not finish with what you did (%s). Look at what came of it, if anything, before you do it once more; whoever runs me finds the cause in the log by %s.", nameOf(in), in.Envelope))
}

// tell says something to the person who did something. It returns no error: what
// was done is done, whether or not they hear of it, and is not done again.
func (h *Handlers) tell(ctx context.Context, in bot.Intent, text string) error {
	if err := h.chat.Whisper(ctx, in, text); err != nil {
		h.log.ErrorContext(ctx, "a person could not be told", "user", in.User, "error", err)
	}
	return nil
}

// nameOf is what the person used: a command, a button or a form.
func nameOf(in bot.Intent) string {
	switch in.Kind {
	case bot.IntentCommand:
		return in.Command
	case bot.IntentAction:
		return in.Action
	case bot.IntentSubmission, bot.IntentClosed, bot.IntentShortcut, bot.IntentHome:
		return in.Callback
	}
	return ""
}
