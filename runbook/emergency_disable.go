package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/operation"
)

// KindEmergency is an emergency: the leaked secret dead first, all else after it.
const KindEmergency operation.Kind = "emergency_disable"

// Options of an emergency.
const (
	OptionKey   operation.Option = "key"   // KeyInUse, KeyAll or a key id
	OptionSince operation.Option = "since" // RFC 3339: leaked since; empty: not known
	OptionDrill operation.Option = "drill" // "true" on a drill
)

// Which key of an application is compromised.
const (
	KeyInUse = "in use" // the one whose text lies in SSM
	KeyAll   = "all"
)

// What an emergency finds out.
const (
	factBase    operation.Fact = "base_version" // SSM version that the new secret replaces
	factRemoved operation.Fact = "removed_at"   // RFC 3339
	factShouted operation.Fact = "shouted"      // that Entra refuses the removal
	factFrozen  operation.Fact = "frozen"       // what was told of the application being frozen
	// since when it has been found frozen without a break, RFC 3339
	factFrozenSince operation.Fact = "frozen_since"
	factStolen      operation.Fact = "leaked_version" // SSM version that holds the stolen text, where the plan could not tell
)

// History knows all operations on a secret.
type History interface {
	OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error)
}

// Auditor reads what the audit logs know of a secret.
type Auditor interface {
	Look(ctx context.Context, q Inquiry) (Findings, error)
}

// Inquiry is a secret and a window of time.
type Inquiry struct {
	Target    Target
	Client    ClientID
	Object    ObjectID
	Principal ObjectID
	Keys      []Key     // whose use is looked for; empty: every key's
	From, To  time.Time // a zero From: since the key was made
	Removed   time.Time // when the key was removed; zero: it was not
}

// Findings is what an inquiry found, for people.
type Findings struct {
	Summary string // what stands out first, and what was not covered
	Events  []byte // all events as CSV
}

// Reporter drafts an incident report.
type Reporter interface {
	Draft(ctx context.Context, id operation.ID) (Report, error)
}

// Report is a draft, and how long the parts of the emergency took, in a sentence.
type Report struct {
	Documents []operation.Document
	Times     string
}

// Emergency disables compromised secrets. Its way back to service is a rotation's.
type Emergency struct {
	*Rotate
	Audit   Auditor
	Report  Reporter
	History History
	Room    RoomPolicy
	clients sync.Map // operation.SecretName to the ClientID last read, for when AWS fails
}

// RoomPolicy is how incident channels are made.
type RoomPolicy struct {
	Private bool
	Channel operation.ChannelID // an existing channel to use; empty: one for each incident
	Invite  []operation.UserID
	Group   operation.GroupID
	Runbook string // URL
}

// emergencyLapse is how long an emergency can be confirmed: whoever is woken at
// night needs longer than a colleague at the next desk.
const emergencyLapse = time.Hour

// EmergencyPolicy is the target's policy with the time that an emergency takes.
func EmergencyPolicy(t Target) operation.Policy {
	p := t.Policy
	p.Lapse = max(p.Lapse, emergencyLapse)
	p.SecondFactor = t.EmergencySecondFactor
	return p
}

// tokenLife is how long a token that was issued before the removal may work.
const tokenLife = time.Hour

// Plan looks at what is needed to remove the key. Whatever else is wrong is a
// warning: it must not stand in the way.
func (e *Emergency) Plan(ctx context.Context, op operation.Operation) (operation.Plan, error) {
	target, ok := e.Targets[op.Secret]
	if !ok {
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "%s is not in my configuration.", op.Secret)
	}
	l := &look{Rotate: e.Rotate, target: target, at: op.RequestedAt}
	client, err := e.client(ctx, l)
	if err != nil {
		return operation.Plan{}, err
	}
	if l.app, err = e.Apps.Application(ctx, client); err != nil {
		return operation.Plan{}, operation.RefuseBecause(err, CodeCannotRotate, "Entra does not tell me about the application %s just now, so I can't say which keys there are. Try again at once; meanwhile, by hand: az ad app credential delete --id %s --key-id <key>. Nothing was changed.", client, client)
	}
	l.emergency(ctx)
	leaked, err := l.compromised(op.Options[OptionKey])
	if err != nil {
		return operation.Plan{}, err
	}
	ended, err := e.ended(ctx, op)
	if err != nil {
		return operation.Plan{}, err
	}
	return e.plan(op, l, leaked, ended)
}

// ends are the kinds of operations that an emergency ends.
func ends() []operation.Kind { return []operation.Kind{KindRotate, KindLeftover} }

