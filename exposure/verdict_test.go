package exposure_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// noon is when the tests look; the window is the two hours before.
func noon() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

func ago(d time.Duration) time.Time { return noon().Add(-d) }

func twoHours() exposure.Window { return exposure.Window{From: ago(2 * time.Hour)} }

// logs are sources that say what they are told to.
type logs struct {
	calls     []exposure.Call
	signIns   map[runbook.ClientID][]exposure.SignIn
	audits    []exposure.Audit
	doors     []exposure.Door
	failing   map[string]error // by call's name, "CallsOn", "SignIns", "Audits", "Doors"
	asked     []exposure.Window
	resources []string
}

func (l *logs) Calls(_ context.Context, name string, w exposure.Window) ([]exposure.Call, error) {
	l.asked = append(l.asked, w)
	var out []exposure.Call
	for _, c := range l.calls {
		if c.Name == name {
			out = append(out, c)
		}
	}
	return out, l.failing[name]
}

func (l *logs) CallsOn(_ context.Context, resource string, _ exposure.Window) ([]exposure.Call, error) {
	l.resources = append(l.resources, resource)
	return l.calls, l.failing["CallsOn"]
}

func (l *logs) SignIns(_ context.Context, client runbook.ClientID, _ exposure.Window) ([]exposure.SignIn, error) {
	return l.signIns[client], l.failing["SignIns"]
}

func (l *logs) DirectoryAudits(context.Context, runbook.ObjectID, runbook.ObjectID, exposure.Window) ([]exposure.Audit, error) {
	return l.audits, l.failing["Audits"]
}

func (l *logs) Doors(context.Context, runbook.ObjectID) ([]exposure.Door, error) {
	return l.doors, l.failing["Doors"]
}

func (l *logs) gather(s exposure.Subject, w exposure.Window) exposure.Findings {
	g := &exposure.Gatherer{Trail: l, SignIns: l, Audits: l, Doors: l, Now: noon}
	return g.Gather(context.Background(), s, w)
}

