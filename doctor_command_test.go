package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/doctor"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/mcp"
	"github.com/twokey/twokey/sandbox/slack"
	"github.com/twokey/twokey/store"
)

// newPatient is a platform where everything is well: the app has the manifest's
// scopes, and the record its key.
func newPatient(t *testing.T) *platform {
	t.Helper()
	awsCredentials(t)
	return startPatient(t)
}

func startPatient(t *testing.T) *platform {
	t.Helper()
	p := startPlatform(t)
	if _, err := writeSandboxFiles(p.Sandbox, filepath.Dir(p.path)); err != nil {
		t.Fatal(err)
	}
	scopes, err := manifestScopes()
	if err != nil {
		t.Fatal(err)
	}
	p.Slack.SetScopes(scopes...)
	return p
}

// again is a bot of the same platform with files of its own.
func (p *platform) again(t *testing.T) *platform {
	t.Helper()
	path, err := writeSandboxFiles(p.Sandbox, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &platform{p.Sandbox, t, path}
}

// doctor types "twokey doctor" with these words.
func (p *platform) doctor(words ...string) (string, error) {
	p.t.Helper()
	var out, log bytes.Buffer
	err := dispatch(p.t.Context(), append([]string{"doctor", "--config", p.path}, words...), streams{out: &out, err: &log, getenv: func(string) string { return "" }})
	return out.String(), err
}

func (p *platform) diagnosis(words ...string) (doctor.Report, error) {
	p.t.Helper()
	out, err := p.doctor(append(words, "--json")...)
	var r doctor.Report
	if jsonErr := json.Unmarshal([]byte(out), &r); jsonErr != nil {
		p.t.Fatalf("%v: %v in %s", err, jsonErr, out)
	}
	return r, err
}

// rewrite changes the configuration's text.
func (p *platform) rewrite(old, new string) error {
	text, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), old, new, 1)
	if changed == string(text) {
		return errors.New("the configuration does not have " + old)
	}
	return os.WriteFile(p.path, []byte(changed), 0o600)
}

func TestTheDoctorFindsNothingWrongWithAHealthyPlatform(t *testing.T) {
	p := newPatient(t)
	before := p.Conditions.Counts()
	r, err := p.diagnosis()
	if err != nil || !r.Healthy || r.Counts[doctor.OK] != len(r.Findings) {
		t.Errorf("%v: %+v", err, r)
	}
	// Every secret has its four parts, and all of the rest is there too.
	var checks []string
	for _, f := range r.Findings {
		checks = append(checks, f.Check)
	}
	slices.Sort(checks)
	want := []string{"aws.identity", "aws.permissions", "entra.permissions", "machine.clock", "machine.database", "machine.disk", "machine.record_key",
		"secret", "slack.app_token", "slack.bot_token", "slack.channel", "slack.group", "slack.scopes"}
	if got := slices.Compact(slices.Clone(checks)); !slices.Equal(got, want) {
		t.Errorf("checks %v, want %v", got, want)
	}
	for _, s := range p.Team.Secrets {
		n := 0
		for _, f := range r.Findings {
			if strings.HasPrefix(f.About, s.Name+" ") {
				n++
			}
		}
		if n != 4 {
			t.Errorf("%s has %d findings, want 4", s.Name, n)
		}
	}
	for name, n := range p.Conditions.Counts() {
		if changes(name) && n > before[name] {
			t.Errorf("the doctor changed something: %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(p.path), "twokey.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the doctor made a database: %v", err)
	}
}

// changes reports whether a call of this name changes anything.
func changes(name string) bool {
	_, call, _ := strings.Cut(name, ".")
	for _, verb := range []string{"Put", "Delete", "Label", "Unlabel", "Update", "Register", "add", "remove", "update", "chat.post", "chat.update", "conversations.create", "conversations.invite"} {
		if strings.HasPrefix(call, verb) {
			return true
		}
	}
	return false
}

// A defect is one way in which a platform can be unwell, and what the doctor must say.
type defect struct {
	name    string
	inflict func(p *platform) error
	file    bool     // it is in the bot's files alone: these share a platform
	words   []string // of the command
	check   string
	about   string
	state   doctor.State
	seen    string
	remedy  string
}

func TestTheDoctorNamesEachDefectAndItsRemedy(t *testing.T) {
	awsCredentials(t)
	shared := startPatient(t)
	t.Run("all", func(t *testing.T) { // returns when all are over, so that the environment lasts
		for _, d := range slices.Concat(machineDefects(), slackDefects(), cardDefects(), vendorDefects(), secretDefects()) {
			t.Run(d.name, func(t *testing.T) {
				t.Parallel()
				if d.file {
					d.find(t, shared.again(t))
				} else {
					d.find(t, startPatient(t))
				}
			})
		}
	})
}

// find inflicts the defect, and looks for what the doctor must say.
func (d defect) find(t *testing.T, p *platform) {
	t.Helper()
	if err := d.inflict(p); err != nil {
		t.Fatal(err)
	}
	r, err := p.diagnosis(d.words...)
	if r.Healthy != (err == nil) || d.state == doctor.Fail && r.Healthy || err != nil && (!errors.Is(err, errUnwell) || exitCode(err) != 1) {
		t.Errorf("the command ends with %v", err)
	}
	found := slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
		return f.Check == d.check && strings.Contains(f.About, d.about) && f.State == d.state && strings.Contains(f.Seen, d.seen) && strings.Contains(f.Remedy, d.remedy)
	})
	if !found {
		for _, f := range r.Findings {
			if f.State != doctor.OK {
				t.Logf("%+v", f)
			}
		}
		t.Errorf("want %s of %s %q with the remedy %q about %q", d.state, d.check, d.seen, d.remedy, d.about)
	}
}

