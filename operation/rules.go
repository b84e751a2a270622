package operation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Planner looks at the world without changing it and says what an operation
// would do. Made twice of an unchanged world, the plan has the same digest.
// What would make the operation fail is a [*Refusal].
type Planner interface {
	Plan(ctx context.Context, op Operation) (Plan, error)
}

// Rules decide who may set what off. Approve is the only place where the second
// key is judged; chat, command line and workers all come here.
type Rules struct {
	Reader    Reader
	Writer    Writer
	Chat      Chat
	Directory Directory
	Planners  map[Kind]Planner
	Now       func() time.Time // the instant that people see
	Clock     func() time.Time // only measures, and never jumps: the same for all replicas
	// Authenticators are those of the people who may confirm what takes a second
	// factor, and Tries counts their codes; both nil where nothing does.
	Authenticators map[UserID]Authenticator
	Tries          Tries
	// ChangeRequests is where changes are managed; nil: nowhere that can be asked.
	ChangeRequests ChangeRequests

	guesses sync.Map // UserID to the address it had when it was last looked up
}

// Ask is a person's request for an operation.
type Ask struct {
	Envelope        string // the chat's id of this request
	Kind            Kind
	Secret          SecretName
	User            UserID
	Channel         ChannelID // where it was asked
	Reason          string
	ChangeReference string
	// ChangeReferencePattern is what the configuration wants the reference to
	// look like; empty when none is asked for.
	ChangeReferencePattern string
	Options                map[Option]string
	Policy                 Policy
}

// Codes of refusals, as the record and the tests know them.
const (
	CodeNotFullMember    Code = "not_full_member"
	CodeSharedChannel    Code = "shared_channel"
	CodeLookup           Code = "lookup_failed"
	CodeNoIdentity       Code = "no_identity"
	CodeNotRequester     Code = "not_in_requesters"
	CodeNotApprover      Code = "not_in_approvers"
	CodeSamePerson       Code = "same_person"
	CodeNobodyEligible   Code = "nobody_eligible"
	CodeOpenOperation    Code = "open_operation"
	CodeNoReason         Code = "no_reason"
	CodeChangeReference  Code = "change_reference"
	CodeDecided          Code = "already_decided"
	CodeLapsed           Code = "lapsed"
	CodeOtherPlan        Code = "other_plan"
	CodeOtherMessage     Code = "other_message"
	CodeUnknownOperation Code = "unknown_operation"
	CodeOnlyRequester    Code = "only_requester"
	CodeNotInState       Code = "not_in_state"
	CodeNoReturn         Code = "no_return"
	CodeTyped            Code = "not_typed"
	CodeForged           Code = "forged"
	CodeSecondFactor     Code = "second_factor"
)

// MaxReason and MaxReference bound what people write, in runes. Their forms do, too,
// but forms can be forged.
const (
	MaxReason    = 1000
	MaxReference = 100
)

// Request checks who asks, looks at the world, and stores the operation that
// waits for its second key. A [*Refusal] says what to do instead.
func (r *Rules) Request(ctx context.Context, ask Ask) (Operation, error) {
	op, err := r.request(ctx, ask)
	if err != nil {
		// Whoever slept over it must not refuse what another process took meanwhile.
		if made, found := r.made(ctx, ask); found {
			return made, nil
		}
		return Operation{}, r.noteRefusal(ctx, err, Entry{
			Secret: ask.Secret, Event: Request, By: &Person{User: ask.User}, Channel: ask.Channel,
		})
	}
	return op, nil
}

// made finds the operation that was made of this very request.
func (r *Rules) made(ctx context.Context, ask Ask) (Operation, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	op, found, err := r.Reader.Asked(ctx, ask.Envelope)
	return op, found && err == nil && op.Requester.User == ask.User
}

// lookTime bounds one look into the store, also when there is no time left.
const lookTime = 5 * time.Second

