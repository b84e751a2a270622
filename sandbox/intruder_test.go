package sandbox

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

const quickly = time.Millisecond

func running(t *testing.T) *Sandbox {
	t.Helper()
	s, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// liveKey is the id of the one key of a secret's application.
func liveKey(t *testing.T, p player, client string) string {
	t.Helper()
	var state struct {
		Applications []struct {
			ClientID  string `json:"client_id"`
			Passwords []struct {
				KeyID string `json:"key_id"`
			} `json:"passwords"`
		} `json:"applications"`
	}
	p.must("GET", "entra/state", "", &state)
	for _, a := range state.Applications {
		if a.ClientID == client && len(a.Passwords) == 1 {
			return a.Passwords[0].KeyID
		}
	}
	t.Fatalf("no single key of %s", client)
	return ""
}

func TestAnIntruderGetsTokensUntilTheKeyIsRemoved(t *testing.T) {
	p := newPlayer(t)
	secret := p.secret("jira/prod")
	key := liveKey(t, p, secret.ClientID)
	var loot Loot
	p.must("POST", "intruder", `{"secret":"jira/prod","every":"1ms","patience":3,"federated_credential":true}`, &loot)
	if !loot.Running || loot.Tokens < 1 || loot.Stolen.IsZero() || loot.FirstToken.IsZero() || loot.TokensExpire.Before(loot.LastToken.Add(50*time.Minute)) {
		t.Fatalf("after breaking in: %+v", loot)
	}
	if status := p.sandbox("POST", "intruder", `{"secret":"jira/dev"}`, nil); status != http.StatusBadRequest {
		t.Errorf("a second intruder beside the first: %d", status)
	}
	p.must("DELETE", "entra/applications/"+secret.ClientID+"/passwords/"+key, "", nil)
	deadline := time.Now().Add(10 * time.Second)
	for loot.Running {
		if time.Now().After(deadline) {
			t.Fatalf("the intruder goes on: %+v", loot)
		}
		p.must("GET", "intruder", "", &loot)
	}
	if loot.Refusals != 3 || !strings.Contains(loot.Words, "AADSTS7000215") || loot.FirstRefusal.Before(loot.LastToken) || loot.Trouble != "" {
		t.Errorf("in the end: %+v", loot)
	}
	var state struct {
		Intruder Loot
		Entra    struct {
			SignIns []struct {
				IP    string `json:"ip"`
				KeyID string `json:"key_id"`
				Code  int    `json:"error_code"`
			} `json:"sign_ins"`
		}
	}
	p.must("GET", "state", "", &state)
	if state.Intruder != loot {
		t.Errorf("the state tells %+v, want %+v", state.Intruder, loot)
	}
	granted, refused := 0, 0
	for _, e := range state.Entra.SignIns {
		switch {
		case e.IP != intruderAddress:
		case e.Code == 0 && e.KeyID == key:
			granted++
		case e.Code == 7000215:
			refused++
		}
	}
	if granted != loot.Tokens || refused != 3 {
		t.Errorf("the sign-ins tell of %d tokens and %d refusals, the intruder of %d and %d", granted, refused, loot.Tokens, loot.Refusals)
	}
}

func TestCloudTrailHasTheIntrudersRead(t *testing.T) {
	s := running(t)
	if err := s.Intruder.Start(t.Context(), IntruderOptions{Secret: "jira/prod", Every: quickly, Address: "198.51.100.7", User: "eve"}); err != nil {
		t.Fatal(err)
	}
	loot := s.Intruder.Stop()
	if loot.Running || loot.User != "eve" {
		t.Errorf("after the end: %+v", loot)
	}
	p := player{t: t, client: http.DefaultClient, url: s.URL()}
	var answer struct {
		Events []struct{ Username, CloudTrailEvent string }
	}
	p.aws("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", `{"LookupAttributes":[{"AttributeKey":"Username","AttributeValue":"eve"}]}`, &answer)
	if len(answer.Events) != 1 || !strings.Contains(answer.Events[0].CloudTrailEvent, `"sourceIPAddress":"198.51.100.7"`) {
		t.Errorf("the events are %+v", answer.Events)
	}
}

func TestFaultsHitTheIntruderAndDoNotEndIt(t *testing.T) {
	s := running(t)
	if err := s.Intruder.Start(t.Context(), IntruderOptions{Secret: "jira/prod", Every: quickly, Patience: 2}); err != nil {
		t.Fatal(err)
	}
	s.Conditions.Add(conditions.Fault{Operation: "entra.token", Kind: conditions.CutBefore, Count: 5})
	deadline := time.Now().Add(10 * time.Second)
	for loot := s.Intruder.Loot(); loot.Trouble == ""; loot = s.Intruder.Loot() {
		if time.Now().After(deadline) {
			t.Fatal("the fault does not hit the intruder")
		}
	}
	if loot := s.Intruder.Loot(); !loot.Running || loot.Refusals != 0 {
		t.Errorf("after cut connections: %+v", loot)
	}
	ctx, cancel := context.WithTimeout(t.Context(), quickly)
	defer cancel()
	if _, err := s.Intruder.Ended(ctx); err == nil {
		t.Error("the intruder ended although its copy works")
	}
	s.Intruder.Stop()
	if _, err := s.Intruder.Ended(t.Context()); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func TestAnIntruderNeedsASecretThatIsThere(t *testing.T) {
	s := running(t)
	for what, o := range map[string]IntruderOptions{
		"no such secret": {Secret: "wiki/prod"},
		"no such owner":  {Secret: "jira/prod", Owner: "nobody"},
	} {
		if err := s.Intruder.Start(t.Context(), o); err == nil {
			t.Errorf("%s: the intruder started", what)
		}
	}
	s.Conditions.Add(conditions.Fault{Operation: "ssm.GetParameter", Kind: conditions.Refuse, Count: 1})
	if err := s.Intruder.Start(t.Context(), IntruderOptions{Secret: "jira/prod"}); err == nil || s.Intruder.Loot().Running {
		t.Errorf("refused the parameter: %v", err)
	}
	if _, err := s.Intruder.Ended(t.Context()); err != nil {
		t.Errorf("of no intruder: %v", err)
	}
}
