package operation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
)

func TestASecretThatNobodyCouldConfirmIsSaidWithWhy(t *testing.T) {
	requesters := operation.GroupID("S0REQUESTERS")
	tests := []struct {
		name   string
		policy func(*operation.Policy)
		change func(*desk)
		says   string // empty: somebody could
	}{
		{"somebody could", nil, nil, ""},
		{"the channel is shared", func(p *operation.Policy) { p.Channel = shared }, nil, "shared with people outside"},
		{"the channel is unknown", func(p *operation.Policy) { p.Channel = "C0NONE" }, nil, "could not be looked up"},
		{"the group cannot be read", nil, func(d *desk) { d.work.broken = errors.New("ratelimited") }, "approvers' group could not be read"},
		{"nobody in the group counts", nil, func(d *desk) {
			d.work.group = []operation.UserID{"gina", "robot", "gone", "stan", "mute", "off", "ambiguous", "unknown"}
		}, "no full member with an enabled identity"},
		{"one approver, and anybody may ask", nil, func(d *desk) { d.work.group = []operation.UserID{"alice"} }, ""},
		{"one person both asks and confirms", func(p *operation.Policy) { p.Requesters = approvers }, func(d *desk) { d.work.group = []operation.UserID{"alice", "alice2"} }, "alice is the only one"},
		{"two people both ask and confirm", func(p *operation.Policy) { p.Requesters = approvers }, nil, ""},
		{"the requesters cannot be read", func(p *operation.Policy) { p.Requesters = requesters }, nil, "requesters' group could not be read"},

		{"everybody has a second factor", func(p *operation.Policy) { p.SecondFactor = true }, nil, ""},
		{"nobody has a second factor", func(p *operation.Policy) { p.SecondFactor = true }, func(d *desk) { clear(d.rules.Authenticators) }, "nobody in the approvers' group has one"},
		{"only somebody outside the group has one", func(p *operation.Policy) { p.SecondFactor = true }, func(d *desk) {
			dave := d.rules.Authenticators["alice"]
			clear(d.rules.Authenticators)
			d.rules.Authenticators["dave"] = dave
		}, "nobody in the approvers' group has one"},
		{"who has the only one is the only one who may ask", func(p *operation.Policy) { p.Requesters, p.SecondFactor = approvers, true }, func(d *desk) {
			d.work.group = []operation.UserID{"alice"}
		}, "alice is the only one"},
		{"who has the only one may confirm what the other asks", func(p *operation.Policy) { p.Requesters, p.SecondFactor = approvers, true }, func(d *desk) {
			d.work.group = []operation.UserID{"alice", "bob"}
			delete(d.rules.Authenticators, "alice")
		}, ""},
		{"no second factor is asked for", nil, func(d *desk) { clear(d.rules.Authenticators) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, p := withFactor(newDesk(t)), policy()
			if tt.policy != nil {
				tt.policy(&p)
			}
			if tt.change != nil {
				tt.change(d)
			}
			got := d.rules.Unconfirmed(t.Context(), p)
			if tt.says == "" && got != "" || !strings.Contains(got, tt.says) {
				t.Errorf("it says %q, want %q", got, tt.says)
			}
		})
	}
}

// TestWhatWaitsForAPersonIsWhatTheyMayDecide compares the Home tab's list with what
// the rules then do with a click.
func TestWhatWaitsForAPersonIsWhatTheyMayDecide(t *testing.T) {
	one, two := newDesk(t), withFactor(newDesk(t))
	delete(two.rules.Authenticators, "carol")
	for _, state := range operation.States() {
		for _, user := range []operation.UserID{"alice", "alice2", "bob", "carol", "dave"} {
			for factor, d := range map[bool]*desk{false: one, true: two} {
				d.now = d.now.Add(time.Minute) // codes are taken once
				op := d.in(t, d.ask(t, operation.SecretName(fmt.Sprint(user, "/", state))), state)
				waiting, err := d.rules.Waiting(t.Context(), user, []operation.Operation{op})
				if err != nil {
					t.Fatal(err)
				}
				events := map[operation.State][]operation.Event{
					operation.Pending: {operation.Confirm}, operation.Parked: {operation.HandOver},
				}[state]
				may := false
				for _, e := range events {
					c := click(op, e, user)
					c.Code = codeOf(user, d.now)
					_, err := d.rules.Approve(t.Context(), c)
					may = err == nil
				}
				if waits := len(waiting) == 1; waits != may {
					t.Errorf("%s, %s, second factor %v: it waits for them: %v; they may decide: %v", state, user, factor, waits, may)
				}
			}
		}
	}
}