func (r *Rules) request(ctx context.Context, ask Ask) (Operation, error) {
	now := r.Now()
	// The process that made it may have died before it said so. What was asked
	// then is not judged by what the world looks like now.
	if before, found := r.made(ctx, ask); found {
		return before, nil
	}
	who, err := r.standing(ctx, ask.User, ask.Channel, ask.Policy.Requesters)
	if err != nil {
		return Operation{}, err
	}
	if err := mayAsk(who, ask); err != nil {
		return Operation{}, err
	}
	if err := r.free(ctx, ask); err != nil {
		return Operation{}, err
	}
	op := Operation{
		ID: newID(), Kind: ask.Kind, Secret: ask.Secret, State: Pending,
		Requester: who.Person, Reason: ask.Reason, ChangeReference: ask.ChangeReference,
		RequestedAt: now, LapsesAt: now.Add(ask.Policy.Lapse), Due: r.Clock().Add(ask.Policy.Lapse), Channel: ask.Policy.Channel,
		Facts: map[Fact]string{}, Envelope: ask.Envelope, Options: ask.Options,
		Plan: Plan{Policy: ask.Policy},
	}
	if op.Plan, err = r.Planners[ask.Kind].Plan(ctx, op); err != nil {
		return Operation{}, err
	}
	op.Digest = op.Plan.Digest()
	if err := r.changeAllows(ctx, op); err != nil {
		return Operation{}, err
	}
	eligible, err := r.eligible(ctx, op)
	if err != nil {
		return Operation{}, err
	}
	var pages []Notice
	if op.Plan.Urgent {
		if pages, err = r.pages(ctx, op, eligible); err != nil {
			return Operation{}, err
		}
	}
	stored, err := r.Writer.Create(ctx, op, []Entry{{
		At: now, Operation: op.ID, Secret: op.Secret, Event: Request, State: Pending, Outcome: Asked,
		By: &op.Requester, Text: op.Reason, Digest: op.Digest, Channel: op.Channel, ChangeReference: op.ChangeReference, Quiet: true,
	}}, pages)
	if errors.Is(err, ErrOpen) {
		return Operation{}, Refuse(CodeOpenOperation, "Somebody else was quicker: %s has an open operation now. Look in <#%s>.", ask.Secret, ask.Policy.Channel)
	}
	return stored, err
}

// mayAsk checks the requester and what they wrote.
func mayAsk(who standing, ask Ask) error {
	if ask.Policy.Requesters != "" && !who.Member {
		return Refuse(CodeNotRequester, "Only members of the requesters' group may ask for this. Ask one of them, or have the group's owner add you.")
	}
	if strings.TrimSpace(ask.Reason) == "" {
		return Refuse(CodeNoReason, "Please say why: the second person decides by it, and the record keeps it. Nothing was changed.")
	}
	if n := len([]rune(ask.Reason)); n > MaxReason {
		return Refuse(CodeNoReason, "The reason has %d characters; %d are kept. Please shorten it. Nothing was changed.", n, MaxReason)
	}
	if n := len([]rune(ask.ChangeReference)); n > MaxReference {
		return Refuse(CodeChangeReference, "The change reference has %d characters; %d are kept. Please shorten it. Nothing was changed.", n, MaxReference)
	}
	if p := ask.ChangeReferencePattern; p != "" {
		if !fitsPattern(ask.ChangeReference, p) {
			return Refuse(CodeChangeReference, "%s needs a change reference that looks like %s, and %q does not. Nothing was changed.", ask.Secret, p, ask.ChangeReference)
		}
	}
	return nil
}

// free refuses when the secret has an open operation that this one would have to
// wait for.
func (r *Rules) free(ctx context.Context, ask Ask) error {
	all, err := r.Reader.OpenOperations(ctx, ask.Secret)
	if err != nil {
		return fmt.Errorf("look for open operations: %w", err)
	}
	for _, open := range all {
		if open.Envelope == ask.Envelope || open.Kind != ask.Kind && !slices.Contains(open.Plan.Ends, ask.Kind) && !slices.Contains(open.Plan.Blocks, ask.Kind) {
			continue
		}
		return Refuse(CodeOpenOperation, "%s has an open operation already: %s, asked for by <@%s>, %s. Its card is in <#%s>; wait for its end, or cancel it there.",
			ask.Secret, open.ID, open.Requester.User, open.State.Words(), open.Channel)
	}
	return nil
}

// Click is a person's decision on an operation, as the chat's envelope tells it.
type Click struct {
	Envelope  string // the chat's id of this click
	Operation ID
	Event     Event // Confirm, Deny, Cancel, Retry, Undo or HandOver
	Digest    Digest
	User      UserID
	Channel   ChannelID
	Message   MessageID // the message whose button it was
	Words     string    // a denial's reason, or what was typed to confirm
	Code      string    // of the clicker's authenticator app; never stored
}

