package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

// mallory can write to the database and has no key of the record.
type mallory struct{ d *desk }

func (m mallory) writes(t *testing.T, statement string, args ...any) {
	t.Helper()
	done, err := m.d.store.DB().ExecContext(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if n, err := done.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("%s hit %d rows, %v", statement, n, err)
	}
}

// rewrites changes an operation's body, and its columns as twokey would.
func (m mallory) rewrites(t *testing.T, id operation.ID, change func(*operation.Operation)) {
	t.Helper()
	op, err := m.d.store.Operation(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	change(&op)
	body, err := json.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	m.writes(t, "UPDATE operations SET state = $1, epoch = $2, approver_person = $3, body = $4, lease_until = 0 WHERE id = $5",
		string(op.State), op.Epoch, string(op.Approver.Person), string(body), string(id))
}

// TestWhoCanWriteToTheDatabaseSetsNothingOff: whatever stands in the row of an
// operation, without the record's key nothing of it is done.
func TestWhoCanWriteToTheDatabaseSetsNothingOff(t *testing.T) {
	bob := operation.Person{User: "bob", Person: "person-bob@example.com", Name: "bob"}
	tests := []struct {
		name      string
		confirmed bool // by two people, before mallory writes
		change    func(*operation.Operation)
	}{
		{"approves it in bob's name", false, func(op *operation.Operation) {
			op.State, op.Approver, op.DecidedBy = operation.Approved, bob, bob
		}},
		{"has it running without a second look", false, func(op *operation.Operation) {
			op.State, op.Approver = operation.Running, bob
		}},
		{"changes the plan after the confirmation, with its digest", true, func(op *operation.Operation) {
			op.Plan.Changes[0].To = "mallory's"
			op.Digest = op.Plan.Digest()
		}},
		{"changes the plan and has it running", true, func(op *operation.Operation) {
			op.State, op.Plan.Details = operation.Running, []byte(`{"parameter":"mallory's"}`)
			op.Digest = op.Plan.Digest()
		}},
		{"changes who asked", true, func(op *operation.Operation) {
			op.Requester.User, op.Requester.Person = "carol", "person-carol@example.com"
		}},
		{"changes who confirmed", true, func(op *operation.Operation) { op.Approver.Person = "person-carol@example.com" }},
		{"changes what was found out", true, func(op *operation.Operation) { op.Facts = map[operation.Fact]string{"old_key": "another"} }},
		{"has it taken back", true, func(op *operation.Operation) { op.State = operation.Undoing }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, s := newDesk(t), newScript()
			op := d.ask(t, "sharepoint/prod")
			if tt.confirmed {
				var err error
				if op, err = d.rules.Approve(t.Context(), click(op, operation.Confirm, "bob")); err != nil {
					t.Fatal(err)
				}
			}
			mallory{d}.rewrites(t, op.ID, tt.change)
			op = d.run(t, d.runner(s), op)
			expect(t, "calls", s.calls, nil)
			if op.State != operation.HandedOver || !strings.Contains(op.Trouble, "not by me") {
				t.Errorf("it is %s: %s", op.State, op.Trouble)
			}
			entries, err := audit.OfOperation(t.Context(), d.store.DB(), op.ID)
			if err != nil {
				t.Fatal(err)
			}
			last := entries[len(entries)-1]
			if last.Code != operation.CodeForged || last.Event != operation.Distrust || last.Quiet {
				t.Errorf("the record's last entry is %+v", last)
			}
		})
	}
}

