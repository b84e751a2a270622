package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

func TestASecretIsTiedToAllThatBreaksWithIt(t *testing.T) {
	f, s := newWorld()
	f.uses = []LastUse{{Key: "KEY-PROD", At: now.Add(-time.Hour)}} // Entra's reports need not write ids as its lists do
	v := sweep(t, s)
	want := Item{
		ID: "secret:key-prod", Kind: Secret, Name: "sharepoint/prod", Key: "portal", KeyID: "key-prod", Client: "client-sharepoint/prod", Holder: "object-sharepoint/prod",
		Application: "aiconnectors-sharepoint-prod", Owner: runbook.Owner{Name: "Platform", Channel: "C0PLATFORM", Escalation: "C0LEADS"}, OwnerFrom: FromConfig,
		Feeds: Feeds{Secret: "sharepoint/prod", Server: "sharepoint", Environment: "prod", Parameter: "/aiconnectors/prod/sharepoint/client_secret",
			Cluster: "aiconnectors-prod", Service: "sharepoint", Endpoint: "https://sharepoint.prod.example.com/mcp"},
		Live: true, Start: now.AddDate(-2, 6, 0), End: now.AddDate(0, 6, 0), Used: Use{At: now.Add(-time.Hour)}, Status: Fine,
	}
	if d := cmp.Diff(want, live(t, v, "sharepoint/prod")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if i := live(t, v, "sharepoint/dev"); i.Owner.Name != "twokey, Eve Owner" || i.OwnerFrom != FromEntra || i.Used.Why != "Entra reports none" {
		t.Errorf("without a configured owner it has %+v of %q, used %+v", i.Owner, i.OwnerFrom, i.Used)
	}
	if len(v.Findings)+len(v.Gaps) > 0 || v.Alarming() {
		t.Errorf("something is wrong where nothing is: %+v, %+v", v.Findings, v.Gaps)
	}
}

func TestARotationIsTakenFromOurOperations(t *testing.T) {
	f, s := newWorld()
	alice, bob := operation.Person{Name: "Alice"}, operation.Person{Name: "Bob"}
	f.operations = []operation.Operation{{ID: "k7m2p9", Secret: "sharepoint/prod", Kind: runbook.KindRotate, State: operation.Succeeded, Requester: alice, Approver: bob}}
	f.applications[0].Secrets[0].Name = "twokey:k7m2p9"
	for _, reason := range []string{"", "too old to be among the newest"} {
		f.operations[0].Reason = reason
		v := sweep(t, s)
		want := &Rotation{At: now.AddDate(-2, 6, 0), Operation: "k7m2p9", Kind: runbook.KindRotate, By: alice, ConfirmedBy: bob}
		if d := cmp.Diff(want, live(t, v, "sharepoint/prod").Rotated); d != "" || len(v.Findings) > 0 {
			t.Errorf("%v (-want +got):\n%s", v.Findings, d)
		}
	}
}

func TestAMarkThatNoOperationExplainsIsFound(t *testing.T) {
	f, s := newWorld()
	f.applications[0].Secrets[0].Name = "twokey:forged"
	one := only(t, sweep(t, s), KeyUnexplained)
	if one.Key == nil || one.Key.ID != "key-prod" || one.Holder != "object-sharepoint/prod" || !strings.Contains(one.Text, "no such operation") {
		t.Errorf("%+v", one)
	}
}

func TestKeysInNoParameterAreExplainedOrFound(t *testing.T) {
	old := now.AddDate(0, 0, -1)
	details, err := json.Marshal(map[string]any{"old_key": "extra"})
	if err != nil {
		t.Fatal(err)
	}
	rotation := func(state operation.State) operation.Operation {
		return operation.Operation{ID: "k7m2p9", Secret: "sharepoint/prod", Kind: runbook.KindRotate, State: state, Plan: operation.Plan{Details: details}}
	}
	succeeded := func(ago time.Duration) operation.Operation {
		op := rotation(operation.Succeeded)
		op.EndedAt = now.Add(-ago)
		return op
	}
	for _, c := range []struct {
		name   string
		keyAs  string // the extra key's name
		ops    []operation.Operation
		wanted []FindingKind
		why    string
	}{
		{"nobody knows it", "backup", nil, []FindingKind{KeyUnexplained}, "no operation explains it"},
		{"the old one of an overlap", "portal", []operation.Operation{rotation(operation.Waiting)}, nil, "belongs to operation k7m2p9, which is waiting for the overlap to end"},
		{"the old one of a rotation that has ended", "portal", []operation.Operation{rotation(operation.HandedOver)}, []FindingKind{KeyUnexplained}, "no operation explains it"},
		{"the new one of a rotation that runs", "twokey:k7m2p9", []operation.Operation{rotation(operation.Running)}, nil, "belongs to operation k7m2p9"},
		{"left by one that was taken back", "twokey:k7m2p9", []operation.Operation{rotation(operation.TakenBack)}, []FindingKind{KeyInNoParameter}, "Operation k7m2p9 made it and is taken back"},
		{"removed, and there again", "portal", []operation.Operation{succeeded(2 * time.Hour)}, []FindingKind{KeyReturned}, "Operation k7m2p9 had removed it"},
		{"removed just now: a replica may lag", "portal", []operation.Operation{succeeded(time.Minute)}, []FindingKind{KeyUnexplained}, "no operation explains it"},
		{"marked by none", "twokey:other", []operation.Operation{rotation(operation.Succeeded)}, []FindingKind{KeyUnexplained}, "no operation explains it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, s := newWorld()
			f.operations = c.ops
			f.applications[0].Secrets = append(f.applications[0].Secrets, key("extra", c.keyAs, "zzz", old))
			v := sweep(t, s)
			if d := cmp.Diff(c.wanted, v.kinds()); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			i, ok := v.Item("secret:extra")
			if !ok || !strings.Contains(i.Why, c.why) {
				t.Errorf("it is explained by %q", i.Why)
			}
			if !i.Replaced || i.Status != Fine || i.Live || i.Feeds.Secret != "sharepoint/prod" || i.Feeds.Parameter != "" {
				t.Errorf("what nothing uses alarms: %+v", i)
			}
		})
	}
}