// find returns the event with that id.
func find(t *testing.T, f exposure.Findings, id string) exposure.Event {
	t.Helper()
	for _, e := range f.Events {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("no event %s among %+v", id, f.Events)
	return exposure.Event{}
}

const (
	live          = "/aiconnectors/prod/jira/client_secret"
	clientID      = "/aiconnectors/prod/jira/client_id"
	executionRole = "arn:aws:iam::123456789012:role/ecs/jira-execution"
	taskRole      = "arn:aws:iam::123456789012:role/jira-task"
	botRole       = "arn:aws:iam::123456789012:role/twokey"
	task          = "0123456789abcdef0123456789abcdef"
	tasksAddress  = "192.0.2.10"
	botsAddress   = "192.0.2.20"
	client        = runbook.ClientID("client")
	botClient     = runbook.ClientID("bot-client")
	botPrincipal  = runbook.ObjectID("bot-principal")
)

// jira is a secret whose key "old" was removed an hour ago by our operation, and
// replaced by "new".
func jira() exposure.Subject {
	s := exposure.SubjectOf(runbook.Target{Name: "jira/prod", SecretParameter: live, ClientIDParameter: clientID, Cluster: "aiconnectors-prod", Service: "jira"},
		runbook.Application{Object: "app", Client: client, ServicePrincipal: "sp", Keys: []runbook.Key{
			{ID: "new", Name: runbook.Mark(ourOperation), Start: ago(time.Hour)},
			{ID: "other", Name: "by hand", Start: ago(1000 * time.Hour)},
		}},
		runbook.Service{ExecutionRole: executionRole, TaskRole: taskRole})
	s.BotRole, s.BotClient, s.BotPrincipal = botRole, botClient, botPrincipal
	s.Keys, s.Removed = []runbook.KeyID{"old"}, ago(time.Hour)
	s.Deeds = []exposure.Deed{{Operation: ourOperation, From: ago(70 * time.Minute), Confirmed: ago(65 * time.Minute), Until: ago(50 * time.Minute)}}
	return s
}

func session(role, name string) exposure.Identity {
	return exposure.Identity{Kind: "AssumedRole", Principal: role, Name: role[strings.LastIndexByte(role, '/')+1:], Session: name}
}

func TestEveryCallGetsItsVerdict(t *testing.T) {
	ecs, bot, own := session("arn:aws:iam::123456789012:role/jira-execution", task), session(botRole, "bot"), session(taskRole, task)
	mallory := exposure.Identity{Kind: "IAMUser", Principal: "arn:aws:iam::123456789012:user/mallory", Name: "mallory"}
	within, outside := ago(time.Hour), ago(20*time.Minute)
	secret := []string{live}
	for what, c := range map[string]struct {
		call exposure.Call
		want exposure.Verdict
	}{
		"a task starts":                            {exposure.Call{Name: "GetParameters", By: ecs, Parameters: []string{clientID, live}}, exposure.Expected},
		"the execution role in another session":    {exposure.Call{Name: "GetParameters", By: session(executionRole, "laptop"), Parameters: secret}, exposure.Unknown},
		"the execution role reads the history":     {exposure.Call{Name: "GetParameterHistory", By: ecs, Parameters: secret}, exposure.StandsOut},
		"the execution role writes":                {exposure.Call{Name: "PutParameter", By: ecs, Parameters: secret}, exposure.StandsOut},
		"the same role's name in another account":  {exposure.Call{Name: "GetParameters", By: session("arn:aws:iam::999999999999:role/jira-execution", task), Parameters: secret}, exposure.StandsOut},
		"the service's code reads":                 {exposure.Call{Name: "GetParameter", By: own, Parameters: secret}, exposure.Unknown},
		"the service's code writes":                {exposure.Call{Name: "PutParameter", By: own, Parameters: secret}, exposure.StandsOut},
		"the bot reads in an operation":            {exposure.Call{Name: "GetParameter", By: bot, Parameters: secret, At: within}, exposure.Expected},
		"the bot reads of its own accord":          {exposure.Call{Name: "GetParameter", By: bot, Parameters: secret, At: outside}, exposure.Unknown},
		"the bot takes stock":                      {exposure.Call{Name: "GetParameters", By: bot, Parameters: []string{clientID, live, live + ".pending"}, At: outside}, exposure.Expected},
		"it takes stock at a strange address":      {exposure.Call{Name: "GetParameters", By: bot, Parameters: []string{clientID, live}, At: outside, Address: "203.0.113.66"}, exposure.StandsOut},
		"the bot reads the client id as it starts": {exposure.Call{Name: "GetParameter", By: bot, Parameters: []string{clientID}, At: outside}, exposure.Expected},
		"its role reads client ids from afar":      {exposure.Call{Name: "GetParameter", By: bot, Parameters: []string{clientID}, At: outside, Address: "203.0.113.66"}, exposure.StandsOut},
		"the bot reads the history of its own":     {exposure.Call{Name: "GetParameterHistory", By: bot, Parameters: secret, At: outside}, exposure.Unknown},
		"the bot reads by path":                    {exposure.Call{Name: "GetParametersByPath", By: bot, Path: "/aiconnectors/prod", At: outside}, exposure.Unknown},
		"the bot writes the client id":             {exposure.Call{Name: "PutParameter", By: bot, Parameters: []string{clientID}, At: outside}, exposure.StandsOut},
		"the bot's role from a strange address":    {exposure.Call{Name: "GetParameter", By: bot, Parameters: secret, At: outside, Address: "203.0.113.66"}, exposure.StandsOut},
		"the bot writes in an operation":           {exposure.Call{Name: "PutParameter", By: bot, Parameters: secret, At: within}, exposure.Expected},
		"the bot writes before the second key":     {exposure.Call{Name: "PutParameter", By: bot, Parameters: secret, At: ago(69 * time.Minute)}, exposure.StandsOut},
		"the bot writes of its own accord":         {exposure.Call{Name: "DeleteParameter", By: bot, Parameters: secret, At: outside}, exposure.StandsOut},
		"a user reads":                             {exposure.Call{Name: "GetParameter", By: mallory, Parameters: secret}, exposure.StandsOut},
		"a user reads by path":                     {exposure.Call{Name: "GetParametersByPath", By: mallory, Path: "/aiconnectors/prod"}, exposure.StandsOut},
		"a user reads the whole tree":              {exposure.Call{Name: "GetParametersByPath", By: mallory, Path: "/"}, exposure.StandsOut},
		"a user is refused":                        {exposure.Call{Name: "GetParameter", By: mallory, Parameters: secret, Refused: "AccessDenied"}, exposure.StandsOut},
		"a user reads the pending parameter":       {exposure.Call{Name: "GetParameter", By: mallory, Parameters: []string{live + ".pending"}}, exposure.StandsOut},
		"a user reads the client id":               {exposure.Call{Name: "GetParameter", By: mallory, Parameters: []string{clientID}}, exposure.Unknown},
		"a user writes the client id":              {exposure.Call{Name: "PutParameter", By: mallory, Parameters: []string{clientID}}, exposure.StandsOut},
		"a user labels":                            {exposure.Call{Name: "LabelParameterVersion", By: mallory, Parameters: secret}, exposure.StandsOut},
		"a user deploys":                           {exposure.Call{Name: "UpdateService", By: mallory, Cluster: "aiconnectors-prod", Service: "jira"}, exposure.Unknown},
		"the bot deploys in an operation":          {exposure.Call{Name: "UpdateService", By: bot, Cluster: "aiconnectors-prod", Service: "jira", At: within}, exposure.Expected},
		"a shell in a container":                   {exposure.Call{Name: "ExecuteCommand", By: mallory, Cluster: "aiconnectors-prod", Task: task}, exposure.StandsOut},
		"the root user":                            {exposure.Call{Name: "GetParameter", By: exposure.Identity{Kind: "Root"}, Parameters: secret}, exposure.StandsOut},
		"an AWS service that nobody has heard of":  {exposure.Call{Name: "GetParameter", By: exposure.Identity{Kind: "AWSService", Name: "x.amazonaws.com"}, Parameters: secret}, exposure.StandsOut},
		"a parameter of another service":           {exposure.Call{Name: "GetParameter", By: mallory, Parameters: []string{"/aiconnectors/prod/jira2/client_secret"}}, ""},
		"a path beside":                            {exposure.Call{Name: "GetParametersByPath", By: mallory, Path: "/aiconnectors/pro"}, ""},
		"another service's deployment":             {exposure.Call{Name: "UpdateService", By: mallory, Cluster: "aiconnectors-prod", Service: "github"}, ""},
		"a shell in another cluster":               {exposure.Call{Name: "ExecuteCommand", By: mallory, Cluster: "aiconnectors-dev"}, ""},
		"a read before the window":                 {exposure.Call{Name: "GetParameter", By: mallory, Parameters: secret, At: ago(3 * time.Hour)}, ""},
		"a read whose request CloudTrail left out": {exposure.Call{Name: "GetParameter", By: mallory, Refused: "AccessDenied"}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			c.call.ID = "event"
			if c.call.At.IsZero() {
				c.call.At = outside
			}
			if c.call.Address == "" {
				c.call.Address = botsAddress
			}
			// The bot's work in the operation, by which its address is known.
			known := exposure.Call{ID: "known", Name: "GetParameter", By: bot, Parameters: secret, At: within, Address: botsAddress}
			l := &logs{calls: []exposure.Call{c.call, known}}
			var got exposure.Event
			for _, e := range l.gather(jira(), twoHours()).Events {
				if e.ID == "event" {
					got = e
				}
			}
			if got.Verdict != c.want || (c.want != "" && got.Why == "") {
				t.Errorf("%q: %s, want %q", got.Verdict, got.Why, c.want)
			}
		})
	}
}

