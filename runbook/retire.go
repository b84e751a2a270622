package runbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twokey/twokey/operation"
)

// retire is the end of a rotation: the old key lives on for the overlap, then it
// is removed and proven dead. The service runs on the new secret by now, so what
// fails here is for people to judge.
func (j job) retire() []operation.Step {
	return []operation.Step{
		{
			Name: "Keep both keys for the overlap", Within: 10 * time.Minute, AskFirst: true,
			Do: j.overlap, Verify: j.stillInUse,
			Undo: operation.NoUndo("waiting changes nothing"),
		},
		{
			Name: "Remove the old key", Within: 10 * time.Minute, PointOfNoReturn: true, Settled: true,
			Do: j.removeOld, Verify: j.oldIsGone,
			Undo: operation.NoUndo("a removed key cannot be brought back"),
		},
		{
			Name: "Prove the old secret is refused", Within: 30 * time.Minute, AskFirst: true,
			Do: j.firstRefusal, Verify: j.refusedInARow,
			Undo: operation.NoUndo("asking for tokens changes nothing"),
		},
		{
			Name: "Clear up", Within: 5 * time.Minute, AskFirst: true,
			Do: j.clearUp, Verify: j.nothingLeft,
			Undo: operation.NoUndo("what was cleared up was of no use any more"),
		},
	}
}

// overlap waits, once, for the configured time. The pending parameter goes before
// it: the live one holds the same text, and one copy less may be read for so long.
func (j job) overlap(ctx context.Context, run *operation.Run) (string, error) {
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Params.Delete(ctx, j.target.PendingParameter()); err != nil {
		return "", fmt.Errorf("delete the pending parameter: %w", err)
	}
	until := run.Now().Add(j.plan.Overlap)
	if j.plan.UntilExpiry {
		until = j.plan.OldEnds
	}
	if !run.Now().Before(until) {
		return "", nil
	}
	return "", operation.WaitUntil{At: until, Why: fmt.Sprintf("The service runs on the new secret. The old key %s lives on until %s, and is then removed.", j.plan.OldKey, clock(until))}
}

// stillInUse looks again at the end of the overlap: somebody may have deployed or
// written meanwhile, and then the old key must not go.
func (j job) stillInUse(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	if err := j.token(ctx, live.Value); err != nil {
		return "", err
	}
	tasks, err := j.ECS.Tasks(ctx, j.target.Cluster, j.target.Service)
	if err != nil {
		return "", fmt.Errorf("list the tasks: %w", err)
	}
	if len(tasks) == 0 {
		return "", operation.NotYet{After: time.Second, Why: "no task runs"}
	}
	for _, t := range tasks {
		if !t.Created.After(live.Modified) {
			return "", operation.NotYet{After: 2 * time.Second, Why: fmt.Sprintf("task %s was created before version %d was written and may still use the old key", t.ID, live.Version)}
		}
	}
	return fmt.Sprintf("The live parameter is still version %d and gets a token; all %d running tasks are newer than it.", live.Version, len(tasks)), nil
}

// removeOld removes exactly the key of the plan, and the keys of this operation
// whose text was lost on the way.
func (j job) removeOld(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return "", fmt.Errorf("read the application: %w", err)
	}
	for _, k := range app.Keys {
		if !j.toRemove(run, k) {
			continue
		}
		if k.ID == j.plan.OldKey && live.Value.HasHint(k.Hint) {
			return "", operation.Permanent(fmt.Errorf("the live parameter may hold the text of key %s, so it is not removed", k.ID))
		}
		if err := run.Fence(ctx); err != nil {
			return "", err
		}
		if err := j.Apps.RemovePassword(ctx, j.holder(app, k), k); err != nil {
			return "", fmt.Errorf("remove key %s: %w", k.ID, err)
		}
	}
	return "", nil
}

// toRemove reports whether a rotation's end removes k: the old key, and lost ones
// of our own.
func (j job) toRemove(run *operation.Run, k Key) bool {
	return k.ID == j.plan.OldKey || k.Name == j.mark && string(k.ID) != run.Facts[factNewKey]
}

// holder is the object that bears k.
func (j job) holder(app Application, k Key) ObjectID {
	if k.OnServicePrincipal {
		return app.ServicePrincipal
	}
	return app.Object
}

