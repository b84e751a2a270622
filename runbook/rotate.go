package runbook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twokey/twokey/operation"
)

// KindRotate is a rotation: a new secret, proven, in place of the old one.
const KindRotate operation.Kind = "rotate"

// What the steps of a rotation find out.
const (
	factNewKey     operation.Fact = "new_key"         // Entra key id
	factNewEnd     operation.Fact = "new_key_expires" // RFC 3339
	factLive       operation.Fact = "live_version"    // SSM version that holds the new secret
	factDeployment operation.Fact = "deployment"      // ECS deployment id
	factRestored   operation.Fact = "restored_version"
	factRestart    operation.Fact = "restored_deployment"
)

// Rotate rotates the secrets of its targets.
type Rotate struct {
	Targets map[operation.SecretName]Target
	Apps    Applications
	Tokens  Tokens
	Params  Parameters
	Labels  Labels
	ECS     Services
	MCP     Servers
	// Terraform is asked about secrets that have a module.
	Terraform Terraform
	Plans     SavedPlans
	Proof     Proof
	// Patience caps how long any step is tried; 0: as long as each step says.
	Patience time.Duration
}

// Proof is how often, and how far apart, a thing must be seen before it is
// believed: Entra's replicas differ.
type Proof struct {
	Tokens int           // token requests in a row with the same answer
	Reads  int           // equal reads in a row before a key counts as gone
	Gap    time.Duration // from the beginning of one to that of the next
}

// DefaultProof is what production uses.
func DefaultProof() Proof { return Proof{Tokens: 5, Reads: 3, Gap: 500 * time.Millisecond} }

// Steps is the rotation, line by line.
func (r *Rotate) Steps(op operation.Operation) []operation.Step {
	j := r.job(op)
	if j.plan.Applied != nil {
		return r.patient(j.stepsByTerraform())
	}
	steps := []operation.Step{
		{
			Name: "Make a new secret in Entra", Within: 3 * time.Minute,
			Do: j.addKey, Verify: j.keyIsPending,
			Undo: operation.UndoBy(j.removeNewKeys, j.newKeysGone),
		},
		{
			Name: "Prove the new secret by fresh tokens", Within: 10 * time.Minute,
			Do: j.firstToken, Verify: j.tokensInARow,
			Undo: operation.NoUndo("asking for tokens changes nothing"),
		},
		{
			Name: "Put it into the live parameter", Within: 2 * time.Minute,
			Do: j.writeLive, Verify: j.liveHoldsNew,
			Undo: operation.UndoBy(j.restoreOld, j.oldIsBack),
		},
		{
			Name: "Redeploy the service", Within: 20 * time.Minute,
			Do: j.redeploy, Verify: j.tasksRunNew,
			Undo: operation.NoUndo("the service is redeployed when the parameter is taken back"),
		},
		{
			Name: "Check the MCP server", Within: 5 * time.Minute,
			Do: j.healthy, Verify: j.toolAnswers,
			Undo: operation.NoUndo("a health check and a test call change nothing"),
		},
	}
	steps = append(steps, j.retire()...)
	return r.patient(append(steps, j.askTerraform(operation.NoUndo("asking changes nothing"))...))
}

// patient caps how long each step is tried.
func (r *Rotate) patient(steps []operation.Step) []operation.Step {
	for i := range steps {
		if r.Patience > 0 {
			steps[i].Within = min(steps[i].Within, r.Patience)
		}
	}
	return steps
}

// job is one rotation at work: its target and its frozen plan.
type job struct {
	*Rotate
	target Target
	plan   details
	mark   string // displayName of every key that this operation makes
}

func (r *Rotate) job(op operation.Operation) job {
	return job{Rotate: r, target: r.Targets[op.Secret], plan: decodeDetails(op.Plan.Details), mark: Mark(op.ID)}
}

// Mark is the displayName of the keys that an operation makes: they can be found
// again whatever was lost.
func Mark(id operation.ID) string { return "twokey:" + string(id) }

// ours returns the keys that bear this operation's mark.
func (j job) ours(app Application) []Key {
	var out []Key
	for _, k := range app.Keys {
		if k.Name == j.mark && !k.OnServicePrincipal {
			out = append(out, k)
		}
	}
	return out
}

