package runbook

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// ECS's words.
const (
	deploymentPrimary = "PRIMARY"
	deploymentActive  = "ACTIVE"
	rolloutCompleted  = "COMPLETED"
	rolloutFailed     = "FAILED"
)

// deployed judges a deployment. A service that is "stable" may have been rolled
// back, so what counts is this very deployment, and each running task's birth
// after the parameter was written, both by AWS's clock.
func (j job) deployed(ctx context.Context, id string, written Parameter) (string, error) {
	service, err := j.ECS.Service(ctx, j.target.Cluster, j.target.Service)
	if err != nil {
		return "", fmt.Errorf("read the service: %w", err)
	}
	if err := complete(service, id); err != nil {
		return "", err
	}
	tasks, err := j.ECS.Tasks(ctx, j.target.Cluster, j.target.Service)
	if err != nil {
		return "", fmt.Errorf("list the tasks: %w", err)
	}
	var ids []string
	for _, t := range tasks {
		if t.StartedBy != id || !t.Created.After(written.Modified) {
			return "", operation.NotYet{After: time.Second, Why: fmt.Sprintf("task %s of %s was created before version %d was written", t.ID, t.StartedBy, written.Version)}
		}
		ids = append(ids, t.ID)
	}
	if len(ids) != service.Desired {
		return "", operation.NotYet{After: time.Second, Why: fmt.Sprintf("%d of %d tasks run", len(ids), service.Desired)}
	}
	return fmt.Sprintf("Deployment %s is complete; all %d running tasks (%s) were created after version %d was written.",
		id, len(ids), strings.Join(ids, ", "), written.Version), nil
}

// complete reports whether deployment id has taken the service over.
func complete(s Service, id string) error {
	var ours *Deployment
	others := 0
	for i, d := range s.Deployments {
		switch {
		case d.ID == id:
			ours = &s.Deployments[i]
		case d.Status == deploymentPrimary, d.Status == deploymentActive:
			others++
		}
	}
	switch {
	case ours == nil:
		return operation.DoAgain{Why: fmt.Sprintf("deployment %s of %s is gone: it was rolled back or replaced", id, s.Name)}
	case ours.Rollout == rolloutFailed:
		return operation.Permanent(fmt.Errorf("deployment %s of %s failed: %s", id, s.Name, ours.Reason))
	case ours.Status != deploymentPrimary:
		// Perhaps by ourselves, when a worker that slept wakes: the one that took its
		// place is taken instead, if it is newer than the secret.
		return operation.DoAgain{Why: fmt.Sprintf("deployment %s of %s is not the primary one any more: it was rolled back or replaced", id, s.Name)}
	case ours.Rollout != rolloutCompleted || others > 0 || s.Pending > 0 || s.Running != s.Desired || s.Desired == 0:
		return operation.NotYet{After: time.Second, Why: fmt.Sprintf("deployment %s is %s: %d of %d tasks run, %d pending, %d failed", id, ours.Rollout, s.Running, s.Desired, s.Pending, ours.Failed)}
	}
	return nil
}
