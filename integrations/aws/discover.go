package aws

import (
	"context"
	"errors"
	"maps"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/twokey/twokey/discovery"
	"github.com/twokey/twokey/operation"
)

// What is in this file is called by "twokey init" alone, with the rights of the
// person who runs it. The bot's role has none of it, and deploy_test.go leaves this
// file out when it compares the two.

var _ discovery.AWS = (*Client)(nil)

// ParametersUnder implements discovery.AWS. It asks for descriptions, not for values.
func (c *Client) ParametersUnder(ctx context.Context, path string) ([]discovery.Parameter, error) {
	pages := ssm.NewDescribeParametersPaginator(c.ssm, &ssm.DescribeParametersInput{
		ParameterFilters: []types.ParameterStringFilter{{Key: sdk.String("Path"), Option: sdk.String("Recursive"), Values: []string{path}}}, MaxResults: sdk.Int32(50),
	})
	var out []discovery.Parameter
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, refused("ssm:DescribeParameters under "+path, err)
		}
		for _, p := range page.Parameters {
			out = append(out, discovery.Parameter{Name: sdk.ToString(p.Name), Type: string(p.Type)})
		}
	}
	return out, nil
}

// ServicesWithSecrets implements discovery.AWS.
func (c *Client) ServicesWithSecrets(ctx context.Context) ([]discovery.Service, error) {
	var out []discovery.Service
	clusters := ecs.NewListClustersPaginator(c.ecs, &ecs.ListClustersInput{})
	for clusters.HasMorePages() {
		page, err := clusters.NextPage(ctx)
		if err != nil {
			return nil, refused("ecs:ListClusters", err)
		}
		for _, cluster := range page.ClusterArns {
			some, err := c.servicesOf(ctx, cluster)
			if err != nil {
				return nil, err
			}
			out = append(out, some...)
		}
	}
	return out, nil
}

// describedAtOnce is how many services DescribeServices takes.
const describedAtOnce = 10

func (c *Client) servicesOf(ctx context.Context, cluster string) ([]discovery.Service, error) {
	var out []discovery.Service
	pages := ecs.NewListServicesPaginator(c.ecs, &ecs.ListServicesInput{Cluster: &cluster, MaxResults: sdk.Int32(describedAtOnce)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, refused("ecs:ListServices "+lastPart(cluster), err)
		}
		if len(page.ServiceArns) == 0 {
			continue
		}
		described, err := c.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: page.ServiceArns})
		if err != nil {
			return nil, refused("ecs:DescribeServices "+lastPart(cluster), err)
		}
		for _, v := range described.Services {
			if sdk.ToString(v.TaskDefinition) == "" { // another deployment controller's
				continue
			}
			d, err := c.definition(ctx, *v.TaskDefinition)
			if err != nil {
				return nil, err
			}
			out = append(out, discovery.Service{Cluster: lastPart(cluster), Name: sdk.ToString(v.ServiceName), Secrets: maps.Clone(d.secrets)})
		}
	}
	return out, nil
}

// readAtOnce is how many parameters GetParameters takes.
const readAtOnce = 10

// ClientIDs implements discovery.AWS. It reads parameters of client ids alone: they
// are no secrets, and say which application a pair belongs to.
func (c *Client) ClientIDs(ctx context.Context, names []string) (map[string]string, error) {
	out := map[string]string{}
	for some := range slices.Chunk(names, readAtOnce) {
		found, err := c.ParametersNamed(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			id := p.Value.Reveal()
			if len(id) != len("00000000-0000-0000-0000-000000000000") { // somebody may have put a secret there
				return nil, operation.Permanent(errors.New(p.Name + " does not hold a client id"))
			}
			out[p.Name] = id
		}
	}
	return out, nil
}
