// Package mcp asks MCP servers whether they work: their health URL, and one
// tool call through the protocol itself.
package mcp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Options say how the servers are asked.
type Options struct {
	// Timeout bounds one health check or one whole tool call; 0 means 30 seconds.
	Timeout time.Duration
	// Token goes as "Authorization: Bearer …" with every request; zero: none does.
	Token operation.Secret
	// Roots are the certificates that are trusted; nil means the system's.
	Roots *x509.CertPool
	// Version is how the client names its own version to the servers.
	Version string
}

// Servers asks MCP servers. It meets [runbook.Servers]. The zero value is not
// usable; see [New].
type Servers struct {
	options Options
	now     func() time.Time
}

var _ runbook.Servers = (*Servers)(nil)

const (
	defaultTimeout = 30 * time.Second
	// maxHealth is how much of a health answer is read, in bytes.
	maxHealth = 64 << 10
	// maxSession is how much all answers of one tool call may have, in bytes.
	maxSession = 8 << 20
)

// New returns Servers. now times the calls for the evidence.
func New(options Options, now func() time.Time) *Servers {
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	return &Servers{options: options, now: now}
}

// Healthy asks the health URL, which must answer 2xx, and returns a sentence of
// evidence. An endpoint without a health URL has nothing to ask, and the
// sentence says so. 401 and 403 are marked with [operation.Permanent].
func (s *Servers) Healthy(ctx context.Context, e runbook.Endpoint) (string, error) {
	if e.Health == "" {
		return "no health URL is configured; not asked", nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	client, connection := s.connect(maxHealth)
	defer connection.close()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.Health, nil)
	if err != nil {
		return "", operation.Permanent(fmt.Errorf("ask the health URL: %w", err))
	}
	start := s.now()
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask the health URL: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // nothing was written, so nothing can be lost
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("read the health answer: %w", err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return "", connection.judge(fmt.Errorf("the health URL answered HTTP %d: %q", response.StatusCode, s.excerpt(string(body))))
	}
	return fmt.Sprintf("health answered HTTP %d in %s", response.StatusCode, milliseconds(s.now().Sub(start))), nil
}

// CallTool initializes a session, checks that the tool is listed, calls it and
// compares the text of its result. It returns a sentence of evidence. A tool
// that is not listed, 401 and 403 are marked with [operation.Permanent].
func (s *Servers) CallTool(ctx context.Context, e runbook.Endpoint) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	session, connection, err := s.session(ctx, e.URL)
	if err != nil {
		return "", err
	}
	defer connection.close()
	defer func() { _ = session.Close() }() // the answer is in; how the server takes the goodbye changes nothing
	if err := s.listed(ctx, session, e.Tool); err != nil {
		return "", connection.judge(err)
	}
	start := s.now()
	result, err := session.CallTool(ctx, &sdk.CallToolParams{Name: e.Tool, Arguments: e.Arguments})
	if err != nil {
		return "", connection.judge(fmt.Errorf("call tool %s: %w", e.Tool, err))
	}
	took := s.now().Sub(start)
	if err := s.compare(e, result); err != nil {
		return "", err
	}
	if e.Expect == "" {
		return fmt.Sprintf("tool %s answered in %s without error", e.Tool, milliseconds(took)), nil
	}
	return fmt.Sprintf("tool %s answered in %s, as expected", e.Tool, milliseconds(took)), nil
}

// listed checks that the server offers the tool.
func (s *Servers) listed(ctx context.Context, session *sdk.ClientSession, name string) error {
	var offered []string
	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			return fmt.Errorf("list the tools: %w", err)
		}
		if tool.Name == name {
			return nil
		}
		offered = append(offered, tool.Name)
	}
	if len(offered) == 0 {
		return operation.Permanent(fmt.Errorf("the server offers no tool, and so not %q", name))
	}
	return operation.Permanent(fmt.Errorf("the server does not offer the tool %q, but %s", name, s.excerpt(strings.Join(offered, ", "))))
}

// compare checks the result of the tool call against what is expected.
func (s *Servers) compare(e runbook.Endpoint, result *sdk.CallToolResult) error {
	text := text(result)
	switch {
	case result.IsError:
		return fmt.Errorf("tool %s failed: %q", e.Tool, s.excerpt(text))
	case !strings.Contains(text, e.Expect):
		return fmt.Errorf("tool %s answered %q, which does not contain %q", e.Tool, s.excerpt(text), e.Expect)
	}
	return nil
}

// text joins the text content of a result.
func text(result *sdk.CallToolResult) string {
	var parts []string
	for _, content := range result.Content {
		if t, ok := content.(*sdk.TextContent); ok {
			parts = append(parts, t.Text)
		}
	}
	return strings.Join(parts, "\n")
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// connect returns a client with connections of its own, so that each check goes
// through the load balancer anew. All its answers together may have limit bytes.
func (s *Servers) connect(limit int64) (*http.Client, *connection) {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: s.options.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
	}
	c := &connection{transport: transport, token: s.options.Token}
	c.left.Store(limit)
	return &http.Client{
		Transport: c,
		// A redirect, often to a sign-in page, is not the answer of the server
		// that was asked; and the token must not follow it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, c
}

// errTooLarge ends the reading of answers that are larger than any honest one.
var errTooLarge = errors.New("the server's answers are too large")