func TestEverySignInGetsItsVerdict(t *testing.T) {
	const strange = "203.0.113.66"
	before, after := ago(90*time.Minute), ago(30*time.Minute)
	for what, c := range map[string]struct {
		signIn exposure.SignIn
		want   exposure.Verdict
	}{
		"the service":                        {exposure.SignIn{At: before, Key: "old", Address: tasksAddress}, exposure.Expected},
		"the service after the removal":      {exposure.SignIn{At: after, Address: tasksAddress, Code: runbook.SecretInvalid}, exposure.Expected},
		"the service refused before it":      {exposure.SignIn{At: before, Address: tasksAddress, Code: runbook.SecretInvalid}, exposure.Unknown},
		"a configured address":               {exposure.SignIn{At: before, Key: "old", Address: "198.51.100.77"}, exposure.Expected},
		"a configured address as IPv6":       {exposure.SignIn{At: before, Key: "old", Address: "::ffff:198.51.100.77"}, exposure.Expected},
		"the bot's proof":                    {exposure.SignIn{At: ago(time.Hour), Code: runbook.SecretInvalid, Address: botsAddress}, exposure.Expected},
		"the bot's address of its own":       {exposure.SignIn{At: before, Key: "old", Address: botsAddress}, exposure.Unknown},
		"a stranger":                         {exposure.SignIn{At: before, Key: "old", Address: strange}, exposure.StandsOut},
		"a stranger who is refused":          {exposure.SignIn{At: before, Address: strange, Code: runbook.SecretInvalid}, exposure.StandsOut},
		"a stranger after the removal":       {exposure.SignIn{At: after, Address: strange, Code: runbook.SecretInvalid}, exposure.StandsOut},
		"a federated credential":             {exposure.SignIn{At: before, Key: "fic", Federated: true, Address: tasksAddress}, exposure.StandsOut},
		"our new key":                        {exposure.SignIn{At: after, Key: "new", Address: tasksAddress}, ""},
		"a key from before the window":       {exposure.SignIn{At: after, Key: "other", Address: strange}, ""},
		"a key that is gone, from afar":      {exposure.SignIn{At: after, Key: "gone", Address: strange}, exposure.StandsOut},
		"a key that is gone, by the service": {exposure.SignIn{At: after, Key: "gone", Address: tasksAddress}, exposure.Unknown},
		"a key that nobody explains":         {exposure.SignIn{At: after, Key: "planted", Address: tasksAddress}, exposure.StandsOut},
	} {
		t.Run(what, func(t *testing.T) {
			s := jira()
			s.Addresses = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
			s.Application.Keys = append(s.Application.Keys, runbook.Key{ID: "planted", Name: "backup", Start: ago(time.Hour)})
			c.signIn.ID = "event"
			l := &logs{signIns: map[runbook.ClientID][]exposure.SignIn{
				client:    {c.signIn, {ID: "known", At: after, Key: "new", Address: tasksAddress}},
				botClient: {{ID: "bot", At: before, Address: botsAddress}},
			}}
			f := l.gather(s, twoHours())
			var got exposure.Event
			for _, e := range f.Events {
				if e.ID == "event" {
					got = e
				}
			}
			if got.Verdict != c.want || (c.want != "" && got.Why == "") {
				t.Errorf("%q: %s, want %q", got.Verdict, got.Why, c.want)
			}
			if left := map[bool]int{true: 2, false: 1}[c.want == ""]; f.Counts.OtherKeys != left {
				t.Errorf("%d sign-ins are left out, want %d", f.Counts.OtherKeys, left)
			}
		})
	}
}

