package store

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"

	"github.com/twokey/twokey/operation"
)

// Prepare brings the tables of a PostgreSQL database up to date as their owner, and
// gives another role what the bot needs of them, and no more: that role can change
// neither the tables nor what the record holds. recordGrants are the statements about
// the record's own tables, in which the role is called twokey_bot.
func Prepare(ctx context.Context, address, role, recordGrants string, log *slog.Logger) error {
	if !regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`).MatchString(role) {
		return operation.Refuse("role", "A role's name has small letters, digits and underscores; %q is none.", role)
	}
	if strings.HasPrefix(address, "sqlite:") {
		return operation.Refuse("role", "SQLite has no roles: whoever can write the file can write all of it. Nothing was changed.")
	}
	s := &Store{log: log}
	s.db.outage = &outage{log: log}
	dialect, err := s.connect(ctx, address)
	if err != nil {
		return err
	}
	defer s.Close()
	if dialect != goose.DialectPostgres {
		return fmt.Errorf("%s is no PostgreSQL", redactAddress(address))
	}
	if err := s.migrate(ctx, dialect, log); err != nil {
		return err
	}
	var schema string
	if err := s.db.QueryRowContext(ctx, "SELECT quote_ident(current_schema())").Scan(&schema); err != nil {
		return fmt.Errorf("ask for the schema: %w", err)
	}
	all := []string{
		"GRANT USAGE ON SCHEMA " + schema + " TO " + role,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + schema + " TO " + role,
		"GRANT USAGE ON ALL SEQUENCES IN SCHEMA " + schema + " TO " + role,
		// What only the owner changes, and the record, which nobody does.
		"REVOKE INSERT, UPDATE, DELETE ON goose_db_version, river_migration FROM " + role,
		"REVOKE ALL ON record, record_hashes, record_head, record_checkpoints FROM " + role,
		strings.ReplaceAll(recordGrants, "twokey_bot", role),
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("grant %s its rights: begin: %w", role, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, statement := range all {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("grant %s its rights: %w", role, s.db.outage.mark(err))
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("grant %s its rights: commit: %w", role, s.db.outage.mark(err))
	}
	return nil
}
