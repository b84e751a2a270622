package runbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// Module is the Terraform directory in which a secret is provisioned. The zero
// value is a secret that no Terraform knows of.
type Module struct {
	Directory string `json:"directory"`
	Program   string `json:"program"` // terraform, terragrunt or tofu
	// AllowRevert lets a rotation run although the next apply would not leave the
	// secret alone, or although nobody can tell.
	AllowRevert bool `json:"allow_revert,omitempty"`
	// Rotates says that a rotation is an apply of this module.
	Rotates bool `json:"rotates,omitempty"`
	// Replace is the address of what that apply replaces, besides what is due.
	Replace string `json:"replace,omitempty"`
}

// NextApply names the command that people would type.
func (m Module) NextApply() string { return m.Program + " apply in " + m.Directory }

// String says what the configuration comes to.
func (m Module) String() string {
	switch {
	case m.Rotates:
		return m.Program + " in " + m.Directory + ", which rotates it"
	case m.AllowRevert:
		return m.Program + " in " + m.Directory + ", rotated even if the next apply reverts it"
	}
	return m.Program + " in " + m.Directory
}

// Resource is what an apply would do to one resource: where it is and what would
// happen, and of its attributes only those that tell which one it is.
type Resource struct {
	Address string
	Type    string   // "aws_ssm_parameter"
	Actions []string // as Terraform says and orders them: "no-op", "update", or "delete" and "create"

	Parameter string // an SSM parameter's name
	Key       KeyID  // of an Entra password that there is already
	// LeavesValue says that an SSM parameter keeps a value that others write: it is
	// write-only (value_wo), or lifecycle ignores its changes.
	LeavesValue bool
}

// does reports whether the apply would do this to the resource.
func (r Resource) does(action string) bool { return slices.Contains(r.Actions, action) }

// changes reports whether the apply would do anything to it.
func (r Resource) changes() bool { return !r.does("no-op") && !r.does("read") }

// password reports whether it is a client secret in Entra.
func (r Resource) password() bool {
	return r.Type == "azuread_application_password" || r.Type == "azuread_service_principal_password"
}

// Terraform looks at what is written down as code.
type Terraform interface {
	// Next says what the next apply would do to all of the module's resources. It
	// changes nothing. It may go on when ctx ends; the next call hears of the end.
	// An error that is marked [operation.Permanent] has words for people.
	Next(ctx context.Context, m Module) ([]Resource, error)
	// Save keeps the plan of a rotation for the operation, until its request lapses
	// or it is discarded. It goes on like Next.
	Save(ctx context.Context, m Module, id operation.ID, until time.Time) (SavedPlan, error)
}

// What the next apply would do to a secret.
const (
	applyLeaves  = "leaves the secret alone"
	applyReverts = "PUTS THE OLD SECRET BACK"
	applyMakes   = "MAKES ANOTHER SECRET and puts it in"
	applyWrites  = "WRITES THE PARAMETER ANEW"
	applyRemoves = "REMOVES THE PARAMETER"
	applyUnknown = "is not known"
)

// forecast is what the next apply would do, and why.
type forecast struct {
	Does string `json:"does"`
	Why  string `json:"why"`
	// Litter is a new key that the apply would make and nothing would use.
	Litter string `json:"litter,omitempty"`
}

// foresee says what the next apply would do to a secret, from what it would do
// now. When old is given, the secret is still to be rotated, and old is the key
// that will be gone by then: an apply that has nothing to do today puts today's
// value back tomorrow, unless it leaves values alone.
func foresee(resources []Resource, parameter string, old KeyID) forecast {
	i := slices.IndexFunc(resources, func(r Resource) bool { return r.Type == "aws_ssm_parameter" && r.Parameter == parameter })
	if i < 0 {
		return forecast{Does: applyUnknown, Why: "there is no aws_ssm_parameter named " + parameter + " in it; correct terraform.directory"}
	}
	p, makes := resources[i], ""
	for _, r := range resources {
		if r.password() && (r.does("create") || old != "" && r.Key == old) {
			makes = r.Address
		}
	}
	f := forecast{Why: p.Address + " has no change"}
	if p.changes() {
		f.Why = p.Address + " is " + actions(p)
	}
	switch written := p.changes() || old != "" && !p.LeavesValue; {
	case p.changes() && p.does("delete") && !p.does("create"):
		f.Does = applyRemoves
	case written && makes != "":
		f.Does, f.Why = applyMakes, f.Why+", with "+makes
	case written && p.LeavesValue: // not for its value's sake, perhaps
		f.Does = applyWrites
	case written:
		f.Does = applyReverts
	default:
		f.Does, f.Litter = applyLeaves, makes
	}
	if old != "" && !p.LeavesValue && !p.changes() {
		f.Why = p.Address + " is written as value = …, which lies in Terraform's state"
	}
	return f
}