// Before the window everybody is taken for known, and with nothing to compare
// with nobody is accused.
func TestAddressesAreJudgedByWhatWasBefore(t *testing.T) {
	event := exposure.SignIn{ID: "event", At: ago(90 * time.Minute), Key: "old", Address: "203.0.113.66"}
	for what, c := range map[string]struct {
		others []exposure.SignIn
		want   exposure.Verdict
	}{
		"seen before the window":               {[]exposure.SignIn{{ID: "1", At: ago(5 * time.Hour), Key: "old", Address: "203.0.113.66"}}, exposure.Expected},
		"another was seen before the window":   {[]exposure.SignIn{{ID: "1", At: ago(5 * time.Hour), Key: "old", Address: tasksAddress}}, exposure.StandsOut},
		"a refusal before proves nothing":      {[]exposure.SignIn{{ID: "1", At: ago(5 * time.Hour), Address: "203.0.113.66", Code: runbook.SecretInvalid}}, exposure.Unknown},
		"nothing to compare with":              {nil, exposure.Unknown},
		"it goes on after the removal":         {[]exposure.SignIn{{ID: "1", At: ago(30 * time.Minute), Address: "203.0.113.66", Code: runbook.SecretInvalid}}, exposure.StandsOut},
		"a federated sign-in before is no use": {[]exposure.SignIn{{ID: "1", At: ago(5 * time.Hour), Federated: true, Address: "203.0.113.66"}}, exposure.Unknown},
	} {
		l := &logs{signIns: map[runbook.ClientID][]exposure.SignIn{client: append(c.others, event)}}
		if e := find(t, l.gather(jira(), twoHours()), "event"); e.Verdict != c.want {
			t.Errorf("%s: %s (%s), want %s", what, e.Verdict, e.Why, c.want)
		}
	}
}