// Approve judges a click and, when the rules allow it, moves the operation. The
// facts come from the store and from live look-ups; of the click only who
// clicked is believed.
func (r *Rules) Approve(ctx context.Context, click Click) (Operation, error) {
	op, err := r.withCard(ctx, click)
	if errors.Is(err, ErrUnknown) {
		return Operation{}, r.noteRefusal(ctx, Refuse(CodeUnknownOperation, "There is no such operation. Nothing was changed."),
			Entry{Event: click.Event, By: &Person{User: click.User}, Channel: click.Channel, Message: click.Message})
	}
	if err != nil {
		return Operation{}, fmt.Errorf("read operation %s: %w", click.Operation, err)
	}
	if click.done(op) {
		return op, nil
	}
	moved, err := r.approve(ctx, op, click)
	if errors.Is(err, ErrStale) {
		err = r.tooLate(ctx, click)
	}
	if err != nil {
		// Whoever slept over it must not refuse what another process counted meanwhile.
		if now, counted := r.counted(ctx, click); counted {
			return now, nil
		}
		return op, r.noteRefusal(ctx, err, Entry{
			Operation: op.ID, Secret: op.Secret, Event: click.Event, State: op.State,
			By: &Person{User: click.User}, Digest: click.Digest, Channel: click.Channel, Message: click.Message,
		})
	}
	return moved, nil
}

// done reports whether this very click was counted already, by a process that
// died before it said so.
func (c Click) done(op Operation) bool {
	return c.Envelope != "" && (c.Envelope == op.DecidedIn || c.Envelope == op.Proposal.Envelope)
}

// counted looks again whether this very click was counted.
func (r *Rules) counted(ctx context.Context, click Click) (Operation, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	op, err := r.Reader.Operation(ctx, click.Operation)
	return op, err == nil && click.done(op)
}

const (
	// cardTime is how long a click waits for its card to be known: it covers the
	// death of the process that posted it, and whoever takes over.
	cardTime = 20 * time.Second
	// cardPause is the wait between two looks.
	cardPause = 200 * time.Millisecond
)

// withCard reads a click's operation. People can click a card in the instant in
// which it is posted, and the note of where it stands may come later, or be lost
// with its process and made again by another.
func (r *Rules) withCard(ctx context.Context, click Click) (Operation, error) {
	for until := time.Now().Add(cardTime); ; {
		op, err := r.Reader.Operation(ctx, click.Operation)
		if err != nil || op.Card != "" || op.State != Pending || click.Digest != op.Digest || click.Channel != op.Channel || time.Now().After(until) {
			return op, err
		}
		if err := sleep(ctx, cardPause); err != nil {
			return op, fmt.Errorf("wait for the card of operation %s: %w", op.ID, err)
		}
	}
}

func (r *Rules) approve(ctx context.Context, op Operation, click Click) (Operation, error) {
	now := r.Now()
	if op.Forged {
		return op, r.distrust(ctx, op)
	}
	if err := fits(op, click, now, r.Clock()); err != nil {
		return op, err
	}
	who, err := r.standing(ctx, click.User, click.Channel, op.approverGroups()...)
	if err != nil {
		return op, err
	}
	if err := judge(op, click, who); err != nil {
		return op, err
	}
	if click.Event == Confirm { // before a code is used up by it
		if err := r.changeAllows(ctx, op); err != nil {
			return op, err
		}
	}
	code, err := r.secondFactor(ctx, op, click, now)
	if err != nil {
		return op, err
	}
	t := decide(op, click, who.Person, now, r.Clock())
	t.Code = code
	if t.Supersedes, err = r.inTheWay(ctx, op, click.Event); err != nil {
		return op, err
	}
	moved, err := r.Writer.Change(ctx, t)
	if errors.Is(err, ErrCodeUsed) {
		return op, RefuseBecause(err, CodeSecondFactor, "This code was used before, and each is taken once. Wait for the next one, then click Confirm again. Nothing was changed.")
	}
	return moved, err
}

// distrust ends an operation whose row was changed past this program: a person has
// to look, and nothing in it is done. It returns the refusal for who clicked.
func (r *Rules) distrust(ctx context.Context, op Operation) error {
	refusal := Refuse(CodeForged, "The row of this operation was changed in the database, and not by me, so nothing in it counts and nothing more of it is done. Find out who can write to the database, look at the secret by hand, and ask again.")
	to, ok := Next(op.State, Distrust)
	if !ok { // nothing of it runs: a request lapses by itself
		return refusal
	}
	now, moved := r.Now(), op
	moved.State, moved.EndedAt, moved.Trouble = to, now, refusal.Text
	moved.LeaseOwner, moved.LeaseUntil = "", time.Time{}
	moved.Approver = Person{Person: "nobody", Name: "nobody"} // whoever stands there, it is not known that they confirmed
	_, err := r.Writer.Change(ctx, Transition{Operation: moved, From: op.State, Entries: []Entry{{
		At: now, Operation: op.ID, Secret: op.Secret, Event: Distrust, State: to, Outcome: Failed, Code: CodeForged, Text: refusal.Text,
	}}})
	if err != nil && !errors.Is(err, ErrStale) {
		return fmt.Errorf("end operation %s, whose row is forged: %w", op.ID, err)
	}
	return refusal
}

