package store

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTime bounds what a look at the metrics may take.
const scrapeTime = 5 * time.Second

// Metrics counts what is in the database, when asked. Every replica counts the
// same: take the maximum over them, not the sum.
type Metrics struct {
	store     *Store
	schedules map[string]bool

	operations, untold, untoldAge, envelopes, record, expiring, overdue, tick *prometheus.Desc
}

// Metrics returns the store's metrics. Of the schedules that the database knows,
// those are shown that ticks still have.
func (s *Store) Metrics(ticks []Tick) *Metrics {
	schedules := map[string]bool{}
	for _, t := range ticks {
		schedules[t.Name] = true
	}
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("twokey_"+name, help, labels, nil)
	}
	return &Metrics{
		store: s, schedules: schedules,
		operations: describe("operations", "Operations, by kind and state; those that have ended as well.", "kind", "state"),
		untold:     describe("untold_notices", "Messages that Slack has not taken yet."),
		untoldAge:  describe("untold_notice_age_seconds", "How long the oldest of them has been waiting, beyond when it was to be told."),
		envelopes:  describe("unhandled_envelopes", "What people did in Slack and is acknowledged and not handled yet."),
		record:     describe("record_entries", "Entries of the record of who did what. It never falls."),
		expiring:   describe("expiring", "What was reminded of and is not settled."),
		overdue:    describe("overdue", "What of it is past its end."),
		tick:       describe("tick_answered_timestamp_seconds", "The last instant of a schedule that was answered.", "schedule"),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.operations, m.untold, m.untoldAge, m.envelopes, m.record, m.expiring, m.overdue, m.tick} {
		out <- d
	}
}

// Collect implements prometheus.Collector. What cannot be counted is an error of
// the scrape, not a zero.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	if err := m.collect(ctx, out); err != nil {
		out <- prometheus.NewInvalidMetric(m.operations, err)
	}
}

func (m *Metrics) collect(ctx context.Context, out chan<- prometheus.Metric) error {
	now := m.store.now().UTC()
	all := func([]string) bool { return true }
	if err := m.labelled(ctx, out, m.operations, 2, all, "SELECT kind, state, COUNT(*) FROM operations GROUP BY kind, state"); err != nil {
		return err
	}
	var untold, since, envelopes, record, expiring, overdue float64
	row := m.store.db.QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM notices WHERE sent_at = 0),
		(SELECT COALESCE(MIN(CASE WHEN not_before > created_at THEN not_before ELSE created_at END), 0) FROM notices WHERE sent_at = 0),
		(SELECT COUNT(*) FROM envelopes WHERE handled_at = 0),
		(SELECT size FROM record_head),
		(SELECT COUNT(*) FROM matters WHERE settled = 0),
		(SELECT COUNT(*) FROM matters WHERE settled = 0 AND expiry > 0 AND expiry <= $1)`, now.UnixMicro())
	if err := row.Scan(&untold, &since, &envelopes, &record, &expiring, &overdue); err != nil {
		return fmt.Errorf("count what is in the database: %w", err)
	}
	age := 0.0
	if since > 0 {
		age = max(0, now.Sub(time.UnixMicro(int64(since))).Seconds())
	}
	for desc, value := range map[*prometheus.Desc]float64{
		m.untold: untold, m.untoldAge: age, m.envelopes: envelopes, m.record: record, m.expiring: expiring, m.overdue: overdue,
	} {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	followed := func(labels []string) bool { return m.schedules[labels[0]] }
	return m.labelled(ctx, out, m.tick, 1, followed, "SELECT name, answered_at / 1000000 FROM ticks")
}

// labelled sends a metric of each row that is wanted: its labels, then its value.
func (m *Metrics) labelled(ctx context.Context, out chan<- prometheus.Metric, desc *prometheus.Desc, labels int, wanted func([]string) bool, query string) error {
	rows, err := m.store.db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("count what is in the database: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err tells
	for rows.Next() {
		texts, value := make([]string, labels), 0.0
		to := make([]any, 0, labels+1)
		for i := range texts {
			to = append(to, &texts[i])
		}
		if err := rows.Scan(append(to, &value)...); err != nil {
			return fmt.Errorf("count what is in the database: %w", err)
		}
		if wanted(texts) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, texts...)
		}
	}
	return rows.Err()
}
