package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// backOff is how long the scheduler waits after a task failed before it starts
// another, so that a service whose tasks all fail does not spin.
const backOff = 100 * time.Millisecond

// keptTasks is how many stopped tasks of a service stay visible. AWS keeps them
// for about an hour.
const keptTasks = 50

// look asks the scheduler to look at everything soon.
func (s *Server) look() {
	select {
	case s.wake <- struct{}{}:
	default: // it is asked already
	}
}

// schedule drives all services until ctx ends: whenever something changed,
// something falls due, or the sandbox's clock jumped.
func (s *Server) schedule(ctx context.Context) {
	defer close(s.stopped)
	var work sync.WaitGroup
	defer work.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		jumped := s.cond.Clock.Jumped() // taken before looking, so that no jump is missed
		select {
		case <-ctx.Done():
			return
		default:
		}
		if next, ok := s.steerAll(ctx, &work); ok {
			timer.Reset(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		case <-jumped:
		}
	}
}

// steerAll moves every service on and returns how long until something falls due.
func (s *Server) steerAll(ctx context.Context, work *sync.WaitGroup) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cond.Clock.Now()
	var next time.Time
	for _, c := range s.clusters {
		for _, v := range c.services {
			for _, t := range v.tasks {
				s.moveTask(ctx, v, t, now, work)
			}
			s.balance(v, now)
			for _, due := range s.dues(v) {
				if due.After(now) && (next.IsZero() || due.Before(next)) {
					next = due
				}
			}
		}
	}
	return next.Sub(now), !next.IsZero()
}

// dues lists the instants at which something of the service may happen.
func (s *Server) dues(v *service) []time.Time {
	out := []time.Time{v.notBefore}
	for _, t := range v.tasks {
		out = append(out, s.due(t))
	}
	return out
}

// due is when the task's next move is.
func (s *Server) due(t *task) time.Time {
	set := s.settings
	if t.eager {
		set.TaskStart, set.Health = 0, 0
	}
	switch {
	case t.busy || t.last == "STOPPED":
		return time.Time{}
	case t.desired == "STOPPED":
		return t.stopping.Add(time.Duration(set.Drain))
	case t.last == "PENDING":
		return t.created.Add(time.Duration(set.TaskStart))
	case t.definition.checked() && t.health == "UNKNOWN":
		return t.started.Add(time.Duration(set.Health))
	case t.definition.checked():
		return t.judged.Add(max(time.Duration(set.HealthInterval), 10*time.Millisecond))
	default:
		return time.Time{}
	}
}

// moveTask does what has fallen due for one task. What the launcher does runs
// outside the lock, one thing at a time for a task.
func (s *Server) moveTask(ctx context.Context, v *service, t *task, now time.Time, work *sync.WaitGroup) {
	due := s.due(t)
	switch {
	case t.busy || t.last == "STOPPED" || due.IsZero():
	case t.desired == "STOPPED":
		if !t.launched || !now.Before(due) {
			s.apart(t, work, func(l Launcher) func() {
				if t.launched {
					l.Stop(t.id)
				}
				return func() { t.last, t.stopped, t.secrets = "STOPPED", s.cond.Clock.Now(), nil }
			})
		}
	case now.Before(due):
	case t.last == "PENDING":
		if !v.stuck {
			s.start(ctx, v, t, now, work)
		}
	default:
		s.apart(t, work, func(l Launcher) func() {
			healthy := l.Healthy(t.id)
			return func() { s.judge(v, t, healthy) }
		})
	}
}

// apart runs f without the lock and then, with it, what f returns.
func (s *Server) apart(t *task, work *sync.WaitGroup, f func(Launcher) func()) {
	t.busy = true
	launcher := s.launcher
	if launcher == nil {
		launcher = records{}
	}
	work.Go(func() {
		after := f(launcher)
		s.mu.Lock()
		t.busy = false
		after()
		s.mu.Unlock()
		s.look()
	})
}

// start gives a task its secrets, as they are now, and starts its program.
func (s *Server) start(ctx context.Context, v *service, t *task, now time.Time, work *sync.WaitGroup) {
	environment, err := s.environment(t, now)
	if err == nil && v.failNext > 0 {
		v.failNext--
		err = errors.New("CannotStartContainerError: set by the sandbox")
	}
	if err != nil {
		s.failTask(v, t, now, "TaskFailedToStart", err.Error())
		return
	}
	t.secrets = environment
	spec := TaskSpec{ID: t.id, Cluster: v.cluster, Service: v.name, Environment: maps.Clone(environment)}
	s.apart(t, work, func(l Launcher) func() {
		err := l.Start(ctx, spec)
		return func() { s.begun(v, t, err) }
	})
}

