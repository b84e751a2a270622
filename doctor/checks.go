package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Slack is what the doctor asks of Slack.
type Slack interface {
	// BotToken says whom the token makes the bot, its scopes, and Slack's time.
	BotToken(ctx context.Context) (Token, error)
	// AppToken reports whether a connection could be opened.
	AppToken(ctx context.Context) error
	Channel(ctx context.Context, channel operation.ChannelID) (operation.Channel, error)
}

// People are judged by the rules that judge a click.
type People interface {
	Eligible(ctx context.Context, group operation.GroupID) ([]operation.Person, error)
}

// Entra is what the doctor asks of the bot's sign-in.
type Entra interface {
	Roles(ctx context.Context) ([]string, error)
}

// AWS is what the doctor asks of the bot's own permissions.
type AWS interface {
	// Whoami is the ARN of the bot's role or user, and AWS's time.
	Whoami(ctx context.Context) (principal string, at time.Time, err error)
	// Denied simulates, and returns the actions that are not allowed, by resource.
	Denied(ctx context.Context, principal string, actions, resources []string) (map[string][]string, error)
}

// Secrets look at what a rotation would look at.
type Secrets interface {
	Examine(ctx context.Context, target runbook.Target, at time.Time) []runbook.Examined
}

// Token is what Slack says of the bot token.
type Token struct {
	Team, User string
	Scopes     []string  // empty: Slack did not say
	At         time.Time // zero: Slack did not say
}

// Place is a channel or a user group, and where the configuration names it.
type Place[ID ~string] struct {
	ID    ID
	For   string // "slack.operations_channel"
	Least int    // of a group: eligible people that it must have
}

// Card is a kind of message, and how Slack is made to check its blocks.
type Card struct {
	Kind string // "a reminder"
	// Try returns a sentence where Slack takes it otherwise than it is meant.
	Try func(ctx context.Context) (note string, err error)
}

// Machine is the bot's own.
type Machine struct {
	// Key reads the record's signing key.
	Key func() error
	// KeyRemedy is the command that makes one.
	KeyRemedy string
	// Database returns the version of the tables, 0 when there are none, and the
	// newest that the program knows.
	Database func(ctx context.Context) (current, known int64, err error)
	// Free returns the bytes that are free for the database's file; nil: it is on
	// another machine.
	Free func() (uint64, error)
}

// Doctor knows what to look at.
type Doctor struct {
	Slack    Slack
	People   People
	Entra    Entra
	AWS      AWS
	Secrets  Secrets
	Machine  Machine
	Now      func() time.Time
	Scopes   []string // that the app's manifest asks for
	Channels []Place[operation.ChannelID]
	Groups   []Place[operation.GroupID]
	Cards    []Card // that Slack shall check; empty: none
	Targets  []runbook.Target

	ClientID    string // of the bot's own Entra application
	WebIdentity bool   // it signs in to Entra by AWS
	Region      string
	ACM         bool // certificates of ACM are watched
}

// Checks are all looks, in the order in which somebody sets a bot up.
func (d *Doctor) Checks() []Check {
	checks := []Check{
		{Name: "machine.clock", Look: d.clock},
		{Name: "machine.record_key", Look: d.recordKey},
		{Name: "machine.database", Look: d.database},
		{Name: "machine.disk", Look: d.disk},
		{Name: "slack.bot_token", Look: d.botToken},
		{Name: "slack.scopes", Look: d.scopes},
		{Name: "slack.app_token", Look: d.appToken},
	}
	for _, c := range d.Channels {
		checks = append(checks, Check{"slack.channel", string(c.ID), d.channel(c)})
	}
	for _, g := range d.Groups {
		checks = append(checks, Check{"slack.group", string(g.ID), d.group(g)})
	}
	for _, c := range d.Cards {
		checks = append(checks, Check{"slack.card", c.Kind, d.card(c)})
	}
	if len(d.Cards) > 0 {
		checks = append(checks, Check{"slack.card", "forms and the Home tab", notShown})
	}
	checks = append(checks,
		Check{Name: "entra.permissions", Look: d.roles},
		Check{Name: "aws.identity", Look: d.identity},
	)
	for _, p := range d.permissions() {
		checks = append(checks, Check{"aws.permissions", p.about, d.simulated(p)})
	}
	for _, t := range d.Targets {
		checks = append(checks, Check{"secret", string(t.Name), d.secret(t)})
	}
	return checks
}

// maxSkew is how far the clock may be off. Signatures of AWS's fail after five
// minutes; what people read is wrong long before.
const maxSkew = 30 * time.Second

