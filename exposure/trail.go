package exposure

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// The calls that are looked up, the most telling first: should the time run
// out, what is missing is named. A command in a container sees the secret in its
// environment; a redeployment by others says who else works on the service.
func callNames() []string {
	return []string{
		"GetParameter", "GetParameters", "GetParameterHistory", "GetParametersByPath",
		"PutParameter", "DeleteParameter", "DeleteParameters", "LabelParameterVersion", "UnlabelParameterVersion",
		"ExecuteCommand", "UpdateService",
	}
}

// stockCall is how the inventory reads parameters. Operations read them one by one.
const stockCall = "GetParameters"

func isRead(call string) bool { return strings.HasPrefix(call, "Get") }

// trail looks the calls up, name by name: whether the log knows parameters as
// resources is unverified, so it is relied on only beyond the limit.
func (l looker) trail(ctx context.Context) part {
	if l.Trail == nil {
		return part{gaps: []Gap{l.whole(CloudTrail, "it is not configured")}}
	}
	w, gaps := l.kept(CloudTrail, trailKeeps, trailLate, "CloudTrail keeps events for 90 days", "events reach CloudTrail up to 15 minutes late")
	p := part{gaps: gaps}
	if l.subject.ExecutionRole == "" {
		p.gaps = append(p.gaps, l.whole(CloudTrail, "the service's execution role is not known, so its own reads cannot be told from others'"))
	}
	if l.subject.BotRole == "" {
		p.gaps = append(p.gaps, l.whole(CloudTrail, "my own role is not known, so my own calls cannot be told from others'"))
	}
	var calls []Call
	names := callNames()
	for i, name := range names {
		some, err := l.Trail.Calls(ctx, name, w)
		calls = append(calls, some...)
		var cut *Truncated
		switch {
		case err == nil:
		case errors.As(err, &cut):
			p.gaps = append(p.gaps, Gap{Source: CloudTrail, From: w.From, Until: cut.Since, Why: "of " + name + " " + err.Error()})
			more, gap := l.trailByResource(ctx, w)
			calls, p.gaps = append(calls, more...), append(p.gaps, gap...)
		default:
			p.gaps = append(p.gaps, Gap{Source: CloudTrail, From: w.From, Until: w.To,
				Why: "calls of " + strings.Join(names[i:], ", ") + " were not read: " + reason(ctx, err)})
			p.events, p.takers = l.judgeCalls(calls)
			return p
		}
	}
	p.events, p.takers = l.judgeCalls(calls)
	return p
}

// trailByResource finds some of what lies beyond the limit.
func (l looker) trailByResource(ctx context.Context, w Window) (calls []Call, gaps []Gap) {
	for _, name := range []string{l.subject.Live, l.subject.Pending} {
		some, err := l.Trail.CallsOn(ctx, name, w)
		calls = append(calls, some...)
		var cut *Truncated
		switch {
		case errors.As(err, &cut):
			gaps = append(gaps, Gap{Source: CloudTrail, From: w.From, Until: cut.Since, Why: "on " + name + " " + err.Error()})
		case err != nil:
			gaps = append(gaps, Gap{Source: CloudTrail, From: w.From, Until: w.To, Why: "calls on " + name + " were not looked up: " + reason(ctx, err)})
		}
	}
	return calls, gaps
}

// reason words why a source gave up. Adapters' errors hold no secrets.
func reason(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "it took too long"
	}
	return err.Error()
}

// judgeCalls tells of each call that concerns the subject, and from which
// addresses others got the secret.
func (l looker) judgeCalls(calls []Call) (out []Event, takers []string) {
	known := map[string]bool{} // addresses that the bot called from in its operations
	for _, c := range calls {
		if _, ours := l.subject.reading(c.At); ours && l.byBot(c) {
			known[c.Address] = true
		}
	}
	for _, c := range calls {
		resource, ours := l.concerns(c)
		if !ours || !l.window.holds(c.At) {
			continue
		}
		e := l.judgeCall(c, resource, known)
		out = append(out, e)
		if e.Verdict == StandsOut && isRead(c.Name) && c.Refused == "" {
			takers = append(takers, c.Address)
		}
	}
	return out, takers
}

// concerns tells what of the subject a call is about.
func (l looker) concerns(c Call) (string, bool) {
	s := l.subject
	switch c.Name {
	case "ExecuteCommand":
		return "cluster " + c.Cluster + ", task " + c.Task, c.Cluster == s.Cluster
	case "UpdateService":
		return "service " + c.Cluster + "/" + c.Service, c.Cluster == s.Cluster && c.Service == s.Service
	}
	var touched []string
	for _, name := range []string{s.Live, s.Pending, s.Client} {
		under := c.Path != "" && strings.HasPrefix(name, strings.TrimSuffix(c.Path, "/")+"/")
		if slices.Contains(c.Parameters, name) || under {
			touched = append(touched, name)
		}
	}
	return strings.Join(touched, ", "), len(touched) > 0
}

