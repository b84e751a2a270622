package aws

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

const secretName = "/aiconnectors/prod/jira/client_secret"

// seeded is a stand-in with one service that reads one secret.
func seeded(t *testing.T, o Options, change func(*Service)) *stand {
	t.Helper()
	s := newStand(t, o)
	s.Set(quick())
	if err := s.SeedParameter(Parameter{Name: secretName, Value: "old"}); err != nil {
		t.Fatal(err)
	}
	spec := Service{Cluster: "aiconnectors-prod", Name: "jira", TaskDefinition: definition("jira", secretName), Desired: 2}
	if change != nil {
		change(&spec)
	}
	if err := s.SeedService(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stand) putSecret(t *testing.T, value string) time.Time {
	t.Helper()
	if _, err := s.ssm().PutParameter(t.Context(), &ssm.PutParameterInput{Name: sdk.String(secretName), Value: &value, Type: ssmtypes.ParameterTypeSecureString, Overwrite: sdk.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	out, err := s.ssm().GetParameter(t.Context(), &ssm.GetParameterInput{Name: sdk.String(secretName)})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Parameter.LastModifiedDate
}

func (s *stand) redeploy(t *testing.T) string {
	t.Helper()
	out, err := s.ecs().UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: sdk.String("aiconnectors-prod"), Service: sdk.String("jira"), ForceNewDeployment: true})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Service.Deployments[0].Id
}

func (s *stand) service(t *testing.T) types.Service {
	t.Helper()
	out, err := s.ecs().DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: sdk.String("aiconnectors-prod"), Services: []string{"jira"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Services[0]
}

func (s *stand) running(t *testing.T) []types.Task {
	t.Helper()
	list, err := s.ecs().ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: sdk.String("aiconnectors-prod"), ServiceName: sdk.String("jira")})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.TaskArns) == 0 {
		return nil
	}
	out, err := s.ecs().DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: sdk.String("aiconnectors-prod"), Tasks: list.TaskArns})
	if err != nil {
		t.Fatal(err)
	}
	return out.Tasks
}

func (s *stand) awaitRollout(t *testing.T, want types.DeploymentRolloutState) types.Service {
	t.Helper()
	var v types.Service
	until(t, "the primary deployment is "+string(want), func() bool {
		v = s.service(t)
		return v.Deployments[0].RolloutState == want
	})
	return v
}

func TestARollOutReplacesEveryTaskAndGivesItTheNewSecret(t *testing.T) {
	s := seeded(t, Options{}, nil)
	before := s.running(t)
	if len(before) != 2 {
		t.Fatalf("%d tasks at first, want 2", len(before))
	}
	written := s.putSecret(t, "new")
	id := s.redeploy(t)
	if v := s.service(t); v.Deployments[0].RolloutState != types.DeploymentRolloutStateInProgress || len(v.Deployments) != 2 {
		t.Errorf("right after: %s with %d deployments", v.Deployments[0].RolloutState, len(v.Deployments))
	}
	v := s.awaitRollout(t, types.DeploymentRolloutStateCompleted)
	if len(v.Deployments) != 1 || *v.Deployments[0].Id != id || v.RunningCount != 2 {
		t.Errorf("at the end: %d deployments, primary %s, %d running", len(v.Deployments), *v.Deployments[0].Id, v.RunningCount)
	}
	after := s.running(t)
	if len(after) != 2 {
		t.Fatalf("%d tasks afterwards, want 2", len(after))
	}
	for _, task := range after {
		if *task.StartedBy != id || !task.CreatedAt.After(written) || task.HealthStatus != types.HealthStatusHealthy {
			t.Errorf("task %s: started by %s, created %v (the write: %v), %s", *task.TaskArn, *task.StartedBy, task.CreatedAt, written, task.HealthStatus)
		}
	}
	for _, task := range s.Snapshot().Services[0].Tasks {
		if task.Last == "RUNNING" && task.Environment["CLIENT_SECRET"] != "new" {
			t.Errorf("task %s has %q", task.ID, task.Environment["CLIENT_SECRET"])
		}
	}
}

func TestTheNumberOfTasksStaysBetweenMinimumAndMaximum(t *testing.T) {
	for _, test := range []struct{ minimum, maximum, least, most int }{
		{100, 200, 2, 4},
		{50, 100, 1, 3}, // a third one may drain while its successor starts
	} {
		probe := &probe{}
		s := seeded(t, Options{Launcher: probe}, func(v *Service) { v.MinimumPercent, v.MaximumPercent = &test.minimum, &test.maximum })
		s.redeploy(t)
		s.awaitRollout(t, types.DeploymentRolloutStateCompleted)
		if probe.least() < test.least || probe.most() > test.most {
			t.Errorf("%d to %d %% of 2 tasks: there were %d to %d", test.minimum, test.maximum, probe.least(), probe.most())
		}
	}
}

