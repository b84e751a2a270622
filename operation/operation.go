package operation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// ID names one operation, such as "k7m2p9". It is in the name of every key that
// the operation makes, in its messages and in the record.
type ID string

// Kind is what an operation does; it names its step list.
type Kind string

// SecretName names one secret of the configuration: "sharepoint/prod".
type SecretName string

// UserID is a person's id in the chat.
type UserID string

// TeamID is a workspace of the chat.
type TeamID string

// ChannelID is a channel of the chat.
type ChannelID string

// GroupID is a user group of the chat.
type GroupID string

// MessageID is a message's id inside its channel (Slack's "ts").
type MessageID string

// PersonID is a human being, whatever accounts they have: the object id of
// their identity in the directory.
type PersonID string

// Digest is the hash of a frozen plan, in hexadecimal.
type Digest string

// Option names something that a requester can choose.
type Option string

// Fact names something that a step found out and later steps need. Facts are
// stored and shown; they are never secret.
type Fact string

// Facts that an operation's status message shows besides its steps.
const (
	FactDead      Fact = "dead"       // a sentence: what is dead by now
	FactWorks     Fact = "works"      // a sentence: what works by now
	FactTokensDie Fact = "tokens_die" // RFC 3339: until when tokens that were issued before may work
)

// OptionDrill is "true" on operations that only practise. They are marked wherever
// they show.
const OptionDrill Option = "drill"

// Person is somebody as looked up at one instant.
type Person struct {
	User   UserID   `json:"user"`
	Person PersonID `json:"person"`
	Name   string   `json:"name"`
}

// Change is one line of what an operation will change, for the card.
type Change struct {
	What string `json:"what"`           // "SSM parameter /aiconnectors/prod/sharepoint/client_secret"
	From string `json:"from,omitempty"` // "version 7"
	To   string `json:"to"`             // "version 8"
}

// Policy is who may turn the second key, as configured when the plan was made.
// It is part of the digest, so nobody can weaken it between ask and click.
type Policy struct {
	Approvers  GroupID   `json:"approvers"`  // whose members may confirm
	Requesters GroupID   `json:"requesters"` // whose members may ask; empty: every full member
	Channel    ChannelID `json:"channel"`    // where the card stands
	// Lapse is how long the request can be confirmed.
	Lapse time.Duration `json:"lapse"`
	// Escalation is the group that is paged when none of the approvers of an
	// emergency has decided in time; empty: nobody more is paged.
	Escalation GroupID `json:"escalation,omitempty"`
	// SecondFactor is true where confirming takes a code of the approver's
	// authenticator app besides the click.
	SecondFactor bool `json:"second_factor,omitempty"`
}

// Plan is what will be done, frozen: what the second person confirms.
type Plan struct {
	Kind     Kind       `json:"kind"`
	Secret   SecretName `json:"secret"`
	Changes  []Change   `json:"changes"`
	Warnings []string   `json:"warnings,omitempty"`
	Policy   Policy     `json:"policy"`
	// Urgent plans run the instant they are confirmed and have no way back: nothing
	// that can wait stands before their first step, and the approvers are paged.
	Urgent bool `json:"urgent,omitempty"`
	// Ends are the kinds of operations on the same secret that this one ends when
	// it is confirmed, and that have to wait for it until then.
	Ends []Kind `json:"ends,omitempty"`
	// Blocks are the kinds of operations on the same secret that are neither asked for
	// nor confirmed before this one has ended.
	Blocks []Kind `json:"blocks,omitempty"`
	// MustType is what the approver has to type, so that nobody turns the key by
	// habit; empty: a click is enough.
	MustType string `json:"must_type,omitempty"`
	// Room is the channel that the operation gets for itself; nil: its thread is
	// under its card.
	Room    *Room           `json:"room,omitempty"`
	Details json.RawMessage `json:"details"` // what the runbook itself needs, without secrets
}

// Room is a channel for one operation: an incident's.
type Room struct {
	Name    string    `json:"name"` // "inc-2026-11-24-sharepoint-prod"
	Private bool      `json:"private,omitempty"`
	Channel ChannelID `json:"channel,omitempty"` // an existing channel to use instead
	Invite  []UserID  `json:"invite,omitempty"`  // besides requester and approver
	Group   GroupID   `json:"group,omitempty"`   // whose members are invited too
	Runbook string    `json:"runbook,omitempty"` // URL of the team's runbook
}

// Digest hashes the plan. Two plans with the same digest do the same. Warnings
// are what was seen, not what is done, and do not count.
func (p Plan) Digest() Digest {
	p.Warnings = nil
	b, err := json.Marshal(p) // struct order is fixed and map keys are sorted
	if err != nil {
		panic("operation: a plan cannot be encoded: " + err.Error()) // Details is always the runbook's own JSON
	}
	sum := sha256.Sum256(b)
	return Digest(hex.EncodeToString(sum[:]))
}

