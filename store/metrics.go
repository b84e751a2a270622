package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/twokey/twokey/operation"
)

// scrapeTime bounds what a look at the metrics may take.
const scrapeTime = 5 * time.Second

// WriteMetrics counts what is in the database, in Prometheus's text format. Every
// replica counts the same: take the maximum over them, not the sum. Of the schedules
// that the database knows, those are shown that ticks still have. docs/operating.md
// says what each metric is. While the database cannot be used, that is all that is said
// of it: a gap shows, where zeros would not.
func (s *Store) WriteMetrics(ctx context.Context, w io.Writer, ticks []Tick) error {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	var counts bytes.Buffer
	err := s.writeCounts(ctx, &counts, ticks)
	var away *operation.Unavailable
	usable := 0.0
	switch {
	case errors.As(err, &away):
		counts.Reset()
	case err != nil:
		return err
	case s.db.outage.trouble() == "":
		usable = 1
	}
	vm.WriteGaugeFloat64(w, "twokey_database_usable", usable)
	_, err = counts.WriteTo(w)
	return err
}

func (s *Store) writeCounts(ctx context.Context, w io.Writer, ticks []Tick) error {
	now := s.now().UTC()
	var untold, since, envelopes, record, expiring, overdue int64
	row := s.db.QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM notices WHERE sent_at = 0),
		(SELECT COALESCE(MIN(CASE WHEN not_before > created_at THEN not_before ELSE created_at END), 0) FROM notices WHERE sent_at = 0),
		(SELECT COUNT(*) FROM envelopes WHERE handled_at = 0),
		(SELECT size FROM record_head),
		(SELECT COUNT(*) FROM matters WHERE settled = 0),
		(SELECT COUNT(*) FROM matters WHERE settled = 0 AND expiry > 0 AND expiry <= $1)`, now.UnixMicro())
	if err := row.Scan(&untold, &since, &envelopes, &record, &expiring, &overdue); err != nil {
		return fmt.Errorf("count what is in the database: %w", err)
	}
	age := time.Duration(0)
	if since > 0 {
		age = max(0, now.Sub(time.UnixMicro(since)))
	}
	vm.WriteGaugeFloat64(w, "twokey_untold_notices", float64(untold))
	vm.WriteGaugeFloat64(w, "twokey_untold_notice_age_seconds", age.Seconds())
	vm.WriteGaugeFloat64(w, "twokey_unhandled_envelopes", float64(envelopes))
	vm.WriteGaugeFloat64(w, "twokey_record_entries", float64(record))
	vm.WriteGaugeFloat64(w, "twokey_expiring", float64(expiring))
	vm.WriteGaugeFloat64(w, "twokey_overdue", float64(overdue))
	if err := s.writeOperations(ctx, w); err != nil {
		return err
	}
	return s.writeTicks(ctx, w, ticks)
}

func (s *Store) writeOperations(ctx context.Context, w io.Writer) error {
	rows, err := s.db.QueryContext(ctx, "SELECT kind, state, COUNT(*) FROM operations GROUP BY kind, state ORDER BY kind, state")
	if err != nil {
		return fmt.Errorf("count the operations: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err tells
	for rows.Next() {
		var kind, state string
		var n int64
		if err := rows.Scan(&kind, &state, &n); err != nil {
			return fmt.Errorf("count the operations: %w", err)
		}
		vm.WriteGaugeFloat64(w, fmt.Sprintf("twokey_operations{kind=%q,state=%q}", kind, state), float64(n))
	}
	return rows.Err()
}

func (s *Store) writeTicks(ctx context.Context, w io.Writer, ticks []Tick) error {
	for _, t := range ticks {
		var answered int64
		err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(answered_at), 0) FROM ticks WHERE name = $1", t.Name).Scan(&answered)
		if err != nil {
			return fmt.Errorf("read when %s was answered: %w", t.Name, err)
		}
		if answered > 0 {
			vm.WriteGaugeFloat64(w, fmt.Sprintf("twokey_tick_answered_timestamp_seconds{schedule=%q}", t.Name), float64(answered/1e6))
		}
	}
	return nil
}