func TestWhatHasLapsedWaitsForNobody(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	d.now = op.LapsesAt
	if waiting, err := d.rules.Waiting(t.Context(), "bob", []operation.Operation{op}); err != nil || len(waiting) > 0 {
		t.Errorf("%+v, %v", waiting, err)
	}
}

func TestWhoCannotBeLookedUpIsToldSoAndNotThatNothingWaits(t *testing.T) {
	d := newDesk(t)
	op := d.ask(t, "sharepoint/prod")
	d.work.broken = errors.New("ratelimited")
	if _, err := d.rules.Waiting(t.Context(), "bob", []operation.Operation{op}); err == nil {
		t.Error("nothing waits, it says")
	}
}

// TestWhatBlocksAnotherIsNeitherAskedForNorConfirmedBesideIt: whichever of the two
// says that it blocks the other, and whichever was first.
func TestWhatBlocksAnotherIsNeitherAskedForNorConfirmedBesideIt(t *testing.T) {
	beside := func(d *desk, blocks ...operation.Kind) {
		d.rules.Planners[leftover] = kindPlan{steady: d.plan, kind: leftover, blocks: blocks}
	}
	other := func() operation.Ask {
		a := ask("sharepoint/prod", "carol")
		a.Kind, a.Envelope = leftover, "envelope-2"
		return a
	}
	open := func(t *testing.T, what string, err error) {
		t.Helper()
		var refusal *operation.Refusal
		if !errors.As(err, &refusal) || refusal.Code != operation.CodeOpenOperation {
			t.Errorf("%s: got %v, want that another is open", what, err)
		}
	}
	t.Run("asked for while what blocks it is open", func(t *testing.T) {
		d := newDesk(t)
		beside(d, "rotate")
		if _, err := d.rules.Request(t.Context(), other()); err != nil {
			t.Fatal(err)
		}
		_, err := d.rules.Request(t.Context(), ask("sharepoint/prod", "alice"))
		open(t, "the rotation", err)
	})
	t.Run("confirmed while what blocks it is open", func(t *testing.T) {
		d := newDesk(t)
		beside(d, "rotate")
		rotation := d.ask(t, "sharepoint/prod") // blocks nothing itself, so the other may be asked for
		removal, err := d.rules.Request(t.Context(), other())
		if err != nil {
			t.Fatal(err)
		}
		removal = d.posted(t, removal)
		_, err = d.rules.Approve(t.Context(), click(rotation, operation.Confirm, "bob"))
		open(t, "the rotation", err)
		_, err = d.rules.Approve(t.Context(), click(removal, operation.Confirm, "bob"))
		open(t, "the removal", err)
		if _, err := d.rules.Approve(t.Context(), click(rotation, operation.Cancel, "alice")); err != nil {
			t.Fatal(err)
		}
		if moved, err := d.rules.Approve(t.Context(), click(removal, operation.Confirm, "bob")); err != nil || moved.State != operation.Approved {
			t.Errorf("with the rotation cancelled, the removal is %s, %v", moved.State, err)
		}
	})
	t.Run("beside what blocks nothing", func(t *testing.T) {
		d := newDesk(t)
		beside(d)
		rotation := d.ask(t, "sharepoint/prod")
		removal, err := d.rules.Request(t.Context(), other())
		if err != nil {
			t.Fatal(err)
		}
		removal = d.posted(t, removal)
		for _, op := range []operation.Operation{rotation, removal} {
			if _, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob")); err != nil {
				t.Errorf("%s: %v", op.Kind, err)
			}
		}
	})
	t.Run("another secret's", func(t *testing.T) {
		d := newDesk(t)
		beside(d, "rotate")
		if _, err := d.rules.Request(t.Context(), other()); err != nil {
			t.Fatal(err)
		}
		rotation := d.ask(t, "github/prod")
		if _, err := d.rules.Approve(t.Context(), click(rotation, operation.Confirm, "bob")); err != nil {
			t.Error(err)
		}
	})
}