// Whoever reads the parameter again has the new secret, too, and must not pass for
// the service by using it.
func TestAnAddressThatReadTheSecretIsNotTrustedWithAnyKey(t *testing.T) {
	const strange = "203.0.113.66"
	l := &logs{
		calls: []exposure.Call{{ID: "read", At: ago(40 * time.Minute), Name: "GetParameter", By: exposure.Identity{Kind: "IAMUser", Name: "mallory"}, Address: strange, Parameters: []string{live}}},
		signIns: map[runbook.ClientID][]exposure.SignIn{client: {
			{ID: "stolen", At: ago(90 * time.Minute), Key: "old", Address: strange},
			{ID: "stolen again", At: ago(30 * time.Minute), Key: "new", Address: strange},
			{ID: "service", At: ago(30 * time.Minute), Key: "new", Address: tasksAddress},
		}},
	}
	f := l.gather(jira(), twoHours())
	if e := find(t, f, "stolen again"); e.Verdict != exposure.StandsOut {
		t.Errorf("the new key from there: %s, %s", e.Verdict, e.Why)
	}
	if e := find(t, f, "stolen"); e.Verdict == exposure.Expected {
		t.Errorf("the old key from there: %s, %s", e.Verdict, e.Why)
	}
	if f.Counts.OtherKeys != 1 {
		t.Errorf("%d sign-ins are left out, want the service's", f.Counts.OtherKeys)
	}
}

// Where no key is known to be exposed, a key's own use proves nothing about it.
func TestAKeyOfOursProvesNoAddressBeforeARemoval(t *testing.T) {
	s := jira()
	s.Keys, s.Removed = nil, time.Time{}
	l := &logs{signIns: map[runbook.ClientID][]exposure.SignIn{client: {{ID: "event", At: ago(30 * time.Minute), Key: "new", Address: "203.0.113.66"}}}}
	if e := find(t, l.gather(s, twoHours()), "event"); e.Verdict != exposure.Unknown {
		t.Errorf("%s, %s", e.Verdict, e.Why)
	}
}

// keyAudit is an audit of keys in the log's own notation.
func keyAudit(activity string, by exposure.Actor, before, after string) exposure.Audit {
	return exposure.Audit{Activity: activity, By: by, Targets: []exposure.Target{{ID: "app", Kind: "Application", Name: "jira", Changes: []exposure.Change{
		{Property: "KeyDescription", Old: before, New: after}}}}}
}

func described(id, name string) string {
	return fmt.Sprintf(`["[KeyIdentifier=%s,KeyType=Password,KeyUsage=Verify,DisplayName=%s]"]`, id, name)
}