// begun notes what became of a start. The task may have been told to stop meanwhile.
func (s *Server) begun(v *service, t *task, err error) {
	now := s.cond.Clock.Now()
	if err != nil {
		s.failTask(v, t, now, "TaskFailedToStart", "CannotStartContainerError: "+err.Error())
		return
	}
	t.launched, t.started = true, now
	if t.desired == "RUNNING" {
		t.last = "RUNNING"
	}
}

func (s *Server) judge(v *service, t *task, healthy bool) {
	now := s.cond.Clock.Now()
	t.judged = now
	switch {
	case t.desired == "STOPPED": // told to stop meanwhile
	case healthy:
		t.health = "HEALTHY"
	default:
		t.health = "UNHEALTHY"
		s.failTask(v, t, now, "ServiceSchedulerInitiated", "Task failed container health checks")
	}
}

// failTask ends a task that did not do what it should, and counts it against
// its deployment while that rolls out.
func (s *Server) failTask(v *service, t *task, now time.Time, code, reason string) {
	if t.desired == "RUNNING" && t.deployment.rollout == "IN_PROGRESS" {
		t.deployment.failed++
		t.deployment.updated = now
	}
	s.stopTaskFor(t, now, code, reason)
	t.exitCode = 1
	t.stopping = now.Add(-time.Duration(s.settings.Drain)) // nothing to drain
	v.notBefore = now.Add(backOff)
	v.say(now, "(task %s) stopped: %s", t.id, reason)
}

func (s *Server) stopTaskFor(t *task, now time.Time, code, reason string) {
	t.desired, t.last, t.stopping, t.stopCode, t.stopReason = "STOPPED", "DEACTIVATING", now, code, reason
	s.look()
}

// environment resolves the variables of a task's containers. The execution role
// reads the secrets; CloudTrail sees it do so.
func (s *Server) environment(t *task, now time.Time) (map[string]string, error) {
	out := map[string]string{}
	var names, missing []string
	for _, c := range t.definition.containers {
		for _, kv := range c.Environment {
			out[kv.Name] = kv.Value
		}
		for _, secret := range c.Secrets {
			names = append(names, secret.ValueFrom)
			// ECS cannot pin a version: only a name or an ARN without selector works.
			if _, v, selector, err := s.lookUp(secret.ValueFrom); err != nil || selector != "" {
				missing = append(missing, secret.ValueFrom)
			} else {
				out[secret.Name] = v.value
			}
		}
	}
	if len(names) == 0 {
		return out, nil
	}
	var role string
	if raw, ok := t.definition.document["executionRoleArn"]; ok {
		role = strings.Trim(string(raw), `"`)
		role = role[strings.LastIndexByte(role, '/')+1:]
	}
	c := call{who: Identity{Account: s.account, Role: or(role, "ecsTaskExecutionRole"), Session: t.id},
		accessKey: uniqueID("ASIA", t.id), now: now, address: "ecs-tasks.amazonaws.com", agent: "ecs-tasks.amazonaws.com", id: t.id}
	s.record(c, apis()["AmazonSSM"], "GetParameters", &namesInput{Names: names, WithDecryption: true}, nil)
	if len(missing) > 0 {
		return nil, fmt.Errorf("ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: invalid ssm parameters: %s", strings.Join(missing, ", "))
	}
	return out, nil
}

// newTask adds a task of the primary deployment. The caller holds the lock.
func (s *Server) newTask(v *service) *task {
	primary := v.deployments[0]
	definition, err := s.definition(primary.taskDefinition)
	if err != nil {
		panic("sandbox/aws: a deployment of an unknown task definition") // deploy is given known ones only
	}
	t := &task{id: newTaskID(), deployment: primary, definition: definition, created: s.stamp(),
		last: "PENDING", desired: "RUNNING", health: "UNKNOWN"}
	v.tasks = append(v.tasks, t)
	primary.updated = t.created
	s.look() // it may be due at once
	return t
}

// balance is ECS's service scheduler: it starts and stops tasks within the
// percentages until the primary deployment has all its tasks and nobody else
// has any. The caller holds the lock.
func (s *Server) balance(v *service, now time.Time) {
	v.forget()
	if v.deployments[0].rollout == "IN_PROGRESS" && v.breaker && v.deployments[0].failed >= v.threshold() {
		v.trip(now)
	}
	primary := v.deployments[0]
	if primary.rollout == "FAILED" {
		return // ECS leaves what runs alone and starts nothing more
	}
	own, others := v.active(primary)
	for len(own) > v.desired { // scaled in
		s.stopTaskFor(own[len(own)-1], now, "ServiceSchedulerInitiated", "Scaling activity initiated by (deployment "+primary.id()+")")
		own = own[:len(own)-1]
	}
	stopped := s.stopOthers(v, own, others, now)
	room := v.desired*v.maximum/100 - len(own) - len(others) + stopped
	want := v.desired - len(own)
	if !now.Before(v.notBefore) {
		for range min(want, room) {
			s.newTask(v)
		}
	}
	if want > 0 && room <= 0 && stopped == 0 && len(own) == 0 && v.calm() && !primary.complained {
		primary.complained = true
		v.say(now, "was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.")
	}
	v.finish(now)
}

