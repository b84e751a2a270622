package aws

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/twokey/twokey/exposure"
	standin "github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
)

// today is from yesterday to now, by the sandbox's clock; the SDK leaves fractions of a millisecond out.
func (w *world) today() exposure.Window {
	now := w.cond.Clock.Now()
	return exposure.Window{From: now.Add(-24 * time.Hour), To: now.Add(time.Second)}
}

func (w *world) seed(t *testing.T, events ...standin.Event) {
	t.Helper()
	for _, e := range events {
		if e.Source == "" {
			e.Source = "ssm.amazonaws.com"
		}
		if err := w.aws.SeedEvent(e); err != nil {
			t.Fatal(err)
		}
	}
}

// calls looks events up and takes their ids and times away, which differ.
func (w *world) calls(t *testing.T, event string) []exposure.Call {
	t.Helper()
	got, err := w.Calls(t.Context(), event, w.today())
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i].ID == "" || got[i].At.IsZero() || got[i].Name != event {
			t.Errorf("%+v is without id, time or name", got[i])
		}
		got[i].ID, got[i].At, got[i].Name = "", time.Time{}, ""
	}
	return got
}

func TestACallTellsWhoMadeItOnWhatAndFromWhere(t *testing.T) {
	w := newWorld(t)
	const arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/aiconnectors/prod/jira/client_secret"
	mallory := standin.Identity{User: "mallory"}
	user := exposure.Identity{Kind: "IAMUser", Principal: "arn:aws:iam::123456789012:user/mallory", Name: "mallory"}
	for what, c := range map[string]struct {
		event standin.Event
		want  exposure.Call
	}{
		"by name":     {standin.Event{Name: "GetParameter", By: mallory, Address: "203.0.113.66", Agent: "curl", Request: map[string]any{"name": name}}, exposure.Call{By: user, Address: "203.0.113.66", Agent: "curl", Parameters: []string{name}}},
		"of a role":   {standin.Event{Name: "GetParameterHistory", By: standin.Identity{Role: "twokey", Session: "bot"}, Request: map[string]any{"name": name}}, exposure.Call{By: exposure.Identity{Kind: "AssumedRole", Principal: "arn:aws:iam::123456789012:role/twokey", Name: "twokey", Session: "bot"}, Parameters: []string{name}}},
		"of the root": {standin.Event{Name: "DeleteParameter", Request: map[string]any{"name": name}}, exposure.Call{By: exposure.Identity{Kind: "Root", Principal: "arn:aws:iam::123456789012:root", Name: "root"}, Parameters: []string{name}}},
		"with selectors and ARNs": {standin.Event{Name: "GetParameters", By: mallory, Request: map[string]any{"names": []any{name + ":3", arn, arn + ":label", "plain"}}},
			exposure.Call{By: user, Parameters: []string{name, name, name, "plain"}}},
		"by path":         {standin.Event{Name: "GetParametersByPath", By: mallory, Request: map[string]any{"path": "/aiconnectors", "recursive": true}}, exposure.Call{By: user, Path: "/aiconnectors"}},
		"refused":         {standin.Event{Name: "PutParameter", By: mallory, ErrorCode: "AccessDenied", ErrorMessage: "User: x is not authorized to perform: ssm:PutParameter on resource: " + arn + " because no policy allows it"}, exposure.Call{By: user, Parameters: []string{name}, Refused: "AccessDenied"}},
		"refused a path":  {standin.Event{Name: "LabelParameterVersion", By: mallory, ErrorCode: "AccessDenied", ErrorMessage: "on resource: arn:aws:ssm:eu-central-1:123456789012:parameter/aiconnectors/ because"}, exposure.Call{By: user, Path: "/aiconnectors/", Refused: "AccessDenied"}},
		"refused, unsaid": {standin.Event{Name: "UnlabelParameterVersion", By: mallory, ErrorCode: "AccessDenied", ErrorMessage: "no"}, exposure.Call{By: user, Refused: "AccessDenied"}},
		"a deployment":    {standin.Event{Name: "UpdateService", Source: "ecs.amazonaws.com", By: mallory, Request: map[string]any{"cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/" + cluster, "service": "jira"}}, exposure.Call{By: user, Cluster: cluster, Service: "jira"}},
		"a shell":         {standin.Event{Name: "ExecuteCommand", Source: "ecs.amazonaws.com", By: mallory, Request: map[string]any{"cluster": cluster, "task": "arn:aws:ecs:eu-central-1:123456789012:task/" + cluster + "/abc"}}, exposure.Call{By: user, Cluster: cluster, Task: "abc"}},
	} {
		w.seed(t, c.event)
		if d := cmp.Diff([]exposure.Call{c.want}, w.calls(t, c.event.Name)); d != "" {
			t.Errorf("%s (-want +got)\n%s", what, d)
		}
	}
}

func TestTheCallersOwnTextsArriveAsTheyAre(t *testing.T) {
	w := newWorld(t)
	const text = "=1+1\r\n<!channel> \x00 \"quoted\" \u202e"
	w.seed(t, standin.Event{Name: "GetParameter", By: standin.Identity{Role: "r", Session: "a/b/" + text}, Agent: text, Request: map[string]any{"name": name}})
	if got := w.calls(t, "GetParameter"); got[0].Agent != text || !strings.HasSuffix(got[0].By.Session, text) {
		t.Errorf("%+v", got)
	}
}

