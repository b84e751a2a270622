package slack

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Slack's bounds of Socket Mode.
const (
	maxConnections = 10
	maxAck         = 20 << 10 // bytes; an acknowledgement of that size or more is dropped
	ticketLife     = 30 * time.Second
	drain          = 10 * time.Second // between a disconnect frame and the end
	debugLife      = 360 * time.Second
	maxEnvelopes   = 20000 // remembered; the oldest go first
)

// ticket is the right to open one socket once.
type ticket struct{ made time.Time }

func (c *call) openConnection() (object, error) {
	if !c.settings.SocketMode {
		return nil, refuse("internal_error")
	}
	id := randomHex(16)
	c.tickets[id] = &ticket{made: time.Now()}
	address := "ws" + strings.TrimPrefix(c.base, "http") + "/socket/?ticket=" + id + "&app_id=" + c.app.ID
	return object{"url": address}, nil
}

// connection is one open socket.
type connection struct {
	server *Server
	id     int
	opened time.Time
	ws     *websocket.Conn
	out    chan object
	done   chan struct{}
	once   sync.Once
	life   time.Duration

	// Guarded by the server's lock.
	deaf     bool // half open: nothing gets through either way
	draining bool
	sent     int
	acked    int
}

// Socket is an open connection as the state shows it.
type Socket struct {
	ID       int       `json:"id"`
	Opened   time.Time `json:"opened"` // real time
	HalfOpen bool      `json:"half_open,omitempty"`
	Draining bool      `json:"draining,omitempty"`
	Sent     int       `json:"sent"`
	Acked    int       `json:"acked"`
}

func (s *Server) sockets() []Socket {
	out := []Socket{}
	for _, c := range s.conns {
		out = append(out, Socket{ID: c.id, Opened: c.opened, HalfOpen: c.deaf, Draining: c.draining, Sent: c.sent, Acked: c.acked})
	}
	return out
}

// Sockets returns the open connections.
func (s *Server) Sockets() []Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sockets()
}

// serveSocket opens a socket for a ticket. Any Origin is welcome: slack-go
// sends Slack's own.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	if !s.redeem(r.URL.Query().Get("ticket")) {
		http.Error(w, "invalid ticket", http.StatusUnauthorized)
		return
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextConn++
	c := &connection{server: s, id: s.nextConn, opened: time.Now(), ws: ws, out: make(chan object, 4096), done: make(chan struct{}), life: seconds(s.settings.ConnectionSeconds)}
	if r.URL.Query().Get("debug_reconnects") == "true" {
		c.life = min(c.life, debugLife)
	}
	if s.isClosed() {
		c.end()
		return
	}
	if len(s.conns) >= maxConnections {
		c.out <- object{"type": "disconnect", "reason": "too_many_websockets", "debug_info": c.debugInfo()}
		s.work.Go(func() { c.write(0) })
		return
	}
	s.conns = append(s.conns, c)
	c.out <- object{
		"type": "hello", "num_connections": len(s.conns), "debug_info": c.debugInfo(),
		"connection_info": object{"app_id": s.app.ID},
	}
	s.note("socket_opened", s.sockets())
	s.work.Go(func() { c.write(c.life) })
	s.work.Go(c.read)
}

func (s *Server) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// redeem takes a ticket; it works once and not for long.
func (s *Server) redeem(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tickets[id]
	delete(s.tickets, id)
	return ok && time.Since(t.made) < ticketLife && s.settings.SocketMode
}

func (c *connection) debugInfo() object {
	return object{"host": fmt.Sprintf("applink-sandbox-%d", c.id), "build_number": 1, "approximate_connection_time": int(c.life.Seconds())}
}

// end closes the socket under the client.
func (c *connection) end() {
	c.once.Do(func() {
		close(c.done)
		_ = c.ws.Close()
	})
}

// write sends frames and pings until the socket ends. Without a life it sends
// what is waiting and closes.
func (c *connection) write(life time.Duration) {
	defer c.end()
	if life == 0 {
		_ = c.ws.WriteJSON(<-c.out)
		return
	}
	warn, refresh := time.NewTimer(max(life-drain, life/2)), time.NewTimer(life)
	defer warn.Stop()
	defer refresh.Stop()
	ping := time.NewTimer(0) // the first right after hello: clients count from there
	defer ping.Stop()
	for {
		select {
		case <-c.done:
			return
		case frame := <-c.out:
			if c.silent() {
				continue
			}
			if c.ws.WriteJSON(frame) != nil {
				return
			}
		case <-ping.C:
			if !c.silent() {
				_ = c.ws.WriteControl(websocket.PingMessage, []byte("Ping from "+c.debugInfo()["host"].(string)), time.Now().Add(5*time.Second))
			}
			ping.Reset(max(10*time.Millisecond, seconds(c.server.Settings().PingSeconds)))
		case <-warn.C:
			c.server.disconnectOne(c, "warning")
		case <-refresh.C:
			c.server.disconnectOne(c, "refresh_requested")
		}
	}
}

