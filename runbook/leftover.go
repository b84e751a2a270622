package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// KindLeftover removes something that was left behind: a key that an operation of
// ours had made and that is in no parameter, or a pending parameter.
const KindLeftover operation.Kind = "remove_leftover"

// OptionTold is the number under which people were told of a leftover. OptionKey
// says which key it is, by its id; without that it is the pending parameter.
const OptionTold operation.Option = "told"

// Leftover removes one leftover. It never removes what the service may be using:
// that is looked at when the plan is made, again before the first step, and in the
// instant before the removal.
type Leftover struct {
	*Rotate
	History History
}

// Plan looks whether the leftover is there, and whether the service works without.
func (f *Leftover) Plan(ctx context.Context, op operation.Operation) (operation.Plan, error) {
	target, ok := f.Targets[op.Secret]
	if !ok {
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "%s is not in my configuration.", op.Secret)
	}
	if err := f.alone(ctx, op); err != nil {
		return operation.Plan{}, err
	}
	l := &look{Rotate: f.Rotate, target: target, at: op.RequestedAt}
	client, found, err := l.clientID(ctx)
	if err != nil {
		return operation.Plan{}, err
	}
	if !found {
		return operation.Plan{}, l.leftoverStays()
	}
	if l.app, err = f.Apps.Application(ctx, client); err != nil {
		return operation.Plan{}, fmt.Errorf("read the application: %w", err)
	}
	d := details{Client: client, Object: l.app.Object, Principal: l.app.ServicePrincipal, Target: target}
	j := job{Rotate: f.Rotate, target: target, plan: d}
	var change operation.Change
	if id := op.Options[OptionKey]; id != "" {
		change, err = l.leftoverKey(ctx, &j, KeyID(id))
	} else {
		change, err = l.leftoverParameter(ctx, &j)
	}
	if err != nil {
		return operation.Plan{}, err
	}
	if len(l.problems) > 0 {
		return operation.Plan{}, l.leftoverStays()
	}
	raw, err := json.Marshal(j.plan)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	return operation.Plan{
		Kind: KindLeftover, Secret: op.Secret, Policy: target.Policy, Details: raw, Warnings: texts(l.warnings),
		// Both write the pending parameter.
		Blocks: []operation.Kind{KindRotate},
		Changes: []operation.Change{change, {
			What: "SSM parameter " + target.SecretParameter, From: fmt.Sprintf("version %d", j.plan.Version), To: "the same; the service goes on with it",
		}},
	}, nil
}

func (l *look) leftoverStays() error {
	return operation.Refuse(CodeCannotRotate, "This leftover of %s must not be removed now, so nobody was asked and nothing was changed:\n• %s", l.target.Name, strings.Join(texts(l.problems), "\n• "))
}

// alone refuses while anything else is open: what it needs may look like a leftover.
func (f *Leftover) alone(ctx context.Context, op operation.Operation) error {
	all, err := f.History.OperationsOf(ctx, op.Secret)
	if err != nil {
		return fmt.Errorf("read the operations of %s: %w", op.Secret, err)
	}
	for _, o := range all {
		if o.ID != op.ID && o.State.Open() {
			return operation.Refuse(operation.CodeOpenOperation, "%s has an open operation: %s, %s. What is left behind can be told only after its end. Nothing was changed.", op.Secret, o.ID, o.State.Words())
		}
	}
	return nil
}

// leftoverKey finds the key among the application's.
func (l *look) leftoverKey(ctx context.Context, j *job, id KeyID) (operation.Change, error) {
	i := slices.IndexFunc(l.app.Keys, func(k Key) bool { return strings.EqualFold(string(k.ID), string(id)) })
	if i < 0 {
		l.problem("The Entra application %s has no key %s: it is gone already.", l.app.Name, id)
		return operation.Change{}, nil
	}
	key := l.app.Keys[i]
	if !strings.HasPrefix(key.Name, Mark("")) {
		l.problem("Key %s (%s) was not made by me, so somebody may use it where I don't look. If it leaked, ask by the form of /emergency-disable.", key.ID, key.Name)
		return operation.Change{}, nil
	}
	j.plan.OldKey, j.plan.OldEnds = key.ID, key.End.UTC()
	live, why, err := j.worksWithout(ctx, l.app)
	if err != nil {
		return operation.Change{}, err
	}
	if why != "" {
		l.problem("%s", why)
	}
	j.plan.Version = live.Version
	return operation.Change{What: "Entra application " + l.app.Name, From: fmt.Sprintf("key %s, named %s, in no parameter", key.ID, key.Name), To: "the key is removed, for ever"}, nil
}

