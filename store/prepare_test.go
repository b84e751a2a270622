package store_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// restricted prepares a database and returns the address of the bot's role in it.
func restricted(t *testing.T) string {
	t.Helper()
	owner := need.Postgres(t)
	db := open(t, owner).DB()
	var role string
	if err := db.QueryRowContext(t.Context(), `SELECT 'bot_' || current_database()`).Scan(&role); err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, statement string) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run(t.Context(), "CREATE ROLE "+role+" LOGIN PASSWORD 'only for this test'")
	t.Cleanup(func() {
		run(context.Background(), "DROP OWNED BY "+role)
		run(context.Background(), "DROP ROLE "+role)
	})
	for range 2 { // a second time for the next version
		if err := store.Prepare(t.Context(), owner, role, audit.Grants(), quiet()); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("user") // the address of a socket has it here
	u.RawQuery, u.User = query.Encode(), url.UserPassword(role, "only for this test")
	return u.String()
}

func TestTheBotWorksWithARoleThatCannotChangeTheRecord(t *testing.T) {
	s := open(t, restricted(t))
	var handled, woken atomic.Int32
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, store.Handlers{
			Envelope: func(context.Context, json.RawMessage) error { handled.Add(1); return nil },
			Wake:     func(context.Context, operation.ID, int64) error { woken.Add(1); return nil },
			Lapse:    func(context.Context, operation.Operation) error { return nil },
		}, quiet())
	}()
	if err := s.Receive(t.Context(), []store.Envelope{{ID: "e1", Body: json.RawMessage(`{}`)}}); err != nil {
		t.Fatal(err)
	}
	op, err := s.Change(t.Context(), confirm(create(t, s, request("op1", "a/prod"))))
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(30 * time.Second); handled.Load() == 0 || woken.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d envelopes were handled, %d operations woken", handled.Load(), woken.Load())
		}
	}
	end := operation.Transition{Operation: op, From: op.State, Entries: []operation.Entry{{At: time.Now(), Operation: op.ID, Outcome: operation.Noted, Text: "over"}}}
	end.Operation.State = operation.Voided
	if _, err := s.Change(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	for {
		n, found, err := s.ClaimNotice(t.Context(), "test", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			break
		}
		if err := s.NoticeSent(t.Context(), n, "17.0"); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"UPDATE record SET entry = '{}' WHERE seq = 1", "DELETE FROM record", "TRUNCATE record", "DROP TABLE record",
		"UPDATE record_hashes SET hash = ''", "DELETE FROM record_hashes", "UPDATE record_checkpoints SET note = ''", "DELETE FROM record_checkpoints",
		"DELETE FROM record_head", "ALTER TABLE operations DROP CONSTRAINT two_people", "UPDATE goose_db_version SET version_id = 1",
		"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER t BEFORE INSERT ON record FOR EACH ROW EXECUTE FUNCTION f()",
	} {
		if _, err := s.DB().ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "42501") { // insufficient_privilege
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func TestARoleIsPreparedOnlyWhereThereAreRoles(t *testing.T) {
	for address, role := range map[string]string{"sqlite:twokey.db": "bot", "postgres://host/db": `x"; DROP TABLE record; --`} {
		if err := store.Prepare(t.Context(), address, role, "", quiet()); err == nil {
			t.Errorf("%s for %s was prepared", address, role)
		}
	}
}
