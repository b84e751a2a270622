// Package conditions holds what all stand-ins share: the sandbox's clock, the
// log of calls that reached them, and the latency and faults set from outside.
package conditions

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Clock is the sandbox's time: real time plus what was jumped.
type Clock struct {
	mu     sync.Mutex
	offset time.Duration
	jumped chan struct{}
}

// NewClock returns a clock that shows real time.
func NewClock() *Clock { return &Clock{jumped: make(chan struct{})} }

// Now returns the sandbox's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// Advance moves the clock forward (or back, when d is negative).
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	close(c.jumped)
	c.jumped = make(chan struct{})
}

// Jumped returns a channel that is closed at the next jump, so that those who
// wait for an instant can look again.
func (c *Clock) Jumped() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jumped
}

// Kind is what goes wrong with a call.
type Kind string

// The faults that a stand-in can be told to show.
const (
	Refuse    Kind = "refuse"     // the vendor's own refusal, by Status and Code
	Throttle  Kind = "throttle"   // the vendor's rate limit, with RetryAfter
	ServerErr Kind = "error"      // the vendor's 500
	Timeout   Kind = "timeout"    // no answer until the caller gives up; no effect
	CutBefore Kind = "cut_before" // connection closed, no effect
	CutAfter  Kind = "cut_after"  // the effect happens, the answer is lost
	Nonsense  Kind = "nonsense"   // 200 with a body that is not the vendor's
	Slow      Kind = "slow"       // answered after Delay
)

// Fault is one rule: what happens to which calls.
type Fault struct {
	Operation  string        `json:"operation"`             // "ssm.PutParameter"; "ssm.*" is every call of a vendor's, "*" every call
	Kind       Kind          `json:"kind"`                  // what goes wrong
	Skip       int           `json:"skip,omitempty"`        // calls that pass before the fault begins
	Count      int           `json:"count,omitempty"`       // calls that it hits; 0 is until cleared
	Share      float64       `json:"share,omitempty"`       // of the calls that it hits, by chance, the same at each start; 0 is all
	Status     int           `json:"status,omitempty"`      // HTTP status of a refusal
	Code       string        `json:"code,omitempty"`        // the vendor's error code of a refusal
	RetryAfter int           `json:"retry_after,omitempty"` // seconds, of a throttle
	Delay      time.Duration `json:"delay,omitempty"`       // nanoseconds, of slow
}

// Call is one request that reached a stand-in.
type Call struct {
	At        time.Time     `json:"at"`        // the sandbox's time at arrival
	Arrived   time.Time     `json:"arrived"`   // real time at arrival
	Operation string        `json:"operation"` // "graph.addPassword"
	Status    int           `json:"status"`    // HTTP status answered; 0 if cut
	Fault     Kind          `json:"fault,omitempty"`
	Took      time.Duration `json:"took"` // nanoseconds
}

// Conditions are shared by all stand-ins of one sandbox.
type Conditions struct {
	Clock *Clock

	mu      sync.Mutex
	latency map[string]time.Duration
	faults  []*Fault
	calls   []Call
	count   map[string]int
	arrived map[string]int // calls by operation, those under way included
	halts   map[halt]func(*http.Request)
	tap     func(operation string, r *http.Request, body []byte)
	dice    *rand.Rand
}

// maxCalls bounds the log of calls; the counts go on.
const maxCalls = 20000

// New returns conditions without faults or latency.
func New(clock *Clock) *Conditions {
	return &Conditions{Clock: clock, latency: map[string]time.Duration{}, count: map[string]int{}, arrived: map[string]int{}, halts: map[halt]func(*http.Request){},
		dice: rand.New(rand.NewPCG(1, 2))}
}

// SetLatency has no call of operation answered earlier than d after it arrived, as
// its caller sees it: what the stand-in itself needs is part of d. "*" is every
// operation that has none of its own.
func (c *Conditions) SetLatency(operation string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency[operation] = d
}

// Tap shows every request that arrives, whole, before anything else happens to it.
func (c *Conditions) Tap(look func(operation string, r *http.Request, body []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tap = look
}

func (c *Conditions) tapped() func(string, *http.Request, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tap
}

// Add appends a fault rule; earlier rules are looked at first.
func (c *Conditions) Add(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &f)
}

// Clear removes all fault rules and latencies.
func (c *Conditions) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
	clear(c.latency)
}

// ClearFaults removes all fault rules and keeps the latencies.
func (c *Conditions) ClearFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// Faults returns the fault rules that are left, with what is left of their counts.
func (c *Conditions) Faults() []Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Fault, 0, len(c.faults))
	for _, f := range c.faults {
		out = append(out, *f)
	}
	return out
}