// addKey makes the new key and keeps its text in the pending parameter. A key
// whose text was lost on the way stays for now and is swept when the old key is
// retired: somebody who slept may still be about to store it.
func (j job) addKey(ctx context.Context, run *operation.Run) (string, error) {
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return "", fmt.Errorf("read the application: %w", err)
	}
	pending, err := j.Params.Read(ctx, j.target.PendingParameter())
	switch {
	case err == nil:
		if err := j.adopt(run, app, pending); err == nil || run.Took() < foreign {
			return "", err
		}
		// No key comes to light for it: it was removed when its text seemed to be lost.
	case !errors.Is(err, ErrNoParameter):
		return "", fmt.Errorf("read the pending parameter: %w", err)
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	key, err := j.Apps.AddPassword(ctx, j.plan.Object, j.mark, j.plan.NewEnds, func(ctx context.Context, _ Key, text operation.Secret) error {
		return j.keep(ctx, run, text)
	})
	if err != nil {
		return "", fmt.Errorf("make the new key: %w", err)
	}
	setKey(run, key)
	return "", nil
}

// foreign is how long a pending parameter that fits no key is waited for: Entra's
// replicas may not know the key yet.
const foreign = 45 * time.Second

// keep puts a new key's text into the pending parameter. When the answer is lost,
// the parameter itself tells whether the text is there. When it does not, or this
// worker slept so long that there is no time to ask, the key stays: whoever took
// over may have found the text already. A key that nobody found is swept at the end.
func (j job) keep(ctx context.Context, run *operation.Run, text operation.Secret) error {
	if err := run.Fence(ctx); err != nil {
		return err
	}
	_, err := j.Params.Write(ctx, j.target.PendingParameter(), text, j.target.KMSKey)
	if err == nil || operation.IsPermanent(err) {
		return err
	}
	if pending, readErr := j.Params.Read(ctx, j.target.PendingParameter()); readErr == nil && pending.Value.Equal(text) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrMayBeKept, err)
}

// adopt takes the key whose text lies in the pending parameter already.
func (j job) adopt(run *operation.Run, app Application, pending Parameter) error {
	var found []Key
	for _, k := range j.ours(app) {
		if pending.Value.HasHint(k.Hint) {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		return operation.NotYet{After: time.Second, Why: fmt.Sprintf("%s holds a value that fits %d of the keys named %s", pending.Name, len(found), j.mark)}
	}
	setKey(run, found[0])
	return nil
}

func setKey(run *operation.Run, key Key) {
	run.Facts[factNewKey], run.Facts[factNewEnd] = string(key.ID), key.End.UTC().Format(time.RFC3339)
}

// newKey finds the new key in a fresh read of the application.
func (j job) newKey(ctx context.Context, run *operation.Run) (Key, error) {
	app, err := j.Apps.Application(ctx, j.plan.Client)
	if err != nil {
		return Key{}, fmt.Errorf("read the application: %w", err)
	}
	id := KeyID(run.Facts[factNewKey])
	for _, k := range app.Keys {
		if k.ID == id {
			return k, nil
		}
	}
	return Key{}, operation.NotYet{After: time.Second, Why: fmt.Sprintf("Entra does not list key %s", id)}
}

// keyAnd reads the new key and a parameter side by side: services wait for it.
func (j job) keyAnd(ctx context.Context, run *operation.Run, parameter, what string) (Key, Parameter, error) {
	var p Parameter
	var readErr error
	var wg sync.WaitGroup
	wg.Go(func() { p, readErr = j.Params.Read(ctx, parameter) })
	key, err := j.newKey(ctx, run)
	wg.Wait()
	if err == nil && readErr != nil {
		err = fmt.Errorf("read the %s parameter: %w", what, readErr)
	}
	return key, p, err
}

// keyIsPending: Entra lists the key under our name, and the pending parameter
// holds its text.
func (j job) keyIsPending(ctx context.Context, run *operation.Run) (string, error) {
	key, pending, err := j.keyAnd(ctx, run, j.target.PendingParameter(), "pending")
	if err != nil {
		return "", err
	}
	if !pending.Value.HasHint(key.Hint) {
		return "", fmt.Errorf("%s does not hold the text of key %s", pending.Name, key.ID)
	}
	if pending.Type != secureString {
		return "", operation.Permanent(fmt.Errorf("%s is a %s and not a SecureString", pending.Name, pending.Type))
	}
	return fmt.Sprintf("Entra lists key %s as %s until %s; its text is in %s, version %d, a SecureString.",
		key.ID, key.Name, day(key.End), pending.Name, pending.Version), nil
}

// firstToken waits until Entra takes the new secret for the first time.
func (j job) firstToken(ctx context.Context, run *operation.Run) (string, error) {
	text, err := j.pendingText(ctx, run)
	if err != nil {
		return "", err
	}
	return "", j.token(ctx, text)
}

// pendingText reads the pending parameter, which must hold the new key's text.
func (j job) pendingText(ctx context.Context, run *operation.Run) (operation.Secret, error) {
	key, pending, err := j.keyAnd(ctx, run, j.target.PendingParameter(), "pending")
	if err != nil {
		return operation.Secret{}, err
	}
	if !pending.Value.HasHint(key.Hint) {
		return operation.Secret{}, operation.Permanent(fmt.Errorf("%s does not hold the text of key %s any more", pending.Name, key.ID))
	}
	return pending.Value, nil
}

// token asks once. "Invalid" may only mean that a replica has not heard of the
// key yet; other refusals are final.
func (j job) token(ctx context.Context, text operation.Secret) error {
	err := j.Tokens.Request(ctx, j.plan.Client, text)
	var refused *TokenRefused
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refused):
		return fmt.Errorf("request a token: %w", err)
	case refused.Has(SecretInvalid):
		return operation.NotYet{After: time.Second, Why: "Entra still refuses the new secret (AADSTS7000215)"}
	case refused.Has(ApplicationDisabled):
		return frozen{operation.NotYet{After: 5 * time.Second, Why: frozenWords}}
	}
	return operation.Permanent(fmt.Errorf("the new secret does not get a token: %w", refused))
}