// ended are the operations that are open, and that the emergency ends.
func (e *Emergency) ended(ctx context.Context, op operation.Operation) ([]operation.Operation, error) {
	all, err := e.History.OperationsOf(ctx, op.Secret)
	if err != nil {
		return nil, fmt.Errorf("read the operations of %s: %w", op.Secret, err)
	}
	return slices.DeleteFunc(all, func(o operation.Operation) bool { return !slices.Contains(ends(), o.Kind) || !o.State.Open() }), nil
}

// begun reports whether a rotation may have changed anything yet.
func begun(op operation.Operation) bool {
	return op.Kind == KindRotate && op.State != operation.Pending && op.State != operation.Approved
}

// Learn reads all client ids once, so that an emergency needs no AWS.
func (e *Emergency) Learn(ctx context.Context) error {
	var failed error
	for name, target := range e.Targets {
		p, err := e.Params.Read(ctx, target.ClientIDParameter)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("read the client id of %s: %w", name, err))
			continue
		}
		e.clients.Store(name, ClientID(strings.TrimSpace(p.Value.Reveal()))) // no secret
	}
	return failed
}

func (e *Emergency) client(ctx context.Context, l *look) (ClientID, error) {
	client, found, err := l.clientID(ctx)
	if err == nil && found {
		e.clients.Store(l.target.Name, client)
		return client, nil
	}
	if known, ok := e.clients.Load(l.target.Name); ok {
		l.warn("The client id could not be read from SSM just now; I use the one that I read before.")
		return known.(ClientID), nil
	}
	if err != nil {
		return "", fmt.Errorf("read the client id: %w", err)
	}
	return "", operation.Refuse(CodeCannotRotate, "SSM has no parameter %s, so I can't tell which application this is. Remove the key in Entra by hand: az ad app credential delete", l.target.ClientIDParameter)
}

// LookInto reads the audit logs about a target's secret, from since on; a zero
// since is when the key in use was made.
func (e *Emergency) LookInto(ctx context.Context, target Target, since, now time.Time) (Findings, error) {
	l := &look{Rotate: e.Rotate, target: target, at: now}
	client, err := e.client(ctx, l)
	if err != nil {
		return Findings{}, err
	}
	app, err := e.Apps.Application(ctx, client)
	if err != nil {
		return Findings{}, fmt.Errorf("read the application: %w", err)
	}
	return e.Audit.Look(ctx, Inquiry{Target: target, Client: app.Client, Object: app.Object, Principal: app.ServicePrincipal, From: since, To: now})
}

// emergency looks at the rest, and only warns.
func (l *look) emergency(ctx context.Context) {
	live, err := l.Params.Read(ctx, l.target.SecretParameter)
	if err != nil {
		l.warn("AWS does not let me read the live parameter just now: which key is in use is not known, and coming back to service may have to wait. The key is removed all the same.")
	}
	l.live, l.liveRead = live, err == nil
	l.newEnds = addMonths(l.at, l.target.LifetimeMonths).UTC().Truncate(time.Second)
	a := l.app
	if a.OwnersRead && !a.OwnedByUs {
		l.warn("I am not an owner of the Entra application %s: Entra will probably refuse the removal.", a.Name)
	}
	switch {
	case !a.PolicyRead:
		l.warn("The app management policy was not checked: whether a new secret may be made is not known.")
	case a.NewSecretsForbid:
		l.warn("An app management policy forbids new secrets for %s: after the removal the service stays down until somebody makes an exception.", a.Name)
	case a.MaxSecretLifetime > 0 && l.newEnds.After(l.at.Add(a.MaxSecretLifetime)):
		l.newEnds = l.at.Add(a.MaxSecretLifetime).UTC().Truncate(time.Second)
	}
	if l.service, err = l.ECS.Service(ctx, l.target.Cluster, l.target.Service); err != nil {
		l.warn("The ECS service could not be read just now: coming back to service may have to wait.")
	}
}

