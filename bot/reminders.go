package bot

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Actions of a reminder's buttons. None of them changes a secret: two open the form
// of a request, which then needs its two people.
const (
	ActionRemindRotate    = "remind_rotate"    // opens [RotateModal]
	ActionRemindEmergency = "remind_emergency" // opens [EmergencyModal]
	ActionSnooze          = "snooze"           // opens [SnoozeModal]
	ActionTake            = "take"
)

// ReminderRef is what a reminder's button or form carries. It may be forged: it
// says which reminder is meant, and nothing about who means it.
type ReminderRef struct {
	Reminder operation.ReminderID
	Channel  operation.ChannelID // of the card, in forms
	Message  operation.MessageID
}

// String is the form that travels.
func (r ReminderRef) String() string {
	return strings.TrimRight(fmt.Sprintf("%d %s %s", r.Reminder, r.Channel, r.Message), " ")
}

// ParseReminderRef reads what [ReminderRef.String] wrote, and reports whether it
// can be that.
func ParseReminderRef(text string) (ReminderRef, bool) {
	parts := strings.Split(text, " ")
	id, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || id <= 0 || len(text) > 100 || len(parts) != 1 && len(parts) != 3 {
		return ReminderRef{}, false
	}
	r := ReminderRef{Reminder: operation.ReminderID(id)}
	if len(parts) == 3 {
		r.Channel, r.Message = operation.ChannelID(parts[1]), operation.MessageID(parts[2])
	}
	return r, true
}

// RoundMessage shows a round: what it gathers, or the one reminder that it is. Ring
// is for the first post alone: the message is edited, and nobody shall be called
// twice.
func RoundMessage(r operation.Round, ring bool) Message {
	if len(r.Reminders) == 1 && !r.Escalated && !r.Reminders[0].Own {
		return reminderCard(r.Reminders[0], r, ring)
	}
	b := builder{}
	title := count(len(r.Reminders), "thing expires", "things expire")
	if r.Escalated {
		title = "Nobody has taken this: " + title
	}
	b.add(slack.NewHeaderBlock(plainText(signed(roundSign(r), title), maxHeader)))
	if ring {
		b.ring(r.Ring, overdueCall)
	}
	lines := make([]line, len(r.Reminders))
	for i, one := range r.Reminders {
		lines[i] = reminderLine(one)
	}
	b.list(lines)
	b.context(roundFooter(r))
	return b.message(title)
}

// overdueCall is what whoever is rung reads first.
const overdueCall = "A secret has expired: please rotate it now."

func roundFooter(r operation.Round) line {
	if r.Escalated {
		return line{say("The reminders are in "), where(r.Reminders[0].Channel), say(". Whoever takes one there ends this.")}
	}
	cards := min(len(r.Reminders), operation.MaxCards)
	l := line{say("Each has a card in the thread: rotate it, snooze it, or take it there")}
	if more := len(r.Reminders) - cards; more > 0 {
		l = line{say(fmt.Sprintf("The first %d have a card in the thread: rotate, snooze or take them there", cards))}
	}
	return append(l, say(" · "), when(r.At))
}

// ReminderCard shows one of several reminders, under the message that gathers them.
func ReminderCard(r operation.Reminder) Message { return reminderCard(r, operation.Round{}, false) }

func reminderCard(r operation.Reminder, round operation.Round, ring bool) Message {
	b := builder{}
	title := r.Name + " " + expires(r)
	b.add(slack.NewHeaderBlock(plainText(signed(reminderSign(r), title), maxHeader)))
	if ring {
		b.ring(round.Ring, overdueCall)
	}
	b.paragraphs(reminderState(r)...)
	b.paragraphs(reminderFacts(r)...)
	if len(r.Feeds) > 0 {
		b.heading("What it is tied to")
		lines := make([]line, len(r.Feeds))
		for i, f := range r.Feeds {
			lines[i] = line{words(f)}
		}
		b.list(lines)
	}
	if buttons := reminderButtons(r); len(buttons) > 0 {
		b.add(slack.NewActionBlock("", buttons...))
	}
	b.context(line{say("Reminder: " + stageWords(r) + " · told "), when(r.At)})
	return b.message(title)
}