func TestARequestWhoseRowWasChangedCannotBeConfirmed(t *testing.T) {
	for name, change := range map[string]func(*operation.Operation){
		"its requester, so that she can confirm herself": func(op *operation.Operation) {
			op.Requester.User, op.Requester.Person = "carol", "person-carol@example.com"
		},
		"its plan":              func(op *operation.Operation) { op.Plan.Changes[0].To = "mallory's"; op.Digest = op.Plan.Digest() },
		"who may confirm":       func(op *operation.Operation) { op.Plan.Policy.Approvers = "S0MALLORY"; op.Digest = op.Plan.Digest() },
		"until when":            func(op *operation.Operation) { op.LapsesAt = op.LapsesAt.AddDate(1, 0, 0) },
		"the reason it gives":   func(op *operation.Operation) { op.Reason = "asked for by the auditors" },
		"its body, to nonsense": nil,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			op := d.ask(t, "sharepoint/prod")
			if change == nil {
				mallory{d}.writes(t, "UPDATE operations SET body = '{' WHERE id = $1", string(op.ID))
			} else {
				mallory{d}.rewrites(t, op.ID, change)
			}
			for _, user := range []operation.UserID{"alice", "bob"} {
				now, err := d.store.Operation(t.Context(), op.ID)
				if err != nil {
					t.Fatal(err)
				}
				c := click(op, operation.Confirm, user)
				c.Digest = now.Digest
				_, err = d.rules.Approve(t.Context(), c)
				var refusal *operation.Refusal
				if !errors.As(err, &refusal) || refusal.Code != operation.CodeForged {
					t.Errorf("%s: got %v", user, err)
				}
			}
			if now, err := d.store.Operation(t.Context(), op.ID); err != nil || now.State != operation.Pending {
				t.Errorf("it is %s, %v", now.State, err)
			}
		})
	}
}

// TestAForgedRowDoesNotStayInTheWay: a parked operation that was changed ends with
// the first click, and the secret is free again.
func TestAForgedRowDoesNotStayInTheWay(t *testing.T) {
	d := newDesk(t)
	op := d.in(t, d.ask(t, "sharepoint/prod"), operation.Parked)
	mallory{d}.rewrites(t, op.ID, func(op *operation.Operation) { op.Trouble = "nothing at all: retry" })
	if _, err := d.rules.Approve(t.Context(), click(op, operation.Retry, "bob")); err == nil {
		t.Error("the click counted")
	}
	if now, err := d.store.Operation(t.Context(), op.ID); err != nil || now.State != operation.HandedOver {
		t.Errorf("it is %s, %v", now.State, err)
	}
	if _, err := d.rules.Request(context.WithoutCancel(t.Context()), ask("sharepoint/prod", "bob")); err != nil {
		t.Errorf("the secret is not free: %v", err)
	}
}

// putBack writes the row as it was read before.
func (m mallory) putBack(t *testing.T, id operation.ID, undone func()) {
	t.Helper()
	var state, approver, body, vouched string
	var epoch int64
	row := m.d.store.DB().QueryRowContext(t.Context(), "SELECT state, approver_person, body, vouched, epoch FROM operations WHERE id = $1", string(id))
	if err := row.Scan(&state, &approver, &body, &vouched, &epoch); err != nil {
		t.Fatal(err)
	}
	undone()
	m.writes(t, "UPDATE operations SET state = $1, approver_person = $2, body = $3, vouched = $4, epoch = $5, lease_owner = '', lease_until = 0 WHERE id = $6",
		state, approver, body, vouched, epoch+10, string(id))
}

// TestAnEarlierRowThatIsPutBackSetsNothingOff: it has its code, and is older than what
// the record says.
func TestAnEarlierRowThatIsPutBackSetsNothingOff(t *testing.T) {
	t.Run("a request that was denied", func(t *testing.T) {
		d := newDesk(t)
		op := d.ask(t, "sharepoint/prod")
		mallory{d}.putBack(t, op.ID, func() {
			c := click(op, operation.Deny, "bob")
			c.Words = "not today"
			if _, err := d.rules.Approve(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		})
		_, err := d.rules.Approve(t.Context(), click(op, operation.Confirm, "carol"))
		var refusal *operation.Refusal
		if !errors.As(err, &refusal) || refusal.Code != operation.CodeForged {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a confirmation that was used", func(t *testing.T) {
		d, s := newDesk(t), newScript()
		op := d.confirmed(t)
		mallory{d}.putBack(t, op.ID, func() {
			if done := d.run(t, d.runner(s), op); done.State != operation.Succeeded {
				t.Fatalf("it is %s", done.State)
			}
		})
		s.calls = nil
		now, err := d.store.Operation(t.Context(), op.ID)
		if err != nil {
			t.Fatal(err)
		}
		now = d.run(t, d.runner(s), now)
		expect(t, "calls", s.calls, nil)
		if now.State != operation.HandedOver {
			t.Errorf("it is %s", now.State)
		}
	})
}