// active splits the tasks that shall run into the deployment's own and others.
func (v *service) active(d *deployment) (own, others []*task) {
	for _, t := range v.tasks {
		switch {
		case t.desired != "RUNNING":
		case t.deployment == d:
			own = append(own, t)
		default:
			others = append(others, t)
		}
	}
	return own, others
}

// calm tells whether no task is between two states.
func (v *service) calm() bool {
	return !slices.ContainsFunc(v.tasks, func(t *task) bool { return t.last == "PENDING" || t.last == "DEACTIVATING" })
}

// stopOthers stops tasks of former deployments: each when a new one works in
// its place, or earlier when there is no room for the new ones and the minimum
// allows it. It returns how many.
func (s *Server) stopOthers(v *service, own, others []*task, now time.Time) int {
	ready := 0
	for _, t := range own {
		if t.ready() {
			ready++
		}
	}
	surplus := len(others) - (v.desired - ready)
	if room := v.desired*v.maximum/100 - len(own) - len(others); room <= 0 {
		surplus = max(surplus, v.desired-len(own))
	}
	spare := ready - (v.desired*v.minimum+99)/100
	for _, t := range others {
		if t.ready() {
			spare++
		}
	}
	stopped := 0
	for _, t := range others {
		if stopped >= surplus {
			break
		}
		if t.ready() {
			if spare <= 0 {
				continue
			}
			spare--
		}
		s.stopTaskFor(t, now, "ServiceSchedulerInitiated", "Scaling activity initiated by (deployment "+v.deployments[0].id()+")")
		stopped++
	}
	return stopped
}

// threshold is how many failed tasks trip the circuit breaker: half the desired
// count, between 3 and 200.
func (v *service) threshold() int { return min(200, max(3, (v.desired+1)/2)) }

// trip is the circuit breaker: the primary deployment has failed; the last one
// that was complete becomes the primary again, if that is configured. Its tasks
// read whatever their parameters hold now.
func (v *service) trip(now time.Time) {
	failed := v.deployments[0]
	failed.rollout, failed.updated, failed.finished = "FAILED", now, now
	failed.reason = "ECS deployment circuit breaker: tasks failed to start."
	v.say(now, "(deployment %s) deployment failed: tasks failed to start.", failed.id())
	if v.rollingBack != nil { // the way back fails too
		v.rollingBack.outcome, v.rollingBack.finished = "ROLLBACK_FAILED", now
		v.rollingBack = nil
		return
	}
	failed.outcomeReason = failed.reason
	i := slices.IndexFunc(v.deployments, func(d *deployment) bool { return d.rollout == "COMPLETED" })
	if !v.rollback || i < 0 {
		failed.outcome = "STOPPED"
		return
	}
	back := v.deployments[i]
	v.deployments = slices.Insert(slices.Delete(v.deployments, i, i+1), 0, back)
	failed.status, failed.outcome, failed.backTo, failed.backSince = "ACTIVE", "ROLLBACK_IN_PROGRESS", back, now
	back.status, back.rollout, back.updated, back.failed = "PRIMARY", "IN_PROGRESS", now, 0
	back.reason = "ECS deployment circuit breaker: rolling back to deploymentId " + back.id() + "."
	v.taskDefinition, v.rollingBack = back.taskDefinition, failed
	v.say(now, "rolling back to deployment %s.", back.id())
}

// finish completes the primary deployment once all its tasks work and no task
// of another one is left.
func (v *service) finish(now time.Time) {
	primary := v.deployments[0]
	ready := 0
	for _, t := range v.tasks {
		if t.deployment != primary && t.last != "STOPPED" {
			return
		}
		if t.deployment == primary && t.ready() {
			ready++
		}
	}
	if primary.rollout != "IN_PROGRESS" || ready != v.desired {
		return
	}
	primary.rollout, primary.reason, primary.updated = "COMPLETED", "ECS deployment "+primary.id()+" completed.", now
	if v.rollingBack == nil {
		primary.outcome, primary.finished = "SUCCESSFUL", now
	} else {
		v.rollingBack.outcome, v.rollingBack.finished = "ROLLBACK_SUCCESSFUL", now
		v.rollingBack = nil
	}
	for _, d := range v.deployments[1:] {
		d.status = "INACTIVE"
	}
	v.deployments = v.deployments[:1:1]
	v.say(now, "has reached a steady state.")
}

// forget drops the oldest stopped tasks.
func (v *service) forget() {
	stopped := 0
	for _, t := range v.tasks {
		if t.last == "STOPPED" {
			stopped++
		}
	}
	v.tasks = slices.DeleteFunc(v.tasks, func(t *task) bool {
		if t.last != "STOPPED" || stopped <= keptTasks {
			return false
		}
		stopped--
		return true
	})
}
