package mcp

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/twokey/twokey/sandbox/conditions"
)

// vendor names MCP's calls and words its refusals.
type vendor struct{}

// message is the part of a JSON-RPC message that matters here.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
}

func read(r *http.Request) message {
	var m message
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &m) != nil {
		return message{} // not a call: the SDK will refuse it in its own words
	}
	return m
}

// Operation implements [conditions.Vendor]: "mcp.tools/call", "mcp.health", …
func (vendor) Operation(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/health"):
		return "mcp.health"
	case r.Method == http.MethodGet:
		return "mcp.stream"
	case r.Method == http.MethodDelete:
		return "mcp.close"
	}
	return "mcp." + cmp.Or(read(r).Method, "unknown")
}

// jsonRPCServerError is the first of JSON-RPC's numbers that a server may give
// its own meaning.
const jsonRPCServerError = -32000

// WriteFault implements [conditions.Vendor].
func (vendor) WriteFault(w http.ResponseWriter, r *http.Request, f conditions.Fault) {
	status, text := cmp.Or(f.Status, http.StatusForbidden), cmp.Or(f.Code, "refused")
	if f.Kind == conditions.Throttle {
		status, text = http.StatusTooManyRequests, "too many requests"
	}
	if f.Kind == conditions.ServerErr {
		status, text = http.StatusInternalServerError, "internal error"
	}
	if strings.HasSuffix(r.URL.Path, "/health") {
		http.Error(w, text, status)
		return
	}
	id := read(r).ID
	if id == nil {
		id = json.RawMessage("null")
	}
	conditions.WriteJSON(w, status, "application/json", map[string]any{
		"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": jsonRPCServerError, "message": text},
	})
}
