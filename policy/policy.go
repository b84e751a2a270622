// Package policy checks how the platform keeps its secrets: who may read them and who
// did, how they are encrypted, and that none stands in a task definition. It changes
// nothing.
package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Platform is what the checks look at in AWS.
type Platform interface {
	// Roles returns the ARNs of the account's roles, without those of AWS's own services.
	Roles(ctx context.Context) ([]string, error)
	// MayRead simulates whether a role may read each of the parameters, by any of [Reads].
	MayRead(ctx context.Context, role string, parameters []string) (map[string]bool, error)
	// Kinds returns how those of names are kept that exist. It takes at most [AtOnce].
	Kinds(ctx context.Context, names []string) (map[string]Kind, error)
}

// AtOnce is how many names SSM takes in a call.
const AtOnce = 50

// Reads are the actions by which a parameter's value is read.
func Reads() []string {
	return []string{"ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath", "ssm:GetParameterHistory"}
}

// Kind is how a parameter is kept.
type Kind struct {
	Type   string // "SecureString"
	KMSKey string
}

// Services reads ECS services with their task definitions.
type Services interface {
	Service(ctx context.Context, cluster, name string) (runbook.Service, error)
}

// Trail is AWS's log of calls.
type Trail interface {
	Calls(ctx context.Context, name string, w exposure.Window) ([]exposure.Call, error)
}

// Check names one rule.
type Check string

// The checks.
const (
	OwnReader    Check = "own-role-may-read"    // the execution role may read its own parameters
	OtherReader  Check = "no-other-may-read"    // and no other role may
	ActualReader Check = "no-other-did-read"    // and nobody else did
	Encrypted    Check = "parameter-encrypted"  // a SecureString, with the expected key
	Injected     Check = "secret-injected"      // the task definition uses secrets
	NoPlainText  Check = "no-plain-text-secret" // and no revision that is active holds one
)

// Demand is a check and what it demands.
type Demand struct {
	Check Check
	Text  string
}

// Checks lists the checks of the platform in the order in which they are told.
func Checks() []Demand {
	return []Demand{
		{OwnReader, "Each service's execution role may read the service's own parameters."},
		{OtherReader, "No other role may read them."},
		{ActualReader, "Nobody else has read them."},
		{Encrypted, "Each secret is a SecureString, encrypted with the configured key."},
		{Injected, "Each task definition has its secret injected from its parameter."},
		{NoPlainText, "No active revision of a task definition holds a secret in plain text."},
	}
}

// Finding is one thing that is not as a check demands, or that could not be looked at.
type Finding struct {
	ID       string               `json:"id"` // the same as long as it is the same matter
	Check    Check                `json:"check"`
	Secret   operation.SecretName `json:"secret,omitempty"`
	Subject  string               `json:"subject"` // what it is about: a role, a parameter, a revision
	Owner    string               `json:"owner,omitempty"`
	Evidence string               `json:"evidence"`
	Remedy   string               `json:"remedy"`
	// Unchecked is true where nothing is known to be wrong: it could not be looked at.
	Unchecked bool `json:"unchecked,omitempty"`
}

// Report is the outcome of all checks.
type Report struct {
	At      time.Time `json:"at"`
	Secrets int       `json:"secrets"` // that were looked at
	Roles   int       `json:"roles"`   // whose permissions were simulated
	// Repositories are those that were looked at.
	Repositories int       `json:"repositories,omitempty"`
	Findings     []Finding `json:"findings"` // in the order of the checks
}

// demands are those that the report is about.
func (r Report) demands() []Demand {
	if r.Repositories == 0 {
		return Checks()
	}
	return append(Checks(), RepositoryChecks()...)
}

// Clean reports whether everything was looked at and is as demanded.
func (r Report) Clean() bool { return len(r.Findings) == 0 }

