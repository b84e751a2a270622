package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	standin "github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/aws/smithycheck"
	"github.com/twokey/twokey/sandbox/conditions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name    = "/aiconnectors/prod/jira/client_secret"
	cluster = "aiconnectors-prod"
	botKey  = "AKIASANDBOXBOT000001"
)

// world is a client and the stand-in that it talks to.
type world struct {
	*Client
	aws  *standin.Server
	cond *conditions.Conditions
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cond := conditions.New(conditions.NewClock())
	server := standin.New(cond, standin.Options{})
	web := httptest.NewServer(http.StripPrefix("/aws", smithycheck.Handler(t, server.Handler())))
	t.Cleanup(func() { web.Close(); server.Close() })
	server.SeedIdentity(botKey, standin.Identity{Role: "twokey", Session: "bot"})
	ms := standin.Span(time.Millisecond)
	server.Set(standin.Settings{TaskStart: 5 * ms, Health: 5 * ms, Drain: 5 * ms, HealthInterval: 10 * ms})
	return &world{Client: newClient(t, Config{Region: "eu-central-1", Endpoint: web.URL + "/aws", Timeout: 5 * time.Second}), aws: server, cond: cond}
}

// newClient takes its credentials from the environment, as the default chain does.
func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", botKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "anything")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	client, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (w *world) write(t *testing.T, text string) int64 {
	t.Helper()
	version, err := w.Write(t.Context(), name, operation.NewSecret(text), "aws/ssm")
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func (w *world) seedService(t *testing.T, containers string, change func(*standin.Service)) {
	t.Helper()
	if err := w.aws.SeedParameter(standin.Parameter{Name: name, Value: "old"}); err != nil {
		t.Fatal(err)
	}
	spec := standin.Service{Cluster: cluster, Name: "jira", Desired: 2,
		TaskDefinition: json.RawMessage(`{"family":"jira","containerDefinitions":` + containers + `}`)}
	if change != nil {
		change(&spec)
	}
	if err := w.aws.SeedService(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

const plainContainer = `[{"name":"mcp","image":"example/mcp:1","secrets":[{"name":"CLIENT_SECRET","valueFrom":"` + name + `"}]}]`

func TestAParameterIsReadWithItsVersionKeyAndLabels(t *testing.T) {
	w := newWorld(t)
	if got := w.write(t, "one"); got != 1 {
		t.Errorf("the first write is version %d", got)
	}
	if err := w.Label(t.Context(), name, 1, "retired"); err != nil {
		t.Fatal(err)
	}
	if got := w.write(t, "two"); got != 2 {
		t.Errorf("the second write is version %d", got)
	}
	got, err := w.Read(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != name || got.Version != 2 || got.Type != "SecureString" || got.KMSKey != "alias/aws/ssm" || got.Value.Reveal() != "two" || len(got.Labels) != 0 || got.Modified.IsZero() {
		t.Errorf("the newest is %+v", got)
	}
	for _, selector := range []string{":1", ":retired"} {
		got, err := w.Read(t.Context(), name+selector)
		if err != nil || got.Name != name || got.Version != 1 || got.Value.Reveal() != "one" || !slices.Equal(got.Labels, []string{"retired"}) {
			t.Errorf("%s is %+v, %v", selector, got, err)
		}
	}
}

func TestTheLabelsOfTheHundredthVersionAreFoundOnTheSecondPage(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.write(t, fmt.Sprintf("value %d", i))
	}
	if err := w.Label(t.Context(), name, 60, "live"); err != nil {
		t.Fatal(err)
	}
	got, err := w.Read(t.Context(), name)
	if err != nil || !slices.Equal(got.Labels, []string{"live"}) {
		t.Errorf("it is %+v, %v", got, err)
	}
}

func TestAMissingParameterIsErrNoParameterForGood(t *testing.T) {
	w := newWorld(t)
	w.write(t, "one")
	for _, missing := range []string{"/none", name + ":9", name + ":none"} {
		_, err := w.Read(t.Context(), missing)
		if !errors.Is(err, runbook.ErrNoParameter) || !operation.IsPermanent(err) {
			t.Errorf("%s: %v", missing, err)
		}
	}
	if err := w.Label(t.Context(), "/none", 1, "live"); !errors.Is(err, runbook.ErrNoParameter) {
		t.Errorf("a label on nothing: %v", err)
	}
}

func TestDeletingTwiceAndUnlabellingTwiceIsFine(t *testing.T) {
	w := newWorld(t)
	w.write(t, "one")
	if err := w.Label(t.Context(), name, 1, "live"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Unlabel(t.Context(), name, 1, "live"); err != nil {
			t.Errorf("unlabel: %v", err)
		}
	}
	for range 2 {
		if err := w.Delete(t.Context(), name); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
}

func TestALabelThatSSMDoesNotTakeIsAnError(t *testing.T) {
	w := newWorld(t)
	w.write(t, "one")
	if err := w.Label(t.Context(), name, 1, "1st"); !operation.IsPermanent(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestPeoplesNamesOfKeysBecomeTheAPIs(t *testing.T) {
	for given, want := range map[string]string{
		"aws/ssm": "alias/aws/ssm", "alias/aws/ssm": "alias/aws/ssm", "team": "alias/team",
		"8f4a0b9e-1111-2222-3333-444455556666":                                "8f4a0b9e-1111-2222-3333-444455556666",
		"mrk-0123456789abcdef0123456789abcdef":                                "mrk-0123456789abcdef0123456789abcdef",
		"arn:aws:kms:eu-central-1:1:key/8f4a0b9e-1111-2222-3333-444455556666": "arn:aws:kms:eu-central-1:1:key/8f4a0b9e-1111-2222-3333-444455556666",
	} {
		if got := keyID(given); got != want {
			t.Errorf("%s becomes %s, want %s", given, got, want)
		}
	}
}

// A write or a deployment whose answer is lost may have happened: it is asked
// for exactly once. What was refused for its rate is asked for again.
func TestOnlyThrottledCallsAreRepeated(t *testing.T) {
	call := map[string]func(*world) error{
		"ssm.PutParameter": func(w *world) error {
			_, err := w.Write(t.Context(), name, operation.NewSecret("new"), "")
			return err
		},
		"ecs.UpdateService": func(w *world) error { _, err := w.Redeploy(t.Context(), cluster, "jira"); return err },
	}
	for op, run := range call {
		for kind, calls := range map[conditions.Kind]int{conditions.CutBefore: 1, conditions.CutAfter: 1, conditions.ServerErr: 1, conditions.Nonsense: 1, conditions.Throttle: 2} {
			t.Run(op+" "+string(kind), func(t *testing.T) {
				w := newWorld(t)
				w.seedService(t, plainContainer, nil)
				w.cond.Add(conditions.Fault{Operation: op, Kind: kind, Count: 1})
				err := run(w)
				// The call log gets a cut call after its caller saw the cut.
				for deadline := time.Now().Add(5 * time.Second); w.cond.Counts()[op] < calls && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
				if got := w.cond.Counts()[op]; got != calls {
					t.Errorf("it was called %d times, want %d", got, calls)
				}
				if throttled := kind == conditions.Throttle; throttled != (err == nil) || operation.IsPermanent(err) {
					t.Errorf("the error is %v (permanent: %v)", err, operation.IsPermanent(err))
				}
			})
		}
	}
}

func TestReadsAreRepeatedAfterFaults(t *testing.T) {
	for _, kind := range []conditions.Kind{conditions.CutBefore, conditions.ServerErr, conditions.Throttle} {
		w := newWorld(t)
		w.write(t, "one")
		w.cond.Add(conditions.Fault{Operation: "ssm.GetParameter", Kind: kind, Count: 1})
		if _, err := w.Read(t.Context(), name); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestRefusalsArePermanentAndFailuresAreNot(t *testing.T) {
	for code, want := range map[string]bool{"AccessDeniedException": true, "InvalidKeyId": true, "TooManyUpdates": false, "ExpiredTokenException": false} {
		w := newWorld(t)
		w.cond.Add(conditions.Fault{Operation: "ssm.PutParameter", Kind: conditions.Refuse, Status: 400, Code: code})
		_, err := w.Write(t.Context(), name, operation.NewSecret("new"), "")
		if operation.IsPermanent(err) != want {
			t.Errorf("%s is permanent: %v, want %v (%v)", code, !want, want, err)
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != code || e.Status != 400 || e.RequestID == "" {
			t.Errorf("%s: the error is %#v", code, e)
		}
	}
}

func TestATimeoutAndACancelledContextAreNotPermanent(t *testing.T) {
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "ssm.PutParameter", Kind: conditions.Timeout})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := w.Write(ctx, name, operation.NewSecret("new"), "")
	if !errors.Is(err, context.DeadlineExceeded) || operation.IsPermanent(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestAServiceIsReadWithItsSecretsByVariable(t *testing.T) {
	w := newWorld(t)
	if err := w.aws.SeedParameter(standin.Parameter{Name: "plain", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	if err := w.aws.SeedParameter(standin.Parameter{Name: "/aiconnectors/prod/jira/client_id", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	w.seedService(t, `[{"name":"mcp","image":"example/mcp:1","secrets":[
		{"name":"CLIENT_SECRET","valueFrom":"`+name+`"},
		{"name":"CLIENT_ID","valueFrom":"arn:aws:ssm:eu-central-1:123456789012:parameter/aiconnectors/prod/jira/client_id"}]},
		{"name":"side","image":"example/side:1","secrets":[{"name":"OTHER","valueFrom":"arn:aws:ssm:eu-central-1:123456789012:parameter/plain"}]}]`,
		func(v *standin.Service) { v.MaximumPercent = new(int); *v.MaximumPercent = 150 })
	got, err := w.Service(t.Context(), cluster, "jira")
	if err != nil {
		t.Fatal(err)
	}
	for variable, want := range map[string]string{"CLIENT_SECRET": name, "CLIENT_ID": "/aiconnectors/prod/jira/client_id", "OTHER": "plain"} {
		if got.Secrets[variable] != want {
			t.Errorf("%s is %q, want %q", variable, got.Secrets[variable], want)
		}
	}
	if got.Desired != 2 || got.Running != 2 || got.MinimumPercent != 100 || got.MaximumPercent != 150 || len(got.PlainText) != 0 || !strings.HasSuffix(got.TaskDefinition, "task-definition/jira:1") {
		t.Errorf("the service is %+v", got)
	}
	if d := got.Deployments; len(d) != 1 || d[0].Status != "PRIMARY" || d[0].Rollout != "COMPLETED" || d[0].Created.IsZero() {
		t.Errorf("the deployments are %+v", d)
	}
}

func TestAnARNOfAnotherStoreStaysAsItIs(t *testing.T) {
	for _, other := range []string{"arn:aws:secretsmanager:eu-central-1:1:secret:x-abc", "arn:aws:ssm:eu-central-1:1:document/x", "/a/b"} {
		if got := parameterName(other); got != other {
			t.Errorf("%s becomes %s", other, got)
		}
	}
}

// entraLike makes a text of the shape of Entra's secrets; none stands in a file.
func entraLike() string { return "abc" + "8" + "Q~" + strings.Repeat("xY-_.~7", 5)[:33] }

func TestSecretsInPlainTextAreFoundWhereverTheyStandAndNeverShown(t *testing.T) {
	w := newWorld(t)
	secret := entraLike()
	w.seedService(t, `[{"name":"mcp","image":"example/mcp:1","environment":[{"name":"A","value":"x"},{"name":"B","value":"`+secret+`"}],
		"command":["serve","--secret=`+secret+`"],"entryPoint":["sh","-c","X=`+secret+` run"],"dockerLabels":{"note":"`+secret+`","`+secret+`":"x"},
		"healthCheck":{"command":["CMD","check","`+secret+`"]},
		"logConfiguration":{"logDriver":"splunk","options":{"splunk-token":"`+secret+`"}}}]`, nil)
	got, err := w.Service(t.Context(), cluster, "jira")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(got.PlainText, "\n")
	if strings.Contains(all, secret) {
		t.Errorf("the secret is shown:\n%s", all)
	}
	for _, place := range []string{"environment variable B", "command", "entry point", "label note", "label (looks like a secret itself)", "health check", "log option splunk-token"} {
		if !strings.Contains(all, "jira:1, container mcp: "+place) {
			t.Errorf("%s is missing in:\n%s", place, all)
		}
	}
	if strings.Contains(all, "variable A") {
		t.Errorf("a harmless variable is listed:\n%s", all)
	}
}

func TestOldActiveRevisionsAreLookedThroughToo(t *testing.T) {
	w := newWorld(t)
	w.seedService(t, `[{"name":"mcp","image":"example/mcp:1","environment":[{"name":"B","value":"`+entraLike()+`"}]}]`, nil)
	// A second service of the same family makes a newer revision that is clean.
	if err := w.aws.SeedService(t.Context(), standin.Service{Cluster: cluster, Name: "next", TaskDefinition: json.RawMessage(`{"family":"jira","containerDefinitions":` + plainContainer + `}`)}); err != nil {
		t.Fatal(err)
	}
	got, err := w.Service(t.Context(), cluster, "next")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.PlainText) != 1 || !strings.HasPrefix(got.PlainText[0], "jira:1, container mcp") {
		t.Errorf("found %v", got.PlainText)
	}
	w.cond.Add(conditions.Fault{Operation: "ecs.ListTaskDefinitions", Kind: conditions.Refuse})
	if got, err = w.Service(t.Context(), cluster, "next"); err != nil || len(got.PlainText) != 0 || !slices.Equal(got.NotChecked, []string{"older revisions of the task definition: AccessDeniedException"}) {
		t.Errorf("without the permission: %v, %v, %v", got.PlainText, got.NotChecked, err)
	}
}

func TestAMissingServiceIsAPermanentError(t *testing.T) {
	w := newWorld(t)
	w.seedService(t, plainContainer, nil)
	for _, c := range []string{cluster, "none"} {
		if _, err := w.Service(t.Context(), c, "none"); !operation.IsPermanent(err) {
			t.Errorf("%s: %v", c, err)
		}
	}
	if _, err := w.Redeploy(t.Context(), cluster, "none"); !operation.IsPermanent(err) {
		t.Errorf("redeploy: %v", err)
	}
}

func TestARedeploymentsTasksAreNewerThanTheWriteAndStartedByIt(t *testing.T) {
	w := newWorld(t)
	w.seedService(t, plainContainer, nil)
	w.write(t, "new")
	written, err := w.Read(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.Redeploy(t.Context(), cluster, "jira")
	if err != nil || !strings.HasPrefix(id, "ecs-svc/") {
		t.Fatalf("the deployment is %q, %v", id, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		v, err := w.Service(t.Context(), cluster, "jira")
		if err != nil {
			t.Fatal(err)
		}
		if v.Deployments[0].ID == id && v.Deployments[0].Rollout == "COMPLETED" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not complete: %+v", v.Deployments)
		}
	}
	tasks, err := w.Tasks(t.Context(), cluster, "jira")
	if err != nil || len(tasks) != 2 {
		t.Fatalf("the tasks are %v, %v", tasks, err)
	}
	for _, task := range tasks {
		if task.StartedBy != id || !task.Created.After(written.Modified) || task.Status != "RUNNING" || len(task.ID) != 32 {
			t.Errorf("task %+v; the write was at %v", task, written.Modified)
		}
	}
}

func TestMoreTasksThanAPageHoldsAreAllListed(t *testing.T) {
	w := newWorld(t)
	w.seedService(t, plainContainer, func(v *standin.Service) { v.Desired = 130 })
	tasks, err := w.Tasks(t.Context(), cluster, "jira")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, task := range tasks {
		ids[task.ID] = true
	}
	if len(ids) != 130 {
		t.Errorf("%d different tasks, want 130", len(ids))
	}
}

func TestTheWebIdentityTokenNamesTheBotsRole(t *testing.T) {
	w := newWorld(t)
	token, err := w.WebIdentityToken(t.Context(), "api://AzureADTokenExchange")
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.aws.VerifyWebIdentityToken(token)
	if err != nil || got.Subject != "arn:aws:iam::123456789012:role/twokey" || !slices.Equal(got.Audience, []string{"api://AzureADTokenExchange"}) {
		t.Errorf("the token says %+v, %v", got, err)
	}
	w.cond.Add(conditions.Fault{Operation: "sts.GetWebIdentityToken", Kind: conditions.Refuse, Status: 403, Code: "AccessDenied"})
	if _, err := w.WebIdentityToken(t.Context(), "x"); !operation.IsPermanent(err) {
		t.Errorf("a refusal: %v", err)
	}
}

func TestTheEndpointMayComeFromTheSDKsEnvironment(t *testing.T) {
	w := newWorld(t)
	w.write(t, "one")
	web := httptest.NewServer(w.aws.Handler())
	defer web.Close()
	t.Setenv("AWS_ENDPOINT_URL", web.URL)
	t.Setenv("AWS_REGION", "eu-central-1")
	if _, err := newClient(t, Config{}).Read(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func TestWithoutARegionThereIsNoClient(t *testing.T) {
	for _, variable := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(variable, "")
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if _, err := New(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "region") {
		t.Errorf("the error is %v", err)
	}
}

// captured collects what is printed to standard error while f runs: the SDK's
// own logger would write there.
func captured(t *testing.T, f func()) string {
	t.Helper()
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = pipe
	text := make(chan string)
	go func() { b, _ := io.ReadAll(r); text <- string(b) }()
	f()
	os.Stderr = was
	_ = pipe.Close()
	return <-text
}

// everything renders an error in every way that a log might.
func everything(err error) string {
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Error("failed", "err", err)
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintf(&b, "%v %+v %#v\n", err, err, err)
	}
	return b.String()
}

func TestNoFaultPutsAValueIntoAnErrorOrALog(t *testing.T) {
	const hush = "hush-hush-the-value"
	kinds := []conditions.Kind{conditions.Refuse, conditions.Throttle, conditions.ServerErr, conditions.CutBefore, conditions.CutAfter, conditions.Nonsense}
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	w := newWorld(t)
	w.write(t, hush)
	var errs []error
	printed := captured(t, func() {
		for _, kind := range kinds {
			w.cond.Add(conditions.Fault{Operation: "*", Kind: kind})
			_, err := w.Write(t.Context(), name, operation.NewSecret(hush), "")
			errs = append(errs, err)
			p, err := w.Read(t.Context(), name)
			errs = append(errs, err, fmt.Errorf("%v %+v %#v", p, p, p))
			w.cond.Clear()
		}
	})
	for _, err := range errs {
		if err == nil {
			t.Error("a fault had no effect")
		} else if text := everything(err); strings.Contains(text, hush) {
			t.Errorf("the value is in %s", text)
		}
	}
	if printed != "" {
		t.Errorf("the SDK printed: %s", printed)
	}
}

// AWS quotes refused values in its messages, and a broken proxy may send
// anything.
func TestAValueThatAWSQuotesBackStaysOut(t *testing.T) {
	const hush = "hush-hush-the-value"
	answers := []struct {
		status int
		body   string
	}{
		{400, `{"__type":"ValidationException","message":"1 validation error detected: Value '` + hush + `' at 'value' failed to satisfy constraint"}`},
		{400, `{"__type":"ParameterPatternMismatchException","message":"` + hush + `"}`},
		{500, `{"__type":"InternalServerError","Message":"` + hush + `"}`},
		{500, hush},
		{200, `{"Version":"` + hush + `"}`},
		{200, hush},
	}
	for _, answer := range answers {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(answer.status)
			_, _ = io.WriteString(w, answer.body)
		}))
		client := newClient(t, Config{Region: "eu-central-1", Endpoint: web.URL})
		_, err := client.Write(t.Context(), name, operation.NewSecret(hush), "")
		if err == nil || strings.Contains(everything(err), hush) {
			t.Errorf("%d %s: %v", answer.status, answer.body, err)
		}
		web.Close()
	}
}
