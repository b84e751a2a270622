package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// Kinds of freezing: no secret of the application gets a token until it is thawed.
const (
	KindFreeze operation.Kind = "freeze"
	KindThaw   operation.Kind = "thaw"
)

// Principals deactivates and activates service principals.
type Principals interface {
	// SetEnabled sets accountEnabled. It may be repeated.
	SetEnabled(ctx context.Context, principal ObjectID, enabled bool) error
}

// Freeze deactivates an application's service principal, or activates it again.
// Unlike the removal of a key it stops every secret, new ones too, and can be
// taken back.
type Freeze struct {
	*Emergency
	Principals Principals
	Thaw       bool
}

// frozen is the token endpoint's answer while an application is deactivated: it
// says nothing about any secret.
type frozen struct{ notYet operation.NotYet }

const frozenWords = "the application is frozen (AADSTS7000112), so no secret of it gets a token until somebody activates it again"

// Error implements error.
func (f frozen) Error() string { return f.notYet.Error() }

// Unwrap has the step tried again.
func (f frozen) Unwrap() error { return f.notYet }

func (f *Freeze) kind() operation.Kind {
	if f.Thaw {
		return KindThaw
	}
	return KindFreeze
}

// Plan looks whether there is something to freeze or thaw.
func (f *Freeze) Plan(ctx context.Context, op operation.Operation) (operation.Plan, error) {
	target, ok := f.Targets[op.Secret]
	if !ok {
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "%s is not in my configuration.", op.Secret)
	}
	l := &look{Rotate: f.Rotate, target: target, at: op.RequestedAt}
	client, err := f.client(ctx, l)
	if err != nil {
		return operation.Plan{}, err
	}
	app, err := f.Apps.Application(ctx, client)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("read the application: %w", err)
	}
	switch {
	case app.ServicePrincipal == "":
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "The Entra application %s has no service principal in this tenant, so nothing gets a token for it anyway.", app.Name)
	case app.PrincipalEnabled == f.Thaw:
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "The service principal of %s is %s already. Nothing was changed.", app.Name, enabledWord(app.PrincipalEnabled))
	}
	raw, err := json.Marshal(details{Client: app.Client, Object: app.Object, Principal: app.ServicePrincipal, Target: target})
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	effect := operation.Change{What: "Tokens", From: "every live secret gets them", To: "none for any secret, the new one included, until somebody thaws it; those issued before live on for about an hour"}
	if f.Thaw {
		effect = operation.Change{What: "Tokens", From: "none for any secret", To: "every live secret gets them"}
	}
	return operation.Plan{
		Kind: f.kind(), Secret: op.Secret, Policy: target.Policy, Details: raw, Warnings: texts(l.warnings),
		Changes: []operation.Change{
			{What: "Service principal of " + app.Name, From: enabledWord(app.PrincipalEnabled), To: enabledWord(f.Thaw)},
			effect,
		},
	}, nil
}

func enabledWord(enabled bool) string {
	if enabled {
		return "active"
	}
	return "deactivated"
}

// Steps is the one thing that is done, and its proof.
func (f *Freeze) Steps(op operation.Operation) []operation.Step {
	j := f.job(op)
	set := func(enabled bool) operation.Action {
		return func(ctx context.Context, run *operation.Run) (string, error) {
			if err := run.Fence(ctx); err != nil {
				return "", err
			}
			return "", f.Principals.SetEnabled(ctx, j.plan.Principal, enabled)
		}
	}
	proven := func(enabled bool) operation.Action {
		return func(ctx context.Context, run *operation.Run) (string, error) { return j.principalIs(ctx, run, enabled) }
	}
	name := "Deactivate the service principal"
	if f.Thaw {
		name = "Activate the service principal"
	}
	return f.patient([]operation.Step{{
		Name: name, Within: 15 * time.Minute,
		Do: set(f.Thaw), Verify: proven(f.Thaw), Undo: operation.UndoBy(set(!f.Thaw), proven(!f.Thaw)),
	}})
}

// principalIs: read in a run of equal reads, and seen by the token endpoint.
func (j job) principalIs(ctx context.Context, run *operation.Run, enabled bool) (string, error) {
	err := j.inARow(ctx, j.Proof.Reads, func() error {
		app, err := j.Apps.Application(ctx, j.plan.Client)
		if err != nil {
			return fmt.Errorf("read the application: %w", err)
		}
		if app.PrincipalEnabled != enabled {
			return operation.DoAgain{Why: "the service principal is " + enabledWord(app.PrincipalEnabled)}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return fmt.Sprintf("The service principal is %s in %d reads in a row. The token endpoint was not asked: the live parameter could not be read.", enabledWord(enabled), j.Proof.Reads), nil
	}
	err = j.inARow(ctx, j.Proof.Tokens, func() error { return j.tokenSees(ctx, live.Value, enabled) })
	if err != nil {
		return "", err
	}
	if !enabled {
		return fmt.Sprintf("The service principal is deactivated in %d reads in a row; %d of %d token requests refused in a row (AADSTS%d). Nobody gets a new token for it. Tokens issued before may live on until about %s, and up to 24 hours where continuous access evaluation is used.",
			j.Proof.Reads, j.Proof.Tokens, j.Proof.Tokens, ApplicationDisabled, clock(run.Now().Add(tokenLife))), nil
	}
	return fmt.Sprintf("The service principal is active in %d reads in a row; the token endpoint does not say that it is deactivated any more.", j.Proof.Reads), nil
}

// tokenSees asks the token endpoint whether it takes the principal for enabled.
// The secret itself may be dead.
func (j job) tokenSees(ctx context.Context, text operation.Secret, enabled bool) error {
	err := j.Tokens.Request(ctx, j.plan.Client, text)
	var refused *TokenRefused
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("request a token: %w", err)
	}
	disabled := refused != nil && refused.Has(ApplicationDisabled)
	if disabled == enabled {
		return operation.NotYet{After: time.Second, Why: "the token endpoint has not heard of it yet"}
	}
	return nil
}