// Operation is one request and all that became of it.
type Operation struct {
	ID              ID         `json:"id"`
	Kind            Kind       `json:"kind"`
	Secret          SecretName `json:"secret"`
	State           State      `json:"state"`
	Epoch           int64      `json:"epoch"` // counts every change; the fence against those who slept
	Requester       Person     `json:"requester"`
	Reason          string     `json:"reason"`
	ChangeReference string     `json:"change_reference"`
	RequestedAt     time.Time  `json:"requested_at"`
	LapsesAt        time.Time  `json:"lapses_at"`
	Plan            Plan       `json:"plan"`
	Digest          Digest     `json:"digest"`
	Channel         ChannelID  `json:"channel"`
	Card            MessageID  `json:"card"` // the card's message, once it is posted

	// Options are what the requester chose besides, such as which key leaked.
	Options map[Option]string `json:"options,omitempty"`

	Approver      Person    `json:"approver"`   // who turned the second key; zero until then
	DecidedBy     Person    `json:"decided_by"` // who confirmed, denied or cancelled
	DecidedAt     time.Time `json:"decided_at"`
	DecisionWords string    `json:"decision_words"` // a denial's reason
	// DecidedIn is the chat's id of the click that decided: the same click twice
	// is one decision.
	DecidedIn string `json:"decided_in,omitempty"`

	Step      int             `json:"step"`       // index of the step that is next, or being undone
	Phase     Phase           `json:"phase"`      // of that step
	StepSince time.Time       `json:"step_since"` // when that step was begun
	ToldAt    time.Time       `json:"told_at"`    // when people last heard that it still goes on
	Facts     map[Fact]string `json:"facts"`
	// Due is when a waiting operation goes on. While it is pending, it is when it lapses
	// by the clock that measures: whatever happens to the other, nobody confirms later.
	Due     time.Time `json:"due"`
	Trouble string    `json:"trouble"` // why it is parked, or failed

	FailedStep int   `json:"failed_step"` // the step that failed, while and after taking back
	ParkedFrom State `json:"parked_from"` // where it stood when it was parked
	NoReturn   bool  `json:"no_return"`   // a step has begun that cannot be taken back

	Proposal Proposal `json:"proposal"` // what somebody asked for while it was parked

	// Lost is when a worker of it was last found to be gone. It may be dead, or
	// only asleep and about to write.
	Lost       time.Time `json:"lost"`
	LeaseOwner string    `json:"lease_owner"`
	LeaseUntil time.Time `json:"lease_until"`
	EndedAt    time.Time `json:"ended_at"`
	// SupersededBy is the emergency that took its place.
	SupersededBy ID `json:"superseded_by,omitempty"`

	// RoomChannel and RoomStatus are the operation's own channel and the pinned
	// message in it, once they are there; RoomTrouble says why there is none.
	RoomChannel ChannelID `json:"room_channel"`
	RoomStatus  MessageID `json:"room_status"`
	RoomTrouble string    `json:"room_trouble"`

	// Envelope is the chat's id of the request: the same envelope twice is one
	// operation.
	Envelope string `json:"envelope"`

	// Forged is set on what was read from the store and is not as this program
	// wrote it: nothing in it may be believed.
	Forged bool `json:"-"`
}

// Lane is the queue in which the operation's thread is told: its card's or, once it
// is confirmed, that of its room.
func (op Operation) Lane() string {
	if op.Plan.Room != nil && op.Approver.User != "" {
		return "room:" + string(op.ID)
	}
	return op.CardLane()
}

// CardLane is the queue in which the operation's card is shown: its channel's, where
// it waits for what was asked before, or its own, if it is urgent enough for a room.
// Whoever asks for a thousand rotations must not delay an emergency.
func (op Operation) CardLane() string {
	if op.Plan.Room != nil {
		return "card:" + string(op.ID)
	}
	return string(op.Channel)
}

// Over reports whether a request's time is over by the clock that measures.
func (op Operation) Over(clock time.Time) bool {
	return op.State == Pending && !op.Due.IsZero() && !clock.Before(op.Due)
}

// Idle is the operation after nobody has worked on it for d, which does not count as
// time that its step took.
func (op Operation) Idle(d time.Duration) Operation {
	for _, at := range []*time.Time{&op.StepSince, &op.ToldAt, &op.Lost} {
		if !at.IsZero() {
			*at = at.Add(d)
		}
	}
	return op
}

// EditLanes begins the names of the lanes in which nothing but edits of cards stand.
const EditLanes = "edit:"

// EditLane is the queue in which the operation's card is edited once it is there. An
// edit holds up no sentence of its channel: Slack takes fewer of them, in all channels
// together. An urgent card has a lane of its own already.
func (op Operation) EditLane() string {
	if op.Plan.Room != nil {
		return op.CardLane()
	}
	return EditLanes + string(op.ID)
}

// Drill reports whether the operation only practises.
func (op Operation) Drill() bool { return op.Options[OptionDrill] == "true" }

