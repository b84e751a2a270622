package handlers

import (
	"context"
	"fmt"
	"strings"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// removeLeftover asks for the removal of a leftover, from its message: one key of
// two.
func (h *Handlers) removeLeftover(ctx context.Context, in bot.Intent) error {
	id, ok := bot.ParseLeftover(in.Value)
	if !ok {
		return unreadable()
	}
	l, err := operation.FindLeftover(ctx, h.leftovers, id, in.Channel, in.Message)
	if err != nil {
		return err
	}
	server, environment, _ := strings.Cut(string(l.Secret), "/")
	target, found := h.target(server, environment)
	if !found {
		return operation.Refuse(codeUnknownServer, "I no longer look after %s. I look after: %s. Nothing was changed.", l.Secret, h.everything())
	}
	options := map[operation.Option]string{runbook.OptionTold: fmt.Sprint(l.ID)}
	if l.Key != "" {
		options[runbook.OptionKey] = l.Key
	}
	op, err := h.rules.Request(ctx, operation.Ask{
		Envelope: in.Envelope, Kind: runbook.KindLeftover, Secret: target.Name, User: in.User, Channel: in.Channel,
		Reason: "Asked for from the message of the sweep: " + l.Text, Options: options, Policy: target.Policy,
	})
	if err != nil {
		return err
	}
	return h.tell(ctx, in, fmt.Sprintf("I have asked for a second person's confirmation in <#%s>. Nothing is removed before. Operation %s.", op.Channel, op.ID))
}
