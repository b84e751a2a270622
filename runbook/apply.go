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

// SavedPlan is a plan that lies in a file: what was asked about is what is applied.
type SavedPlan struct {
	Hash      string // the file's SHA-256 in hexadecimal
	Resources []Resource
}

// ErrApplying is returned while a process that died has left an apply running.
var ErrApplying = errors.New("an apply of this plan is still running")

// SavedPlans are the files that [Terraform] saved. Definite refusals are marked
// [operation.Permanent] and have words for people.
type SavedPlans interface {
	// Check finds the file, which must have that hash.
	Check(id operation.ID, hash string) error
	// Apply applies exactly that file. It may go on when ctx ends; the next call
	// hears of the end.
	Apply(ctx context.Context, m Module, id operation.ID, hash string) error
	// Discard deletes the file. One that is gone is no error.
	Discard(id operation.ID) error
}

// applied is what a rotation by Terraform freezes.
type applied struct {
	Hash   string             `json:"hash"`
	Does   []operation.Change `json:"does"`
	Before []KeyID            `json:"before"` // the application's keys
	// Destroys says that the apply destroys the old key; First, that it does so
	// before there is a new one.
	Destroys bool `json:"destroys,omitempty"`
	First    bool `json:"first,omitempty"`
}

// maxChanges is what a person can read and confirm.
const maxChanges = 20

