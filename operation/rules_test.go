package operation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

const (
	approvers  operation.GroupID   = "S0APPROVERS"
	operations operation.ChannelID = "C0OPS"
	shared     operation.ChannelID = "C0SHARED"

	leftover operation.Kind = "remove_leftover" // the runbook's
)

// people are the accounts of the tests' workspace. A look-up of somebody else fails.
func people() map[operation.UserID]operation.Member {
	member := func(id operation.UserID, change func(*operation.Member)) operation.Member {
		m := operation.Member{User: id, Name: string(id), Email: string(id) + "@example.com"}
		if change != nil {
			change(&m)
		}
		return m
	}
	list := []operation.Member{
		member("alice", nil), // asks, and is an approver herself
		member("alice2", func(m *operation.Member) { m.Email = "alice@example.com" }),
		member("bob", nil), member("carol", nil), // approve
		member("dave", nil), // a full member, no approver
		member("gina", func(m *operation.Member) { m.Guest = true }),
		member("robot", func(m *operation.Member) { m.Bot = true }),
		member("gone", func(m *operation.Member) { m.Deactivated = true }),
		member("stan", func(m *operation.Member) { m.Stranger = true }),
		member("mute", func(m *operation.Member) { m.Email = "" }),
		member("off", nil),       // identity disabled
		member("ambiguous", nil), // two identities
	}
	out := map[operation.UserID]operation.Member{}
	for _, m := range list {
		out[m.User] = m
	}
	return out
}

// workspace is the chat and the directory of the tests.
type workspace struct {
	people map[operation.UserID]operation.Member
	group  []operation.UserID
	broken error
}

func newWorkspace() *workspace {
	return &workspace{people: people(), group: []operation.UserID{"alice", "alice2", "bob", "carol", "gina", "robot", "gone", "stan", "mute", "off", "ambiguous", "unknown"}}
}

func (w *workspace) Member(_ context.Context, user operation.UserID) (operation.Member, error) {
	m, ok := w.people[user]
	if !ok {
		return m, errors.New("user_not_found")
	}
	return m, nil
}

func (w *workspace) Group(_ context.Context, group operation.GroupID) ([]operation.UserID, error) {
	if group != approvers {
		return nil, fmt.Errorf("no such group %s", group)
	}
	return w.group, w.broken
}

func (w *workspace) Channel(_ context.Context, channel operation.ChannelID) (operation.Channel, error) {
	switch channel {
	case operations:
		return operation.Channel{ID: channel}, nil
	case shared:
		return operation.Channel{ID: channel, Shared: true}, nil
	}
	return operation.Channel{}, errors.New("channel_not_found")
}

func (w *workspace) Person(_ context.Context, email string) (operation.PersonID, bool, error) {
	switch email {
	case "ambiguous@example.com":
		return "", false, errors.New("two identities have this address")
	case "off@example.com":
		return "person-off", false, nil
	}
	return operation.PersonID("person-" + email), true, nil
}

// steadyPlan is a planner whose plan changes when the test says so.
type steadyPlan struct {
	version int
	factor  bool // confirming takes a code
}

func (p *steadyPlan) Plan(_ context.Context, op operation.Operation) (operation.Plan, error) {
	may := policy()
	may.SecondFactor = p.factor
	return operation.Plan{
		Kind: "rotate", Secret: op.Secret, Policy: may,
		Changes: []operation.Change{{What: "parameter", From: fmt.Sprintf("version %d", p.version), To: fmt.Sprintf("version %d", p.version+1)}},
		Details: []byte(`{}`),
	}, nil
}

// kindPlan is that plan for another kind of operation.
type kindPlan struct {
	steady *steadyPlan
	kind   operation.Kind
	blocks []operation.Kind
}

func (p kindPlan) Plan(ctx context.Context, op operation.Operation) (operation.Plan, error) {
	plan, err := p.steady.Plan(ctx, op)
	plan.Kind, plan.Blocks = p.kind, p.blocks
	return plan, err
}

func policy() operation.Policy {
	return operation.Policy{Approvers: approvers, Channel: operations, Lapse: 15 * time.Minute}
}

