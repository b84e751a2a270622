package aws

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// detail is an event's own JSON.
func detail(t *testing.T, e trailtypes.Event) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnIdentityWithoutPermissionIsRefusedAndRememberedWithoutItsRequest(t *testing.T) {
	s := seeded(t, Options{}, nil)
	const curious = "AKIASANDBOXCURIOUS01"
	s.SeedIdentity(curious, Identity{User: "curious", Denied: true})
	_, err := ssm.NewFromConfig(s.config(curious)).GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String(secretName), WithDecryption: sdk.Bool(true)})
	if codeOf(err) != "AccessDeniedException" {
		t.Fatalf("refused with %v", err)
	}
	got := s.events(t, look(trailtypes.LookupAttributeKeyUsername, "curious"))
	if len(got) != 1 || len(got[0].Resources) != 0 {
		t.Fatalf("the events are %+v", got)
	}
	d := detail(t, got[0])
	if message, _ := d["errorMessage"].(string); d["errorCode"] != "AccessDenied" || d["requestParameters"] != nil || !strings.Contains(message, s.parameterARN(secretName)) {
		t.Errorf("the event is %v", d)
	}
}

func TestSeededEventsStandAmongTheOthersByTheirTime(t *testing.T) {
	s := newStand(t, Options{})
	control := func(body string) int {
		rec := httptest.NewRecorder()
		s.Control().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/events", bytes.NewBufferString(body)))
		return rec.Code
	}
	now := s.cond.Clock.Now()
	for _, age := range []time.Duration{time.Hour, 3 * time.Hour, 2 * time.Hour} {
		b, err := json.Marshal(Event{Name: "ExecuteCommand", Source: "ecs.amazonaws.com", At: now.Add(-age), By: Identity{User: age.String()}, Address: "203.0.113.66"})
		if err != nil {
			t.Fatal(err)
		}
		if status := control(string(b)); status != http.StatusOK {
			t.Fatalf("seeding answered %d", status)
		}
	}
	if status := control(`{"name":"ExecuteCommand"}`); status != http.StatusBadRequest {
		t.Errorf("an event without a source: %d", status)
	}
	var users []string
	for _, e := range s.events(t, look(trailtypes.LookupAttributeKeyEventName, "ExecuteCommand")) {
		users = append(users, *e.Username)
		if detail(t, e)["sourceIPAddress"] != "203.0.113.66" {
			t.Errorf("the event is %s", *e.CloudTrailEvent)
		}
	}
	if got := strings.Join(users, " "); got != "1h0m0s 2h0m0s 3h0m0s" {
		t.Errorf("newest first they are %s", got)
	}
}

func TestACallerMaySayWhereItIs(t *testing.T) {
	s := newStand(t, Options{})
	r, err := http.NewRequest(http.MethodPost, s.url+"/", strings.NewReader("Action=GetCallerIdentity&Version=2011-06-15"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+botKey+"/20260101/eu-central-1/sts/aws4_request")
	r.Header.Set("X-Forwarded-For", "203.0.113.66")
	resp, err := s.web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	got := s.events(t, look(trailtypes.LookupAttributeKeyEventName, "GetCallerIdentity"))
	if len(got) != 1 || detail(t, got[0])["sourceIPAddress"] != "203.0.113.66" {
		t.Errorf("the events are %+v", got)
	}
}

func TestAParameterThatWasNamedByItsARNIsFoundByItsName(t *testing.T) {
	s := seeded(t, Options{}, nil)
	if _, err := s.ssm().GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String(s.parameterARN(secretName))}); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.events(t, look(trailtypes.LookupAttributeKeyResourceName, secretName)) {
		if *e.EventName == "GetParameter" {
			return
		}
	}
	t.Error("no event")
}
