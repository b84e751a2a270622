package exposure_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/sandbox"
	standin "github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
)

const strangersAddress = "203.0.113.66"

// tally counts events by verdict and by what they are.
func tally(f exposure.Findings, which func(exposure.Event) bool) map[exposure.Verdict]int {
	out := map[exposure.Verdict]int{}
	for _, e := range f.Events {
		if which(e) {
			out[e.Verdict]++
		}
	}
	return out
}

// only fails unless all events of a kind have the one verdict, and there are some.
func only(t *testing.T, f exposure.Findings, what string, v exposure.Verdict, which func(exposure.Event) bool) {
	t.Helper()
	got := tally(f, which)
	if got[v] == 0 || len(got) != 1 {
		t.Errorf("%s: %v, want %s only", what, got, v)
		for _, e := range f.Events {
			if which(e) && e.Verdict != v {
				t.Logf("%+v", e)
			}
		}
	}
}

func TestAnIntruderIsFoundAndEverybodyElseIsExplained(t *testing.T) {
	w := newWorld(t)
	dave := w.box.Team.People[3].Entra
	must(t, w.box.Intruder.Start(t.Context(), sandbox.IntruderOptions{Secret: "jira/prod", Every: 5 * time.Millisecond, FederatedCredential: true, Owner: dave}))
	w.emergency()
	loot, err := w.box.Intruder.Ended(t.Context())
	must(t, err)
	mine, err := w.box.Entra.By(entra.Hand{User: "mallory@contoso.example"}).AddPassword(w.secret.ClientID, entra.NewPassword{Name: "backup"})
	must(t, err)
	readWithoutPermission(t, w)
	w.box.Clock.Advance(30 * time.Minute) // nothing is late any more
	subject := w.subject()
	f := w.gatherer().Gather(t.Context(), subject, exposure.Window{From: w.began.Add(-time.Minute), To: w.box.Clock.Now().Add(-20 * time.Minute)})

	byStranger := func(e exposure.Event) bool { return e.Address == strangersAddress }
	only(t, f, "the intruder's events", exposure.StandsOut, byStranger)
	tokens := tally(f, func(e exposure.Event) bool { return byStranger(e) && e.What == "token granted" })
	refusals := tally(f, func(e exposure.Event) bool { return byStranger(e) && strings.HasPrefix(e.What, "token refused") })
	if tokens[exposure.StandsOut] != loot.Tokens || refusals[exposure.StandsOut] != loot.Refusals {
		t.Errorf("%v tokens and %v refusals were found; the intruder had %d and %d", tokens, refusals, loot.Tokens, loot.Refusals)
	}
	only(t, f, "the read with stolen credentials", exposure.StandsOut, func(e exposure.Event) bool {
		return e.Source == exposure.CloudTrail && e.What == "GetParameter" && e.Who == "user mallory" && e.Resource == w.secret.SecretParameter
	})
	only(t, f, "the refused read, whose request CloudTrail hides", exposure.StandsOut, func(e exposure.Event) bool {
		return e.Who == "user curious" && e.What == "GetParameter (refused: AccessDenied)" && e.Resource == w.secret.SecretParameter
	})
	for _, what := range []string{"owner added", "federated credentials changed", "federated credential stands", "key added: " + mine.KeyID + " (backup)"} {
		only(t, f, what, exposure.StandsOut, func(e exposure.Event) bool { return e.What == what })
	}
	only(t, f, "ECS's reads", exposure.Expected, func(e exposure.Event) bool { return strings.HasPrefix(e.Who, "the service's execution role, task ") })
	only(t, f, "the bot's own", exposure.Expected, func(e exposure.Event) bool { return strings.HasPrefix(e.Who, "twokey itself") })
	only(t, f, "the service's and the bot's own sign-ins", exposure.Expected, func(e exposure.Event) bool {
		return e.Source == exposure.EntraUse && e.Address == "127.0.0.1"
	})
	if len(f.NotCovered) != 0 {
		t.Errorf("not covered: %+v", f.NotCovered)
	}
	if s := f.Summary(); !strings.Contains(s, "things stand out") || !strings.Contains(s, "`"+strangersAddress+"`") || strings.Contains(s, "Not covered") {
		t.Errorf("the summary is\n%s", s)
	}
	for _, c := range w.box.Conditions.Calls() {
		if c.Operation == "cloudtrail.LookupEvents" && c.Status != http.StatusOK {
			t.Errorf("CloudTrail refused a look-up with %d: two a second are allowed", c.Status)
		}
	}
	if t.Failed() {
		t.Log("\n" + f.Summary())
	}
}

