package audit_test

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
)

// BenchmarkVerify verifies 20,000 entries and compares that, in the same run,
// with plain SHA-256 of the same bytes, entry by entry. It reports the ratio.
//
//	go test -run '^$' -bench Verify ./audit
func BenchmarkVerify(b *testing.B) {
	const many = 20_000
	db, path := newSQLite(b)
	log := newLog(newKey(b))
	notes := grow(b, db, log, 0, many/4, many/2, many)
	text := export(b, audit.NewDatabase(db))
	var raw [][]byte
	var size int64
	for _, row := range copyOf(b, audit.NewDatabase(db)).rows {
		raw = append(raw, row.Entry)
		size += int64(len(row.Entry))
	}
	plain := func() {
		var last [sha256.Size]byte
		for _, entry := range raw {
			last = sha256.Sum256(entry)
		}
		_ = last
	}
	check := func(b *testing.B, src audit.Source) {
		report, err := audit.Verify(context.Background(), src, notes, log.Known())
		if err != nil || !report.Whole() || report.Entries != many {
			b.Fatalf("%+v, %v", report, err)
		}
	}
	exported := audit.ParseExport(text)
	for _, c := range []struct {
		name   string
		verify func(b *testing.B)
	}{
		{"in memory", func(b *testing.B) { check(b, exported) }},
		{"export", func(b *testing.B) {
			src := audit.ParseExport(text)
			check(b, src)
		}},
		{"sqlite", func(b *testing.B) {
			src, err := audit.Open(context.Background(), path)
			if err != nil {
				b.Fatal(err)
			}
			check(b, src)
			if err := src.Close(); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			var verified, hashed time.Duration
			for b.Loop() { // by turns, so that a busy machine slows both
				start := time.Now()
				c.verify(b)
				middle := time.Now()
				plain()
				verified += middle.Sub(start)
				hashed += time.Since(middle)
			}
			b.ReportMetric(float64(verified.Microseconds())/float64(b.N)/1000, "verify-ms")
			b.ReportMetric(float64(hashed.Microseconds())/float64(b.N)/1000, "sha256-ms")
			b.ReportMetric(float64(verified)/float64(hashed), "×sha256")
		})
	}
}

// BenchmarkAppend appends one entry a transaction to a long record.
func BenchmarkAppend(b *testing.B) {
	db, _ := newSQLite(b)
	log := newLog(newKey(b))
	appendOnly(b, db, log, 0, 20_000)
	for i := 20_000; b.Loop(); i++ {
		appendOnly(b, db, log, i, i+1)
	}
}
