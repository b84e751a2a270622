// Package entra stands in for Microsoft Entra ID: the token endpoint that apps
// sign in at, and the part of Microsoft Graph that manages their secrets. It is
// a server with state, Entra's error numbers and Entra's bad habits, which can
// be set from outside.
package entra

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// graphResource is the audience of tokens for Microsoft Graph.
const graphResource = "https://graph.microsoft.com"

// Behaviour is how badly this tenant's directory behaves. All times are in
// seconds of the sandbox's clock, WriteTakes in real seconds.
type Behaviour struct {
	// Learn has one entry a replica of the token endpoint: how long it takes
	// until that replica knows a new secret. Replicas answer in turn.
	Learn []float64 `json:"learn"`
	// Forget is how long the replica still accepts a removed secret.
	Forget []float64 `json:"forget"`
	// Read has one entry a replica of Graph: how old what it reads is.
	Read []float64 `json:"read"`
	// WriteTakes is how long a write holds the tenant; a second write within
	// that time is refused.
	WriteTakes float64 `json:"write_takes"`
	// ConflictStatus is the status of that refusal, 409 or 400. 0 is 409.
	ConflictStatus int `json:"conflict_status"`
	// LogDelay is how long sign-ins and audits take to appear in the logs.
	LogDelay float64 `json:"log_delay"`
	// Unlicensed is a tenant without a P1 or P2 licence: its sign-ins cannot be
	// read, and its audits go back 7 days.
	Unlicensed bool `json:"unlicensed"`
}

// Server is one tenant.
type Server struct {
	cond    *conditions.Conditions
	tenant  string
	keys    *signingKey
	routes  map[string]route
	handler http.Handler

	mu            sync.Mutex
	applications  map[string]*application // by client id
	inOrder       []*application          // the same by object id; nil when one was added since
	uses          map[string]*use         // by key id: when it last got a token
	usesInOrder   []*use                  // of the first use
	users         map[string]*User        // by object id
	trusted       map[string][]any        // public keys by issuer of federated credentials
	defaultPolicy Policy
	behaviour     Behaviour
	lateTimeouts  map[string]int // by operation: writes that still get a 504 after their effect
	writing       bool
	turn          int // which replica answers next
	tokens        []Token
	signIns       []signIn
	audits        []audit
}

// New returns an empty tenant with that id, whose state can then be seeded.
func New(cond *conditions.Conditions, tenant string) *Server {
	s := &Server{
		cond:         cond,
		tenant:       tenant,
		keys:         &signingKey{},
		applications: map[string]*application{},
		uses:         map[string]*use{},
		users:        map[string]*User{},
		trusted:      map[string][]any{},
		lateTimeouts: map[string]int{},
	}
	s.routes = graphRoutes()
	s.handler = cond.Handler(vendor{s}, http.HandlerFunc(s.serve))
	return s
}

// Tenant returns the tenant's id.
func (s *Server) Tenant() string { return s.tenant }

// Handler serves the token endpoint and Microsoft Graph, both from the root:
// /{tenant}/oauth2/v2.0/token, /v1.0/… and /beta/….
func (s *Server) Handler() http.Handler { return s.handler }

// SetBehaviour replaces how badly the directory behaves.
func (s *Server) SetBehaviour(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b
}

// TimeOutAfter lets the next count writes called operation, such as
// "graph.addPassword", take effect and answers them with 504.
func (s *Server) TimeOutAfter(operation string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lateTimeouts[operation] = count
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if isGraph(r.URL.Path) {
		s.serveGraph(w, r)
		return
	}
	s.serveLogin(w, r)
}

func (s *Server) now() time.Time { return s.cond.Clock.Now() }

func isGraph(path string) bool {
	return strings.HasPrefix(path, "/v1.0/") || strings.HasPrefix(path, "/beta/")
}

// vendor names calls and words faults for the conditions.
type vendor struct{ s *Server }

// Operation implements [conditions.Vendor].
func (v vendor) Operation(r *http.Request) string {
	if !isGraph(r.URL.Path) {
		return loginOperation(r.URL.Path)
	}
	if route, ok := v.s.routes[parseAddress(r).route(r.Method)]; ok {
		return route.operation
	}
	return "graph.unknown"
}

// WriteFault implements [conditions.Vendor].
func (v vendor) WriteFault(w http.ResponseWriter, r *http.Request, f conditions.Fault) {
	if isGraph(r.URL.Path) {
		v.s.writeGraphError(w, r, graphFault(f))
		return
	}
	v.s.writeRefusal(w, r, loginFault(f))
}

func graphFault(f conditions.Fault) *graphError {
	e := &graphError{status: f.Status, code: f.Code, message: "The sandbox was told to refuse this."}
	switch f.Kind {
	case conditions.Throttle:
		e.status, e.code, e.message = http.StatusTooManyRequests, "TooManyRequests", "Too many requests."
	case conditions.Refuse:
		e.fill(http.StatusBadRequest, "Request_BadRequest")
	default:
		e.fill(http.StatusInternalServerError, "InternalServerError")
	}
	return e
}

// fill sets what the fault left open.
func (e *graphError) fill(status int, code string) {
	if e.status == 0 {
		e.status = status
	}
	if e.code == "" {
		e.code = code
	}
}

func loginFault(f conditions.Fault) *refusal {
	switch f.Kind {
	case conditions.Throttle:
		return refuse(tenantThrottled)
	case conditions.Refuse:
		code, err := strconv.Atoi(f.Code)
		if err != nil {
			code = invalidSecret
		}
		e := refuse(code)
		if f.Status != 0 {
			e.status = f.Status
		}
		return e
	default:
		e := refuse(transientError)
		if f.Status != 0 {
			e.status = f.Status
		}
		return e
	}
}
