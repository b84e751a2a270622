// Package mcp stands in for the platform's MCP servers. They are real servers
// over streamable HTTP, one for each ECS task: each takes its client id and
// secret from its environment when it starts, gets tokens with them from the
// login endpoint, and fails when the secret is dead and the last token ran out.
// In front of each service's tasks stands a load balancer.
package mcp

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
)

var _ aws.Launcher = (*Server)(nil)

// The environment variables that a server reads when it starts.
const (
	ClientIDVariable     = "CLIENT_ID"
	ClientSecretVariable = "CLIENT_SECRET"
	TenantVariable       = "TENANT_ID"
)

// Options say where the servers get their tokens.
type Options struct {
	Login  string       // base URL of the login endpoint, "https://127.0.0.1:8443"
	Tenant string       // for tasks whose environment names none
	Client *http.Client // trusts the login endpoint's certificate
}

// Service is one target group of the load balancer: which ECS service answers
// at /<environment>/<server>.
type Service struct {
	Environment string `json:"environment"` // "prod"
	Server      string `json:"server"`      // "sharepoint"; chooses the tools
	Cluster     string `json:"cluster"`     // ECS cluster
	Service     string `json:"service"`     // ECS service
}

// Path is where the load balancer serves the service, below the stand-in's prefix.
func (s Service) Path() string { return "/" + s.Environment + "/" + s.Server }

// Settings are what was set from outside for one service.
type Settings struct {
	ToolText      string        // what every tool answers instead of its result
	ToolError     string        // what every tool fails with
	ToolsHidden   bool          // no tool is listed and none can be called
	Unhealthy     bool          // health checks fail
	Slow          time.Duration // every tool call takes that much longer
	TokenLifetime time.Duration // caps how long a token is used; 0: as long as Entra says
}

// Server runs all MCP servers and the load balancer in front of them.
type Server struct {
	cond    *conditions.Conditions
	options Options
	stop    context.CancelFunc
	life    context.Context // ends with Close; the first token requests of new tasks end with it
	warming sync.WaitGroup

	mu       sync.Mutex
	services []Service
	settings map[Service]Settings
	tasks    map[string]*task
	turn     map[Service]int // round robin
}

// New returns a Server without services.
func New(cond *conditions.Conditions, options Options) *Server {
	life, stop := context.WithCancel(context.Background())
	return &Server{
		cond: cond, options: options, life: life, stop: stop,
		settings: map[Service]Settings{}, tasks: map[string]*task{}, turn: map[Service]int{},
	}
}

// Close stops all tasks and waits for their first token requests.
func (s *Server) Close() {
	s.stop()
	s.warming.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tasks)
}

// AddService puts a service behind the load balancer.
func (s *Server) AddService(service Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services = append(s.services, service)
}

// Set replaces the settings of the services with that environment and server;
// an empty name means all. It returns how many services that were.
func (s *Server) Set(environment, server string, settings Settings) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, service := range s.services {
		if (environment == "" || service.Environment == environment) && (server == "" || service.Server == server) {
			s.settings[service] = settings
			n++
		}
	}
	return n
}

// Clear removes all settings.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.settings)
}

func (s *Server) settingsOf(service Service) Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings[service]
}

// find returns the service for which match holds.
func (s *Server) find(match func(Service) bool) (Service, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.services, match)
	if i < 0 {
		return Service{}, false
	}
	return s.services[i], true
}

// Start implements [aws.Launcher]: it starts the MCP server of one ECS task and
// lets it ask for its first token. A service that is not behind the load
// balancer is an error.
func (s *Server) Start(_ context.Context, spec aws.TaskSpec) error {
	service, ok := s.find(func(v Service) bool { return v.Cluster == spec.Cluster && v.Service == spec.Service })
	if !ok {
		return fmt.Errorf("start task %s: no MCP server is known for service %s/%s", spec.ID, spec.Cluster, spec.Service)
	}
	t := s.newTask(spec.ID, service, spec.Environment)
	s.mu.Lock()
	s.tasks[spec.ID] = t
	s.mu.Unlock()
	s.warming.Go(func() {
		ctx, cancel := context.WithTimeout(s.life, healthTimeout)
		defer cancel()
		_ = t.healthy(ctx) // a server whose first request fails stays up and is unhealthy
	})
	return nil
}

// Stop implements [aws.Launcher]: the load balancer sends the task nothing more.
// Calls under way still end.
func (s *Server) Stop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, id)
}

// Healthy implements [aws.Launcher]: it is the container's health check. A task that is gone is not healthy.
func (s *Server) Healthy(id string) bool {
	s.mu.Lock()
	t, ok := s.tasks[id]
	s.mu.Unlock()
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(s.life, healthTimeout)
	defer cancel()
	return t.healthy(ctx) == nil
}

// target picks the task that answers the next call, in turns. Like a real load
// balancer it leaves out those that were unhealthy when last looked at, unless
// all were.
func (s *Server) target(service Service) (*task, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all, well []*task
	for _, t := range s.tasks {
		if t.service != service {
			continue
		}
		all = append(all, t)
		if t.trouble() == "" {
			well = append(well, t)
		}
	}
	if len(well) == 0 {
		well = all
	}
	if len(well) == 0 {
		return nil, false
	}
	slices.SortFunc(well, func(a, b *task) int { return cmp.Compare(a.id, b.id) })
	s.turn[service]++
	return well[s.turn[service]%len(well)], true
}

// Handler serves /<environment>/<server> and /<environment>/<server>/health.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{environment}/{server}", s.balance(func(t *task) http.Handler { return t.protocol }))
	mux.HandleFunc("GET /{environment}/{server}/health", s.balance(func(t *task) http.Handler { return http.HandlerFunc(t.serveHealth) }))
	return s.cond.Handler(vendor{}, mux)
}

// balance hands a request to one task of the service named in the path.
func (s *Server) balance(part func(*task) http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		environment, server := r.PathValue("environment"), r.PathValue("server")
		service, ok := s.find(func(v Service) bool { return v.Environment == environment && v.Server == server })
		if !ok {
			http.NotFound(w, r)
			return
		}
		t, ok := s.target(service)
		if !ok {
			http.Error(w, "503 Service Temporarily Unavailable: no task is registered", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Served-By", t.id)
		part(t).ServeHTTP(w, r)
	}
}

// Credentials are what one running task got from its environment.
type Credentials struct {
	Service      Service
	Task         string
	ClientID     string
	ClientSecret string
}

// Running returns the credentials of all running tasks, by service and task.
func (s *Server) Running() []Credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Credentials
	for _, id := range slices.Sorted(maps.Keys(s.tasks)) {
		t := s.tasks[id]
		all = append(all, Credentials{Service: t.service, Task: id, ClientID: t.tokens.config.ClientID, ClientSecret: t.tokens.config.ClientSecret})
	}
	slices.SortStableFunc(all, func(a, b Credentials) int { return cmp.Compare(a.Service.Path(), b.Service.Path()) })
	return all
}
