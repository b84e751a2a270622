package bot

import (
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
)

// ActionHomeRefresh has the Home tab published anew.
const ActionHomeRefresh = "home_refresh"

// Home is one person's Home tab. Slack does not say who has it open, so it is as of
// when it was opened or refreshed, and says so.
type Home struct {
	// Refusal is why this person sees nothing; empty: they may.
	Refusal   string
	Inventory inventory.Inventory // in the order in which it is shown
	Waiting   []operation.Operation
	Own       []operation.Operation // that they asked for and that are parked
	Open      []operation.Operation // all
	Links     map[operation.ID]string
	Taken     []operation.Reminder // by this person, and not done
	Reminding map[operation.ReminderID]string
	Now       time.Time
}

// A Home tab has a hundred blocks; these leave room for all of its headings.
const (
	maxUrgent = 15
	maxOpen   = 15
)

func (h Home) view() slack.HomeTabViewRequest {
	return slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: h.message().Blocks}}
}

// message is the tab as a message is: the same parts, and the same ids of blocks.
func (h Home) message() Message {
	b := builder{}
	if h.Refusal != "" {
		b.add(slack.NewHeaderBlock(plainText("twokey", maxHeader)))
		b.section(line{sign("no_entry"), say(plain(h.Refusal, maxSection-maxPhrase))}, nil)
		return b.message("")
	}
	b.add(slack.NewHeaderBlock(plainText("What waits for you", maxHeader)))
	h.waiting(&b)
	b.add(slack.NewHeaderBlock(plainText("What expires", maxHeader)))
	h.urgent(&b)
	b.add(slack.NewHeaderBlock(plainText("Open operations", maxHeader)))
	for _, op := range h.Open[:min(len(h.Open), maxOpen)] {
		b.section(append(line{sign(stateSign(op.State))}, operationLine(op, h.Links[op.ID])...), nil)
	}
	if len(h.Open) == 0 {
		b.section(line{say("None.")}, nil)
	}
	b.more(len(h.Open)-maxOpen, "operations")
	refresh := slack.NewButtonBlockElement(ActionHomeRefresh, "home", plainText("Refresh", maxButton))
	b.add(slack.NewActionBlock("", refresh))
	b.context(append(line{say("As of "), when(h.Now), say(" · ")}, append(readAt(h.Inventory.At, h.Now), say(" · more: "), code("/secrets"), say(" in any channel"))...))
	return b.message("")
}

func (b *builder) more(n int, what string) {
	if n > 0 {
		b.context(line{say(fmt.Sprintf("… and %d more %s.", n, what))})
	}
}

func (h Home) waiting(b *builder) {
	for _, op := range h.Waiting[:min(len(h.Waiting), maxOpen)] {
		what := line{sign("key"), bold("Your key is asked for."), say(" ")}
		if op.State == operation.Parked {
			what = line{sign("octagonal_sign"), bold("An approver has to decide."), say(" ")}
		}
		b.section(append(what, operationLine(op, h.Links[op.ID])...), nil)
	}
	b.more(len(h.Waiting)-maxOpen, "operations")
	for _, op := range h.Own[:min(len(h.Own), maxOpen)] {
		b.section(append(line{sign("octagonal_sign"), bold("You asked for this, and it is parked."), say(" ")}, operationLine(op, h.Links[op.ID])...), nil)
	}
	for _, r := range h.Taken[:min(len(h.Taken), maxOpen)] {
		l := line{sign("raising_hand"), bold("You have taken this."), say(" "), words(r.Name), say(" (" + plain(r.Kind, maxName) + "): ")}
		l = append(l, ends(inventory.Item{End: r.Matter.End}, h.Now)...)
		if r.Matter.Snoozed.By.User != "" && h.Now.Before(r.Matter.Snoozed.Until) {
			l = append(l, say(", snoozed until "), when(r.Matter.Snoozed.Until))
		}
		b.section(toCard(append(l, say(".")), h.Reminding[r.ID]), h.rotate(r.Secret))
	}
	b.more(len(h.Taken)-maxOpen, "reminders")
	if len(h.Waiting)+len(h.Own)+len(h.Taken) == 0 {
		b.section(line{sign("white_check_mark"), say("Nothing.")}, nil)
	}
}

// urgent is what is overdue, unknown or due.
func (h Home) urgent(b *builder) {
	b.section(countsLine(h.Inventory), nil)
	b.gaps(h.Inventory.Gaps)
	shown, left := 0, 0
	for _, i := range h.Inventory.Items {
		switch {
		case i.Status == inventory.Fine || i.Replaced:
		case shown == maxUrgent:
			left++
		default:
			shown++
			b.section(itemLines(i, h.Now), h.rotate(i.Feeds.Secret))
		}
	}
	b.more(left, "things that expire soon")
	if n := len(h.Inventory.Findings); n > 0 {
		b.section(line{sign("mag"), say(count(n, "thing", "things") + " to look at besides: "), code("/secrets findings")}, nil)
	}
}

// rotate is the way to the form of a rotation, for what can be rotated here.
func (h Home) rotate(secret operation.SecretName) *slack.Accessory {
	if secret == "" {
		return nil
	}
	return slack.NewAccessory(slack.NewButtonBlockElement(ActionSecretRotate, string(secret), plainText("Rotate…", maxButton)))
}
