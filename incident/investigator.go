package incident

import (
	"context"
	"fmt"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// History knows all operations on a secret.
type History interface {
	OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error)
}

// Investigator has the audit logs read. It meets [runbook.Auditor].
type Investigator struct {
	Gatherer *exposure.Gatherer
	Apps     runbook.Applications
	ECS      runbook.Services
	History  History

	BotClient    runbook.ClientID                                // the bot's own application
	BotPrincipal func(context.Context) (runbook.ObjectID, error) // and its service principal
	BotRole      func(context.Context) (string, error)           // ARN of the bot's own role
}

// Look reads the logs. What could not be looked at is said in the findings; an
// error means that nothing could be asked.
func (i *Investigator) Look(ctx context.Context, q runbook.Inquiry) (runbook.Findings, error) {
	subject := exposure.Subject{
		Secret: q.Target.Name, Live: q.Target.SecretParameter, Pending: q.Target.PendingParameter(), Client: q.Target.ClientIDParameter,
		Cluster: q.Target.Cluster, Service: q.Target.Service,
	}
	app, err := i.Apps.Application(ctx, q.Client)
	if err != nil {
		return runbook.Findings{}, fmt.Errorf("read the application: %w", err)
	}
	// Without its roles the service's own reads cannot be told apart; then they
	// stand out, and a person sees why.
	if service, err := i.ECS.Service(ctx, q.Target.Cluster, q.Target.Service); err == nil {
		subject = exposure.SubjectOf(q.Target, app, service)
	}
	subject.Application = app
	subject.BotClient, subject.Removed = i.BotClient, q.Removed
	if subject.BotRole, err = i.BotRole(ctx); err != nil {
		subject.BotRole = "" // the bot's own calls stand out then
	}
	if subject.BotPrincipal, err = i.BotPrincipal(ctx); err != nil {
		subject.BotPrincipal = ""
	}
	for _, k := range q.Keys {
		subject.Keys = append(subject.Keys, k.ID)
	}
	deeds, err := i.History.OperationsOf(ctx, q.Target.Name)
	if err != nil {
		return runbook.Findings{}, fmt.Errorf("read the operations of %s: %w", q.Target.Name, err)
	}
	for _, op := range deeds {
		subject.Deeds = append(subject.Deeds, exposure.DeedOf(op))
	}
	window := exposure.Window{From: q.From, To: q.To}
	if window.From.IsZero() {
		window.From = subject.Since()
	}
	found := i.Gatherer.Gather(ctx, subject, window)
	events, err := found.CSV()
	if err != nil {
		return runbook.Findings{}, fmt.Errorf("write the events as CSV: %w", err)
	}
	return runbook.Findings{Summary: found.Summary(), Events: events}, nil
}
