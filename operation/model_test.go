package operation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

// TestNoOrderOfEventsRunsWhatTwoPeopleDidNotConfirm is a model of the protocol: random
// people ask, click, forge and click again; groups, accounts, plans and the clock
// change; the runner dies before and after any commit. The model judges by itself
// who may do what, and looks at every deed of the real rules, runner and store.
func TestNoOrderOfEventsRunsWhatTwoPeopleDidNotConfirm(t *testing.T) {
	d, n := newDesk(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := newModel(t, d, operation.SecretName(fmt.Sprintf("s%d/prod", n)))
		rt.Repeat(map[string]func(*rapid.T){
			"ask": m.ask, "confirm": m.confirm, "click": m.click, "click again": m.again, "run": m.run,
			"somebody changes": m.somebody, "time passes": m.pass,
			"": m.check,
		})
	})
}

// model knows what it let people do, and holds the real thing to it.
type model struct {
	t      *testing.T
	d      *desk
	secret operation.SecretName
	asked  int
	at     time.Time // when it began: envelopes are named after it
	op     operation.Operation

	clicks    []operation.Click                  // that were made, to be made again
	confirmed map[operation.ID]operation.Click   // that the model lets count
	begun     map[operation.ID]int               // how often each began
	ended     map[operation.ID]operation.State   // how each ended
	waits     map[operation.ID][]operation.Click // wishes for a parked operation, that the model lets count
	failing   string                             // the call that fails
	dying     int                                // commits until the runner dies; 0: it lives
	wrong     error
}

func newModel(t *testing.T, d *desk, secret operation.SecretName) *model {
	m := &model{
		t: t, d: d, secret: secret, at: d.now,
		confirmed: map[operation.ID]operation.Click{}, begun: map[operation.ID]int{}, ended: map[operation.ID]operation.State{}, waits: map[operation.ID][]operation.Click{},
	}
	d.work.people, d.work.group = people(), []operation.UserID{"alice", "alice2", "bob", "carol", "gina"}
	return m
}

func users() *rapid.Generator[operation.UserID] {
	return rapid.SampledFrom([]operation.UserID{"alice", "alice2", "bob", "carol", "dave", "gina"})
}

// full is the model's own judgement of an account.
func (m *model) full(u operation.UserID) bool {
	p := m.d.work.people[u]
	return !p.Guest && !p.Bot && !p.Deactivated && !p.Stranger && p.Email != ""
}

// approver is who may turn a second key, whoever asked.
func (m *model) approver(u operation.UserID) bool {
	return m.full(u) && slices.Contains(m.d.work.group, u)
}

func (m *model) fault(format string, args ...any) {
	m.wrong = errors.Join(m.wrong, fmt.Errorf(format, args...))
}

func (m *model) ask(rt *rapid.T) {
	user := users().Draw(rt, "who")
	m.asked++
	a := ask(m.secret, user)
	a.Envelope = fmt.Sprintf("%s %s %d", m.secret, m.at, m.asked)
	op, err := m.d.rules.Request(m.t.Context(), a)
	if err != nil {
		return
	}
	if m.op.ID != "" && m.op.State.Open() {
		m.fault("%s is open, and %s was taken", m.op.ID, op.ID)
	}
	if !m.full(user) {
		m.fault("%s may not ask", user)
	}
	m.op = m.d.posted(m.t, op)
}

// confirm is what mostly happens.
func (m *model) confirm(rt *rapid.T) {
	if m.op.ID == "" {
		rt.Skip("nobody has asked for anything yet")
	}
	c := click(m.op, operation.Confirm, rapid.SampledFrom([]operation.UserID{"bob", "carol"}).Draw(rt, "who"))
	c.Envelope = fmt.Sprintf("click %s %d", m.op.ID, len(m.clicks))
	m.clicks = append(m.clicks, c)
	m.decide(c)
}

func (m *model) click(rt *rapid.T) {
	if m.op.ID == "" {
		rt.Skip("nobody has asked for anything yet")
	}
	event := rapid.SampledFrom(append(operation.Events(), operation.Confirm, operation.Confirm, operation.Retry, operation.Undo)).Draw(rt, "event")
	c := click(m.op, event, users().Draw(rt, "who"))
	c.Envelope = fmt.Sprintf("click %s %d", m.op.ID, len(m.clicks))
	switch rapid.IntRange(0, 9).Draw(rt, "forged") {
	case 0:
		c.Digest = "beef"
	case 1:
		c.Message = "1.0"
	}
	m.clicks = append(m.clicks, c)
	m.decide(c)
}