// oldIsGone: Entra's replicas differ, so a run of equal reads decides.
func (j job) oldIsGone(ctx context.Context, run *operation.Run) (string, error) {
	err := j.inARow(ctx, j.Proof.Reads, func() error {
		app, err := j.Apps.Application(ctx, j.plan.Client)
		if err != nil {
			return fmt.Errorf("read the application: %w", err)
		}
		if i := slices.IndexFunc(app.Keys, func(k Key) bool { return j.toRemove(run, k) }); i >= 0 {
			return operation.DoAgain{Why: fmt.Sprintf("Entra lists key %s", app.Keys[i].ID)}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Key %s is absent in %d reads in a row.", j.plan.OldKey, j.Proof.Reads), nil
}

// oldText reads the old secret from the parameter's history.
func (j job) oldText(ctx context.Context) (operation.Secret, error) {
	old, err := j.Params.Read(ctx, fmt.Sprintf("%s:%d", j.target.SecretParameter, j.plan.Version))
	if err != nil {
		return operation.Secret{}, fmt.Errorf("read version %d of the live parameter: %w", j.plan.Version, err)
	}
	return old.Value, nil
}

// refusal asks once with the old secret, which must be refused for being dead.
func (j job) refusal(ctx context.Context, old operation.Secret) (*TokenRefused, error) {
	err := j.Tokens.Request(ctx, j.plan.Client, old)
	var refused *TokenRefused
	switch {
	case err == nil:
		return nil, operation.NotYet{After: 2 * time.Second, Why: "Entra still grants tokens for the old secret"}
	case !errors.As(err, &refused):
		return nil, fmt.Errorf("request a token with the old secret: %w", err)
	case refused.Has(SecretInvalid), refused.Has(SecretExpired), refused.Has(SecretRevoked):
		return refused, nil
	case refused.Has(ApplicationDisabled):
		return nil, frozen{operation.NotYet{After: 5 * time.Second, Why: frozenWords}}
	}
	return nil, fmt.Errorf("refused for another reason than a dead secret: %w", refused)
}

func (j job) firstRefusal(ctx context.Context, _ *operation.Run) (string, error) {
	old, err := j.oldText(ctx)
	if err != nil {
		return "", err
	}
	_, err = j.refusal(ctx, old)
	return "", err
}

func (j job) refusedInARow(ctx context.Context, _ *operation.Run) (string, error) {
	old, err := j.oldText(ctx)
	if err != nil {
		return "", err
	}
	var last *TokenRefused
	err = j.inARow(ctx, j.Proof.Tokens, func() (err error) {
		last, err = j.refusal(ctx, old)
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d token requests with the old secret refused in a row (AADSTS%d). Tokens issued before may live on for about an hour.", j.Proof.Tokens, j.Proof.Tokens, last.Codes[0]), nil
}

// clearUp removes the pending parameter, should it be back, and the old version's label: a labelled
// oldest version would block SSM's 101st put.
func (j job) clearUp(ctx context.Context, run *operation.Run) (string, error) {
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Params.Delete(ctx, j.target.PendingParameter()); err != nil {
		return "", fmt.Errorf("delete the pending parameter: %w", err)
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Labels.Unlabel(ctx, j.target.SecretParameter, j.plan.Version, keyLabel(j.plan.OldKey)); err != nil {
		return "", fmt.Errorf("unlabel version %d: %w", j.plan.Version, err)
	}
	return "", nil
}

func (j job) nothingLeft(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	if err := j.pendingGone(ctx); err != nil {
		return "", err
	}
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return "", fmt.Errorf("read the application: %w", err)
	}
	if ours := j.ours(app); len(ours) != 1 || string(ours[0].ID) != run.Facts[factNewKey] {
		return "", operation.NotYet{After: time.Second, Why: fmt.Sprintf("Entra lists %d keys named %s", len(ours), j.mark)}
	}
	if err := j.token(ctx, live.Value); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is gone; Entra lists one key of this operation, %s; the live parameter, version %d, gets a token.",
		j.target.PendingParameter(), run.Facts[factNewKey], live.Version), nil
}

func (j job) pendingGone(ctx context.Context) error {
	_, err := j.Params.Read(ctx, j.target.PendingParameter())
	if errors.Is(err, ErrNoParameter) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the pending parameter: %w", err)
	}
	return operation.DoAgain{Why: j.target.PendingParameter() + " is still there"}
}
