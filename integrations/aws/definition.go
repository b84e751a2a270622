package aws

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// definition is what matters of one revision of a task definition.
type definition struct {
	secrets   map[string]string // variable → parameter's name, or another store's ARN
	plainText []string          // places, never the texts
	execution string            // ARN of the role by which ECS reads the secrets
	task      string            // ARN of the containers' own role
}

// definition reads a revision, once: revisions do not change.
func (c *Client) definition(ctx context.Context, arn string) (definition, error) {
	c.mu.Lock()
	known, ok := c.definitions[arn]
	c.mu.Unlock()
	if ok {
		return known, nil
	}
	out, err := c.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &arn})
	if err != nil {
		return definition{}, refused("ecs:DescribeTaskDefinition "+lastPart(arn), err)
	}
	made := definition{secrets: map[string]string{}}
	if out.TaskDefinition != nil {
		made.execution, made.task = sdk.ToString(out.TaskDefinition.ExecutionRoleArn), sdk.ToString(out.TaskDefinition.TaskRoleArn)
		for _, container := range out.TaskDefinition.ContainerDefinitions {
			for _, s := range container.Secrets {
				made.secrets[sdk.ToString(s.Name)] = parameterName(sdk.ToString(s.ValueFrom))
			}
			for _, place := range plainText(container) {
				made.plainText = append(made.plainText, fmt.Sprintf("%s, container %s: %s", lastPart(arn), sdk.ToString(container.Name), place))
			}
		}
	}
	c.mu.Lock()
	c.definitions[arn] = made
	c.mu.Unlock()
	return made, nil
}

// olderPlainText looks through the family's other ACTIVE revisions: whoever may
// describe them reads what stands in them.
func (c *Client) olderPlainText(ctx context.Context, current string) ([]string, error) {
	family, _, _ := strings.Cut(lastPart(current), ":")
	var places []string
	pages := ecs.NewListTaskDefinitionsPaginator(c.ecs, &ecs.ListTaskDefinitionsInput{
		FamilyPrefix: &family, Status: types.TaskDefinitionStatusActive, Sort: types.SortOrderDesc})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, refused("ecs:ListTaskDefinitions "+family, err)
		}
		for _, arn := range page.TaskDefinitionArns {
			if arn == current {
				continue
			}
			d, err := c.definition(ctx, arn)
			if err != nil {
				return nil, err
			}
			places = append(places, d.plainText...)
		}
	}
	return places, nil
}

// parameterName turns an SSM parameter's ARN into its name, and leaves names
// and other stores' ARNs as they are. An ARN lacks the slash that a path begins
// with.
func parameterName(valueFrom string) string {
	parts := strings.SplitN(valueFrom, ":", 6) // arn:aws:ssm:region:account:parameter/…
	if len(parts) < 6 || parts[0] != "arn" || parts[2] != "ssm" {
		return valueFrom
	}
	name, found := strings.CutPrefix(parts[5], "parameter/")
	switch {
	case !found:
		return valueFrom
	case strings.Contains(name, "/"):
		return "/" + name
	default:
		return name
	}
}

// entraSecret is the shape of Entra's client secrets: three characters, a
// digit, "Q~" and 31 to 34 more.
const entraSecret = `[A-Za-z0-9_~.\-]{3}[0-9]Q~[A-Za-z0-9_~.\-]{31,34}`

// plainText lists the places of a container's definition where something looks
// like an Entra secret.
func plainText(c types.ContainerDefinition) []string {
	shape := regexp.MustCompile(entraSecret)
	var places []string
	look := func(place, text string) {
		if shape.MatchString(text) {
			places = append(places, shape.ReplaceAllString(place, "(looks like a secret itself)"))
		}
	}
	for _, kv := range c.Environment {
		look("environment variable "+sdk.ToString(kv.Name), sdk.ToString(kv.Name)+"="+sdk.ToString(kv.Value))
	}
	look("command", strings.Join(c.Command, " "))
	look("entry point", strings.Join(c.EntryPoint, " "))
	if c.HealthCheck != nil {
		look("health check", strings.Join(c.HealthCheck.Command, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(c.DockerLabels)) {
		look("label "+name, name+"="+c.DockerLabels[name])
	}
	if c.LogConfiguration != nil {
		for _, name := range slices.Sorted(maps.Keys(c.LogConfiguration.Options)) {
			look("log option "+name, name+"="+c.LogConfiguration.Options[name])
		}
	}
	return places
}
