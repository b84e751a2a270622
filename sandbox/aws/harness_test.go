package aws

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.uber.org/goleak"

	"github.com/twokey/twokey/sandbox/aws/smithycheck"
	"github.com/twokey/twokey/sandbox/conditions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const botKey = "AKIASANDBOXBOT000001"

// stand is a stand-in behind a real listener, every exchange checked against
// AWS's models.
type stand struct {
	*Server
	cond *conditions.Conditions
	url  string
	web  *http.Client
}

func newStand(t *testing.T, o Options) *stand {
	t.Helper()
	cond := conditions.New(conditions.NewClock())
	s := New(cond, o)
	web := httptest.NewServer(http.StripPrefix("/aws", smithycheck.Handler(t, s.Handler())))
	t.Cleanup(func() { web.Close(); s.Close() })
	s.SeedIdentity(botKey, Identity{Role: "twokey", Session: "bot"})
	return &stand{Server: s, cond: cond, url: web.URL + "/aws", web: web.Client()}
}

// config is the SDK's configuration as any of its users would write it.
func (s *stand) config(key string) sdk.Config {
	return sdk.Config{Region: "eu-central-1", BaseEndpoint: &s.url, HTTPClient: s.web,
		Credentials:      credentials.NewStaticCredentialsProvider(key, "anything", ""),
		RetryMaxAttempts: 1}
}

func (s *stand) ssm() *ssm.Client               { return ssm.NewFromConfig(s.config(botKey)) }
func (s *stand) ecs() *ecs.Client               { return ecs.NewFromConfig(s.config(botKey)) }
func (s *stand) sts() *sts.Client               { return sts.NewFromConfig(s.config(botKey)) }
func (s *stand) iam() *iam.Client               { return iam.NewFromConfig(s.config(botKey)) }
func (s *stand) cloudtrail() *cloudtrail.Client { return cloudtrail.NewFromConfig(s.config(botKey)) }

// until waits for a condition, and says what it waited for in vain.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// quick are settings under which nothing takes long.
func quick() Settings {
	ms := Span(time.Millisecond)
	return Settings{TaskStart: 5 * ms, Health: 5 * ms, Drain: 5 * ms, HealthInterval: 10 * ms}
}

// definition is a document with one checked container that gets one secret.
func definition(family, parameter string) []byte {
	return []byte(`{"family":"` + family + `","executionRoleArn":"arn:aws:iam::123456789012:role/` + family + `-execution",
		"networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512",
		"containerDefinitions":[{"name":"mcp","image":"registry.example/mcp:1","essential":true,
		"environment":[{"name":"MODE","value":"prod"}],
		"secrets":[{"name":"CLIENT_SECRET","valueFrom":"` + parameter + `"}],
		"healthCheck":{"command":["CMD-SHELL","true"]}}]}`)
}
