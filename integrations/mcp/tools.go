package mcp

import (
	"context"
	"fmt"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/twokey/twokey/discovery"
)

var _ discovery.MCP = (*Servers)(nil)

// Tools implements discovery.MCP. It calls none of them.
func (s *Servers) Tools(ctx context.Context, url string) ([]discovery.Tool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	session, connection, err := s.session(ctx, url)
	if err != nil {
		return nil, err
	}
	defer connection.close()
	defer func() { _ = session.Close() }() // the answer is in; how the server takes the goodbye changes nothing
	var out []discovery.Tool
	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, connection.judge(fmt.Errorf("list the tools: %w", err))
		}
		out = append(out, discovery.Tool{Name: tool.Name, ReadOnly: tool.Annotations != nil && tool.Annotations.ReadOnlyHint})
	}
	return out, nil
}

// session initializes a session on connections of its own. The caller closes both.
func (s *Servers) session(ctx context.Context, url string) (*sdk.ClientSession, *connection, error) {
	client, connection := s.connect(maxSession)
	session, err := sdk.NewClient(&sdk.Implementation{Name: "twokey", Version: s.options.Version}, nil).
		Connect(ctx, &sdk.StreamableClientTransport{
			Endpoint: url, HTTPClient: client,
			MaxRetries:           -1,   // the step asks again as a whole; a silent retry would only blur the evidence
			DisableStandaloneSSE: true, // nothing is expected of the server but answers
			MaxEventSize:         maxSession,
		}, nil)
	if err != nil {
		connection.close()
		return nil, nil, connection.judge(fmt.Errorf("initialize an MCP session: %w", err))
	}
	return session, connection, nil
}
