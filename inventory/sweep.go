package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// DefaultConcurrency is how many calls are under way at once at a vendor.
const DefaultConcurrency = 2

// handshakesAtOnce bounds handshakes: they go to different hosts, so they may be
// many, and a dead host takes long.
const handshakesAtOnce = 16

// errNotSwept is why a source is silent that the sweeper does not have.
var errNotSwept = errors.New("it is not asked")

// errNotListed is why a parameter has no KMS key that could be told.
var errNotListed = errors.New("SSM does not list it")

// Sweeper sweeps everything that can expire. What a source that is nil would tell
// is unknown.
type Sweeper struct {
	Targets   []runbook.Target
	Regions   []Region
	Endpoints []Endpoint

	Directory    Directory
	Parameters   Parameters
	Certificates Certificates
	Handshakes   Handshakes
	Operations   Operations

	Now         func() time.Time
	Due         time.Duration // how long before its end something is due; 0 is DefaultDue
	Concurrency int           // calls under way at once at one vendor; 0 is DefaultConcurrency
	Log         *slog.Logger  // gets a line a sweep; nil: none
}

// Sweep reads every source once and ties together what they say. What a source
// does not tell is unknown in the inventory; an error means that ctx has ended.
func (s *Sweeper) Sweep(ctx context.Context) (Inventory, error) {
	now := s.Now()
	began := time.Now()
	r := &reading{
		applications: map[runbook.ClientID]Application{}, principals: map[runbook.ClientID]Application{}, uses: map[runbook.KeyID]time.Time{},
		parameters: map[string]runbook.Parameter{}, notRead: map[string]error{}, kmsKeys: map[string]string{}, kmsNotRead: map[string]error{},
		certificates: make([][]ACMCertificate, len(s.Regions)), regionsErr: make([]error, len(s.Regions)),
		handshakes: make([]Handshake, len(s.Endpoints)), handshakesErr: make([]error, len(s.Endpoints)),
	}
	s.read(ctx, r, now)
	s.readOperations(ctx, r)
	if err := ctx.Err(); err != nil {
		return Inventory{}, fmt.Errorf("sweep what can expire: %w", err)
	}
	j := &joiner{Sweeper: s, reading: r, now: now, due: cmp.Or(s.Due, DefaultDue)}
	out := j.join()
	out.Took = time.Since(began)
	if s.Log != nil {
		s.Log.InfoContext(ctx, "swept", "items", len(out.Items), "findings", len(out.Findings), "gaps", len(out.Gaps), "took", out.Took)
	}
	return out, nil
}

// reading is what the sources said, and what they did not.
type reading struct {
	mu sync.Mutex // of the maps that several calls fill

	applications    map[runbook.ClientID]Application
	applicationsErr error
	principals      map[runbook.ClientID]Application
	principalsErr   error
	uses            map[runbook.KeyID]time.Time
	usesErr         error

	parameters map[string]runbook.Parameter
	notRead    map[string]error // of parameters, why
	kmsKeys    map[string]string
	kmsNotRead map[string]error

	certificates  [][]ACMCertificate // by region
	regionsErr    []error
	handshakes    []Handshake // by endpoint
	handshakesErr []error

	operations    map[operation.SecretName][]operation.Operation
	operationsErr error
}

// read asks all vendors at once. Each list of pages is one after the other, since
// only a page tells where the next is; so lists share the calls that a vendor may
// have under way, the longest first.
func (s *Sweeper) read(ctx context.Context, r *reading, now time.Time) {
	limit := cmp.Or(s.Concurrency, DefaultConcurrency)
	var vendors sync.WaitGroup
	vendors.Go(func() { together(limit, s.directory(ctx, r)) })
	vendors.Go(func() { together(limit, slices.Concat(s.parameters(ctx, r), s.certificates(ctx, r))) })
	vendors.Go(func() { together(handshakesAtOnce, s.handshakes(ctx, r, now)) })
	vendors.Wait()
}

// together runs tasks in their order, at most limit at once, and waits for all.
// What goes wrong is kept where it belongs, so none of them ends the others.
func together(limit int, tasks []func()) {
	var g errgroup.Group
	g.SetLimit(limit)
	for _, task := range tasks {
		g.Go(func() error { task(); return nil })
	}
	_ = g.Wait() // the tasks return nothing
}

func (s *Sweeper) directory(ctx context.Context, r *reading) []func() {
	if s.Directory == nil {
		r.applicationsErr, r.principalsErr, r.usesErr = errNotSwept, errNotSwept, errNotSwept
		return nil
	}
	return []func(){
		func() {
			r.usesErr = collect(s.Directory.LastUses(ctx), func(u LastUse) { r.uses[foldKey(u.Key)] = u.At })
		},
		func() {
			r.applicationsErr = collect(s.Directory.Applications(ctx), func(a Application) { r.applications[foldClient(a.Client)] = a })
		},
		func() {
			r.principalsErr = collect(s.Directory.ServicePrincipals(ctx), func(a Application) { r.principals[foldClient(a.Client)] = a })
		},
	}
}

func collect[T any](all iter.Seq2[T, error], keep func(T)) error {
	for one, err := range all {
		if err != nil {
			return err
		}
		keep(one)
	}
	return nil
}