// inTheWay finds what a confirmed emergency ends. Anything else that is confirmed
// has to wait for an emergency, and what blocks another for that one.
func (r *Rules) inTheWay(ctx context.Context, op Operation, event Event) ([]Operation, error) {
	if event != Confirm {
		return nil, nil
	}
	all, err := r.Reader.OpenOperations(ctx, op.Secret)
	if err != nil {
		return nil, fmt.Errorf("look for open operations: %w", err)
	}
	var others []Operation
	for _, other := range all {
		switch {
		case other.ID == op.ID:
		case slices.Contains(op.Plan.Ends, other.Kind):
			others = append(others, other)
		case slices.Contains(other.Plan.Ends, op.Kind):
			return nil, Refuse(CodeOpenOperation, "There is an emergency about %s: %s, %s. This has to wait for its end.", op.Secret, other.ID, other.State.Words())
		case slices.Contains(other.Plan.Blocks, op.Kind), slices.Contains(op.Plan.Blocks, other.Kind):
			return nil, Refuse(CodeOpenOperation, "Operation %s on %s is open too: %s. The two cannot run beside each other; wait for its end, or cancel it.", other.ID, op.Secret, other.State.Words())
		}
	}
	return others, nil
}

// fits refuses clicks that do not belong to the operation as it stands. It needs
// no look-up.
func fits(op Operation, click Click, now, clock time.Time) error {
	switch {
	case op.Card == "":
		return Refuse(CodeOtherMessage, "The card has only just been posted, and I have not noted yet where it stands. Please click again in a moment.")
	case click.Message != op.Card || click.Channel != op.Channel:
		return Refuse(CodeOtherMessage, "This button is not on the operation's own card, so it was not counted. The card is in <#%s>.", op.Channel)
	case click.Digest != op.Digest:
		return Refuse(CodeOtherPlan, "This button is for another plan than the one that would run, so it was not counted. Use the card's own buttons.")
	}
	if _, ok := Next(op.State, click.Event); !ok || !click.Event.ByPeople() {
		if op.DecidedBy.User != "" {
			return Refuse(CodeDecided, "This operation is %s already, by <@%s>. Your click changed nothing.", op.State.Words(), op.DecidedBy.User)
		}
		return Refuse(CodeNotInState, "This operation is %s, so that is not possible any more. Your click changed nothing.", op.State.Words())
	}
	if op.State == Pending && click.Event != Cancel && (!now.Before(op.LapsesAt) || op.Over(clock)) {
		return Refuse(CodeLapsed, "This request lapsed at %s. Ask again if it is still needed.", op.LapsesAt.UTC().Format("15:04 MST"))
	}
	if click.Event == Undo && op.NoReturn {
		return Refuse(CodeNoReturn, "The old key is being removed or is gone, so this can't be taken back any more. Retry, or hand over.")
	}
	if click.Event == Retry && op.ParkedFrom == Undoing {
		return Refuse(CodeNotInState, "Taking back has begun, so going forward is not possible. Undo again, or hand over.")
	}
	return nil
}

// standing is what is known of a person at one instant.
type standing struct {
	Person Person
	Member bool // of the group that was asked for
}

// approverGroups are the groups whose members may turn the second key: those
// above the approvers only for what cannot wait for them.
func (op Operation) approverGroups() []GroupID {
	if op.Plan.Urgent {
		return []GroupID{op.Plan.Policy.Approvers, op.Plan.Policy.Escalation}
	}
	return []GroupID{op.Plan.Policy.Approvers}
}

// standing looks a person, the place and the groups up, all at once and now, and
// refuses whoever is not a full member with exactly one enabled identity.
func (r *Rules) standing(ctx context.Context, user UserID, channel ChannelID, groups ...GroupID) (standing, error) {
	var (
		wg   sync.WaitGroup
		who  standing
		in   = make([]bool, len(groups))
		errs = make([]error, 2+len(groups))
	)
	wg.Go(func() { errs[0] = r.place(ctx, channel) })
	wg.Go(func() { who.Person, errs[1] = r.person(ctx, user) })
	for i, group := range groups {
		if group != "" {
			wg.Go(func() { in[i], errs[2+i] = r.inGroup(ctx, group, user) })
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return standing{}, err
		}
	}
	who.Member = slices.Contains(in, true)
	return who, nil
}