func TestWithoutAnIntruderNothingStandsOutAndWhatIsLateIsSaid(t *testing.T) {
	w := newWorld(t)
	w.emergency()
	f := w.gather()
	if f.Counts.StandOut != 0 || f.Counts.Expected == 0 {
		t.Errorf("the counts are %+v\n%s", f.Counts, f.Summary())
	}
	late := map[exposure.Source]bool{}
	for _, g := range f.NotCovered {
		late[g.Source] = strings.Contains(g.Why, "late")
	}
	for _, source := range []exposure.Source{exposure.CloudTrail, exposure.EntraUse, exposure.EntraAudit} {
		if !late[source] {
			t.Errorf("that %s may be late is not said: %+v", source, f.NotCovered)
		}
	}
	if s := f.Summary(); !strings.Contains(s, "Nothing stands out in what was looked at, and not everything was looked at.") {
		t.Errorf("the summary is\n%s", s)
	}
}

func TestASourceThatFailsIsSaidAndStopsNoOther(t *testing.T) {
	w := newWorld(t)
	must(t, w.box.Intruder.Start(t.Context(), sandbox.IntruderOptions{Secret: "jira/prod"}))
	w.box.Intruder.Stop()
	w.fault(conditions.Fault{Operation: "cloudtrail.LookupEvents", Kind: conditions.Refuse, Code: "AccessDeniedException"})
	w.fault(conditions.Fault{Operation: "graph.listDirectoryAudits", Kind: conditions.Refuse, Status: http.StatusBadRequest, Code: "BadRequest"})
	f := w.gather()
	said := map[exposure.Source]string{}
	for _, g := range f.NotCovered {
		said[g.Source] += g.Why + "; "
	}
	if !strings.Contains(said[exposure.CloudTrail], "calls of GetParameter, GetParameters, ") || !strings.Contains(said[exposure.CloudTrail], "permission") {
		t.Errorf("of CloudTrail it says %q", said[exposure.CloudTrail])
	}
	if !strings.Contains(said[exposure.EntraAudit], "400 BadRequest") {
		t.Errorf("of the audits it says %q", said[exposure.EntraAudit])
	}
	if got := tally(f, func(e exposure.Event) bool { return e.Source == exposure.EntraUse && e.Address == strangersAddress }); len(got) == 0 {
		t.Error("the sign-ins were not looked at")
	}
}

func TestAMissingPermissionIsSaid(t *testing.T) {
	w := newWorld(t, "Application.ReadWrite.OwnedBy")
	said := 0
	for _, g := range w.entraOnly(w.began).NotCovered {
		if (g.Source == exposure.EntraUse || g.Source == exposure.EntraAudit) && strings.Contains(g.Why, exposure.ErrNotPermitted.Error()) {
			said++
		}
	}
	if said != 2 {
		t.Errorf("a missing AuditLog.Read.All is said of %d sources, want of sign-ins and audits", said)
	}
}

func TestATenantWithoutALicenceKeepsAuditsForAWeek(t *testing.T) {
	w := newWorld(t)
	w.box.Entra.SetBehaviour(entra.Behaviour{Unlicensed: true})
	f := w.entraOnly(w.began.AddDate(0, 0, -20))
	var why []string
	for _, g := range f.NotCovered {
		why = append(why, string(g.Source)+": "+g.Why)
	}
	for _, want := range []string{"Entra sign-ins: " + exposure.ErrNoLicence.Error(), "Entra audits: without a P1 or P2 licence"} {
		if !strings.Contains(strings.Join(why, "\n"), want) {
			t.Errorf("%q is not among\n%s", want, strings.Join(why, "\n"))
		}
	}
}

// readWithoutPermission has somebody try to read the secret whom no policy allows.
func readWithoutPermission(t *testing.T, w *world) {
	t.Helper()
	w.box.AWS.SeedIdentity("AKIASANDBOXCURIOUS01", standin.Identity{User: "curious", Denied: true})
	r, err := http.NewRequest(http.MethodPost, w.box.URL()+"/aws/", strings.NewReader(`{"Name":"`+w.secret.SecretParameter+`","WithDecryption":true}`))
	must(t, err)
	r.Header.Set("X-Amz-Target", "AmazonSSM.GetParameter")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIASANDBOXCURIOUS01/20260101/eu-central-1/ssm/aws4_request, SignedHeaders=host, Signature=00")
	resp, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
}