// Inspector does the checks.
type Inspector struct {
	Targets  []runbook.Target
	Platform Platform
	Services Services
	Trail    Trail
	// Repositories may be none; then what follows is not needed.
	Repositories []Repository
	Checkouts    Checkouts
	Scanner      Scanner
	Hosting      Hosting
	Code         Code
	// Bot returns the ARN of the role that the bot itself runs as: it must read the
	// secrets to do its work.
	Bot func(ctx context.Context) (string, error)
	Now func() time.Time
	// Back is how far the log of calls is looked through; 0 is [DefaultBack].
	Back time.Duration
	// Patience is how long all of it may take; 0 is as long as it takes. What there is
	// no time for is not checked, and that is told.
	Patience time.Duration
}

// DefaultBack is how far back readers are looked for: a day, since a day's calls of a
// busy account are already many look-ups.
const DefaultBack = 24 * time.Hour

// look is one run.
type look struct {
	*Inspector
	report   Report
	services map[operation.SecretName]runbook.Service
	bot      string
}

// Inspect does all checks. What cannot be looked at is a finding of its own: silence
// would be taken for good news. It returns an error only when ctx has ended.
func (i *Inspector) Inspect(ctx context.Context) (Report, error) {
	l := &look{Inspector: i, services: map[operation.SecretName]runbook.Service{}}
	l.report = Report{At: i.Now(), Secrets: len(i.Targets)}
	within, cancel := ctx, context.CancelFunc(func() {})
	if i.Patience > 0 {
		within, cancel = context.WithTimeout(ctx, i.Patience)
	}
	defer cancel()
	l.definitions(within)
	l.encryption(within)
	l.readers(within)
	l.reads(within)
	l.repositories(within)
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	order := map[Check]int{}
	for n, c := range l.report.demands() {
		order[c.Check] = n
	}
	slices.SortStableFunc(l.report.Findings, func(a, b Finding) int { return order[a.Check] - order[b.Check] })
	return l.report, nil
}

func (l *look) add(f Finding) {
	for _, t := range l.Targets {
		if t.Name == f.Secret {
			f.Owner = t.Owner.Name
		}
	}
	sum := sha256.Sum256([]byte(string(f.Check) + "\n" + string(f.Secret) + "\n" + f.Subject + fmt.Sprint("\n", f.Unchecked)))
	f.ID = hex.EncodeToString(sum[:8])
	l.report.Findings = append(l.report.Findings, f)
}

func (l *look) unchecked(check Check, secret operation.SecretName, subject string, err error, remedy string) {
	l.add(Finding{Check: check, Secret: secret, Subject: subject, Evidence: "Not checked: " + err.Error(), Remedy: remedy, Unchecked: true})
}

// definitions looks at the services, and at the revisions of their task definitions.
func (l *look) definitions(ctx context.Context) {
	for _, t := range l.Targets {
		s, err := l.Services.Service(ctx, t.Cluster, t.Service)
		if err != nil {
			l.unchecked(NoPlainText, t.Name, t.Cluster+"/"+t.Service, err, "Let the bot's role call ecs:DescribeServices, ecs:ListTaskDefinitions and ecs:DescribeTaskDefinition, and see that the service is there.")
			continue
		}
		l.services[t.Name] = s
		if got := s.Secrets[t.Variable]; got != t.SecretParameter {
			if got == "" {
				got = "nothing"
			}
			l.add(Finding{
				Check: Injected, Secret: t.Name, Subject: s.TaskDefinition, Evidence: fmt.Sprintf("The variable %s is injected from %s, and should be from %s.", t.Variable, got, t.SecretParameter),
				Remedy: fmt.Sprintf(`Register a revision whose container has "secrets": [{"name": %q, "valueFrom": %q}], and deploy it.`, t.Variable, t.SecretParameter),
			})
		}
		for _, place := range s.PlainText {
			revision, _, _ := strings.Cut(place, ",")
			l.add(Finding{
				Check: NoPlainText, Secret: t.Name, Subject: place, Evidence: "Something with the shape of an Entra client secret stands there in plain text: " + place + ".",
				Remedy: "Rotate the secret, since whoever may describe task definitions has read it; take it out, and deregister the revision: aws ecs deregister-task-definition --task-definition " + revision,
			})
		}
		for _, why := range s.NotChecked {
			l.unchecked(NoPlainText, t.Name, t.Cluster+"/"+t.Service, fmt.Errorf("%s", why), "Let the bot's role call ecs:ListTaskDefinitions and ecs:DescribeTaskDefinition.")
		}
	}
}

