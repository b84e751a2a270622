package aws

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/twokey/twokey/policy"
)

var _ policy.Platform = (*Client)(nil)

// serviceRoles is where AWS keeps the roles of its own services, whose permissions
// nobody else can change.
const serviceRoles = "/aws-service-role/"

// Roles implements policy.Platform.
func (c *Client) Roles(ctx context.Context) ([]string, error) {
	var out []string
	for marker := ""; ; {
		page, err := c.iam.roles(ctx, marker)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Roles {
			if !strings.HasPrefix(r.Path, serviceRoles) {
				out = append(out, r.ARN)
			}
		}
		if marker = page.Marker; !page.Truncated || marker == "" {
			return out, nil
		}
	}
}

// MayRead implements policy.Platform.
func (c *Client) MayRead(ctx context.Context, role string, parameters []string) (map[string]bool, error) {
	r, err := arn.Parse(role)
	if err != nil {
		return nil, fmt.Errorf("read the role %q: %w", role, err)
	}
	region := c.iam.config.Region
	names := map[string]string{}
	var resources []string
	for _, p := range parameters {
		resource := "arn:" + r.Partition + ":ssm:" + region + ":" + r.AccountID + ":parameter/" + strings.TrimPrefix(p, "/")
		names[resource] = p
		resources = append(resources, resource)
	}
	out := map[string]bool{}
	for marker := ""; ; {
		page, err := c.iam.simulate(ctx, role, policy.Reads(), resources, marker)
		if err != nil {
			return nil, err
		}
		for _, result := range page.Results {
			name, asked := names[result.Resource]
			if !asked {
				return nil, fmt.Errorf("iam:SimulatePrincipalPolicy %s: the answer is about %s, which was not asked", role, result.Resource)
			}
			out[name] = out[name] || result.Decision == "allowed"
		}
		if marker = page.Marker; !page.Truncated || marker == "" {
			return out, nil
		}
	}
}

// Kinds implements policy.Platform. It reads no value.
func (c *Client) Kinds(ctx context.Context, names []string) (map[string]policy.Kind, error) {
	pages := ssm.NewDescribeParametersPaginator(c.ssm, &ssm.DescribeParametersInput{
		ParameterFilters: []types.ParameterStringFilter{{Key: sdk.String("Name"), Option: sdk.String("Equals"), Values: names}}, MaxResults: sdk.Int32(50),
	})
	out := map[string]policy.Kind{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, refused("ssm:DescribeParameters", err)
		}
		for _, p := range page.Parameters {
			out[sdk.ToString(p.Name)] = policy.Kind{Type: string(p.Type), KMSKey: sdk.ToString(p.KeyId)}
		}
	}
	return out, nil
}
