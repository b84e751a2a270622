package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Service implements runbook.Services.
func (c *Client) Service(ctx context.Context, cluster, name string) (runbook.Service, error) {
	v, err := c.describe(ctx, cluster, name)
	if err != nil {
		return runbook.Service{}, err
	}
	out := runbook.Service{
		Cluster: cluster, Name: name, Desired: int(v.DesiredCount), Running: int(v.RunningCount), Pending: int(v.PendingCount),
		MinimumPercent: 100, MaximumPercent: 200, // ECS's defaults
		TaskDefinition: sdk.ToString(v.TaskDefinition),
	}
	if dc := v.DeploymentConfiguration; dc != nil {
		out.MinimumPercent = orElse(dc.MinimumHealthyPercent, out.MinimumPercent)
		out.MaximumPercent = orElse(dc.MaximumPercent, out.MaximumPercent)
	}
	for _, d := range v.Deployments {
		out.Deployments = append(out.Deployments, runbook.Deployment{ID: sdk.ToString(d.Id), Status: sdk.ToString(d.Status), Rollout: string(d.RolloutState),
			Reason: sdk.ToString(d.RolloutStateReason), Created: sdk.ToTime(d.CreatedAt), Failed: int(d.FailedTasks)})
	}
	current, err := c.definition(ctx, out.TaskDefinition)
	if err != nil {
		return runbook.Service{}, err
	}
	out.Secrets = maps.Clone(current.secrets)
	out.ExecutionRole, out.TaskRole = current.execution, current.task
	older, err := c.olderPlainText(ctx, out.TaskDefinition)
	var e *Error
	if operation.IsPermanent(err) && errors.As(err, &e) { // not granted: said, and the same at every look
		out.NotChecked = append(out.NotChecked, "older revisions of the task definition: "+e.Code)
	} else if err != nil {
		return runbook.Service{}, err
	}
	out.PlainText = slices.Concat(current.plainText, older)
	return out, nil
}

func orElse(v *int32, fallback int) int {
	if v == nil {
		return fallback
	}
	return int(*v)
}

func (c *Client) describe(ctx context.Context, cluster, name string) (types.Service, error) {
	attempted := "ecs:DescribeServices " + cluster + "/" + name
	out, err := c.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: []string{name}})
	if err != nil {
		return types.Service{}, refused(attempted, err)
	}
	if len(out.Services) == 0 {
		return types.Service{}, operation.Permanent(fmt.Errorf("%s: there is no such service", attempted))
	}
	if status := sdk.ToString(out.Services[0].Status); status != "ACTIVE" {
		return types.Service{}, operation.Permanent(fmt.Errorf("%s: the service is %s", attempted, status))
	}
	return out.Services[0], nil
}

// Redeploy implements runbook.Services. After an error that is not permanent
// the deployment may exist: the caller has to look for one.
func (c *Client) Redeploy(ctx context.Context, cluster, name string) (string, error) {
	attempted := "ecs:UpdateService " + cluster + "/" + name
	out, err := c.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &cluster, Service: &name, ForceNewDeployment: true},
		func(o *ecs.Options) { o.Retryer = onlyThrottles() })
	if err != nil {
		return "", refused(attempted, err)
	}
	if out.Service != nil {
		for _, d := range out.Service.Deployments {
			if sdk.ToString(d.Status) == "PRIMARY" {
				return sdk.ToString(d.Id), nil
			}
		}
	}
	return "", fmt.Errorf("%s: the answer names no primary deployment", attempted)
}

// Tasks implements runbook.Services.
func (c *Client) Tasks(ctx context.Context, cluster, name string) ([]runbook.Task, error) {
	var tasks []runbook.Task
	pages := ecs.NewListTasksPaginator(c.ecs, &ecs.ListTasksInput{Cluster: &cluster, ServiceName: &name, DesiredStatus: types.DesiredStatusRunning})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, refused("ecs:ListTasks "+cluster+"/"+name, err)
		}
		if len(page.TaskArns) == 0 {
			continue
		}
		// A page has at most as many tasks (100) as one description may ask for.
		out, err := c.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: page.TaskArns})
		if err != nil {
			return nil, refused("ecs:DescribeTasks "+cluster+"/"+name, err)
		}
		for _, t := range out.Tasks { // those that stopped in between are among the failures
			if sdk.ToString(t.DesiredStatus) == string(types.DesiredStatusRunning) {
				tasks = append(tasks, runbook.Task{ID: lastPart(sdk.ToString(t.TaskArn)), StartedBy: sdk.ToString(t.StartedBy), Created: sdk.ToTime(t.CreatedAt),
					Status: sdk.ToString(t.LastStatus), Health: string(t.HealthStatus)})
			}
		}
	}
	return tasks, nil
}

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