// encryption looks at how the parameters are kept.
func (l *look) encryption(ctx context.Context) {
	for some := range slices.Chunk(l.Targets, AtOnce) {
		var names []string
		for _, t := range some {
			names = append(names, t.SecretParameter)
		}
		kinds, err := l.Platform.Kinds(ctx, names)
		if err != nil {
			l.unchecked(Encrypted, "", strings.Join(names, ", "), err, "Let the bot's role call ssm:DescribeParameters.")
			continue
		}
		for _, t := range some {
			kind, there := kinds[t.SecretParameter]
			f := Finding{Check: Encrypted, Secret: t.Name, Subject: t.SecretParameter}
			switch {
			case !there:
				l.unchecked(Encrypted, t.Name, t.SecretParameter, fmt.Errorf("there is no such parameter"), "Correct client_secret in the configuration, or make the parameter.")
			case kind.Type != "SecureString":
				f.Evidence = fmt.Sprintf("It is a %s: its value is not encrypted, and shows wherever parameters are listed.", kind.Type)
				f.Remedy = "Delete it, make it anew as a SecureString, and rotate the secret: others may have read it."
				l.add(f)
			case !runbook.SameKMSKey(kind.KMSKey, t.KMSKey):
				f.Evidence = fmt.Sprintf("It is encrypted with the KMS key %s, and the configuration says %s.", kind.KMSKey, t.KMSKey)
				f.Remedy = "Correct whichever is wrong; a rotation writes it with the configured key."
				l.add(f)
			}
		}
	}
}

// readers simulates for every role which secrets it may read.
func (l *look) readers(ctx context.Context) {
	const remedy = "Let the bot's role call iam:ListRoles and iam:SimulatePrincipalPolicy."
	roles, err := l.Platform.Roles(ctx)
	if err == nil {
		l.bot, err = l.Bot(ctx)
	}
	if err != nil {
		l.unchecked(OtherReader, "", "the account's roles", err, remedy)
		l.unchecked(OwnReader, "", "the account's roles", err, remedy)
		return
	}
	for _, t := range l.Targets {
		if s, known := l.services[t.Name]; known && s.ExecutionRole == "" {
			l.add(Finding{Check: OwnReader, Secret: t.Name, Subject: s.TaskDefinition, Evidence: "The task definition has no execution role, so ECS cannot inject the secret.", Remedy: "Give it an executionRoleArn that may read " + t.SecretParameter + "."})
		}
		if s := l.services[t.Name]; s.ExecutionRole != "" && !slices.ContainsFunc(roles, func(r string) bool { return sameRole(r, s.ExecutionRole) }) {
			roles = append(roles, s.ExecutionRole) // of another path, or one that is gone: the simulation says so
		}
	}
	var failed int
	var first error
	for n, role := range roles {
		if ctx.Err() != nil {
			l.unchecked(OtherReader, "", "the account's roles", fmt.Errorf("there was no time for %d of %d of them", len(roles)-n, len(roles)), "Run twokey policy, which takes the time that it takes.")
			return
		}
		if err := l.reader(ctx, role); err != nil && first == nil {
			first, failed = err, 1
		} else if err != nil {
			failed++
		}
	}
	if first != nil {
		l.unchecked(OtherReader, "", "the account's roles", fmt.Errorf("the permissions of %d of %d could not be simulated, first: %w", failed, len(roles), first), remedy)
	}
}

