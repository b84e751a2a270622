package inventory

import (
	"fmt"
	"testing"

	"github.com/twokey/twokey/runbook"
)

// What a sweep does itself with what a large tenant has: it comes on top of the
// pages' latency.
func BenchmarkTwentyThousandKeysAreJoined(b *testing.B) {
	f, s := newWorld()
	for n := range 10_000 {
		a := Application{Object: runbook.ObjectID(fmt.Sprint("o", n)), Client: runbook.ClientID(fmt.Sprint("c", n)), Name: fmt.Sprint("legacy-", n)}
		for k := range 2 {
			id := fmt.Sprintf("k%d-%d", n, k)
			a.Secrets = append(a.Secrets, key(id, "key", "", now.AddDate(0, 0, (2*n+k)%730-30)))
			f.uses = append(f.uses, LastUse{Key: runbook.KeyID(id), At: now})
		}
		f.applications = append(f.applications, a)
	}
	for b.Loop() {
		if v, err := s.Sweep(b.Context()); err != nil || len(v.Items) != 20_002 {
			b.Fatal(len(v.Items), err)
		}
	}
}
