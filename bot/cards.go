package bot

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Actions of the card's buttons.
const (
	ActionConfirm      = "confirm"
	ActionConfirmTyped = "confirm_typed" // opens [TypedModal]
	ActionDeny         = "deny"
	ActionCancel       = "cancel"
	ActionRetry        = "retry"
	ActionUndo         = "undo"
	ActionHandOver     = "hand_over"
	ActionFreeze       = "freeze"    // of an emergency
	ActionThaw         = "thaw"      // of a freeze that is done
	ActionEmergency    = "emergency" // opens [EmergencyModal] for the same secret
)

// Kinds of operations whose cards have buttons of their own.
const (
	kindRotate    operation.Kind = "rotate"
	kindEmergency operation.Kind = "emergency_disable"
	kindFreeze    operation.Kind = "freeze"
)

// Message is what is posted: blocks for those who see, and the same in text for
// those who listen and for notifications.
type Message struct {
	Text   string
	Blocks []slack.Block
}

// Card shows one operation, as it stands.
type Card struct {
	Operation operation.Operation
	Steps     []operation.StepState // shown once the second key is turned
	// Approvers is what the approvers' group is called. Its name is written
	// out, because a mention would ring with all of them.
	Approvers string
	// Escalation is what the group is called that may confirm emergencies too.
	Escalation string
	// Ring mentions the approvers' group of an emergency. It is for the first post
	// alone: the card is edited, and nobody shall be called twice.
	Ring bool
	// Incident is the emergency that took the operation's place, if one did, and
	// IncidentCard its card's address; empty: not known.
	Incident     operation.Operation
	IncidentCard string
	// Classic leaves out blocks that not every workspace takes.
	Classic bool
}

// Message renders the card. The same card always renders to the same message.
func (c Card) Message() Message {
	op := c.Operation
	b := builder{}
	b.title(op)
	if c.Ring && op.Plan.Urgent && op.State == operation.Pending {
		b.ring(op.Plan.Policy.Approvers, "A second person is needed now: please read this and decide.")
	}
	b.paragraphs(append(append([]paragraph{{line: c.status()}}, c.because()...), c.room()...)...)
	b.paragraphs(c.request()...)
	b.heading(c.changesTitle())
	left := b.list(c.changes())
	if len(op.Plan.Warnings) > 0 {
		b.heading("Look at this first")
		left += b.list(c.warnings())
	}
	if len(c.Steps) > 0 && c.Operation.Approver.User != "" {
		b.steps(c.progressTitle(), c.Steps, c.Classic)
	}
	if p, ok := c.proposal(); ok {
		b.lines(p)
	}
	if buttons := c.buttons(left == 0); len(buttons) > 0 {
		b.add(slack.NewActionBlock("", buttons...))
	}
	b.context(c.footer())
	return b.message(title(op))
}

// title shows the heading of a card or status message, loud when it is about an
// emergency and marked when it is about a drill.
func (b *builder) title(op operation.Operation) {
	sign := ""
	switch {
	case op.Drill():
		sign = ":construction: "
	case op.Plan.Urgent && op.State.Open():
		sign = ":rotating_light: "
	}
	b.add(slack.NewHeaderBlock(plainText(sign+title(op), maxHeader)))
	if op.Drill() {
		b.lines(line{bold("This is a drill."), say(" The secret is a canary that nobody depends on. Please act as if it were real.")})
	}
}

// title names an operation: "Rotate sharepoint/prod".
func title(op operation.Operation) string {
	name := titled(string(op.Kind)) + " " + string(op.Secret)
	switch {
	case op.Drill():
		return "DRILL: " + name
	case op.Plan.Urgent:
		return "EMERGENCY: " + strings.TrimPrefix(string(op.Kind), "emergency_") + " " + string(op.Secret)
	}
	return name
}