// reader judges one role.
func (l *look) reader(ctx context.Context, role string) error {
	var names []string
	for _, t := range l.Targets {
		names = append(names, t.SecretParameter, t.PendingParameter())
	}
	may := map[string]bool{}
	for some := range slices.Chunk(names, AtOnce) {
		part, err := l.Platform.MayRead(ctx, role, some)
		if err != nil {
			return err
		}
		for name, allowed := range part {
			may[name] = allowed
		}
	}
	l.report.Roles++
	for _, t := range l.Targets {
		s, known := l.services[t.Name]
		own := known && sameRole(role, s.ExecutionRole)
		switch {
		case sameRole(role, l.bot):
		case own && !may[t.SecretParameter]:
			l.add(Finding{
				Check: OwnReader, Secret: t.Name, Subject: role, Evidence: "It is the execution role of " + t.Cluster + "/" + t.Service + ", and a simulation of its policies does not allow it to read " + t.SecretParameter + ".",
				Remedy: "Allow it ssm:GetParameters on that parameter: new tasks cannot start without.",
			})
		case !own && (may[t.SecretParameter] || may[t.PendingParameter()]):
			if !known {
				continue // which role is its own is not known, and that is told
			}
			l.add(Finding{
				Check: OtherReader, Secret: t.Name, Subject: role, Evidence: fmt.Sprintf("A simulation of its policies allows it to read %s, and it is not the execution role of %s/%s.", t.SecretParameter, t.Cluster, t.Service),
				Remedy: "Narrow its policies to the parameters that it needs, or deny it " + strings.Join(Reads(), ", ") + " on this one.",
			})
		}
	}
	return nil
}

// reads looks at who did read the secrets.
func (l *look) reads(ctx context.Context) {
	back := l.Back
	if back == 0 {
		back = DefaultBack
	}
	now := l.Now()
	w := exposure.Window{From: now.Add(-back), To: now}
	seen := map[string]bool{}
	for _, action := range Reads() {
		name := strings.TrimPrefix(action, "ssm:")
		calls, err := l.Trail.Calls(ctx, name, w)
		if err != nil {
			l.unchecked(ActualReader, "", "CloudTrail, "+name, err, "Let the bot's role call cloudtrail:LookupEvents; where there are more events than it reads, look at the account's trail itself.")
		}
		for _, c := range calls {
			for _, t := range l.Targets {
				l.read(c, t, seen)
			}
		}
	}
}

// read judges one call.
func (l *look) read(c exposure.Call, t runbook.Target, seen map[string]bool) {
	inPath := c.Path != "" && (t.SecretParameter == c.Path || strings.HasPrefix(t.SecretParameter, strings.TrimSuffix(c.Path, "/")+"/"))
	about := inPath || slices.Contains(c.Parameters, t.SecretParameter) || slices.Contains(c.Parameters, t.PendingParameter())
	s, known := l.services[t.Name]
	if !about || c.Refused != "" || sameRole(c.By.Principal, l.bot) || !known || sameRole(c.By.Principal, s.ExecutionRole) {
		return
	}
	who := c.By.Principal
	if who == "" {
		who = c.By.Name
	}
	key := string(t.Name) + "\n" + who
	if seen[key] {
		return
	}
	seen[key] = true
	l.add(Finding{
		Check: ActualReader, Secret: t.Name, Subject: who,
		Evidence: fmt.Sprintf("CloudTrail has a %s of %s by it from %s at %s (event %s), and it is neither the execution role of %s/%s nor the bot.", c.Name, t.SecretParameter, c.Address, c.At.UTC().Format("2006-01-02 15:04 MST"), c.ID, t.Cluster, t.Service),
		Remedy:   "Find out why. If nobody can say, treat the secret as leaked: /emergency-disable " + t.Server + " " + t.Environment,
	})
}

// sameRole compares roles by account and name: a session's ARN does not tell the
// path, and names are unique without it.
func sameRole(a, b string) bool { return a != "" && b != "" && bareRole(a) == bareRole(b) }

func bareRole(arn string) string {
	account, rest, found := strings.Cut(arn, ":role/")
	if !found {
		return arn
	}
	return account + ":role/" + rest[strings.LastIndex(rest, "/")+1:]
}
