package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/doctor"
	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/integrations/mcp"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/store"
)

type doctorCommand struct {
	ConfigFile string        `arg:"--config" default:"twokey.yml" placeholder:"FILE" help:"the configuration; env:NAME takes it from an environment variable"`
	JSON       bool          `arg:"--json" help:"print the findings as JSON, as docs/doctor.md describes it"`
	Online     bool          `help:"have Slack check the cards, too: each is scheduled far ahead in the operations channel and taken back at once; nobody sees it"`
	Timeout    time.Duration `arg:"--timeout" default:"30s" placeholder:"DURATION" help:"how long one check may take; after that it counts as not checked"`
	AtOnce     int           `arg:"--at-once" default:"6" placeholder:"NUMBER" help:"how many checks run beside each other"`
}

var errUnwell = errors.New("something fails; what to do about it stands below each line that says so")

// Run looks at everything, and prints what it found.
func (c *doctorCommand) Run(ctx context.Context, io streams) error {
	if c.AtOnce < 1 || c.Timeout <= 0 {
		return misuse{errors.New("--at-once must be at least 1, and --timeout longer than nothing")}
	}
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if err != nil {
		return misuse{err}
	}
	chat, err := bot.NewCheckup(bot.Config{AppToken: cfg.Slack.AppToken, BotToken: cfg.Slack.BotToken, APIURL: cfg.Slack.APIURL})
	if err != nil {
		return err
	}
	d, err := newDoctor(ctx, cfg, chat, time.Now)
	if err != nil {
		return err
	}
	if c.Online {
		d.Cards = cards(chat, cfg.Slack.OperationsChannel, time.Now())
	}
	found := doctor.Run(ctx, d.Checks(), doctor.Options{AtOnce: c.AtOnce, Each: c.Timeout})
	if err := ctx.Err(); err != nil {
		return err
	}
	write := doctor.WriteTable
	if c.JSON {
		write = doctor.WriteJSON
	}
	if err := write(io.out, found); err != nil {
		return err
	}
	if !doctor.Healthy(found) {
		return errUnwell
	}
	return nil
}

