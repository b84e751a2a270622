package store

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// answerTime is how long PostgreSQL may be silent when it was asked something. When
	// its machine is lost, nobody says so: without a limit the bot would wait for ever,
	// also when another machine has long taken over.
	answerTime = 10 * time.Second
	// connectTime bounds opening a connection, signing in included.
	connectTime = 5 * time.Second
)

// patience is how long the connections to PostgreSQL wait for an answer: for ever, until
// there is a limit.
type patience struct{ limit atomic.Int64 }

// dialer limits the connections that dial opens.
func (p *patience) dialer(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatient{Conn: conn, patience: p}, nil
	}
}

// impatient is a connection that is read only while an answer is waited for.
type impatient struct {
	net.Conn
	patience *patience

	mu    sync.Mutex
	bound bool // its user has set a deadline
}

// Read implements net.Conn.
func (c *impatient) Read(p []byte) (int, error) {
	if err := c.limit(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatient) limit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := time.Duration(c.patience.limit.Load())
	if c.bound || limit == 0 {
		return nil
	}
	return c.Conn.SetReadDeadline(time.Now().Add(limit))
}

// SetDeadline implements net.Conn. It is how a call is ended whose context is over.
func (c *impatient) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound = !t.IsZero()
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *impatient) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound = !t.IsZero()
	return c.Conn.SetReadDeadline(t)
}