// Entra tells ids in small letters, and people write them as they like.
func foldClient(id runbook.ClientID) runbook.ClientID {
	return runbook.ClientID(strings.ToLower(strings.TrimSpace(string(id))))
}

func foldKey(id runbook.KeyID) runbook.KeyID { return runbook.KeyID(strings.ToLower(string(id))) }

// parameter is a parameter as it was read, or why it was not.
func (r *reading) parameter(name string) (runbook.Parameter, error) {
	if p, ok := r.parameters[name]; ok {
		return p, nil
	}
	if err := r.notRead[name]; err != nil {
		return runbook.Parameter{}, err
	}
	return runbook.Parameter{}, errNotSwept
}

// client is the application's id that a target's parameter holds.
func (r *reading) client(t runbook.Target) (runbook.ClientID, error) {
	p, err := r.parameter(t.ClientIDParameter)
	return foldClient(runbook.ClientID(p.Value.Reveal())), err // a client id is no secret
}

// parameters reads the parameters of all targets and, of those that hold secrets,
// by what they are encrypted.
func (s *Sweeper) parameters(ctx context.Context, r *reading) []func() {
	if s.Parameters == nil {
		return nil
	}
	var all, secret []string
	for _, t := range s.Targets {
		all = append(all, t.ClientIDParameter, t.SecretParameter, t.PendingParameter())
		secret = append(secret, t.SecretParameter)
	}
	var tasks []func()
	for names := range slices.Chunk(all, ParametersAtOnce) {
		tasks = append(tasks, func() { s.readParameters(ctx, r, names) })
	}
	for names := range slices.Chunk(secret, KMSKeysAtOnce) {
		tasks = append(tasks, func() {
			keys, err := s.Parameters.KMSKeys(ctx, names)
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, name := range names {
				if err != nil {
					r.kmsNotRead[name] = err
				} else if key, ok := keys[name]; ok {
					r.kmsKeys[name] = key
				}
			}
		})
	}
	return tasks
}

// readParameters reads some parameters at once. One that may not be read has AWS
// refuse all of them, so the rest is read in ever smaller parts.
func (s *Sweeper) readParameters(ctx context.Context, r *reading, names []string) {
	found, err := s.Parameters.ParametersNamed(ctx, names)
	if err != nil && len(names) > 1 && operation.IsPermanent(err) {
		half := len(names) / 2
		s.readParameters(ctx, r, names[:half])
		s.readParameters(ctx, r, names[half:])
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		for _, p := range found {
			r.parameters[p.Name] = p
		}
		err = runbook.ErrNoParameter // of those that were not found
	}
	for _, name := range names {
		if _, ok := r.parameters[name]; !ok {
			r.notRead[name] = err
		}
	}
}

func (s *Sweeper) certificates(ctx context.Context, r *reading) []func() {
	var tasks []func()
	for i, region := range s.Regions {
		if s.Certificates == nil {
			r.regionsErr[i] = errNotSwept
			continue
		}
		tasks = append(tasks, func() { r.certificates[i], r.regionsErr[i] = s.Certificates.Certificates(ctx, region.Name) })
	}
	return tasks
}

func (s *Sweeper) handshakes(ctx context.Context, r *reading, now time.Time) []func() {
	var tasks []func()
	for i, e := range s.Endpoints {
		if s.Handshakes == nil {
			r.handshakesErr[i] = errNotSwept
			continue
		}
		tasks = append(tasks, func() { r.handshakes[i], r.handshakesErr[i] = s.Handshakes.Handshake(ctx, e.Address, now) })
	}
	return tasks
}

// readOperations reads after everything else: an operation that makes a key
// meanwhile is then among them.
func (s *Sweeper) readOperations(ctx context.Context, r *reading) {
	if s.Operations == nil {
		r.operationsErr = errors.New("the bot's database is not at hand")
		return
	}
	r.operations = map[operation.SecretName][]operation.Operation{}
	for _, t := range s.Targets {
		found, err := s.Operations.OperationsOf(ctx, t.Name)
		if err != nil {
			r.operationsErr = err
			return
		}
		r.operations[t.Name] = found
	}
	r.operationsErr = s.readMarked(ctx, r)
}

// readMarked reads the operations whose mark is on a key of ours and that are not
// among the newest of its secret. One that does not exist explains nothing.
func (s *Sweeper) readMarked(ctx context.Context, r *reading) error {
	for _, t := range s.Targets {
		client, err := r.client(t)
		if err != nil {
			continue // told where the target is joined
		}
		for _, k := range slices.Concat(r.applications[client].Secrets, r.principals[client].Secrets) {
			marked, ok := strings.CutPrefix(k.Name, runbook.Mark(""))
			if !ok || slices.ContainsFunc(r.operations[t.Name], func(op operation.Operation) bool { return string(op.ID) == marked }) {
				continue
			}
			op, err := s.Operations.Operation(ctx, operation.ID(marked))
			if err != nil && !errors.Is(err, operation.ErrUnknown) {
				return err
			}
			if err == nil {
				r.operations[t.Name] = append(r.operations[t.Name], op)
			}
		}
	}
	return nil
}
