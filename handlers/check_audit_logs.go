package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

const auditHelp = "*`/check-audit-logs [server] [environment] [since]`* reads what the audit logs know of a secret: who read and wrote its parameters, who got tokens with it from where, and what was changed on its application.\n" +
	"• since: `2026-11-24`, `2026-11-24 13:05` (UTC) or `48h`; without it, since the secret was made.\n" +
	"• I look after: %s."

// auditCommand answers /check-audit-logs: it only looks, so one person is enough.
func (h *Handlers) auditCommand(ctx context.Context, in bot.Intent) error {
	words := strings.Fields(in.Text)
	if len(words) == 0 || strings.EqualFold(words[0], "help") {
		return h.tell(ctx, in, fmt.Sprintf(auditHelp, h.everything()))
	}
	w, rest, err := h.names(words)
	if err != nil {
		return err
	}
	target, known := h.target(w.server, w.environment)
	if !known {
		return operation.Refuse(codeUnknownEnvironment, "Which environment of %s? It has %s.", w.server, strings.Join(h.environments(w.server), ", "))
	}
	since, err := readSince(strings.Join(rest, " "), h.rules.Now())
	if err != nil {
		return err
	}
	if err := h.rules.MayLook(ctx, in.User, in.Channel, target.Name, in.Command+" "+in.Text, target.Policy); err != nil {
		return err
	}
	found, err := h.audits.LookInto(ctx, target, since, h.rules.Now())
	if err != nil {
		return err
	}
	file := operation.Document{Name: runbook.AuditFile(target), Title: "Audit events of " + string(target.Name), Body: found.Events, At: h.rules.Now()}
	err = h.chat.Publish(ctx, in, fmt.Sprintf("<@%s> had the audit logs of %s read.", in.User, target.Name), found.Summary, file)
	if errors.Is(err, bot.ErrNotInChannel) {
		return operation.RefuseBecause(err, operation.CodeLookup, "I am not in this channel, so I can't put the findings here. Invite me, or ask in <#%s>.", target.Policy.Channel)
	}
	return err
}
