package operation_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
)

// reminded has one person reminded of a secret's end, and returns the reminder
// before its card is posted.
func (d *desk) reminded(t *testing.T) operation.Reminder {
	t.Helper()
	told, err := d.store.Remind(t.Context(), d.now, []operation.Reminder{{
		Matter: operation.Matter{Item: "secret:key", End: d.now.AddDate(0, 1, 0)}, Stage: 30, Name: "sharepoint/prod", Secret: "sharepoint/prod", Key: "key", Channel: operations,
	}})
	if err != nil || len(told) != 1 {
		t.Fatalf("%+v, %v", told, err)
	}
	r, err := d.store.Reminder(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAClickThatIsFasterThanTheNoteOfItsReminderWaitsForIt(t *testing.T) {
	d := newDesk(t)
	care := &operation.Care{Rules: d.rules, Store: d.store, Policy: policy()}
	r := d.reminded(t)
	n, found, err := d.store.ClaimNotice(t.Context(), "test", time.Minute)
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
	const card operation.MessageID = "17.0"
	result := make(chan error)
	go func() {
		result <- care.Take(t.Context(), operation.Attention{Reminder: r.ID, User: "bob", Channel: operations, Message: card})
	}()
	select {
	case err := <-result:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := d.store.NoticeSent(t.Context(), n, card); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if r, err = d.store.Reminder(t.Context(), r.ID); err != nil || r.Matter.Taken.By.User != "bob" {
		t.Errorf("it is %+v, %v", r.Matter, err)
	}
}

func TestAClickOnAnotherMessageThanTheRemindersIsNotCounted(t *testing.T) {
	d := newDesk(t)
	care := &operation.Care{Rules: d.rules, Store: d.store, Policy: policy()}
	r := d.reminded(t)
	elsewhere := operation.Attention{Reminder: r.ID, User: "bob", Channel: shared, Message: "17.0"}
	began := time.Now()
	_, err := care.Find(t.Context(), elsewhere) // before the card is there, and in no hurry to wait for it
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Code != operation.CodeNoReminder || time.Since(began) > 5*time.Second {
		t.Errorf("another channel: %v after %s", err, time.Since(began))
	}
	n, found, err := d.store.ClaimNotice(t.Context(), "test", time.Minute)
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
	if err := d.store.NoticeSent(t.Context(), n, "17.0"); err != nil {
		t.Fatal(err)
	}
	for what, a := range map[string]operation.Attention{
		"another message":  {Reminder: r.ID, User: "bob", Channel: operations, Message: "18.0"},
		"no message":       {Reminder: r.ID, User: "bob", Channel: operations},
		"another reminder": {Reminder: 7, User: "bob", Channel: operations, Message: "17.0"},
	} {
		if _, err := care.Find(t.Context(), a); !errors.As(err, &refusal) || refusal.Code != operation.CodeNoReminder {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := care.Find(t.Context(), operation.Attention{Reminder: r.ID, User: "bob", Channel: operations, Message: "17.0"}); err != nil {
		t.Errorf("its own: %v", err)
	}
}
