package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/twokey/twokey/policy"
	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
)

// policy types "twokey policy" with these words.
func (p *platform) policy(words ...string) (string, error) {
	p.t.Helper()
	var out, log bytes.Buffer
	err := dispatch(p.t.Context(), append([]string{"policy", "--config", p.path}, words...), streams{out: &out, err: &log, getenv: func(string) string { return "" }})
	if err != nil && !errors.Is(err, errAgainstPolicy) {
		p.t.Fatal(err)
	}
	return out.String(), err
}

// findings looks until CloudTrail has a turn for it: each look is another client, and the
// account has two look-ups a second.
func (p *platform) findings() []policy.Finding {
	p.t.Helper()
	for {
		out, _ := p.policy("--json")
		var v struct{ policy.Report }
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			p.t.Fatalf("%v in %s", err, out)
		}
		if !slices.ContainsFunc(v.Findings, func(f policy.Finding) bool { return strings.Contains(f.Evidence, "ThrottlingException") }) {
			return v.Findings
		}
	}
}

const playRoles = "arn:aws:iam::123456789012:role/"

func TestAPlatformAsItShouldBeIsCleanAndExitsWithZero(t *testing.T) {
	p := newPlatform(t)
	out, err := p.policy()
	if err != nil || !strings.Contains(out, "8 secrets and 9 roles were looked at: 0 wrong, 0 not checked.") || strings.Count(out, "ok ") != len(policy.Checks()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Each way in which a platform goes wrong is found by its check, and by no other.
func TestWhatIsAgainstThePolicyIsFound(t *testing.T) {
	p := newPlatform(t)
	role := func(name, action, resource string) {
		if err := p.AWS.SeedRole(aws.Role{Name: name, Policies: map[string]json.RawMessage{"p": json.RawMessage(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}]}`)}}); err != nil {
			t.Fatal(err)
		}
	}
	const parameters = "arn:aws:ssm:eu-central-1:123456789012:parameter/aiconnectors/"
	cases := []struct {
		name    string
		spoil   func()
		check   policy.Check
		secret  string
		subject string
		says    string
		count   int
	}{
		{"a role reads everything", func() { role("data-science", "ssm:Get*", "*") }, policy.OtherReader, "jira/prod", playRoles + "data-science", "is not the execution role", 8},
		{"one service reads another's", func() {
			role("aiconnectors-prod-jira-execution", "ssm:GetParameters", parameters+"prod/*")
		}, policy.OtherReader, "github/prod", playRoles + "aiconnectors-prod-jira-execution", "allows it to read /aiconnectors/prod/github/client_secret", 3},
		{"the history alone is read", func() {
			role("historian", "ssm:GetParameterHistory", parameters+"dev/jira/client_secret")
		}, policy.OtherReader, "jira/dev", playRoles + "historian", "is not the execution role", 1},
		{"the pending secret alone is read", func() {
			role("early-bird", "ssm:GetParameter", parameters+"dev/jira/client_secret.pending")
		}, policy.OtherReader, "jira/dev", playRoles + "early-bird", "is not the execution role", 1},
		{"a service cannot read its own", func() {
			role("aiconnectors-dev-confluence-execution", "ssm:GetParameters", parameters+"dev/confluence/client_id")
		}, policy.OwnReader, "confluence/dev", playRoles + "aiconnectors-dev-confluence-execution", "does not allow it", 1},
		{"a plain parameter", func() {
			p.seedParameter(aws.Parameter{Name: "/aiconnectors/dev/github/client_secret", Value: "x", Type: "String"})
		}, policy.Encrypted, "github/dev", "/aiconnectors/dev/github/client_secret", "It is a String", 1},
		{"another key", func() {
			p.AWS.SeedKey("alias/team")
			p.seedParameter(aws.Parameter{Name: "/aiconnectors/dev/jira/client_secret", Value: "x", Type: "SecureString", KeyID: "alias/team"})
		}, policy.Encrypted, "jira/dev", "/aiconnectors/dev/jira/client_secret", "alias/team", 1},
		{"an old revision with a secret", func() { p.plainRevision("aiconnectors-prod-github") }, policy.NoPlainText, "github/prod", "aiconnectors-prod-github:2", "environment variable OLD", 1},
		{"somebody reads", func() {
			if err := p.AWS.SeedEvent(aws.Event{
				Name: "GetParameter", Source: "ssm.amazonaws.com", By: aws.Identity{User: "mallory"}, Address: "203.0.113.66", Request: map[string]any{"name": "/aiconnectors/prod/sharepoint/client_secret"},
			}); err != nil {
				t.Fatal(err)
			}
		}, policy.ActualReader, "sharepoint/prod", "arn:aws:iam::123456789012:user/mallory", "CloudTrail has a GetParameter", 1},
	}
	before := p.findings()
	if len(before) > 0 {
		t.Fatalf("%+v", before)
	}
	for _, c := range cases {
		c.spoil()
		now := slices.DeleteFunc(p.findings(), func(f policy.Finding) bool {
			return slices.ContainsFunc(before, func(o policy.Finding) bool { return o.ID == f.ID })
		})
		if len(now) != c.count {
			t.Errorf("%s: %d findings, want %d: %+v", c.name, len(now), c.count, now)
		}
		if !slices.ContainsFunc(now, func(f policy.Finding) bool {
			return f.Check == c.check && string(f.Secret) == c.secret && strings.HasPrefix(f.Subject, c.subject) && strings.Contains(f.Evidence, c.says) && f.Owner == "Platform team" && f.Remedy != "" && !f.Unchecked
		}) {
			t.Errorf("%s: %+v", c.name, now)
		}
		before = append(before, now...)
	}
	if _, err := p.policy(); !errors.Is(err, errAgainstPolicy) {
		t.Errorf("the exit code says %v", err)
	}
	if again := p.findings(); len(again) != len(before) {
		t.Errorf("the second look has %d findings, the first %d", len(again), len(before))
	}
}

// What cannot be looked at is never taken for good.
func TestWhatCannotBeCheckedIsSaid(t *testing.T) {
	for operation, c := range map[string]struct {
		check policy.Check
		count int
	}{
		"iam.ListRoles":               {policy.OtherReader, 2},
		"iam.SimulatePrincipalPolicy": {policy.OtherReader, 1},
		"ssm.DescribeParameters":      {policy.Encrypted, 1},
		"ecs.DescribeServices":        {policy.NoPlainText, 8},
		"cloudtrail.LookupEvents":     {policy.ActualReader, 4},
	} {
		t.Run(operation, func(t *testing.T) {
			p := newPlatform(t)
			p.Conditions.Add(conditions.Fault{Operation: operation, Kind: conditions.Refuse, Code: "AccessDeniedException"})
			found := p.findings()
			if len(found) != c.count || !slices.ContainsFunc(found, func(f policy.Finding) bool { return f.Check == c.check }) {
				t.Errorf("%d findings: %+v", len(found), found)
			}
			for _, f := range found {
				if !f.Unchecked || !strings.HasPrefix(f.Evidence, "Not checked: ") {
					t.Errorf("%+v", f)
				}
			}
			if out, err := p.policy(); !errors.Is(err, errAgainstPolicy) || !strings.Contains(out, "not checked") || strings.Contains(out, "WRONG") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestTheSARIFHasARuleForEachResult(t *testing.T) {
	p := newPlatform(t)
	p.seedParameter(aws.Parameter{Name: "/aiconnectors/dev/github/client_secret", Value: "x", Type: "String"})
	out, _ := p.policy("--sarif")
	var log struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID, Kind, Level string
				Message             struct{ Text string }
				PartialFingerprints map[string]string
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &log); err != nil || log.Version != "2.1.0" || len(log.Runs) != 1 || len(log.Runs[0].Results) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	got := log.Runs[0].Results[0]
	if got.RuleID != string(policy.Encrypted) || got.Kind != "fail" || got.Level != "error" || got.PartialFingerprints["twokey/v1"] == "" || !strings.Contains(got.Message.Text, "String") {
		t.Errorf("%+v", got)
	}
	if !slices.ContainsFunc(log.Runs[0].Tool.Driver.Rules, func(r struct{ ID string }) bool { return r.ID == got.RuleID }) {
		t.Errorf("no rule %s", got.RuleID)
	}
}

// seedParameter makes a parameter anew: SSM changes no parameter's type.
func (p *platform) seedParameter(v aws.Parameter) {
	p.t.Helper()
	client := ssm.New(ssm.Options{Region: "eu-central-1", BaseEndpoint: sdk.String(p.URL() + "/aws"), Credentials: credentials.NewStaticCredentialsProvider("TWOKEYSANDBOX0001", "x", "")})
	if _, err := client.DeleteParameter(context.Background(), &ssm.DeleteParameterInput{Name: &v.Name}); err != nil {
		p.t.Fatal(err)
	}
	if err := p.AWS.SeedParameter(v); err != nil {
		p.t.Fatal(err)
	}
}

// plainRevision registers another revision that holds what looks like a secret.
func (p *platform) plainRevision(family string) {
	p.t.Helper()
	client := ecs.New(ecs.Options{Region: "eu-central-1", BaseEndpoint: sdk.String(p.URL() + "/aws"), Credentials: credentials.NewStaticCredentialsProvider("TWOKEYSANDBOX0001", "x", "")})
	_, err := client.RegisterTaskDefinition(context.Background(), &ecs.RegisterTaskDefinitionInput{Family: &family, ContainerDefinitions: []types.ContainerDefinition{{
		Name: sdk.String("mcp"), Image: sdk.String("example/mcp:1"), Environment: []types.KeyValuePair{{Name: sdk.String("OLD"), Value: sdk.String("abc8Q~" + strings.Repeat("x", 34))}},
	}}})
	if err != nil {
		p.t.Fatal(err)
	}
}