// place refuses channels that people outside the organisation can read.
func (r *Rules) place(ctx context.Context, channel ChannelID) error {
	c, err := r.Chat.Channel(ctx, channel)
	if err != nil {
		return RefuseBecause(err, CodeLookup, "I could not look this channel up, so I refuse. Invite me to it, or try again in the operations channel. Nothing was changed.")
	}
	if c.Shared {
		return Refuse(CodeSharedChannel, "This channel is shared with people outside the organisation. Please use the operations channel. Nothing was changed.")
	}
	return nil
}

// person resolves a chat account to the human being behind it. When the account's
// address is known from before, the directory is asked about it meanwhile; its
// answer counts only if the account still has that address.
func (r *Rules) person(ctx context.Context, user UserID) (Person, error) {
	guess := r.guessed(user)
	early := make(chan identity, 1)
	if guess != "" {
		go func() { early <- r.identity(ctx, guess) }()
	}
	m, err := r.Chat.Member(ctx, user)
	if err != nil {
		return Person{}, RefuseBecause(err, CodeLookup, "I could not look you up in the chat, so I refuse. Please try again. Nothing was changed.")
	}
	if m.Guest || m.Bot || m.Deactivated || m.Stranger {
		return Person{}, Refuse(CodeNotFullMember, "Only full members of this workspace may do this: no guests, bots, deactivated accounts or people of other organisations. Nothing was changed.")
	}
	if m.Email == "" {
		return Person{}, Refuse(CodeNoIdentity, "Your chat profile has no confirmed e-mail address, so I can't tell who you are in Entra. Have it confirmed, then try again. Nothing was changed.")
	}
	var id identity
	if m.Email == guess {
		id = <-early
	} else {
		id = r.identity(ctx, m.Email)
	}
	if id.err != nil {
		return Person{}, RefuseBecause(id.err, CodeLookup, "I could not find exactly one Entra identity for your e-mail address, so I refuse. Try again; if it stays, have the directory's owner look at your address. Nothing was changed.")
	}
	if !id.enabled || id.person == "" {
		return Person{}, Refuse(CodeNoIdentity, "Your Entra identity is disabled, so I refuse. Nothing was changed.")
	}
	r.guesses.Store(user, m.Email)
	return Person{User: user, Person: id.person, Name: m.Name}, nil
}

// identity is the directory's answer about one address.
type identity struct {
	person  PersonID
	enabled bool
	err     error
}

func (r *Rules) identity(ctx context.Context, email string) identity {
	person, enabled, err := r.Directory.Person(ctx, email)
	return identity{person, enabled, err}
}

// guessed is the address that the account had when it was last looked up. It only
// saves time: nothing is decided by it.
func (r *Rules) guessed(user UserID) string {
	email, _ := r.guesses.Load(user)
	s, _ := email.(string)
	return s
}

func (r *Rules) inGroup(ctx context.Context, group GroupID, user UserID) (bool, error) {
	members, err := r.Chat.Group(ctx, group)
	if err != nil {
		return false, RefuseBecause(err, CodeLookup, "I could not read the group that decides who may do this, so I refuse. Please try again. Nothing was changed.")
	}
	return slices.Contains(members, user), nil
}

// judge holds the two keys apart. It is pure: everything was looked up before.
func judge(op Operation, click Click, who standing) error {
	switch click.Event {
	case Cancel:
		if !same(who.Person, op.Requester) {
			return Refuse(CodeOnlyRequester, "Only <@%s>, who asked, can cancel. You can deny it if you are an approver.", op.Requester.User)
		}
		return nil
	case Confirm:
		if err := secondKey(who, op.Requester, "asked for this"); err != nil {
			return err
		}
		if must := op.Plan.MustType; must != "" && strings.TrimSpace(click.Words) != must {
			return Refuse(CodeTyped, "To confirm, type exactly %s. You typed %q. Nothing was changed; click Confirm again.", must, click.Words)
		}
		return nil
	case Deny:
		if strings.TrimSpace(click.Words) == "" {
			return Refuse(CodeNoReason, "Denying needs a reason: the person who asked will want to know. Nothing was changed.")
		}
		if n := len([]rune(click.Words)); n > MaxReason {
			return Refuse(CodeNoReason, "The reason has %d characters; %d are kept. Please shorten it. Nothing was changed.", n, MaxReason)
		}
		return secondKey(who, op.Requester, "asked for this (you can cancel it)")
	case Retry, Undo:
		if op.Proposal.Event == click.Event {
			return secondKey(who, op.Proposal.By, "asked for this first")
		}
		return approverOnly(who)
	case HandOver: // changes nothing: one approver who takes it on is enough
		return approverOnly(who)
	default:
		return Refuse(CodeNotInState, "That is nothing that a click decides. Nothing was changed.")
	}
}

