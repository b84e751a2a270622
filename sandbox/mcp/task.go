package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/twokey/twokey/sandbox/conditions"
)

// healthTimeout bounds one health check, token request included.
const healthTimeout = 5 * time.Second

// task is one running MCP server.
type task struct {
	id       string
	service  Service
	started  time.Time
	settings func() Settings
	tokens   *tokens
	protocol http.Handler // the MCP endpoint

	mu    sync.Mutex
	sick  string // why the last look found it unhealthy
	calls int
}

func (s *Server) newTask(id string, service Service, environment map[string]string) *task {
	t := &task{id: id, service: service, started: s.cond.Clock.Now(), settings: func() Settings { return s.settingsOf(service) }}
	t.tokens = newTokens(s.options, environment, s.cond.Clock.Now, func() time.Duration { return t.settings().TokenLifetime })
	open, hidden := t.newServer(catalogue(service.Server)), t.newServer(nil)
	// Stateless, because the load balancer sends each request to another task.
	t.protocol = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server {
		if t.settings().ToolsHidden {
			return hidden
		}
		return open
	}, &sdk.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true})
	return t
}

func (t *task) newServer(tools []tool) *sdk.Server {
	server := sdk.NewServer(&sdk.Implementation{Name: t.service.Server + "-mcp", Version: "1.4.2"}, nil)
	for _, tool := range tools {
		sdk.AddTool(server, &sdk.Tool{Name: tool.name, Description: tool.description, Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}},
			func(ctx context.Context, _ *sdk.CallToolRequest, in input) (*sdk.CallToolResult, any, error) {
				text, err := t.call(ctx, tool, in)
				if err != nil {
					return nil, nil, err // the SDK answers it as a result with isError
				}
				return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}, nil, nil
			})
	}
	return server
}

// call answers one tool call, which needs a valid token.
func (t *task) call(ctx context.Context, tool tool, in input) (string, error) {
	t.mu.Lock()
	t.calls++
	t.mu.Unlock()
	settings := t.settings()
	select {
	case <-time.After(settings.Slow):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err := t.tokens.hold(ctx); err != nil {
		t.note(err)
		return "", fmt.Errorf("%s failed: %w", tool.name, err)
	}
	switch {
	case settings.ToolError != "":
		return "", errors.New(settings.ToolError)
	case settings.ToolText != "":
		return settings.ToolText, nil
	}
	return tool.answer(in), nil
}

// healthy looks whether the server could work now.
func (t *task) healthy(ctx context.Context) error {
	err := t.tokens.hold(ctx)
	if t.settings().Unhealthy {
		err = errors.New("set to be unhealthy")
	}
	t.note(err)
	return err
}

func (t *task) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sick = ""
	if err != nil {
		t.sick = err.Error()
	}
}

// trouble tells why the last look found the server unhealthy; empty: it is well.
func (t *task) trouble() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sick
}

func (t *task) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if err := t.healthy(ctx); err != nil {
		conditions.WriteJSON(w, http.StatusServiceUnavailable, "application/json", map[string]string{"status": "unavailable", "reason": err.Error()})
		return
	}
	conditions.WriteJSON(w, http.StatusOK, "application/json", map[string]string{"status": "ok", "server": t.service.Server})
}