// leftoverParameter finds the pending parameter.
func (l *look) leftoverParameter(ctx context.Context, j *job) (operation.Change, error) {
	pending, err := j.Params.Read(ctx, j.target.PendingParameter())
	switch {
	case errors.Is(err, ErrNoParameter):
		l.problem("SSM has no parameter %s: it is gone already.", j.target.PendingParameter())
		return operation.Change{}, nil
	case err != nil:
		return operation.Change{}, fmt.Errorf("read the pending parameter: %w", err)
	}
	live, why, err := j.worksWithout(ctx, l.app)
	if err != nil {
		return operation.Change{}, err
	}
	if why != "" {
		l.problem("%s", why)
	}
	j.plan.Version, j.plan.Pending = live.Version, pending.Modified.UTC()
	return operation.Change{What: "SSM parameter " + pending.Name, From: fmt.Sprintf("version %d, written %s, of no open operation", pending.Version, clock(pending.Modified)), To: "deleted, with its history"}, nil
}

// worksWithout looks whether the service, and every other that the same application
// feeds, works without the leftover. It returns the service's live parameter and, in
// a sentence, why not.
func (j job) worksWithout(ctx context.Context, app Application) (Parameter, string, error) {
	var own Parameter
	for _, t := range j.Targets {
		fed := t.Name == j.target.Name
		if !fed {
			client, err := j.Params.Read(ctx, t.ClientIDParameter)
			if errors.Is(err, ErrNoParameter) {
				continue
			}
			if err != nil {
				return own, "", fmt.Errorf("read the client id of %s: %w", t.Name, err)
			}
			fed = strings.EqualFold(strings.TrimSpace(client.Value.Reveal()), string(app.Client)) // a client id is no secret
		}
		if !fed {
			continue
		}
		live, why, err := j.targetWorksWithout(ctx, t, app)
		if err != nil || why != "" {
			return own, why, err
		}
		if t.Name == j.target.Name {
			own = live
		}
	}
	return own, "", nil
}

// targetWorksWithout: the live parameter holds another key than the leftover, which
// gets a token, and every running task was started with it.
func (j job) targetWorksWithout(ctx context.Context, t Target, app Application) (Parameter, string, error) {
	live, err := j.Params.Read(ctx, t.SecretParameter)
	if errors.Is(err, ErrNoParameter) {
		return live, fmt.Sprintf("SSM has no parameter %s, so I can't tell what the service uses.", t.SecretParameter), nil
	}
	if err != nil {
		return live, "", fmt.Errorf("read the live parameter: %w", err)
	}
	another := false
	for _, k := range app.Keys {
		switch {
		case k.ID != j.plan.OldKey:
			another = another || live.Value.HasHint(k.Hint)
		case k.Hint == "" || live.Value.HasHint(k.Hint):
			return live, fmt.Sprintf("The live parameter %s may hold the text of key %s.", live.Name, k.ID), nil
		}
	}
	if !another {
		return live, fmt.Sprintf("The value in %s belongs to none of the other keys of the Entra application %s.", live.Name, app.Name), nil
	}
	var refused *TokenRefused
	switch err := j.Tokens.Request(ctx, app.Client, live.Value); {
	case errors.As(err, &refused):
		return live, fmt.Sprintf("Entra refuses the secret in %s now (AADSTS%v), so I can't tell what the service works with. Rotate it first.", live.Name, refused.Codes), nil
	case err != nil:
		return live, "", fmt.Errorf("request a token with the live secret: %w", err)
	}
	tasks, err := j.ECS.Tasks(ctx, t.Cluster, t.Service)
	if err != nil {
		return live, "", fmt.Errorf("list the tasks: %w", err)
	}
	for _, task := range tasks {
		if !task.Created.After(live.Modified) {
			return live, fmt.Sprintf("Task %s of %s was started before version %d of %s was written, so it may run on something else. Redeploy the service first.", task.ID, t.Service, live.Version, live.Name), nil
		}
	}
	return live, "", nil
}