func TestEveryAuditGetsItsVerdict(t *testing.T) {
	bot := exposure.Actor{Principal: botPrincipal, Name: "twokey", App: true}
	mallory := exposure.Actor{Principal: "m", Name: "mallory@contoso.example", Address: "203.0.113.66"}
	within, outside := ago(time.Hour), ago(20*time.Minute)
	const dash, hyphen = "Update application \u2013 Certificates and secrets management ", "Update application - Certificates and secrets management"
	mark := runbook.Mark(ourOperation)
	federated := exposure.Audit{Activity: "Update application", Targets: []exposure.Target{{ID: "app", Changes: []exposure.Change{{Property: "FederatedIdentityCredentials", Old: "[]", New: "[{}]"}}}}}
	with := func(a exposure.Audit, by exposure.Actor) exposure.Audit { a.By = by; return a }
	for what, c := range map[string]struct {
		audit exposure.Audit
		at    time.Time
		want  exposure.Verdict
		told  string
	}{
		"our new key":                      {keyAudit(dash, bot, "[]", described("new", mark)), within, exposure.Expected, "key added: new (twokey:k7m2p9)"},
		"our removal":                      {keyAudit(hyphen, bot, described("old", "portal"), "[]"), within, exposure.Expected, "key removed: old (portal)"},
		"our removal, nobody confirmed":    {keyAudit(hyphen, bot, described("old", "portal"), "[]"), outside, exposure.StandsOut, "key removed: old (portal)"},
		"our mark with nobody's operation": {keyAudit(dash, bot, "[]", described("x", runbook.Mark("zzzzzz"))), within, exposure.StandsOut, ""},
		"our mark long after":              {keyAudit(dash, bot, "[]", described("x", mark)), outside, exposure.StandsOut, ""},
		"our mark by another's hand":       {keyAudit(dash, mallory, "[]", described("x", mark)), within, exposure.StandsOut, ""},
		"a name with brackets":             {keyAudit(dash, mallory, "[]", described("x", "a],b=[c")), within, exposure.StandsOut, "key added: x (a],b=[c)"},
		"a key by hand, hyphen":            {keyAudit(hyphen, mallory, "[]", described("x", "backup")), outside, exposure.StandsOut, "key added: x (backup)"},
		"a key on the service principal":   {keyAudit("Add service principal credentials", mallory, "[]", described("x", "backup")), outside, exposure.StandsOut, "key added: x (backup)"},
		"keys in a notation of tomorrow":   {keyAudit(hyphen, mallory, "?", "!"), outside, exposure.StandsOut, hyphen},
		"a new owner":                      {exposure.Audit{Activity: "Add owner to application", By: mallory}, outside, exposure.StandsOut, "owner added"},
		"an owner less":                    {exposure.Audit{Activity: "Remove owner from application", By: mallory}, outside, exposure.StandsOut, "owner removed"},
		"a federated credential":           {with(federated, mallory), outside, exposure.StandsOut, "federated credentials changed"},
		"in our name, in an operation":     {with(federated, bot), within, exposure.StandsOut, "federated credentials changed"},
		"more rights":                      {exposure.Audit{Activity: "Add app role assignment to service principal", By: mallory}, outside, exposure.StandsOut, ""},
		"a new description":                {exposure.Audit{Activity: "Update application", By: mallory}, outside, exposure.Unknown, "Update application"},
		"our freeze":                       {exposure.Audit{Activity: "Update service principal", By: bot}, within, exposure.Expected, ""},
		"in our name, no operation":        {exposure.Audit{Activity: "Update service principal", By: bot}, outside, exposure.StandsOut, ""},
		"a failed attempt":                 {exposure.Audit{Activity: "Add owner to application", By: mallory, Failed: true}, outside, exposure.StandsOut, "owner added (failed)"},
	} {
		t.Run(what, func(t *testing.T) {
			c.audit.ID, c.audit.At = "event", c.at
			e := find(t, (&logs{audits: []exposure.Audit{c.audit}}).gather(jira(), twoHours()), "event")
			if e.Verdict != c.want || e.Why == "" || (c.told != "" && e.What != c.told) {
				t.Errorf("%q: %s (%s), want %s and %q", e.What, e.Verdict, e.Why, c.want, c.told)
			}
		})
	}
}