// expires says how a reminder's matter stood when it was told, or that it is settled.
func expires(r operation.Reminder) string {
	switch {
	case !r.Matter.Open():
		return "is settled"
	case r.Matter.End.IsZero():
		return "expires nobody knows when"
	case r.Overdue() && r.Days == 0:
		return "has expired today"
	case r.Overdue():
		return "expired " + count(-r.Days, "day", "days") + " ago"
	case r.Days <= 0:
		return "expires today"
	case r.Days == 1:
		return "expires tomorrow"
	}
	return fmt.Sprintf("expires in %d days", r.Days)
}

func stageWords(r operation.Reminder) string {
	switch {
	case r.Matter.End.IsZero():
		return "once a day while it is unknown"
	case r.Overdue():
		return "daily while it is overdue"
	}
	return count(int(r.Stage), "day", "days") + " before"
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// soon is how many days before its end something is near it.
const soon = 7

func reminderSign(r operation.Reminder) string {
	switch {
	case !r.Matter.Open():
		return "white_check_mark"
	case r.Matter.End.IsZero():
		return "grey_question"
	case r.Overdue():
		return "rotating_light"
	case r.Days <= soon:
		return "alarm_clock"
	}
	return "hourglass_flowing_sand"
}

func roundSign(r operation.Round) string {
	worst := "white_check_mark"
	for _, one := range r.Reminders {
		switch s := reminderSign(one); {
		case s == "rotating_light" || worst == "white_check_mark", worst == "hourglass_flowing_sand" && s != "white_check_mark":
			worst = s
		}
	}
	return worst
}

func signed(emoji, title string) string { return ":" + emoji + ": " + title }

// reminderLine is a reminder in the message that gathers several.
func reminderLine(r operation.Reminder) line {
	l := line{sign(reminderSign(r)), bold(plain(r.Name, maxPhrase)), say(" (" + plain(r.Kind, maxPhrase) + ") " + expires(r))}
	if !r.Matter.End.IsZero() {
		l = append(l, say(": "), when(r.Matter.End))
	}
	if r.Owner != "" {
		l = append(l, say(" · owner: "), words(r.Owner))
	}
	switch m := r.Matter; {
	case !m.Open() && m.Settled.Operation != "":
		l = append(l, say(" · done, by operation "), code(string(m.Settled.Operation)))
	case !m.Open():
		l = append(l, say(" · done: "), words(m.Settled.Why))
	case m.Taken.By.User != "":
		l = append(l, say(" · taken by "), who(m.Taken.By))
	}
	if r.Matter.Open() && r.Matter.Snoozed.By.User != "" && !r.Newer {
		l = append(l, say(" · snoozed until "), when(r.Matter.Snoozed.Until))
	}
	return l
}

// reminderState says who looks after it, or why nobody has to.
func reminderState(r operation.Reminder) []paragraph {
	m := r.Matter
	switch {
	case !m.Open() && m.Settled.Operation != "":
		return []paragraph{{line: line{sign("white_check_mark"), bold("Done"), say(", by operation "), code(string(m.Settled.Operation)), say(", "), when(m.Settled.At), say(".")}}}
	case !m.Open():
		return []paragraph{{line: line{sign("white_check_mark"), bold("Done: "), words(m.Settled.Why), say(" "), when(m.Settled.At), say(".")}}}
	case r.Newer:
		return []paragraph{{line: line{sign("arrow_down"), say("A newer reminder has taken this one's place.")}}}
	}
	out := []paragraph{{line: line{sign("raising_hand"), say("Nobody has taken it yet.")}}}
	if m.Taken.By.User != "" {
		out[0].line = line{sign("raising_hand"), bold("Taken by "), who(m.Taken.By), say(", "), when(m.Taken.At), say(".")}
	}
	if m.Snoozed.By.User == "" {
		return out
	}
	return append(out,
		paragraph{line: line{sign("no_bell"), bold("Snoozed by "), who(m.Snoozed.By), say(" until "), when(m.Snoozed.Until), say(".")}},
		paragraph{line: line{say(plain(m.Snoozed.Reason, operation.MaxReason))}, quote: "Why"})
}

// reminderFacts say what it is, whose, and what breaks when.
func reminderFacts(r operation.Reminder) []paragraph {
	kind := line{bold(sentenceCase(plain(r.Kind, maxPhrase))), say(". ")}
	switch {
	case r.Matter.End.IsZero():
		kind = append(kind, say("When it expires could not be read. "), words(r.Why))
	case r.Overdue():
		kind = append(kind, say("It expired "), when(r.Matter.End), say("."))
	default:
		kind = append(kind, say("It expires "), when(r.Matter.End), say("."))
	}
	if r.Why != "" && !r.Matter.End.IsZero() {
		kind = append(kind, say(" "), words(r.Why))
	}
	owner := line{say("No owner is known.")}
	if r.Owner != "" {
		owner = line{bold("Owner: "), words(r.Owner)}
	}
	out := []paragraph{{line: kind}, {line: owner}}
	if r.Breaks == "" {
		return out
	}
	breaks := line{bold("What breaks then: "), words(r.Breaks)}
	if r.Overdue() {
		breaks[0] = bold("What is broken since then: ")
	}
	return append(out, paragraph{line: breaks})
}

// reminderButtons are there while somebody has to do something.
func reminderButtons(r operation.Reminder) []slack.BlockElement {
	if !r.Matter.Open() || r.Newer {
		return nil
	}
	var out []slack.BlockElement
	add := func(action, label string, style slack.Style) {
		b := slack.NewButtonBlockElement(action, ReminderRef{Reminder: r.ID}.String(), plainText(label, maxButton))
		b.Style = style
		out = append(out, b)
	}
	if r.Secret != "" {
		add(ActionRemindRotate, "Rotate…", slack.StylePrimary)
		add(ActionRemindEmergency, "Emergency disable…", slack.StyleDanger)
	}
	if !r.Matter.End.IsZero() && r.Stage > 1 { // a snooze ends a day before
		add(ActionSnooze, "Snooze…", slack.StyleDefault)
	}
	add(ActionTake, "I take it", slack.StyleDefault)
	return out
}

// CareLine shows in the thread what somebody did about a reminder.
func CareLine(e operation.Entry) Message {
	did, emoji := sentenceCase(e.Step), "information_source"
	switch e.Step {
	case operation.StepTaken:
		did, emoji = "Taken", "raising_hand"
	case operation.StepSnoozed:
		did, emoji = "Snoozed", "no_bell"
	}
	head := line{sign(emoji), bold(did)}
	if e.By != nil {
		head = append(head, say(" by "), who(*e.By))
	}
	b := builder{}
	b.paragraphs(paragraph{line: append(head, say("."))}, paragraph{line: line{say(plain(e.Text, maxSection-maxPhrase))}})
	b.context(line{when(e.At), say(fmt.Sprintf(" · entry %d of the record", e.Sequence))})
	return b.message("")
}

// defaultSnooze is what the snooze form has filled in already.
const defaultSnooze = 7 * 24 * time.Hour

// SnoozeModal asks until when a reminder shall be quiet, and why.
func SnoozeModal(r operation.Reminder, now time.Time) Modal {
	latest := r.Matter.SnoozeEnd()
	until := now.Add(defaultSnooze)
	if until.After(latest) {
		until = latest.Truncate(time.Minute)
	}
	return Modal{
		Callback: CallbackSnooze, Metadata: ReminderRef{Reminder: r.ID, Channel: r.Channel, Message: r.Card}.String(), Title: "Snooze a reminder", Submit: "Snooze",
		Intro: fmt.Sprintf("%s %s. Nobody is reminded of it until the snooze ends. Everybody in the thread sees it.", r.Name, expires(r)),
		Inputs: []Input{
			{ID: InputUntil, Label: "Until", Hint: "At the latest a day before it expires: " + latest.UTC().Format("2006-01-02 15:04 MST"), Instant: true, At: until},
			{ID: InputReason, Label: "Reason", Hint: "The record keeps it.", Multiline: true, Min: minReason, Max: operation.MaxReason},
		},
	}
}