// Document is something written for people that belongs to an operation: the
// audit events as CSV, the draft of a report. It holds no secret.
type Document struct {
	Operation ID
	Name      string // file name
	Title     string
	Body      []byte
	At        time.Time
	// Alternative is what a picture shows, for those who hear it.
	Alternative string
}

// Phase is how far the current step is.
type Phase string

// A step is first done and then verified; an undo likewise.
const (
	Doing     Phase = "do"
	Verifying Phase = "verify"
)

// Proposal is one person's wish for a parked operation, until a second person
// turns the other key.
type Proposal struct {
	Event Event     `json:"event,omitempty"` // Retry or Undo
	By    Person    `json:"by"`
	At    time.Time `json:"at"`
	// Envelope is the chat's id of the click.
	Envelope string `json:"envelope,omitempty"`
}

// Outcome says how a step, an undo or a decision went, in one word.
type Outcome string

// Every entry of the record has one of these.
const (
	Asked     Outcome = "asked"
	Decided   Outcome = "decided"
	Refused   Outcome = "refused"
	Verified  Outcome = "verified"
	Failed    Outcome = "failed"
	Undone    Outcome = "undone"
	NotUndone Outcome = "not undone"
	Noted     Outcome = "noted"
)

// Entry is one thing that happened: a line of the record, and of the thread.
type Entry struct {
	Sequence  int64      `json:"seq"` // its index in the record, given by the store
	At        time.Time  `json:"at"`
	Operation ID         `json:"operation,omitempty"`
	Secret    SecretName `json:"secret,omitempty"`
	Event     Event      `json:"event,omitempty"` // what moved the operation, if it moved
	State     State      `json:"state,omitempty"` // the state afterwards
	Epoch     int64      `json:"epoch,omitempty"`
	Step      string     `json:"step,omitempty"`
	Outcome   Outcome    `json:"outcome"`
	By        *Person    `json:"by,omitempty"`
	Code      Code       `json:"code,omitempty"` // of a refusal
	Text      string     `json:"text"`           // evidence or reason, without secrets
	Digest    Digest     `json:"digest,omitempty"`
	Channel   ChannelID  `json:"channel,omitempty"`
	Message   MessageID  `json:"message,omitempty"`
	// ChangeReference stands where a change is asked for, or linked.
	ChangeReference string `json:"change_reference,omitempty"`
	// Quiet entries go into the record and not into the thread: refusals are
	// told to the clicker alone.
	Quiet bool `json:"quiet,omitempty"`
}

// NoticeKind says what people are to be told.
type NoticeKind string

// Kinds of notices.
const (
	NoticeCard       NoticeKind = "card"       // the operation's card: posted once, then edited in place
	NoticeEntry      NoticeKind = "entry"      // one entry of the record, under the card
	NoticeCheckpoint NoticeKind = "checkpoint" // the record's signed checkpoint
	NoticeDirect     NoticeKind = "direct"     // a sentence for one person
	NoticePage       NoticeKind = "page"       // the same, only while the operation waits for its second key
	NoticeRoom       NoticeKind = "room"       // open the operation's own channel
	NoticeStatus     NoticeKind = "status"     // the pinned message in it, edited in place
	NoticeFile       NoticeKind = "file"       // a document of the operation, uploaded
	NoticeRound      NoticeKind = "round"      // a message that gathers reminders, edited in place
	NoticeReminder   NoticeKind = "reminder"   // one reminder's card under it, edited in place
	NoticeCare       NoticeKind = "care"       // under it: what somebody did about a reminder
	NoticeWorkNote   NoticeKind = "work_note"  // one entry and what led to it, for the operation's change request; not for the chat
	NoticeLeftover   NoticeKind = "leftover"   // a leftover's message, edited in place
	NoticeDigest     NoticeKind = "digest"     // the weekly digest
	NoticePicture    NoticeKind = "picture"    // under it: its picture, uploaded
	NoticeMonths     NoticeKind = "months"     // under it: what expires, by month
)

// Notice is something that people must be told, written down in the same
// transaction as what it tells. The chat's poster takes notices from the store,
// posts each exactly once and notes the message's id.
type Notice struct {
	ID   int64
	Key  string // unique; travels in the message's metadata, so it can be found again
	Kind NoticeKind
	// Lane is the queue it stands in: what is in one lane is told in order. It
	// is a channel, or stands for one that may not be there yet: see [Operation.Lane].
	Lane      string
	Channel   ChannelID // where it is told unless the operation has a room
	User      UserID    // of a direct notice or a page
	Document  string    // name of the document of a file notice
	Operation ID        // whose card, or under whose card
	Round     RoundID   // of what belongs to reminders
	Reminder  ReminderID
	Leftover  LeftoverID
	Digest    DigestID // of what belongs to a weekly digest
	Entry     Entry    // of an entry notice
	Text      string   // of checkpoint and direct notices
	CreatedAt time.Time
	NotBefore time.Time // zero: at once
	Attempts  int       // how often it was claimed, this time included
	Claim     int64     // fences those who claimed it before
}