func TestAPendingParameterIsLeftUnlessAnOperationIsOpen(t *testing.T) {
	f, s := newWorld()
	pending := s.Targets[0].PendingParameter()
	f.put(pending, secretOf("new").Reveal())
	f.applications[0].Secrets = append(f.applications[0].Secrets, key("fresh", "twokey:k7m2p9", "new", now.AddDate(2, 0, 0)))
	f.operations = []operation.Operation{{ID: "k7m2p9", Secret: "sharepoint/prod", State: operation.Running}}
	v := sweep(t, s)
	if i, _ := v.Item("secret:fresh"); len(v.Findings) > 0 || i.Feeds.Parameter != pending {
		t.Errorf("%+v, %+v", i, v.Findings)
	}
	f.operations[0].State = operation.Cancelled
	v = sweep(t, s)
	if d := cmp.Diff([]FindingKind{KeyInNoParameter, PendingLeft}, v.kinds()); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
}

func TestAValueThatBelongsToNoKeyIsDriftAndUnknown(t *testing.T) {
	f, s := newWorld()
	f.put(s.Targets[0].SecretParameter, secretOf("???").Reveal())
	v := sweep(t, s)
	if d := cmp.Diff([]FindingKind{ParameterDrift, KeyUnexplained}, v.kinds()); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
	i, ok := v.Item("secret@sharepoint/prod")
	if !ok || i.Status != Unknown || !strings.Contains(i.Why, "belongs to none of the application's 1 client secret") {
		t.Errorf("%+v", i)
	}
	if i, _ := v.Item("secret:key-prod"); i.Replaced {
		t.Error("the key counts as replaced, though nobody knows by what")
	}
}

