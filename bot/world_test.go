package bot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Slack with people in it, and what a bot needs.
type world struct {
	t       *testing.T
	cond    *conditions.Conditions
	slack   *slack.Server
	address string
	client  *http.Client
	inbox   *inbox
	logged  *buffer
	ops     string // the operations channel
}

// deadline bounds every wait of these tests; none of them should come near it.
const deadline = 20 * time.Second

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, cond: conditions.New(conditions.NewClock()), inbox: &inbox{}, logged: &buffer{}}
	w.slack = slack.New(w.cond)
	server := httptest.NewServer(w.slack.Handler())
	w.address = server.URL + "/api"
	transport := &http.Transport{}
	w.client = &http.Client{Transport: transport, Timeout: 3 * time.Second}
	t.Cleanup(func() {
		w.slack.Close()
		transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		w.slack.AddUser(slack.User{ID: "U0" + name2id(name), Name: name, Email: name + "@example.test"})
	}
	w.must(w.slack.AddGroup(slack.Group{ID: "S0APPROVERS", Handle: "platform-approvers", Users: []string{"bob", "carol"}}))
	c, err := w.slack.AddChannel(slack.Channel{Name: "platform-ops", Members: []string{"alice", "bob", "carol", "dave"}})
	w.must(c, err)
	w.ops = c.ID
	w.must(w.slack.AddChannel(slack.Channel{Name: "elsewhere", Members: []string{"alice"}, WithoutBot: true}))
	return w
}

func name2id(name string) string { return string(bytes.ToUpper([]byte(name))) }

func (w *world) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// bot makes a bot that is not running.
func (w *world) bot(changes ...func(*bot.Config)) *bot.Bot {
	w.t.Helper()
	c := bot.Config{
		AppToken: operation.NewSecret(w.slack.AppToken()), BotToken: operation.NewSecret(w.slack.BotToken()),
		APIURL: w.address, HTTPClient: w.client, Inbox: w.inbox, Apart: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(w.logged, nil)),
	}
	for _, change := range changes {
		change(&c)
	}
	b, err := bot.New(c)
	w.must(b, err)
	return b
}

// run runs the bot and waits until both connections are up. It is stopped at the
// test's end.
func (w *world) run(b *bot.Bot) {
	w.t.Helper()
	w.start(b.Run)
	w.until("two connections", func() bool { return len(w.slack.Sockets()) == 2 && b.Ready() })
}

// start runs f in the background and ends it before the test's end. A second call
// of what it returns does nothing.
func (w *world) start(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					w.t.Errorf("ended with %v", err)
				}
			case <-time.After(deadline):
				w.t.Error("does not end")
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

// until waits for a condition.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	for end := time.Now().Add(deadline); !condition(); {
		if time.Now().After(end) {
			w.t.Fatalf("no %s within %s; log:\n%s", what, deadline, w.logged)
		}
		time.Sleep(2 * time.Millisecond) // between looks; the condition decides
	}
}

// command types a command and returns what the person saw.
func (w *world) command(line string) slack.Result {
	w.t.Helper()
	r, err := w.slack.Command("alice", "platform-ops", line)
	w.must(r, err)
	return r
}

// channel returns a channel's messages with their threads, as everybody sees them.
func (w *world) channel(name string) []slack.Message {
	w.t.Helper()
	m, err := w.slack.Messages(name, "")
	w.must(m, err)
	return m
}

// inbox keeps intents in memory, as a store would.
type inbox struct {
	mu      sync.Mutex
	intents []bot.Intent
	seen    map[string]bool
	calls   int
	receive func(context.Context) error // fails or delays; nil: neither
}

var _ bot.Inbox = (*inbox)(nil)

func (b *inbox) Receive(ctx context.Context, intents []bot.Intent) error {
	b.mu.Lock()
	receive := b.receive
	b.calls++
	b.mu.Unlock()
	if receive != nil {
		if err := receive(ctx); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	for _, in := range intents {
		if !b.seen[in.Envelope] {
			b.seen[in.Envelope] = true
			b.intents = append(b.intents, in)
		}
	}
	return nil
}

func (b *inbox) set(receive func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receive = receive
}

func (b *inbox) all() []bot.Intent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.intents)
}

func (b *inbox) tried() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// outbox is a store of notices and operations in memory, with a store's fences.
type outbox struct {
	mu      sync.Mutex
	ops     map[operation.ID]operation.Operation
	rows    []*row
	lease   time.Duration // instead of what the poster asks for
	failing int           // how many calls of NoticeSent fail
	deaf    int           // how many calls of RoomOpened fail
	single  bool          // each owner gets one claim
	owners  map[string]bool

	documents map[string]operation.Document
	rounds    map[operation.RoundID]operation.Round
	leftovers map[operation.LeftoverID]operation.Leftover
	digests   map[operation.DigestID]operation.WeeklyDigest
}

type row struct {
	n       operation.Notice
	claimed time.Time
	rests   time.Time
	told    bool
	sent    operation.MessageID
	delays  []time.Duration
}

var (
	_ bot.Outbox     = (*outbox)(nil)
	_ bot.Operations = (*outbox)(nil)
	_ bot.Rounds     = (*outbox)(nil)
)

func newOutbox(ops ...operation.Operation) *outbox {
	o := &outbox{ops: map[operation.ID]operation.Operation{}, documents: map[string]operation.Document{}, owners: map[string]bool{}, rounds: map[operation.RoundID]operation.Round{},
		leftovers: map[operation.LeftoverID]operation.Leftover{}, digests: map[operation.DigestID]operation.WeeklyDigest{}}
	for _, op := range ops {
		o.ops[op.ID] = op
	}
	return o
}

