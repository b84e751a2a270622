package mcp

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// renewBefore is how long before its end a token is renewed, at most; short
// tokens are renewed in their last tenth.
const renewBefore = 5 * time.Minute

// tokens gets tokens by client credentials and keeps the newest, as the real
// servers' libraries do: a renewal that fails does not hurt until the kept
// token has run out.
type tokens struct {
	config clientcredentials.Config
	client *http.Client
	now    func() time.Time
	limit  func() time.Duration // caps a token's life; 0: no cap
	turn   chan struct{}        // one request at a time, and who waits can give up

	mu      sync.Mutex
	renew   time.Time
	expires time.Time
	trouble string // why the last request failed
}

func newTokens(options Options, environment map[string]string, now func() time.Time, limit func() time.Duration) *tokens {
	tenant := environment[TenantVariable]
	if tenant == "" {
		tenant = options.Tenant
	}
	return &tokens{
		config: clientcredentials.Config{
			ClientID:     environment[ClientIDVariable],
			ClientSecret: environment[ClientSecretVariable],
			TokenURL:     options.Login + "/" + tenant + "/oauth2/v2.0/token",
			Scopes:       []string{"https://graph.microsoft.com/.default"},
			AuthStyle:    oauth2.AuthStyleInParams,
		},
		client: options.Client, now: now, limit: limit,
		turn: make(chan struct{}, 1),
	}
}

// hold makes sure that there is a token that has not run out.
func (t *tokens) hold(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a token: %w", ctx.Err())
	}
	if t.fresh() {
		return nil
	}
	token, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	now, limit := t.now(), t.limit()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.trouble = err.Error()
		if now.Before(t.expires) {
			return nil
		}
		return fmt.Errorf("get a token: %w", err)
	}
	life := time.Until(token.Expiry)
	if limit > 0 {
		life = min(life, limit)
	}
	t.trouble = ""
	t.expires = now.Add(life)
	t.renew = t.expires.Add(-min(renewBefore, life/10))
	return nil
}

func (t *tokens) fresh() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now().Before(t.renew)
}

// state tells when the kept token runs out and why the last request failed.
func (t *tokens) state() (expires time.Time, trouble string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.expires, t.trouble
}