func TestAKeyThatTheAuditsDoNotTellOfIsSeenOnTheApplication(t *testing.T) {
	s := jira()
	s.Application.Keys = append(s.Application.Keys,
		runbook.Key{ID: "planted", Name: "backup", Start: ago(time.Hour)},
		runbook.Key{ID: "forged", Name: runbook.Mark("zzzzzz"), Start: ago(time.Hour), OnServicePrincipal: true},
		runbook.Key{ID: "told", Name: "told", Start: ago(time.Hour)})
	told := keyAudit("Update application", exposure.Actor{Name: "m"}, "[]", described("TOLD", "told"))
	told.Activity, told.ID, told.At = "Update application - Certificates and secrets management", "audit", ago(time.Hour)
	l := &logs{audits: []exposure.Audit{told}, failing: map[string]error{"Audits": errors.New("broken")}}
	got := map[string]exposure.Verdict{}
	for _, e := range l.gather(s, twoHours()).Events {
		if e.Source == exposure.EntraNow {
			got[e.ID] = e.Verdict
		}
	}
	want := map[string]exposure.Verdict{"new": exposure.Expected, "planted": exposure.StandsOut, "forged": exposure.StandsOut}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the keys are judged %v, want %v", got, want)
	}
}

func TestWhatOneSourceCouldNotSayIsNotCovered(t *testing.T) {
	many := &exposure.Truncated{Limit: 2000, Since: ago(time.Hour)}
	l := &logs{failing: map[string]error{
		"GetParameters": many, "PutParameter": exposure.ErrNotPermitted, "SignIns": many, "Audits": many, "Doors": errors.New("no answer"),
	}}
	s := jira()
	s.ExecutionRole, s.BotRole = "", ""
	f := l.gather(s, exposure.Window{From: ago(100 * 24 * time.Hour)})
	var told strings.Builder
	for _, g := range f.NotCovered {
		_, _ = fmt.Fprintf(&told, "%s %s to %s: %s\n", g.Source, g.From.Format("01-02 15:04"), g.Until.Format("01-02 15:04"), g.Why)
	}
	want := strings.TrimPrefix(`
CloudTrail 08-16 12:00 to 08-26 12:00: CloudTrail keeps events for 90 days
CloudTrail 11-24 11:45 to 11-24 12:00: events reach CloudTrail up to 15 minutes late
CloudTrail 08-16 12:00 to 11-24 12:00: the service's execution role is not known, so its own reads cannot be told from others'
CloudTrail 08-16 12:00 to 11-24 12:00: my own role is not known, so my own calls cannot be told from others'
CloudTrail 08-26 12:00 to 11-24 11:00: of GetParameters there are more than the 2000 newest events that are read
CloudTrail 08-26 12:00 to 11-24 12:00: calls of PutParameter, DeleteParameter, DeleteParameters, LabelParameterVersion, UnlabelParameterVersion, ExecuteCommand, UpdateService were not read: the permission to read it is missing
Entra sign-ins 08-16 12:00 to 10-25 12:00: Entra keeps sign-ins for 30 days
Entra sign-ins 11-24 11:50 to 11-24 12:00: sign-ins reach Entra's log some minutes late
Entra sign-ins 10-25 12:00 to 11-24 11:00: there are more than the 2000 newest events that are read
Entra audits 08-16 12:00 to 10-25 12:00: Entra keeps audits for 30 days
Entra audits 11-24 11:50 to 11-24 12:00: changes reach Entra's log some minutes late
Entra audits 10-25 12:00 to 11-24 11:00: there are more than the 2000 newest events that are read
Entra now 11-24 12:00 to 11-24 12:00: owners and federated credentials as they stand were not read: no answer
`, "\n")
	if told.String() != want {
		t.Errorf("not covered:\n%s\nwant:\n%s", told.String(), want)
	}
	if len(l.resources) != 2 || l.resources[0] != live {
		t.Errorf("beyond the limit it asked for %v", l.resources)
	}
	if w := l.asked[0]; !w.From.Equal(ago(90 * 24 * time.Hour)) {
		t.Errorf("CloudTrail was asked from %s on, which it does not keep", w.From)
	}
}

