package aws

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The answers carry the members that ECS fills for a rolling-update service.
type (
	failure struct {
		ARN    string `json:"arn"`
		Reason string `json:"reason"`
	}
	circuitBreaker struct {
		Enable   bool `json:"enable"`
		Rollback bool `json:"rollback"`
	}
	deploymentConfiguration struct {
		Breaker *circuitBreaker `json:"deploymentCircuitBreaker,omitempty"`
		Maximum *int            `json:"maximumPercent,omitempty"`
		Minimum *int            `json:"minimumHealthyPercent,omitempty"`
	}
	deploymentOutput struct {
		ID             string   `json:"id"`
		Status         string   `json:"status"`
		TaskDefinition string   `json:"taskDefinition"`
		Desired        int      `json:"desiredCount"`
		Pending        int      `json:"pendingCount"`
		Running        int      `json:"runningCount"`
		Failed         int      `json:"failedTasks"`
		Created        *seconds `json:"createdAt"`
		Updated        *seconds `json:"updatedAt"`
		LaunchType     string   `json:"launchType"`
		Rollout        string   `json:"rolloutState"`
		Reason         string   `json:"rolloutStateReason"`
	}
	eventOutput struct {
		ID      string   `json:"id"`
		Created *seconds `json:"createdAt"`
		Message string   `json:"message"`
	}
	controller struct {
		Type string `json:"type"`
	}
	serviceOutput struct {
		ARN            string                  `json:"serviceArn"`
		Name           string                  `json:"serviceName"`
		ClusterARN     string                  `json:"clusterArn"`
		Status         string                  `json:"status"`
		Desired        int                     `json:"desiredCount"`
		Running        int                     `json:"runningCount"`
		Pending        int                     `json:"pendingCount"`
		LaunchType     string                  `json:"launchType"`
		TaskDefinition string                  `json:"taskDefinition"`
		Configuration  deploymentConfiguration `json:"deploymentConfiguration"`
		Controller     controller              `json:"deploymentController"`
		Scheduling     string                  `json:"schedulingStrategy"`
		Created        *seconds                `json:"createdAt"`
		Deployments    []deploymentOutput      `json:"deployments"`
		Events         []eventOutput           `json:"events"`
	}
	describeServicesInput struct {
		Cluster  string   `json:"cluster"`
		Services []string `json:"services"`
		Include  []string `json:"include"`
	}
	describeServicesOutput struct {
		Services []serviceOutput `json:"services"`
		Failures []failure       `json:"failures"`
	}
	listClustersInput struct {
		MaxResults *int   `json:"maxResults"`
		NextToken  string `json:"nextToken"`
	}
	listClustersOutput struct {
		ARNs      []string `json:"clusterArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}
	listServicesInput struct {
		Cluster    string `json:"cluster"`
		LaunchType string `json:"launchType"`
		Scheduling string `json:"schedulingStrategy"`
		MaxResults *int   `json:"maxResults"`
		NextToken  string `json:"nextToken"`
	}
	listServicesOutput struct {
		ARNs      []string `json:"serviceArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}
	updateServiceInput struct {
		Cluster        string                   `json:"cluster"`
		Service        string                   `json:"service"`
		Desired        *int                     `json:"desiredCount"`
		TaskDefinition string                   `json:"taskDefinition"`
		Configuration  *deploymentConfiguration `json:"deploymentConfiguration"`
		Force          bool                     `json:"forceNewDeployment"`
	}
	updateServiceOutput struct {
		Service serviceOutput `json:"service"`
	}
)

func parameterError(message string) error { return refuse("InvalidParameterException", message) }

// last is the name at the end of an ARN, or the name itself.
func last(reference string) string { return reference[strings.LastIndexByte(reference, '/')+1:] }

func (s *Server) cluster(reference string) (*cluster, error) {
	c, ok := s.clusters[last(or(reference, "default"))]
	if !ok {
		return nil, refuse("ClusterNotFoundException", "Cluster not found.")
	}
	return c, nil
}

func (s *Server) clusterARN(v *service) string { return s.ecsARN("cluster", v.cluster) }

func (s *Server) serviceARN(v *service) string { return s.ecsARN("service", v.cluster+"/"+v.name) }

// counts are a service's running and pending tasks, of one deployment or of all.
func (v *service) counts(of *deployment) (running, pending int) {
	for _, t := range v.tasks {
		switch {
		case of != nil && t.deployment != of:
		case t.last == "RUNNING":
			running++
		case t.last == "PENDING":
			pending++
		}
	}
	return running, pending
}

func (s *Server) showService(v *service) serviceOutput {
	minimum, maximum := v.minimum, v.maximum
	out := serviceOutput{
		ARN: s.serviceARN(v), Name: v.name, ClusterARN: s.clusterARN(v), Status: "ACTIVE", Desired: v.desired, LaunchType: "FARGATE",
		TaskDefinition: v.taskDefinition, Controller: controller{"ECS"}, Scheduling: "REPLICA", Created: at(v.created),
		Configuration: deploymentConfiguration{&circuitBreaker{v.breaker, v.rollback}, &maximum, &minimum},
		Deployments:   []deploymentOutput{}, Events: []eventOutput{},
	}
	out.Running, out.Pending = v.counts(nil)
	for _, d := range v.deployments {
		shown := deploymentOutput{ID: d.id(), Status: d.status, TaskDefinition: d.taskDefinition, Failed: d.failed,
			Created: at(d.created), Updated: at(d.updated), LaunchType: "FARGATE", Rollout: d.rollout, Reason: d.reason}
		if d == v.deployments[0] {
			shown.Desired = v.desired
		}
		shown.Running, shown.Pending = v.counts(d)
		out.Deployments = append(out.Deployments, shown)
	}
	for _, e := range v.events {
		out.Events = append(out.Events, eventOutput{e.id, at(e.at), e.message})
	}
	return out
}

func (s *Server) describeServices(_ call, in *describeServicesInput) (*describeServicesOutput, error) {
	c, err := s.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Services) == 0 {
		return nil, parameterError("Services cannot be empty.")
	}
	if len(in.Services) > 10 {
		return nil, parameterError("Services cannot have more than 10 elements.")
	}
	out := &describeServicesOutput{Services: []serviceOutput{}, Failures: []failure{}}
	for _, reference := range in.Services {
		v, ok := c.services[last(reference)]
		if !ok {
			out.Failures = append(out.Failures, failure{s.ecsARN("service", c.name+"/"+last(reference)), "MISSING"})
			continue
		}
		out.Services = append(out.Services, s.showService(v))
	}
	return out, nil
}

