package bot

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Line shows one entry of the record, as it stands in the thread. What happened in
// a drill is marked.
func Line(e operation.Entry, drill bool) Message {
	b := builder{}
	head := line{sign(entrySign(e))}
	if drill {
		head = append(head, say("Drill. "))
	}
	ps := []paragraph{{line: append(head, headline(e)...)}}
	evidence := plain(e.Text, maxSection-maxPhrase)
	if evidence != "" && !manyLines(e) {
		p := paragraph{line: marked(evidence)}
		if quoted(e) {
			p = paragraph{line: line{say(evidence)}, quote: "Reason"}
		}
		ps = append(ps, p)
	}
	b.paragraphs(ps...)
	if manyLines(e) {
		b.evidence(evidence)
	}
	small := line{when(e.At)}
	if e.Sequence > 0 {
		small = append(small, say(fmt.Sprintf(" · entry %d of the record", e.Sequence)))
	}
	b.context(small)
	return b.message("")
}

// quoted reports whether the entry's text is a person's own words.
func quoted(e operation.Entry) bool {
	return e.By != nil && e.Text != "" && (e.Outcome == operation.Decided || e.Outcome == operation.Asked)
}

// headline says what happened, without its evidence.
func headline(e operation.Entry) line {
	switch e.Outcome {
	case operation.Asked, operation.Decided:
		return decision(e)
	case operation.Verified:
		return line{bold("Done and verified: " + plain(e.Step, maxPhrase)), say(".")}
	case operation.Failed:
		if e.Step == "" { // a void: no step was begun
			return line{bold(decided(e.Event)), say(".")}
		}
		return line{bold("Failed: " + plain(e.Step, maxPhrase)), say(".")}
	case operation.Undone:
		return line{bold("Taken back and verified: " + plain(e.Step, maxPhrase)), say(".")}
	case operation.NotUndone:
		return line{bold("Not taken back: " + plain(e.Step, maxPhrase)), say(".")}
	case operation.Refused:
		return line{bold("Refused"), say(".")}
	case operation.Noted:
		if e.Step != "" {
			return line{bold(plain(e.Step, maxPhrase)), say(".")}
		}
		if e.Event != "" {
			return line{bold(decided(e.Event)), say(".")}
		}
	}
	return line{bold("Note"), say(".")}
}

// decision says who did what: asked for it, or decided it.
func decision(e operation.Entry) line {
	var l line
	switch {
	case e.Outcome == operation.Asked && e.Event == operation.Request:
		l = line{bold("Asked for")}
	case e.Outcome == operation.Asked:
		l = line{bold("Asked to " + eventWords(e.Event))}
	default:
		l = line{bold(decided(e.Event))}
	}
	if e.By != nil {
		l = append(l, say(" by "), who(*e.By))
	}
	l = append(l, say("."))
	if e.Outcome == operation.Asked && e.Event != operation.Request {
		l = append(l, say(" Another approver has to confirm it."))
	}
	return l
}

// decided is what an event is called once it has happened.
func decided(e operation.Event) string {
	switch e {
	case operation.Confirm:
		return "Confirmed"
	case operation.Deny:
		return "Denied"
	case operation.Cancel:
		return "Cancelled"
	case operation.Lapse:
		return "Lapsed"
	case operation.Begin:
		return "Begun"
	case operation.Void:
		return "Void"
	case operation.Wait:
		return "Waiting"
	case operation.Resume:
		return "Resumed"
	case operation.Finish:
		return "Finished"
	case operation.Fail:
		return "Failed"
	case operation.Park:
		return "Parked"
	case operation.Retry:
		return "Retrying, confirmed"
	case operation.Undo:
		return "Taking back, confirmed"
	case operation.TakeBack:
		return "Taken back"
	case operation.HandOver:
		return "Handed over"
	case operation.Supersede:
		return "Replaced by an emergency"
	case operation.Distrust:
		return "Ended: its row was forged"
	case operation.Request:
		return "Asked for"
	}
	return sentenceCase(eventWords(e))
}

func entrySign(e operation.Entry) string {
	switch e.Outcome {
	case operation.Asked:
		return "raised_hand"
	case operation.Decided:
		return decisionSign(e.Event)
	case operation.Refused:
		return "no_entry"
	case operation.Verified:
		return "white_check_mark"
	case operation.Failed:
		return "x"
	case operation.Undone:
		return "leftwards_arrow_with_hook"
	case operation.NotUndone:
		return "warning"
	case operation.Noted:
		return "information_source"
	}
	return "information_source"
}

// decisionSign is the sign of the state that a decision leads to, as on the card.
func decisionSign(e operation.Event) string {
	for _, from := range operation.States() {
		if to, ok := operation.Next(from, e); ok {
			return stateSign(to)
		}
	}
	return stateSign(operation.Pending)
}

// Checkpoint shows the record's signed checkpoint, to the letter: whoever keeps
// it can prove later what the record said.
func Checkpoint(note string) Message {
	b := builder{}
	b.lines(line{sign("scroll"), bold("Checkpoint of the record"), say(". Keep it: with it anybody can check that nothing before it was changed.")})
	b.add(slack.NewRichTextBlock("", &slack.RichTextPreformatted{
		Type:     slack.RTEPreformatted,
		Elements: []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement(strings.TrimRight(note, "\n"), nil)},
	}))
	b.text = append(b.text, escape(note, maxSection))
	return b.message("")
}

// Direct shows a sentence of ours for one person.
func Direct(text string) Message { return sentenceOf(sentence(text)) }

// Page calls one person to a card; without its address the sentence has to do.
func Page(text string, drill bool, card string) Message {
	if drill {
		text = "DRILL. " + text
	}
	text = sentence(text)
	if card != "" {
		text += "\n" + line{link("Open the card", card)}.read()
	}
	return sentenceOf(text)
}

func sentenceOf(text string) Message {
	b := builder{text: []string{text}}
	b.add(slack.NewSectionBlock(mrkdwn(text), nil, nil))
	return b.message("")
}
