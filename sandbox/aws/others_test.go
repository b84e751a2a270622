package aws

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/twokey/twokey/sandbox/conditions"
)

func TestAWebIdentityTokenIsSignedForItsAudience(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES384"} {
		s := newStand(t, Options{})
		out, err := s.sts().GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{Audience: []string{"api://AzureADTokenExchange"}, SigningAlgorithm: &algorithm})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.VerifyWebIdentityToken(*out.WebIdentityToken)
		if err != nil {
			t.Fatal(err)
		}
		if got.Issuer != s.Issuer() || got.Subject != "arn:aws:iam::123456789012:role/twokey" || !slices.Equal(got.Audience, []string{"api://AzureADTokenExchange"}) {
			t.Errorf("%s: the token says %+v", algorithm, got)
		}
		if _, err := newStand(t, Options{}).VerifyWebIdentityToken(*out.WebIdentityToken); err == nil {
			t.Errorf("%s: another account's keys verify it", algorithm)
		}
		s.cond.Clock.Advance(6 * time.Minute)
		if _, err := s.VerifyWebIdentityToken(*out.WebIdentityToken); err == nil {
			t.Errorf("%s: it is good after its five minutes", algorithm)
		}
	}
}

func TestTheIssuersKeysArePublished(t *testing.T) {
	s := newStand(t, Options{})
	response, err := s.web.Get(s.url + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var set struct{ Keys []map[string]string }
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil || len(set.Keys) != 2 {
		t.Fatalf("the keys are %v, %v", set, err)
	}
	for _, key := range set.Keys {
		if _, private := key["d"]; private {
			t.Error("a private key is published")
		}
	}
}

func TestAnAssumedRoleActsUnderItsSession(t *testing.T) {
	s := newStand(t, Options{})
	if err := s.SeedRole(Role{Name: "deployer"}); err != nil {
		t.Fatal(err)
	}
	out, err := s.sts().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: sdk.String("arn:aws:iam::123456789012:role/deployer"), RoleSessionName: sdk.String("alice")})
	if err != nil {
		t.Fatal(err)
	}
	who, err := sts.NewFromConfig(s.config(*out.Credentials.AccessKeyId)).GetCallerIdentity(t.Context(), nil)
	if err != nil || *who.Arn != "arn:aws:sts::123456789012:assumed-role/deployer/alice" {
		t.Errorf("the caller is %+v, %v", who, err)
	}
	_, err = s.sts().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: sdk.String("arn:aws:iam::123456789012:role/nobody"), RoleSessionName: sdk.String("alice")})
	if codeOf(err) != "AccessDenied" {
		t.Errorf("an unknown role: %v", err)
	}
}

func look(key trailtypes.LookupAttributeKey, value string) *cloudtrail.LookupEventsInput {
	return &cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: key, AttributeValue: &value}}}
}

// events waits for CloudTrail's two calls a second on the sandbox's clock.
func (s *stand) events(t *testing.T, in *cloudtrail.LookupEventsInput) []trailtypes.Event {
	t.Helper()
	s.cond.Clock.Advance(time.Second)
	out, err := s.cloudtrail().LookupEvents(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out.Events
}

func TestCloudTrailTellsWhoReadASecretAndNeverItsValue(t *testing.T) {
	s := seeded(t, Options{}, nil)
	const intruder = "AKIASANDBOXINTRUDER1"
	s.SeedIdentity(intruder, Identity{User: "mallory"})
	s.putSecret(t, "the new value")
	thief := ssm.NewFromConfig(s.config(intruder))
	if _, err := thief.GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String(secretName), WithDecryption: sdk.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	var users, roles []string
	for _, e := range s.events(t, look(trailtypes.LookupAttributeKeyResourceName, secretName)) {
		users = append(users, *e.Username)
		if strings.Contains(*e.CloudTrailEvent, "the new value") {
			t.Errorf("the event holds the value: %s", *e.CloudTrailEvent)
		}
		var detail struct {
			UserIdentity struct {
				SessionContext struct{ SessionIssuer struct{ UserName string } }
			}
		}
		if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &detail); err != nil {
			t.Fatal(err)
		}
		roles = append(roles, detail.UserIdentity.SessionContext.SessionIssuer.UserName)
	}
	for _, task := range s.Snapshot().Services[0].Tasks {
		if !slices.Contains(users, task.ID) {
			t.Errorf("the execution role's read for task %s is missing in %v", task.ID, users)
		}
	}
	if !slices.Contains(users, "mallory") || !slices.Contains(users, "bot") || !slices.Contains(roles, "jira-execution") {
		t.Errorf("the users are %v, the roles %v", users, roles)
	}
	if got := s.events(t, look(trailtypes.LookupAttributeKeyAccessKeyId, intruder)); len(got) != 1 || *got[0].EventName != "GetParameter" {
		t.Errorf("the intruder's events are %v", got)
	}
}

