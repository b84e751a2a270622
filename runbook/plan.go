package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/operation"
)

// secureString is the only type of parameter that a secret may lie in.
const secureString = "SecureString"

// CodeCannotRotate is the refusal of a plan that would fail.
const CodeCannotRotate operation.Code = "cannot_rotate"

// details is what a rotation's plan freezes for its steps. It holds no secret.
type details struct {
	Client         ClientID      `json:"client"`
	Object         ObjectID      `json:"object"`
	OldKey         KeyID         `json:"old_key"`
	OldEnds        time.Time     `json:"old_ends"`
	NewEnds        time.Time     `json:"new_ends"`
	Version        int64         `json:"version"` // of the live parameter, before
	TaskDefinition string        `json:"task_definition"`
	Overlap        time.Duration `json:"overlap"`
	UntilExpiry    bool          `json:"until_expiry"`

	// Of an emergency: the keys to remove, who holds the service principal's, and
	// whether one of them is the one in SSM.
	Principal  ObjectID `json:"principal,omitempty"`
	Leaked     []Key    `json:"leaked,omitempty"`
	LiveLeaked bool     `json:"live_leaked,omitempty"`
	// Pending is when a pending parameter that was left behind was written: version
	// numbers begin anew when a parameter is deleted.
	Pending time.Time `json:"pending,omitzero"`
	// Renew says that a new secret is made and rolled out.
	Renew bool `json:"renew,omitempty"`

	// NextApply is what Terraform would do after a rotation; nil: there is none.
	NextApply *forecast `json:"next_apply,omitempty"`
	// Applied is the saved plan, where Terraform rotates.
	Applied *applied `json:"applied,omitempty"`

	Target Target `json:"target"` // so that a changed configuration is another plan
}

// decodeDetails reads what encodePlan wrote. A plan that was never made has none.
func decodeDetails(raw json.RawMessage) details {
	var d details
	_ = json.Unmarshal(raw, &d) // it was encoded from this very type, and its digest was compared
	return d
}

// Plan looks at everything that a rotation touches, without changing it. All that
// would make it fail is said at once.
func (r *Rotate) Plan(ctx context.Context, op operation.Operation) (operation.Plan, error) {
	target, ok := r.Targets[op.Secret]
	if !ok {
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "%s is not in my configuration.", op.Secret)
	}
	l := &look{Rotate: r, target: target, at: op.RequestedAt}
	if err := l.all(ctx); err != nil {
		return operation.Plan{}, err
	}
	if len(l.problems) == 0 { // it takes its time
		if err := l.terraform(ctx, op); err != nil {
			return operation.Plan{}, err
		}
	}
	if len(l.problems) > 0 {
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "A rotation of %s would fail, so nobody was asked and nothing was changed:\n• %s",
			op.Secret, strings.Join(texts(l.problems), "\n• "))
	}
	if l.applied != nil {
		return l.planApply(op)
	}
	return l.plan(op)
}

// terraform asks what it would do after the rotation or, where it is to rotate,
// for that.
func (l *look) terraform(ctx context.Context, op operation.Operation) error {
	if l.target.Module.Rotates {
		return l.savedPlan(ctx, op)
	}
	return l.nextApply(ctx, decodeDetails(op.Plan.Details).NextApply)
}

// look is one look at the world.
type look struct {
	*Rotate
	target Target
	at     time.Time

	app      Application
	live     Parameter
	liveRead bool // emergencies go on without
	old      Key
	newEnds  time.Time
	service  Service
	forecast *forecast // what Terraform's next apply would do
	applied  *applied  // what Terraform is to do
	problems []*Trouble
	warnings []*Trouble
}

// Trouble is something that a look found: what would make a rotation fail, or what
// somebody should know.
type Trouble struct {
	What      string
	Remedy    string // what to do about it; empty where that is for people to find out
	Unchecked bool   // it could not be looked at, so nobody knows
}

// String is the trouble and its remedy.
func (t *Trouble) String() string { return strings.TrimSpace(t.What + " " + t.Remedy) }

// mend says what to do.
func (t *Trouble) mend(format string, args ...any) { t.Remedy = fmt.Sprintf(format, args...) }

func (l *look) problem(format string, args ...any) *Trouble {
	t := &Trouble{What: fmt.Sprintf(format, args...)}
	l.problems = append(l.problems, t)
	return t
}