// probe is a launcher that counts, and can make tasks ill.
type probe struct {
	mu      sync.Mutex
	up      map[string]TaskSpec
	lows    []int // how many were left at each stop
	high    int
	refuse  error
	illness func(TaskSpec) bool
}

func (p *probe) Start(_ context.Context, spec TaskSpec) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		return p.refuse
	}
	if p.up == nil {
		p.up = map[string]TaskSpec{}
	}
	p.up[spec.ID] = spec
	p.high = max(p.high, len(p.up))
	return nil
}

func (p *probe) Stop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.up, id)
	p.lows = append(p.lows, len(p.up))
}

func (p *probe) Healthy(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.illness == nil || !p.illness(p.up[id])
}

// least is how few tasks were ever left by a stop; there must have been one.
func (p *probe) least() int { p.mu.Lock(); defer p.mu.Unlock(); return slices.Min(p.lows) }
func (p *probe) most() int  { p.mu.Lock(); defer p.mu.Unlock(); return p.high }

func TestTheCircuitBreakerRollsBackAndTheServiceIsStableWithTheNewSecretStillThere(t *testing.T) {
	probe := &probe{}
	s := seeded(t, Options{Launcher: probe}, func(v *Service) { v.CircuitBreaker, v.Rollback = true, true })
	first := *s.service(t).Deployments[0].Id
	s.putSecret(t, "bad")
	probe.mu.Lock()
	probe.illness = func(spec TaskSpec) bool { return spec.Environment["CLIENT_SECRET"] == "bad" }
	probe.mu.Unlock()
	failed := s.redeploy(t)
	var v types.Service
	until(t, "the old deployment is primary and complete again", func() bool {
		v = s.service(t)
		return *v.Deployments[0].Id == first && v.Deployments[0].RolloutState == types.DeploymentRolloutStateCompleted
	})
	if len(v.Deployments) != 1 || v.RunningCount != v.DesiredCount {
		t.Errorf("the service is not stable: %d deployments, %d of %d running", len(v.Deployments), v.RunningCount, v.DesiredCount)
	}
	// The waiter that people trust says that all is well.
	if err := ecs.NewServicesStableWaiter(s.ecs()).Wait(t.Context(), &ecs.DescribeServicesInput{Cluster: sdk.String("aiconnectors-prod"), Services: []string{"jira"}}, 10*time.Second); err != nil {
		t.Errorf("the stable waiter: %v", err)
	}
	one := s.deployment(t, failed)
	if one.Status != types.ServiceDeploymentStatusRollbackSuccessful || one.DeploymentCircuitBreaker.FailureCount < 3 {
		t.Errorf("the failed deployment is %s after %d failures", one.Status, one.DeploymentCircuitBreaker.FailureCount)
	}
	if got := s.Snapshot().Parameters[0].Versions; got[len(got)-1].Value != "bad" {
		t.Error("the roll-back changed the parameter")
	}
}

// deployment finds the service deployment of a deployment id.
func (s *stand) deployment(t *testing.T, id string) types.ServiceDeployment {
	t.Helper()
	list, err := s.ecs().ListServiceDeployments(t.Context(), &ecs.ListServiceDeploymentsInput{Cluster: sdk.String("aiconnectors-prod"), Service: sdk.String("jira")})
	if err != nil {
		t.Fatal(err)
	}
	for _, brief := range list.ServiceDeployments {
		if !strings.HasSuffix(*brief.TargetServiceRevisionArn, strings.TrimPrefix(id, "ecs-svc")) {
			continue
		}
		out, err := s.ecs().DescribeServiceDeployments(t.Context(), &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{*brief.ServiceDeploymentArn}})
		if err != nil {
			t.Fatal(err)
		}
		return out.ServiceDeployments[0]
	}
	t.Fatalf("no service deployment for %s", id)
	return types.ServiceDeployment{}
}

func TestWithoutRollbackTheFailedDeploymentStaysPrimary(t *testing.T) {
	s := seeded(t, Options{}, func(v *Service) { v.CircuitBreaker = true })
	if err := s.Behave("aiconnectors-prod", "jira", Behaviour{FailTasks: 100}); err != nil {
		t.Fatal(err)
	}
	id := s.redeploy(t)
	v := s.awaitRollout(t, types.DeploymentRolloutStateFailed)
	if *v.Deployments[0].Id != id || v.Deployments[0].FailedTasks < 3 || v.RunningCount != 2 {
		t.Errorf("primary %s, %d failed, %d running", *v.Deployments[0].Id, v.Deployments[0].FailedTasks, v.RunningCount)
	}
}

