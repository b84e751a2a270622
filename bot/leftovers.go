package bot

import (
	"strconv"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// ActionRemove asks for the removal of a leftover. The request needs its two people.
const ActionRemove = "remove_leftover"

// ParseLeftover reads a leftover's button, and reports whether it can be one. It may
// be forged: it says which leftover is meant, and nothing about who means it.
func ParseLeftover(value string) (operation.LeftoverID, bool) {
	id, err := strconv.ParseInt(value, 10, 64)
	return operation.LeftoverID(id), err == nil && id > 0
}

// LeftoverMessage tells a leftover, or what became of it.
func LeftoverMessage(l operation.Leftover) Message {
	b := builder{}
	emoji := "broom"
	switch {
	case !l.Open():
		emoji = "white_check_mark"
	case l.Returned, l.OfPolicy():
		emoji = "rotating_light"
	}
	b.add(slack.NewHeaderBlock(plainText(signed(emoji, l.Title), maxHeader)))
	ps := []paragraph{{line: line{words(l.Text)}}}
	switch {
	case !l.Open() && l.Closed.Operation != "":
		ps = append(ps, paragraph{line: line{bold("Removed"), say(" by operation "), code(string(l.Closed.Operation)), say(", "), when(l.Closed.At), say(".")}})
	case !l.Open():
		ps = append(ps, paragraph{line: line{bold("Closed: "), words(l.Closed.Why), say(" "), when(l.Closed.At), say(".")}})
	case l.Remedy != "":
		ps = append(ps, paragraph{line: line{bold("What to do: "), words(l.Remedy)}})
	case l.Removable:
		ps = append(ps, paragraph{line: line{say("The service does not need it: its live parameter holds another key. It is removed when one person asks and a second one confirms.")}})
	case l.Returned:
		ps = append(ps, paragraph{line: line{say("Find out who brought it back and why. Should it not be there: "), code("/emergency-disable"), say(" opens a form that takes the key's id.")}})
	}
	b.paragraphs(ps...)
	if l.Open() && l.Removable {
		button := slack.NewButtonBlockElement(ActionRemove, strconv.FormatInt(int64(l.ID), 10), plainText("Remove…", maxButton))
		button.Confirm = slack.NewConfirmationBlockObject(plainText("Ask for its removal?", 100),
			plainText("Everything is looked at again, and a second person has to confirm. Nothing is removed before.", 300), plainText("Ask", 30), plainText("Back", 30))
		b.add(slack.NewActionBlock("", button))
	}
	by := "Sweep"
	if l.OfPolicy() {
		by = "Policy"
	}
	b.context(line{say(by + " · found "), when(l.At)})
	return b.message(l.Title)
}