func (s *Server) listClusters(_ call, in *listClustersInput) (*listClustersOutput, error) {
	limit, ok := within(in.MaxResults, 100, 100)
	if !ok {
		return nil, parameterError("maxResults must be between 1 and 100.")
	}
	var arns []string
	for _, name := range slices.Sorted(maps.Keys(s.clusters)) {
		arns = append(arns, s.ecsARN("cluster", name))
	}
	some, next, ok := page(arns, "clusters", in.NextToken, limit)
	if !ok {
		return nil, parameterError("Invalid token.")
	}
	return &listClustersOutput{append([]string{}, some...), next}, nil
}

func (s *Server) listServices(_ call, in *listServicesInput) (*listServicesOutput, error) {
	c, err := s.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	limit, ok := within(in.MaxResults, 10, 100)
	if !ok {
		return nil, parameterError("maxResults must be between 1 and 100.")
	}
	var arns []string
	for _, v := range c.services {
		if or(in.LaunchType, "FARGATE") == "FARGATE" && or(in.Scheduling, "REPLICA") == "REPLICA" {
			arns = append(arns, s.serviceARN(v))
		}
	}
	slices.Sort(arns)
	some, next, ok := page(arns, "services "+c.name, in.NextToken, limit)
	if !ok {
		return nil, parameterError("Invalid token.")
	}
	return &listServicesOutput{append([]string{}, some...), next}, nil
}

