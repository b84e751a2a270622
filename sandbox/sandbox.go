// Package sandbox is the whole world of twokey on one machine: stand-ins for
// Slack, Entra, AWS and the MCP servers over their real protocols, with a small
// platform team living in them. README.md beside it says what each does and
// does not do, and how another program plays with it.
package sandbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/endpoint"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/mcp"
	"github.com/twokey/twokey/sandbox/page"
	"github.com/twokey/twokey/sandbox/servicenow"
	"github.com/twokey/twokey/sandbox/slack"
)

// Options say how a sandbox starts. The zero value is a whole platform on free
// ports.
type Options struct {
	Port    int // of plain HTTP on the loopback; 0: a free one
	TLSPort int // of Entra over TLS on the loopback; 0: a free one
	Tasks   int // of each ECS service; 0 means 2
	More    int // MCP servers in prod besides the four, called connector-01 and so on
	// ProbeEvery is how often it is looked whether every task still gets tokens;
	// 0 means every 20 ms, a negative one never.
	ProbeEvery time.Duration
	// App is what the page offers: the commands and shortcuts of the bot's manifest.
	App App
}

// Sandbox is a running sandbox. Its parts may be changed directly, as well as by
// the control API.
type Sandbox struct {
	Clock      *conditions.Clock
	Conditions *conditions.Conditions
	Slack      *slack.Server
	Entra      *entra.Server
	AWS        *aws.Server
	MCP        *mcp.Server
	ServiceNow *servicenow.Server
	Endpoint   *endpoint.Server // something else that speaks TLS
	Probe      *Probe
	Intruder   *Intruder // somebody with a stolen copy of a secret
	Team       Team      // who and what was seeded

	app     App
	started time.Time // by the sandbox's clock
	url     string
	tlsURL  string
	ca      []byte
	inside  *http.Client // the MCP servers' way to Entra
	servers [2]*http.Server
	serving sync.WaitGroup
}

// Start opens the listeners, seeds the platform and returns when all its
// tasks are running. Close ends it; ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	plain, err := listen(o.Port)
	if err != nil {
		return nil, err
	}
	secure, err := listen(o.TLSPort)
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	tlsConfig, ca, err := entra.NewTLS()
	if err != nil {
		return nil, errors.Join(err, plain.Close(), secure.Close())
	}
	clock := conditions.NewClock()
	other, err := endpoint.Start(clock)
	if err != nil {
		return nil, errors.Join(err, plain.Close(), secure.Close())
	}
	s := assemble(clock, plain.Addr().String(), secure.Addr().String(), ca)
	s.app, s.Endpoint = o.App, other
	if len(o.App.Scopes) > 0 {
		s.Slack.SetScopes(o.App.Scopes...)
	}
	s.serve(0, plain, s.handler())
	s.serve(1, tls.NewListener(secure, tlsConfig), s.Entra.Handler())
	if o.Tasks == 0 {
		o.Tasks = 2
	}
	if s.Team, err = seed(ctx, s, o); err != nil {
		s.Close()
		return nil, fmt.Errorf("seed the sandbox: %w", err)
	}
	s.Probe.begin(o.ProbeEvery)
	return s, nil
}

// listen opens a port of the loopback. Nobody else may reach the sandbox: it
// asks for no password.
func listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("open a port for the sandbox: %w", err)
	}
	return l, nil
}

// assemble makes the stand-ins and ties them together.
func assemble(clock *conditions.Clock, address, tlsAddress string, ca []byte) *Sandbox {
	cond := conditions.New(clock)
	s := &Sandbox{Clock: clock, Conditions: cond, started: clock.Now(), url: "http://" + address, tlsURL: "https://" + tlsAddress, ca: ca}
	s.Slack = slack.New(cond)
	s.Entra = entra.New(cond, tenant)
	s.inside = s.Client()
	s.MCP = mcp.New(cond, mcp.Options{Login: s.tlsURL, Tenant: tenant, Client: s.inside})
	s.AWS = aws.New(cond, aws.Options{Region: region, Account: account, Launcher: s.MCP})
	s.ServiceNow = servicenow.New(cond)
	s.Intruder = &Intruder{sandbox: s}
	s.Probe = newProbe(s.MCP.Running, s.Entra.Admits, clock.Now)
	return s
}

// serve starts one of the two servers.
func (s *Sandbox) serve(i int, l net.Listener, h http.Handler) {
	s.servers[i] = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		// Clients that hang up are what the sandbox is for; they are no news.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s.serving.Go(func() { _ = s.servers[i].Serve(l) }) // ends with ErrServerClosed when the sandbox closes
}

// Close ends everything and waits for it. Calls under way are cut.
func (s *Sandbox) Close() {
	s.Intruder.Stop()
	s.Probe.end()
	s.AWS.Close()
	s.Endpoint.Close()
	for _, server := range s.servers {
		_ = server.Close() // nobody can be told any more
	}
	s.Slack.Close()
	s.MCP.Close()
	s.inside.CloseIdleConnections()
	s.serving.Wait()
}

// URL is the base of everything over plain HTTP, without a slash at the end.
func (s *Sandbox) URL() string { return s.url }

// EntraURL is the base of Entra's login and of Microsoft Graph, over TLS.
func (s *Sandbox) EntraURL() string { return s.tlsURL }

// CA is the certificate that clients of [Sandbox.EntraURL] must trust, in PEM.
func (s *Sandbox) CA() []byte { return s.ca }

// Client returns a new HTTP client that trusts the sandbox.
func (s *Sandbox) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.ca)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

// handler serves the plain listener.
func (s *Sandbox) handler() http.Handler {
	mux := http.NewServeMux()
	mount := func(prefix string, h http.Handler) { mux.Handle(prefix+"/", http.StripPrefix(prefix, h)) }
	mount("/slack", s.Slack.Handler())
	mount("/mcp", s.MCP.Handler())
	mount("/servicenow", s.ServiceNow.Handler())
	mount("/_sandbox", s.control())
	mux.Handle("/", page.Handler())
	mount("/aws", s.AWS.Handler())
	// Some AWS clients leave the last slash out, and a POST does not survive the redirect.
	mux.Handle("/aws", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/"
		s.AWS.Handler().ServeHTTP(w, r)
	}))
	return mux
}