func (d *Doctor) clock(ctx context.Context) []Finding {
	var out []Finding
	compare := func(whose string, at time.Time, err error, sent time.Time) {
		now := d.Now()
		off := sent.Add(now.Sub(sent) / 2).Sub(at).Round(time.Second) // the answer was written halfway
		var f Finding
		switch {
		case err != nil || at.IsZero():
			f = finding(Unknown, "", "not checked against %s's clock: it did not say its time", whose)
		case off.Abs() > maxSkew:
			f = finding(Warn, "Set the machine's clock by NTP: timedatectl set-ntp true", "%s off %s's clock (%s)", off.Abs(), whose, map[bool]string{true: "ahead", false: "behind"}[off > 0])
		default:
			f = finding(OK, "", "within %s of %s's clock", maxSkew, whose)
		}
		f.About = whose
		out = append(out, f)
	}
	sent := d.Now()
	token, err := d.Slack.BotToken(ctx)
	compare("Slack", token.At, err, sent)
	sent = d.Now()
	_, at, err := d.AWS.Whoami(ctx)
	compare("AWS", at, err, sent)
	return out
}

func (d *Doctor) recordKey(context.Context) []Finding {
	if err := d.Machine.Key(); err != nil {
		return []Finding{finding(Fail, d.Machine.KeyRemedy, "%s", err)}
	}
	return ok("the key that signs the record is there, and nobody else can read it")
}

func (d *Doctor) database(ctx context.Context) []Finding {
	current, known, err := d.Machine.Database(ctx)
	switch {
	case err != nil:
		return []Finding{finding(Fail, "Correct database in the configuration, or start the database.", "%s", err)}
	case current > known:
		return []Finding{finding(Fail, "Run the newer twokey, or restore a backup of before.", "its tables have version %d, and this program knows %d", current, known)}
	case current == 0:
		return ok("reachable, without tables yet: the bot makes them when it starts")
	case current < known:
		return ok("its tables have version %d; the bot brings them to %d when it starts", current, known)
	default:
		return ok("its tables have version %d", current)
	}
}

// A database needs a few megabytes a year; a full disk stops everything.
const (
	scarce = 1 << 30
	none   = 100 << 20
)

func (d *Doctor) disk(context.Context) []Finding {
	if d.Machine.Free == nil {
		return ok("the database is on another machine, which watches its own disk")
	}
	free, err := d.Machine.Free()
	const remedy = "Free some space, or put the database onto another disk (database: in the configuration)."
	switch {
	case err != nil:
		return trouble(err, "")
	case free < none:
		return []Finding{finding(Fail, remedy, "%d MiB are free for the database", free>>20)}
	case free < scarce:
		return []Finding{finding(Warn, remedy, "%d MiB are free for the database", free>>20)}
	default:
		return ok("%d GiB are free for the database", free>>30)
	}
}

func (d *Doctor) botToken(ctx context.Context) []Finding {
	t, err := d.Slack.BotToken(ctx)
	if err != nil {
		return trouble(err, "")
	}
	return ok("%s in the workspace %s", t.User, t.Team)
}