// compromised finds the keys that a requester means.
func (l *look) compromised(which string) ([]Key, error) {
	switch which {
	case "", KeyInUse:
		if !l.liveRead {
			if len(l.app.Keys) == 1 { // then it can be no other
				return l.app.Keys, nil
			}
			return nil, operation.Refuse(CodeCannotRotate, "AWS does not let me read the live parameter just now, so I can't tell which of the %d keys is in use. Ask again by the form (`/emergency-disable` alone) and choose all keys, or one by its id. Its keys: %s. Nothing was changed.", len(l.app.Keys), listKeys(l.app.Keys))
		}
		var fit []Key
		for _, k := range l.app.Keys {
			if l.live.Value.HasHint(k.Hint) {
				fit = append(fit, k)
			}
		}
		if len(fit) == 1 {
			return fit, nil
		}
		return nil, operation.Refuse(CodeCannotRotate, "I can't tell which key is in use: %d of the application's keys fit the value in SSM. Ask again and name the key, or all of them. Its keys: %s. Nothing was changed.", len(fit), listKeys(l.app.Keys))
	case KeyAll:
		if len(l.app.Keys) == 0 {
			return nil, operation.Refuse(CodeCannotRotate, "The Entra application %s has no keys, so there is nothing to remove.", l.app.Name)
		}
		return l.app.Keys, nil
	}
	for _, k := range l.app.Keys {
		if strings.EqualFold(string(k.ID), which) {
			return []Key{k}, nil
		}
	}
	return nil, operation.Refuse(CodeCannotRotate, "The Entra application %s has no key %q. Its keys: %s. Nothing was changed.", l.app.Name, which, listKeys(l.app.Keys))
}

func listKeys(keys []Key) string {
	if len(keys) == 0 {
		return "none"
	}
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s (%s, until %s)", k.ID, k.Name, day(k.End)))
	}
	return strings.Join(out, ", ")
}

func (e *Emergency) plan(op operation.Operation, l *look, leaked []Key, ended []operation.Operation) (operation.Plan, error) {
	drill := op.Options[OptionDrill] == "true"
	if drill && !l.target.Canary {
		return operation.Plan{}, operation.Refuse(CodeCannotRotate, "%s is no canary, so no drill is held with it. Mark a secret that nobody depends on with canary: true in the configuration. Nothing was changed.", op.Secret)
	}
	d := details{
		Client: l.app.Client, Object: l.app.Object, Principal: l.app.ServicePrincipal, NewEnds: l.newEnds, Version: l.live.Version,
		TaskDefinition: l.service.TaskDefinition, Target: l.target,
	}
	changes := d.remove(l, leaked)
	// What is not known to be needless is done: a second new secret harms less than
	// a service without any.
	d.Renew = d.LiveLeaked || !l.liveRead || slices.ContainsFunc(ended, begun)
	if d.Renew {
		changes = append(changes,
			operation.Change{What: "Service " + l.target.Cluster + "/" + l.target.Service, From: "works", To: "gets no new tokens until a new secret is in place: some minutes"},
			operation.Change{What: "SSM parameter " + l.target.SecretParameter, From: l.version(), To: "a new version with a new secret, and all tasks started anew"})
	}
	for _, o := range ended {
		changes = append(changes, l.end(o, leaked))
	}
	changes = append(changes, operation.Change{What: "Tokens that were stolen already", From: "work", To: "may work for about an hour after the removal (until about " +
		clock(op.RequestedAt.Add(tokenLife)) + " if it is confirmed now), and up to 24 hours where continuous access evaluation is used"})
	raw, err := json.Marshal(d)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	return operation.Plan{
		Kind: KindEmergency, Secret: op.Secret, Policy: EmergencyPolicy(l.target), Warnings: texts(l.warnings), Details: raw, Changes: changes,
		Urgent: true, Ends: ends(), MustType: string(op.Secret), Room: e.room(op, l.target, drill),
	}, nil
}

// remove notes the keys to remove, the one in use first.
func (d *details) remove(l *look, leaked []Key) []operation.Change {
	inUse := func(k Key) bool { return l.liveRead && l.live.Value.HasHint(k.Hint) }
	leaked = slices.Clone(leaked)
	slices.SortStableFunc(leaked, func(a, b Key) int {
		switch {
		case inUse(a) == inUse(b):
			return 0
		case inUse(a):
			return -1
		}
		return 1
	})
	if !l.liveRead && len(leaked) == len(l.app.Keys) { // the one in use must be among them
		d.LiveLeaked = true
	}
	changes := make([]operation.Change, 0, len(leaked)+3)
	for _, k := range leaked {
		if inUse(k) {
			d.OldKey, d.OldEnds, d.LiveLeaked = k.ID, k.End.UTC(), true
		}
		k.Hint = "" // three characters of a secret are not for the database
		d.Leaked = append(d.Leaked, k)
		changes = append(changes, operation.Change{What: "Key " + string(k.ID) + " of " + l.app.Name, From: "works", To: "removed at once, for ever"})
	}
	return changes
}

func (l *look) version() string {
	if !l.liveRead {
		return "the present version"
	}
	return fmt.Sprintf("version %d", l.live.Version)
}