// sentence says a forecast.
func (f forecast) sentence(m Module) string {
	why := strings.TrimRight(f.Why, ".")
	if f.Does == applyUnknown {
		return fmt.Sprintf("What the next %s would do is not known: %s.", m.NextApply(), why)
	}
	s := fmt.Sprintf("The next %s %s: %s.", m.NextApply(), f.Does, why)
	if f.Litter != "" {
		s += fmt.Sprintf(" It would make a key in Entra that nothing uses, by %s: take that out of the code (docs/terraform.md).", f.Litter)
	}
	return s
}

// CodeWouldRevert is the refusal of a rotation that the next apply would revert, or
// of which nobody can tell.
const CodeWouldRevert operation.Code = "would_revert"

// refuse refuses a rotation for what the next apply would do.
func (f forecast) refuse(secret operation.SecretName, m Module) error {
	const risk = "Whoever takes the risk sets terraform.allow_revert: true for this secret. Nobody was asked and nothing was changed."
	if f.Does == applyUnknown {
		return operation.Refuse(CodeWouldRevert, "I don't rotate %s, since the next apply might undo it. %s Mend that. %s", secret, f.sentence(m), risk)
	}
	return operation.Refuse(CodeWouldRevert, "I don't rotate %s, since the next apply would undo it. %s Write the parameter with value_wo and value_wo_version, or at least ignore changes of value in its lifecycle, and apply that first: docs/terraform.md has the way there. %s", secret, f.sentence(m), risk)
}

// nextApply looks at what the next apply would do after the rotation. What was
// frozen when the rotation was asked for stays: Terraform takes its time, and
// nobody is to wait for it twice.
func (l *look) nextApply(ctx context.Context, frozen *forecast) error {
	m := l.target.Module
	if m.Directory == "" {
		return nil
	}
	f := frozen
	if f == nil {
		resources, err := l.Terraform.Next(ctx, m)
		switch {
		case operation.IsPermanent(err):
			f = &forecast{Does: applyUnknown, Why: err.Error()}
		case err != nil:
			return fmt.Errorf("ask %s what its next apply would do: %w", m.Program, err)
		default:
			found := foresee(resources, l.target.SecretParameter, l.old.ID)
			f = &found
		}
	}
	l.forecast = f
	switch {
	case f.Does != applyLeaves && !m.AllowRevert:
		return f.refuse(l.target.Name, m)
	case f.Does != applyLeaves || f.Litter != "":
		l.warn("%s", f.sentence(m))
	}
	return nil
}

// stepTerraform is the name of the step that asks what the next apply would do.
const stepTerraform = "Ask Terraform about the next apply"

// askTerraform is the end of an operation on a secret that Terraform provisions.
// It never fails: the secret is what it should be, and a person is told what
// Terraform would do about it.
func (j job) askTerraform(undo operation.UndoAction) []operation.Step {
	if j.target.Module.Directory == "" {
		return nil
	}
	return []operation.Step{{Name: stepTerraform, Within: 15 * time.Minute, AskFirst: true, Do: nothing, Verify: j.tellNextApply, Undo: undo}}
}

// tellNextApply says what the next apply would do now.
func (j job) tellNextApply(ctx context.Context, _ *operation.Run) (string, error) {
	m := j.target.Module
	resources, err := j.Terraform.Next(ctx, m)
	switch {
	case operation.IsPermanent(err):
		return forecast{Does: applyUnknown, Why: err.Error()}.sentence(m) + " Look at its plan by hand before anybody applies.", nil
	case errors.Is(err, context.DeadlineExceeded):
		return "", operation.NotYet{After: time.Second, Why: m.Program + " is still planning in " + m.Directory}
	case err != nil:
		return "", fmt.Errorf("ask %s what its next apply would do: %w", m.Program, err)
	}
	f := foresee(resources, j.target.SecretParameter, "")
	said := f.sentence(m)
	if f.Does != applyLeaves {
		said += " Nobody should apply before that is mended: docs/terraform.md says how."
	}
	return said, nil
}
