package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/handlers"
	"github.com/twokey/twokey/incident"
	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/integrations/mcp"
	"github.com/twokey/twokey/integrations/servicenow"
	"github.com/twokey/twokey/integrations/terraform"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/store"
	"github.com/twokey/twokey/worknotes"
)

// serve runs the bot, with its spans going where OpenTelemetry's variables say, until
// ctx ends or a part gives up. Where now is nil, it is the store's.
func serve(ctx context.Context, cfg *Config, now func() time.Time, log *slog.Logger) error {
	provider, stopTraces, err := startTraces(ctx, log)
	if err != nil {
		return err
	}
	defer stopTraces()
	return assemble(ctx, cfg, now, log, provider.Tracer(tracerName))
}

// assemble is the bill of materials: it builds every part from the configuration, ties
// them together, and runs them.
func assemble(ctx context.Context, cfg *Config, now func() time.Time, log *slog.Logger, tracer trace.Tracer) error {
	metrics := vm.NewSet()
	key, err := cfg.Record.key()
	if err != nil {
		return err
	}
	var db *store.Store
	record := audit.NewLog(key, audit.Cadence{}, func() time.Time { return db.Now() })
	db, err = store.Open(ctx, cfg.Database.Reveal(), store.Options{Recorder: record, Now: now, Log: log, WorkNotes: cfg.ServiceNow.URL != ""})
	if err != nil {
		return err
	}
	defer db.Close()
	now = db.Now

	cloud, err := aws.New(ctx, aws.Config{Region: cfg.AWS.Region, Endpoint: cfg.AWS.EndpointURL})
	if err != nil {
		return err
	}
	directory, err := newDirectory(cfg, cloud, log)
	if err != nil {
		return err
	}
	chat, err := bot.New(bot.Config{
		AppToken: cfg.Slack.AppToken, BotToken: cfg.Slack.BotToken, APIURL: cfg.Slack.APIURL,
		Logger: log, Inbox: inbox{db}, Now: now, Metrics: metrics,
		Spacing: cfg.Pace.Spacing, EditSpacing: cfg.Pace.EditSpacing, Turns: db,
	})
	if err != nil {
		return err
	}

	code := terraform.New(terraform.Options{Folder: cfg.Plans, Environ: os.Environ()}, now)
	rotate := &runbook.Rotate{
		Targets: map[operation.SecretName]runbook.Target{}, Apps: directory, Tokens: directory,
		Params: cloud, Labels: cloud, ECS: cloud, MCP: mcp.New(mcp.Options{}, now), Proof: cmp.Or(cfg.Pace.Proof, runbook.DefaultProof()),
		Patience: cfg.Pace.Patience, Terraform: code, Plans: code,
	}
	for _, t := range cfg.Targets {
		rotate.Targets[t.Name] = t
	}
	reports := &incident.Reporter{Ledger: ledger{db, record}, Operations: db, Now: now}
	emergency := &runbook.Emergency{
		Rotate: rotate, Report: reports, History: db, Room: cfg.Room,
		Audit: &incident.Investigator{
			Gatherer: &exposure.Gatherer{Trail: cloud, SignIns: directory, Audits: directory, Doors: directory, Now: now},
			Apps:     directory, ECS: cloud, History: db,
			BotClient: runbook.ClientID(cfg.Entra.ClientID), BotPrincipal: directory.Principal, BotRole: cloud.Role,
		},
	}
	planners, runbooks := map[operation.Kind]operation.Planner{}, map[operation.Kind]operation.Runbook{}
	for kind, book := range map[operation.Kind]interface {
		operation.Planner
		operation.Runbook
	}{
		runbook.KindRotate:    rotate,
		runbook.KindEmergency: emergency,
		runbook.KindFreeze:    &runbook.Freeze{Emergency: emergency, Principals: directory},
		runbook.KindLeftover:  &runbook.Leftover{Rotate: rotate, History: db},
		runbook.KindThaw:      &runbook.Freeze{Emergency: emergency, Principals: directory, Thaw: true},
	} {
		planners[kind], runbooks[kind] = book, traced{book, tracer}
	}
	rules := &operation.Rules{Reader: db, Writer: db, Chat: chat, Directory: directory, Now: now, Clock: db.Clock, Planners: planners, Authenticators: cfg.Authenticators, Tries: db}
	changes := servicenow.New(cfg.ServiceNow)
	if cfg.ServiceNow.URL != "" {
		rules.ChangeRequests = changes
	}
	runner := &operation.Runner{Writer: db, Leases: db, Rules: rules, Now: now, Clock: db.Clock, Log: log, Owner: owner(), Runbooks: runbooks}
	care := &operation.Care{Rules: rules, Store: db, Policy: operation.Policy{Requesters: cfg.Requesters, Approvers: cfg.Approvers, Channel: cfg.Slack.OperationsChannel}}
	survey, err := newSweeper(cfg, directory, cloud, db, now)
	if err != nil {
		return err
	}
	survey.Log = log
	inspector := newInspector(cfg, cloud, now)
	answered := *inspector // for somebody who waits
	answered.Patience = inspection
	shelf := handlers.Shelf{Inventory: inventory.NewCache(survey.Sweep, looksLast, now), Book: db, Record: ledger{db, record}, Policy: &answered}
	answers := handlers.New(chat, db, rules, emergency, reports, care, shelf, db, cfg.Targets, log)
	schedules := tracedTicks(ticks(cfg, survey, db, rules, inspector), tracer)
	progress := func(op operation.Operation) []operation.StepState {
		return operation.Progress(runbooks[op.Kind].Steps(op), op)
	}

	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for health and metrics (listen: in the configuration): %w", err)
	}
	log.InfoContext(ctx, "starting", "secrets", len(cfg.Targets), "listen", listener.Addr().String(), "verifier", key.VerifierLine())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return listen(ctx, listener, operatorPages(db, chat, metrics, schedules)) })
	g.Go(func() error {
		return db.Run(ctx, store.Handlers{
			Envelope: func(ctx context.Context, body json.RawMessage) error {
				in, err := decode(body)
				if err != nil {
					return err
				}
				ctx, span := tracer.Start(ctx, "handle "+string(in.Kind))
				err = answers.Handle(ctx, in)
				end(span, err)
				return err
			},
			GiveUp: func(ctx context.Context, body json.RawMessage) error {
				in, err := decode(body)
				if err != nil {
					return err
				}
				return answers.GiveUp(ctx, in)
			},
			Wake:  runner.Run,
			Lapse: rules.Lapse,
			Ticks: schedules,
		}, log)
	})
	g.Go(func() error { return chat.RunPoster(ctx, db, db, db, progress) })
	g.Go(func() error { return nudge(ctx, db, chat) })
	g.Go(func() error { return code.Run(ctx) })
	if cfg.ServiceNow.URL != "" {
		desk := &worknotes.Desk{Outbox: db, Operations: db, Changes: changes, Log: log}
		g.Go(func() error { return desk.Run(ctx) })
	}
	g.Go(func() error {
		if err := emergency.Learn(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "not every client id could be read; an emergency will have to", "error", err)
		}
		return nil
	})
	g.Go(func() error { return chat.Run(ctx) })
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// looksLast is how old an inventory may be that is only shown. A sweep costs many
// calls, and what is shown says how old it is.
const looksLast = 10 * time.Minute

