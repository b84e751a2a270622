package aws

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	standin "github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
)

func (w *world) certify(t *testing.T, c standin.Certificate) string {
	t.Helper()
	arn, err := w.aws.SeedCertificate(c)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

func TestCertificatesOfEveryKindOfKeyAreListedByRegion(t *testing.T) {
	w := newWorld(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := time.Date(2027, 2, 3, 4, 5, 6, 0, time.UTC)
	balancer := "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/mcp/1"
	imported := w.certify(t, standin.Certificate{Domain: "imported.example.com", Imported: true, Start: start, End: end, Algorithm: "EC_prime256v1", InUseBy: []string{balancer}})
	managed := w.certify(t, standin.Certificate{Domain: "managed.example.com", Start: start, End: end, InUseBy: []string{balancer}, Renewal: "FAILED", Reason: "CAA_ERROR"})
	idle := w.certify(t, standin.Certificate{Domain: "idle.example.com", Start: start, End: end, Algorithm: "RSA_4096"})
	expired := w.certify(t, standin.Certificate{Domain: "expired.example.com", Start: start.AddDate(-2, 0, 0), End: start.AddDate(-1, 0, 0)})
	revoked := w.certify(t, standin.Certificate{Domain: "revoked.example.com", Start: start, End: end, Status: "REVOKED"})
	w.certify(t, standin.Certificate{Domain: "never.example.com", Status: "PENDING_VALIDATION"})
	w.certify(t, standin.Certificate{Domain: "elsewhere.example.com", Region: "us-east-1"})

	got, err := w.Certificates(t.Context(), "eu-central-1")
	if err != nil {
		t.Fatal(err)
	}
	want := []inventory.ACMCertificate{
		{ARN: imported, Domain: "imported.example.com", Start: start, End: end, Imported: true, InUseBy: []string{balancer}},
		{ARN: managed, Domain: "managed.example.com", Start: start, End: end, Renews: true, Renewal: "FAILED", Reason: "CAA_ERROR", InUseBy: []string{balancer}},
		{ARN: idle, Domain: "idle.example.com", Start: start, End: end},
		{ARN: expired, Domain: "expired.example.com", Start: start.AddDate(-2, 0, 0), End: start.AddDate(-1, 0, 0)},
		{ARN: revoked, Domain: "revoked.example.com", Start: start, End: end, Revoked: true},
	}
	byARN := cmpopts.SortSlices(func(a, b inventory.ACMCertificate) bool { return a.ARN < b.ARN })
	if d := cmp.Diff(want, got, byARN); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	far, err := w.Certificates(t.Context(), "us-east-1")
	if err != nil || len(far) != 1 || far[0].Domain != "elsewhere.example.com" {
		t.Errorf("us-east-1 has %v, %v", far, err)
	}
}

func TestMoreCertificatesThanAPageHoldsAreAllListed(t *testing.T) {
	w := newWorld(t)
	for n := range 1005 {
		w.certify(t, standin.Certificate{Domain: fmt.Sprintf("host-%d.example.com", n)})
	}
	got, err := w.Certificates(t.Context(), "eu-central-1")
	if err != nil || len(got) != 1005 {
		t.Errorf("%d certificates, %v", len(got), err)
	}
	if n := w.cond.Counts()["acm.ListCertificates"]; n != 2 {
		t.Errorf("it took %d pages", n)
	}
}

func TestACertificateThatCannotBeDescribedKeepsItsDates(t *testing.T) {
	w := newWorld(t)
	w.certify(t, standin.Certificate{Domain: "mcp.example.com", Imported: true, InUseBy: []string{"arn:aws:x"}})
	w.cond.Add(conditions.Fault{Operation: "acm.DescribeCertificate", Kind: conditions.Refuse, Code: "AccessDeniedException"})
	got, err := w.Certificates(t.Context(), "eu-central-1")
	if err != nil || len(got) != 1 || got[0].End.IsZero() {
		t.Fatalf("%v, %v", got, err)
	}
	if !errors.Is(got[0].NotRead, inventory.ErrNotPermitted) {
		t.Errorf("what is missing is told as %v", got[0].NotRead)
	}
}

func TestARegionThatMayNotBeReadSaysSo(t *testing.T) {
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "acm.ListCertificates", Kind: conditions.Refuse, Code: "AccessDeniedException"})
	if _, err := w.Certificates(t.Context(), "eu-central-1"); !errors.Is(err, inventory.ErrNotPermitted) || !operation.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestAThrottledListOfCertificatesIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.certify(t, standin.Certificate{Domain: "mcp.example.com"})
	w.cond.Add(conditions.Fault{Operation: "acm.ListCertificates", Kind: conditions.Throttle, Count: 2})
	if got, err := w.Certificates(t.Context(), "eu-central-1"); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestManyParametersAreReadAtOnceAndMissingOnesLeftOut(t *testing.T) {
	w := newWorld(t)
	w.write(t, "one")
	if err := w.aws.SeedParameter(standin.Parameter{Name: "/plain", Value: "two", Type: "String"}); err != nil {
		t.Fatal(err)
	}
	got, err := w.ParametersNamed(t.Context(), []string{name, "/missing", "/plain"})
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	slices.SortFunc(got, func(a, b runbook.Parameter) int { return strings.Compare(a.Name, b.Name) })
	if p := got[0]; p.Name != name || p.Type != "SecureString" || p.Version != 1 || p.Value.Reveal() != "one" || p.Modified.IsZero() {
		t.Errorf("the first is %+v", p)
	}
	if p := got[1]; p.Name != "/plain" || p.Type != "String" || p.Value.Reveal() != "two" {
		t.Errorf("the second is %+v", p)
	}
	keys, err := w.KMSKeys(t.Context(), []string{name, "/missing", "/plain"})
	if d := cmp.Diff(map[string]string{name: "alias/aws/ssm"}, keys); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}
