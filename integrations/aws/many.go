package aws

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

var (
	_ inventory.Parameters   = (*Client)(nil)
	_ inventory.Certificates = (*Client)(nil)
)

// ParametersNamed implements inventory.Parameters.
func (c *Client) ParametersNamed(ctx context.Context, names []string) ([]runbook.Parameter, error) {
	found, err := c.ssm.GetParameters(ctx, &ssm.GetParametersInput{Names: names, WithDecryption: sdk.Bool(true)})
	if err != nil {
		return nil, notReadable(refused("ssm:GetParameters", err))
	}
	var out []runbook.Parameter
	for _, p := range found.Parameters {
		out = append(out, runbook.Parameter{Name: sdk.ToString(p.Name), Version: p.Version, Type: string(p.Type),
			Modified: sdk.ToTime(p.LastModifiedDate), Value: operation.NewSecret(sdk.ToString(p.Value))})
	}
	return out, nil
}

// KMSKeys implements inventory.Parameters.
func (c *Client) KMSKeys(ctx context.Context, names []string) (map[string]string, error) {
	pages := ssm.NewDescribeParametersPaginator(c.ssm, &ssm.DescribeParametersInput{
		ParameterFilters: []types.ParameterStringFilter{{Key: sdk.String("Name"), Option: sdk.String("Equals"), Values: names}}, MaxResults: sdk.Int32(50),
	})
	out := map[string]string{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, notReadable(refused("ssm:DescribeParameters", err))
		}
		for _, p := range page.Parameters {
			if p.KeyId != nil {
				out[sdk.ToString(p.Name)] = *p.KeyId
			}
		}
	}
	return out, nil
}
