package mcp

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/twokey/twokey/operation"
)

// connection carries the requests of one check: it adds the token, bounds what
// is read, and remembers the last refusal, which the SDK tells as words only.
type connection struct {
	transport *http.Transport
	token     operation.Secret
	left      atomic.Int64 // bytes that may still be read
	refused   atomic.Int64 // the newest HTTP status that was not 2xx; 0: none
}

// RoundTrip implements http.RoundTripper.
func (c *connection) RoundTrip(request *http.Request) (*http.Response, error) {
	if !c.token.IsZero() {
		request = request.Clone(request.Context()) // a RoundTripper must not change its request
		request.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	c.refused.Store(0)
	if response.StatusCode < 200 || response.StatusCode > 299 {
		c.refused.Store(int64(response.StatusCode))
	}
	response.Body = &bounded{ReadCloser: response.Body, left: &c.left}
	return response, nil
}

// close ends the connections, so that nothing of the check is left running.
func (c *connection) close() { c.transport.CloseIdleConnections() }

// judge adds the HTTP status to err, and marks what another try would repeat.
func (c *connection) judge(err error) error {
	if c.left.Load() < 0 {
		return fmt.Errorf("%w: %w", errTooLarge, err)
	}
	switch status := int(c.refused.Load()); status {
	case 0:
		return err
	case http.StatusUnauthorized, http.StatusForbidden:
		return operation.Permanent(fmt.Errorf("%w (HTTP %d)", err, status))
	default:
		return fmt.Errorf("%w (HTTP %d)", err, status)
	}
}

// bounded reads a body until the check's bytes are used up.
type bounded struct {
	io.ReadCloser
	left *atomic.Int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left.Load() < 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p)
	if b.left.Add(-int64(n)) < 0 {
		return 0, errTooLarge
	}
	return n, err
}
