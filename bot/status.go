package bot

import (
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// Status is the pinned message in an operation's own channel: what is so now, and
// what happened when. It is edited in place; the thread under it has the evidence.
type Status struct {
	Operation operation.Operation
	Steps     []operation.StepState
	Told      []operation.Entry // what the thread tells, oldest first
	Card      string            // URL of the card; empty: unknown
}

// Message renders the status. The same status always renders to the same message.
func (s Status) Message() Message {
	op := s.Operation
	b := builder{}
	b.title(op)
	b.paragraphs(append([]paragraph{{line: line{sign(stateSign(op.State)), bold(sentenceCase(op.State.Words())), say(".")}}}, s.now()...)...)
	b.paragraphs(s.people()...)
	b.heading("What is so now")
	b.list(s.effects())
	b.heading("Time line")
	b.list(s.timeline())
	b.context(s.footer())
	return b.message(title(op))
}

// now says what is being done, or why nothing is.
func (s Status) now() []paragraph {
	if s.Operation.State == operation.Parked {
		return []paragraph{
			{line: line{bold("Trouble: "), say(plain(s.Operation.Trouble, operation.MaxReason))}},
			{line: line{say("Nothing goes on by itself: an approver has to decide on "), link("the card", s.Card), say(".")}},
		}
	}
	for i, step := range s.Steps {
		if step.Mark == operation.StepActive {
			return []paragraph{{line: line{bold(fmt.Sprintf("Step %d of %d: ", i+1, len(s.Steps))), words(step.Name), say(".")}}}
		}
	}
	return nil
}

func (s Status) people() []paragraph {
	op := s.Operation
	out := []paragraph{
		{line: line{bold("Asked for by "), who(op.Requester), say(", "), when(op.RequestedAt), say(".")}},
		{line: line{say(plain(op.Reason, operation.MaxReason))}, quote: "Why"},
	}
	if op.Approver.User == "" {
		return out
	}
	return append(out, paragraph{line: line{bold("Confirmed by "), who(op.Approver), say(", "), when(op.DecidedAt), say(". These two lead.")}})
}

// effects are what is dead, what works, and how long what was stolen may be used.
func (s Status) effects() []line {
	facts := s.Operation.Facts
	dead, works := facts[operation.FactDead], facts[operation.FactWorks]
	if dead == "" {
		dead = "nothing yet."
	}
	if works == "" {
		works = "not proven yet."
	}
	out := []line{
		{sign("skull"), bold("Dead: "), words(dead)},
		{sign("green_heart"), bold("Works: "), words(works)},
	}
	if at, err := time.Parse(time.RFC3339, facts[operation.FactTokensDie]); err == nil {
		return append(out, line{sign("hourglass_flowing_sand"), bold("Tokens that were issued before"), say(" may work until "), when(at), say(".")})
	}
	return append(out, line{sign("hourglass_flowing_sand"), bold("Tokens that were issued before"), say(" still work.")})
}

// timeline is the main instants: who turned the keys, and what the record says of
// each step.
func (s Status) timeline() []line {
	op := s.Operation
	out := []line{{when(op.RequestedAt), say(": asked for.")}}
	for _, e := range s.Told {
		if e.Outcome == operation.Asked && e.Event == operation.Request {
			continue
		}
		out = append(out, append(line{when(e.At), say(": "), sign(entrySign(e))}, happened(e)...))
	}
	return out
}

// happened is an entry's headline, which for a finished step is the step alone: the
// sign beside it says the rest.
func happened(e operation.Entry) line {
	if e.Outcome == operation.Verified {
		return line{words(e.Step), say(".")}
	}
	return headline(e)
}

func (s Status) footer() line {
	op := s.Operation
	return line{say("Operation "), code(string(op.ID)), say(" · "), link("the card", s.Card), say(" is in "), where(op.Channel), say(" · what each step found is in the thread")}
}

// RoomNote says that an operation has no channel of its own, or who is missing in
// the one that it has.
func RoomNote(trouble string, missing []Uninvited) Message {
	b := builder{}
	if trouble != "" {
		b.paragraphs(paragraph{line: line{sign("warning"), bold("There is no incident channel."), say(" "), words(trouble), say(" This thread serves instead.")}})
		return b.message("")
	}
	b.heading("These could not be invited to this channel")
	var lines []line
	for _, m := range missing {
		lines = append(lines, line{m.span(), say(": "), words(m.Why)})
	}
	b.list(lines)
	return b.message("")
}

// Uninvited is a person, or a whole group, who could not be invited.
type Uninvited struct {
	User  operation.UserID
	Group operation.GroupID
	Why   string
}

func (u Uninvited) span() span {
	if u.Group != "" {
		return say("the group " + string(u.Group)) // a mention would ring with everybody
	}
	return who(operation.Person{User: u.User, Name: string(u.User)})
}

// FileNote says that a document could not be uploaded.
func FileNote(d operation.Document, trouble string) Message {
	b := builder{}
	b.paragraphs(paragraph{line: line{sign("warning"), bold(plain(d.Title, maxPhrase)), say(" ("), code(plain(d.Name, maxPhrase)), say(") could not be uploaded. "),
		words(trouble), say(" It is kept in the bot's database.")}})
	return b.message("")
}
