package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
	"github.com/slack-go/slack"
	"golang.org/x/sync/singleflight"

	"github.com/twokey/twokey/operation"
)

// What the two tokens are called in sentences for the operator.
const (
	appToken = "app-level token"
	botToken = "bot token"
)

// Config is what the bot needs to know.
type Config struct {
	AppToken operation.Secret // xapp-…, opens connections
	BotToken operation.Secret // xoxb-…, calls the API
	APIURL   string           // of Slack's Web API; empty: Slack itself
	Logger   *slog.Logger
	Inbox    Inbox
	Now      func() time.Time
	// Metrics takes what is counted; nil: nobody watches.
	Metrics *vm.Set
	// HTTPClient makes the calls; its proxy and authorities count for the
	// connections too. Nil: a client with a time limit.
	HTTPClient *http.Client
	// Apart is how long after the first connection the second is opened;
	// 0: ten seconds.
	Apart time.Duration
	// PingInterval is how long Slack may say nothing before a connection is
	// opened anew; 0: 30 seconds.
	PingInterval time.Duration
	// Spacing is the least time between two messages in one channel, and
	// EditSpacing, on the whole, between two edits; 0: what Slack wants.
	Spacing, EditSpacing time.Duration
	// Turns are shared by all replicas; nil: there are no others.
	Turns Turns
}

// callTime bounds one call of Slack's API.
const callTime = 10 * time.Second

// connectionsKept is how many connections to Slack's API stay open without a call.
// Go keeps two, and opens each further one anew: a handshake a call in a burst.
const connectionsKept = 16

func newHTTPClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = connectionsKept
	return &http.Client{Timeout: callTime, Transport: t}
}

// withDefaults fills in what may be left out, and says what may not.
func (c Config) withDefaults() (Config, error) {
	if c.AppToken.IsZero() || c.BotToken.IsZero() || c.Inbox == nil {
		return c, errors.New("bot: the app-level token, the bot token and the inbox are all needed")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Metrics == nil {
		c.Metrics = vm.NewSet()
	}
	if c.HTTPClient == nil {
		c.HTTPClient = newHTTPClient()
	}
	if c.APIURL == "" {
		c.APIURL = slack.APIURL
	}
	c.APIURL = strings.TrimRight(c.APIURL, "/") + "/" // slack-go appends the method's name
	if c.Apart == 0 {
		c.Apart = 10 * time.Second
	}
	if c.PingInterval == 0 {
		c.PingInterval = 30 * time.Second
	}
	c.Spacing, c.EditSpacing = cmp.Or(c.Spacing, spacing), cmp.Or(c.EditSpacing, updatesEach)
	return c, nil
}

// Bot is the bot's side of Slack.
type Bot struct {
	c          Config
	api        *slack.Client // waits and tries again when Slack throttles: for look-ups
	poster     *slack.Client // does not: the poster plans its own waiting
	batch      *batcher
	sockets    []*socket
	m          *metrics
	log        *slog.Logger
	nudge      chan struct{}
	nudgeEdits chan struct{}
	groups     singleflight.Group
	looking    sync.Mutex // into a group

	mu   sync.Mutex
	self *slack.AuthTestResponse // who the bot is; nil until Slack has said so
}

// New prepares a bot. It makes no call.
func New(c Config) (*Bot, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	m := newMetrics(c.Metrics)
	b := &Bot{c: c, m: m, log: c.Logger, batch: newBatcher(c.Inbox, c.Logger, m), nudge: make(chan struct{}, 1), nudgeEdits: make(chan struct{}, 1)}
	options := []slack.Option{
		slack.OptionAPIURL(c.APIURL), slack.OptionAppLevelToken(c.AppToken.Reveal()),
		slack.OptionHTTPClient(bearer{next: meter{next: c.HTTPClient, m: m}}), slack.OptionLog(slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)),
	}
	b.poster = slack.New(c.BotToken.Reveal(), options...)
	b.api = slack.New(c.BotToken.Reveal(), append(options, slack.OptionRetry(3))...)
	for i := range 2 {
		b.sockets = append(b.sockets, newSocket(i+1, c, b.poster, b.batch, m))
	}
	return b, nil
}

// Run keeps the connections and hands what people do to the inbox, until ctx
// ends. It returns a [*Fatal] when Slack refuses for good: a token, a scope, a
// setting. Everything else is tried again, for ever.
func (b *Bot) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var identity error
	wg.Go(func() { b.batch.run(ctx) })
	wg.Go(func() {
		// Beside the connection and not before it: the start is short.
		if identity = b.introduce(ctx); identity != nil {
			cancel()
		}
	})
	err := keep(ctx, b.sockets, b.c.Apart)
	cancel()
	wg.Wait()
	return errors.Join(identity, err)
}

// introduce has Slack say who the bot is and checks its scopes, however long
// Slack takes to answer. It returns an error only when that is final.
func (b *Bot) introduce(ctx context.Context) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		_, err := b.identity(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if f, ok := fatal(err, botToken); ok {
			return f
		}
		b.log.WarnContext(ctx, "Slack does not say who the bot is; asking again", "after", pause, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// identity is the bot's own user, workspace and organisation. They never change
// while a token lives, so one answer is kept.
func (b *Bot) identity(ctx context.Context) (*slack.AuthTestResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.self != nil {
		return b.self, nil
	}
	self, err := b.api.AuthTestContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask Slack who the bot is: %w", err)
	}
	if self.TeamID == "" || self.UserID == "" {
		return nil, errors.New("ask Slack who the bot is: the answer names no workspace")
	}
	if err := checkScopes(self.Header); err != nil {
		return nil, err
	}
	b.self = self
	return self, nil
}

// Ready reports whether people's clicks reach the bot: on at least one connection
// Slack said hello and its pings arrive.
func (b *Bot) Ready() bool {
	for _, s := range b.sockets {
		if s.alive() {
			return true
		}
	}
	return false
}
