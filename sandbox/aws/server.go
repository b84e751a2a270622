// Package aws stands in for the parts of AWS that twokey touches: Systems
// Manager parameters, ECS services with their roll-outs, STS, CloudTrail's
// look-ups, IAM's policy simulation and ACM's certificates. It speaks AWS's own wire protocols, so
// that any SDK and the aws command work against it. README.md beside it says
// what is like AWS and what is not.
package aws

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Options says which account and region the stand-in plays. The zero value is
// an account of its own in eu-central-1, whose tasks are nothing but records.
type Options struct {
	Region  string // default "eu-central-1"
	Account string // twelve digits; default "123456789012"
	// Launcher runs the tasks' programs. Without one, a task is healthy as soon
	// as its secrets resolve.
	Launcher Launcher
}

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	cond     *conditions.Conditions
	region   string
	account  string
	launcher Launcher
	keys     *signingKeys

	mu           sync.Mutex
	settings     Settings
	parameters   map[string]*parameter
	kmsKeys      map[string]bool
	clusters     map[string]*cluster
	families     map[string][]*taskDefinition
	identities   map[string]Identity    // by access key id
	certificates map[string]Certificate // by ARN
	roles        map[string]*role
	events       []event
	throughput   map[string]*bucket
	stamped      time.Time // the latest that stamp gave out

	wake    chan struct{} // holds at most one wish for the scheduler to look
	stop    context.CancelFunc
	stopped chan struct{}
}

// signingKeys signs web identity tokens. They are made when first asked for,
// because an RSA key takes a noticeable part of a start.
type signingKeys struct {
	rsa   func() *rsa.PrivateKey
	ecdsa func() *ecdsa.PrivateKey
}

// New returns a stand-in without parameters or services, and starts its ECS
// scheduler. Close ends it.
func New(cond *conditions.Conditions, o Options) *Server {
	if o.Region == "" {
		o.Region = "eu-central-1"
	}
	if o.Account == "" {
		o.Account = "123456789012"
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		cond: cond, region: o.Region, account: o.Account, launcher: o.Launcher, keys: newSigningKeys(),
		settings:   DefaultSettings(),
		parameters: map[string]*parameter{}, kmsKeys: map[string]bool{defaultKey: true},
		clusters: map[string]*cluster{}, families: map[string][]*taskDefinition{},
		identities: map[string]Identity{}, certificates: map[string]Certificate{}, roles: map[string]*role{}, throughput: map[string]*bucket{},
		wake: make(chan struct{}, 1), stop: cancel, stopped: make(chan struct{}),
	}
	go s.schedule(ctx)
	return s
}

// Close ends the ECS scheduler and waits for it. Tasks that run keep running
// until their launcher is closed by its owner.
func (s *Server) Close() {
	s.stop()
	<-s.stopped
}

// Handler serves the AWS APIs, under the conditions of the sandbox. Paths do
// not matter: AWS's JSON and query protocols name the operation in the request.
func (s *Server) Handler() http.Handler {
	return s.cond.Handler(vendor{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost: // a ServeMux would redirect an empty path
			s.serve(w, r)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
			s.serveDiscovery(w)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/.well-known/jwks.json"):
			s.serveJWKS(w)
		default:
			http.NotFound(w, r)
		}
	}))
}

// stamp is now as AWS would date a change: to the millisecond, and later than
// every change before, so that "created after the write" can be told however
// fast the stand-in is. The caller holds the lock.
func (s *Server) stamp() time.Time {
	now := s.cond.Clock.Now().Truncate(time.Millisecond)
	// A clock that was turned back is followed; only a hurry is corrected.
	if ahead := s.stamped.Sub(now); ahead >= 0 && ahead < time.Second {
		now = s.stamped.Add(time.Millisecond)
	}
	s.stamped = now
	return now
}