func TestCloudTrailHidesValuesOfRefusedPutsToo(t *testing.T) {
	s := newStand(t, Options{})
	long := strings.Repeat("hush", 1200)
	_, err := s.ssm().PutParameter(t.Context(), &ssm.PutParameterInput{Name: sdk.String("/x/a"), Value: &long, Type: ssmtypes.ParameterTypeString})
	if err == nil {
		t.Fatal("a value of 4800 characters was taken")
	}
	got := s.events(t, look(trailtypes.LookupAttributeKeyEventName, "PutParameter"))
	if len(got) != 1 || strings.Contains(*got[0].CloudTrailEvent, "hush") || !strings.Contains(*got[0].CloudTrailEvent, "ValidationException") {
		t.Errorf("the events are %v", got)
	}
}

func TestCloudTrailIsLateAndForgetsAfter90Days(t *testing.T) {
	s := newStand(t, Options{})
	settings := s.Settings()
	settings.CloudTrailDelay = Span(10 * time.Minute)
	s.Set(settings)
	if _, err := s.sts().GetCallerIdentity(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	in := look(trailtypes.LookupAttributeKeyEventName, "GetCallerIdentity")
	if got := s.events(t, in); len(got) != 0 {
		t.Error("the event is there at once")
	}
	s.cond.Clock.Advance(10 * time.Minute)
	if got := s.events(t, in); len(got) != 1 {
		t.Errorf("%d events after the delay, want 1", len(got))
	}
	s.cond.Clock.Advance(90 * 24 * time.Hour)
	if got := s.events(t, in); len(got) != 0 {
		t.Error("the event is there after 90 days")
	}
}

func TestCloudTrailTakesTwoCallsASecondOneAttributeAndPagesBy50(t *testing.T) {
	s := newStand(t, Options{})
	for range 60 {
		if _, err := s.sts().GetCallerIdentity(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	in := look(trailtypes.LookupAttributeKeyEventName, "GetCallerIdentity")
	first, err := s.cloudtrail().LookupEvents(t.Context(), in)
	if err != nil || len(first.Events) != 50 || first.NextToken == nil {
		t.Fatalf("the first page: %v", err)
	}
	in.NextToken = first.NextToken
	second, err := s.cloudtrail().LookupEvents(t.Context(), in)
	if err != nil || len(second.Events) != 10 || second.NextToken != nil {
		t.Fatalf("the second page: %v", err)
	}
	if _, err := s.cloudtrail().LookupEvents(t.Context(), in); codeOf(err) != "ThrottlingException" {
		t.Errorf("the third call at once: %v", err)
	}
	s.cond.Clock.Advance(time.Second)
	in = &cloudtrail.LookupEventsInput{LookupAttributes: append(in.LookupAttributes, in.LookupAttributes...)}
	var refused *trailtypes.InvalidLookupAttributesException
	if _, err := s.cloudtrail().LookupEvents(t.Context(), in); !errors.As(err, &refused) {
		t.Errorf("two attributes: %v", err)
	}
}

func TestTheSimulatorProvesBothWays(t *testing.T) {
	s := newStand(t, Options{})
	for name, policy := range map[string]string{
		"jira-execution": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ssm:GetParameter*","Resource":"arn:aws:ssm:*:*:parameter/aiconnectors/prod/jira/*"}}`,
		"admin":          `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["*"],"Resource":"*"},{"Sid":"NotTheSecrets","Effect":"Deny","Action":"ssm:*","Resource":"*/client_secret"}]}`,
		"idle":           `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"ssm:*","Resource":"*"}]}`,
	} {
		if err := s.SeedRole(Role{Name: name, Policies: map[string]json.RawMessage{"p": json.RawMessage(policy)}}); err != nil {
			t.Fatal(err)
		}
	}
	secret := "arn:aws:ssm:eu-central-1:123456789012:parameter/aiconnectors/prod/jira/client_secret"
	for role, want := range map[string]iamtypes.PolicyEvaluationDecisionType{
		"jira-execution": iamtypes.PolicyEvaluationDecisionTypeAllowed, "admin": iamtypes.PolicyEvaluationDecisionTypeExplicitDeny, "idle": iamtypes.PolicyEvaluationDecisionTypeImplicitDeny,
	} {
		out, err := s.iam().SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: sdk.String("arn:aws:iam::123456789012:role/" + role),
			ActionNames: []string{"ssm:GetParameters"}, ResourceArns: []string{secret}})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.EvaluationResults[0].EvalDecision; got != want {
			t.Errorf("%s: %s, want %s", role, got, want)
		}
	}
	_, err := s.iam().SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: sdk.String("arn:aws:iam::123456789012:role/none"), ActionNames: []string{"ssm:GetParameter"}})
	if codeOf(err) != "NoSuchEntity" {
		t.Errorf("an unknown role: %v", err)
	}
	roles, err := s.iam().ListRoles(t.Context(), &iam.ListRolesInput{MaxItems: sdk.Int32(2)})
	if err != nil || len(roles.Roles) != 2 || !roles.IsTruncated {
		t.Fatalf("the first page of roles: %+v, %v", roles, err)
	}
	if roles, err = s.iam().ListRoles(t.Context(), &iam.ListRolesInput{Marker: roles.Marker}); err != nil || len(roles.Roles) != 1 || *roles.Roles[0].RoleName != "jira-execution" {
		t.Errorf("the second page of roles: %+v, %v", roles, err)
	}
	if one, err := s.iam().GetRole(t.Context(), &iam.GetRoleInput{RoleName: sdk.String("idle")}); err != nil || *one.Role.RoleName != "idle" {
		t.Errorf("one role: %+v, %v", one, err)
	}
}