// desk is everything that the rules need, with a real store.
type desk struct {
	rules *operation.Rules
	store *store.Store
	work  *workspace
	plan  *steadyPlan
	kind  operation.Kind // of what is asked for
	now   time.Time
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{work: newWorkspace(), plan: &steadyPlan{version: 7}, kind: "rotate", now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	now := func() time.Time { return d.now }
	private, _, err := audit.GenerateKey("twokey.test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	d.store, err = store.Open(t.Context(), "sqlite::memory:", store.Options{
		Recorder: audit.NewLog(key, audit.Cadence{}, now), Now: now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.store.Close)
	d.rules = &operation.Rules{
		Reader: d.store, Writer: d.store, Chat: d.work, Directory: d.work, Now: now, Clock: d.store.Clock,
		Planners: map[operation.Kind]operation.Planner{"rotate": d.plan},
	}
	return d
}

func (d *desk) ask(t *testing.T, secret operation.SecretName) operation.Operation {
	t.Helper()
	a := ask(secret, "alice")
	a.Kind = d.kind
	op, err := d.rules.Request(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return d.posted(t, op)
}

func ask(secret operation.SecretName, user operation.UserID) operation.Ask {
	return operation.Ask{
		Envelope: "envelope-" + string(secret) + string(user), Kind: "rotate", Secret: secret, User: user, Channel: operations,
		Reason: "yearly rotation", Policy: policy(),
	}
}

// posted tells all notices, so that the operation has its card.
func (d *desk) posted(t *testing.T, op operation.Operation) operation.Operation {
	t.Helper()
	for {
		n, found, err := d.store.ClaimNotice(t.Context(), "test", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			break
		}
		if err := d.store.NoticeSent(t.Context(), n, operation.MessageID(fmt.Sprintf("17000000%d.0", n.ID))); err != nil {
			t.Fatal(err)
		}
	}
	op, err := d.store.Operation(t.Context(), op.ID)
	if err != nil {
		t.Fatal(err)
	}
	if op.Card == "" {
		t.Fatal("the card was not posted")
	}
	return op
}

// in puts the operation into a state, as if it had come there.
func (d *desk) in(t *testing.T, op operation.Operation, state operation.State) operation.Operation {
	t.Helper()
	if state == operation.Pending {
		return op
	}
	moved := op
	moved.State, moved.ParkedFrom = state, operation.Running
	switch state {
	case operation.Denied, operation.Cancelled, operation.Lapsed:
	default:
		moved.Approver = operation.Person{User: "carol", Person: "person-carol@example.com"}
	}
	op, err := d.store.Change(t.Context(), operation.Transition{Operation: moved, From: op.State})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func click(op operation.Operation, event operation.Event, user operation.UserID) operation.Click {
	c := operation.Click{Operation: op.ID, Event: event, Digest: op.Digest, User: user, Channel: op.Channel, Message: op.Card}
	if event == operation.Deny {
		c.Words = "not today"
	}
	return c
}

// TestEveryStateEventAndPerson is the whole of the two-person rule: everything that
// is not in the short list of what is allowed must be refused, recorded, and
// change nothing.
func TestEveryStateEventAndPerson(t *testing.T) {
	t.Run("one factor", func(t *testing.T) { everyStateEventAndPerson(t, newDesk(t), operation.States()) })
	// Everybody has an authenticator and types its code: that alone allows nobody more.
	t.Run("two factors", func(t *testing.T) {
		everyStateEventAndPerson(t, withFactor(newDesk(t)), []operation.State{operation.Pending, operation.Parked, operation.Denied})
	})
	// What it is about makes no difference.
	t.Run("the removal of a leftover", func(t *testing.T) {
		d := newDesk(t)
		d.kind = leftover
		d.rules.Planners[leftover] = kindPlan{steady: d.plan, kind: leftover, blocks: []operation.Kind{"rotate"}}
		everyStateEventAndPerson(t, d, operation.States())
	})
}

func everyStateEventAndPerson(t *testing.T, d *desk, states []operation.State) {
	allowed := map[operation.State]map[operation.Event][]operation.UserID{
		operation.Pending: {
			operation.Confirm: {"bob", "carol"},
			operation.Deny:    {"bob", "carol"},
			operation.Cancel:  {"alice", "alice2"}, // one person
		},
		operation.Parked: {
			operation.Retry:    {"alice", "alice2", "bob", "carol"}, // asks only: a second person follows
			operation.Undo:     {"alice", "alice2", "bob", "carol"},
			operation.HandOver: {"alice", "alice2", "bob", "carol"},
		},
	}
	events := append(operation.Events(), operation.Request, "nonsense")
	users := []operation.UserID{"unknown", ""}
	for u := range d.work.people {
		users = append(users, u)
	}
	slices.Sort(users)
	fresh := 0
	for _, state := range states {
		for _, event := range events {
			var op operation.Operation // reused as long as nobody moves it
			for _, user := range users {
				if op.ID == "" {
					fresh++
					op = d.in(t, d.ask(t, operation.SecretName(fmt.Sprint(fresh))), state)
				}
				name := fmt.Sprintf("%s %s by %s", state, event, user)
				c := click(op, event, user)
				c.Code = codeOf(user, d.now)
				moved, err := d.rules.Approve(t.Context(), c)
				may := slices.Contains(allowed[state][event], user)
				switch {
				case may && err != nil:
					t.Errorf("%s: refused: %v", name, err)
				case may:
					checkAllowed(t, name, op, moved, event, user)
				default:
					d.checkRefused(t, name, op, err)
				}
				if err == nil {
					op = operation.Operation{}
					d.now = d.now.Add(time.Minute) // codes are taken once
				}
			}
		}
	}
}

func checkAllowed(t *testing.T, name string, op, moved operation.Operation, event operation.Event, user operation.UserID) {
	t.Helper()
	if op.State == operation.Parked && event != operation.HandOver {
		if moved.State != operation.Parked || moved.Proposal.Event != event || moved.Proposal.By.User != user {
			t.Errorf("%s: one person alone moved it to %s with proposal %+v", name, moved.State, moved.Proposal)
		}
		return
	}
	want, _ := operation.Next(op.State, event)
	if moved.State != want || moved.Epoch != op.Epoch+1 {
		t.Errorf("%s: state %s epoch %d, want %s and %d", name, moved.State, moved.Epoch, want, op.Epoch+1)
	}
	if event == operation.Confirm && (moved.Approver.Person == moved.Requester.Person || moved.Approver.User != user) {
		t.Errorf("%s: approver %+v, requester %+v", name, moved.Approver, moved.Requester)
	}
}

func (d *desk) checkRefused(t *testing.T, name string, op operation.Operation, err error) {
	t.Helper()
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Text == "" || refusal.Code == "" {
		t.Errorf("%s: want a refusal, got %v", name, err)
		return
	}
	after, err := d.store.Operation(t.Context(), op.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(op, after); diff != "" {
		t.Errorf("%s: refused, and yet it changed:\n%s", name, diff)
	}
	entries, err := audit.OfOperation(t.Context(), d.store.DB(), op.ID)
	if err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1]
	if last.Outcome != operation.Refused || last.Code != refusal.Code || !last.Quiet {
		t.Errorf("%s: the record's last entry is %+v", name, last)
	}
}

// TestTheSecondPersonOfAParkedOperationIsAnother: a wish to retry or undo needs
// another human being, not another account.
func TestTheSecondPersonOfAParkedOperationIsAnother(t *testing.T) {
	for _, event := range []operation.Event{operation.Retry, operation.Undo} {
		for _, first := range []operation.UserID{"alice", "bob"} {
			for _, second := range []operation.UserID{"alice", "alice2", "bob", "carol", "dave", "gina"} {
				t.Run(fmt.Sprintf("%s by %s then %s", event, first, second), func(t *testing.T) {
					d := newDesk(t)
					op := d.in(t, d.ask(t, "sharepoint/prod"), operation.Parked)
					op, err := d.rules.Approve(t.Context(), click(op, event, first))
					if err != nil {
						t.Fatal(err)
					}
					moved, err := d.rules.Approve(t.Context(), click(op, event, second))
					if human(first) == human(second) || second == "dave" || second == "gina" {
						d.checkRefused(t, "second", op, err)
						return
					}
					want, _ := operation.Next(operation.Parked, event)
					if err != nil || moved.State != want {
						t.Errorf("state %s, error %v; want %s", moved.State, err, want)
					}
				})
			}
		}
	}
}

func human(u operation.UserID) operation.UserID {
	if u == "alice2" {
		return "alice"
	}
	return u
}

func TestAClickIsCountedOnlyOnItsOwnCard(t *testing.T) {
	tests := []struct {
		name   string
		change func(*operation.Click)
		code   operation.Code
	}{
		{"another message", func(c *operation.Click) { c.Message = "1.0" }, operation.CodeOtherMessage},
		{"another channel", func(c *operation.Click) { c.Channel = shared }, operation.CodeOtherMessage},
		{"no message", func(c *operation.Click) { c.Message = "" }, operation.CodeOtherMessage},
		{"another plan's digest", func(c *operation.Click) { c.Digest = "beef" }, operation.CodeOtherPlan},
		{"no digest", func(c *operation.Click) { c.Digest = "" }, operation.CodeOtherPlan},
		{"an operation that isn't", func(c *operation.Click) { c.Operation = "zzzzzz" }, operation.CodeUnknownOperation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			op := d.ask(t, "sharepoint/prod")
			c := click(op, operation.Confirm, "bob")
			tt.change(&c)
			_, err := d.rules.Approve(t.Context(), c)
			var refusal *operation.Refusal
			if !errors.As(err, &refusal) || refusal.Code != tt.code {
				t.Errorf("got %v, want refusal %s", err, tt.code)
			}
		})
	}
}

func TestASetBackClockLetsNobodyConfirmLater(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	d.now = d.now.Add(-time.Hour)
	clock := d.rules.Clock
	d.rules.Clock = func() time.Time { return clock().Add(op.Plan.Policy.Lapse) }
	_, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob"))
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Code != operation.CodeLapsed {
		t.Errorf("confirmed after its time: %v", err)
	}
	if err := d.rules.Lapse(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if op, _ = d.store.Operation(t.Context(), op.ID); op.State != operation.Lapsed {
		t.Errorf("state %s, want lapsed", op.State)
	}
}

func TestALapsedRequestCannotBeConfirmed(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	d.now = op.LapsesAt
	_, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob"))
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Code != operation.CodeLapsed {
		t.Fatalf("got %v", err)
	}
	if err := d.rules.Lapse(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if op, _ = d.store.Operation(t.Context(), op.ID); op.State != operation.Lapsed {
		t.Errorf("state %s, want lapsed", op.State)
	}
}

func TestWhoLeftTheGroupSinceTheRequestCannotConfirm(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	d.work.group = []operation.UserID{"alice", "carol"}
	_, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob"))
	d.checkRefused(t, "bob after leaving", op, err)
}

func TestAFailingLookUpRefuses(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	d.work.broken = errors.New("ratelimited")
	_, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob"))
	d.checkRefused(t, "group unreadable", op, err)
}

func TestTwoPeopleAtOnceOneWinsAndTheOtherReadsWho(t *testing.T) {
	for range 20 {
		d := newDesk(t)
		op := d.ask(t, "sharepoint/prod")
		errs := make(chan error, 2)
		for _, user := range []operation.UserID{"bob", "carol"} {
			go func() {
				_, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, user))
				errs <- err
			}()
		}
		first, second := <-errs, <-errs
		if (first == nil) == (second == nil) {
			t.Fatalf("not exactly one won: %v, %v", first, second)
		}
		loser := errors.Join(first, second)
		after, err := d.store.Operation(t.Context(), op.ID)
		if err != nil {
			t.Fatal(err)
		}
		var refusal *operation.Refusal
		if !errors.As(loser, &refusal) || refusal.Code != operation.CodeDecided || !strings.Contains(refusal.Text, "<@"+string(after.Approver.User)+">") {
			t.Errorf("the loser read %v; the winner was %s", loser, after.Approver.User)
		}
	}
}

func TestARequestNobodyCouldConfirmIsRefusedAtOnce(t *testing.T) {
	d := newDesk(t)
	d.work.group = []operation.UserID{"alice", "alice2", "gina", "robot", "gone", "stan", "mute", "off", "ambiguous", "unknown"}
	_, err := d.rules.Request(t.Context(), ask("sharepoint/prod", "alice"))
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Code != operation.CodeNobodyEligible {
		t.Errorf("got %v", err)
	}
}

func TestOneOpenOperationASecret(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	_, err := d.rules.Request(t.Context(), ask("sharepoint/prod", "bob"))
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Code != operation.CodeOpenOperation || !strings.Contains(refusal.Text, string(op.ID)) {
		t.Errorf("got %v", err)
	}
}

func TestTheSameEnvelopeTwiceIsOneRequest(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	again, err := d.rules.Request(t.Context(), ask("sharepoint/prod", "alice"))
	if err != nil || again.ID != op.ID {
		t.Errorf("got %s and %v, want %s", again.ID, err, op.ID)
	}
}

func TestTheSameEnvelopeIsOneRequestWhateverHasChangedSince(t *testing.T) {
	d := newDesk(t)
	op := d.in(t, d.ask(t, "sharepoint/prod"), operation.Cancelled)
	a := ask("sharepoint/prod", "alice")
	a.Reason = "" // what would be refused now was taken then
	again, err := d.rules.Request(t.Context(), a)
	if err != nil || again.ID != op.ID {
		t.Errorf("got %s and %v, want %s", again.ID, err, op.ID)
	}
	a.User = "bob"
	if _, err := d.rules.Request(t.Context(), a); err == nil {
		t.Error("another person's request was answered with alice's")
	}
}

func TestTheSameClickTwiceIsOneDecision(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	c := click(op, operation.Confirm, "bob")
	c.Envelope = "click-1"
	first, err := d.rules.Approve(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.rules.Approve(t.Context(), c)
	if err != nil || second.Epoch != first.Epoch || second.State != operation.Approved {
		t.Errorf("handled again, it gives %s, epoch %d, and %v", second.State, second.Epoch, err)
	}
	c.Envelope = "click-2"
	if _, err := d.rules.Approve(t.Context(), c); err == nil {
		t.Error("a second click counted")
	}
}

func TestTheSameWishTwiceIsNotTheSecondKey(t *testing.T) {
	d := newDesk(t)
	op := d.in(t, d.ask(t, "sharepoint/prod"), operation.Parked)
	c := click(op, operation.Undo, "bob")
	c.Envelope = "wish-1"
	for range 2 {
		if moved, err := d.rules.Approve(t.Context(), c); err != nil || moved.State != operation.Parked {
			t.Errorf("it is %s, %v", moved.State, err)
		}
	}
}

func TestAClickThatIsFasterThanTheNoteOfItsCardWaitsForIt(t *testing.T) {
	d := newDesk(t)
	op, err := d.rules.Request(t.Context(), ask("sharepoint/prod", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	n, found, err := d.store.ClaimNotice(t.Context(), "test", time.Minute)
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
	op.Card = "17.0"
	result := make(chan error)
	go func() {
		_, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob"))
		result <- err
	}()
	select {
	case err := <-result:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := d.store.NoticeSent(t.Context(), n, op.Card); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestARequestIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*operation.Ask)
		code   operation.Code
	}{
		{"without a reason", func(a *operation.Ask) { a.Reason = " " }, operation.CodeNoReason},
		{"with a novel for a reason", func(a *operation.Ask) { a.Reason = string(make([]byte, 2000)) }, operation.CodeNoReason},
		{"with a novel for a change reference", func(a *operation.Ask) { a.ChangeReference = strings.Repeat("x", 101) }, operation.CodeChangeReference},
		{"from a shared channel", func(a *operation.Ask) { a.Channel = shared }, operation.CodeSharedChannel},
		{"from an unknown channel", func(a *operation.Ask) { a.Channel = "C0NONE" }, operation.CodeLookup},
		{"by a guest", func(a *operation.Ask) { a.User = "gina" }, operation.CodeNotFullMember},
		{"by a stranger", func(a *operation.Ask) { a.User = "stan" }, operation.CodeNotFullMember},
		{"by a bot", func(a *operation.Ask) { a.User = "robot" }, operation.CodeNotFullMember},
		{"by somebody without an address", func(a *operation.Ask) { a.User = "mute" }, operation.CodeNoIdentity},
		{"by a disabled identity", func(a *operation.Ask) { a.User = "off" }, operation.CodeNoIdentity},
		{"with a wrong change reference", func(a *operation.Ask) { a.ChangeReferencePattern, a.ChangeReference = `CHG\d+`, "CHG" }, operation.CodeChangeReference},
		{"by somebody outside the requesters", func(a *operation.Ask) { a.User, a.Policy.Requesters = "dave", approvers }, operation.CodeNotRequester},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			a := ask("sharepoint/prod", "alice")
			tt.change(&a)
			_, err := d.rules.Request(t.Context(), a)
			var refusal *operation.Refusal
			if !errors.As(err, &refusal) || refusal.Code != tt.code {
				t.Fatalf("got %v, want refusal %s", err, tt.code)
			}
			if open, err := d.store.OpenOperations(t.Context(), "sharepoint/prod"); len(open) > 0 || err != nil {
				t.Errorf("%d operations are open (%v)", len(open), err)
			}
		})
	}
}
