package audit_test

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/internal/need"
)

// newPostgres makes a PostgreSQL database with the record's tables, or skips.
func newPostgres(t testing.TB) (db *sql.DB, address string) {
	t.Helper()
	address = need.Postgres(t)
	db = connect(t, address)
	exec(t, db, audit.Schema())
	return db, address
}

func connect(t testing.TB, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// asBot connects as a role that has only what Grants gives. Roles belong to the
// whole server, so it takes a name of the test's database.
func asBot(t *testing.T, owner *sql.DB, address string) *sql.DB {
	t.Helper()
	var role string
	if err := owner.QueryRowContext(context.Background(), `SELECT 'twokey_bot_' || current_database()`).Scan(&role); err != nil {
		t.Fatal(err)
	}
	exec(t, owner, `CREATE ROLE `+role+` LOGIN PASSWORD 'only for this test'`)
	t.Cleanup(func() {
		exec(t, owner, `DROP OWNED BY `+role)
		exec(t, owner, `DROP ROLE `+role)
	})
	exec(t, owner, strings.ReplaceAll(audit.Grants(), "twokey_bot", role))
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("user") // the address of a socket has it here
	u.RawQuery = query.Encode()
	u.User = url.UserPassword(role, "only for this test")
	return connect(t, u.String())
}

func TestTheBotsRoleCanAddToTheRecordAndNotChangeIt(t *testing.T) {
	owner, address := newPostgres(t)
	bot := asBot(t, owner, address)
	log := newLog(newKey(t))
	grow(t, bot, log, 0, 5)
	grow(t, bot, log, 5, 9)
	if err := log.Posted(context.Background(), bot, 9, "C1", "1700.1"); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE record SET entry = entry WHERE seq = 3`,
		`UPDATE record SET operation = '' WHERE seq = 3`,
		`DELETE FROM record WHERE seq = 9`,
		`TRUNCATE record`,
		`UPDATE record_hashes SET hash = hash WHERE idx = 0`,
		`DELETE FROM record_hashes WHERE idx = 0`,
		`TRUNCATE record_hashes`,
		`UPDATE record_checkpoints SET note = '' WHERE size = 5`,
		`DELETE FROM record_checkpoints WHERE size = 5`,
		`DELETE FROM record_head`,
		`INSERT INTO record_head (one, size) VALUES (1, 0)`,
		`DROP TABLE record`,
		`ALTER TABLE record DISABLE TRIGGER ALL`,
	} {
		_, err := bot.ExecContext(context.Background(), statement)
		if err == nil || !strings.Contains(err.Error(), "42501") { // insufficient_privilege
			t.Errorf("%s: %v", statement, err)
		}
	}
	if report := verify(t, audit.NewDatabase(bot), log.Known()); !report.Whole() || report.Entries != 9 || report.Kept != 2 {
		t.Errorf("%+v", report)
	}
}