func TestAPolicyThatCannotBeEvaluatedIsNotSeeded(t *testing.T) {
	s := newStand(t, Options{})
	for _, policy := range []string{
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}`,
		`{"Statement":[{"Effect":"Perhaps","Action":"*","Resource":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"*"}]}`,
	} {
		if err := s.SeedRole(Role{Name: "r", Policies: map[string]json.RawMessage{"p": json.RawMessage(policy)}}); err == nil {
			t.Errorf("this was taken: %s", policy)
		}
	}
}

func TestFaultsComeInTheServicesOwnWords(t *testing.T) {
	s := newStand(t, Options{})
	for _, test := range []struct {
		operation string
		kind      conditions.Kind
		want      string
		call      func() error
	}{
		{"ssm.GetParameter", conditions.Throttle, "ThrottlingException", func() error {
			_, err := s.ssm().GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String("/x")})
			return err
		}},
		{"ssm.GetParameter", conditions.ServerErr, "InternalServerError", func() error {
			_, err := s.ssm().GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String("/x")})
			return err
		}},
		{"ssm.GetParameter", conditions.Refuse, "AccessDeniedException", func() error {
			_, err := s.ssm().GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String("/x")})
			return err
		}},
		{"iam.ListRoles", conditions.ServerErr, "ServiceFailure", func() error { _, err := s.iam().ListRoles(t.Context(), nil); return err }},
		{"sts.GetCallerIdentity", conditions.Throttle, "Throttling", func() error { _, err := s.sts().GetCallerIdentity(t.Context(), nil); return err }},
	} {
		s.cond.Add(conditions.Fault{Operation: test.operation, Kind: test.kind, Count: 1})
		if err := test.call(); codeOf(err) != test.want {
			t.Errorf("%s %s: %v, want %s", test.operation, test.kind, err, test.want)
		}
	}
	if got := s.cond.Counts()["ssm.GetParameter"]; got != 3 {
		t.Errorf("the call log has %d calls of ssm.GetParameter, want 3", got)
	}
}

func TestACutAfterTheEffectLeavesTheEffect(t *testing.T) {
	s := newStand(t, Options{})
	s.cond.Add(conditions.Fault{Operation: "ssm.PutParameter", Kind: conditions.CutAfter, Count: 1})
	if _, err := s.ssm().PutParameter(t.Context(), &ssm.PutParameterInput{Name: sdk.String("/x/a"), Value: sdk.String("v"), Type: ssmtypes.ParameterTypeString}); err == nil {
		t.Fatal("the answer arrived")
	}
	if got := s.Snapshot().Parameters; len(got) != 1 || got[0].Versions[0].Value != "v" {
		t.Errorf("the parameters are %v", got)
	}
}

func TestTheControlAPISeedsSetsAndRefuses(t *testing.T) {
	s := newStand(t, Options{})
	control := httptest.NewServer(s.Control())
	defer control.Close()
	do := func(method, path, body string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, control.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := control.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(b)
	}
	service, err := json.Marshal(Service{Cluster: "c", Name: "s", TaskDefinition: definition("s", "/x/a"), Desired: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"PATCH", "/settings", `{"task_start":"5ms","health":"5ms"}`, 200, `"drain":"200ms"`},
		{"PATCH", "/settings", `{"task_start":"soon"}`, 400, "invalid duration"},
		{"PATCH", "/settings", `{"tsak_start":"1s"}`, 400, "unknown field"},
		{"GET", "/settings", "", 200, `"task_start":"5ms"`},
		{"POST", "/parameters", `{"name":"/x/a","value":"v","tags":{"k":"v"}}`, 200, "/x/a"},
		{"POST", "/parameters", `{"name":"/x/a"}`, 400, "ValidationException"},
		{"POST", "/keys", `"alias/mine"`, 200, "alias/mine"},
		{"POST", "/roles", `{"name":"r"}`, 200, "r"},
		{"PUT", "/identities/AKIASANDBOXSOMEBODY1", `{"user":"carol"}`, 200, "carol"},
		{"POST", "/services", string(service), 200, "s"},
		{"POST", "/services", string(service), 400, "exists already"},
		{"PUT", "/services/c/s/behaviour", `{"stuck":true}`, 200, `"stuck":true`},
		{"PUT", "/services/c/none/behaviour", `{"stuck":true}`, 404, "ServiceNotFoundException"},
		{"POST", "/services/c/s/kill", `1`, 200, "done"},
	} {
		if status, body := do(test.method, test.path, test.body); status != test.status || !strings.Contains(body, test.contains) {
			t.Errorf("%s %s: %d %s, want %d with %s", test.method, test.path, status, body, test.status, test.contains)
		}
	}
	if _, err := json.Marshal(s.State()); err != nil {
		t.Errorf("the state is not JSON: %v", err)
	}
}