// newDoctor ties the checks to what they look at, as serve ties the bot.
func newDoctor(ctx context.Context, cfg *Config, chat *bot.Checkup, now func() time.Time) (*doctor.Doctor, error) {
	cloud, err := aws.New(ctx, aws.Config{Region: cfg.AWS.Region, Endpoint: cfg.AWS.EndpointURL})
	if err != nil {
		return nil, err
	}
	directory, err := newDirectory(cfg, cloud, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	scopes, err := manifestScopes()
	if err != nil {
		return nil, err
	}
	return &doctor.Doctor{
		Slack: checkup{chat}, People: &operation.Rules{Chat: chat, Directory: directory, Now: now},
		Entra: directory, AWS: caller{cloud}, Now: now, Scopes: scopes,
		Secrets: &runbook.Rotate{Apps: directory, Tokens: directory, Params: cloud, Labels: cloud, ECS: cloud, MCP: mcp.New(mcp.Options{}, now)},
		Machine: machine(cfg), Channels: cfg.channels(), Groups: cfg.groups(), Targets: cfg.Targets,
		ClientID: cfg.Entra.ClientID, WebIdentity: cfg.Entra.Secret.IsZero(), Region: cfg.AWS.Region, ACM: len(cfg.Regions) > 0,
	}, nil
}

// checkup is the bot's view of Slack as the doctor needs it.
type checkup struct{ *bot.Checkup }

// BotToken implements doctor.Slack.
func (c checkup) BotToken(ctx context.Context) (doctor.Token, error) {
	i, err := c.Installation(ctx)
	return doctor.Token{Team: i.Team, User: i.User, Scopes: i.Scopes, At: i.At}, err
}

// AppToken implements doctor.Slack.
func (c checkup) AppToken(ctx context.Context) error { return c.MayConnect(ctx) }

// cards are what Slack shall check in the channel where they would be.
func cards(c *bot.Checkup, channel operation.ChannelID, now time.Time) []doctor.Card {
	var out []doctor.Card
	for n, s := range bot.Specimens(now) {
		out = append(out, doctor.Card{Kind: s.Kind, Try: func(ctx context.Context) (string, error) { return c.Try(ctx, channel, n, s) }})
	}
	return out
}

// caller is the bot's identity in AWS as the doctor needs it.
type caller struct{ *aws.Client }

// Whoami implements doctor.AWS.
func (c caller) Whoami(ctx context.Context) (string, time.Time, error) {
	who, err := c.Caller(ctx)
	return who.Principal, who.At, err
}

// machine is what the bot needs where it runs.
func machine(cfg *Config) doctor.Machine {
	m := doctor.Machine{
		Key:       func() error { _, err := cfg.Record.key(); return err },
		KeyRemedy: fmt.Sprintf("Make one, once, and keep it outside the database: twokey audit key %s --name %s", cmp.Or(cfg.Record.KeyFile, "FILE"), cfg.Record.Origin),
		Database:  func(ctx context.Context) (int64, int64, error) { return databaseVersion(ctx, cfg.Database.Reveal()) },
	}
	if file, is := strings.CutPrefix(cfg.Database.Reveal(), "sqlite:"); is {
		m.Free = func() (uint64, error) { return freeSpace(filepath.Dir(file)) }
	}
	return m
}

// databaseVersion looks at the database. Before the first start a SQLite file is not
// there; then its folder must be.
func databaseVersion(ctx context.Context, address string) (current, known int64, err error) {
	reader, err := store.OpenToRead(ctx, address)
	if errors.Is(err, fs.ErrNotExist) {
		folder := filepath.Dir(strings.TrimPrefix(address, "sqlite:"))
		if err := syscall.Access(folder, writable); err != nil {
			return 0, 0, fmt.Errorf("the folder of the database file can't be written to: %s: %w", folder, err)
		}
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer reader.Close()
	return reader.Version(ctx)
}

// writable asks access(2) whether a folder may be written to and entered.
const writable = 0o3

// freeSpace is how many bytes a user without privileges may still write to a folder's disk.
func freeSpace(folder string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, &os.PathError{Op: "look at the disk of", Path: folder, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil //nolint:gosec,unconvert // its type depends on the system, and is never negative
}

// channels are all channels that the configuration names, each once.
func (c *Config) channels() []doctor.Place[operation.ChannelID] {
	var p places[operation.ChannelID]
	p.add(c.Slack.OperationsChannel, "slack.operations_channel", 0)
	p.add(c.Room.Channel, "emergency.channel", 0)
	if len(c.Reminders.Schedules) > 0 {
		p.add(c.Reminders.Policy.Channel, "reminders.channel", 0)
		p.add(c.Reminders.Policy.Escalation, "reminders.escalation", 0)
		for _, t := range c.Targets {
			p.add(t.Owner.Channel, "owner.channel of "+string(t.Name), 0)
			p.add(t.Owner.Escalation, "owner.escalation of "+string(t.Name), 0)
		}
	}
	return p
}

// groups are all user groups, and how many people each must have: whoever asks may be
// one of the approvers, and cannot confirm.
func (c *Config) groups() []doctor.Place[operation.GroupID] {
	var p places[operation.GroupID]
	p.add(c.Approvers, "approvers", 2)
	for _, t := range c.Targets {
		p.add(t.Policy.Approvers, "approvers of "+string(t.Name), 2)
	}
	p.add(c.Requesters, "requesters", 1)
	for _, t := range c.Targets {
		p.add(t.Policy.Requesters, "requesters of "+string(t.Name), 1)
	}
	p.add(c.Escalation, "emergency.escalation", 1)
	p.add(c.Room.Group, "emergency.responders", 1)
	if len(c.Reminders.Schedules) > 0 {
		p.add(c.Reminders.Policy.Ring, "reminders.ring", 1)
	}
	return p
}

// places are in the order in which they were first named.
type places[ID ~string] []doctor.Place[ID]

func (p *places[ID]) add(id ID, role string, least int) {
	if id == "" {
		return
	}
	for i, known := range *p {
		if known.ID == id {
			(*p)[i].Least = max(known.Least, least)
			return
		}
	}
	*p = append(*p, doctor.Place[ID]{ID: id, For: role, Least: least})
}
