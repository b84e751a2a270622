package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

// socket is one Socket Mode connection, kept up by slack-go.
type socket struct {
	number int
	client *socketmode.Client
	batch  *batcher
	acks   chan delivery
	now    func() time.Time
	quiet  time.Duration // without a byte for so long, the connection counts as dead
	log    *slog.Logger
	m      *metrics

	hello    atomic.Bool
	began    time.Time
	heard    atomic.Int64 // when bytes last came, in nanoseconds after began
	greeted  chan struct{}
	greeting sync.Once
}

const (
	// ackTime bounds the wait for a connection that can carry an
	// acknowledgement. Slack waits three seconds in all.
	ackTime = 2 * time.Second
	// handshakeTime bounds opening a WebSocket.
	handshakeTime = 15 * time.Second
	// writeBuffer keeps an acknowledgement in one frame, as Slack wants it.
	writeBuffer = 32 * 1024
	// readLimit bounds one envelope; Slack's are far smaller.
	readLimit = 4 << 20
	// patience is how many internal errors of Slack's in a row may be a hiccup:
	// some six seconds.
	patience = 5
	// restartPause keeps a connection that ends at once from spinning.
	restartPause = time.Second
)

func newSocket(number int, c Config, api *slack.Client, batch *batcher, m *metrics) *socket {
	s := &socket{
		number: number, batch: batch, acks: make(chan delivery, queueSize), now: c.Now, quiet: c.PingInterval * 5 / 2,
		log: c.Logger.With("socket", number), m: m, began: time.Now(), greeted: make(chan struct{}),
	}
	s.client = socketmode.New(api,
		socketmode.OptionDialer(s.dialer(c.HTTPClient)),
		socketmode.OptionReadLimit(readLimit),
		socketmode.OptionPingInterval(c.PingInterval))
	return s
}

// dialer opens WebSockets the way the HTTP client opens connections: through the
// same proxy and trusting the same authorities. It notes when bytes arrive.
func (s *socket) dialer(client *http.Client) *websocket.Dialer {
	d := &websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: handshakeTime, WriteBufferSize: writeBuffer}
	if t, ok := client.Transport.(*http.Transport); ok {
		d.Proxy = t.Proxy
		if t.TLSClientConfig != nil {
			d.TLSClientConfig = t.TLSClientConfig.Clone()
			d.TLSClientConfig.NextProtos = nil // a WebSocket is not HTTP/2
		}
	}
	var plain net.Dialer
	d.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := plain.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return listener{Conn: conn, socket: s}, nil
	}
	return d
}

// listener notes when bytes come. slack-go answers Slack's pings by itself and
// tells nobody; on an idle connection they are the only bytes there are.
type listener struct {
	net.Conn
	socket *socket
}

// Read implements net.Conn.
func (l listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.socket.heard.Store(int64(time.Since(l.socket.began)))
	}
	return n, err
}

// alive reports whether Slack said hello on this connection and its pings arrive.
func (s *socket) alive() bool {
	return s.hello.Load() && time.Since(s.began)-time.Duration(s.heard.Load()) < s.quiet
}

// run keeps the connection until ctx ends or Slack refuses for good.
func (s *socket) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1) // a final refusal, seen in the events
	var wg sync.WaitGroup
	wg.Go(func() { s.drain(ctx, ended) })
	wg.Go(func() { s.acknowledge(ctx) })
	wg.Go(func() {
		select {
		case err := <-ended:
			ended <- err
			cancel()
		case <-ctx.Done():
		}
	})
	err := s.connect(ctx)
	cancel()
	wg.Wait()
	s.lost()
	select {
	case final := <-ended:
		return final
	default:
		return err
	}
}

// connect runs slack-go's client, again when it ends by itself.
func (s *socket) connect(ctx context.Context) error {
	for {
		err := s.client.RunContext(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if f, ok := fatal(err, appToken); ok {
			return f
		}
		s.log.WarnContext(ctx, "the Slack connection ended and is opened again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartPause):
		}
	}
}

// drain takes every event off the client, and never waits: while it waited, the
// client would miss the pings and stay dead.
func (s *socket) drain(ctx context.Context, ended chan<- error) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-s.client.Events:
			if err := s.handle(ctx, e); err != nil {
				select {
				case ended <- err:
				default:
				}
			}
		}
	}
}