func (d *Doctor) scopes(ctx context.Context) []Finding {
	t, err := d.Slack.BotToken(ctx)
	switch {
	case err != nil:
		return []Finding{finding(Unknown, "", "not checked: the bot token is refused")}
	case len(t.Scopes) == 0:
		return []Finding{finding(Unknown, "", "not checked: Slack did not say which scopes the token has")}
	}
	var out []Finding
	for _, s := range d.Scopes {
		if !slices.Contains(t.Scopes, s) {
			f := finding(Fail, "Add to oauth_config.scopes.bot in the app's manifest, and install the app again:\n      - "+s, "the bot token lacks the scope")
			f.About = s
			out = append(out, f)
		}
	}
	for _, s := range t.Scopes {
		if !slices.Contains(d.Scopes, s) {
			f := finding(Warn, "Remove it from oauth_config.scopes.bot in the app's manifest, and install the app again.", "the bot token has a scope that the bot does not use")
			f.About = s
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return ok("all %d of the manifest", len(d.Scopes))
	}
	return out
}

func (d *Doctor) appToken(ctx context.Context) []Finding {
	if err := d.Slack.AppToken(ctx); err != nil {
		return trouble(err, "")
	}
	return ok("Slack lets it open connections")
}

func (d *Doctor) channel(p Place[operation.ChannelID]) func(context.Context) []Finding {
	return func(ctx context.Context) []Finding {
		c, err := d.Slack.Channel(ctx, p.ID)
		switch {
		case err != nil:
			return trouble(err, "")
		case c.Shared:
			return []Finding{finding(Fail, "Name a channel of your own organisation in "+p.For+", or end the sharing.", "#%s is shared with people outside the organisation (%s)", c.Name, p.For)}
		case c.Archived:
			return []Finding{finding(Fail, "Unarchive it, or name another channel in "+p.For+".", "#%s is archived (%s)", c.Name, p.For)}
		case !c.Member:
			return []Finding{finding(Fail, "In Slack, in #"+c.Name+", type: /invite @twokey", "the bot is not in #%s (%s)", c.Name, p.For)}
		}
		return ok("the bot is in #%s, which is not shared outside (%s)", c.Name, p.For)
	}
}

func (d *Doctor) group(p Place[operation.GroupID]) func(context.Context) []Finding {
	return func(ctx context.Context) []Finding {
		people, err := d.People.Eligible(ctx, p.ID)
		if err != nil {
			return trouble(err, "")
		}
		if len(people) < p.Least {
			return []Finding{finding(Fail, "Add people to the group who are full members and whose confirmed e-mail address is that of an enabled Entra identity.",
				"%d of the group's members could act now, and %d are needed (%s)", len(people), p.Least, p.For)}
		}
		return ok("%d different people could act now (%s)", len(people), p.For)
	}
}

func (d *Doctor) card(c Card) func(context.Context) []Finding {
	return func(ctx context.Context) []Finding {
		note, err := c.Try(ctx)
		switch {
		case err != nil:
			return trouble(err, "")
		case note != "":
			return []Finding{finding(Warn, "", "Slack takes it %s", note)}
		default:
			return ok("Slack takes it")
		}
	}
}

func notShown(context.Context) []Finding {
	return []Finding{finding(Unknown, "", "not checked: Slack checks them only when somebody opens them")}
}

func (d *Doctor) secret(t runbook.Target) func(context.Context) []Finding {
	return func(ctx context.Context) []Finding {
		var out []Finding
		for _, part := range d.Secrets.Examine(ctx, t, d.Now()) {
			for _, f := range examined(part, t) {
				f.About = fmt.Sprintf("%s %s", t.Name, part.Part)
				out = append(out, f)
			}
		}
		if !runbook.SameKMSKey(t.KMSKey, managedKey) {
			out = append(out, finding(Unknown, "See that the key's policy and the bot's role allow kms:Decrypt, kms:Encrypt and kms:GenerateDataKey.",
				"not checked: whether the bot may encrypt with the KMS key %s, which its own policy decides", t.KMSKey))
		}
		if t.Module.Directory != "" {
			out = append(out, finding(Unknown, "", "not checked: what Terraform's next apply would do; it takes minutes, and the plan of each rotation asks"))
		}
		return out
	}
}

// managedKey is SSM's own KMS key, which everybody in the account may use through it.
const managedKey = "aws/ssm"

func examined(part runbook.Examined, t runbook.Target) []Finding {
	if part.Err != nil {
		out := trouble(part.Err, unreadable(part.Part, t))
		return append(out, told(part)...)
	}
	if out := told(part); len(out) > 0 {
		return out
	}
	return ok("%s", part.Seen)
}

// unreadable is what to do when a part can't be read.
func unreadable(part string, t runbook.Target) string {
	switch part {
	case runbook.PartApplication:
		return fmt.Sprintf("Put the application's client id into %s, or correct client_id of %s in the configuration.", t.ClientIDParameter, t.Name)
	case runbook.PartParameter:
		return fmt.Sprintf("Let the bot's role do ssm:GetParameter and ssm:GetParameterHistory on %s and %s, and kms:Decrypt with %s where that is a key of yours.", t.ClientIDParameter, t.SecretParameter, t.KMSKey)
	default:
		return "Let the bot's role do ecs:DescribeServices and ecs:DescribeTaskDefinition."
	}
}

// told are the troubles of a part.
func told(part runbook.Examined) []Finding {
	var out []Finding
	for _, p := range part.Problems {
		out = append(out, Finding{State: Fail, Seen: p.What, Remedy: p.Remedy})
	}
	for _, w := range part.Warnings {
		f := Finding{State: Warn, Seen: w.What, Remedy: w.Remedy}
		if w.Unchecked {
			f.State = Unknown
		}
		out = append(out, f)
	}
	return out
}
