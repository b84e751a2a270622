package handlers

import (
	"context"
	"errors"
	"fmt"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
)

// Wall has the Home tabs, and knows where messages are.
type Wall interface {
	PublishHome(ctx context.Context, user operation.UserID, h bot.Home) error
	// Link is a message's address; empty when it is not known.
	Link(ctx context.Context, channel operation.ChannelID, message operation.MessageID) string
}

// openHome answers whoever opens their Home tab.
func (h *Handlers) openHome(ctx context.Context, in bot.Intent) error {
	return h.home(ctx, in, h.shelf.Inventory.Get)
}

// refreshHome answers the button on it.
func (h *Handlers) refreshHome(ctx context.Context, in bot.Intent) error {
	return h.home(ctx, in, h.fresh)
}

func (h *Handlers) home(ctx context.Context, in bot.Intent, look func(context.Context) (inventory.Inventory, error)) error {
	who, err := h.maySee(ctx, in.User)
	var refusal *operation.Refusal
	if errors.As(err, &refusal) {
		h.log.InfoContext(ctx, "refused", "code", refusal.Code, "user", in.User, "cause", errors.Unwrap(refusal))
		return h.chat.PublishHome(ctx, in.User, bot.Home{Refusal: refusal.Text})
	}
	if err != nil {
		return err
	}
	found, err := look(ctx)
	if err != nil {
		return fmt.Errorf("read the inventory: %w", err)
	}
	tab, err := h.dashboard(ctx, who, found)
	if err != nil {
		return err
	}
	return h.chat.PublishHome(ctx, in.User, tab)
}

// dashboard gathers what one person is to see first.
func (h *Handlers) dashboard(ctx context.Context, who operation.Person, found inventory.Inventory) (bot.Home, error) {
	now := h.rules.Now()
	configured := wanted{filter: inventory.Filter{Configured: true}}
	tab := bot.Home{Inventory: configured.of(found, now), Links: map[operation.ID]string{}, Reminding: map[operation.ReminderID]string{}, Now: now}
	var err error
	if tab.Open, err = h.rules.Reader.OpenOperations(ctx, ""); err != nil {
		return tab, fmt.Errorf("read the open operations: %w", err)
	}
	if tab.Waiting, err = h.rules.Waiting(ctx, who.User, tab.Open); err != nil {
		return tab, err
	}
	for _, op := range tab.Open {
		tab.Links[op.ID] = h.chat.Link(ctx, op.Channel, op.Card)
		if op.State == operation.Parked && op.Requester.User == who.User {
			tab.Own = append(tab.Own, op)
		}
	}
	reminders, err := h.shelf.Book.OpenReminders(ctx)
	if err != nil {
		return tab, err
	}
	for _, r := range reminders {
		if r.Matter.Taken.By.User == who.User {
			tab.Taken = append(tab.Taken, r)
			tab.Reminding[r.ID] = h.chat.Link(ctx, r.Channel, r.Card)
		}
	}
	return tab, nil
}