// end says what becomes of an operation that is under way. The old key that it had
// kept works until the emergency clears up, which may be too late.
func (l *look) end(o operation.Operation, leaked []Key) operation.Change {
	c := operation.Change{What: "Rotation " + string(o.ID), From: o.State.Words(), To: "ended at once"}
	if o.Kind == KindLeftover {
		c.What = "Removal of a leftover " + string(o.ID)
	}
	if !begun(o) {
		return c
	}
	c.To += "; what it left is cleared up once the service works again"
	old := decodeDetails(o.Plan.Details).OldKey
	has := func(keys []Key) bool {
		return slices.ContainsFunc(keys, func(k Key) bool { return k.ID == old })
	}
	if has(l.app.Keys) && !has(leaked) {
		c.To += ", its old key too"
		l.warn("Rotation %s still keeps its old key %s, which works until the end of this emergency. If that one may have leaked, ask by the form for all keys instead.", o.ID, old)
	}
	return c
}

func (e *Emergency) room(op operation.Operation, t Target, drill bool) *operation.Room {
	name := "inc-" + day(op.RequestedAt) + "-" + t.Server + "-" + t.Environment
	if drill {
		name = "drill-" + strings.TrimPrefix(name, "inc-")
	}
	return &operation.Room{
		Name: name, Private: e.Room.Private, Channel: e.Room.Channel, Invite: e.Room.Invite, Group: e.Room.Group, Runbook: e.Room.Runbook,
	}
}

// Steps is the emergency, line by line. From the first on there is no way back.
func (e *Emergency) Steps(op operation.Operation) []operation.Step {
	j := emergencyJob{job: e.job(op), audit: e.Audit, report: e.Report, history: e.History}
	forward := operation.NoUndo("an emergency only goes forward")
	steps := []operation.Step{{
		Name: StepRemove, Within: 15 * time.Minute, PointOfNoReturn: true,
		Do: j.removeLeaked, Verify: j.leakedGone, Undo: forward,
	}}
	if j.plan.LiveLeaked {
		steps = append(steps, operation.Step{Name: StepRefused, Within: 30 * time.Minute, Do: nothing, Verify: j.stolenRefused, Undo: forward})
	}
	if j.plan.Renew {
		steps = append(steps,
			operation.Step{Name: "Clear the way", Within: 5 * time.Minute, Do: j.clearTheWay, Verify: j.wayIsClear, Undo: forward},
			operation.Step{Name: "Make a new secret in Entra", Within: 3 * time.Minute, Do: j.addKey, Verify: j.keyIsPending, Undo: forward},
			operation.Step{Name: "Prove the new secret by fresh tokens", Within: 10 * time.Minute, Do: nothing, Verify: j.newTokens, Undo: forward},
			operation.Step{Name: "Put it into the live parameter", Within: 2 * time.Minute, Do: j.writeLive, Verify: j.liveHoldsNew, Undo: forward},
			operation.Step{Name: "Redeploy the service", Within: 20 * time.Minute, Do: j.redeploy, Verify: j.runsNew, Undo: forward},
		)
	}
	steps = append(steps, operation.Step{Name: StepServer, Within: 5 * time.Minute, Do: j.healthy, Verify: j.serves, Undo: forward})
	if j.plan.Renew {
		steps = append(steps, operation.Step{Name: "Clear up", Within: 5 * time.Minute, Do: j.clearUpAfter, Verify: j.nothingOfOursLeft, Undo: forward})
	}
	steps = append(steps,
		operation.Step{Name: StepAudit, Within: 5 * time.Minute, Do: nothing, Verify: j.readAudit, Undo: forward},
		operation.Step{Name: "Draft the report", Within: 5 * time.Minute, Do: nothing, Verify: j.draft, Undo: forward},
	)
	// Last, so that nothing waits for it.
	return e.patient(append(steps, j.askTerraform(forward)...))
}

// Steps of an emergency that its report, or whoever judges it, asks for.
const (
	StepRemove  = "Remove the compromised key"
	StepRefused = "Prove the stolen secret is refused"
	StepServer  = "Check the MCP server"
	StepAudit   = "Read the audit logs"
)

// nothing is the Do of a step that only looks.
func nothing(context.Context, *operation.Run) (string, error) { return "", nil }

// emergencyJob is one emergency at work.
type emergencyJob struct {
	job
	audit   Auditor
	report  Reporter
	history History
}

