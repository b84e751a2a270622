package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"
)

const (
	// keptFor is how long what was told is kept after that, and what has expired after
	// its end. The record keeps for ever what happened.
	keptFor = 90 * 24 * time.Hour
	// tidyEvery is how often what is older is removed.
	tidyEvery = 10 * time.Minute
	// tidyTogether bounds a transaction, in rows of each statement; others wait for it.
	tidyTogether = 500
)

// old are the statements that remove what nobody needs any more, no more than $2 rows
// each, in an order in which each makes room for those after it; $1 is the instant
// before which it is old. Where rows are numbered by the highest number, the one that
// has it stays: what is told would otherwise be called by a name that was there before.
func old() []string {
	return []string{
		// What was told, unless an operation goes on of which it tells.
		`DELETE FROM notices WHERE id IN (SELECT n.id FROM notices n WHERE n.sent_at > 0 AND n.sent_at < $1 AND n.id < (SELECT MAX(id) FROM notices)
		AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.id = n.operation AND o.state IN ('pending', 'approved', 'running', 'waiting', 'undoing', 'parked'))
		ORDER BY n.id LIMIT $2)`,
		// Files that were sent.
		`DELETE FROM documents WHERE (operation, name) IN (SELECT d.operation, d.name FROM documents d WHERE d.created_at < $1
		AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.operation = d.operation AND n.operation <> '' AND n.kind = 'file' AND n.document = d.name) LIMIT $2)`,
		// Reminders that a later one or the end of their matter has overtaken, when that is
		// so of all in their messages: a message that is edited once more must be whole.
		`DELETE FROM reminders WHERE id IN (SELECT r.id FROM reminders r WHERE r.id < (SELECT MAX(id) FROM reminders)
		AND r.round IN (` + overtaken + `) AND (r.escalation = 0 OR r.escalation IN (` + overtaken + `)) LIMIT $2)`,
		`DELETE FROM reminder_rounds WHERE id IN (SELECT o.id FROM reminder_rounds o WHERE o.told_at < $1 AND o.id < (SELECT MAX(id) FROM reminder_rounds)
		AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.round = o.id AND n.round <> 0)
		AND NOT EXISTS (SELECT 1 FROM reminders r WHERE r.round = o.id) AND NOT EXISTS (SELECT 1 FROM reminders r WHERE r.escalation = o.id) ORDER BY o.id LIMIT $2)`,
		// What has expired and needs nobody; what is there no longer cannot be told of again.
		`DELETE FROM matters WHERE (item, expiry) IN (SELECT m.item, m.expiry FROM matters m WHERE m.settled = 1 AND m.expiry > 0 AND m.expiry < $1
		AND NOT EXISTS (SELECT 1 FROM reminders r WHERE r.item = m.item AND r.expiry = m.expiry) LIMIT $2)`,
		// Leftovers have no instant of their own; their messages' notices have one.
		`DELETE FROM leftovers WHERE id IN (SELECT l.id FROM leftovers l WHERE l.closed = 1 AND l.id < (SELECT MAX(id) FROM leftovers)
		AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.leftover = l.id AND n.leftover <> 0) AND $1 > CAST(0 AS BIGINT) LIMIT $2)`,
		`DELETE FROM digests WHERE id IN (SELECT d.id FROM digests d WHERE d.told_at < $1 AND d.id < (SELECT MAX(id) FROM digests)
		AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.digest = d.id) LIMIT $2)`,
	}
}

// overtaken are the rounds in which nothing stands any more that can change: they were
// told long ago, and so was what is newer of each of their matters, or that is over.
const overtaken = `SELECT o.id FROM reminder_rounds o WHERE o.told_at < $1 AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.round = o.id AND n.round <> 0)
	AND NOT EXISTS (SELECT 1 FROM reminders s JOIN matters m ON m.item = s.item AND m.expiry = s.expiry WHERE (s.round = o.id OR s.escalation = o.id)
		AND m.told >= s.stage AND NOT (m.settled = 1 AND m.expiry > 0 AND m.expiry < $1))`

// keepTidy removes what is old now and then, until ctx ends. Every replica does it.
func (s *Store) keepTidy(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			warn(ctx, log, "what is old stays longer", s.tidy(ctx))
		}
	}
}

// tidy removes what is old, a part at a time.
func (s *Store) tidy(ctx context.Context) error {
	before := micros(s.now().Add(-keptFor))
	var errs []error
	for _, statement := range old() {
		for {
			n, err := s.tidyOnce(ctx, statement, before)
			if err != nil {
				errs = append(errs, err)
			}
			if n < tidyTogether {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// tidyOnce runs one of the statements, alone with those who number what is told.
func (s *Store) tidyOnce(ctx context.Context, statement string, before int64) (n int64, err error) {
	err = s.inTx(ctx, "remove what is old", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE record_head SET size = size"); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, statement, before, tidyTogether)
		if err == nil {
			n, err = done.RowsAffected()
		}
		return err
	})
	return n, err
}