func TestLookUpsPageKeepToTheRateAndSayWhatTheyLeft(t *testing.T) {
	w := newWorld(t)
	start := w.cond.Clock.Now()
	for i := range 120 {
		w.seed(t, standin.Event{Name: "GetParameter", At: start.Add(-time.Duration(i) * time.Minute), Request: map[string]any{"name": name}})
	}
	began := time.Now()
	got, err := w.Calls(t.Context(), "GetParameter", w.today())
	if err != nil || len(got) != 120 {
		t.Fatalf("%d of 120 calls: %v", len(got), err)
	}
	if took := time.Since(began); took < 2*betweenLookups {
		t.Errorf("three look-ups took %s: two a second are allowed", took)
	}
	ids := map[string]bool{}
	for _, c := range got {
		ids[c.ID] = true
	}
	if len(ids) != 120 {
		t.Errorf("%d calls differ, want 120", len(ids))
	}
	w.most = 100
	got, err = w.Calls(t.Context(), "GetParameter", w.today())
	var cut *exposure.Truncated
	if !errors.As(err, &cut) || len(got) != 100 || cut.Limit != 100 || !cut.Since.Equal(got[99].At) {
		t.Fatalf("beyond the limit: %d calls, %v", len(got), err)
	}
	if age := start.Sub(cut.Since).Round(time.Minute); age != 99*time.Minute {
		t.Errorf("everything since %s ago was read, want 99 minutes", age)
	}
	for _, c := range w.cond.Calls() {
		if c.Operation == "cloudtrail.LookupEvents" && c.Status != http.StatusOK {
			t.Errorf("a look-up was refused with %d", c.Status)
		}
	}
}

func TestALookUpByResourceFindsTheParametersCalls(t *testing.T) {
	w := newWorld(t)
	w.seed(t, standin.Event{Name: "GetParameter", Request: map[string]any{"name": name}}, standin.Event{Name: "PutParameter", Request: map[string]any{"name": name}},
		standin.Event{Name: "GetParameter", Request: map[string]any{"name": "/other"}})
	got, err := w.CallsOn(t.Context(), name, w.today())
	if err != nil || len(got) != 2 || got[0].Name != "PutParameter" {
		t.Errorf("%+v: %v", got, err)
	}
}

func TestOnlyCallsOfTheWindowAreFound(t *testing.T) {
	w := newWorld(t)
	now := w.cond.Clock.Now()
	for _, age := range []time.Duration{time.Minute, 3 * time.Hour} {
		w.seed(t, standin.Event{Name: "GetParameter", At: now.Add(-age), Request: map[string]any{"name": name}})
	}
	got, err := w.Calls(t.Context(), "GetParameter", exposure.Window{From: now.Add(-4 * time.Hour), To: now.Add(-2 * time.Hour)})
	if err != nil || len(got) != 1 || now.Sub(got[0].At).Round(time.Minute) != 3*time.Hour {
		t.Errorf("%+v: %v", got, err)
	}
}

func TestAMissingPermissionForCloudTrailHasItsOwnError(t *testing.T) {
	w := newWorld(t)
	w.look = rate.NewLimiter(rate.Inf, 1)
	w.cond.Add(conditions.Fault{Operation: "cloudtrail.LookupEvents", Kind: conditions.Refuse, Code: "AccessDeniedException", Count: 1})
	if _, err := w.Calls(t.Context(), "GetParameter", w.today()); !errors.Is(err, exposure.ErrNotPermitted) {
		t.Errorf("refused: %v", err)
	}
	w.cond.Add(conditions.Fault{Operation: "cloudtrail.LookupEvents", Kind: conditions.Nonsense, Count: 1})
	if _, err := w.Calls(t.Context(), "GetParameter", w.today()); err == nil || errors.Is(err, exposure.ErrNotPermitted) || strings.Contains(err.Error(), "html") {
		t.Errorf("nonsense: %v", err)
	}
}

func TestTheServicesRolesAndTheBotsOwnAreTold(t *testing.T) {
	w := newWorld(t)
	w.seedService(t, plainContainer, func(s *standin.Service) {
		s.TaskDefinition = fmt.Appendf(nil, `{"family":"jira","executionRoleArn":"arn:aws:iam::123456789012:role/jira-execution","taskRoleArn":"arn:aws:iam::123456789012:role/jira-task","containerDefinitions":%s}`, plainContainer)
	})
	service, err := w.Service(t.Context(), cluster, "jira")
	if err != nil || !slices.Equal([]string{service.ExecutionRole, service.TaskRole}, []string{"arn:aws:iam::123456789012:role/jira-execution", "arn:aws:iam::123456789012:role/jira-task"}) {
		t.Errorf("the roles are %q and %q: %v", service.ExecutionRole, service.TaskRole, err)
	}
	if role, err := w.Role(t.Context()); err != nil || role != "arn:aws:iam::123456789012:role/twokey" {
		t.Errorf("the bot's role is %q: %v", role, err)
	}
}