// removeLeaked is the call that everything waits for. Nothing is read before it:
// the plan has all that it needs. One key that cannot be removed keeps no other.
func (j emergencyJob) removeLeaked(ctx context.Context, run *operation.Run) (string, error) {
	var failed error
	for _, k := range j.plan.Leaked {
		if err := run.Fence(ctx); err != nil {
			return "", err
		}
		holder := j.plan.Object
		if k.OnServicePrincipal {
			holder = j.plan.Principal
		}
		if err := j.Apps.RemovePassword(ctx, holder, k); err != nil && failed == nil {
			failed = shout(run, k, err)
		}
	}
	if failed == nil {
		run.Facts[factRemoved] = run.Now().UTC().Format(time.RFC3339)
	}
	return "", failed
}

// shout tells at once that the key still lives, and has the removal tried again:
// a refusal may be a permission that somebody is about to give.
func shout(run *operation.Run, k Key, err error) error {
	if run.Facts[factShouted] == "" {
		switch {
		case operation.IsPermanent(err):
			run.Facts[factShouted] = "yes"
			run.Say("Entra REFUSES to remove key %s: %s. THE SECRET IS STILL ALIVE. I try again every few seconds. Meanwhile: freeze the application with the button on the card (two people), or remove the key by hand in Entra.", k.ID, err)
		case run.Took() > shoutAfter:
			run.Facts[factShouted] = "yes"
			run.Say("Entra does not answer when I remove key %s, so THE SECRET MAY STILL BE ALIVE. I try again every few seconds. Meanwhile: freeze the application with the button on the card (two people), or remove the key by hand in Entra.", k.ID)
		}
	}
	return operation.NotYet{After: 2 * time.Second, Why: fmt.Sprintf("key %s could not be removed: %s", k.ID, err)}
}

// shoutAfter is how long Entra may give no usable answer before people are told.
const shoutAfter = 5 * time.Second

