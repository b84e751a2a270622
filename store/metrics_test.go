package store_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		want := `twokey_unhandled_envelopes 1
twokey_record_entries 2
twokey_expiring 1
twokey_overdue 1
twokey_operations{kind="rotate",state="pending"} 1
`
		now := time.Now().UTC()
		due := operation.Reminder{Matter: operation.Matter{Item: "secret:1", End: now.Add(-time.Hour)}, Stage: 0, At: now, Name: "sharepoint/prod", Kind: "client secret", Channel: "C1"}
		if _, err := s.Remind(t.Context(), now, []operation.Reminder{due}); err != nil {
			t.Fatal(err)
		}
		var page strings.Builder
		if err := s.WriteMetrics(t.Context(), &page, nil); err != nil {
			t.Fatal(err)
		}
		untold, rest, _ := strings.Cut(page.String(), "twokey_unhandled")
		if diff := cmp.Diff(want, "twokey_unhandled"+rest); diff != "" {
			t.Error(diff)
		}
		if !strings.HasPrefix(untold, "twokey_database_usable 1\ntwokey_untold_notices 2\ntwokey_untold_notice_age_seconds ") {
			t.Errorf("of what is untold: %s", untold)
		}
	})
}

func TestMetricsThatCannotBeCountedAreAnError(t *testing.T) {
	s := open(t, "sqlite:"+t.TempDir()+"/twokey.db")
	s.Close()
	if err := s.WriteMetrics(t.Context(), io.Discard, nil); err == nil {
		t.Error("a closed database was counted")
	}
}