func TestASourceThatHangsIsLeftAndSaid(t *testing.T) {
	l := &logs{}
	g := &exposure.Gatherer{Trail: hanging{}, SignIns: l, Audits: l, Doors: l, Now: noon, Patience: time.Millisecond}
	f := g.Gather(context.Background(), jira(), exposure.Window{From: ago(2 * time.Hour), To: ago(time.Hour)})
	if len(f.NotCovered) != 1 || !strings.Contains(f.NotCovered[0].Why, "it took too long") {
		t.Errorf("not covered: %+v", f.NotCovered)
	}
}

type hanging struct{ exposure.Trail }

func (hanging) Calls(ctx context.Context, _ string, _ exposure.Window) ([]exposure.Call, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSourcesThatAreNotConfiguredAreSaid(t *testing.T) {
	f := (&exposure.Gatherer{Now: noon}).Gather(context.Background(), jira(), twoHours())
	if len(f.NotCovered) != 4 || !strings.Contains(f.Summary(), "not everything was looked at") {
		t.Errorf("not covered: %+v", f.NotCovered)
	}
}

func TestAnOperationExplainsFromItsRequestToItsEnd(t *testing.T) {
	op := operation.Operation{ID: "k7m2p9", Kind: "rotate", RequestedAt: ago(3 * time.Hour), DecidedAt: ago(2 * time.Hour), EndedAt: ago(time.Hour)}
	if d := exposure.DeedOf(op); !d.Confirmed.IsZero() || d.From != op.RequestedAt || d.Until != op.EndedAt {
		t.Errorf("a denied operation explains %+v", d)
	}
	op.Approver = operation.Person{User: "U0BOB"}
	if d := exposure.DeedOf(op); d.Confirmed != op.DecidedAt {
		t.Errorf("a confirmed operation explains %+v", d)
	}
}

func TestTheDefaultWindowBeginsWithTheKey(t *testing.T) {
	s := jira()
	if got := s.Since(); !got.IsZero() {
		t.Errorf("of a key that is gone: %s", got)
	}
	s.Keys = []runbook.KeyID{"new"}
	if got := s.Since(); !got.Equal(ago(time.Hour)) {
		t.Errorf("of the new key: %s", got)
	}
	s.Keys = nil
	if got := s.Since(); !got.Equal(ago(1000 * time.Hour)) {
		t.Errorf("of any key: %s", got)
	}
}

// Where no operation shows from which address the bot works, a read of the secret by
// its role proves nothing. The client id is no secret.
func TestTheBotsReadsAreNotExplainedWhereItsAddressIsNotKnown(t *testing.T) {
	s := jira()
	s.Deeds = nil
	bot := session(botRole, "bot")
	l := &logs{calls: []exposure.Call{
		{ID: "stock", Name: "GetParameters", By: bot, Parameters: []string{clientID, live}, At: ago(time.Hour), Address: botsAddress},
		{ID: "start", Name: "GetParameter", By: bot, Parameters: []string{clientID}, At: ago(time.Hour), Address: botsAddress},
		{ID: "write", Name: "PutParameter", By: bot, Parameters: []string{live}, At: ago(time.Hour), Address: botsAddress},
	}}
	f := l.gather(s, twoHours())
	for id, want := range map[string]exposure.Verdict{"stock": exposure.Unknown, "start": exposure.Expected, "write": exposure.StandsOut} {
		if e := find(t, f, id); e.Verdict != want {
			t.Errorf("%s: %s (%s), want %s", id, e.Verdict, e.Why, want)
		}
	}
}