// leakedGone: absent in a run of equal reads, on the application and on its
// service principal.
func (j emergencyJob) leakedGone(ctx context.Context, run *operation.Run) (string, error) {
	err := j.inARow(ctx, j.Proof.Reads, func() error {
		app, err := j.Apps.Application(ctx, j.plan.Client)
		if err != nil {
			return fmt.Errorf("read the application: %w", err)
		}
		if i := slices.IndexFunc(app.Keys, j.isLeaked); i >= 0 {
			return operation.DoAgain{Why: fmt.Sprintf("Entra lists key %s", app.Keys[i].ID)}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	removed, _ := time.Parse(time.RFC3339, run.Facts[factRemoved]) // written by removeLeaked
	run.Facts[operation.FactDead] = fmt.Sprintf("%s: gone from Entra since %s.", namesOf(j.plan.Leaked), clock(removed))
	run.Facts[operation.FactTokensDie] = removed.Add(tokenLife).Format(time.RFC3339)
	return fmt.Sprintf("Removed: %s, at %s; absent in %d reads in a row. Tokens issued before that may work until about %s, and up to 24 hours where continuous access evaluation is used.",
		namesOf(j.plan.Leaked), clock(removed), j.Proof.Reads, clock(removed.Add(tokenLife))), nil
}

func (j emergencyJob) isLeaked(k Key) bool {
	return slices.ContainsFunc(j.plan.Leaked, func(l Key) bool { return l.ID == k.ID })
}

// namesOf is the keys in short.
func namesOf(keys []Key) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = fmt.Sprintf("key %s (%s)", k.ID, k.Name)
	}
	return strings.Join(out, ", ")
}

// stolenText is the secret that leaked, from the parameter's history. When AWS
// was silent at the request, it is what the parameter holds until we write.
func (j emergencyJob) stolenText(ctx context.Context, run *operation.Run) (operation.Secret, error) {
	name := j.target.SecretParameter
	switch {
	case j.plan.Version > 0:
		name = fmt.Sprintf("%s:%d", name, j.plan.Version)
	case run.Facts[factStolen] != "":
		name += ":" + run.Facts[factStolen]
	}
	p, err := j.Params.Read(ctx, name)
	if err != nil {
		return operation.Secret{}, fmt.Errorf("read the stolen secret from %s: %w", name, err)
	}
	run.Facts[factStolen] = fmt.Sprint(p.Version)
	return p.Value, nil
}

// atOnce is how many token requests are sent side by side. Nobody tells how many
// replicas Entra has: the more are asked, the less likely one is missed that has
// not heard of a key's removal, or of a new key.
const atOnce = 8

// rounds is how often. More requests in fewer rounds prove more than a rotation's,
// in half of the time, while a service is down.
func (j emergencyJob) rounds() int { return (j.Proof.Tokens + 1) / 2 }

// asked is how many requests a proof takes.
func (j emergencyJob) asked() int { return j.rounds() * atOnce }

// inBursts asks in rounds; the first error ends it.
func (j emergencyJob) inBursts(ctx context.Context, ask func(context.Context) error) error {
	return j.inARow(ctx, j.rounds(), func() error {
		g, ctx := errgroup.WithContext(ctx)
		for range atOnce {
			g.Go(func() error { return ask(ctx) })
		}
		return g.Wait()
	})
}

// stolenRefused asks for tokens with the stolen secret, which must be refused
// many times in a row. While the application is frozen every secret is refused, so
// nothing is learned about this one.
func (j emergencyJob) stolenRefused(ctx context.Context, run *operation.Run) (string, error) {
	stolen, err := j.stolenText(ctx, run)
	if err != nil {
		return "", err
	}
	var last atomic.Pointer[TokenRefused]
	err = j.inBursts(ctx, func(ctx context.Context) error {
		refused, err := j.refusal(ctx, stolen)
		last.Store(refused)
		return err
	})
	if err := untilThawed(run, err, "whether the stolen secret itself is dead shows only then"); err != nil {
		return "", err
	}
	removed, _ := time.Parse(time.RFC3339, run.Facts[factRemoved]) // written by removeLeaked
	run.Facts[operation.FactDead] = fmt.Sprintf("%s: gone from Entra since %s, and its secret is refused in %d of %d token requests.", namesOf(j.plan.Leaked), clock(removed), j.asked(), j.asked())
	return fmt.Sprintf("%d of %d token requests with the stolen secret refused in a row (AADSTS%d). Nobody gets a new token with it any more. Tokens issued before may live on until about %s, and up to 24 hours where continuous access evaluation is used.",
		j.asked(), j.asked(), last.Load().Codes[0], clock(removed.Add(tokenLife))), nil
}

// newTokens proves the new secret, and waits while it cannot because somebody
// froze the application.
func (j emergencyJob) newTokens(ctx context.Context, run *operation.Run) (string, error) {
	text, err := j.pendingText(ctx, run)
	if err != nil {
		return "", err
	}
	err = j.inBursts(ctx, func(ctx context.Context) error { return j.token(ctx, text) })
	if err := untilThawed(run, err, "the new secret waits until then"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d fresh token requests granted in a row with key %s.", j.asked(), j.asked(), run.Facts[factNewKey]), nil
}

// thawWait is how long an emergency waits for a thaw before it parks, so that
// people can retry it or take it on by hand.
const thawWait = 24 * time.Hour

// untilThawed waits where err means that the application is frozen, and says so
// once. Two people froze it, and two people thaw it: that takes as long as it takes.
func untilThawed(run *operation.Run, err error, consequence string) error {
	var f frozen
	switch {
	case err == nil:
		delete(run.Facts, factFrozenSince)
		return nil
	case !errors.As(err, &f):
		return err
	}
	if run.Facts[factFrozen] != consequence {
		run.Facts[factFrozen] = consequence
		run.Say("The application is frozen (AADSTS%d): no secret of it gets a token until two people thaw it, and %s. I look again every few seconds and go on by myself; after a day I park. To thaw it, use the button on the freeze's card.", ApplicationDisabled, consequence)
	}
	since, err := time.Parse(time.RFC3339, run.Facts[factFrozenSince])
	if err != nil { // it has just begun
		since = run.Now()
		run.Facts[factFrozenSince] = since.UTC().Format(time.RFC3339)
	}
	f.notYet.ForPeople = run.Now().Sub(since) < thawWait
	return f
}

// unlessFrozen finds out whether something failed because the application is frozen.
// Then it waits for the thaw, and has it done again.
func (j emergencyJob) unlessFrozen(ctx context.Context, run *operation.Run, failed error, consequence string) error {
	switch {
	case failed == nil:
		return untilThawed(run, nil, consequence)
	case !operation.IsPermanent(failed) && run.Took() < time.Minute:
		return failed // it may yet come
	}
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return failed
	}
	var f frozen
	switch err := j.token(ctx, live.Value); {
	case errors.As(err, &f):
		return untilThawed(run, f, consequence)
	case run.Facts[factFrozenSince] != "":
		delete(run.Facts, factFrozenSince)
		return operation.DoAgain{Why: "it failed while the application was frozen"}
	}
	return failed
}

// runsNew is the proof of the redeployment. Tasks that get no token may not start.
func (j emergencyJob) runsNew(ctx context.Context, run *operation.Run) (string, error) {
	evidence, err := j.tasksRunNew(ctx, run)
	return evidence, j.unlessFrozen(ctx, run, err, "no new task starts until then")
}

// serves is the proof that the service works again.
func (j emergencyJob) serves(ctx context.Context, run *operation.Run) (string, error) {
	evidence, err := j.toolAnswers(ctx, run)
	if err := j.unlessFrozen(ctx, run, err, "the server answers no call until then"); err != nil {
		return "", err
	}
	with := ", with a new secret"
	if !j.plan.Renew {
		with = ", with the secret that it has"
	}
	run.Facts[operation.FactWorks] = fmt.Sprintf("the service %s/%s%s: health check and test call at %s.", j.target.Cluster, j.target.Service, with, clock(run.Now()))
	return evidence, nil
}

// clearTheWay removes a pending parameter that an interrupted operation left, and
// notes on which version the new secret will follow.
func (j emergencyJob) clearTheWay(ctx context.Context, run *operation.Run) (string, error) {
	live, err := j.Params.Read(ctx, j.target.SecretParameter)
	if err != nil {
		return "", fmt.Errorf("read the live parameter: %w", err)
	}
	if run.Facts[factBase] == "" {
		run.Facts[factBase] = fmt.Sprint(live.Version)
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Params.Delete(ctx, j.target.PendingParameter()); err != nil {
		return "", fmt.Errorf("delete the pending parameter: %w", err)
	}
	return "", nil
}

func (j emergencyJob) wayIsClear(ctx context.Context, run *operation.Run) (string, error) {
	if err := j.pendingGone(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("No %s; the new secret follows on version %s of the live parameter.", j.target.PendingParameter(), run.Facts[factBase]), nil
}

// remains is what is there at the end, read at one instant.
type remains struct {
	app     Application
	live    Parameter
	pending bool
	stray   []Key // that must not stay
}

// clearUpAfter removes the pending parameter, the old version's label and the keys
// that the operations before left: those that we made, and what a rotation that
// was ended had still kept.
func (j emergencyJob) clearUpAfter(ctx context.Context, run *operation.Run) (string, error) {
	r, err := j.remains(ctx, run)
	if err != nil {
		return "", err
	}
	for _, k := range r.stray {
		if err := run.Fence(ctx); err != nil {
			return "", err
		}
		if err := j.Apps.RemovePassword(ctx, j.holder(r.app, k), k); err != nil {
			return "", fmt.Errorf("remove key %s of an earlier operation: %w", k.ID, err)
		}
	}
	if err := run.Fence(ctx); err != nil {
		return "", err
	}
	if err := j.Params.Delete(ctx, j.target.PendingParameter()); err != nil {
		return "", fmt.Errorf("delete the pending parameter: %w", err)
	}
	return "", j.unlabelStolen(ctx, run)
}

// unlabelStolen takes the label from the stolen version: a labelled oldest version
// would block SSM's 101st put.
func (j emergencyJob) unlabelStolen(ctx context.Context, run *operation.Run) error {
	version := j.plan.Version
	if version == 0 {
		_, _ = fmt.Sscan(run.Facts[factStolen], &version) // not known: then there is nothing to do
	}
	if version == 0 {
		return nil
	}
	for _, k := range j.plan.Leaked {
		if err := run.Fence(ctx); err != nil {
			return err
		}
		if err := j.Labels.Unlabel(ctx, j.target.SecretParameter, version, keyLabel(k.ID)); err != nil {
			return fmt.Errorf("unlabel version %d: %w", version, err)
		}
	}
	return nil
}

// remains reads everything at once. The live parameter must still be ours.
func (j emergencyJob) remains(ctx context.Context, run *operation.Run) (remains, error) {
	var r remains
	var kept []KeyID
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		r.app, err = j.Apps.Application(ctx, j.plan.Client)
		return wrapped(err, "read the application")
	})
	g.Go(func() (err error) {
		r.live, err = j.Params.Read(ctx, j.target.SecretParameter)
		return wrapped(err, "read the live parameter")
	})
	g.Go(func() error {
		_, err := j.Params.Read(ctx, j.target.PendingParameter())
		if r.pending = err == nil; errors.Is(err, ErrNoParameter) {
			return nil
		}
		return wrapped(err, "look for the pending parameter")
	})
	g.Go(func() (err error) { kept, err = j.keptByEnded(ctx, run); return err })
	if err := g.Wait(); err != nil {
		return remains{}, err
	}
	i := slices.IndexFunc(r.app.Keys, func(k Key) bool { return string(k.ID) == run.Facts[factNewKey] })
	switch {
	case i < 0:
		return remains{}, operation.NotYet{After: time.Second, Why: fmt.Sprintf("Entra does not list key %s", run.Facts[factNewKey])}
	case fmt.Sprint(r.live.Version) != run.Facts[factLive], !r.live.Value.HasHint(r.app.Keys[i].Hint):
		return remains{}, operation.Permanent(fmt.Errorf("somebody else wrote to %s: it is version %d now and ours was %s", r.live.Name, r.live.Version, run.Facts[factLive]))
	}
	for _, k := range r.app.Keys {
		lost := strings.HasPrefix(k.Name, Mark("")) || slices.Contains(kept, k.ID)
		if lost && string(k.ID) != run.Facts[factNewKey] && !r.live.Value.HasHint(k.Hint) {
			r.stray = append(r.stray, k)
		}
	}
	return r, nil
}

func wrapped(err error, attempted string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", attempted, err)
}

// keptByEnded are the old keys of the rotations that this emergency ended.
func (j emergencyJob) keptByEnded(ctx context.Context, run *operation.Run) ([]KeyID, error) {
	all, err := j.history.OperationsOf(ctx, run.Operation.Secret)
	if err != nil {
		return nil, fmt.Errorf("read the operations of %s: %w", run.Operation.Secret, err)
	}
	var out []KeyID
	for _, o := range all {
		if o.Kind == KindRotate && o.State == operation.Superseded && !o.EndedAt.Before(run.Operation.DecidedAt) {
			out = append(out, decodeDetails(o.Plan.Details).OldKey)
		}
	}
	return out, nil
}

// nothingOfOursLeft: nothing that must not stay is there, and the live secret works.
func (j emergencyJob) nothingOfOursLeft(ctx context.Context, run *operation.Run) (string, error) {
	r, err := j.remains(ctx, run)
	switch {
	case err != nil:
		return "", err
	case r.pending:
		return "", operation.DoAgain{Why: j.target.PendingParameter() + " is still there"}
	case len(r.stray) > 0:
		return "", operation.DoAgain{Why: fmt.Sprintf("Entra lists key %s of an earlier operation", r.stray[0].ID)}
	}
	if err := untilThawed(run, j.token(ctx, r.live.Value), "the end has to wait until then"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is gone; Entra lists one key of ours, %s; the live parameter, version %d, gets a token.",
		j.target.PendingParameter(), run.Facts[factNewKey], r.live.Version), nil
}

// readAudit reads the exposure window: from when the secret is known to have
// leaked, or was made, until a little after its removal.
func (j emergencyJob) readAudit(ctx context.Context, run *operation.Run) (string, error) {
	removed, _ := time.Parse(time.RFC3339, run.Facts[factRemoved]) // written by removeLeaked
	found, err := j.audit.Look(ctx, Inquiry{
		Target: j.target, Client: j.plan.Client, Object: j.plan.Object, Principal: j.plan.Principal, Keys: j.plan.Leaked,
		From: j.exposedSince(run), To: run.Now(), Removed: removed,
	})
	if err != nil {
		return "", fmt.Errorf("read the audit logs: %w", err)
	}
	run.Attach(operation.Document{Operation: run.Operation.ID, Name: AuditFile(j.target), Title: "Audit events of " + string(j.target.Name), Body: found.Events, At: run.Now()})
	return fmt.Sprintf("%s\nWhat arrives late is read by `/check-audit-logs %s %s` in half an hour.", found.Summary, j.target.Server, j.target.Environment), nil
}

// AuditFile is the name of the file with a secret's audit events.
func AuditFile(t Target) string { return "audit-" + t.Server + "-" + t.Environment + ".csv" }

// exposedSince is when the window begins.
func (j emergencyJob) exposedSince(run *operation.Run) time.Time {
	if since, err := time.Parse(time.RFC3339, run.Operation.Options[OptionSince]); err == nil {
		return since
	}
	since := run.Operation.RequestedAt
	for _, k := range j.plan.Leaked {
		if !k.Start.IsZero() && k.Start.Before(since) {
			since = k.Start
		}
	}
	return since
}

// draft writes the report from the record.
func (j emergencyJob) draft(ctx context.Context, run *operation.Run) (string, error) {
	report, err := j.report.Draft(ctx, run.Operation.ID)
	if err != nil {
		return "", fmt.Errorf("draft the report: %w", err)
	}
	var names []string
	for _, d := range report.Documents {
		run.Attach(d)
		names = append(names, d.Name)
	}
	return fmt.Sprintf("%s\nDrafted from the record: %s. Write it again with /emergency-disable report %s.", report.Times, strings.Join(names, ", "), run.Operation.ID), nil
}