// handle returns an error only when Slack refuses for good.
func (s *socket) handle(ctx context.Context, e socketmode.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.m.unacknowledged("panic").Inc()
			s.log.ErrorContext(ctx, "an event from Slack made the bot stumble", "type", e.Type, "error", panicError{value: p, stack: debug.Stack()})
		}
	}()
	switch e.Type {
	case socketmode.EventTypeHello:
		s.met()
	case socketmode.EventTypeConnecting:
		s.lost()
	case socketmode.EventTypeConnectionError:
		return s.failed(ctx, e)
	case socketmode.EventTypeErrorWriteFailed:
		s.m.unacknowledged("write").Inc()
		s.log.WarnContext(ctx, "an acknowledgement was lost; Slack will send the envelope again")
	case socketmode.EventTypeErrorBadMessage, socketmode.EventTypeIncomingError:
		s.m.unacknowledged("unreadable").Inc()
		s.log.WarnContext(ctx, "Slack sent what cannot be read, or the connection broke", "type", e.Type, "error", causeOf(e.Data))
	case socketmode.EventTypeSlashCommand, socketmode.EventTypeInteractive, socketmode.EventTypeEventsAPI:
		s.take(ctx, e)
	case socketmode.EventTypeConnected, socketmode.EventTypeDisconnect, socketmode.EventTypeInvalidAuth:
		// The client ends with the last one, and says why.
	}
	return nil
}

// causeOf digs the error out of slack-go's events; the frame itself may hold what
// people wrote and stays out of the log.
func causeOf(data any) error {
	switch d := data.(type) {
	case *socketmode.ErrorBadMessage:
		return d.Cause
	case *slack.IncomingEventError:
		return d.ErrorObj
	}
	return nil
}

// take makes an intent of an envelope and queues it. What the bot has no use for
// is acknowledged at once.
func (s *socket) take(ctx context.Context, e socketmode.Event) {
	d := delivery{arrived: time.Now()}
	id := e.Request.EnvelopeID
	d.ack = func() { s.queueAck(id, d.arrived) }
	in, ok := intentOf(e)
	if !ok {
		s.m.envelopes("other").Inc()
		d.ack()
		return
	}
	in.At = s.now()
	d.intent = in
	s.m.envelopes(string(in.Kind)).Inc()
	if !s.batch.offer(d) {
		s.m.unacknowledged("full").Inc()
		s.log.ErrorContext(ctx, "too much waits for the inbox; Slack will send this envelope again", "envelope", id)
	}
}

// queueAck leaves the waiting to the socket's own goroutine, so that a connection
// that is down does not hold up what came over the other.
func (s *socket) queueAck(envelope string, arrived time.Time) {
	if envelope == "" { // hello and disconnect have none, and take no answer
		return
	}
	select {
	case s.acks <- delivery{intent: Intent{Envelope: envelope}, arrived: arrived}:
	default:
		s.m.unacknowledged("full").Inc()
	}
}

// acknowledge answers envelopes, empty: what there is to say goes through chat.
func (s *socket) acknowledge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.acks:
			limited, cancel := context.WithTimeout(ctx, ackTime)
			err := s.client.AckCtx(limited, d.intent.Envelope, nil)
			cancel()
			if err != nil {
				s.m.unacknowledged("connection").Inc()
				s.log.WarnContext(ctx, "no connection for an acknowledgement; Slack will send the envelope again", "envelope", d.intent.Envelope)
				continue
			}
			s.m.acknowledged.Update(time.Since(d.arrived).Seconds())
		}
	}
}

func (s *socket) failed(ctx context.Context, e socketmode.Event) error {
	s.lost()
	failure, ok := e.Data.(*slack.ConnectionErrorEvent)
	if !ok {
		return nil
	}
	if f, ok := fatal(failure.ErrorObj, appToken); ok {
		return f
	}
	if errorCode(failure.ErrorObj) == "internal_error" && failure.Attempt >= patience {
		// Slack says no more than that when Socket Mode is switched off.
		return &Fatal{Code: "internal_error", Todo: socketModeTodo, err: failure.ErrorObj}
	}
	s.log.WarnContext(ctx, "no connection to Slack; trying again", "attempt", failure.Attempt, "after", failure.Backoff, "error", failure.ErrorObj)
	return nil
}

// met notes a hello.
func (s *socket) met() {
	if !s.hello.Swap(true) {
		s.m.connections.Inc()
	}
	s.greeting.Do(func() { close(s.greeted) })
}

// lost notes that there is no connection.
func (s *socket) lost() {
	if s.hello.Swap(false) {
		s.m.connections.Dec()
	}
}

// keep runs two sockets, the second some time after the first, so that Slack's
// regular disconnects never hit both at once. The first final refusal ends both.
func keep(ctx context.Context, sockets []*socket, apart time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(sockets))
	var wg sync.WaitGroup
	for i, s := range sockets {
		wg.Go(func() {
			if i > 0 && !after(ctx, sockets[i-1].greeted, apart) {
				return
			}
			if err := s.run(ctx); err != nil {
				errs <- fmt.Errorf("slack connection %d: %w", s.number, err)
				cancel()
			}
		})
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// after waits for the signal and then for d, and reports whether both came before
// ctx ended.
func after(ctx context.Context, signal <-chan struct{}, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-signal:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
