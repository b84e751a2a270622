package entra_test

import (
	"testing"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

func TestADeactivatedServicePrincipalGetsNoTokenUntilItIsActivated(t *testing.T) {
	w := newWorld(t)
	secret := operation.NewSecret(w.first.Secret)
	for range 2 { // repeating changes nothing
		must(t, w.client.SetEnabled(t.Context(), runbook.ObjectID(w.app.Principal), false))
	}
	same(t, []int{runbook.ApplicationDisabled}, w.refused(w.app.Client, secret))
	must(t, w.client.SetEnabled(t.Context(), runbook.ObjectID(w.app.Principal), true))
	must(t, w.client.Request(t.Context(), runbook.ClientID(w.app.Client), secret))
}

func TestDeactivatingWhatIsNotOursIsRefusedForGood(t *testing.T) {
	w := newWorld(t)
	err := w.client.SetEnabled(t.Context(), "00000000-0000-0000-0000-000000000000", false)
	if !operation.IsPermanent(err) {
		t.Errorf("%v", err)
	}
}