// savedPlan has Terraform make the plan of the rotation or, when it was made
// before, looks whether it still lies there as it was.
func (l *look) savedPlan(ctx context.Context, op operation.Operation) error {
	m := l.target.Module
	if frozen := decodeDetails(op.Plan.Details).Applied; frozen != nil {
		if err := l.Plans.Check(op.ID, frozen.Hash); operation.IsPermanent(err) {
			l.problem("%s.", sentence(err)).mend("Ask again.")
		} else if err != nil {
			return err
		}
		now := *frozen
		now.Before = l.keys() // another key since then is another plan
		l.applied = &now
		return nil
	}
	plan, err := l.Terraform.Save(ctx, m, op.ID, op.LapsesAt)
	if operation.IsPermanent(err) {
		l.problem("%s.", sentence(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("have %s plan the rotation: %w", m.Program, err)
	}
	l.read(plan)
	if len(l.problems) > 0 {
		return l.Plans.Discard(op.ID)
	}
	return nil
}

// sentence begins an error's words as a sentence does.
func sentence(err error) string {
	text := strings.TrimRight(err.Error(), ".")
	return strings.ToUpper(text[:1]) + text[1:]
}

// read judges a plan: it must make a secret and write the parameter, and a person
// must be able to read it.
func (l *look) read(plan SavedPlan) {
	a := &applied{Hash: plan.Hash, Before: l.keys()}
	makes, writes := false, false
	for _, r := range plan.Resources {
		if !r.changes() {
			continue
		}
		a.Does = append(a.Does, operation.Change{What: r.Address, To: actions(r)})
		switch {
		case r.password():
			makes = makes || r.does("create")
			if r.does("delete") && r.Key == l.old.ID {
				a.Destroys, a.First = true, r.Actions[0] == "delete"
			}
		case r.Type == "aws_ssm_parameter" && r.Parameter == l.target.SecretParameter:
			writes = !r.does("delete")
			if !writes {
				l.problem("The plan deletes %s with its history.", r.Address).mend("Find out why before rotating.")
			}
		}
	}
	m := l.target.Module
	if !makes {
		l.problem("The plan of %s in %s makes no new secret.", m.Program, m.Directory).
			mend("Name the resource that is to be replaced as terraform.replace, such as azuread_application_password.this.")
	}
	if !writes {
		l.problem("The plan of %s in %s does not write %s, so a new secret would not reach the service.", m.Program, m.Directory, l.target.SecretParameter).
			mend("With value_wo, value_wo_version has to change with the secret.")
	}
	if n := len(a.Does); n > maxChanges {
		l.problem("The plan of %s in %s changes %d resources, and nobody can confirm so many at a glance.", m.Program, m.Directory, n).
			mend("Apply by hand what has nothing to do with the secret.")
	}
	if a.Destroys {
		l.warn("There is no overlap: the apply destroys the present key, and the service has no working secret from then on until its tasks are started anew.")
	}
	l.applied = a
}

// keys are the application's, in order.
func (l *look) keys() []KeyID {
	ids := make([]KeyID, 0, len(l.app.Keys))
	for _, k := range l.app.Keys {
		ids = append(ids, k.ID)
	}
	slices.Sort(ids)
	return ids
}

// actions says in words what is done to a resource.
func actions(r Resource) string {
	switch {
	case r.does("create") && r.does("delete") && r.Actions[0] == "delete":
		return "DESTROYED FIRST, then made anew"
	case r.does("create") && r.does("delete"):
		return "made anew, then the old one destroyed"
	case r.does("create"):
		return "made"
	case r.does("delete"):
		return "destroyed"
	case r.does("forget"):
		return "forgotten"
	}
	return "changed"
}

// planApply is the plan of a rotation by Terraform.
func (l *look) planApply(op operation.Operation) (operation.Plan, error) {
	a, m := l.applied, l.target.Module
	raw, err := json.Marshal(details{
		Client: l.app.Client, Object: l.app.Object, OldKey: l.old.ID, OldEnds: l.old.End.UTC(),
		Version: l.live.Version, TaskDefinition: l.service.TaskDefinition, Applied: a, Target: l.target,
	})
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	old := "kept: the module does not touch it, and I don't either"
	switch {
	case a.First:
		old = "DESTROYED BEFORE THERE IS A NEW ONE: no overlap"
	case a.Destroys:
		old = "destroyed by the same apply, before the service is started anew: no overlap"
	}
	changes := []operation.Change{{What: "Saved plan of " + m.Program + " in " + m.Directory, From: "SHA-256 " + a.Hash[:16] + "…", To: "exactly this file is applied"}}
	changes = append(changes, a.Does...)
	return operation.Plan{
		Kind: KindRotate, Secret: op.Secret, Policy: l.target.Policy, Warnings: texts(l.warnings), Details: raw,
		Changes: append(changes,
			operation.Change{What: "Old key " + string(l.old.ID), From: "works", To: old},
			operation.Change{What: "SSM parameter " + l.live.Name, From: fmt.Sprintf("version %d", l.live.Version), To: "a new version, written by " + m.Program},
			l.restart(),
		),
	}, nil
}

// stepsByTerraform is a rotation that Terraform does and that is proven as any
// other. What it applied is not taken back: its state would not know of it.
func (j job) stepsByTerraform() []operation.Step {
	forward := operation.NoUndo("what Terraform applied is only changed by Terraform")
	steps := []operation.Step{
		{
			Name: "Apply the saved plan", Within: 30 * time.Minute,
			Do: j.applySaved, Verify: j.liveIsTerraforms,
			Undo: operation.UndoBy(nothing, j.terraformChangedNothing),
		},
		{
			Name: "Prove the new secret by fresh tokens", Within: 10 * time.Minute, PointOfNoReturn: true,
			Do: nothing, Verify: j.liveTokensInARow, Undo: forward,
		},
		{Name: "Label the live parameter", Within: 2 * time.Minute, Do: j.labelLive, Verify: j.liveHoldsNew, Undo: forward},
		{Name: "Redeploy the service", Within: 20 * time.Minute, Do: j.redeploy, Verify: j.tasksRunNew, Undo: forward},
		{Name: "Check the MCP server", Within: 5 * time.Minute, Do: j.healthy, Verify: j.toolAnswers, Undo: forward},
	}
	if j.plan.Applied.Destroys {
		steps = append(steps,
			operation.Step{Name: "Prove the old key is gone", Within: 10 * time.Minute, Do: nothing, Verify: j.oldIsGone, Undo: forward},
			operation.Step{Name: "Prove the old secret is refused", Within: 30 * time.Minute, Do: j.firstRefusal, Verify: j.refusedInARow, Undo: forward},
		)
	}
	steps = append(steps, operation.Step{Name: "Clear up", Within: 5 * time.Minute, Do: j.clearUpPlan, Verify: j.noPlanLeft, Undo: forward})
	return append(steps, j.askTerraform(forward)...)
}

// applySaved applies the file. Once the parameter has a newer version it is not
// applied again, whoever wrote that: the verification tells.
func (j job) applySaved(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	if live.Version != j.plan.Version {
		return "", nil
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	err = j.Plans.Apply(ctx, j.target.Module, run.Operation.ID, j.plan.Applied.Hash)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrApplying) {
		return "", operation.NotYet{After: time.Second, Why: j.target.Module.Program + " is still applying the plan"}
	}
	return "", err
}

// liveIsTerraforms: the parameter has a new version, and what it holds belongs to
// a key that was not there before.
func (j job) liveIsTerraforms(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	if live.Version == j.plan.Version {
		return "", operation.DoAgain{Why: fmt.Sprintf("%s is still version %d", live.Name, live.Version)}
	}
	if live.Type != secureString {
		return "", operation.Permanent(fmt.Errorf("%s is a %s and not a SecureString", live.Name, live.Type))
	}
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return "", fmt.Errorf("read the application: %w", err)
	}
	var fit, unused []Key
	for _, k := range app.Keys {
		switch {
		case slices.Contains(j.plan.Applied.Before, k.ID):
		case live.Value.HasHint(k.Hint):
			fit = append(fit, k)
		default:
			unused = append(unused, k)
		}
	}
	if len(fit) != 1 {
		return "", operation.NotYet{After: time.Second, Why: fmt.Sprintf("version %d of %s fits %d new keys of the application", live.Version, live.Name, len(fit))}
	}
	setKey(run, fit[0])
	run.Facts[factLive] = fmt.Sprint(live.Version)
	found := fmt.Sprintf("%s applied the plan with SHA-256 %s. %s is version %d, a SecureString, and holds the text of the new key %s, which ends %s.",
		j.target.Module.Program, j.plan.Applied.Hash, live.Name, live.Version, fit[0].ID, day(fit[0].End))
	if len(unused) > 0 {
		found += fmt.Sprintf(" Nothing uses these keys, which are new as well: %s. Find out whose they are.", listKeys(unused))
	}
	return found, nil
}

// terraformChangedNothing: a plan that was refused, as too old or for lack of
// rights, has left keys and parameter as they were.
func (j job) terraformChangedNothing(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return "", fmt.Errorf("read the application: %w", err)
	}
	now := make([]KeyID, 0, len(app.Keys))
	for _, k := range app.Keys {
		now = append(now, k.ID)
	}
	slices.Sort(now)
	m := j.target.Module
	if live.Version != j.plan.Version || !slices.Equal(now, j.plan.Applied.Before) {
		return "", operation.Permanent(fmt.Errorf("the application's keys or %s are not as they were, and what %s has done is only changed by it: look at its plan in %s, and apply", live.Name, m.Program, m.Directory))
	}
	if err := j.Plans.Discard(run.Operation.ID); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s changed nothing: %s is still version %d, and the application has the same %d keys. The saved plan is deleted.", m.Program, live.Name, live.Version, len(now)), nil
}