func TestOneTaskWithMaximum100CanNeverRedeploy(t *testing.T) {
	s := seeded(t, Options{}, func(v *Service) { v.Desired, v.MaximumPercent = 1, sdk.Int(100) })
	s.redeploy(t)
	until(t, "the event that says so", func() bool {
		return slices.ContainsFunc(s.service(t).Events, func(e types.ServiceEvent) bool {
			return strings.Contains(*e.Message, "was unable to stop or start tasks during a deployment")
		})
	})
	if v := s.service(t); v.Deployments[0].RolloutState != types.DeploymentRolloutStateInProgress || v.Deployments[0].RunningCount != 0 {
		t.Errorf("it is %s with %d new tasks", v.Deployments[0].RolloutState, v.Deployments[0].RunningCount)
	}
	// Allowed to stop its one task first, it gets through.
	if _, err := s.ecs().UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: sdk.String("aiconnectors-prod"), Service: sdk.String("jira"),
		DeploymentConfiguration: &types.DeploymentConfiguration{MinimumHealthyPercent: sdk.Int32(0), MaximumPercent: sdk.Int32(100)}}); err != nil {
		t.Fatal(err)
	}
	s.awaitRollout(t, types.DeploymentRolloutStateCompleted)
}

func TestAStuckDeploymentStaysInProgressUntilItIsFreed(t *testing.T) {
	s := seeded(t, Options{}, nil)
	if err := s.Behave("aiconnectors-prod", "jira", Behaviour{Stuck: true}); err != nil {
		t.Fatal(err)
	}
	s.redeploy(t)
	until(t, "two pending tasks", func() bool { return s.service(t).PendingCount == 2 })
	s.cond.Clock.Advance(time.Hour)
	if v := s.service(t); v.Deployments[0].RolloutState != types.DeploymentRolloutStateInProgress {
		t.Errorf("after an hour it is %s", v.Deployments[0].RolloutState)
	}
	if err := s.Behave("aiconnectors-prod", "jira", Behaviour{}); err != nil {
		t.Fatal(err)
	}
	s.awaitRollout(t, types.DeploymentRolloutStateCompleted)
}

func TestATaskWhoseSecretIsMissingCannotStart(t *testing.T) {
	s := seeded(t, Options{}, func(v *Service) { v.CircuitBreaker = true })
	if _, err := s.ssm().DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: sdk.String(secretName)}); err != nil {
		t.Fatal(err)
	}
	s.redeploy(t)
	s.awaitRollout(t, types.DeploymentRolloutStateFailed)
	out, err := s.ecs().ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: sdk.String("aiconnectors-prod"), DesiredStatus: types.DesiredStatusStopped})
	if err != nil || len(out.TaskArns) == 0 {
		t.Fatalf("stopped tasks: %v, %v", out, err)
	}
	tasks, err := s.ecs().DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: sdk.String("aiconnectors-prod"), Tasks: out.TaskArns})
	if err != nil {
		t.Fatal(err)
	}
	if task := tasks.Tasks[0]; task.StopCode != types.TaskStopCodeTaskFailedToStart || !strings.Contains(*task.StoppedReason, secretName) {
		t.Errorf("it stopped with %s: %s", task.StopCode, *task.StoppedReason)
	}
}

func TestATaskThatDiesIsReplacedByTheSameDeployment(t *testing.T) {
	s := seeded(t, Options{}, nil)
	id := *s.service(t).Deployments[0].Id
	killed, err := s.Kill("aiconnectors-prod", "jira", 1)
	if err != nil || len(killed) != 1 {
		t.Fatalf("killed %v, %v", killed, err)
	}
	until(t, "two healthy tasks without the dead one", func() bool {
		tasks := s.running(t)
		return len(tasks) == 2 && !slices.ContainsFunc(tasks, func(task types.Task) bool {
			return strings.HasSuffix(*task.TaskArn, killed[0]) || task.HealthStatus != types.HealthStatusHealthy || *task.StartedBy != id
		})
	})
}

func TestAStoppedTaskIsStoppedAtItsLauncher(t *testing.T) {
	probe := &probe{}
	s := seeded(t, Options{Launcher: probe}, func(v *Service) { v.Desired = 1 })
	task := s.running(t)[0]
	if _, err := s.ecs().StopTask(t.Context(), &ecs.StopTaskInput{Cluster: sdk.String("aiconnectors-prod"), Task: task.TaskArn, Reason: sdk.String("test")}); err != nil {
		t.Fatal(err)
	}
	until(t, "another task in its place, and the old one gone", func() bool {
		probe.mu.Lock()
		defer probe.mu.Unlock()
		_, there := probe.up[last(*task.TaskArn)]
		return !there && len(probe.up) == 1
	})
}