func approverOnly(who standing) error {
	if !who.Member {
		return Refuse(CodeNotApprover, "Only members of the approvers' group may do this. Nothing was changed.")
	}
	return nil
}

// secondKey allows an approver who is another human being than first.
func secondKey(who standing, first Person, did string) error {
	if same(who.Person, first) {
		return Refuse(CodeSamePerson, "You %s, so another person has to turn the second key. Nothing was changed.", did)
	}
	return approverOnly(who)
}

// same reports whether a and b are, or could be, one human being.
func same(a, b Person) bool {
	return a.User == b.User || a.Person == b.Person || a.Person == "" || b.Person == ""
}

// decide says what an allowed click makes of the operation.
func decide(op Operation, click Click, who Person, now, clock time.Time) Transition {
	t := Transition{Operation: op, From: op.State}
	entry := Entry{
		At: now, Operation: op.ID, Secret: op.Secret, Event: click.Event, Outcome: Decided,
		By: &who, Text: click.Words, Digest: op.Digest, Channel: click.Channel, Message: click.Message,
	}
	if (click.Event == Retry || click.Event == Undo) && op.Proposal.Event != click.Event {
		t.Operation.Proposal = Proposal{Event: click.Event, By: who, At: now, Envelope: click.Envelope}
		entry.State, entry.Outcome = op.State, Asked
		t.Entries = []Entry{entry}
		return t
	}
	if click.Event == Confirm {
		click.Words, entry.Text = "", "" // what was typed to confirm is no reason
	}
	to, _ := Next(op.State, click.Event)
	t.Operation.State = to
	t.Operation.DecidedBy, t.Operation.DecidedAt, t.Operation.DecisionWords = who, now, click.Words
	t.Operation.Proposal, t.Operation.DecidedIn, t.Operation.Due = Proposal{}, click.Envelope, time.Time{}
	if click.Event == Confirm {
		t.Operation.Approver, t.Operation.StepSince = who, clock
		if op.Plan.Urgent {
			return atOnce(t, entry, now, clock)
		}
	}
	if click.Event == Retry || click.Event == Undo {
		t.Operation.Phase, t.Operation.StepSince, t.Operation.Trouble = Doing, clock, ""
		if click.Event == Undo && op.ParkedFrom != Undoing {
			t.Operation.FailedStep = op.Step
		}
	}
	if !to.Open() {
		t.Operation.EndedAt = now
	}
	t.Wake = to == Approved || to == Running || to == Undoing
	entry.State = to
	t.Entries = []Entry{entry}
	return t
}

// atOnce begins an urgent operation in the transition that confirms it: it was
// looked at a moment ago, and a second look would cost the time that counts.
func atOnce(t Transition, entry Entry, now, clock time.Time) Transition {
	entry.State = Approved
	begun := Entry{At: now, Operation: entry.Operation, Secret: entry.Secret, Event: Begin, State: Running, Outcome: Noted, Digest: entry.Digest, Text: "Confirmed, so it begins at once.", Quiet: true}
	t.Operation.State, t.Operation.NoReturn, t.Wake = Running, true, true
	t.Operation.Step, t.Operation.Phase, t.Operation.StepSince = 0, Doing, clock
	t.Entries = []Entry{entry, begun}
	return t
}

// tooLate words what the loser of a race is told.
func (r *Rules) tooLate(ctx context.Context, click Click) error {
	op, err := r.Reader.Operation(ctx, click.Operation)
	if err != nil {
		return fmt.Errorf("read operation %s: %w", click.Operation, err)
	}
	if err := fits(op, click, r.Now(), r.Clock()); err != nil {
		return err
	}
	return Refuse(CodeDecided, "Somebody was quicker: this operation has just changed. Look at its card and click again if it is still needed.")
}

