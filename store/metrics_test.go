package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

func TestTheMetricsCountWhatIsInTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := request("op-1", "sharepoint/prod")
		if _, err := s.Create(t.Context(), op, asked(op), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Receive(t.Context(), []store.Envelope{{ID: "e1", Body: []byte(`{}`)}}); err != nil {
			t.Fatal(err)
		}
		want := `
# HELP twokey_expiring What was reminded of and is not settled.
# TYPE twokey_expiring gauge
twokey_expiring 1
# HELP twokey_operations Operations, by kind and state; those that have ended as well.
# TYPE twokey_operations gauge
twokey_operations{kind="rotate",state="pending"} 1
# HELP twokey_overdue What of it is past its end.
# TYPE twokey_overdue gauge
twokey_overdue 1
# HELP twokey_record_entries Entries of the record of who did what. It never falls.
# TYPE twokey_record_entries gauge
twokey_record_entries 2
# HELP twokey_unhandled_envelopes What people did in Slack and is acknowledged and not handled yet.
# TYPE twokey_unhandled_envelopes gauge
twokey_unhandled_envelopes 1
`
		now := time.Now().UTC()
		due := operation.Reminder{Matter: operation.Matter{Item: "secret:1", End: now.Add(-time.Hour)}, Stage: 0, At: now, Name: "sharepoint/prod", Kind: "client secret", Channel: "C1"}
		if _, err := s.Remind(t.Context(), now, []operation.Reminder{due}); err != nil {
			t.Fatal(err)
		}
		if err := testutil.CollectAndCompare(s.Metrics(nil), strings.NewReader(want), "twokey_operations", "twokey_record_entries", "twokey_unhandled_envelopes", "twokey_expiring", "twokey_overdue"); err != nil {
			t.Error(err)
		}
		if n, err := testutil.GatherAndCount(registry(t, s), "twokey_untold_notices", "twokey_untold_notice_age_seconds"); err != nil || n != 2 {
			t.Errorf("%d metrics of what is untold, %v", n, err)
		}
	})
}

func registry(t *testing.T, s *store.Store) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(s.Metrics(nil)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMetricsThatCannotBeCountedAreAnError(t *testing.T) {
	s := open(t, "sqlite:"+t.TempDir()+"/twokey.db")
	reg := registry(t, s)
	s.Close()
	if _, err := reg.Gather(); err == nil {
		t.Error("a closed database was counted")
	}
}
