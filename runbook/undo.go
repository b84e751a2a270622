package runbook

import (
	"context"
	"errors"
	"fmt"

	"github.com/twokey/twokey/operation"
)

// restoreOld puts the value back that stood before ours, as a new version, and
// redeploys: ECS cannot pin a version, so rolling back alone brings nothing back.
func (j job) restoreOld(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	if run.Facts[factLive] == "" {
		if err := j.noticeLive(ctx, run, live); err != nil {
			return "", err
		}
	}
	if run.Facts[factLive] == "" {
		return "", nil // never written: nothing to bring back
	}
	restored, err := j.restoreValue(ctx, run, live)
	if err != nil {
		return "", err
	}
	run.Facts[factRestart], err = j.deployAfter(ctx, run, restored.Modified)
	return "", err
}

// noticeLive finds out whether the live parameter was written although nobody
// noted it: the answer, or the process, was lost.
func (j job) noticeLive(ctx context.Context, run *operation.Run, live Parameter) error {
	version, err := j.written(ctx, run, live)
	if err != nil {
		return err
	}
	if version != 0 {
		run.Facts[factLive] = fmt.Sprint(version)
	}
	return nil
}

// written returns the version of the live parameter that holds what lies in the
// pending one; 0 when none ever did. Somebody else may have written since: a task
// that started in between would hold ours.
func (j job) written(ctx context.Context, run *operation.Run, live Parameter) (int64, error) {
	if live.Version == j.base(run) {
		return 0, nil
	}
	pending, err := j.Params.Read(ctx, j.target.PendingParameter())
	if errors.Is(err, ErrNoParameter) {
		return 0, operation.Permanent(fmt.Errorf("somebody else wrote version %d of %s, and %s is gone, so nothing tells whether the new secret ever was in it", live.Version, live.Name, j.target.PendingParameter()))
	}
	if err != nil {
		return 0, fmt.Errorf("read the pending parameter: %w", err)
	}
	for version := live.Version; version > j.base(run); version-- {
		p, err := j.Params.Read(ctx, fmt.Sprintf("%s:%d", live.Name, version))
		if err != nil {
			return 0, fmt.Errorf("read version %d of the live parameter: %w", version, err)
		}
		if p.Value.Equal(pending.Value) {
			return version, nil
		}
	}
	return 0, nil
}

// restoreValue writes the value before ours unless it stands there already. A
// value that somebody else wrote meanwhile is not ours to overwrite.
func (j job) restoreValue(ctx context.Context, run *operation.Run, live Parameter) (Parameter, error) {
	before, err := j.beforeOurs(ctx, run)
	if err != nil {
		return Parameter{}, err
	}
	if live.Value.Equal(before.Value) {
		run.Facts[factRestored] = fmt.Sprint(live.Version)
		return live, nil
	}
	ours, err := j.Params.Read(ctx, j.target.SecretParameter+":"+run.Facts[factLive])
	if err != nil {
		return Parameter{}, fmt.Errorf("read version %s of the live parameter: %w", run.Facts[factLive], err)
	}
	if !live.Value.Equal(ours.Value) {
		return Parameter{}, operation.Permanent(fmt.Errorf("somebody else wrote version %d of %s after ours, so the old value is not put back over it", live.Version, live.Name))
	}
	if err := run.Fence(ctx); err != nil {
		return Parameter{}, err
	}
	version, err := j.Params.Write(ctx, j.target.SecretParameter, before.Value, j.target.KMSKey)
	if err != nil {
		return Parameter{}, fmt.Errorf("write the old value back: %w", err)
	}
	run.Facts[factRestored] = fmt.Sprint(version)
	restored, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return Parameter{}, fmt.Errorf("read the live parameter: %w", err)
	}
	return restored, nil
}

// beforeOurs reads the version that ours replaced.
func (j job) beforeOurs(ctx context.Context, run *operation.Run) (Parameter, error) {
	before, err := j.Params.Read(ctx, fmt.Sprintf("%s:%d", j.target.SecretParameter, j.base(run)))
	if err != nil {
		return Parameter{}, fmt.Errorf("read version %d of the live parameter: %w", j.base(run), err)
	}
	return before, nil
}

// oldIsBack: the parameter holds the earlier value again, and every running task
// was created after it was put back.
func (j job) oldIsBack(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	if run.Facts[factLive] == "" {
		return j.neverWritten(ctx, run, live)
	}
	before, err := j.beforeOurs(ctx, run)
	if err != nil {
		return "", err
	}
	if !live.Value.Equal(before.Value) {
		return "", operation.Permanent(fmt.Errorf("%s does not hold the old value: it is version %d", live.Name, live.Version))
	}
	deployed, err := j.deployed(ctx, run.Facts[factRestart], live)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is version %d with the old value. %s", live.Name, live.Version, deployed), nil
}

// neverWritten: the new secret never was in the live parameter. What somebody else
// wrote is theirs, and stays.
func (j job) neverWritten(ctx context.Context, run *operation.Run, live Parameter) (string, error) {
	version, err := j.written(ctx, run, live)
	switch {
	case err != nil:
		return "", err
	case version != 0:
		return "", operation.DoAgain{Why: fmt.Sprintf("version %d of %s holds the new secret after all", version, live.Name)}
	case live.Version != j.base(run):
		return fmt.Sprintf("The new secret never was in %s. Somebody else wrote version %d of it meanwhile, and that is left as it is.", live.Name, live.Version), nil
	}
	return fmt.Sprintf("%s was never written: it is still version %d.", live.Name, live.Version), nil
}

// removeNewKeys removes what this operation made in Entra, and its pending
// parameter, unless the live parameter still holds one of its texts.
func (j job) removeNewKeys(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return "", fmt.Errorf("read the application: %w", err)
	}
	for _, k := range j.ours(app) {
		if live.Value.HasHint(k.Hint) {
			return "", operation.Permanent(fmt.Errorf("the live parameter may hold the text of key %s, so it is not removed", k.ID))
		}
		if err := run.Fence(ctx); err != nil {
			return "", err
		}
		if err := j.Apps.RemovePassword(ctx, app.Object, k); err != nil {
			return "", fmt.Errorf("remove key %s: %w", k.ID, err)
		}
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Params.Delete(ctx, j.target.PendingParameter()); err != nil {
		return "", fmt.Errorf("delete the pending parameter: %w", err)
	}
	return "", nil
}

func (j job) newKeysGone(ctx context.Context, _ *operation.Run) (string, error) {
	if err := j.pendingGone(ctx); err != nil {
		return "", err
	}
	err := j.inARow(ctx, j.Proof.Reads, func() error {
		app, err := j.Apps.Application(ctx, j.plan.Client)
		if err != nil {
			return fmt.Errorf("read the application: %w", err)
		}
		if ours := j.ours(app); len(ours) > 0 {
			// It may have come to light late, after an answer that was lost.
			return operation.DoAgain{Why: fmt.Sprintf("Entra lists key %s", ours[0].ID)}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("No key named %s in %d reads in a row, and no %s.", j.mark, j.Proof.Reads, j.target.PendingParameter()), nil
}