// eligible lists who could confirm, and refuses a request that nobody could.
func (r *Rules) eligible(ctx context.Context, op Operation) ([]Person, error) {
	people, err := r.others(ctx, op.Plan.Policy.Approvers, op.Requester)
	if err != nil {
		return nil, err
	}
	people = r.equipped(op.Plan.Policy, people)
	if len(people) == 0 && op.Plan.Urgent && op.Plan.Policy.Escalation != "" {
		if people, err = r.others(ctx, op.Plan.Policy.Escalation, op.Requester); err != nil {
			return nil, err
		}
		people = r.equipped(op.Plan.Policy, people)
	}
	if len(people) == 0 && op.Plan.Policy.SecondFactor {
		return nil, Refuse(CodeNobodyEligible, "Nobody could confirm this: it takes a second factor, and the approvers' group has no other full member with an enabled identity who has one. Have whoever runs me set one up for somebody (second_factor.authenticators in my configuration), then ask again. Nothing was changed.")
	}
	if len(people) == 0 {
		return nil, Refuse(CodeNobodyEligible, "Nobody could confirm this: the approvers' group has no other full member with an enabled identity. Have its owner add somebody, then ask again. Nothing was changed.")
	}
	return people, nil
}

// others looks up the members of a group who are another person than one.
func (r *Rules) others(ctx context.Context, group GroupID, one Person) ([]Person, error) {
	return r.members(ctx, group, func(p Person) bool { return !same(p, one) })
}

