package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/integrations/entra"
	"github.com/twokey/twokey/integrations/tls"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/store"
)

type inventoryCommand struct {
	ConfigFile  string     `arg:"--config" default:"twokey.yml" placeholder:"FILE" help:"the configuration; env:NAME takes it from an environment variable"`
	Kind        []string   `arg:"--kind,separate" placeholder:"KIND" help:"only this kind: secret, principal-secret, certificate, principal-certificate, acm or tls; may be given again, like all that filter"`
	Status      []string   `arg:"--status,separate" placeholder:"STATUS" help:"only overdue, unknown, due or fine"`
	Environment []string   `arg:"--environment,separate" placeholder:"NAME" help:"only this environment, such as prod"`
	Server      []string   `arg:"--server,separate" placeholder:"NAME" help:"only this server, such as sharepoint"`
	Owner       []string   `arg:"--owner,separate" placeholder:"NAME" help:"only what they own; none: what nobody owns"`
	Configured  bool       `help:"leave out the keys of applications that are not in the configuration"`
	Sort        string     `default:"urgency" placeholder:"ORDER" help:"urgency, end, name or owner"`
	Due         string     `default:"30d" placeholder:"DURATION" help:"how long before its end something is due"`
	Zone        string     `default:"UTC" placeholder:"ZONE" help:"time zone of the table's dates, such as Europe/Berlin"`
	Concurrency int        `default:"2" placeholder:"N" help:"calls under way at once at one vendor"`
	JSON        bool       `help:"print JSON"`
	CSV         bool       `help:"print CSV"`
	LogLevel    slog.Level `arg:"--log-level" default:"warn" help:"how much is logged: debug, info, warn or error"`
	Text        string     `arg:"positional" placeholder:"TEXT" help:"only what mentions this"`
}

var errAlarming = errors.New("something is overdue, or it is unknown when it expires")

// Run sweeps once and prints what was found. What is overdue or unknown and not
// filtered out is an error.
func (c *inventoryCommand) Run(ctx context.Context, io streams) error {
	if c.JSON && c.CSV {
		return errors.New("--json and --csv: take one of them")
	}
	q, err := c.question()
	if err != nil {
		return err
	}
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if err != nil {
		return err
	}
	found, err := c.sweep(ctx, cfg, q.due, newLogger(io.err, c.LogLevel))
	if err != nil {
		return err
	}
	found = found.Select(q.filter)
	inventory.Sort(found.Items, q.order)
	if err := c.write(io, found, q.zone); err != nil {
		return fmt.Errorf("print the inventory: %w", err)
	}
	if found.Alarming() {
		return errAlarming
	}
	return nil
}

// question is what the words of the command line ask for.
type question struct {
	filter inventory.Filter
	order  inventory.Order
	due    time.Duration
	zone   *time.Location
}

func (c *inventoryCommand) question() (question, error) {
	q := question{filter: inventory.Filter{Environments: c.Environment, Servers: c.Server, Owners: c.Owner, Text: c.Text, Configured: c.Configured}}
	var wrong []error
	for _, word := range c.Kind {
		k, err := inventory.ParseKind(word)
		q.filter.Kinds, wrong = append(q.filter.Kinds, k), append(wrong, err)
	}
	for _, word := range c.Status {
		s, err := inventory.ParseStatus(word)
		q.filter.Statuses, wrong = append(q.filter.Statuses, s), append(wrong, err)
	}
	var err error
	q.order, err = inventory.ParseOrder(c.Sort)
	wrong = append(wrong, err)
	if q.due, err = parseDuration(c.Due); err != nil || q.due < 0 {
		wrong = append(wrong, errors.New("--due takes a time such as 30d or 12h"))
	}
	if q.zone, err = time.LoadLocation(c.Zone); err != nil {
		wrong = append(wrong, fmt.Errorf("--zone takes a time zone such as Europe/Berlin, and this machine does not know %q", c.Zone))
	}
	if c.Concurrency < 1 {
		wrong = append(wrong, errors.New("--concurrency takes a number from 1"))
	}
	return q, errors.Join(wrong...)
}

// sweep looks once, beside a bot that may be running.
func (c *inventoryCommand) sweep(ctx context.Context, cfg *Config, due time.Duration, log *slog.Logger) (inventory.Inventory, error) {
	var operations inventory.Operations
	if reader, err := store.OpenToRead(ctx, cfg.Database.Reveal()); err != nil {
		operations = noOperations{err}
	} else {
		defer reader.Close()
		operations = reader
	}
	return sweepOnce(ctx, cfg, operations, time.Now, log, func(s *inventory.Sweeper) { s.Due, s.Concurrency = due, c.Concurrency })
}

// sweepOnce looks at everything that expires. What adjust leaves alone is as in the bot.
func sweepOnce(ctx context.Context, cfg *Config, operations inventory.Operations, now func() time.Time, log *slog.Logger, adjust func(*inventory.Sweeper)) (inventory.Inventory, error) {
	cloud, err := aws.New(ctx, aws.Config{Region: cfg.AWS.Region, Endpoint: cfg.AWS.EndpointURL})
	if err != nil {
		return inventory.Inventory{}, err
	}
	directory, err := newDirectory(cfg, cloud, log)
	if err != nil {
		return inventory.Inventory{}, err
	}
	defer directory.Close()
	sweeper, err := newSweeper(cfg, directory, cloud, operations, now)
	if err != nil {
		return inventory.Inventory{}, err
	}
	adjust(sweeper)
	return sweeper.Sweep(ctx)
}

// noOperations stand for a database that cannot be read: the inventory tells why.
type noOperations struct{ why error }

// Operation implements inventory.Operations.
func (n noOperations) Operation(context.Context, operation.ID) (operation.Operation, error) {
	return operation.Operation{}, n.why
}

// OperationsOf implements inventory.Operations.
func (n noOperations) OperationsOf(context.Context, operation.SecretName) ([]operation.Operation, error) {
	return nil, n.why
}

func (c *inventoryCommand) write(io streams, found inventory.Inventory, zone *time.Location) error {
	switch {
	case c.JSON:
		return found.WriteJSON(io.out)
	case c.CSV:
		b, err := found.CSV()
		if err == nil {
			_, err = io.out.Write(b)
		}
		return err
	default:
		return found.WriteTable(io.out, zone)
	}
}

// newSweeper ties the inventory to its sources.
func newSweeper(cfg *Config, directory *entra.Client, cloud *aws.Client, operations inventory.Operations, now func() time.Time) (*inventory.Sweeper, error) {
	endpoints, err := tls.New(tls.Config{CAFile: cfg.TLS.CAFile})
	if err != nil {
		return nil, err
	}
	return &inventory.Sweeper{
		Targets: cfg.Targets, Regions: cfg.Regions, Endpoints: cfg.TLS.Endpoints,
		Directory: directory, Parameters: cloud, Certificates: cloud, Handshakes: endpoints, Operations: operations, Now: now,
	}, nil
}

// newDirectory signs the bot in to Entra as the configuration says.
func newDirectory(cfg *Config, cloud *aws.Client, log *slog.Logger) (*entra.Client, error) {
	identity := entra.Config{
		Tenant: cfg.Entra.Tenant, ClientID: runbook.ClientID(cfg.Entra.ClientID), Secret: cfg.Entra.Secret,
		LoginURL: cfg.Entra.LoginURL, GraphURL: cfg.Entra.GraphURL, CAFile: cfg.Entra.CAFile, Log: log,
	}
	if identity.Secret.IsZero() {
		identity.Assertion = assertion(cloud)
	}
	return entra.New(identity)
}