func machineDefects() []defect {
	return []defect{
		{name: "the clock is wrong", inflict: func(p *platform) error { p.Clock.Advance(2 * time.Minute); return nil },
			check: "machine.clock", about: "AWS", state: doctor.Warn, seen: "off AWS's clock (behind)", remedy: "timedatectl"},
		{name: "the clock is wrong for Slack as well", inflict: func(p *platform) error { p.Clock.Advance(-time.Minute); return nil },
			check: "machine.clock", about: "Slack", state: doctor.Warn, seen: "off Slack's clock (ahead)", remedy: "timedatectl"},
		{name: "the record has no key", file: true, inflict: func(p *platform) error { return os.Remove(filepath.Join(filepath.Dir(p.path), sandbox.RecordKeyFile)) },
			check: "machine.record_key", state: doctor.Fail, remedy: "twokey audit key"},
		{name: "others can read the record's key", file: true, inflict: func(p *platform) error {
			return os.Chmod(filepath.Join(filepath.Dir(p.path), sandbox.RecordKeyFile), 0o644)
		}, check: "machine.record_key", state: doctor.Fail, seen: "chmod 600"},
		{name: "the database's folder is missing", file: true, inflict: func(p *platform) error { return p.rewrite("twokey.db", "nowhere/twokey.db") },
			check: "machine.database", state: doctor.Fail, seen: "nowhere", remedy: "database in the configuration"},
		{name: "the database is newer", file: true, inflict: newerDatabase, check: "machine.database", state: doctor.Fail, seen: "version 99999", remedy: "Run the newer twokey"},
	}
}

