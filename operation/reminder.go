package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Stage is how many days before its end something is told: 0 on the day on which
// it is over, -1 a day later. A later stage is a smaller number.
type Stage int

// NotTold stands for the stage of what was never told.
const NotTold Stage = 1 << 20

// ReminderID numbers what is told of one thing at one stage.
type ReminderID int64

// RoundID numbers a message that gathers the reminders of one tick and channel.
type RoundID int64

// MaxCards bounds the cards under one message; what has none is a line in it.
const MaxCards = 30

// Matter is one thing that expires at one instant, and what became of that.
type Matter struct {
	Item    string    `json:"item"`         // the inventory's id of it
	End     time.Time `json:"end,omitzero"` // zero: unknown
	Told    Stage     `json:"told"`         // the latest stage that was told
	Version int64     `json:"version"`      // counts the changes
	Taken   Taken     `json:"taken,omitzero"`
	Snoozed Snooze    `json:"snoozed,omitzero"`
	Settled Settled   `json:"settled,omitzero"`
}

// Taken says who looks after a matter.
type Taken struct {
	By Person    `json:"by"`
	At time.Time `json:"at"`
}

// Snooze keeps a matter quiet for a while.
type Snooze struct {
	By     Person    `json:"by"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// Settled says why nobody has to be reminded of a matter any more.
type Settled struct {
	At        time.Time `json:"at"`
	Operation ID        `json:"operation,omitempty"` // which replaced it; empty: none of ours
	Why       string    `json:"why,omitempty"`       // a sentence, without an operation
}

// Open reports whether the matter is not settled.
func (m Matter) Open() bool { return m.Settled.At.IsZero() }

// Untold reports whether a stage is to be told at now: it is later than what was
// told, and nobody wanted quiet until then.
func (m Matter) Untold(stage Stage, now time.Time) bool {
	return stage < m.Told && !now.Before(m.Snoozed.Until)
}

// Reminder is one matter at one stage, as it is told.
type Reminder struct {
	ID     ReminderID `json:"id"`
	Round  RoundID    `json:"round"`
	Matter Matter     `json:"matter"` // as it is now
	Stage  Stage      `json:"stage"`
	At     time.Time  `json:"at"`   // when it was told
	Days   int        `json:"days"` // that were left then; negative: since its end

	Name   string     `json:"name"`             // "sharepoint/prod"
	Kind   string     `json:"kind"`             // "client secret"
	Secret SecretName `json:"secret,omitempty"` // the configuration's; empty: it cannot be rotated here
	Key    string     `json:"key,omitempty"`    // id of the key, as operations replace them
	Owner  string     `json:"owner,omitempty"`
	Feeds  []string   `json:"feeds,omitempty"`  // what has it or uses it
	Breaks string     `json:"breaks,omitempty"` // a sentence: what no longer works after its end
	Why    string     `json:"why,omitempty"`    // a sentence: why its end is unknown, or what else is known

	Channel    ChannelID `json:"channel"`
	Escalation ChannelID `json:"escalation,omitempty"` // where it is told too if nobody has taken it
	Ring       GroupID   `json:"ring,omitempty"`       // whom to ring

	Card  MessageID `json:"-"` // the message with its buttons, once it is posted
	Own   bool      `json:"-"` // that message is its own, under its round's
	Newer bool      `json:"-"` // a later stage of the same matter was told
}

// Overdue reports whether it had ended when it was told.
func (r Reminder) Overdue() bool { return !r.Matter.End.IsZero() && r.Stage <= 0 }

// Round is a message in a channel and the reminders that it gathers.
type Round struct {
	ID        RoundID
	Channel   ChannelID
	Message   MessageID // once it is posted
	At        time.Time
	Escalated bool    // it tells a second time what nobody has taken
	Ring      GroupID // whom its first post rings
	Reminders []Reminder
}

// Caring keeps what people say about reminders.
type Caring interface {
	// Reminder returns ErrUnknown when there is none.
	Reminder(ctx context.Context, id ReminderID) (Reminder, error)
	// Care stores a matter, records the entry and tells it under the reminder;
	// ErrStale when the matter is no longer as it was read.
	Care(ctx context.Context, r Reminder, m Matter, e Entry) error
}

// Care decides what people may do about reminders. None of it changes a secret.
type Care struct {
	Rules  *Rules
	Store  Caring
	Policy Policy // whose requesters and approvers may do it
}

// Attention is what somebody does on a reminder's card.
type Attention struct {
	Reminder ReminderID
	User     UserID
	Channel  ChannelID
	Message  MessageID
	Until    time.Time // of a snooze
	Reason   string    // of a snooze
}

// Codes of refusals about reminders.
const (
	CodeNoReminder    Code = "no_reminder"
	CodeSettled       Code = "settled"
	CodeTakenAlready  Code = "taken_already"
	CodeSnoozeTooLong Code = "snooze_too_long"
	CodeSnoozeTooLate Code = "snooze_too_late"
)

// Steps under which the record has what happened to reminders.
const (
	StepReminded = "reminded"
	StepTaken    = "reminder taken"
	StepSnoozed  = "reminder snoozed"
	StepSettled  = "reminder settled"
)

// SnoozeEnd is the latest end of a snooze: a day before the end of the matter.
func (m Matter) SnoozeEnd() time.Time { return m.End.Add(-24 * time.Hour) }

// Find returns the reminder that a click on a card names. The card can be clicked in
// the instant in which it is posted, and the note of where it stands may come later.
func (c *Care) Find(ctx context.Context, a Attention) (Reminder, error) {
	r, err := c.Store.Reminder(ctx, a.Reminder)
	for until := time.Now().Add(cardTime); err == nil && r.Card == "" && r.Matter.Open() && r.Channel == a.Channel && time.Now().Before(until); {
		if err = sleep(ctx, cardPause); err == nil {
			r, err = c.Store.Reminder(ctx, a.Reminder)
		}
	}
	switch {
	case errors.Is(err, ErrUnknown) || err == nil && (r.Card == "" || a.Message != r.Card || a.Channel != r.Channel):
		return r, Refuse(CodeNoReminder, "This button is not on a reminder's own card, so it was not counted.")
	case err != nil:
		return r, fmt.Errorf("read reminder %d: %w", a.Reminder, err)
	case !r.Matter.Open() && r.Matter.Settled.Operation != "":
		return r, Refuse(CodeSettled, "%s is settled: operation %s has replaced it.", r.Name, r.Matter.Settled.Operation)
	case !r.Matter.Open():
		return r, Refuse(CodeSettled, "%s is settled: %s", r.Name, r.Matter.Settled.Why)
	}
	return r, nil
}

// Take notes that somebody looks after it. Whoever comes later takes it over.
func (c *Care) Take(ctx context.Context, a Attention) error {
	return c.change(ctx, a, StepTaken, func(m *Matter, who Person, now time.Time) (string, error) {
		before := m.Taken.By
		m.Taken = Taken{By: who, At: now}
		switch {
		case before.User == "":
			return "", nil
		case same(before, who):
			return "", Refuse(CodeTakenAlready, "You have taken it already.")
		}
		return fmt.Sprintf("It was %s's before.", before.Name), nil
	})
}

// Snooze keeps it quiet until an instant that leaves at least a day.
func (c *Care) Snooze(ctx context.Context, a Attention) error {
	return c.change(ctx, a, StepSnoozed, func(m *Matter, who Person, now time.Time) (string, error) {
		reason := strings.TrimSpace(a.Reason)
		if err := maySnooze(*m, a.Until, reason, now); err != nil {
			return "", err
		}
		m.Snoozed = Snooze{By: who, At: now, Until: a.Until, Reason: reason}
		return fmt.Sprintf("Until %s: %s", a.Until.UTC().Format("2006-01-02 15:04 MST"), reason), nil
	})
}

func maySnooze(m Matter, until time.Time, reason string, now time.Time) error {
	latest := m.SnoozeEnd()
	switch {
	case m.End.IsZero():
		return Refuse(CodeSnoozeTooLate, "Nobody knows when it expires, so it can't be snoozed. Have it looked at.")
	case !now.Before(latest):
		return Refuse(CodeSnoozeTooLate, "It expires within a day or has expired, so it can't be snoozed. Rotate it.")
	case reason == "":
		return Refuse(CodeNoReason, "Please say why: everybody in the thread will read it, and the record keeps it.")
	case len([]rune(reason)) > MaxReason:
		return Refuse(CodeNoReason, "The reason has %d characters; %d are kept. Please shorten it.", len([]rune(reason)), MaxReason)
	case !until.After(now):
		return Refuse(CodeSnoozeTooLong, "A snooze has to end in the future.")
	case until.After(latest):
		return Refuse(CodeSnoozeTooLong, "A snooze has to end a day before it expires, so by %s.", latest.UTC().Format("2006-01-02 15:04 MST"))
	}
	return nil
}

// change judges who does it, has the matter changed, and records it. What change
// returns stands in the record.
func (c *Care) change(ctx context.Context, a Attention, step string, change func(m *Matter, who Person, now time.Time) (string, error)) error {
	now := c.Rules.Now()
	r, err := c.Find(ctx, a)
	entry := Entry{At: now, Secret: r.Secret, Outcome: Noted, Step: step, By: &Person{User: a.User}, Channel: a.Channel, Message: a.Message}
	if err != nil {
		return c.Rules.noteRefusal(ctx, err, entry)
	}
	who, err := c.Rules.standing(ctx, a.User, a.Channel, c.Policy.Requesters, c.Policy.Approvers)
	if err == nil && c.Policy.Requesters != "" && !who.Member {
		err = Refuse(CodeNotRequester, "Only members of the requesters' or the approvers' group may do this. Ask one of them.")
	}
	if err != nil {
		return c.Rules.noteRefusal(ctx, err, entry)
	}
	m := r.Matter
	entry.Text, err = change(&m, who.Person, now)
	if err != nil {
		entry.By = &who.Person
		return c.Rules.noteRefusal(ctx, err, entry)
	}
	entry.By, entry.Text = &who.Person, strings.TrimSpace(r.Name+". "+entry.Text)
	err = c.Store.Care(ctx, r, m, entry)
	if errors.Is(err, ErrStale) {
		return Refuse(CodeDecided, "Somebody was quicker. Look at the card, and click again if it is still needed.")
	}
	return err
}
