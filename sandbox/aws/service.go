package aws

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Launcher runs what a task's containers would run. The user of a stand-in
// gives one to [New] when tasks are to be more than records.
type Launcher interface {
	// Start starts the task's program. An error is a container that could not
	// start; the task then stops. ctx ends when the stand-in is closed.
	Start(ctx context.Context, task TaskSpec) error
	// Stop ends a task that Start started, and waits until it is gone.
	Stop(taskID string)
	// Healthy tells whether the task passes its container's health check.
	Healthy(taskID string) bool
}

// TaskSpec is one task about to start.
type TaskSpec struct {
	ID      string // 32 hexadecimal digits: the last part of the task's ARN
	Cluster string
	Service string
	// Environment holds the variables of all its containers, secrets included,
	// with the values that they had at this instant.
	Environment map[string]string
}

// records is the launcher of those who have none.
type records struct{}

func (records) Start(context.Context, TaskSpec) error { return nil }
func (records) Stop(string)                           {}
func (records) Healthy(string) bool                   { return true }

// cluster is a name with its services.
type cluster struct {
	name     string
	services map[string]*service
}

// service is an ECS service with the rolling-update controller.
type service struct {
	cluster        string
	name           string
	created        time.Time
	taskDefinition string // ARN
	desired        int
	minimum        int // percent
	maximum        int // percent
	breaker        bool
	rollback       bool

	deployments []*deployment // those that DescribeServices shows; the primary first
	history     []*deployment // all, newest first
	rollingBack *deployment   // the failed one that is being taken back
	tasks       []*task       // oldest first; stopped ones for a while
	events      []serviceEvent
	notBefore   time.Time // no new task until then: the scheduler backs off after failures

	stuck    bool // set from outside: new tasks stay PENDING, as when there is no capacity
	failNext int  // set from outside: so many new tasks fail to start
}

// deployment is one of a service's deployments and, seen by the newer API, its
// service deployment.
type deployment struct {
	number         string // of "ecs-svc/…" and of the service revision
	arnID          string // of the service deployment's ARN
	status         string // PRIMARY, ACTIVE, INACTIVE
	rollout        string // IN_PROGRESS, COMPLETED, FAILED
	reason         string
	taskDefinition string
	created        time.Time
	updated        time.Time
	finished       time.Time
	failed         int
	source         *deployment // what it replaces
	outcome        string      // as service deployment: IN_PROGRESS, SUCCESSFUL, …
	outcomeReason  string
	backTo         *deployment // where the circuit breaker went
	backSince      time.Time
	complained     bool // that the percentages do not let it go on
}

func (d *deployment) id() string { return "ecs-svc/" + d.number }

type serviceEvent struct {
	id      string
	at      time.Time
	message string
}

// task is one run of the task definition.
type task struct {
	id         string
	deployment *deployment
	definition *taskDefinition
	created    time.Time
	started    time.Time
	stopping   time.Time
	stopped    time.Time
	judged     time.Time // when its health was last asked
	last       string    // PENDING, RUNNING, DEACTIVATING, STOPPED
	desired    string    // RUNNING, STOPPED
	health     string    // UNKNOWN, HEALTHY, UNHEALTHY
	stopCode   string
	stopReason string
	exitCode   int
	launched   bool // the launcher knows it
	busy       bool // the launcher is at work on it
	eager      bool // seeded: it starts and is judged without delay
	secrets    map[string]string
}

// ready tells whether the task counts as a working one.
func (t *task) ready() bool {
	return t.last == "RUNNING" && t.desired == "RUNNING" && (t.health == "HEALTHY" || !t.definition.checked())
}

func newNumber() string {
	n, err := rand.Int(rand.Reader, big.NewInt(9_000_000_000_000_000_000))
	if err != nil {
		panic("sandbox/aws: no random numbers: " + err.Error()) // crypto/rand does not fail
	}
	return n.Add(n, big.NewInt(1_000_000_000_000_000_000)).String()
}

func newTaskID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails, by its documentation
	return hex.EncodeToString(b)
}

func newDeployment(definition string, source *deployment, now time.Time) *deployment {
	d := &deployment{
		number: newNumber(), arnID: newTaskID()[:21], status: "PRIMARY", rollout: "IN_PROGRESS", taskDefinition: definition,
		created: now, updated: now, source: source, outcome: "IN_PROGRESS",
	}
	d.reason = "ECS deployment " + d.id() + " in progress."
	return d
}

// deploy makes a new primary deployment. The caller holds the lock.
func (v *service) deploy(definition string, now time.Time) *deployment {
	var source *deployment
	if len(v.deployments) > 0 {
		source = v.deployments[0]
		source.status, source.updated = "ACTIVE", now
		if source.outcome == "IN_PROGRESS" {
			source.outcome, source.outcomeReason, source.finished = "STOPPED", "A newer deployment took its place.", now
		}
	}
	if v.rollingBack != nil {
		v.rollingBack.outcome, v.rollingBack.finished = "ROLLBACK_FAILED", now
		v.rollingBack = nil
	}
	d := newDeployment(definition, source, now)
	v.taskDefinition = definition
	v.deployments = slices.Insert(v.deployments, 0, d)
	v.history = slices.Insert(v.history, 0, d)
	v.notBefore = time.Time{}
	return d
}

