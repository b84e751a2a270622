package servicenow_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/integrations/servicenow"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	standin "github.com/twokey/twokey/sandbox/servicenow"
	"github.com/twokey/twokey/worknotes"
)

var (
	_ operation.ChangeRequests = (*servicenow.Client)(nil)
	_ worknotes.Changes        = (*servicenow.Client)(nil)
)

// instance is a ServiceNow with one change whose work may be done.
func instance(t *testing.T) (*standin.Server, *conditions.Conditions, servicenow.Config) {
	t.Helper()
	cond := conditions.New(conditions.NewClock())
	s := standin.New(cond)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	s.Put(standin.Change{
		Number: "CHG0012345", State: "-1", Approval: "approved",
		Start: time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC),
	})
	return s, cond, servicenow.Config{URL: server.URL, User: standin.User, Password: operation.NewSecret(s.Password), Table: standin.Table, States: []string{"-1"}}
}

func TestAChangeIsReadByWhatIsStoredAndTellsWhatIsShown(t *testing.T) {
	s, _, config := instance(t)
	for name, c := range map[string]servicenow.Config{
		"basic authentication": config,
		"a token":              {URL: config.URL, Token: operation.NewSecret(s.Token), Table: config.Table, States: config.States},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := servicenow.New(c).ChangeRequest(t.Context(), "CHG0012345")
			want := operation.ChangeRequest{
				Number: "CHG0012345", State: "Implement", Workable: true, Approval: "Approved", Approved: true,
				// The stand-in's user lives in Berlin, where these are 21 and 23 o'clock.
				Start: time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC),
			}
			if err != nil || got != want {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestNoNumberFindsAnotherChange(t *testing.T) {
	_, _, config := instance(t)
	client := servicenow.New(config)
	for _, number := range []string{"CHG0000001", "CHG0012345^ORstate=-1", "", "CHG0012345 ", "number", "*", strings.Repeat("9", 41)} {
		if c, err := client.ChangeRequest(t.Context(), number); !errors.Is(err, operation.ErrNoChangeRequest) {
			t.Errorf("%q: %+v, %v", number, c, err)
		}
	}
}

func TestAnAnswerAboutAnotherRecordIsNotTaken(t *testing.T) {
	for name, answer := range map[string]string{
		"another record": `{"result":[{"sys_id":{"value":"1"},"number":{"value":"CHG0000002"}}]}`,
		"two of them":    `{"result":[{"sys_id":{"value":"1"},"number":{"value":"CHG0000001"}},{"sys_id":{"value":"2"},"number":{"value":"CHG0000001"}}]}`,
		"no id":          `{"result":[{"number":{"value":"CHG0000001"}}]}`,
		"a bad instant":  `{"result":[{"sys_id":{"value":"1"},"number":{"value":"CHG0000001"},"start_date":{"value":"24/11/2026"}}]}`,
		"a page":         `<html>Your instance is hibernating</html>`,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
			defer server.Close()
			c, err := servicenow.New(servicenow.Config{URL: server.URL, Table: "change_request"}).ChangeRequest(t.Context(), "CHG0000001")
			if err == nil || errors.Is(err, operation.ErrNoChangeRequest) {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
}

func TestRefusalsSayWhatToDoAndNoSecret(t *testing.T) {
	s, cond, config := instance(t)
	for _, c := range []struct {
		fault conditions.Fault
		want  string
	}{
		{conditions.Fault{Kind: conditions.Refuse, Status: 401}, "check servicenow.user"},
		{conditions.Fault{Kind: conditions.Refuse, Status: 403}, "let the bot's user read change requests"},
		{conditions.Fault{Kind: conditions.ServerErr}, "ServiceNow answered 500"},
		{conditions.Fault{Kind: conditions.Nonsense}, "is the instance awake"},
		{conditions.Fault{Kind: conditions.CutBefore}, "reach ServiceNow"},
	} {
		c.fault.Operation, c.fault.Count = "servicenow.list", 1
		if c.fault.Kind == conditions.CutBefore {
			c.fault.Count = 2 // net/http tries a read once more by itself
		}
		cond.Add(c.fault)
		_, err := servicenow.New(config).ChangeRequest(t.Context(), "CHG0012345")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), s.Password) {
			t.Errorf("%+v: %v", c.fault, err)
		}
	}
	config.Password = operation.NewSecret("wrong")
	if _, err := servicenow.New(config).ChangeRequest(t.Context(), "CHG0012345"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestARateLimitIsAWait(t *testing.T) {
	_, cond, config := instance(t)
	cond.Add(conditions.Fault{Operation: "servicenow.list", Kind: conditions.Throttle, RetryAfter: 7, Count: 1})
	_, err := servicenow.New(config).ChangeRequest(t.Context(), "CHG0012345")
	var wait operation.NotYet
	if !errors.As(err, &wait) || wait.After != 7*time.Second {
		t.Errorf("got %v", err)
	}
}

func TestANoteIsAddedOnceHoweverOftenItIsAskedFor(t *testing.T) {
	s, cond, config := instance(t)
	client := servicenow.New(config)
	add := func() error {
		return client.AddNote(t.Context(), "CHG0012345", "[m1]", "All is well.\n[m1]")
	}
	cond.Add(conditions.Fault{Operation: "servicenow.update", Kind: conditions.CutAfter, Count: 1})
	if err := add(); err == nil {
		t.Fatal("a lost answer passed for a success")
	}
	for range 2 {
		if err := add(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.AddNote(t.Context(), "CHG0012345", "[m2]", "More.\n[m2]"); err != nil {
		t.Fatal(err)
	}
	if c, _ := s.Change("CHG0012345"); len(c.Notes) != 2 || c.Notes[0].Text != "All is well.\n[m1]" {
		t.Errorf("notes %+v", c.Notes)
	}
}

func TestANoteIsNotAddedWhereNotesCannotBeRead(t *testing.T) {
	s, _, config := instance(t)
	s.HideNotes(true)
	err := servicenow.New(config).AddNote(t.Context(), "CHG0012345", "[m1]", "[m1]")
	if c, _ := s.Change("CHG0012345"); err == nil || len(c.Notes) > 0 {
		t.Errorf("%v; notes %+v", err, c.Notes)
	}
}

func TestTheStatesAreNamedForPeople(t *testing.T) {
	if got := servicenow.New(servicenow.Config{States: []string{"-2", "-1", "42"}}).WorkableStates(); got != "Scheduled (-2) or Implement (-1) or 42" {
		t.Error(got)
	}
}