func (s *Server) updateService(_ call, in *updateServiceInput) (*updateServiceOutput, error) {
	group, err := s.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	v, ok := group.services[last(in.Service)]
	if !ok {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	definition := v.taskDefinition
	if in.TaskDefinition != "" {
		d, err := s.definition(in.TaskDefinition)
		if err != nil || d.status != "ACTIVE" {
			return nil, refuse("ClientException", "TaskDefinition is inactive or not found.")
		}
		definition = s.definitionARN(d)
	}
	if err := v.configure(in); err != nil {
		return nil, err
	}
	if in.Force || definition != v.taskDefinition {
		v.deploy(definition, s.stamp())
	}
	return &updateServiceOutput{s.showService(v)}, nil
}

// configure takes the new counts and percentages, all or none.
func (v *service) configure(in *updateServiceInput) error {
	desired, minimum, maximum, breaker, rollback := v.desired, v.minimum, v.maximum, v.breaker, v.rollback
	if in.Desired != nil {
		desired = *in.Desired
	}
	if dc := in.Configuration; dc != nil {
		if dc.Minimum != nil {
			minimum = *dc.Minimum
		}
		if dc.Maximum != nil {
			maximum = *dc.Maximum
		}
		if dc.Breaker != nil {
			breaker, rollback = dc.Breaker.Enable, dc.Breaker.Rollback
		}
	}
	switch {
	case desired < 0:
		return parameterError("desiredCount cannot be negative.")
	case minimum < 0 || maximum < 100 || maximum > 200 || minimum > maximum:
		return parameterError("Both maximumPercent and minimumHealthyPercent cannot be like this.")
	case in.Configuration != nil && minimum == 100 && maximum == 100:
		return parameterError("Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.")
	}
	v.desired, v.minimum, v.maximum, v.breaker, v.rollback = desired, minimum, maximum, breaker, rollback
	return nil
}

type (
	serviceRevision struct {
		ARN       string `json:"arn"`
		Requested int    `json:"requestedTaskCount"`
		Running   int    `json:"runningTaskCount"`
		Pending   int    `json:"pendingTaskCount"`
	}
	rollbackOutput struct {
		Reason   string   `json:"reason"`
		Started  *seconds `json:"startedAt"`
		Revision string   `json:"serviceRevisionArn"`
	}
	breakerOutput struct {
		Status    string `json:"status"`
		Failures  int    `json:"failureCount"`
		Threshold int    `json:"threshold"`
	}
	serviceDeploymentBrief struct {
		ARN          string   `json:"serviceDeploymentArn"`
		ServiceARN   string   `json:"serviceArn"`
		ClusterARN   string   `json:"clusterArn"`
		Created      *seconds `json:"createdAt"`
		Started      *seconds `json:"startedAt"`
		Finished     *seconds `json:"finishedAt,omitempty"`
		Status       string   `json:"status"`
		StatusReason string   `json:"statusReason,omitempty"`
		Revision     string   `json:"targetServiceRevisionArn,omitempty"`
	}
	serviceDeploymentOutput struct {
		serviceDeploymentBrief
		Updated       *seconds                `json:"updatedAt"`
		Target        serviceRevision         `json:"targetServiceRevision"`
		Sources       []serviceRevision       `json:"sourceServiceRevisions"`
		Configuration deploymentConfiguration `json:"deploymentConfiguration"`
		Breaker       breakerOutput           `json:"deploymentCircuitBreaker"`
		Rollback      *rollbackOutput         `json:"rollback,omitempty"`
	}
	listDeploymentsInput struct {
		Cluster   string   `json:"cluster"`
		Service   string   `json:"service"`
		Status    []string `json:"status"`
		CreatedAt struct {
			After  *seconds `json:"after"`
			Before *seconds `json:"before"`
		} `json:"createdAt"`
		MaxResults *int   `json:"maxResults"`
		NextToken  string `json:"nextToken"`
	}
	listDeploymentsOutput struct {
		Deployments []serviceDeploymentBrief `json:"serviceDeployments"`
		NextToken   string                   `json:"nextToken,omitempty"`
	}
	describeDeploymentsInput struct {
		ARNs []string `json:"serviceDeploymentArns"`
	}
	describeDeploymentsOutput struct {
		Deployments []serviceDeploymentOutput `json:"serviceDeployments"`
		Failures    []failure                 `json:"failures"`
	}
)

func (s *Server) revisionARN(v *service, d *deployment) string {
	return s.ecsARN("service-revision", v.cluster+"/"+v.name+"/"+d.number)
}

func (s *Server) brief(v *service, d *deployment) serviceDeploymentBrief {
	return serviceDeploymentBrief{
		ARN: s.ecsARN("service-deployment", v.cluster+"/"+v.name+"/"+d.arnID), ServiceARN: s.serviceARN(v), ClusterARN: s.clusterARN(v),
		Created: at(d.created), Started: at(d.created), Finished: at(d.finished), Status: d.outcome, StatusReason: d.outcomeReason,
		Revision: s.revisionARN(v, d),
	}
}

func (s *Server) listServiceDeployments(_ call, in *listDeploymentsInput) (*listDeploymentsOutput, error) {
	group, err := s.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	v, ok := group.services[last(in.Service)]
	if !ok {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	limit, ok := within(in.MaxResults, 20, 100)
	if !ok {
		return nil, parameterError("maxResults must be between 1 and 100.")
	}
	var all []serviceDeploymentBrief
	for _, d := range v.history {
		if len(in.Status) > 0 && !slices.Contains(in.Status, d.outcome) ||
			in.CreatedAt.After != nil && d.created.Before(in.CreatedAt.After.Time) ||
			in.CreatedAt.Before != nil && d.created.After(in.CreatedAt.Before.Time) {
			continue
		}
		all = append(all, s.brief(v, d))
	}
	some, next, ok := page(all, "deployments "+v.cluster+"/"+v.name, in.NextToken, limit)
	if !ok {
		return nil, parameterError("Invalid token.")
	}
	return &listDeploymentsOutput{append([]serviceDeploymentBrief{}, some...), next}, nil
}

func (s *Server) describeServiceDeployments(_ call, in *describeDeploymentsInput) (*describeDeploymentsOutput, error) {
	if len(in.ARNs) == 0 || len(in.ARNs) > 20 {
		return nil, parameterError("serviceDeploymentArns must have between 1 and 20 elements.")
	}
	out := &describeDeploymentsOutput{Deployments: []serviceDeploymentOutput{}, Failures: []failure{}}
	for _, arn := range in.ARNs {
		v, d := s.serviceDeployment(arn)
		if d == nil {
			out.Failures = append(out.Failures, failure{arn, "MISSING"})
			continue
		}
		out.Deployments = append(out.Deployments, s.showServiceDeployment(v, d))
	}
	return out, nil
}

func (s *Server) serviceDeployment(arn string) (*service, *deployment) {
	parts := strings.Split(arn, "/") // arn:aws:ecs:…:service-deployment/cluster/service/id
	if len(parts) != 4 {
		return nil, nil
	}
	v, err := s.service(parts[1], parts[2])
	if err != nil {
		return nil, nil
	}
	for _, d := range v.history {
		if d.arnID == parts[3] {
			return v, d
		}
	}
	return nil, nil
}

func (s *Server) revision(v *service, d *deployment) serviceRevision {
	running, pending := v.counts(d)
	return serviceRevision{ARN: s.revisionARN(v, d), Requested: v.desired, Running: running, Pending: pending}
}

func (s *Server) showServiceDeployment(v *service, d *deployment) serviceDeploymentOutput {
	minimum, maximum := v.minimum, v.maximum
	out := serviceDeploymentOutput{
		serviceDeploymentBrief: s.brief(v, d), Updated: at(d.updated), Target: s.revision(v, d), Sources: []serviceRevision{},
		Configuration: deploymentConfiguration{&circuitBreaker{v.breaker, v.rollback}, &maximum, &minimum},
		Breaker:       breakerOutput{Status: "DISABLED", Failures: d.failed, Threshold: v.threshold()},
	}
	out.Revision = "" // the full form has the target in its place
	if d.source != nil {
		out.Sources = append(out.Sources, s.revision(v, d.source))
	}
	switch {
	case d.backTo != nil:
		out.Breaker.Status = "TRIGGERED"
		out.Rollback = &rollbackOutput{Reason: d.reason, Started: at(d.backSince), Revision: s.revisionARN(v, d.backTo)}
	case v.breaker && d.outcome == "IN_PROGRESS":
		out.Breaker.Status = "MONITORING"
	case v.breaker:
		out.Breaker.Status = "MONITORING_COMPLETE"
	}
	return out
}

type (
	listTasksInput struct {
		Cluster    string `json:"cluster"`
		Service    string `json:"serviceName"`
		Family     string `json:"family"`
		StartedBy  string `json:"startedBy"`
		Desired    string `json:"desiredStatus"`
		LaunchType string `json:"launchType"`
		MaxResults *int   `json:"maxResults"`
		NextToken  string `json:"nextToken"`
	}
	listTasksOutput struct {
		ARNs      []string `json:"taskArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}
	containerOutput struct {
		TaskARN  string `json:"taskArn"`
		Name     string `json:"name"`
		Image    string `json:"image"`
		Last     string `json:"lastStatus"`
		Health   string `json:"healthStatus"`
		ExitCode *int   `json:"exitCode,omitempty"`
	}
	taskOutput struct {
		ARN           string            `json:"taskArn"`
		ClusterARN    string            `json:"clusterArn"`
		Definition    string            `json:"taskDefinitionArn"`
		Group         string            `json:"group"`
		StartedBy     string            `json:"startedBy"`
		LaunchType    string            `json:"launchType"`
		Last          string            `json:"lastStatus"`
		Desired       string            `json:"desiredStatus"`
		Health        string            `json:"healthStatus"`
		Created       *seconds          `json:"createdAt"`
		Started       *seconds          `json:"startedAt,omitempty"`
		Stopping      *seconds          `json:"stoppingAt,omitempty"`
		Stopped       *seconds          `json:"stoppedAt,omitempty"`
		StopCode      string            `json:"stopCode,omitempty"`
		StoppedReason string            `json:"stoppedReason,omitempty"`
		Containers    []containerOutput `json:"containers"`
	}
	describeTasksInput struct {
		Cluster string   `json:"cluster"`
		Tasks   []string `json:"tasks"`
		Include []string `json:"include"`
	}
	describeTasksOutput struct {
		Tasks    []taskOutput `json:"tasks"`
		Failures []failure    `json:"failures"`
	}
	stopTaskInput struct {
		Cluster string `json:"cluster"`
		Task    string `json:"task"`
		Reason  string `json:"reason"`
	}
	stopTaskOutput struct {
		Task taskOutput `json:"task"`
	}
)

func (s *Server) taskARN(v *service, t *task) string { return s.ecsARN("task", v.cluster+"/"+t.id) }

func (s *Server) listTasks(_ call, in *listTasksInput) (*listTasksOutput, error) {
	group, err := s.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if _, ok := group.services[last(in.Service)]; in.Service != "" && !ok {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	limit, ok := within(in.MaxResults, 100, 100)
	if !ok {
		return nil, parameterError("maxResults must be between 1 and 100.")
	}
	type dated struct {
		arn string
		at  time.Time
	}
	var found []dated
	for _, v := range group.services {
		for _, t := range v.tasks {
			if in.matches(v, t) {
				found = append(found, dated{s.taskARN(v, t), t.created})
			}
		}
	}
	slices.SortFunc(found, func(a, b dated) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return strings.Compare(a.arn, b.arn)
	})
	some, next, ok := page(found, "tasks "+group.name+" "+in.Service, in.NextToken, limit)
	if !ok {
		return nil, parameterError("Invalid token.")
	}
	out := &listTasksOutput{ARNs: []string{}, NextToken: next}
	for _, d := range some {
		out.ARNs = append(out.ARNs, d.arn)
	}
	return out, nil
}

func (in *listTasksInput) matches(v *service, t *task) bool {
	return (in.Service == "" || last(in.Service) == v.name) &&
		(in.Family == "" || in.Family == t.definition.family) &&
		(in.StartedBy == "" || in.StartedBy == t.deployment.id()) &&
		or(in.Desired, "RUNNING") == t.desired && or(in.LaunchType, "FARGATE") == "FARGATE"
}

func (s *Server) showTask(v *service, t *task) taskOutput {
	out := taskOutput{
		ARN: s.taskARN(v, t), ClusterARN: s.clusterARN(v), Definition: s.definitionARN(t.definition), Group: "service:" + v.name,
		StartedBy: t.deployment.id(), LaunchType: "FARGATE", Last: t.last, Desired: t.desired, Health: t.health,
		Created: at(t.created), Started: at(t.started), Stopping: at(t.stopping), Stopped: at(t.stopped),
		StopCode: t.stopCode, StoppedReason: t.stopReason, Containers: []containerOutput{},
	}
	for _, c := range t.definition.containers {
		shown := containerOutput{TaskARN: out.ARN, Name: c.Name, Image: c.Image, Last: t.last, Health: t.health}
		if t.last == "STOPPED" && t.launched {
			code := t.exitCode
			shown.ExitCode = &code
		}
		out.Containers = append(out.Containers, shown)
	}
	return out
}

func (s *Server) task(group *cluster, reference string) (*service, *task) {
	for _, v := range group.services {
		for _, t := range v.tasks {
			if t.id == last(reference) {
				return v, t
			}
		}
	}
	return nil, nil
}

func (s *Server) describeTasks(_ call, in *describeTasksInput) (*describeTasksOutput, error) {
	group, err := s.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Tasks) == 0 || len(in.Tasks) > 100 {
		return nil, parameterError("Tasks must have between 1 and 100 elements, not " + strconv.Itoa(len(in.Tasks)) + ".")
	}
	out := &describeTasksOutput{Tasks: []taskOutput{}, Failures: []failure{}}
	for _, reference := range in.Tasks {
		v, t := s.task(group, reference)
		if t == nil {
			out.Failures = append(out.Failures, failure{s.ecsARN("task", group.name+"/"+last(reference)), "MISSING"})
			continue
		}
		out.Tasks = append(out.Tasks, s.showTask(v, t))
	}
	return out, nil
}

func (s *Server) stopTask(c call, in *stopTaskInput) (*stopTaskOutput, error) {
	group, err := s.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	v, t := s.task(group, in.Task)
	if t == nil {
		return nil, parameterError("The referenced task was not found.")
	}
	if t.desired == "RUNNING" {
		s.stopTaskFor(t, c.now, "UserInitiated", or(in.Reason, "Task stopped by user"))
	}
	return &stopTaskOutput{s.showTask(v, t)}, nil
}