func (c *connection) silent() bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.deaf
}

// read takes acknowledgements until the socket ends.
func (c *connection) read() {
	defer c.gone()
	c.ws.SetReadLimit(1 << 20)
	pong := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error {
		if c.silent() {
			return nil
		}
		return pong(data)
	})
	for {
		_, frame, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		c.server.acknowledge(c, frame)
	}
}

// gone takes the socket off the list.
func (c *connection) gone() {
	c.end()
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = slices.DeleteFunc(s.conns, func(o *connection) bool { return o == c })
	s.note("socket_closed", s.sockets())
}

// enqueue hands a frame to the writer without ever blocking.
func (c *connection) enqueue(frame object) {
	select {
	case c.out <- frame:
	default: // a client that reads nothing for so long is as good as gone
		c.end()
	}
}

// Disconnect reasons that Slack sends.
const (
	Warning          = "warning"
	RefreshRequested = "refresh_requested"
	LinkDisabled     = "link_disabled"
)

// Disconnect tells sockets to go, with a reason; id 0 is all of them. They are
// closed ten seconds later unless the client was faster. LinkDisabled also
// switches Socket Mode off and closes at once.
func (s *Server) Disconnect(reason string, id int) {
	s.mu.Lock()
	if reason == LinkDisabled {
		s.settings.SocketMode = false
	}
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	for _, c := range conns {
		if id == 0 || c.id == id {
			s.disconnectOne(c, reason)
		}
	}
}

func (s *Server) disconnectOne(c *connection, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.enqueue(object{"type": "disconnect", "reason": reason, "debug_info": c.debugInfo()})
	s.note("disconnect", object{"socket": c.id, "reason": reason})
	wait := drain
	if reason == LinkDisabled {
		wait = 100 * time.Millisecond // the frame goes out first
	}
	if c.draining && reason != LinkDisabled {
		return
	}
	c.draining = true
	s.spawn(func() {
		select {
		case <-time.After(wait):
			c.end()
		case <-c.done:
		}
	})
}

// HalfOpen makes sockets go silent without closing them: no pings, no frames,
// no acknowledgements get through. Id 0 is all of them.
func (s *Server) HalfOpen(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if id == 0 || c.id == id {
			c.deaf = true
		}
	}
	s.note("half_open", s.sockets())
}

// CutSockets closes sockets without a word, as a lost network does. Id 0 is all
// of them.
func (s *Server) CutSockets(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if id == 0 || c.id == id {
			c.end()
		}
	}
}

// spawn runs f until it ends; Close waits for it. The lock is held.
func (s *Server) spawn(f func()) {
	if !s.isClosed() {
		s.work.Go(f)
	}
}

// envelope is one thing that the app must acknowledge.
type envelope struct {
	id       string
	kind     string // "slash_commands", "interactive", "events_api"
	accepts  bool   // an answer may come with the acknowledgement
	user     string
	payload  object
	made     time.Time
	attempts []Attempt

	acked   chan struct{} // closed at the first acknowledgement
	ackedAt time.Time
	answer  json.RawMessage
	acks    int
	dropped int
}

// Attempt is one delivery of an envelope.
type Attempt struct {
	Socket int       `json:"socket"`
	At     time.Time `json:"at"` // real time
	Retry  int       `json:"retry_attempt"`
}

// Envelope is an envelope as the state shows it.
type Envelope struct {
	ID       string          `json:"envelope_id"`
	Kind     string          `json:"type"`
	User     string          `json:"user,omitempty"`
	Made     time.Time       `json:"made"` // real time
	Attempts []Attempt       `json:"attempts"`
	Acked    bool            `json:"acked"`
	AckedMS  float64         `json:"acked_after_ms,omitempty"`
	Acks     int             `json:"acks"`
	Dropped  int             `json:"dropped_acks,omitempty"` // of 20 KB or more
	Answer   json.RawMessage `json:"answer,omitempty"`
	Payload  object          `json:"payload"`
}

func (e *envelope) public() Envelope {
	out := Envelope{
		ID: e.id, Kind: e.kind, User: e.user, Made: e.made, Attempts: slices.Clone(e.attempts), Acks: e.acks, Dropped: e.dropped,
		Answer: e.answer, Payload: e.payload,
	}
	if !e.ackedAt.IsZero() {
		out.Acked, out.AckedMS = true, float64(e.ackedAt.Sub(e.made).Microseconds())/1000
	}
	return out
}

// ErrNotConnected means that no socket is open to deliver on.
var ErrNotConnected = errors.New("the app has no open socket")