func TestAKeyWithoutAHintMayBeTheOneInUse(t *testing.T) {
	f, s := newWorld()
	f.applications[0].Secrets[0].Hint = ""
	v := sweep(t, s)
	i, ok := v.Item("secret@sharepoint/prod")
	if !ok || !strings.Contains(i.Why, "of 1 it does not") {
		t.Errorf("%+v", i)
	}
	for _, one := range v.Findings {
		if one.Kind == ParameterDrift {
			t.Errorf("drift is claimed: %+v", one)
		}
	}
}

func TestAValueThatFitsTwoKeysIsBoth(t *testing.T) {
	f, s := newWorld()
	f.applications[0].Secrets = append(f.applications[0].Secrets, key("twin", "twin", "a00", now.AddDate(0, 0, 5)))
	for _, i := range sweep(t, s).Of("sharepoint/prod") {
		if !i.Live || !strings.Contains(i.Why, "begins like 2 keys") {
			t.Errorf("%+v", i)
		}
	}
}

func TestAKeyOfTheServicePrincipalCanBeTheOneInUse(t *testing.T) {
	f, s := newWorld()
	k := key("principals", "by hand", "a00", now.AddDate(0, 0, 5))
	k.OnServicePrincipal = true
	f.applications[0].Secrets = nil
	f.principals = []Application{{Object: "principal", Client: "CLIENT-sharepoint/prod", Secrets: []runbook.Key{k}}}
	i := live(t, sweep(t, s), "sharepoint/prod")
	if i.Kind != PrincipalSecret || i.Holder != "principal" || i.Status != Due || i.Application != "aiconnectors-sharepoint-prod" {
		t.Errorf("%+v", i)
	}
}