// add appends notices, as the transaction that changed the operation would.
func (o *outbox) add(notices ...operation.Notice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range notices {
		n.ID = int64(len(o.rows) + 1)
		if n.Lane == "" {
			n.Lane = string(n.Channel)
		}
		o.rows = append(o.rows, &row{n: n})
	}
}

func (o *outbox) change(id operation.ID, f func(*operation.Operation)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	op := o.ops[id]
	f(&op)
	o.ops[id] = op
}

func (o *outbox) ClaimNotice(_ context.Context, owner string, lease time.Duration) (operation.Notice, bool, error) {
	return o.claim(owner, lease, false)
}

func (o *outbox) ClaimEdit(_ context.Context, owner string, lease time.Duration) (operation.Notice, bool, error) {
	return o.claim(owner, lease, true)
}

func (o *outbox) claim(owner string, lease time.Duration, edits bool) (operation.Notice, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.single && o.owners[owner] {
		return operation.Notice{}, false, nil
	}
	if o.lease > 0 {
		lease = o.lease
	}
	now := time.Now()
	blocked := map[string]bool{}
	for _, r := range o.rows {
		if r.told || now.Before(r.n.NotBefore) || strings.HasPrefix(r.n.Lane, operation.EditLanes) != edits {
			continue
		}
		if blocked[r.n.Lane] || now.Before(r.claimed) || now.Before(r.rests) {
			blocked[r.n.Lane] = true
			continue
		}
		o.owners[owner] = true
		r.n.Claim++
		r.n.Attempts++
		r.claimed = now.Add(lease)
		return r.n, true, nil
	}
	return operation.Notice{}, false, nil
}

func (o *outbox) mine(n operation.Notice) *row {
	if r := o.rows[n.ID-1]; !r.told && r.n.Claim == n.Claim {
		return r
	}
	return nil
}

func (o *outbox) NoticeMine(_ context.Context, n operation.Notice) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mine(n) != nil, nil
}

func (o *outbox) NoticeSent(_ context.Context, n operation.Notice, id operation.MessageID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failing > 0 {
		o.failing--
		return errors.New("the disk is full")
	}
	r := o.mine(n)
	if r == nil {
		return operation.ErrStale
	}
	r.told, r.sent = true, id
	op := o.ops[n.Operation]
	switch n.Kind {
	case operation.NoticeRound:
		round := o.rounds[n.Round]
		round.Message = id
		o.rounds[n.Round] = round
	case operation.NoticeReminder:
		for i := range o.rounds[n.Round].Reminders {
			if one := &o.rounds[n.Round].Reminders[i]; one.ID == n.Reminder {
				one.Card = id
			}
		}
	case operation.NoticeCard:
		op.Card = id
	case operation.NoticeStatus:
		op.RoomStatus = id
	default: // nobody asks where the others stand
	}
	o.ops[n.Operation] = op
	return nil
}

func (o *outbox) RoomOpened(_ context.Context, id operation.ID, channel operation.ChannelID, trouble string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.deaf > 0 {
		o.deaf--
		return errors.New("the disk is full")
	}
	op := o.ops[id]
	op.RoomChannel, op.RoomTrouble = channel, trouble
	o.ops[id] = op
	return nil
}

func (o *outbox) Told(_ context.Context, id operation.ID) ([]operation.Entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []operation.Entry
	for _, r := range o.rows {
		if r.n.Operation == id && r.n.Kind == operation.NoticeEntry {
			out = append(out, r.n.Entry)
		}
	}
	return out, nil
}

func (o *outbox) Document(_ context.Context, _ operation.ID, name string) (operation.Document, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.documents[name]
	if !ok {
		return d, errors.New("no such document")
	}
	return d, nil
}

func (o *outbox) NoticeLater(_ context.Context, n operation.Notice, after time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.mine(n)
	if r == nil {
		return operation.ErrStale
	}
	r.claimed, r.rests = time.Time{}, time.Now().Add(after)
	r.delays = append(r.delays, after)
	return nil
}

func (o *outbox) Operation(_ context.Context, id operation.ID) (operation.Operation, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	op, ok := o.ops[id]
	if !ok {
		return op, operation.ErrUnknown
	}
	return op, nil
}

func (o *outbox) Round(_ context.Context, id operation.RoundID) (operation.Round, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	round := o.rounds[id]
	round.Reminders = slices.Clone(round.Reminders)
	return round, nil
}

func (o *outbox) Leftover(_ context.Context, id operation.LeftoverID) (operation.Leftover, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leftovers[id], nil
}

func (o *outbox) Digest(_ context.Context, id operation.DigestID) (operation.WeeklyDigest, []byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.digests[id], []byte("a picture"), nil
}

// empty reports whether everything was told.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !slices.ContainsFunc(o.rows, func(r *row) bool { return !r.told })
}

// delays are how long the notice was put off, each time.
func (o *outbox) delays(i int) []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.rows[i].delays)
}

func card(op operation.ID, n int) operation.Notice {
	return operation.Notice{Key: fmt.Sprintf("card:%s:%d", op, n), Kind: operation.NoticeCard, Operation: op}
}

func entry(op operation.ID, text string) operation.Notice {
	return operation.Notice{Key: fmt.Sprintf("entry:%s:%s", op, text), Kind: operation.NoticeEntry, Operation: op,
		Entry: operation.Entry{At: time.Now(), Operation: op, Outcome: operation.Verified, Step: text, Text: "evidence"}}
}