// newerDatabase is one that a later twokey has migrated.
func newerDatabase(p *platform) error {
	path := filepath.Join(filepath.Dir(p.path), "twokey.db")
	s, err := store.Open(p.t.Context(), "sqlite:"+path, store.Options{Now: time.Now, Log: newLogger(p.t.Output(), 12)})
	if err != nil {
		return err
	}
	s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(p.t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
	return errors.Join(err, db.Close())
}

func slackDefects() []defect {
	without := func(scope string) func(*platform) error {
		return func(p *platform) error {
			scopes, err := manifestScopes()
			p.Slack.SetScopes(slices.DeleteFunc(scopes, func(s string) bool { return s == scope })...)
			return err
		}
	}
	channel := func(change func(*slack.Channel)) func(*platform) error {
		return func(p *platform) error { return p.Slack.ChangeChannel(sandbox.OperationsChannel, change) }
	}
	return []defect{
		{name: "a scope is missing", inflict: without("pins:write"), check: "slack.scopes", about: "pins:write", state: doctor.Fail, remedy: "oauth_config.scopes.bot in the app's manifest, and install the app again:\n      - pins:write"},
		{name: "the scope to read groups is missing", inflict: without("usergroups:read"), check: "slack.group", about: sandbox.ApproversGroup, state: doctor.Fail, seen: "needed: usergroups:read", remedy: "- usergroups:read"},
		{name: "there is a scope too many", inflict: func(p *platform) error {
			scopes, err := manifestScopes()
			p.Slack.SetScopes(append(scopes, "channels:join")...)
			return err
		}, check: "slack.scopes", about: "channels:join", state: doctor.Warn, remedy: "Remove it"},
		{name: "the bot token is revoked", inflict: func(p *platform) error { p.Slack.RefuseToken("bot", "token_revoked"); return nil },
			check: "slack.bot_token", state: doctor.Fail, seen: "token_revoked", remedy: "make a new one"},
		{name: "with the bot token revoked the scopes are unknown", inflict: func(p *platform) error { p.Slack.RefuseToken("bot", "token_revoked"); return nil },
			check: "slack.scopes", state: doctor.Unknown, seen: "not checked"},
		{name: "the app-level token is revoked", inflict: func(p *platform) error { p.Slack.RefuseToken("app", "invalid_auth"); return nil },
			check: "slack.app_token", state: doctor.Fail, seen: "invalid_auth", remedy: "app-level token"},
		{name: "Slack is down", inflict: func(p *platform) error {
			p.Conditions.Add(conditions.Fault{Operation: "slack.*", Kind: conditions.CutBefore})
			return nil
		}, check: "slack.bot_token", state: doctor.Unknown, seen: "not checked"},
		{name: "the bot is not in the channel", inflict: channel(func(c *slack.Channel) {
			c.Members = slices.DeleteFunc(c.Members, func(m string) bool { return m == "U0TWOKEYBOT" })
		}), check: "slack.channel", about: sandbox.OperationsChannel, state: doctor.Fail, seen: "not in #platform-ops", remedy: "/invite @twokey"},
		{name: "the channel is shared", inflict: channel(func(c *slack.Channel) { c.ExtShared = true }),
			check: "slack.channel", state: doctor.Fail, seen: "shared with people outside", remedy: "slack.operations_channel"},
		{name: "the channel is archived", inflict: channel(func(c *slack.Channel) { c.Archived = true }),
			check: "slack.channel", state: doctor.Fail, seen: "archived", remedy: "Unarchive"},
		{name: "there is no such channel", file: true, inflict: func(p *platform) error { return p.rewrite(sandbox.OperationsChannel, "C0NOWHERE01") },
			check: "slack.channel", about: "C0NOWHERE01", state: doctor.Fail, seen: "channel_not_found", remedy: "correct the channel's id"},
		{name: "there is no such group", file: true, inflict: func(p *platform) error {
			return p.rewrite("approvers: "+sandbox.ApproversGroup, "approvers: S0NOBODY001")
		},
			check: "slack.group", about: "S0NOBODY001", state: doctor.Fail, remedy: "correct the group's id"},
		{name: "one approver is not enough", inflict: func(p *platform) error { return p.Slack.ChangeGroup("approvers", nil, []string{"carol"}) },
			check: "slack.group", about: sandbox.ApproversGroup, state: doctor.Fail, seen: "1 of the group's members could act now, and 2 are needed", remedy: "Add people"},
		{name: "two accounts of one person are one approver", inflict: func(p *platform) error {
			return p.Slack.ChangeGroup("approvers", []string{"alice", "alice.admin"}, []string{"bob", "carol"})
		}, check: "slack.group", state: doctor.Fail, seen: "1 of the group's members could act now"},
		{name: "a deactivated person is no approver", inflict: func(p *platform) error {
			return p.Slack.ChangeUser("bob", func(u *slack.User) { u.Deleted = true })
		}, check: "slack.group", state: doctor.Fail, seen: "1 of the group's members could act now"},
	}
}

func cardDefects() []defect {
	online := []string{"--online"}
	fault := func(method string, kind conditions.Kind, code string) func(*platform) error {
		return func(p *platform) error {
			p.Conditions.Add(conditions.Fault{Operation: "slack." + method, Kind: kind, Code: code})
			return nil
		}
	}
	return []defect{
		{name: "Slack takes the cards, but not the newer blocks", words: online, inflict: func(p *platform) error {
			p.Slack.Set(func(s *slack.Settings) { s.PlanBlocks = false })
			return nil
		}, check: "slack.card", about: "a running operation's card", state: doctor.Warn, seen: "only in its older form"},
		{name: "Slack refuses a card's blocks", words: online, inflict: fault("chat.scheduleMessage", conditions.Refuse, "invalid_blocks"),
			check: "slack.card", about: "a reminder", state: doctor.Fail, seen: "Slack answers invalid_blocks", remedy: "newest twokey"},
		{name: "a scheduled card can't be taken back", words: online, inflict: fault("chat.deleteScheduledMessage", conditions.Refuse, "restricted_action"),
			check: "slack.card", about: "a leftover", state: doctor.Fail, seen: "A SCHEDULED MESSAGE WAS LEFT in " + sandbox.OperationsChannel + ": its id is Q", remedy: "chat.deleteScheduledMessage"},
		{name: "a scheduled card is left without an answer", words: online, inflict: func(p *platform) error {
			return errors.Join(fault("chat.scheduleMessage", conditions.CutAfter, "")(p), fault("chat.scheduledMessages.list", conditions.Refuse, "fatal_error")(p))
		}, check: "slack.card", about: "a leftover", state: doctor.Fail, seen: "A SCHEDULED MESSAGE MAY HAVE BEEN LEFT", remedy: "chat.scheduledMessages.list"},
		{name: "the bot may not write", words: online, inflict: func(p *platform) error {
			scopes, err := manifestScopes()
			p.Slack.SetScopes(slices.DeleteFunc(scopes, func(s string) bool { return s == "chat:write" })...)
			return err
		}, check: "slack.card", about: "a reminder", state: doctor.Fail, seen: "needed: chat:write", remedy: "- chat:write"},
		{name: "forms are not checked", words: online, inflict: func(*platform) error { return nil },
			check: "slack.card", about: "forms and the Home tab", state: doctor.Unknown, seen: "not checked"},
	}
}

func TestTheDoctorHasSlackCheckTheCardsAndLeavesNothing(t *testing.T) {
	p := newPatient(t)
	r, err := p.diagnosis("--online")
	cards := 0
	for _, f := range r.Findings {
		if f.Check == "slack.card" && f.State == doctor.OK {
			cards++
		}
	}
	if err != nil || cards < 12 || r.Counts[doctor.OK]+1 != len(r.Findings) { // the forms are not checked
		t.Errorf("%v, %d cards: %+v", err, cards, r)
	}
	if n := p.Conditions.Counts()["slack.chat.scheduleMessage"]; n != cards {
		t.Errorf("%d messages were scheduled for %d cards", n, cards)
	}
	p.leftNothing(t)
}

// leftNothing checks that nothing is scheduled and nothing was posted.
func (p *platform) leftNothing(t *testing.T) {
	t.Helper()
	if left := p.Slack.ScheduledMessages(); len(left) > 0 {
		t.Errorf("%d messages are left, the first is %+v", len(left), left[0])
	}
	if n := p.Conditions.Counts()["slack.chat.postMessage"]; n > 0 {
		t.Errorf("%d messages were posted", n)
	}
}

func TestACardThatWasScheduledWithoutAnAnswerIsFoundAndTakenBack(t *testing.T) {
	p := newPatient(t)
	p.Conditions.Add(conditions.Fault{Operation: "slack.chat.scheduleMessage", Kind: conditions.CutAfter})
	r, err := p.diagnosis("--online")
	unknown := 0
	for _, f := range r.Findings {
		if f.Check == "slack.card" && f.State == doctor.Unknown && strings.Contains(f.Seen, "no clear answer") {
			unknown++
		}
	}
	if err != nil || unknown < 12 {
		t.Errorf("%v, %d cards without an answer: %+v", err, unknown, r)
	}
	p.leftNothing(t)
}

func vendorDefects() []defect {
	roles := func(names ...string) func(*platform) error {
		return func(p *platform) error {
			return p.Entra.ChangeApplication(p.Team.Bot.ClientID, entra.Change{Roles: names})
		}
	}
	policy := func(statements string) func(*platform) error {
		return func(p *platform) error {
			return p.AWS.SeedRole(aws.Role{Name: "twokey", Policies: map[string]json.RawMessage{"twokey": json.RawMessage(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)}})
		}
	}
	const all = `{"Effect":"Allow","Action":["ssm:*","ecs:*","sts:*","cloudtrail:*","acm:*","iam:*"],"Resource":"*"}`
	off := false
	return []defect{
		{name: "the bot may not change applications", inflict: roles("User.Read.All", "Policy.Read.All", "AuditLog.Read.All"),
			check: "entra.permissions", about: "Application.ReadWrite.OwnedBy", state: doctor.Fail, remedy: "--api-permissions 18a4783c-866b-4cc7-a460-3d5e5662c884=Role"},
		{name: "the bot may not read policies", inflict: roles("Application.ReadWrite.OwnedBy", "User.Read.All", "AuditLog.Read.All"),
			check: "entra.permissions", about: "Policy.Read.All", state: doctor.Warn, remedy: "az ad app permission add"},
		{name: "policies that were not read are not ok", inflict: roles("Application.ReadWrite.OwnedBy", "User.Read.All", "AuditLog.Read.All"),
			check: "secret", about: "jira/prod application", state: doctor.Unknown, seen: "policy was not checked"},
		{name: "the bot may change all applications", inflict: roles("Application.ReadWrite.All", "User.Read.All", "Policy.Read.All", "AuditLog.Read.All"),
			check: "entra.permissions", about: "Application.ReadWrite.All", state: doctor.Warn, remedy: "OwnedBy"},
		{name: "Entra does not let the bot in", inflict: func(p *platform) error {
			return p.Entra.ChangeApplication(p.Team.Bot.ClientID, entra.Change{PrincipalEnabled: &off})
		}, check: "entra.permissions", state: doctor.Fail, seen: "sign in to Entra", remedy: "az ad app federated-credential list --id"},
		{name: "a permission is denied", inflict: policy(all + `,{"Effect":"Deny","Action":"ssm:PutParameter","Resource":"*"}`),
			check: "aws.permissions", about: "pending secrets", state: doctor.Fail, seen: "do not allow ssm:PutParameter on arn:aws:ssm:eu-central-1:123456789012:parameter/aiconnectors/dev/confluence/client_secret",
			remedy: `{"Effect":"Allow","Action":["ssm:PutParameter"],"Resource":["arn:aws:ssm:`},
		{name: "a service may not be redeployed", inflict: policy(all + `,{"Effect":"Deny","Action":"ecs:UpdateService","Resource":"arn:aws:ecs:eu-central-1:123456789012:service/aiconnectors-prod/jira"}`),
			check: "aws.permissions", about: "services", state: doctor.Fail,
			remedy: `{"Effect":"Allow","Action":["ecs:UpdateService"],"Resource":["arn:aws:ecs:eu-central-1:123456789012:service/aiconnectors-prod/jira"]}`},
		{name: "the simulation itself is denied", inflict: func(p *platform) error {
			p.Conditions.Add(conditions.Fault{Operation: "iam.SimulatePrincipalPolicy", Kind: conditions.Refuse, Status: 403, Code: "AccessDenied"})
			return nil
		},
			check: "aws.permissions", about: "secrets", state: doctor.Unknown, seen: "not checked, since a simulation is not possible", remedy: `"iam:SimulatePrincipalPolicy"`},
		{name: "AWS does not know the bot", inflict: func(p *platform) error {
			p.Conditions.Add(conditions.Fault{Operation: "sts.GetCallerIdentity", Kind: conditions.Refuse, Status: 403, Code: "InvalidClientTokenId"})
			return nil
		}, check: "aws.identity", state: doctor.Fail, seen: "InvalidClientTokenId", remedy: "credentials"},
		{name: "a call without an answer is not ok", inflict: func(p *platform) error {
			p.Conditions.Add(conditions.Fault{Operation: "iam.SimulatePrincipalPolicy", Kind: conditions.Timeout})
			return nil
		}, words: []string{"--timeout", "2s"}, check: "aws.permissions", state: doctor.Unknown, seen: "not checked"},
	}
}

func secretDefects() []defect {
	const name = "jira/prod"
	world := func(do func(*conversation) error) func(*platform) error {
		return func(p *platform) error { return do(&conversation{box: p.Sandbox}) }
	}
	secret := func(do func(*platform, sandbox.Secret) error) func(*platform) error {
		return func(p *platform) error {
			s, _ := p.Team.Secret(name)
			return do(p, s)
		}
	}
	server := func(s mcp.Settings) func(*platform) error {
		return func(p *platform) error { p.MCP.Set("prod", "jira", s); return nil }
	}
	return []defect{
		{name: "the bot is no owner", inflict: secret(func(p *platform, s sandbox.Secret) error {
			return p.Entra.RemoveOwner(s.ClientID, p.Team.Bot.Principal)
		}),
			check: "secret", about: "jira/prod application", state: doctor.Fail, seen: "not an owner", remedy: "az ad app owner add --id"},
		{name: "a policy forbids secrets", inflict: secret(func(p *platform, s sandbox.Secret) error {
			return p.Entra.ChangeApplication(s.ClientID, entra.Change{Policy: &entra.Policy{Enabled: true, ForbidPasswords: true}})
		}), check: "secret", about: "jira/prod application", state: doctor.Fail, seen: "forbids new secrets", remedy: "exception"},
		{name: "a policy shortens secrets", inflict: secret(func(p *platform, s sandbox.Secret) error {
			return p.Entra.ChangeApplication(s.ClientID, entra.Change{Policy: &entra.Policy{Enabled: true, MaxLifetimeDays: 180}})
		}), check: "secret", about: "jira/prod application", state: doctor.Warn, seen: "caps a secret's life at 180 days"},
		{name: "there is no application", inflict: secret(func(p *platform, s sandbox.Secret) error {
			return p.AWS.SeedParameter(aws.Parameter{Name: s.ClientIDParameter, Value: "00000000-1111-4222-8333-444444444444"})
		}), check: "secret", about: "jira/prod application", state: doctor.Fail, seen: "no such application", remedy: "client_id"},
		{name: "the parameter holds no key of the application", inflict: secret(func(p *platform, s sandbox.Secret) error {
			return p.AWS.SeedParameter(aws.Parameter{Name: s.SecretParameter, Value: "zzz-not-the-secret"})
		}), check: "secret", about: "jira/prod parameter", state: doctor.Fail, seen: "belongs to none of the 1 keys", remedy: "Somebody changed one"},
		{name: "there is no parameter", file: true, inflict: func(p *platform) error {
			return p.rewrite("/aiconnectors/{env}/{mcp}/client_secret", "/elsewhere/{env}/{mcp}/client_secret")
		},
			check: "secret", about: "jira/prod parameter", state: doctor.Fail, seen: "SSM has no parameter /elsewhere/prod/jira/client_secret", remedy: "Create it"},
		{name: "the parameter has another key", file: true, inflict: func(p *platform) error { return p.rewrite("defaults:\n", "defaults:\n  kms_key: alias/other\n") },
			check: "secret", about: "jira/prod parameter", state: doctor.Fail, seen: "the configuration says alias/other", remedy: "Correct whichever is wrong"},
		{name: "a key of your own is not simulated", file: true, inflict: func(p *platform) error { return p.rewrite("defaults:\n", "defaults:\n  kms_key: alias/other\n") },
			check: "secret", about: "jira/prod", state: doctor.Unknown, seen: "whether the bot may encrypt with the KMS key alias/other", remedy: "kms:Encrypt"},
		{name: "a pending parameter was left", inflict: secret(func(p *platform, s sandbox.Secret) error {
			cfg, err := LoadConfig(p.path, func(string) string { return "" })
			if err != nil {
				return err
			}
			for _, t := range cfg.Targets {
				if string(t.Name) == s.Name {
					return p.AWS.SeedParameter(aws.Parameter{Name: t.PendingParameter(), Value: "left"})
				}
			}
			return errors.New("no such target")
		}), check: "secret", about: "jira/prod parameter", state: doctor.Fail, seen: "left by something unforeseen", remedy: "aws ssm delete-parameter --name"},
		{name: "parameters may not be read", inflict: func(p *platform) error {
			p.Conditions.Add(conditions.Fault{Operation: "ssm.GetParameter", Kind: conditions.Refuse, Status: 400, Code: "AccessDeniedException"})
			return nil
		}, check: "secret", about: "jira/prod parameter", state: doctor.Fail, seen: "AccessDeniedException", remedy: "ssm:GetParameter"},
		{name: "the service can't redeploy", inflict: world(func(c *conversation) error { return c.percentages([]string{name, "100", "150"}) }),
			check: "secret", about: "jira/prod service", state: doctor.Fail, seen: "can't redeploy", remedy: "maximumPercent"},
		{name: "the task definition takes no secret", inflict: secret(func(p *platform, s sandbox.Secret) error {
			// Else its tasks fail, and ECS goes back to the old definition.
			err := p.AWS.Behave(s.Cluster, s.Service, aws.Behaviour{Stuck: true})
			return errors.Join(err, (&conversation{box: p.Sandbox}).withoutSecret([]string{name}))
		}),
			check: "secret", about: "jira/prod service", state: doctor.Fail, seen: "does not inject CLIENT_SECRET", remedy: "task definition's secrets"},
		{name: "there is no service", file: true, inflict: func(p *platform) error { return p.rewrite(`service: "{mcp}"`, `service: "{mcp}-x"`) },
			check: "secret", about: "jira/prod service", state: doctor.Fail, seen: "no usable service jira-x", remedy: ""},
		{name: "the server is unhealthy", inflict: server(mcp.Settings{Unhealthy: true}),
			check: "secret", about: "jira/prod server", state: doctor.Fail, seen: "not healthy", remedy: "curl"},
		{name: "the test tool is missing", inflict: server(mcp.Settings{ToolsHidden: true}),
			check: "secret", about: "jira/prod server", state: doctor.Fail, seen: "offers no tool", remedy: "mcp.tool"},
		{name: "the test tool answers something else", inflict: server(mcp.Settings{ToolText: "nothing found"}),
			check: "secret", about: "jira/prod server", state: doctor.Fail, seen: "does not contain", remedy: "mcp.expect"},
	}
}

func TestADoctorWithAWrongConfigurationEndsWith2(t *testing.T) {
	p := newPlatform(t)
	if err := p.rewrite("approvers: ", "aprovers: "); err != nil {
		t.Fatal(err)
	}
	out, err := p.doctor()
	if exitCode(err) != 2 || out != "" || !strings.Contains(explain(err), "approvers") {
		t.Errorf("exit code %d, %v, printed %q", exitCode(err), err, out)
	}
	if _, err := p.doctor("--at-once", "0"); exitCode(err) != 2 {
		t.Errorf("--at-once 0 ends with %v", err)
	}
	if _, err := p.doctor("--nonsense"); exitCode(err) != 2 {
		t.Errorf("an unknown flag ends with %v", err)
	}
}

func TestTheDoctorsTableHasALineForEachFindingAndTheRemedyBelow(t *testing.T) {
	p := newPatient(t)
	if err := p.Slack.ChangeGroup("approvers", nil, []string{"carol"}); err != nil {
		t.Fatal(err)
	}
	out, err := p.doctor()
	if !errors.Is(err, errUnwell) {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(out, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "FAIL     slack.group "+sandbox.ApproversGroup) })
	if i < 0 || !strings.HasPrefix(lines[i+1], "         → Add people to the group") || !strings.HasSuffix(out, "0 to be warned of, 0 not checked, 1 failing.\n") {
		t.Errorf("the table is\n%s", out)
	}
}