// members looks up those of a group who are full members with an enabled identity,
// and who are wanted.
func (r *Rules) members(ctx context.Context, group GroupID, wanted func(Person) bool) ([]Person, error) {
	members, err := r.Chat.Group(ctx, group)
	if err != nil {
		return nil, RefuseBecause(err, CodeLookup, "I could not read the group of those who may confirm, so I refuse. Please try again. Nothing was changed.")
	}
	found := make([]Person, len(members))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8) // the chat's limits are for everybody
	for i, user := range members {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			// Somebody who can't be looked up is nobody who can confirm.
			if p, err := r.person(ctx, user); err == nil && wanted(p) {
				found[i] = p
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(found, func(p Person) bool { return p.User == "" }), nil
}

// Eligible lists the different people of a group who could confirm something now:
// full members with an enabled identity. The rules of a click are these.
func (r *Rules) Eligible(ctx context.Context, group GroupID) ([]Person, error) {
	nobody := Person{User: "-", Person: "-"} // an empty one could be anybody
	members, err := r.others(ctx, group, nobody)
	if err != nil {
		return nil, err
	}
	var people []Person
	for _, p := range members {
		if !slices.ContainsFunc(people, func(known Person) bool { return same(known, p) }) {
			people = append(people, p)
		}
	}
	return people, nil
}

// pageAfter is when the approvers of an emergency are told, and escalateAfter when
// those after them are, if nobody has decided by then.
func pageAfter() []time.Duration { return []time.Duration{0, 2 * time.Minute, 5 * time.Minute} }

const escalateAfter = 8 * time.Minute

// pages writes down whom to tell of an emergency, and when.
func (r *Rules) pages(ctx context.Context, op Operation, approvers []Person) ([]Notice, error) {
	var out []Notice
	page := func(p Person, after time.Duration, text string) {
		var notBefore time.Time // at once, whatever the clock is set to meanwhile
		if after > 0 {
			notBefore = r.Now().Add(after)
		}
		out = append(out, Notice{
			Key: fmt.Sprintf("page:%s:%s:%s", op.ID, p.User, after), Kind: NoticePage, Lane: fmt.Sprintf("page:%s:%s:%s", op.ID, p.User, after),
			User: p.User, Operation: op.ID, NotBefore: notBefore, Text: text,
		})
	}
	for _, after := range pageAfter() {
		for _, p := range approvers {
			page(p, after, fmt.Sprintf("Emergency: <@%s> asks to disable the secret of %s at once. It needs a second person: please look at the card in <#%s> now.", op.Requester.User, op.Secret, op.Channel))
		}
	}
	if op.Plan.Policy.Escalation == "" {
		return out, nil
	}
	above, err := r.others(ctx, op.Plan.Policy.Escalation, op.Requester)
	if err != nil {
		return nil, err
	}
	for _, p := range r.equipped(op.Plan.Policy, above) {
		page(p, escalateAfter, fmt.Sprintf("Emergency without a decision: <@%s> asked to disable the secret of %s, and none of the approvers has decided. You may: please look at the card in <#%s> now.", op.Requester.User, op.Secret, op.Channel))
	}
	return out, nil
}

// StillApproved checks, when the approval is about to be used, that the
// approver could still give it.
func (r *Rules) StillApproved(ctx context.Context, op Operation) error {
	if op.Approver.User == "" || same(op.Approver, op.Requester) {
		return Refuse(CodeSamePerson, "The operation has no second person's confirmation.")
	}
	who, err := r.standing(ctx, op.Approver.User, op.Channel, op.approverGroups()...)
	if err == nil {
		err = secondKey(who, op.Requester, "asked for this")
	}
	var refusal *Refusal
	if errors.As(err, &refusal) { // worded for the approver, and read by all
		return RefuseBecause(err, refusal.Code, "The confirmation by %s does not count any more. Looked up again: “%s”", op.Approver.Name, refusal.Text)
	}
	return err
}

// MaySee lets those see who could ask for an operation or confirm one, by any of
// the policies. It records nothing.
func (r *Rules) MaySee(ctx context.Context, user UserID, channel ChannelID, policies ...Policy) (Person, error) {
	var groups []GroupID
	everybody := false
	for _, p := range policies {
		everybody = everybody || p.Requesters == ""
		for _, g := range []GroupID{p.Requesters, p.Approvers} {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	who, err := r.standing(ctx, user, channel, groups...)
	if err == nil && !everybody && !who.Member {
		err = Refuse(CodeNotRequester, "Only members of the requesters' or the approvers' group may see this. Ask one of them.")
	}
	return who.Person, err
}

// MayLook is MaySee, and records that they did, or were refused: what they see
// names people and addresses.
func (r *Rules) MayLook(ctx context.Context, user UserID, channel ChannelID, secret SecretName, what string, policies ...Policy) error {
	who, err := r.MaySee(ctx, user, channel, policies...)
	if err != nil {
		return r.noteRefusal(ctx, err, Entry{Secret: secret, By: &Person{User: user}, Channel: channel})
	}
	return r.Writer.Record(ctx, []Entry{{
		At: r.Now(), Secret: secret, Outcome: Noted, By: &who, Channel: channel, Text: "Looked: " + what, Quiet: true,
	}})
}

// Waiting returns those of ops that wait for this person: what they may confirm and
// what is parked until an approver decides. It judges as Approve does, and decides
// nothing.
func (r *Rules) Waiting(ctx context.Context, user UserID, ops []Operation) ([]Operation, error) {
	var out []Operation
	for _, op := range ops {
		events := map[State][]Event{Pending: {Confirm}, Parked: {Retry, Undo, HandOver}}[op.State]
		if len(events) == 0 || op.State == Pending && (!r.Now().Before(op.LapsesAt) || op.Over(r.Clock())) {
			continue
		}
		who, err := r.standing(ctx, user, op.Channel, op.approverGroups()...)
		if err != nil {
			return nil, err
		}
		if op.State == Pending && len(r.equipped(op.Plan.Policy, []Person{who.Person})) == 0 {
			continue // they have no code to type
		}
		if slices.ContainsFunc(events, func(e Event) bool { return judge(op, Click{Event: e, Words: op.Plan.MustType}, who) == nil }) {
			out = append(out, op)
		}
	}
	return out, nil
}

// noteRefusal records that somebody was refused, and returns err.
func (r *Rules) noteRefusal(ctx context.Context, err error, e Entry) error {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	e.At, e.Outcome, e.Code, e.Text, e.Quiet = r.Now(), Refused, refusal.Code, refusal.Text, true
	if rec := r.Writer.Record(ctx, []Entry{e}); rec != nil {
		return errors.Join(err, fmt.Errorf("record the refusal: %w", rec))
	}
	return err
}

// Lapse ends a request that nobody confirmed in time.
func (r *Rules) Lapse(ctx context.Context, op Operation) error {
	now := r.Now()
	if op.State != Pending || now.Before(op.LapsesAt) && !op.Over(r.Clock()) {
		return nil
	}
	moved := op
	moved.State, moved.EndedAt, moved.Due = Lapsed, now, time.Time{}
	_, err := r.Writer.Change(ctx, Transition{Operation: moved, From: Pending, Entries: []Entry{{
		At: now, Operation: op.ID, Secret: op.Secret, Event: Lapse, State: Lapsed, Outcome: Decided,
		Text: "Nobody confirmed it in time. Nothing was changed.", Digest: op.Digest,
	}}})
	if errors.Is(err, ErrStale) {
		return nil // somebody decided in the last instant
	}
	return err
}

// newID returns six characters without those that people mix up.
func newID() ID {
	const alphabet = "23456789abcdefghjkmnpqrstuvwxyz"
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails: crypto/rand panics instead
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return ID(b)
}