func (j job) liveTokensInARow(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	if err := j.inARow(ctx, j.Proof.Tokens, func() error { return j.token(ctx, live.Value) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d fresh token requests granted in a row with key %s.", j.Proof.Tokens, j.Proof.Tokens, run.Facts[factNewKey]), nil
}

// labelLive marks the version with its key, as a rotation of our own does.
func (j job) labelLive(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Labels.Label(ctx, live.Name, live.Version, keyLabel(KeyID(run.Facts[factNewKey]))); err != nil {
		return "", fmt.Errorf("label version %d of the live parameter: %w", live.Version, err)
	}
	return "", nil
}

// clearUpPlan deletes the saved plan, which holds secrets, and the old label.
func (j job) clearUpPlan(ctx context.Context, run *operation.Run) (string, error) {
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Labels.Unlabel(ctx, j.target.SecretParameter, j.plan.Version, keyLabel(j.plan.OldKey)); err != nil {
		return "", fmt.Errorf("unlabel version %d: %w", j.plan.Version, err)
	}
	return "", j.Plans.Discard(run.Operation.ID)
}

func (j job) noPlanLeft(ctx context.Context, run *operation.Run) (string, error) {
	if err := j.Plans.Check(run.Operation.ID, j.plan.Applied.Hash); !operation.IsPermanent(err) {
		return "", operation.DoAgain{Why: "the saved plan is still there"}
	}
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	if err := j.token(ctx, live.Value); err != nil {
		return "", err
	}
	return fmt.Sprintf("The saved plan is deleted; the live parameter, version %d, gets a token.", live.Version), nil
}
