package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
)

const codeUnreadable operation.Code = "unreadable_button"

// decide answers a button of the card. Who clicked, and on which message, comes
// from the envelope; what the button says only names the operation.
func (h *Handlers) decide(event operation.Event) handler {
	return func(ctx context.Context, in bot.Intent) error {
		ref, ok := bot.ParseRef(in.Value)
		if !ok {
			return unreadable()
		}
		_, err := h.rules.Approve(ctx, operation.Click{
			Envelope: in.Envelope, Operation: ref.Operation, Event: event, Digest: ref.Digest, User: in.User, Channel: in.Channel, Message: in.Message,
		})
		return err
	}
}

// operationOf finds the operation that a button names.
func (h *Handlers) operationOf(ctx context.Context, value string) (operation.Operation, error) {
	ref, ok := bot.ParseRef(value)
	if !ok {
		return operation.Operation{}, unreadable()
	}
	op, err := h.rules.Reader.Operation(ctx, ref.Operation)
	if errors.Is(err, operation.ErrUnknown) {
		return op, unreadable()
	}
	if err != nil {
		return op, fmt.Errorf("read operation %s: %w", ref.Operation, err)
	}
	return op, nil
}

// askWhyDenied opens the form for a denial's reason.
func (h *Handlers) askWhyDenied(ctx context.Context, in bot.Intent) error {
	op, err := h.operationOf(ctx, in.Value)
	if err != nil {
		return err
	}
	// The card that was clicked, by the envelope: where it stands may not be noted yet.
	op.Channel, op.Card = in.Channel, in.Message
	err = h.chat.OpenModal(ctx, in.Trigger, bot.DenyModal(op))
	if errors.Is(err, bot.ErrTriggerExpired) {
		return operation.RefuseBecause(err, codeFormLate, "The form came too late for Slack. Please click Deny again.")
	}
	return err
}

// denyForm answers that form.
func (h *Handlers) denyForm(ctx context.Context, in bot.Intent) error {
	return h.decideByForm(ctx, in, operation.Deny, in.Values[bot.InputReason])
}

// decideByForm judges a decision that was made in a form. The card that the form
// was opened from stands in its metadata, and must be the operation's own.
func (h *Handlers) decideByForm(ctx context.Context, in bot.Intent, event operation.Event, words string) error {
	ref, ok := bot.ParseRef(in.Metadata)
	if !ok {
		return unreadable()
	}
	_, err := h.rules.Approve(ctx, operation.Click{
		Envelope: in.Envelope, Operation: ref.Operation, Event: event, Digest: ref.Digest, User: in.User,
		Channel: ref.Channel, Message: ref.Message, Words: strings.TrimSpace(words), Code: in.Values[bot.InputCode],
	})
	return err
}

func unreadable() error {
	return operation.Refuse(codeUnreadable, "I can't read this button. Use those of the operation's own card. Nothing was changed.")
}
