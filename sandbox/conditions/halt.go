package conditions

import (
	"bytes"
	"net/http"
)

// Moment is where in a call something can be done.
type Moment string

// The moments of a call.
const (
	Before Moment = "before" // it has arrived, and nothing has happened yet
	After  Moment = "after"  // its effect is there, and the answer is not sent yet
)

// halt is one moment of one call.
type halt struct {
	operation string
	number    int // among the calls of the operation, from 1 in the order in which they arrive
	moment    Moment
}

// At has do run at a moment of the number-th call of operation, counted from 1.
// The call waits meanwhile. An answer that is streamed or taken over, as a
// WebSocket is, has no moment after.
func (c *Conditions) At(operation string, number int, moment Moment, do func(*http.Request)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halts[halt{operation, number, moment}] = do
}

// Arrived returns how many calls of operation have arrived, those under way
// included.
func (c *Conditions) Arrived(operation string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrived[operation]
}

// arrive counts a call that has arrived.
func (c *Conditions) arrive(operation string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived[operation]++
	return c.arrived[operation]
}

// take returns what is to be done at a moment, once.
func (c *Conditions) take(h halt) func(*http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do := c.halts[h]
	delete(c.halts, h)
	return do
}

func (c *Conditions) halt(h halt, r *http.Request) {
	if do := c.take(h); do != nil {
		do(r)
	}
}

// serve answers a call. When something is to be done after its effect, the answer
// is held back for it.
func (c *Conditions) serve(w http.ResponseWriter, r *http.Request, next http.Handler, after halt) {
	do := c.take(after)
	if do == nil {
		next.ServeHTTP(w, r)
		return
	}
	held := &heldAnswer{header: http.Header{}, status: http.StatusOK}
	next.ServeHTTP(held, r)
	do(r)
	for name, values := range held.header {
		w.Header()[name] = values
	}
	w.WriteHeader(held.status)
	_, _ = w.Write(held.body.Bytes()) // whoever asked may be gone, on purpose
}

// heldAnswer keeps an answer.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heldAnswer) Header() http.Header         { return h.header }
func (h *heldAnswer) WriteHeader(status int)      { h.status = status }
func (h *heldAnswer) Write(b []byte) (int, error) { return h.body.Write(b) }
