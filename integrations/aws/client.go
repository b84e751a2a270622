// Package aws is twokey's adapter for AWS: parameters of Systems Manager,
// certificates of ACM, services of ECS, and the token by which AWS vouches for
// the bot elsewhere. What it returns and logs never holds a parameter's value.
package aws

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"golang.org/x/time/rate"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/runbook"
)

// Config says where AWS is. Credentials come from the SDK's default chain.
type Config struct {
	Region string // empty: what the SDK's environment and files say
	// Endpoint overrides where all services are called, for private endpoints
	// and stand-ins; empty: AWS, or AWS_ENDPOINT_URL.
	Endpoint string
	// Timeout bounds one attempt of a call; 0 is 20 seconds.
	Timeout time.Duration
}

// Client talks to one account in one region. It is safe for concurrent use.
type Client struct {
	ssm   *ssm.Client
	ecs   *ecs.Client
	sts   *sts.Client
	acm   *acm.Client
	trail *cloudtrail.Client
	iam   simulator
	look  *rate.Limiter // of CloudTrail, whose look-ups the account shares
	most  int           // events that one look-up reads

	mu          sync.Mutex
	definitions map[string]definition // by ARN: a revision never changes
}

var (
	_ runbook.Parameters = (*Client)(nil)
	_ runbook.Labels     = (*Client)(nil)
	_ runbook.Services   = (*Client)(nil)
	_ exposure.Trail     = (*Client)(nil)
)

// New reads the SDK's configuration; it calls nobody.
func New(ctx context.Context, c Config) (*Client, error) {
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(c.Timeout)),
		// The SDK can log requests and answers, which hold values: it gets no
		// mode to do so and no logger to write to.
		config.WithClientLogMode(0), config.WithLogger(logging.Nop{}),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Endpoint != "" {
		options = append(options, config.WithBaseEndpoint(c.Endpoint))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return nil, errors.New("no AWS region is configured; set it in twokey's configuration or in AWS_REGION")
	}
	return &Client{ssm: ssm.NewFromConfig(loaded), ecs: ecs.NewFromConfig(loaded), sts: sts.NewFromConfig(loaded),
		acm: acm.NewFromConfig(loaded), trail: cloudtrail.NewFromConfig(loaded), iam: simulator{loaded}, look: rate.NewLimiter(rate.Every(betweenLookups), 1), most: maxLookupEvents,
		definitions: map[string]definition{}}, nil
}

// onlyThrottles is the retryer of calls that must not happen twice: it repeats
// what AWS refused for its rate, which had no effect, and nothing else. A lost
// answer or a 500 may hide an effect; the caller has to look.
func onlyThrottles() sdk.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.Retryables = []retry.IsErrorRetryable{retry.RetryableErrorCode{Codes: map[string]struct{}{
			"Throttling": {}, "ThrottlingException": {}, "TooManyRequestsException": {}, "RequestLimitExceeded": {},
		}}}
	})
}

// WebIdentityToken asks AWS for a signed token that tells audience who the bot
// is: a JWT that is good for five minutes. It is a credential; never log it.
func (c *Client) WebIdentityToken(ctx context.Context, audience string) (string, error) {
	out, err := c.sts.GetWebIdentityToken(ctx, &sts.GetWebIdentityTokenInput{
		Audience: []string{audience}, SigningAlgorithm: sdk.String("RS256"), DurationSeconds: sdk.Int32(300)})
	if err != nil {
		return "", refused("sts:GetWebIdentityToken for "+audience, err)
	}
	return sdk.ToString(out.WebIdentityToken), nil
}