// tokensInARow: one success proves one replica. Several, each fresh and spread
// over time, prove the secret.
func (j job) tokensInARow(ctx context.Context, run *operation.Run) (string, error) {
	text, err := j.pendingText(ctx, run)
	if err != nil {
		return "", err
	}
	if err := j.inARow(ctx, j.Proof.Tokens, func() error { return j.token(ctx, text) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d fresh token requests granted in a row with key %s.", j.Proof.Tokens, j.Proof.Tokens, run.Facts[factNewKey]), nil
}

// inARow calls f n times, each the proof's gap after the one before began; the
// first error ends it.
func (j job) inARow(ctx context.Context, n int, f func() error) error {
	for i := range n {
		next := time.After(j.Proof.Gap)
		if err := f(); err != nil {
			return err
		}
		if i == n-1 {
			break
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// writeLive puts the new secret into the parameter that the service reads. SSM
// has no compare-and-set, so the version tells whether somebody else wrote.
func (j job) writeLive(ctx context.Context, run *operation.Run) (string, error) {
	text, err := j.pendingText(ctx, run)
	if err != nil {
		return "", err
	}
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	version := live.Version
	if !live.Value.Equal(text) {
		if live.Version != j.base(run) {
			return "", operation.Permanent(fmt.Errorf("somebody else wrote version %d of %s; the new secret was to follow on version %d", live.Version, live.Name, j.base(run)))
		}
		if err := run.Fence(ctx); err != nil {
			return "", err
		}
		if version, err = j.Params.Write(ctx, j.target.SecretParameter, text, j.target.KMSKey); err != nil {
			return "", fmt.Errorf("write the live parameter: %w", err)
		}
	}
	run.Facts[factLive] = fmt.Sprint(version)
	if err := j.onlyOurs(ctx, j.base(run)+1, version, text); err != nil {
		return "", err
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Labels.Label(ctx, j.target.SecretParameter, version, keyLabel(KeyID(run.Facts[factNewKey]))); err != nil {
		return "", fmt.Errorf("label version %d of the live parameter: %w", version, err)
	}
	return "", nil
}

// onlyOurs: every version from first on, and before last, holds the same text. One
// of our own workers that slept may have written it too; anything else is somebody
// else's.
func (j job) onlyOurs(ctx context.Context, first, last int64, text operation.Secret) error {
	for version := first; version < last; version++ {
		between, err := j.Params.Read(ctx, fmt.Sprintf("%s:%d", j.target.SecretParameter, version))
		if err != nil {
			return fmt.Errorf("read version %d of the live parameter: %w", version, err)
		}
		if !between.Value.Equal(text) {
			return operation.Permanent(fmt.Errorf("somebody else wrote version %d of %s at the same time; the new secret became version %d", version, j.target.SecretParameter, last))
		}
	}
	return nil
}

// base is the version that the new secret follows on: the plan's, unless an
// emergency found that the operation it ended had written another.
func (j job) base(run *operation.Run) int64 {
	var version int64
	if _, err := fmt.Sscan(run.Facts[factBase], &version); err != nil {
		return j.plan.Version
	}
	return version
}

// keyLabel marks a parameter's version with the key whose text it holds.
func keyLabel(id KeyID) string { return "key-" + string(id) }

// liveHoldsNew: read back, the parameter has the version, the value and the label.
func (j job) liveHoldsNew(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	label := keyLabel(KeyID(run.Facts[factNewKey]))
	labelled, err := j.Params.Read(ctx, live.Name+":"+label)
	if err != nil {
		return "", fmt.Errorf("read the live parameter by its label: %w", err)
	}
	if labelled.Version != live.Version {
		return "", operation.DoAgain{Why: fmt.Sprintf("label %s is on version %d and the newest is %d", label, labelled.Version, live.Version)}
	}
	return fmt.Sprintf("%s is version %d, written %s, labelled %s; read back, it holds the new secret.",
		live.Name, live.Version, clock(live.Modified), label), nil
}

// liveIsOurs reads the live parameter, which must hold the new key's text in the
// version that we wrote. When one of our own workers woke late and wrote the same
// text again, it was there from the version that we know of.
func (j job) liveIsOurs(ctx context.Context, run *operation.Run) (Parameter, error) {
	key, live, err := j.keyAnd(ctx, run, j.target.SecretParameter, "live")
	if err != nil {
		return Parameter{}, err
	}
	ours := live
	if fmt.Sprint(live.Version) != run.Facts[factLive] {
		if ours, err = j.Params.Read(ctx, j.target.SecretParameter+":"+run.Facts[factLive]); err != nil {
			return Parameter{}, fmt.Errorf("read version %s of the live parameter: %w", run.Facts[factLive], err)
		}
	}
	if !live.Value.Equal(ours.Value) || !live.Value.HasHint(key.Hint) {
		return Parameter{}, operation.Permanent(fmt.Errorf("somebody else wrote to %s: it is version %d now and ours was %s", live.Name, live.Version, run.Facts[factLive]))
	}
	live.Modified = ours.Modified
	return live, nil
}

// redeploy has ECS start new tasks, which read the new secret. A deployment
// that began after the write is as good as ours, and is adopted.
func (j job) redeploy(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	run.Facts[factDeployment], err = j.deployAfter(ctx, run, live.Modified)
	return "", err
}

// deployAfter returns a deployment that was created after written and has not failed,
// and makes one when there is none.
func (j job) deployAfter(ctx context.Context, run *operation.Run, written time.Time) (string, error) {
	service, err := j.ECS.Service(ctx, j.target.Cluster, j.target.Service)
	if err != nil {
		return "", fmt.Errorf("read the service: %w", err)
	}
	for _, d := range service.Deployments {
		if d.Status == deploymentPrimary && d.Rollout != rolloutFailed && d.Created.After(written) {
			return d.ID, nil
		}
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	id, err := j.ECS.Redeploy(ctx, j.target.Cluster, j.target.Service)
	if err != nil {
		return "", fmt.Errorf("redeploy the service: %w", err)
	}
	return id, nil
}

// tasksRunNew: the deployment is complete, and every running task was created by
// it after the parameter was written.
func (j job) tasksRunNew(ctx context.Context, run *operation.Run) (string, error) {
	// While it rolls out only ECS is asked; what was written is judged at the end.
	service, err := j.ECS.Service(ctx, j.target.Cluster, j.target.Service)
	if err != nil {
		return "", fmt.Errorf("read the service: %w", err)
	}
	if err := complete(service, run.Facts[factDeployment]); err != nil {
		return "", err
	}
	live, err := j.liveIsOurs(ctx, run)
	if err != nil {
		return "", err
	}
	return j.deployed(ctx, run.Facts[factDeployment], live)
}

// healthy asks the MCP server's health.
func (j job) healthy(ctx context.Context, _ *operation.Run) (string, error) {
	_, err := j.MCP.Healthy(ctx, j.target.MCP)
	return "", notYet(err)
}

// toolAnswers: health again, and the test tool's call gives what it should.
func (j job) toolAnswers(ctx context.Context, _ *operation.Run) (string, error) {
	health, err := j.MCP.Healthy(ctx, j.target.MCP)
	if err != nil {
		return "", notYet(err)
	}
	tool, err := j.MCP.CallTool(ctx, j.target.MCP)
	if err != nil {
		return "", notYet(err)
	}
	return fmt.Sprintf("Health: %s. MCP: %s.", health, tool), nil
}

// notYet has an MCP server's wrong answer asked again: it may be starting.
func notYet(err error) error {
	if err == nil || operation.IsPermanent(err) {
		return err
	}
	return operation.NotYet{After: time.Second, Why: err.Error()}
}