// Latencies returns the latency set for each operation.
func (c *Conditions) Latencies() map[string]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.latency)
}

// Calls returns the calls so far, oldest first.
func (c *Conditions) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Counts returns how often each operation was called.
func (c *Conditions) Counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]int, len(c.count))
	for k, v := range c.count {
		out[k] = v
	}
	return out
}

// next takes the fault for a call of operation, if there is one, and its latency.
func (c *Conditions) next(operation string) (*Fault, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.latency[operation]
	if !ok {
		d = c.latency["*"]
	}
	for i, f := range c.faults {
		if !f.means(operation) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Share > 0 && c.dice.Float64() >= f.Share {
			continue
		}
		hit := *f
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				c.faults = slices.Delete(c.faults, i, i+1)
			}
		}
		return &hit, d
	}
	return nil, d
}

// means reports whether the fault is about calls of operation.
func (f *Fault) means(operation string) bool {
	vendor, all := strings.CutSuffix(f.Operation, "*")
	return f.Operation == operation || all && strings.HasPrefix(operation, vendor)
}

func (c *Conditions) log(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[call.Operation]++
	if len(c.calls) >= maxCalls {
		c.calls = slices.Delete(c.calls, 0, maxCalls/10)
	}
	c.calls = append(c.calls, call)
}

// Vendor is how one stand-in names its calls and words its refusals.
type Vendor interface {
	// Operation names the call, such as "ssm.PutParameter". The request's body
	// has been buffered and may be read; it is restored afterwards.
	Operation(r *http.Request) string
	// WriteFault answers as the vendor answers a refusal, a throttle or an
	// internal error. Kind is one of Refuse, Throttle and ServerErr.
	WriteFault(w http.ResponseWriter, r *http.Request, f Fault)
}

// Handler applies latency and faults to every call of next and logs it.
func (c *Conditions) Handler(v Vendor, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		if err != nil {
			http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		operation := v.Operation(r)
		r.Body = io.NopCloser(bytes.NewReader(body))

		if tap := c.tapped(); tap != nil {
			tap(operation, r, body)
		}
		number := c.arrive(operation)
		c.halt(halt{operation, number, Before}, r)
		start := time.Now()
		call := Call{At: c.Clock.Now(), Arrived: start, Operation: operation}
		fault, latency := c.next(operation)
		rec := &answer{ResponseWriter: w, ctx: r.Context(), earliest: start.Add(latency)}
		if fault != nil && fault.Kind == Slow {
			rec.earliest = rec.earliest.Add(fault.Delay)
			rec.wait() // before the effect, too
		}
		// As the vendors do: answers tell the time that the vendor takes it to be.
		w.Header().Set("Date", c.Clock.Now().UTC().Format(http.TimeFormat))
		defer func() {
			call.Status, call.Took = rec.status, time.Since(start)
			c.log(call)
		}()
		if fault == nil || fault.Kind == Slow {
			c.serve(rec, r, next, halt{operation, number, After})
			rec.wait() // one that wrote nothing
			return
		}
		call.Fault = fault.Kind
		switch fault.Kind {
		case Timeout:
			<-r.Context().Done()
		case CutBefore:
			rec.wait()
			cut(w)
		case CutAfter:
			next.ServeHTTP(discard{http.Header{}}, r)
			c.halt(halt{operation, number, After}, r)
			rec.wait()
			cut(w)
		case Nonsense:
			rec.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(rec, "<html><body>Bad gateway, please try again</body></html>")
		case Throttle:
			if fault.RetryAfter > 0 {
				rec.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
			}
			v.WriteFault(rec, r, *fault)
		default:
			v.WriteFault(rec, r, *fault)
		}
	})
}

// cut closes the connection under the response.
func cut(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler) // HTTP/2 cannot be hijacked; net/http closes the stream quietly
}

// discard swallows the answer of a call whose effect stays.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// answer waits with its first byte until the call has taken its latency, and keeps
// its status.
type answer struct {
	http.ResponseWriter
	ctx      context.Context //nolint:containedctx // of the request, and no longer there than it
	earliest time.Time
	status   int
}

func (a *answer) wait() {
	left := time.Until(a.earliest)
	if left <= 0 {
		return
	}
	select {
	case <-time.After(left):
	case <-a.ctx.Done():
	}
}

func (a *answer) WriteHeader(code int) {
	a.wait()
	a.status = code
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Hijack is there for WebSockets, which ask for it by type.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.wait()
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

// Flush is there for streamed answers, which ask for it by type.
func (a *answer) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// WriteJSON answers with v as JSON, the way every stand-in does. Making the text of
// it is part of the call's latency.
func WriteJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever asked may be gone
}