func TestAServiceWhoseTasksCannotStartIsNotSeeded(t *testing.T) {
	s := newStand(t, Options{Launcher: &probe{refuse: errors.New("no memory")}})
	s.Set(quick())
	if err := s.SeedParameter(Parameter{Name: secretName, Value: "v"}); err != nil {
		t.Fatal(err)
	}
	err := s.SeedService(t.Context(), Service{Cluster: "c", Name: "s", TaskDefinition: definition("s", secretName), Desired: 1})
	if err == nil || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("the error is %v", err)
	}
}

func TestOldRevisionsStayActiveUntilTheyAreDeregistered(t *testing.T) {
	s := seeded(t, Options{}, nil)
	in := &ecs.RegisterTaskDefinitionInput{Family: sdk.String("jira"), ContainerDefinitions: []types.ContainerDefinition{{
		Name: sdk.String("mcp"), Image: sdk.String("registry.example/mcp:2"),
		DockerLabels: map[string]string{"team": "platform"}, Command: []string{"serve"},
	}}}
	registered, err := s.ecs().RegisterTaskDefinition(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.ecs().DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: sdk.String("jira")})
	if err != nil {
		t.Fatal(err)
	}
	if got := out.TaskDefinition; *got.TaskDefinitionArn != *registered.TaskDefinition.TaskDefinitionArn || got.Revision != 2 || got.ContainerDefinitions[0].DockerLabels["team"] != "platform" {
		t.Errorf("the newest revision is %+v", got)
	}
	list := func() []string {
		t.Helper()
		out, err := s.ecs().ListTaskDefinitions(t.Context(), &ecs.ListTaskDefinitionsInput{FamilyPrefix: sdk.String("jira"), Sort: types.SortOrderDesc})
		if err != nil {
			t.Fatal(err)
		}
		return out.TaskDefinitionArns
	}
	if got := list(); len(got) != 2 || !strings.HasSuffix(got[0], "jira:2") {
		t.Errorf("the active revisions are %v", got)
	}
	if _, err := s.ecs().DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: sdk.String("jira:1")}); err != nil {
		t.Fatal(err)
	}
	if got := list(); len(got) != 1 {
		t.Errorf("the active revisions are %v", got)
	}
}

func TestListsArePaged(t *testing.T) {
	s := seeded(t, Options{}, func(v *Service) { v.Desired = 5 })
	pages := ecs.NewListTasksPaginator(s.ecs(), &ecs.ListTasksInput{Cluster: sdk.String("aiconnectors-prod"), ServiceName: sdk.String("jira"), MaxResults: sdk.Int32(2)})
	var arns []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		arns = append(arns, page.TaskArns...)
	}
	slices.Sort(arns)
	if len(slices.Compact(arns)) != 5 {
		t.Errorf("the pages have %d different tasks, want 5", len(arns))
	}
	services, err := s.ecs().ListServices(t.Context(), &ecs.ListServicesInput{Cluster: sdk.String("aiconnectors-prod")})
	if err != nil || len(services.ServiceArns) != 1 {
		t.Errorf("the services are %v, %v", services, err)
	}
	clusters, err := s.ecs().ListClusters(t.Context(), &ecs.ListClustersInput{MaxResults: sdk.Int32(1)})
	if err != nil || len(clusters.ClusterArns) != 1 || !strings.HasSuffix(clusters.ClusterArns[0], ":cluster/aiconnectors-prod") {
		t.Errorf("the clusters are %v, %v", clusters, err)
	}
}

func TestWhatECSDoesNotHaveIsMissingOrNotFound(t *testing.T) {
	s := seeded(t, Options{}, nil)
	out, err := s.ecs().DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: sdk.String("aiconnectors-prod"), Services: []string{"none"}})
	if err != nil || len(out.Failures) != 1 || *out.Failures[0].Reason != "MISSING" {
		t.Errorf("an unknown service: %+v, %v", out, err)
	}
	_, err = s.ecs().DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: sdk.String("none"), Services: []string{"none"}})
	if codeOf(err) != "ClusterNotFoundException" {
		t.Errorf("an unknown cluster: %v", err)
	}
	_, err = s.ecs().UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: sdk.String("aiconnectors-prod"), Service: sdk.String("none")})
	if codeOf(err) != "ServiceNotFoundException" {
		t.Errorf("an update of an unknown service: %v", err)
	}
}