// Steps is the removal, and the proof that the service works without.
func (f *Leftover) Steps(op operation.Operation) []operation.Step {
	j := f.job(op)
	remove := operation.Step{
		Name: "Delete the pending parameter", Within: 5 * time.Minute, PointOfNoReturn: true, Settled: true,
		Do: j.deleteLeftover, Verify: j.leftoverDeleted,
		Undo: operation.NoUndo("a deleted parameter cannot be brought back"),
	}
	if j.plan.OldKey != "" {
		remove = operation.Step{
			Name: "Remove the key that was left", Within: 10 * time.Minute, PointOfNoReturn: true, Settled: true,
			Do: j.removeLeftover, Verify: j.oldIsGone,
			Undo: operation.NoUndo("a removed key cannot be brought back"),
		}
	}
	return f.patient([]operation.Step{remove, {
		Name: "Prove that the service's secret works", Within: 10 * time.Minute, AskFirst: true,
		Do: nothing, Verify: j.liveStillWorks,
		Undo: operation.NoUndo("asking for tokens changes nothing"),
	}})
}

// removeLeftover looks once more, immediately before: what the service uses by now
// stays.
func (j job) removeLeftover(ctx context.Context, run *operation.Run) (string, error) {
	app, key, err := j.leftAt(ctx)
	if err != nil || key.ID == "" {
		return "", err // gone: somebody was quicker, or our own answer was lost
	}
	if err := j.stillUseless(ctx, app); err != nil {
		return "", err
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Apps.RemovePassword(ctx, j.holder(app, key), key); err != nil {
		return "", fmt.Errorf("remove key %s: %w", key.ID, err)
	}
	return "", nil
}

// leftAt finds the key in a fresh read; none when it is gone.
func (j job) leftAt(ctx context.Context) (Application, Key, error) {
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return app, Key{}, fmt.Errorf("read the application: %w", err)
	}
	for _, k := range app.Keys {
		if k.ID == j.plan.OldKey {
			return app, k, nil
		}
	}
	return app, Key{}, nil
}

// stillUseless fails for good when the service may be using the leftover by now.
func (j job) stillUseless(ctx context.Context, app Application) error {
	live, why, err := j.worksWithout(ctx, app)
	switch {
	case err != nil:
		return err
	case why != "":
		return operation.Permanent(fmt.Errorf("nothing is removed: %s", why))
	case live.Version != j.plan.Version:
		return operation.Permanent(fmt.Errorf("nothing is removed: somebody wrote version %d of %s; confirmed was version %d", live.Version, live.Name, j.plan.Version))
	}
	return nil
}

// deleteLeftover looks once more, immediately before: what was written since stays.
func (j job) deleteLeftover(ctx context.Context, run *operation.Run) (string, error) {
	app, _, err := j.leftAt(ctx)
	if err != nil {
		return "", err
	}
	if err := j.stillUseless(ctx, app); err != nil {
		return "", err
	}
	pending, err := j.Params.Read(ctx, j.target.PendingParameter())
	switch {
	case errors.Is(err, ErrNoParameter):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read the pending parameter: %w", err)
	case !pending.Modified.Equal(j.plan.Pending):
		return "", operation.Permanent(fmt.Errorf("nothing is removed: somebody wrote %s at %s; confirmed was what was written at %s", pending.Name, clock(pending.Modified), clock(j.plan.Pending)))
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Params.Delete(ctx, pending.Name); err != nil {
		return "", fmt.Errorf("delete the pending parameter: %w", err)
	}
	return "", nil
}

func (j job) leftoverDeleted(ctx context.Context, _ *operation.Run) (string, error) {
	if err := j.inARow(ctx, j.Proof.Reads, func() error { return j.pendingGone(ctx) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is absent in %d reads in a row.", j.target.PendingParameter(), j.Proof.Reads), nil
}

// liveStillWorks: the service's secret is the one that it was, and gets tokens.
func (j job) liveStillWorks(ctx context.Context, _ *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	if err := j.inARow(ctx, j.Proof.Tokens, func() error { return j.token(ctx, live.Value) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is version %d; %d of %d fresh token requests granted in a row with it.", live.Name, live.Version, j.Proof.Tokens, j.Proof.Tokens), nil
}