// say adds an event, as the console shows them.
func (v *service) say(now time.Time, format string, args ...any) {
	message := "(service " + v.name + ") " + fmt.Sprintf(format, args...)
	v.events = slices.Insert(v.events, 0, serviceEvent{uuid.NewString(), now, message})
	v.events = v.events[:min(len(v.events), 100)]
}

// Service is a service to seed.
type Service struct {
	Cluster string `json:"cluster"`
	Name    string `json:"name"`
	// TaskDefinition is a document as RegisterTaskDefinition takes it. Seeding
	// registers it as a new revision of its family.
	TaskDefinition json.RawMessage `json:"task_definition"`
	Desired        int             `json:"desired"`
	MinimumPercent *int            `json:"minimum_percent,omitempty"` // default 100
	MaximumPercent *int            `json:"maximum_percent,omitempty"` // default 200
	CircuitBreaker bool            `json:"circuit_breaker,omitempty"`
	Rollback       bool            `json:"rollback,omitempty"` // of the circuit breaker
}

// SeedService makes a service whose tasks start at once, and waits until its
// first deployment is complete or ctx ends. The tasks' secrets must exist.
func (s *Server) SeedService(ctx context.Context, spec Service) error {
	if err := s.addService(spec); err != nil {
		return fmt.Errorf("seed service %s/%s: %w", spec.Cluster, spec.Name, err)
	}
	return s.awaitDeployment(ctx, spec.Cluster, spec.Name)
}

func (s *Server) addService(spec Service) error {
	if spec.Cluster == "" || spec.Name == "" {
		return fmt.Errorf("a service needs a cluster and a name")
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(spec.TaskDefinition, &document); err != nil {
		return fmt.Errorf("read the task definition: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clusters[spec.Cluster]
	if !ok {
		c = &cluster{name: spec.Cluster, services: map[string]*service{}}
		s.clusters[spec.Cluster] = c
	}
	if _, exists := c.services[spec.Name]; exists {
		return fmt.Errorf("it exists already")
	}
	now := s.cond.Clock.Now()
	d, err := s.register(call{who: Identity{Account: s.account}, now: now}, document)
	if err != nil {
		return err
	}
	v := &service{cluster: spec.Cluster, name: spec.Name, created: now, desired: spec.Desired, minimum: 100, maximum: 200,
		breaker: spec.CircuitBreaker, rollback: spec.Rollback}
	if spec.MinimumPercent != nil {
		v.minimum = *spec.MinimumPercent
	}
	if spec.MaximumPercent != nil {
		v.maximum = *spec.MaximumPercent
	}
	v.deploy(s.definitionARN(d), s.stamp())
	c.services[spec.Name] = v
	// What is seeded has been there for long: its tasks are due at once.
	for range spec.Desired {
		s.newTask(v).eager = true
	}
	s.look()
	return nil
}

// awaitDeployment waits until the service's primary deployment is no longer in progress.
func (s *Server) awaitDeployment(ctx context.Context, clusterName, name string) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		v := s.clusters[clusterName].services[name]
		primary := v.deployments[0]
		rollout, failed := primary.rollout, primary.failed
		why := ""
		for _, t := range v.tasks {
			why = or(t.stopReason, why)
		}
		s.mu.Unlock()
		if rollout == "COMPLETED" {
			return nil
		}
		if rollout == "FAILED" || failed > 2 {
			return fmt.Errorf("seed service %s/%s: its tasks do not start: %s", clusterName, name, why)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for service %s/%s: %w", clusterName, name, ctx.Err())
		case <-tick.C:
		}
	}
}

// Behaviour is what is set from outside for one service.
type Behaviour struct {
	Stuck     bool `json:"stuck"`      // new tasks stay PENDING, as without capacity
	FailTasks int  `json:"fail_tasks"` // so many new tasks fail to start
}

// Behave sets how a service's new tasks fare from now on.
func (s *Server) Behave(clusterName, name string, b Behaviour) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.service(clusterName, name)
	if err != nil {
		return err
	}
	v.stuck, v.failNext = b.Stuck, b.FailTasks
	s.look()
	return nil
}

// Kill makes up to n running tasks of a service die by themselves, oldest
// first, and returns their ids.
func (s *Server) Kill(clusterName, name string, n int) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.service(clusterName, name)
	if err != nil {
		return nil, err
	}
	killed := []string{}
	for _, t := range v.tasks {
		if len(killed) < n && t.last == "RUNNING" && t.desired == "RUNNING" && !t.busy {
			s.failTask(v, t, s.cond.Clock.Now(), "EssentialContainerExited", "Essential container in task exited")
			killed = append(killed, t.id)
		}
	}
	s.look()
	return killed, nil
}

// service finds a service by names. The caller holds the lock.
func (s *Server) service(clusterName, name string) (*service, error) {
	c, ok := s.clusters[clusterName]
	if !ok {
		return nil, refuse("ClusterNotFoundException", "Cluster not found.")
	}
	v, ok := c.services[name]
	if !ok {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	return v, nil
}