func (l looker) byBot(c Call) bool {
	return sameRole(c.By.Principal, l.subject.BotRole)
}

// sameRole compares two roles' ARNs by account and name, which is unique in an
// account: what AWS tells of a session leaves the role's path out.
func sameRole(a, b string) bool {
	accountA, nameA := roleName(a)
	accountB, nameB := roleName(b)
	return nameA != "" && accountA == accountB && nameA == nameB
}

func roleName(arn string) (account, name string) {
	parts := strings.SplitN(arn, ":", 6) // arn:aws:iam::account:role/path/name
	if len(parts) != 6 || !strings.HasPrefix(parts[5], "role/") {
		return "", arn // a user's, or nothing
	}
	return parts[4], parts[5][strings.LastIndexByte(parts[5], '/')+1:]
}

func (l looker) judgeCall(c Call, resource string, botsAddresses map[string]bool) Event {
	e := Event{At: c.At, Source: CloudTrail, What: c.Name, Who: who(c.By), Address: c.Address, Resource: resource, Agent: c.Agent, ID: c.ID}
	if c.Refused != "" {
		e.What += " (refused: " + c.Refused + ")"
	}
	switch {
	case l.byBot(c):
		e.Who = "twokey itself (" + who(c.By) + ")"
		e.Verdict, e.Why = l.judgeBot(c, resource, botsAddresses)
	case sameRole(c.By.Principal, l.subject.ExecutionRole):
		e.Who = "the service's execution role, task " + c.By.Session
		e.Verdict, e.Why = judgeExecutionRole(c)
	default:
		e.Verdict, e.Why = l.judgeOthers(c, resource)
	}
	return e
}

// judgeBot: beside its operations the bot reads client ids, alone when it starts, and
// all parameters at once when it takes stock; it never writes then. Whoever has its
// role could read like that, so only an address that it works from proves a read of
// the secret.
func (l looker) judgeBot(c Call, resource string, known map[string]bool) (Verdict, string) {
	if isRead(c.Name) {
		if d, ok := l.subject.reading(c.At); ok {
			return Expected, "operation " + string(d.Operation) + " read it"
		}
	} else if d, ok := l.subject.changing(c.At); ok {
		return Expected, "operation " + string(d.Operation) + " did it"
	}
	switch {
	case !isRead(c.Name):
		return StandsOut, "my role did it, and no confirmed operation was under way"
	case len(known) > 0 && !known[c.Address]:
		return StandsOut, "my role read it from an address that I do not work from, and no operation was under way"
	case resource == l.subject.Client:
		return Expected, "I read the client id, which is no secret, when I start and when I take stock"
	case c.Name == stockCall && known[c.Address]:
		return Expected, "I read all parameters at once when I take stock: for reminders, sweeps, digests and /secrets"
	case c.Name == stockCall:
		return Unknown, "my role read it as I do when I take stock, but no operation in this time shows from which address I work"
	default:
		return Unknown, "my role read it, and no operation was under way"
	}
}

// taskID is how ECS names tasks, and the sessions of their execution role.
var taskID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// judgeExecutionRole: ECS reads secrets by name when a container starts, and
// does nothing else. That its sessions are called after tasks is unverified, so
// another name is no proof.
func judgeExecutionRole(c Call) (Verdict, string) {
	switch {
	case c.Name != "GetParameters" && c.Name != "GetParameter":
		return StandsOut, "ECS never does this by the service's execution role: somebody else has its credentials"
	case !taskID.MatchString(c.By.Session):
		return Unknown, "the service's own role, in a session that is not called after a task"
	default:
		return Expected, "ECS read it to start a task of the service"
	}
}

func (l looker) judgeOthers(c Call, resource string) (Verdict, string) {
	s := l.subject
	isService := sameRole(c.By.Principal, s.TaskRole)
	switch {
	case c.Name == "ExecuteCommand":
		return StandsOut, "a command in a container of this cluster can read the secret from the environment"
	case c.Name == "UpdateService":
		return Unknown, "somebody else deployed the service"
	case isRead(c.Name) && resource == s.Client:
		return Unknown, "the client id was read, which is no secret"
	case c.Refused != "":
		return StandsOut, "neither the service's role nor mine; it was refused, but tried"
	case isRead(c.Name) && isService:
		return Unknown, "the service's own code read it by its task role, although ECS hands it the secret"
	case isRead(c.Name):
		return StandsOut, "neither the service's role nor mine read it"
	default:
		return StandsOut, "neither an operation of mine nor the service did it"
	}
}

func who(i Identity) string {
	switch {
	case i.Kind == "AssumedRole" || i.Kind == "Role":
		return "role " + i.Name + ", session " + i.Session
	case i.Kind == "IAMUser":
		return "user " + i.Name
	case i.Kind == "Root":
		return "the account's root"
	case i.Name != "":
		return i.Kind + " " + i.Name
	default:
		return i.Kind + " " + i.Principal
	}
}