// again is an envelope that Slack delivers once more, or an old card's button.
func (m *model) again(rt *rapid.T) {
	if len(m.clicks) == 0 {
		rt.Skip("nobody has clicked yet")
	}
	c := rapid.SampledFrom(m.clicks).Draw(rt, "which")
	if rapid.Bool().Draw(rt, "as a new envelope") {
		c.Envelope += " again"
	}
	m.decide(c)
}

// decide makes a click and compares what became of it with what the model allows.
func (m *model) decide(c operation.Click) {
	ctx := m.t.Context()
	before, err := m.d.store.Operation(ctx, c.Operation)
	if err != nil {
		m.fault("read: %w", err)
		return
	}
	after, err := m.d.rules.Approve(ctx, c)
	if err != nil || after.Epoch == before.Epoch {
		return // refused, or the same click twice: check looks whether it changed nothing
	}
	fits := c.Digest == before.Digest && c.Message == before.Card
	another := human(c.User) != human(before.Requester.User)
	var may bool
	switch c.Event {
	case operation.Confirm:
		may = before.State == operation.Pending && m.approver(c.User) && another && m.d.now.Before(before.LapsesAt)
		m.confirmed[c.Operation] = c
	case operation.Deny:
		may = before.State == operation.Pending && m.approver(c.User) && another
	case operation.Cancel:
		may = before.State == operation.Pending && m.full(c.User) && !another
	case operation.Retry, operation.Undo:
		may = before.State == operation.Parked && m.approver(c.User)
		if after.State != operation.Parked {
			may = may && slices.ContainsFunc(m.waits[c.Operation], func(w operation.Click) bool { return w.Event == c.Event && human(w.User) != human(c.User) })
			m.waits[c.Operation] = nil
		} else {
			m.waits[c.Operation] = append(m.waits[c.Operation], c)
		}
	case operation.HandOver:
		may = before.State == operation.Parked && m.approver(c.User)
	default: // no click decides it
	}
	if !may || !fits {
		m.fault("%s by %s counted on %s, which %s asked for: it is %s now", c.Event, c.User, before.State, before.Requester.User, after.State)
	}
	if c.Operation == m.op.ID {
		m.op = after
	}
}

// somebody joins or leaves the group, is made a guest, or changes the platform.
func (m *model) somebody(rt *rapid.T) {
	rapid.SampledFrom([]func(*rapid.T){m.regroup, m.demote, m.drift}).Draw(rt, "what")(rt)
}

func (m *model) regroup(rt *rapid.T) {
	u := users().Draw(rt, "who")
	if i := slices.Index(m.d.work.group, u); i >= 0 {
		m.d.work.group = slices.Delete(slices.Clone(m.d.work.group), i, i+1)
	} else {
		m.d.work.group = append(slices.Clone(m.d.work.group), u)
	}
}

func (m *model) demote(rt *rapid.T) {
	u := users().Draw(rt, "who")
	p := m.d.work.people[u]
	switch rapid.IntRange(0, 2).Draw(rt, "how") {
	case 0:
		p.Guest = !p.Guest
	case 1:
		p.Deactivated = !p.Deactivated
	case 2:
		p = people()[u]
	}
	m.d.work.people[u] = p
}

func (m *model) drift(*rapid.T) { m.d.plan.version++ }

func (m *model) pass(rt *rapid.T) {
	m.d.now = m.d.now.Add(time.Duration(rapid.IntRange(1, 8).Draw(rt, "minutes")) * time.Minute)
	if m.op.ID == "" || rapid.Bool().Draw(rt, "nobody looks for what lapsed") {
		return
	}
	if err := m.d.rules.Lapse(m.t.Context(), m.op); err != nil {
		m.fault("lapse: %w", err)
	}
}

var errDied = errors.New("the process died")

// run has a worker take the operation on, and may let it die.
func (m *model) run(rt *rapid.T) {
	if m.op.ID == "" {
		rt.Skip("nobody has asked for anything yet")
	}
	m.failing = rapid.SampledFrom([]string{"", "", "", "", "", "", "do a", "verify b", "do c", "verify c", "undo a", "undone b"}).Draw(rt, "fails")
	m.dying = rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}).Draw(rt, "dies after")
	ctx := m.t.Context()
	op, err := m.d.store.Operation(ctx, m.op.ID)
	if err != nil {
		m.fault("read: %w", err)
		return
	}
	runner := &operation.Runner{
		Writer: watched{m.d.store, m}, Leases: m.d.store, Rules: m.d.rules, Owner: "model", Now: m.d.rules.Now, Clock: m.d.store.Clock, Log: m.d.runner(nil).Log,
		Runbooks: map[operation.Kind]operation.Runbook{"rotate": m},
	}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(errDied) {
				panic(p)
			}
		}()
		if err := runner.Run(ctx, op.ID, op.Epoch); err != nil {
			m.fault("run: %w", err)
		}
	}()
	// The lease of who died has run out before the next event.
	if _, err := m.d.store.DB().ExecContext(ctx, "UPDATE operations SET lease_owner = '', lease_until = 0 WHERE id = $1", string(op.ID)); err != nil {
		m.fault("let the lease run out: %w", err)
	}
}

