package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/twokey/twokey/operation"
)

// simulator makes two calls of IAM's query protocol, SimulatePrincipalPolicy and
// ListRoles of version 2010-05-08. IAM's client would add 0.3 MB to the program for it.
type simulator struct{ config sdk.Config }

// simulation is a page of results.
type simulation struct {
	Results []struct {
		Action   string `xml:"EvalActionName"`
		Resource string `xml:"EvalResourceName"`
		Decision string `xml:"EvalDecision"` // "allowed", "implicitDeny", "explicitDeny"
	} `xml:"SimulatePrincipalPolicyResult>EvaluationResults>member"`
	Truncated bool   `xml:"SimulatePrincipalPolicyResult>IsTruncated"`
	Marker    string `xml:"SimulatePrincipalPolicyResult>Marker"`
}

// maxSimulation bounds an answer, in bytes.
const maxSimulation = 8 << 20

func (s simulator) simulate(ctx context.Context, principal string, actions, resources []string, marker string) (simulation, error) {
	attempted := "iam:SimulatePrincipalPolicy " + principal
	form := url.Values{"Action": {"SimulatePrincipalPolicy"}, "Version": {"2010-05-08"}, "PolicySourceArn": {principal}, "MaxItems": {"1000"}}
	for i, a := range actions {
		form.Set("ActionNames.member."+strconv.Itoa(i+1), a)
	}
	for i, r := range resources {
		form.Set("ResourceArns.member."+strconv.Itoa(i+1), r)
	}
	if marker != "" {
		form.Set("Marker", marker)
	}
	var out simulation
	if err := s.call(ctx, attempted, form, &out); err != nil {
		return simulation{}, err
	}
	if len(out.Results) == 0 { // it has one for each action and resource
		return simulation{}, fmt.Errorf("%s: what came back is not an answer of AWS", attempted)
	}
	return out, nil
}

// rolePage is a page of the account's roles.
type rolePage struct {
	Roles []struct {
		ARN  string `xml:"Arn"`
		Path string `xml:"Path"`
	} `xml:"ListRolesResult>Roles>member"`
	Truncated bool   `xml:"ListRolesResult>IsTruncated"`
	Marker    string `xml:"ListRolesResult>Marker"`
}

func (s simulator) roles(ctx context.Context, marker string) (rolePage, error) {
	form := url.Values{"Action": {"ListRoles"}, "Version": {"2010-05-08"}, "MaxItems": {"1000"}}
	if marker != "" {
		form.Set("Marker", marker)
	}
	var out rolePage
	err := s.call(ctx, "iam:ListRoles", form, &out)
	return out, err
}

// call makes one call and reads its answer into into.
func (s simulator) call(ctx context.Context, attempted string, form url.Values, into any) error {
	request, err := s.signed(ctx, form.Encode())
	if err != nil {
		return fmt.Errorf("%s: %w", attempted, err)
	}
	response, err := s.config.HTTPClient.Do(request)
	if err != nil {
		return unanswered(attempted, err)
	}
	defer func() { _ = response.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSimulation))
	if err != nil {
		return unanswered(attempted, err)
	}
	if response.StatusCode != http.StatusOK {
		return refusal(attempted, response.StatusCode, body)
	}
	if err := xml.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: what came back is not an answer of AWS", attempted)
	}
	return nil
}

// signed is the request with AWS's signature.
func (s simulator) signed(ctx context.Context, body string) (*http.Request, error) {
	address, region := iamEndpoint(s.config.Region)
	if s.config.BaseEndpoint != nil {
		address = strings.TrimRight(*s.config.BaseEndpoint, "/") + "/"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("address IAM: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	keys, err := s.config.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("find AWS credentials: %w", err)
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, keys, request, hex.EncodeToString(sum[:]), "iam", region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	return request, nil
}

// iamEndpoint is IAM's one address in each of AWS's partitions, and the region that
// signatures name there (docs.aws.amazon.com/general/latest/gr/iam-service.html).
func iamEndpoint(region string) (address, signing string) {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "https://iam.cn-north-1.amazonaws.com.cn/", "cn-north-1"
	case strings.HasPrefix(region, "us-gov-"):
		return "https://iam.us-gov.amazonaws.com/", "us-gov-west-1"
	default:
		return "https://iam.amazonaws.com/", "us-east-1"
	}
}

// refusal reads AWS's error.
func refusal(attempted string, status int, body []byte) error {
	var told struct {
		Code      string `xml:"Error>Code"`
		Message   string `xml:"Error>Message"`
		RequestID string `xml:"RequestId"`
	}
	if xml.Unmarshal(body, &told) != nil || told.Code == "" {
		return fmt.Errorf("%s: status %d, and no answer of AWS", attempted, status)
	}
	e := &Error{Attempted: attempted, Code: told.Code, Message: told.Message, Status: status, RequestID: told.RequestID}
	if e.definite() {
		return operation.Permanent(e)
	}
	return e
}