func (l *look) warn(format string, args ...any) *Trouble {
	t := &Trouble{What: fmt.Sprintf(format, args...)}
	l.warnings = append(l.warnings, t)
	return t
}

// unchecked warns of what could not be looked at.
func (l *look) unchecked(format string, args ...any) { l.warn(format, args...).Unchecked = true }

// texts are troubles with their remedies, as people read them.
func texts(list []*Trouble) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.String())
	}
	return out
}

// all looks at everything. An error means that it could not be looked at.
func (l *look) all(ctx context.Context) error {
	client, found, err := l.clientID(ctx)
	if err != nil || !found {
		return err
	}
	if l.app, err = l.Apps.Application(ctx, client); err != nil {
		if operation.IsPermanent(err) {
			l.problem("Entra has no usable application with the client id in %s: %s", l.target.ClientIDParameter, err)
			return nil
		}
		return fmt.Errorf("read the application: %w", err)
	}
	return l.rest(ctx)
}

// rest looks at what does not need each other at once: a person waits for it.
func (l *look) rest(ctx context.Context) error {
	secret, pending, service, server := *l, *l, *l, *l // each notes what it sees by itself
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := secret.parameter(ctx); err != nil {
			return err
		}
		secret.application()
		return nil
	})
	g.Go(func() error { return pending.pending(ctx) })
	g.Go(func() error { return service.ecs(ctx) })
	g.Go(func() error { return server.mcp(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	l.live, l.old, l.newEnds, l.service = secret.live, secret.old, secret.newEnds, service.service
	for _, part := range []look{secret, pending, service, server} {
		l.problems, l.warnings = append(l.problems, part.problems...), append(l.warnings, part.warnings...)
	}
	return nil
}

func (l *look) clientID(ctx context.Context) (ClientID, bool, error) {
	p, err := l.Params.Read(ctx, l.target.ClientIDParameter)
	if errors.Is(err, ErrNoParameter) {
		l.problem("SSM has no parameter %s.", l.target.ClientIDParameter).mend("Create it, or correct the configuration.")
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read the client id's parameter: %w", err)
	}
	return ClientID(strings.TrimSpace(p.Value.Reveal())), true, nil // a client id is no secret
}

func (l *look) application() {
	a := l.app
	if a.Disabled || !a.PrincipalEnabled || a.ServicePrincipal == "" {
		l.problem("The Entra application %s is deactivated, or has no enabled service principal, so no secret of it gets a token.", a.Name).
			mend("Activate it again: az ad sp update --id %s --set accountEnabled=true", a.Client)
	}
	if l.target.Module.Rotates {
		return // who makes the secret, and for how long, is Terraform's affair
	}
	switch {
	case !a.OwnersRead:
		l.unchecked("Whether I own the Entra application was not checked: the permission to read owners is missing.")
	case !a.OwnedByUs:
		l.problem("I am not an owner of the Entra application %s, so I may not make a secret for it.", a.Name).
			mend("Add my service principal as its owner: az ad app owner add --id %s --owner-object-id %s", a.Client, a.Us)
	}
	l.newEnds = addMonths(l.at, l.target.LifetimeMonths)
	switch {
	case !a.PolicyRead:
		l.unchecked("The app management policy was not checked: the permission Policy.Read.All is missing.")
	case a.NewSecretsForbid:
		l.problem("An app management policy forbids new secrets for %s.", a.Name).mend("Have its owner make an exception.")
	case a.MaxSecretLifetime > 0 && l.newEnds.After(l.at.Add(a.MaxSecretLifetime)):
		l.newEnds = l.at.Add(a.MaxSecretLifetime)
		l.warn("An app management policy caps a secret's life at %d days, so the new one ends earlier than the configured %d months.", int(a.MaxSecretLifetime.Hours()/24), l.target.LifetimeMonths)
	}
	l.newEnds = l.newEnds.UTC().Truncate(time.Second)
	var marked []string
	for _, k := range a.Keys {
		if strings.HasPrefix(k.Name, Mark("")) && !l.live.Value.HasHint(k.Hint) {
			marked = append(marked, string(k.ID)+" ("+k.Name+")")
		}
	}
	if len(marked) > 0 {
		l.warn("Keys of earlier operations are still there and not in use: %s.", strings.Join(marked, ", "))
	}
}

func (l *look) parameter(ctx context.Context) error {
	if found, err := l.stored(ctx); err != nil || !found {
		return err
	}
	return l.oldKey(ctx)
}

// stored reads the live parameter.
func (l *look) stored(ctx context.Context) (found bool, err error) {
	live, err := l.Params.Read(ctx, l.target.SecretParameter)
	if errors.Is(err, ErrNoParameter) {
		l.problem("SSM has no parameter %s.", l.target.SecretParameter).mend("Create it, or correct the configuration.")
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the live parameter: %w", err)
	}
	l.live = live
	if live.Type != secureString {
		l.problem("%s is a %s and not a SecureString.", live.Name, live.Type).mend("Put it again as a SecureString first.")
	}
	if !SameKMSKey(live.KMSKey, l.target.KMSKey) {
		l.problem("%s is encrypted with the KMS key %s, and the configuration says %s.", live.Name, live.KMSKey, l.target.KMSKey).mend("Correct whichever is wrong.")
	}
	return true, nil
}

// oldKey finds which key's text lies in the live parameter, by its hint.
func (l *look) oldKey(ctx context.Context) error {
	var fit []Key
	for _, k := range l.app.Keys {
		if l.live.Value.HasHint(k.Hint) {
			fit = append(fit, k)
		}
	}
	switch len(fit) {
	case 0:
		l.problem("The value in %s belongs to none of the %d keys of the Entra application %s.", l.live.Name, len(l.app.Keys), l.app.Name).
			mend("Somebody changed one of the two; find out which before rotating.")
		return nil
	case 1:
		l.old = fit[0]
	default:
		l.problem("The value in %s fits %d keys of the Entra application %s, so I can't tell which one would be the old one.", l.live.Name, len(fit), l.app.Name).
			mend("Remove the unused one by hand first.")
		return nil
	}
	if err := l.Tokens.Request(ctx, l.app.Client, l.live.Value); err != nil {
		var refused *TokenRefused
		if !errors.As(err, &refused) {
			return fmt.Errorf("request a token with the present secret: %w", err)
		}
		l.warn("Entra refuses the present secret now (AADSTS%v): the service may be down until the rotation is through.", refused.Codes)
	}
	return nil
}

func (l *look) pending(ctx context.Context) error {
	_, err := l.Params.Read(ctx, l.target.PendingParameter())
	switch {
	case errors.Is(err, ErrNoParameter):
		return nil
	case err != nil:
		return fmt.Errorf("look for the pending parameter: %w", err)
	}
	l.problem("%s is there, left by something unforeseen.", l.target.PendingParameter()).
		mend("See whose it is, then delete it: aws ssm delete-parameter --name %s", l.target.PendingParameter())
	return nil
}

func (l *look) ecs(ctx context.Context) error {
	s, err := l.ECS.Service(ctx, l.target.Cluster, l.target.Service)
	if operation.IsPermanent(err) {
		l.problem("ECS has no usable service %s in cluster %s: %s.", l.target.Service, l.target.Cluster, err).mend("Correct ecs.cluster and ecs.service in the configuration.")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the service: %w", err)
	}
	l.service = s
	if from := s.Secrets[l.target.Variable]; from != l.target.SecretParameter {
		l.problem("The task definition %s does not inject %s from %s (it has %q there), so redeploying would not bring the new secret in.", s.TaskDefinition, l.target.Variable, l.target.SecretParameter, from).
			mend("Put it into the task definition's secrets.")
	}
	if s.Desired == 0 {
		l.problem("The service %s wants 0 tasks, so nothing could be proven.", s.Name).mend("Scale it up first.")
	} else if !canRedeploy(s) {
		l.problem("The service %s can't redeploy: with %d tasks, at least %d %% and at most %d %% leave no room for one more or one less.", s.Name, s.Desired, s.MinimumPercent, s.MaximumPercent).
			mend("Set maximumPercent to 200.")
	}
	for _, d := range s.Deployments {
		if d.Status == deploymentActive || d.Rollout != rolloutCompleted {
			l.problem("The service %s is being deployed now (%s is %s).", s.Name, d.ID, strings.ToLower(d.Status+" "+d.Rollout)).mend("Wait for it, or mend it first.")
			break
		}
	}
	for _, place := range s.PlainText {
		l.warn("Something that looks like a client secret stands in plain text in %s.", place)
	}
	for _, what := range s.NotChecked {
		l.unchecked("Not checked for client secrets in plain text: %s.", what)
	}
	return nil
}

// canRedeploy reports whether a roll-out has room: to start a task beyond the
// desired ones, or to stop one of them first.
func canRedeploy(s Service) bool {
	most := s.Desired * s.MaximumPercent / 100
	least := (s.Desired*s.MinimumPercent + 99) / 100
	return most > s.Desired || least < s.Desired
}

// mcp asks the server as it is now. If it does not answer, the rotation may be
// the cure, so it is a warning.
func (l *look) mcp(ctx context.Context) error {
	if _, err := l.MCP.Healthy(ctx, l.target.MCP); err != nil {
		l.warn("The MCP server is not healthy now: %s. The rotation will only succeed if it is afterwards.", err)
		return nil
	}
	if _, err := l.MCP.CallTool(ctx, l.target.MCP); err != nil {
		l.warn("The MCP server's test call fails now: %s. The rotation will only succeed if it works afterwards.", err)
	}
	return ctx.Err()
}

func (l *look) plan(op operation.Operation) (operation.Plan, error) {
	d := details{
		Client: l.app.Client, Object: l.app.Object, OldKey: l.old.ID, OldEnds: l.old.End.UTC(), NewEnds: l.newEnds,
		Version: l.live.Version, TaskDefinition: l.service.TaskDefinition,
		Overlap: l.target.Overlap, UntilExpiry: l.target.OverlapUntilExpiry, NextApply: l.forecast, Target: l.target,
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	removal := "removed " + words(l.target.Overlap) + " after the service runs on the new one"
	switch {
	case l.target.OverlapUntilExpiry:
		removal = "kept until it expires, then removed"
	case l.target.Overlap == 0:
		removal = "removed as soon as the service runs on the new one"
	}
	changes := []operation.Change{
		{What: "Entra application " + l.app.Name, From: "key " + string(l.old.ID) + ", ends " + day(l.old.End), To: "new key named " + Mark(op.ID) + ", ends " + day(l.newEnds)},
		{What: "SSM parameter " + l.live.Name, From: fmt.Sprintf("version %d", l.live.Version), To: fmt.Sprintf("version %d", l.live.Version+1)},
		l.restart(),
		{What: "Old key " + string(l.old.ID), From: "works", To: removal},
	}
	if l.forecast != nil {
		changes = append(changes, operation.Change{What: "Next " + l.target.Module.NextApply(), To: l.forecast.Does})
	}
	return operation.Plan{
		Kind: KindRotate, Secret: op.Secret, Policy: l.target.Policy, Warnings: texts(l.warnings), Details: raw, Changes: changes,
	}, nil
}

func (l *look) restart() operation.Change {
	return operation.Change{What: "ECS service " + l.target.Cluster + "/" + l.target.Service, From: "running tasks of " + shortARN(l.service.TaskDefinition), To: "the same, all tasks started anew"}
}

// SameKMSKey compares the ways in which SSM and people name a KMS key: with and
// without "alias/", and as an ARN.
func SameKMSKey(a, b string) bool { return bareKMSKey(a) == bareKMSKey(b) }

func bareKMSKey(k string) string {
	if strings.HasPrefix(k, "arn:") {
		if i := strings.Index(k, ":alias/"); i >= 0 {
			k = k[i+1:]
		} else if i := strings.Index(k, ":key/"); i >= 0 {
			k = k[i+len(":key/"):]
		}
	}
	return strings.TrimPrefix(k, "alias/")
}

// addMonths adds calendar months, and ends on the last day of a shorter month.
func addMonths(t time.Time, months int) time.Time {
	first := time.Date(t.Year(), t.Month(), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location()).AddDate(0, months, 0)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

// shortARN is what follows the last slash: "sharepoint:7".
func shortARN(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

func day(t time.Time) string   { return t.UTC().Format("2006-01-02") }
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// words says a duration as people do.
func words(d time.Duration) string {
	switch {
	case d > 48*time.Hour && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d%time.Hour == 0:
		return counted(int(d.Hours()), "hour")
	case d%time.Minute == 0:
		return counted(int(d.Minutes()), "minute")
	}
	return d.String()
}

// counted says "1 hour" and "2 hours".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