// Steps implements operation.Runbook. Each action looks whether it may be done.
func (m *model) Steps(operation.Operation) []operation.Step {
	var out []operation.Step
	for _, name := range []string{"a", "b", "c"} {
		out = append(out, operation.Step{
			Name: name, Within: time.Minute, PointOfNoReturn: name == "c",
			Do: m.action("do " + name), Verify: m.action("verify " + name), Undo: operation.UndoBy(m.action("undo "+name), m.action("undone "+name)),
		})
	}
	return out
}

func (m *model) action(call string) operation.Action {
	return func(ctx context.Context, run *operation.Run) (string, error) {
		if err := run.Fence(ctx); err != nil {
			return "", err
		}
		op := run.Operation
		c, ok := m.confirmed[op.ID]
		switch {
		case !ok || m.begun[op.ID] != 1:
			m.fault("%s of %s, which nobody confirmed, or which began %d times", call, op.ID, m.begun[op.ID])
		case human(op.Requester.User) == human(op.Approver.User) || op.Approver.User != c.User:
			m.fault("%s of %s: asked by %s, confirmed by %s, approver %s", call, op.ID, op.Requester.User, c.User, op.Approver.User)
		case op.Plan.Digest() != c.Digest || op.Digest != c.Digest:
			m.fault("%s of %s is of another plan than the confirmed one", call, op.ID)
		}
		if call == m.failing {
			return "", operation.Permanent(errors.New("it fails"))
		}
		return "evidence of " + call, nil
	}
}

// watched is the store as the runner uses it: it looks at every beginning, and lets
// the process die before or after a commit.
type watched struct {
	operation.Writer
	m *model
}

// Change implements operation.Writer.
func (w watched) Change(ctx context.Context, t operation.Transition) (operation.Operation, error) {
	m := w.m
	m.die()
	began := slices.ContainsFunc(t.Entries, func(e operation.Entry) bool { return e.Event == operation.Begin })
	if began {
		op := t.Operation
		plan, err := m.d.plan.Plan(ctx, op)
		if err != nil || plan.Digest() != op.Digest {
			m.fault("%s began although the world is another than the confirmed one (%v)", op.ID, err)
		}
		if !m.approver(op.Approver.User) {
			m.fault("%s began although %s may not confirm any more", op.ID, op.Approver.User)
		}
	}
	stored, err := w.Writer.Change(ctx, t)
	if began && err == nil {
		m.begun[t.Operation.ID]++
	}
	m.die()
	return stored, err
}

func (m *model) die() {
	if m.dying--; m.dying == 0 {
		panic(errDied)
	}
}

// check is what always holds.
func (m *model) check(rt *rapid.T) {
	if m.op.ID != "" {
		m.checkOperation()
	}
	if m.wrong != nil {
		rt.Fatal(m.wrong)
	}
}

func (m *model) checkOperation() {
	op, err := m.d.store.Operation(m.t.Context(), m.op.ID)
	if err != nil {
		m.fault("read: %w", err)
		return
	}
	m.op = op
	if was, over := m.ended[op.ID]; over && was != op.State {
		m.fault("%s was %s, and is %s", op.ID, was, op.State)
	}
	if !op.State.Open() {
		m.ended[op.ID] = op.State
	}
	if _, ok := m.confirmed[op.ID]; !ok && !slices.Contains([]operation.State{operation.Pending, operation.Denied, operation.Cancelled, operation.Lapsed}, op.State) {
		m.fault("%s is %s without a confirmation", op.ID, op.State)
	}
	entries, err := audit.OfOperation(m.t.Context(), m.d.store.DB(), op.ID)
	if err != nil {
		m.fault("read the record: %w", err)
	}
	counts := map[operation.Event]int{}
	for _, e := range entries {
		if e.Outcome != operation.Refused {
			counts[e.Event]++
		}
	}
	once := map[operation.Event]int{}
	for _, e := range []operation.Event{operation.Request, operation.Confirm, operation.Begin, operation.Void, operation.Finish, operation.TakeBack, operation.Lapse, operation.Deny, operation.Cancel} {
		if counts[e] > 1 {
			once[e] = counts[e]
		}
	}
	if len(once) > 0 || counts[operation.Request] != 1 || counts[operation.Begin] > counts[operation.Confirm] {
		m.fault("the record of %s has %v", op.ID, slices.Collect(maps.Keys(once)))
	}
}
