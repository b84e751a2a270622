package aws

import (
	"context"
	"slices"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Caller is who AWS says the bot is.
type Caller struct {
	Principal string    // ARN of the role without its path, or of the user
	At        time.Time // AWS's clock; zero when it did not say
}

// Caller asks AWS who the bot is.
func (c *Client) Caller(ctx context.Context) (Caller, error) {
	out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Caller{}, refused("sts:GetCallerIdentity", err)
	}
	principal, _, _ := roleOf(sdk.ToString(out.Arn))
	at, _ := awsmiddleware.GetServerTime(out.ResultMetadata)
	return Caller{principal, at}, nil
}

// Denied simulates what principal's policies say of each action on each resource,
// and returns the actions that they do not allow, by resource. Nothing is done.
// What resources' own policies and conditions add is not in it.
func (c *Client) Denied(ctx context.Context, principal string, actions, resources []string) (map[string][]string, error) {
	denied := map[string][]string{}
	for marker := ""; ; {
		page, err := c.iam.simulate(ctx, principal, actions, resources, marker)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Results {
			if r.Decision != "allowed" {
				denied[r.Resource] = append(denied[r.Resource], r.Action)
			}
		}
		if marker = page.Marker; !page.Truncated || marker == "" {
			break
		}
	}
	for _, list := range denied {
		slices.Sort(list)
	}
	return denied, nil
}
