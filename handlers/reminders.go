package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
)

// attention reads whose click it is, and on which reminder's card.
func attention(in bot.Intent) (operation.Attention, error) {
	ref, ok := bot.ParseReminderRef(in.Value)
	if !ok {
		return operation.Attention{}, unreadable()
	}
	return operation.Attention{Reminder: ref.Reminder, User: in.User, Channel: in.Channel, Message: in.Message}, nil
}

// takeReminder answers "I take it".
func (h *Handlers) takeReminder(ctx context.Context, in bot.Intent) error {
	a, err := attention(in)
	if err != nil {
		return err
	}
	return h.care.Take(ctx, a)
}

// reminderOf finds the reminder that was clicked on, if its card is that.
func (h *Handlers) reminderOf(ctx context.Context, in bot.Intent) (operation.Reminder, error) {
	a, err := attention(in)
	if err != nil {
		return operation.Reminder{}, err
	}
	return h.care.Find(ctx, a)
}

// askSnooze opens the form for a snooze.
func (h *Handlers) askSnooze(ctx context.Context, in bot.Intent) error {
	r, err := h.reminderOf(ctx, in)
	if err != nil {
		return err
	}
	now := h.rules.Now()
	if !now.Before(r.Matter.SnoozeEnd()) {
		return operation.Refuse(operation.CodeSnoozeTooLate, "%s expires within a day or has expired, so it can't be snoozed. Rotate it.", r.Name)
	}
	err = h.chat.OpenModal(ctx, in.Trigger, bot.SnoozeModal(r, now))
	if errors.Is(err, bot.ErrTriggerExpired) {
		return operation.RefuseBecause(err, codeFormLate, "The form came too late for Slack. Please click Snooze again.")
	}
	return err
}

// snoozeForm answers that form. The card that it was opened from stands in its
// metadata, and must be the reminder's own.
func (h *Handlers) snoozeForm(ctx context.Context, in bot.Intent) error {
	ref, ok := bot.ParseReminderRef(in.Metadata)
	if !ok {
		return unreadable()
	}
	until, err := time.Parse(time.RFC3339, in.Values[bot.InputUntil])
	if err != nil {
		return operation.RefuseBecause(err, codeSince, "Until when? Choose a day and a time.")
	}
	return h.care.Snooze(ctx, operation.Attention{
		Reminder: ref.Reminder, User: in.User, Channel: ref.Channel, Message: ref.Message, Until: until, Reason: in.Values[bot.InputReason],
	})
}

// remindRotate opens the rotate form, filled in: the only way from a reminder to a
// rotation, which then needs its two people.
func (h *Handlers) remindRotate(ctx context.Context, in bot.Intent) error {
	r, err := h.reminderOf(ctx, in)
	if err != nil {
		return err
	}
	w := wish{reason: "Nobody knows when it expires."}
	if !r.Matter.End.IsZero() {
		w.reason = "It expires on " + r.Matter.End.UTC().Format("2 January 2006") + "."
	}
	w.server, w.environment, _ = strings.Cut(string(r.Secret), "/")
	target, found := h.target(w.server, w.environment)
	if !found {
		return operation.Refuse(codeUnknownServer, "I no longer look after %s. I look after: %s. Nothing was changed.", r.Name, h.everything())
	}
	in.Command, in.Text = "/rotate", fmt.Sprintf("%s %s %s", w.server, w.environment, w.reason) // what to type if the form comes too late
	return h.openForm(ctx, in, w, target)
}

// remindEmergency opens the emergency form, with the secret filled in.
func (h *Handlers) remindEmergency(ctx context.Context, in bot.Intent) error {
	r, err := h.reminderOf(ctx, in)
	if err != nil {
		return err
	}
	server, environment, _ := strings.Cut(string(r.Secret), "/")
	return h.openEmergencyForm(ctx, in, wish{server: server, environment: environment}, false)
}