// titled turns "emergency_disable" into "Emergency disable".
func titled(kind string) string {
	s := strings.ReplaceAll(kind, "_", " ")
	if s == "" {
		return "Operation"
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// status says where the operation stands, who moved it there and when.
func (c Card) status() line {
	op := c.Operation
	l := line{sign(stateSign(op.State)), bold(sentenceCase(op.State.Words()))}
	switch op.State {
	case operation.Pending:
		l = append(l, say(". It can be confirmed until "), when(op.LapsesAt), say("."))
		if op.Plan.Urgent {
			l = append(l, say(" Confirming acts at once."))
		}
		return l
	case operation.Approved:
		l = append(l, say(" by "), who(op.Approver), say(", "), when(op.DecidedAt), say("."))
		if op.Plan.Urgent {
			return l
		}
		return append(l, say(" The plan is being made again before anything is changed."))
	case operation.Running:
		return append(append(l, say(". ")), c.confirmed()...)
	case operation.Waiting:
		return append(append(l, say(". It goes on at "), when(op.Due), say(". ")), c.confirmed()...)
	case operation.Undoing:
		return append(append(l, say(". A step failed, and what was done is being undone and verified. ")), c.confirmed()...)
	case operation.Parked:
		return append(append(l, say(". It stopped where it was and changes nothing by itself. ")), c.confirmed()...)
	case operation.Succeeded, operation.TakenBack:
		return append(append(l, say(", "), when(op.EndedAt), say(". ")), c.confirmed()...)
	case operation.Denied, operation.Cancelled, operation.HandedOver:
		return append(l, say(" by "), who(op.DecidedBy), say(", "), when(op.DecidedAt), say("."))
	case operation.Lapsed:
		return append(l, say(". Nobody confirmed it by "), when(op.LapsesAt), say(". Nothing was changed. Ask again if it is still needed."))
	case operation.Voided:
		return append(append(l, say(". The plan no longer fits what is there, so nothing was changed. ")), c.confirmed()...)
	case operation.Superseded:
		return append(l, say(", "), when(op.EndedAt), say("."))
	}
	return append(l, say("."))
}

// confirmed names who turned the second key.
func (c Card) confirmed() line {
	if c.Operation.Approver.User == "" {
		return nil
	}
	return line{say("Confirmed by "), who(c.Operation.Approver), say(".")}
}

// because gives the reason of what happened: the decider's words, and the trouble.
func (c Card) because() []paragraph {
	op := c.Operation
	var out []paragraph
	if op.DecisionWords != "" && !op.State.Open() {
		out = append(out, paragraph{line: line{say(plain(op.DecisionWords, operation.MaxReason))}, quote: "Reason"})
	}
	if op.Trouble != "" {
		out = append(out, paragraph{line: line{bold("Trouble: "), say(plain(op.Trouble, operation.MaxReason))}})
	}
	return out
}

// room says where the operation, or the emergency that took its place, is told when
// it is not under the card alone.
func (c Card) room() []paragraph {
	op := c.Operation
	switch {
	case c.Incident.RoomChannel != "":
		return []paragraph{{line: line{bold("Follow the emergency in "), where(c.Incident.RoomChannel), say(".")}}}
	case c.IncidentCard != "":
		return []paragraph{{line: line{bold("Follow the emergency: "), link("its card", c.IncidentCard), say(".")}}}
	case op.RoomChannel != "":
		return []paragraph{{line: line{bold("Follow it in "), where(op.RoomChannel), say(".")}}}
	case op.RoomTrouble != "":
		return []paragraph{{line: line{bold("It has no channel of its own: "), words(op.RoomTrouble), say(" This thread serves instead.")}}}
	}
	return nil
}

// request says who asks and why.
func (c Card) request() []paragraph {
	op := c.Operation
	out := []paragraph{
		{line: line{say("Asked for by "), who(op.Requester), say(", "), when(op.RequestedAt), say(".")}},
		{line: line{say(plain(op.Reason, operation.MaxReason))}, quote: "Why"},
	}
	if op.ChangeReference != "" {
		out = append(out, paragraph{line: line{say("Change reference: "), code(plain(op.ChangeReference, maxPhrase))}})
	}
	return out
}

// changesTitle says whether the changes are to come, were made, or were not.
func (c Card) changesTitle() string {
	if c.Operation.Plan.Urgent && c.Operation.State == operation.Pending {
		return "What confirming does, at once"
	}
	switch c.Operation.State {
	case operation.Pending, operation.Approved, operation.Running, operation.Waiting:
		return "What will change"
	case operation.Succeeded:
		return "What was changed"
	case operation.Undoing, operation.Parked, operation.TakenBack, operation.HandedOver, operation.Superseded:
		return "What was to change"
	case operation.Denied, operation.Cancelled, operation.Lapsed, operation.Voided:
		return "What would have changed"
	}
	return "What will change"
}

func (c Card) changes() []line {
	var out []line
	for _, ch := range c.Operation.Plan.Changes {
		l := line{bold(plain(ch.What, maxPhrase)), say(": ")}
		if ch.From != "" {
			l = append(l, words(ch.From), say(" → "))
		}
		out = append(out, append(l, words(ch.To)))
	}
	return out
}

func (c Card) warnings() []line {
	var out []line
	for _, w := range c.Operation.Plan.Warnings {
		out = append(out, line{sign("warning"), words(w)})
	}
	return out
}

func (c Card) progressTitle() string {
	done := 0
	for _, s := range c.Steps {
		if s.Mark == operation.StepDone {
			done++
		}
	}
	return fmt.Sprintf("Steps: %d of %d done", done, len(c.Steps))
}

// proposal says what one person asked for while the operation is parked.
func (c Card) proposal() (line, bool) {
	p := c.Operation.Proposal
	if c.Operation.State != operation.Parked || p.Event == "" {
		return nil, false
	}
	return line{who(p.By), say(" asks to " + eventWords(p.Event) + ", "), when(p.At), say(". Another approver has to confirm it.")}, true
}

func eventWords(e operation.Event) string { return strings.ReplaceAll(string(e), "_", " ") }

// buttons are there only while they can do something. Nobody can confirm a plan
// of which the card does not show all.
func (c Card) buttons(whole bool) []slack.BlockElement {
	var out []slack.BlockElement
	switch c.Operation.State {
	case operation.Pending:
		if whole {
			out = append(out, c.confirmButton())
		}
		return append(out, c.button(ActionDeny, "Deny", slack.StyleDanger, ""), c.button(ActionCancel, "Cancel", slack.StyleDefault, ""))
	case operation.Parked:
		out = c.parkedButtons()
	default:
	}
	return append(out, c.nextButtons()...)
}

func (c Card) confirmButton() slack.BlockElement {
	if c.Operation.Plan.MustType != "" || c.Operation.Plan.Policy.SecondFactor {
		return c.button(ActionConfirmTyped, "Confirm…", slack.StylePrimary, "")
	}
	return c.button(ActionConfirm, "Confirm", slack.StylePrimary, "Turn the second key? What the card says is what will be done.")
}

// nextButtons ask for what may be needed besides, each with two keys of its own.
func (c Card) nextButtons() []slack.BlockElement {
	under := c.Operation.State == operation.Running || c.Operation.State == operation.Waiting || c.Operation.State == operation.Parked
	done := c.Operation.State == operation.Succeeded
	switch {
	case c.Operation.Kind == kindEmergency && (under || done || c.Operation.State == operation.Approved):
		return []slack.BlockElement{c.button(ActionFreeze, "Freeze the application…", slack.StyleDefault, "")}
	case c.Operation.Kind == kindFreeze && done:
		return []slack.BlockElement{c.button(ActionThaw, "Thaw the application…", slack.StyleDefault, "")}
	case c.Operation.Kind == kindRotate && (under || done):
		return []slack.BlockElement{c.button(ActionEmergency, "Emergency disable…", slack.StyleDanger, "")}
	}
	return nil
}

func (c Card) parkedButtons() []slack.BlockElement {
	op := c.Operation
	var out []slack.BlockElement
	if op.ParkedFrom != operation.Undoing { // taking back has begun: there is no way forward
		out = append(out, c.proposable(ActionRetry, operation.Retry, "Retry", "The step that stopped is tried again."))
	}
	if !op.NoReturn {
		out = append(out, c.proposable(ActionUndo, operation.Undo, "Undo", "What was done so far is undone, newest first."))
	}
	return append(out, c.button(ActionHandOver, "Hand over", slack.StyleDefault,
		"You take it on by hand. I stop here and change nothing any more."))
}

// proposable is a button that asks at the first click, and confirms when somebody
// else has asked already.
func (c Card) proposable(action string, event operation.Event, label, what string) slack.BlockElement {
	if c.Operation.Proposal.Event == event {
		return c.button(action, "Confirm "+strings.ToLower(label), slack.StylePrimary, what+" This turns the second key.")
	}
	return c.button(action, label, slack.StyleDefault, what+" Another approver has to confirm it.")
}

func (c Card) button(action, label string, style slack.Style, confirm string) slack.BlockElement {
	op := c.Operation
	b := slack.NewButtonBlockElement(action, Ref{Operation: op.ID, Digest: op.Digest}.String(), plainText(label, maxButton))
	b.Style = style
	if confirm != "" {
		b.Confirm = slack.NewConfirmationBlockObject(
			plainText(label+": "+title(op), 100), plainText(confirm, 300),
			plainText(label, 30), plainText("Back", 30))
	}
	return b
}

// footer says who may confirm, and names the operation and its plan.
func (c Card) footer() line {
	op := c.Operation
	l := line{say("Operation "), code(string(op.ID)), say(" · plan "), code(shortDigest(op.Digest))}
	if op.State != operation.Pending {
		return l
	}
	group := c.Approvers
	if group == "" {
		group = "the approvers' group"
	}
	may := line{say("May confirm: anybody in "), bold(plain(group, 80))}
	if op.Plan.Urgent && c.Escalation != "" {
		may = append(may, say(" or "), bold(plain(c.Escalation, 80)))
	}
	may = append(may, say(" but "), who(op.Requester))
	if op.Plan.Policy.SecondFactor {
		may = append(may, say(", with a code of their authenticator app"))
	}
	return append(append(may, say(" · ")), l...)
}

// shortDigest is enough of a digest for people to compare.
func shortDigest(d operation.Digest) string { return string(d[:min(len(d), 12)]) }

func stateSign(s operation.State) string {
	switch s {
	case operation.Pending:
		return "key"
	case operation.Approved:
		return "old_key"
	case operation.Running:
		return "gear"
	case operation.Waiting:
		return "hourglass_flowing_sand"
	case operation.Undoing, operation.TakenBack:
		return "leftwards_arrow_with_hook"
	case operation.Parked:
		return "octagonal_sign"
	case operation.Succeeded:
		return "white_check_mark"
	case operation.Denied, operation.Cancelled, operation.Voided:
		return "no_entry_sign"
	case operation.Lapsed:
		return "alarm_clock"
	case operation.HandedOver, operation.Superseded:
		return "raising_hand"
	}
	return "key"
}

func sentenceCase(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// markSign shows a step's mark where the plan block is not taken.
func markSign(m operation.Mark) string {
	switch m {
	case operation.StepPending:
		return "white_circle"
	case operation.StepActive:
		return "large_blue_circle"
	case operation.StepDone:
		return "white_check_mark"
	case operation.StepFailed:
		return "x"
	case operation.StepUndone:
		return "leftwards_arrow_with_hook"
	}
	return "white_circle"
}

// markWords reads a step's mark out.
func markWords(m operation.Mark) string {
	switch m {
	case operation.StepPending:
		return "to do"
	case operation.StepActive:
		return "in progress"
	case operation.StepDone:
		return "done"
	case operation.StepFailed:
		return "failed"
	case operation.StepUndone:
		return "taken back"
	}
	return "to do"
}