// dispatch sends an envelope to any one socket and sees to its redelivery.
func (s *Server) dispatch(kind, user string, accepts bool, payload object) (*envelope, error) {
	e := &envelope{id: uuid(), kind: kind, accepts: accepts, user: user, payload: payload, made: time.Now(), acked: make(chan struct{})}
	if len(s.envelopes) >= maxEnvelopes {
		s.envelopes = slices.Delete(s.envelopes, 0, maxEnvelopes/10)
	}
	s.envelopes = append(s.envelopes, e)
	if len(s.late) > 0 {
		wait := s.late[0]
		s.late = s.late[1:]
		s.spawn(func() { s.deliverLater(e, wait) })
		return e, nil
	}
	if !s.send(e, 0, "") {
		return e, ErrNotConnected
	}
	if s.duplicate > 0 {
		s.duplicate--
		s.send(e, 0, "")
	}
	s.spawn(func() { s.redeliver(e) })
	return e, nil
}

func (s *Server) deliverLater(e *envelope, wait time.Duration) {
	if !s.pause(e, wait) {
		return
	}
	s.mu.Lock()
	s.send(e, 0, "")
	s.mu.Unlock()
	s.redeliver(e)
}

// pause waits; it ends early, with false, at an acknowledgement or the end.
func (s *Server) pause(e *envelope, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.acked:
	case <-s.closed:
	}
	return false
}

// redeliver sends an envelope again while nobody acknowledges it.
func (s *Server) redeliver(e *envelope) {
	settings := s.Settings()
	for i, wait := range settings.RedeliverSeconds {
		if !s.pause(e, seconds(settings.AckSeconds)) || !s.pause(e, seconds(wait)) {
			return
		}
		s.mu.Lock()
		s.send(e, i+1, "timeout")
		s.mu.Unlock()
	}
}

// Redeliver sends a remembered envelope once more, acknowledged or not, as
// Slack does up to an hour later.
func (s *Server) Redeliver(envelopeID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.envelope(envelopeID)
	if e == nil {
		return fmt.Errorf("envelope %q: %w", envelopeID, ErrUnknown)
	}
	if !s.send(e, len(e.attempts), "timeout") {
		return ErrNotConnected
	}
	return nil
}

// DeliverTwice makes the next n envelopes arrive twice.
func (s *Server) DeliverTwice(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.duplicate = n
}

// DeliverLate holds the next envelope back for d, and the one after it for the
// d of a second call.
func (s *Server) DeliverLate(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = append(s.late, d)
}

// send writes an envelope to a socket, preferring one that did not get it yet.
func (s *Server) send(e *envelope, retry int, reason string) bool {
	c := s.pick(e)
	if c == nil {
		return false
	}
	frame := object{"envelope_id": e.id, "type": e.kind, "accepts_response_payload": e.accepts, "payload": e.payload}
	if e.kind == "events_api" || retry > 0 {
		frame["retry_attempt"], frame["retry_reason"] = retry, reason
	}
	e.attempts = append(e.attempts, Attempt{Socket: c.id, At: time.Now(), Retry: retry})
	c.sent++
	c.enqueue(frame)
	s.note("envelope", object{"envelope_id": e.id, "type": e.kind, "socket": c.id, "retry_attempt": retry})
	return true
}

// pick chooses the socket for an envelope: one that has not had it, is not on
// its way out, and has had the fewest.
func (s *Server) pick(e *envelope) *connection {
	if len(s.conns) == 0 {
		return nil
	}
	cost := func(c *connection) int {
		n := c.sent
		if c.draining {
			n += 1 << 40
		}
		for _, a := range e.attempts {
			if a.Socket == c.id {
				n += 1 << 20
			}
		}
		return n
	}
	return slices.MinFunc(s.conns, func(a, b *connection) int { return cmp.Compare(cost(a), cost(b)) })
}

// acknowledge takes a frame that a client sent.
func (s *Server) acknowledge(c *connection, frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.deaf {
		return
	}
	var ack struct {
		EnvelopeID string          `json:"envelope_id"`
		Payload    json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(frame, &ack); err != nil {
		s.note("stray_frame", object{"socket": c.id, "error": err.Error()})
		return
	}
	e := s.envelope(ack.EnvelopeID)
	if e == nil {
		s.note("stray_frame", object{"socket": c.id, "envelope_id": ack.EnvelopeID})
		return
	}
	if len(frame) >= maxAck {
		e.dropped++
		s.note("dropped_ack", object{"envelope_id": e.id, "bytes": len(frame)})
		return
	}
	c.acked++
	if e.acks++; e.acks > 1 {
		return
	}
	e.ackedAt, e.answer = time.Now(), ack.Payload
	close(e.acked)
	s.note("acked", object{"envelope_id": e.id, "ms": e.public().AckedMS})
}

func (s *Server) envelope(id string) *envelope {
	for _, e := range slices.Backward(s.envelopes) { // the newest is asked for most
		if e.id == id {
			return e
		}
	}
	return nil
}

func uuid() string {
	h := randomHex(16)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
