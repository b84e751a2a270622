package handlers

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/internal/near"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Codes of refusals of what was typed.
const (
	codeUnknownServer      operation.Code = "unknown_server"
	codeUnknownEnvironment operation.Code = "unknown_environment"
	codeFormLate           operation.Code = "form_late"
)

const rotateHelp = "*`/rotate [server] [environment] [change reference] [reason…]`* makes a new client secret, proves it, brings it into the running service, and retires the old one.\n" +
	"• Nothing changes until a second person has confirmed the plan in the operations channel.\n" +
	"• Without arguments a form opens. What is missing can be filled in there.\n" +
	"• Example: `/rotate sharepoint prod CHG0012345 yearly rotation`\n" +
	"• I look after: %s."

// wish is what a person wants rotated, as far as they said.
type wish struct {
	server, environment, change, reason string
}

// rotateCommand answers /rotate.
func (h *Handlers) rotateCommand(ctx context.Context, in bot.Intent) error {
	words := strings.Fields(in.Text)
	if len(words) == 1 && strings.EqualFold(words[0], "help") {
		return h.tell(ctx, in, fmt.Sprintf(rotateHelp, h.everything()))
	}
	w, err := h.read(words)
	if err != nil {
		return err
	}
	target, found := h.target(w.server, w.environment)
	if !found || w.reason == "" || target.ChangeReferencePattern != "" && w.change == "" {
		return h.openForm(ctx, in, w, target)
	}
	return h.askToRotate(ctx, in, target, w, in.Channel)
}

// rotateForm answers the form that rotateCommand opened. A form belongs to no
// channel, so the card's channel is the one that is checked.
func (h *Handlers) rotateForm(ctx context.Context, in bot.Intent) error {
	w := wish{
		server: in.Values[bot.InputServer], environment: in.Values[bot.InputEnvironment],
		change: strings.TrimSpace(in.Values[bot.InputChange]), reason: strings.TrimSpace(in.Values[bot.InputReason]),
	}
	target, found := h.target(w.server, w.environment)
	if !found {
		return operation.Refuse(codeUnknownServer, "I don't look after %s in %s. I look after: %s. Nothing was changed.", w.server, w.environment, h.everything())
	}
	return h.askToRotate(ctx, in, target, w, target.Policy.Channel)
}

func (h *Handlers) askToRotate(ctx context.Context, in bot.Intent, target runbook.Target, w wish, channel operation.ChannelID) error {
	if target.Module.Directory != "" {
		if err := h.tell(ctx, in, fmt.Sprintf("I look at everything first, and ask %s too; that can take a minute or more.", target.Module.Program)); err != nil {
			return err
		}
	}
	op, err := h.rules.Request(ctx, operation.Ask{
		Envelope: in.Envelope, Kind: runbook.KindRotate, Secret: target.Name, User: in.User, Channel: channel,
		Reason: w.reason, ChangeReference: w.change, ChangeReferencePattern: target.ChangeReferencePattern, Policy: target.Policy,
	})
	if err != nil {
		return err
	}
	return h.tell(ctx, in, fmt.Sprintf("I have asked for a second person's confirmation in <#%s>. It can be given until %s. Operation %s.",
		op.Channel, op.LapsesAt.UTC().Format("15:04 MST"), op.ID))
}

// read makes a wish of the words behind the command.
func (h *Handlers) read(words []string) (wish, error) {
	w, words, err := h.names(words)
	if err != nil {
		return w, err
	}
	if len(words) > 0 && h.isChange(w, words[0]) {
		w.change, words = words[0], words[1:]
	}
	w.reason = strings.Join(words, " ")
	return w, nil
}

// names reads the server and the environment, and returns the words behind them.
// What is near to a name but is none gets a suggestion.
func (h *Handlers) names(words []string) (wish, []string, error) {
	var w wish
	if len(words) > 0 {
		w.server = strings.ToLower(words[0])
		if !slices.Contains(h.servers(), w.server) {
			return w, nil, operation.Refuse(codeUnknownServer, "I don't know the server %q, so nothing was changed. %s", words[0], meant(w.server, h.servers()))
		}
		words = words[1:]
	}
	if len(words) > 0 {
		w.environment = strings.ToLower(words[0])
		if _, found := h.target(w.server, w.environment); !found {
			return w, nil, operation.Refuse(codeUnknownEnvironment, "I don't know the environment %q of %s, so nothing was changed. %s", words[0], w.server, meant(w.environment, h.environments(w.server)))
		}
		words = words[1:]
	}
	return w, words, nil
}

// meant helps whoever mistyped a name.
func meant(word string, known []string) string {
	if name, ok := near.Match(word, known); ok {
		return "Did you mean " + name + "?"
	}
	return "I know " + leading(known) + "."
}

// isChange tells a change reference from the first word of a reason: by the
// configured pattern, or else by the shape that such numbers have.
func (h *Handlers) isChange(w wish, word string) bool {
	pattern := `[A-Z]{2,}-?\d{3,}`
	if target, found := h.target(w.server, w.environment); found && target.ChangeReferencePattern != "" {
		pattern = target.ChangeReferencePattern
	}
	ok, err := regexp.MatchString("^(?:"+pattern+")$", word)
	return err == nil && ok
}

// openForm asks for what is missing, and keeps what was typed.
func (h *Handlers) openForm(ctx context.Context, in bot.Intent, w wish, target runbook.Target) error {
	servers := h.servers()
	environments := h.environments("")
	if w.server != "" {
		environments = h.environments(w.server)
	}
	err := h.chat.OpenModal(ctx, in.Trigger, bot.RotateModal(bot.RotateForm{
		Servers: servers, Environments: environments, Server: w.server, Environment: w.environment,
		Change: w.change, Reason: w.reason, ChangePattern: target.ChangeReferencePattern,
	}))
	if errors.Is(err, bot.ErrTriggerExpired) {
		return operation.RefuseBecause(err, codeFormLate, "The form came too late for Slack. Please send it again, all in one line: `/rotate server environment change-reference reason`. You had typed: `%s %s`", in.Command, in.Text)
	}
	return err
}

func (h *Handlers) target(server, environment string) (runbook.Target, bool) {
	for _, t := range h.targets {
		if t.Server == server && t.Environment == environment {
			return t, true
		}
	}
	return runbook.Target{}, false
}

func (h *Handlers) servers() []string {
	var out []string
	for _, t := range h.targets {
		if !slices.Contains(out, t.Server) {
			out = append(out, t.Server)
		}
	}
	return out
}

// environments lists those of one server, or of all when server is empty.
func (h *Handlers) environments(server string) []string {
	var out []string
	for _, t := range h.targets {
		if (server == "" || t.Server == server) && !slices.Contains(out, t.Environment) {
			out = append(out, t.Environment)
		}
	}
	return out
}

// everything names the servers with their environments.
func (h *Handlers) everything() string {
	var out []string
	for _, s := range h.servers() {
		out = append(out, s+" ("+strings.Join(h.environments(s), ", ")+")")
	}
	return leading(out)
}

// namedAtOnce is how many names an answer holds; of a thousand, nobody reads them all.
const namedAtOnce = 20

func leading(names []string) string {
	rest := len(names) - namedAtOnce
	if rest <= 0 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more (`/secrets` lists them)", strings.Join(names[:namedAtOnce], ", "), rest)
}