// inspection is how long the policy's checks may take where a person waits for them:
// less than a job of the queue may.
const inspection = 25 * time.Second

// readyTime is how long the database may take to answer whether it is there.
const readyTime = 2 * time.Second

// owner names this replica in leases, so that a log tells who had an operation.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d:%d", host, os.Getpid(), time.Now().UnixNano())
}

// assertionAudience is what Entra's federated credentials expect.
const assertionAudience = "api://AzureADTokenExchange"

// assertion lets the bot sign in to Entra by what AWS says of it: no secret.
func assertion(cloud *aws.Client) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return cloud.WebIdentityToken(ctx, assertionAudience) }
}

// inbox keeps the chat's intents as the store's envelopes.
type inbox struct{ store *store.Store }

// Receive implements bot.Inbox.
func (i inbox) Receive(ctx context.Context, intents []bot.Intent) error {
	envelopes := make([]store.Envelope, len(intents))
	for n, in := range intents {
		body, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode an intent: %w", err)
		}
		envelopes[n] = store.Envelope{ID: in.Envelope, Body: body}
	}
	return i.store.Receive(ctx, envelopes)
}

// decode returns the intent that was kept.
func decode(body json.RawMessage) (in bot.Intent, err error) {
	if err := json.Unmarshal(body, &in); err != nil {
		return in, fmt.Errorf("decode an intent: %w", err)
	}
	return in, nil
}

// ledger is the record as reports need it.
type ledger struct {
	store  *store.Store
	record *audit.Log
}

// Entries implements incident.Ledger.
func (l ledger) Entries(ctx context.Context, id operation.ID) ([]operation.Entry, error) {
	return audit.OfOperation(ctx, l.store.DB(), id)
}

// History implements handlers.Record.
func (l ledger) History(ctx context.Context, secret operation.SecretName) ([]operation.Entry, error) {
	ops, err := l.store.OperationsOf(ctx, secret)
	if err != nil {
		return nil, err
	}
	ids := make([]operation.ID, len(ops))
	for i, op := range ops {
		ids[i] = op.ID
	}
	return audit.History(ctx, l.store.DB(), secret, ids)
}

// Prove implements incident.Ledger.
func (l ledger) Prove(ctx context.Context, id operation.ID) ([]byte, error) {
	op, err := l.store.Operation(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := l.store.SignNow(ctx, op); err != nil {
		return nil, err
	}
	proof, err := audit.Prove(ctx, audit.NewDatabase(l.store.DB()), id, l.record.Known())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = audit.WriteProof(&b, proof)
	return b.Bytes(), err
}

// nudge tells the poster at once what this process wrote down to be told.
func nudge(ctx context.Context, db *store.Store, chat *bot.Bot) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-db.NoticesChanged():
			chat.Nudge()
		}
	}
}

// operatorPages are what those who run the bot ask: is it alive, is it ready,
// what does it count.
func operatorPages(db *store.Store, chat *bot.Bot, metrics *vm.Set, schedules []store.Tick) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		var away *operation.Unavailable
		switch err := db.Ready(ctx); {
		case errors.As(err, &away):
			http.Error(w, away.Why, http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, "the database does not answer as it should", http.StatusServiceUnavailable)
		case !chat.Ready():
			http.Error(w, "not connected to Slack", http.StatusServiceUnavailable)
		default:
			_, _ = fmt.Fprintln(w, "ready")
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		var page bytes.Buffer
		vm.WriteProcessMetrics(&page)
		metrics.WritePrometheus(&page)
		if err := db.WriteMetrics(r.Context(), &page, schedules); err != nil {
			http.Error(w, "the database cannot be counted", http.StatusServiceUnavailable) // a gap shows; a zero would not
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = page.WriteTo(w)
	})
	return mux
}

// listen serves until ctx ends.
func listen(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}
