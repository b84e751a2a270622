package aws

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/sandbox/aws/ssmtest"
)

func TestTheStandInPassesTheParameterSuite(t *testing.T) {
	ssmtest.Run(t, newStand(t, Options{}).ssm())
}

// The suite is worth what an independent server says of it.
func TestMotoPassesTheParameterSuite(t *testing.T) {
	url := need.Moto(t)
	ssmtest.Run(t, ssm.NewFromConfig(sdk.Config{Region: "eu-central-1", BaseEndpoint: &url,
		Credentials: credentials.NewStaticCredentialsProvider(botKey, "anything", "")}))
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestNamesAndValuesBeyondTheLimitsAreRefused(t *testing.T) {
	client := newStand(t, Options{}).ssm()
	tests := []struct {
		name, parameter, value string
		tier                   types.ParameterTier
		want                   string
	}{
		{"a value of 4097 characters", "/x/a", strings.Repeat("x", 4097), "", "ValidationException"},
		{"an advanced value of 8193", "/x/a", strings.Repeat("x", 8193), types.ParameterTierAdvanced, "ValidationException"},
		{"a path without its slash", "x/a", "v", "", "ValidationException"},
		{"a reserved name", "/aws/x", "v", "", "AccessDeniedException"},
		{"a name with ssm in front", "ssm-x", "v", "", "ValidationException"},
		{"a space", "/x/a b", "v", "", "ValidationException"},
		{"16 levels", strings.Repeat("/x", 16), "v", "", "HierarchyLevelLimitExceededException"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: &test.parameter, Value: &test.value, Tier: test.tier, Type: types.ParameterTypeString})
			if got := codeOf(err); got != test.want {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
}

func TestAnUnknownKeyIsRefusedAndAKnownOneKeptAsGiven(t *testing.T) {
	s := newStand(t, Options{})
	key := "arn:aws:kms:eu-central-1:123456789012:key/8f4a0b9e-1111-2222-3333-444455556666"
	in := &ssm.PutParameterInput{Name: sdk.String("/x/a"), Value: sdk.String("v"), Type: types.ParameterTypeSecureString, KeyId: &key}
	_, err := s.ssm().PutParameter(t.Context(), in)
	var refused *types.InvalidKeyId
	if !errors.As(err, &refused) {
		t.Fatalf("the error is %v, want InvalidKeyId", err)
	}
	s.SeedKey(key)
	if _, err := s.ssm().PutParameter(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	out, err := s.ssm().DescribeParameters(t.Context(), &ssm.DescribeParametersInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got := sdk.ToString(out.Parameters[0].KeyId); got != key {
		t.Errorf("the key is %s, want %s", got, key)
	}
	if got := sdk.ToString(out.Parameters[0].LastModifiedUser); got != "arn:aws:sts::123456789012:assumed-role/twokey/bot" {
		t.Errorf("it was written by %s", got)
	}
}

// moto differs from AWS's documentation in these, so they are not in the suite.
func TestUnknownNamesAreRefusedByEveryOperation(t *testing.T) {
	client := newStand(t, Options{}).ssm()
	name := sdk.String("/x/none")
	_, labelling := client.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: name, Labels: []string{"x"}})
	_, history := client.GetParameterHistory(t.Context(), &ssm.GetParameterHistoryInput{Name: name})
	_, deleting := client.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: name})
	for _, err := range []error{labelling, history, deleting} {
		if codeOf(err) != "ParameterNotFound" {
			t.Errorf("the error is %v, want ParameterNotFound", err)
		}
	}
}

func TestASelectorIsToldBack(t *testing.T) {
	s := newStand(t, Options{})
	if err := s.SeedParameter(Parameter{Name: "/x/a", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	out, err := s.ssm().GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String("/x/a:1")})
	if err != nil || sdk.ToString(out.Parameter.Selector) != ":1" {
		t.Errorf("the answer is %+v, %v", out, err)
	}
}

func TestAStandInRefusesWhatItDoesNotKnow(t *testing.T) {
	s := newStand(t, Options{})
	_, err := s.ssm().PutParameter(t.Context(), &ssm.PutParameterInput{Name: sdk.String("/x/a"), Value: sdk.String("v"), Type: types.ParameterTypeString,
		Policies: sdk.String(`[{"Type":"Expiration"}]`)})
	if codeOf(err) != "SerializationException" {
		t.Errorf("policies were taken: %v", err)
	}
	if _, err = s.ssm().DescribeDocument(t.Context(), &ssm.DescribeDocumentInput{Name: sdk.String("doc")}); codeOf(err) != "UnknownOperationException" {
		t.Errorf("an unknown operation: %v", err)
	}
}

func TestPutsCanBeThrottledAsByAWS(t *testing.T) {
	s := newStand(t, Options{})
	settings := s.Settings()
	settings.PutsPerSecond = 3
	s.Set(settings)
	var refused int
	for range 6 {
		_, err := s.ssm().PutParameter(t.Context(), &ssm.PutParameterInput{Name: sdk.String("/x/a"), Value: sdk.String("v"), Type: types.ParameterTypeString, Overwrite: sdk.Bool(true)})
		if codeOf(err) == "ThrottlingException" {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("six puts at once passed a limit of three a second")
	}
}

// The aws command is a client that nobody here wrote.
func TestTheAWSCommandWorksAgainstTheStandIn(t *testing.T) {
	program := need.Program(t, "aws", "apt-get install awscli (Debian)")
	s := newStand(t, Options{})
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, append([]string{"--endpoint-url", s.url, "--region", "eu-central-1", "--output", "text"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+botKey, "AWS_SECRET_ACCESS_KEY=anything", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("ssm", "put-parameter", "--name", "/x/a", "--type", "SecureString", "--value", "from the command line")
	if got := run("ssm", "get-parameter", "--name", "/x/a", "--with-decryption", "--query", "Parameter.Value"); got != "from the command line" {
		t.Errorf("the value is %q", got)
	}
	if got := run("sts", "get-caller-identity", "--query", "Arn"); got != "arn:aws:sts::123456789012:assumed-role/twokey/bot" {
		t.Errorf("the caller is %q", got)
	}
	if got := run("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=ResourceName,AttributeValue=/x/a", "--query", "Events[].EventName"); got != "GetParameter\tPutParameter" {
		t.Errorf("the events are %q", got)
	}
}
