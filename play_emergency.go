package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/incident"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
)

// emergency is a stolen secret in use, from the page to the report.
func (p *play) emergency(ctx context.Context) error {
	if err := p.connected(ctx); err != nil {
		return err
	}
	p.say("Somebody has stolen the secret of %s, and gets tokens with it:", playSecret)
	if err := p.box.Intruder.Start(ctx, sandbox.IntruderOptions{Secret: playSecret}); err != nil {
		return err
	}
	if err := p.until(ctx, playTime, "the intruder's tokens", func() bool { return p.box.Intruder.Loot().Tokens > 2 }); err != nil {
		return err
	}
	p.loot()
	if err := p.command("alice", "/emergency-disable sharepoint prod the secret is in a public repository"); err != nil {
		return err
	}
	card, err := p.card(ctx)
	if err != nil {
		return err
	}
	p.say("The card, as everybody in %s reads it:", playChannel)
	p.quote(card.Text)
	if err := p.paged(ctx, "bob"); err != nil {
		return err
	}
	p.say("alice tries to confirm her own request.")
	if err := p.typed(ctx, "alice", card.TS, playSecret, "another person"); err != nil {
		return err
	}
	if err := p.typed(ctx, "bob", card.TS, "sharepoint/dev", "type exactly"); err != nil {
		return err
	}
	if err := p.typed(ctx, "bob", card.TS, playSecret, ""); err != nil {
		return err
	}
	if err := p.until(ctx, playTime, "the intruder to be refused", func() bool { return !p.box.Intruder.Loot().Running }); err != nil {
		return err
	}
	p.loot()
	room, status, err := p.room(ctx, "inc-")
	if err != nil {
		return err
	}
	p.say("The thread in the incident's own channel, %s:", room)
	if err := p.untilThread(ctx, room, status, "the end", "Every step is done"); err != nil {
		return err
	}
	if err := p.untilThread(ctx, room, status, "the checkpoint", "go.sum database tree"); err != nil {
		return err
	}
	return p.judgeEmergency(ctx)
}

// loot prints how the intruder is doing.
func (p *play) loot() {
	l := p.box.Intruder.Loot()
	p.quote(fmt.Sprintf("%s at %s: %d tokens granted, %d refused", l.User, l.Address, l.Tokens, l.Refusals))
}

// paged waits for the direct message that wakes an approver.
func (p *play) paged(ctx context.Context, user string) error {
	return p.until(ctx, playTime, "the page of "+user, func() bool {
		messages, err := p.box.Slack.Messages("@"+user, user)
		if err != nil || len(messages) == 0 {
			return false
		}
		p.say("%s is paged by a direct message:", user)
		p.quote(messages[len(messages)-1].Text)
		return true
	})
}

// typed has a person click Confirm and type into the form that opens. When told is
// given, that is what they must read then.
func (p *play) typed(ctx context.Context, user, ts, text, told string) error {
	if err := p.click(user, ts, bot.ActionConfirmTyped); err != nil {
		return err
	}
	var form slack.View
	err := p.until(ctx, playTime, "the form", func() bool {
		screen, err := p.box.Slack.Views(user)
		if err != nil || len(screen.Modals) == 0 {
			return false
		}
		form = screen.Modals[len(screen.Modals)-1]
		return true
	})
	if err != nil {
		return err
	}
	before, err := p.box.Slack.Ephemerals(playChannel, user)
	if err != nil {
		return err
	}
	directBefore, err := p.box.Slack.Messages("@"+user, user)
	if err != nil {
		return err
	}
	p.say("%s types %q", user, text)
	result, err := p.box.Slack.Submit(user, form.ID, map[string]any{bot.InputTyped: text})
	if err != nil {
		return err
	}
	if err := p.acknowledged(result); err != nil || told == "" {
		return err
	}
	return p.until(ctx, playTime, "the refusal", func() bool {
		private, err := p.box.Slack.Ephemerals(playChannel, user)
		direct, err2 := p.box.Slack.Messages("@"+user, user)
		if err != nil || err2 != nil {
			return false
		}
		for _, m := range append(private[len(before):], direct[len(directBefore):]...) {
			if strings.Contains(m.Text, told) {
				p.quote("only " + user + " reads: " + m.Text)
				return true
			}
		}
		return false
	})
}

// room waits for an incident's own channel and its status message.
func (p *play) room(ctx context.Context, prefix string) (channel, status string, err error) {
	err = p.until(ctx, playTime, "the incident's channel", func() bool {
		state, ok := p.box.Slack.State().(slack.State)
		if !ok {
			return false
		}
		for _, c := range state.Channels {
			if strings.HasPrefix(c.Name, prefix) && len(state.Pins[c.ID]) > 0 {
				channel, status = c.ID, state.Pins[c.ID][0]
				p.say("#%s: its pinned status", c.Name)
				return true
			}
		}
		return false
	})
	return channel, status, err
}

// judgeEmergency looks at what is left and at what was found, without asking the bot.
func (p *play) judgeEmergency(ctx context.Context) error {
	if err := p.judge(ctx, false); err != nil {
		return err
	}
	loot := p.box.Intruder.Loot()
	state, ok := p.box.Slack.State().(slack.State)
	if !ok {
		return errors.New("the sandbox's Slack has no state")
	}
	var report, events string
	for _, f := range state.Files {
		switch {
		case strings.HasPrefix(f.Name, "report-"):
			report = f.Content
		case strings.HasPrefix(f.Name, "audit-"):
			events = f.Content
		}
	}
	switch {
	case loot.Refusals < 5 || loot.LastToken.After(loot.FirstRefusal):
		return fmt.Errorf("the intruder still got tokens after the first refusal: %+v", loot)
	case !strings.Contains(events, loot.Address) || !strings.Contains(events, loot.User):
		return fmt.Errorf("the audit events do not name the intruder %s at %s", loot.User, loot.Address)
	case !strings.Contains(report, loot.Address):
		return errors.New("the report does not name the intruder's address")
	}
	op, entries, err := p.lastOperation(ctx)
	if err != nil {
		return err
	}
	p.say("Judged from outside: the intruder got %d tokens and not one after the removal; the logs name %s at %s; the report is in the channel.", loot.Tokens, loot.User, loot.Address)
	for _, span := range incident.Times(op, entries) {
		p.quote(fmt.Sprintf("%s: %s", span.What, span.Took))
	}
	return nil
}

// lastOperation reads the operation that was played from the record.
func (p *play) lastOperation(ctx context.Context) (operation.Operation, []operation.Entry, error) {
	src, err := audit.Open(ctx, p.cfg.Database.Reveal())
	if err != nil {
		return operation.Operation{}, nil, err
	}
	defer func() { _ = src.Close() }() // read only
	lines, err := audit.List(ctx, src, audit.Filter{Secret: playSecret})
	if err != nil {
		return operation.Operation{}, nil, err
	}
	var op operation.Operation
	var entries []operation.Entry
	for _, l := range lines {
		if l.Entry.Event == operation.Request && l.Entry.Outcome == operation.Asked {
			op = operation.Operation{ID: l.Entry.Operation, RequestedAt: l.Entry.At}
			entries = nil
		}
		if l.Entry.Operation == op.ID {
			entries = append(entries, l.Entry)
		}
	}
	return op, entries, nil
}