func TestOneKeyInTwoParametersIsAnItemEach(t *testing.T) {
	f, s := newWorld()
	f.put(s.Targets[1].ClientIDParameter, string(clientOf(s.Targets[0])))
	f.put(s.Targets[1].SecretParameter, secretOf("a00").Reveal())
	v := sweep(t, s)
	if a, b := live(t, v, "sharepoint/prod"), live(t, v, "sharepoint/dev"); a.ID == b.ID || a.KeyID != b.KeyID {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestParametersThatAreNotAsConfiguredAreFound(t *testing.T) {
	f, s := newWorld()
	name := s.Targets[0].SecretParameter
	f.kms[name] = "arn:aws:kms:eu-central-1:123456789012:key/1234"
	one := only(t, sweep(t, s), ParameterOtherKey)
	if one.Feeds.Parameter != name || one.Owner.Name != "Platform" || !strings.Contains(one.Text, "key/1234") {
		t.Errorf("%+v", one)
	}
	p := f.parameters[name]
	p.Type = "String"
	f.parameters[name] = p
	delete(f.kms, name)
	if v := sweep(t, s); v.kinds()[0] != ParameterPlain || len(v.Gaps) > 0 {
		t.Errorf("%+v, %+v", v.Findings, v.Gaps)
	}
}

func TestOthersApplicationsAndCertificatesAreListedToo(t *testing.T) {
	f, s := newWorld()
	f.applications = append(f.applications, Application{Object: "o", Client: "other", Name: "Payroll", Secrets: []runbook.Key{key("k", "", "", now.AddDate(0, 0, 3))},
		Certificates: []runbook.Key{key("c", "CN=payroll", "", now.AddDate(0, 0, -2))}})
	f.principals = []Application{{Object: "p", Client: "gallery", Name: "Gallery app", Certificates: []runbook.Key{key("saml", "CN=SSO", "", now.AddDate(1, 0, 0))}}}
	v := sweep(t, s)
	for id, want := range map[ID]Status{"secret:k": Due, "certificate:c": Overdue, "principal-certificate:saml": Fine} {
		if i, ok := v.Item(id); !ok || i.Status != want {
			t.Errorf("%s is %+v, want %s", id, i, want)
		}
	}
	if len(v.Findings) > 0 {
		t.Errorf("what others do with their keys is theirs: %+v", v.Findings)
	}
	if v.Items[0].ID != "certificate:c" {
		t.Errorf("first is %s", v.Items[0].ID)
	}
}

func TestACMTellsImportedFromManaged(t *testing.T) {
	f, s := newWorld()
	s.Regions = []Region{{Name: "eu-central-1", Owner: runbook.Owner{Name: "Network"}}}
	f.certificates["eu-central-1"] = []ACMCertificate{
		{ARN: "arn:1", Domain: "imported.example.com", End: now.AddDate(0, 0, 10), Imported: true, InUseBy: []string{"arn:lb"}},
		{ARN: "arn:2", Domain: "managed.example.com", End: now.AddDate(0, 0, 10), Renews: true, Renewal: "FAILED", Reason: "CAA_ERROR"},
		{ARN: "arn:3", Domain: "idle.example.com", End: now.AddDate(1, 0, 0)},
		{ARN: "arn:4", Domain: "revoked.example.com", End: now.AddDate(1, 0, 0), Revoked: true},
		{ARN: "arn:5", Domain: "half.example.com", End: now.AddDate(1, 0, 0), Renews: true, NotRead: ErrNotPermitted},
		{ARN: "arn:6", Domain: "quiet.example.com", End: now.AddDate(1, 0, 0), Renews: true},
	}
	v := sweep(t, s)
	for id, want := range map[ID]string{
		"acm:arn:1": "ACM certificate, does not renew itself. It was imported.",
		"acm:arn:2": "ACM certificate, renews itself. The renewal is FAILED: CAA_ERROR.",
		"acm:arn:3": "ACM certificate, does not renew itself. It is ACM's own, and not eligible for renewal.",
		"acm:arn:5": "ACM certificate, renews itself. What uses it and how its renewal stands could not be read: the permission to read it is missing.",
		"acm:arn:6": "ACM certificate, renews itself. ",
	} {
		if i, ok := v.Item(id); !ok || i.Words()+". "+i.Why != want || i.Owner.Name != "Network" {
			t.Errorf("%s is %+v", id, i)
		}
	}
	if i, _ := v.Item("acm:arn:1"); i.Status != Due || i.Renews || i.Feeds.Resources[0] != "arn:lb" {
		t.Errorf("the imported one is %+v", i)
	}
	only(t, v, CertificateRevoked)
}

func TestAnEndpointsChainAndItsDistrustAreTold(t *testing.T) {
	f, s := newWorld()
	s.Endpoints = []Endpoint{{Address: "mcp.example.com:443", Feeds: Feeds{Server: "sharepoint", Environment: "prod"}}, {Address: "dead.example.com:443"}}
	f.handshakes["mcp.example.com:443"] = Handshake{Start: now.AddDate(0, -1, 0), End: now.AddDate(0, 0, 7), Issuer: "CN=R3", Ends: "CN=between", Distrust: "its certificate is for other names"}
	f.fail["dead.example.com:443"] = errors.New("no answer within 10s")
	v := sweep(t, s)
	i, _ := v.Item("tls:mcp.example.com:443")
	if i.Status != Due || !strings.Contains(i.Why, "CN=between") || i.Feeds.Server != "sharepoint" {
		t.Errorf("%+v", i)
	}
	if dead, _ := v.Item("tls:dead.example.com:443"); dead.Status != Unknown || dead.Why != "It could not be looked at: no answer within 10s." {
		t.Errorf("%+v", dead)
	}
	only(t, v, EndpointNotTrusted)
}

func TestWhateverSourceFailsIsToldAndTheRestIsThere(t *testing.T) {
	denied := operation.Permanent(fmt.Errorf("%w: Graph answered 403", ErrNotPermitted))
	for source, want := range map[string]struct {
		unknown []ID   // items that are unknown then
		gap     string // of the source, in part
		live    []operation.SecretName
	}{
		"applications": {[]ID{"entra-applications", "secret@sharepoint/prod", "secret@sharepoint/dev"}, "applications in Entra", nil},
		"principals":   {[]ID{"entra-service-principals"}, "service principals in Entra", []operation.SecretName{"sharepoint/prod", "sharepoint/dev"}},
		"uses":         {nil, "last uses in Entra", []operation.SecretName{"sharepoint/prod", "sharepoint/dev"}},
		"parameters":   {[]ID{"secret@sharepoint/prod", "secret@sharepoint/dev"}, "client_secret.pending", nil},
		"kms":          {nil, "the KMS key of", []operation.SecretName{"sharepoint/prod", "sharepoint/dev"}},
		"operations":   {nil, "twokey's own operations", []operation.SecretName{"sharepoint/prod", "sharepoint/dev"}},
		"eu-central-1": {[]ID{"acm:eu-central-1"}, "", []operation.SecretName{"sharepoint/prod", "sharepoint/dev"}},
		"mcp:443":      {[]ID{"tls:mcp:443"}, "", []operation.SecretName{"sharepoint/prod", "sharepoint/dev"}},
		"/aiconnectors/prod/sharepoint/client_secret": {[]ID{"secret@sharepoint/prod"}, "", []operation.SecretName{"sharepoint/dev"}},
		"/aiconnectors/prod/sharepoint/client_id":     {[]ID{"secret@sharepoint/prod"}, "", []operation.SecretName{"sharepoint/dev"}},
	} {
		t.Run(source, func(t *testing.T) {
			f, s := newWorld()
			s.Regions, s.Endpoints = []Region{{Name: "eu-central-1"}}, []Endpoint{{Address: "mcp:443"}}
			f.handshakes["mcp:443"] = Handshake{End: now.AddDate(1, 0, 0)}
			f.fail[source] = denied
			v := sweep(t, s)
			for _, id := range want.unknown {
				if i, ok := v.Item(id); !ok || i.Status != Unknown || !strings.Contains(i.Why, "the permission to read it is missing (Graph answered 403)") {
					t.Errorf("%s is %+v", id, i)
				}
			}
			if n := v.Counts()[Unknown]; n != len(want.unknown) {
				t.Errorf("%d items are unknown, want %d: %+v", n, len(want.unknown), v.Items)
			}
			if v.Alarming() != (len(want.unknown) > 0) {
				t.Errorf("alarming is %v", v.Alarming())
			}
			if want.gap != "" && (len(v.Gaps) == 0 || !strings.Contains(v.Gaps[0].Source, want.gap)) || want.gap == "" && len(v.Gaps) > 0 {
				t.Errorf("the gaps are %+v, want one of %q", v.Gaps, want.gap)
			}
			for _, name := range want.live {
				live(t, v, name)
			}
			for _, one := range v.Findings {
				t.Errorf("what was not read is taken for wrong: %+v", one)
			}
		})
	}
}

func TestAListThatBreaksOffKeepsWhatItSaid(t *testing.T) {
	f, s := newWorld()
	f.fail["applications"], f.after = errors.New("Graph answered 503"), 1
	v := sweep(t, s)
	live(t, v, "sharepoint/prod")
	if i, ok := v.Item("secret@sharepoint/dev"); !ok || !strings.Contains(i.Why, "Graph answered 503") {
		t.Errorf("%+v", i)
	}
}

func TestWithoutSourcesEverythingIsUnknown(t *testing.T) {
	_, s := newWorld()
	v := sweep(t, &Sweeper{Targets: s.Targets, Regions: []Region{{Name: "r"}}, Endpoints: []Endpoint{{Address: "e:1"}}, Now: s.Now})
	if n := v.Counts(); n[Unknown] != len(v.Items) || len(v.Items) < 4 {
		t.Errorf("%+v", v.Items)
	}
}

func TestAMissingParameterIsNotAMissingPermission(t *testing.T) {
	f, s := newWorld()
	delete(f.parameters, s.Targets[0].SecretParameter)
	i, _ := sweep(t, s).Item("secret@sharepoint/prod")
	if !strings.HasSuffix(i.Why, "SSM has no such parameter.") {
		t.Errorf("%q", i.Why)
	}
}

func TestManyTargetsTakeFewCallsAndNoMoreAtOnceThanAllowed(t *testing.T) {
	f, s := newWorld()
	s.Targets = nil
	for n := range 100 {
		target := target(fmt.Sprint("server", n), "prod")
		s.Targets = append(s.Targets, target)
		f.put(target.ClientIDParameter, "client-"+fmt.Sprint(n))
		f.put(target.SecretParameter, secretOf("x").Reveal())
	}
	sweep(t, s)
	if n := f.calls["parameters"]; n != 30 {
		t.Errorf("%d calls for 300 parameters", n)
	}
	if n := f.calls["kms"]; n != 2 {
		t.Errorf("%d calls for 100 KMS keys", n)
	}
	if f.most > 2*DefaultConcurrency {
		t.Errorf("%d calls at once at two vendors", f.most)
	}
}

func TestACancelledSweepIsNoInventory(t *testing.T) {
	_, s := newWorld()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := s.Sweep(ctx); !errors.Is(err, context.Canceled) || v.Items != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestTheCacheSweepsOnceForAllWhoAskMeanwhile(t *testing.T) {
	clock := now
	sweeps := 0
	c := NewCache(func(context.Context) (Inventory, error) { sweeps++; return Inventory{At: clock}, nil }, time.Minute, func() time.Time { return clock })
	for _, step := range []struct {
		passed time.Duration
		get    func(context.Context) (Inventory, error)
		want   int
	}{{0, c.Get, 1}, {time.Minute, c.Get, 1}, {time.Second, c.Get, 2}, {time.Second, c.Refresh, 3}, {time.Second, c.Get, 3}} {
		clock = clock.Add(step.passed)
		if _, err := step.get(t.Context()); err != nil || sweeps != step.want {
			t.Errorf("%d sweeps, want %d: %v", sweeps, step.want, err)
		}
	}
	failing := NewCache(func(context.Context) (Inventory, error) { return Inventory{}, errors.New("ended") }, time.Minute, func() time.Time { return clock })
	if _, err := failing.Get(t.Context()); err == nil {
		t.Error("a failed sweep passed for an inventory")
	}
}

// slow is a large tenant whose pages take 20 ms each, in the time of the test.
type slow struct{ *fake }

func pages[T any](entries int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for range (entries + 998) / 999 {
			time.Sleep(20 * time.Millisecond)
			var nothing T
			if !yield(nothing, nil) {
				return
			}
		}
	}
}

func (s slow) Applications(context.Context) iter.Seq2[Application, error] {
	return pages[Application](10_000)
}
func (s slow) ServicePrincipals(context.Context) iter.Seq2[Application, error] {
	return pages[Application](10_000)
}
func (s slow) LastUses(context.Context) iter.Seq2[LastUse, error] { return pages[LastUse](20_000) }

func TestASweepTakesHardlyLongerThanItsPagesShareOfTheCallsAllowed(t *testing.T) {
	const all = 11 + 11 + 21
	for _, allowed := range []int{1, 2} { // a list's pages come one after the other, so that more of them would wait for the longest
		synctest.Test(t, func(t *testing.T) {
			f, s := newWorld()
			s.Directory, s.Concurrency = slow{f}, allowed
			s.Targets = nil
			v := sweep(t, s)
			bound := all * 20 * time.Millisecond / time.Duration(allowed)
			if v.Took > bound*12/10 || v.Took < bound {
				t.Errorf("with %d calls at once it took %s, %.2f × %s", allowed, v.Took, float64(v.Took)/float64(bound), bound)
			}
		})
	}
}
