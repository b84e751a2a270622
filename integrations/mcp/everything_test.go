package mcp

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/runbook"
)

func rootsOf(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

// startEverything starts the MCP project's own test server and returns its
// endpoint, or skips.
func startEverything(t *testing.T) string {
	t.Helper()
	const program = "node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
	node := need.Node(t, "node")
	// The server cannot tell which port it chose, so one that was free is chosen for it.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	command := exec.CommandContext(t.Context(), node, program, "streamableHttp")
	command.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", address.Port))
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // killed on purpose
		if t.Failed() {
			t.Logf("server-everything said:\n%s", output.String())
		}
	})
	url := fmt.Sprintf("http://127.0.0.1:%d/mcp", address.Port)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if response, err := client.Get(url); err == nil { // any answer: it listens
			_ = response.Body.Close()
			return url
		}
	}
	t.Fatal("server-everything did not listen within 30 s")
	return ""
}

func TestAServerThatNobodyHereWrote(t *testing.T) {
	url := startEverything(t)
	servers := newServers(Options{})

	evidence, err := servers.CallTool(t.Context(), runbook.Endpoint{URL: url, Tool: "echo", Arguments: map[string]any{"message": "two keys"}, Expect: "Echo: two keys"})
	if err != nil || !strings.HasPrefix(evidence, "tool echo answered in ") || !strings.HasSuffix(evidence, "as expected") {
		t.Errorf("echo: %q, %v", evidence, err)
	}
	evidence, err = servers.CallTool(t.Context(), runbook.Endpoint{URL: url, Tool: "get-sum", Arguments: map[string]any{"a": 20, "b": 22}, Expect: "42"})
	if err != nil {
		t.Errorf("get-sum: %q, %v", evidence, err)
	}
	_, err = servers.CallTool(t.Context(), runbook.Endpoint{URL: url, Tool: "echo", Arguments: map[string]any{"message": "two keys"}, Expect: "three keys"})
	wantError(t, err, "does not contain", false)
	_, err = servers.CallTool(t.Context(), runbook.Endpoint{URL: url, Tool: "echo"})
	wantError(t, err, "message", false) // the server says which argument is missing
	_, err = servers.CallTool(t.Context(), runbook.Endpoint{URL: url, Tool: "no-such-tool"})
	wantError(t, err, "does not offer", true)
	_, err = servers.CallTool(t.Context(), runbook.Endpoint{URL: url + "/elsewhere", Tool: "echo"})
	wantError(t, err, "HTTP 404", false)
	_, err = servers.Healthy(t.Context(), runbook.Endpoint{Health: url})
	wantError(t, err, "HTTP 400", false) // it has no health URL
}
