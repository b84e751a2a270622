package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// maxAnswer bounds what is read of the token endpoint's answer, in bytes.
const maxAnswer = 1 << 20

// proofClient opens a connection for every request, so that a row of successes
// is not a row of answers by the one replica at the other end.
func proofClient(t *http.Transport, log *slog.Logger) *http.Client {
	t = t.Clone()
	t.DisableKeepAlives = true
	return &http.Client{
		Transport:     logged{t, log},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a secret goes to no other address
	}
}

// Request asks for one fresh token by client credentials and throws it away
// unseen. It asks by itself and once, since the SDK's credentials keep tokens
// and a kept token proves nothing about the secret. A refusal is a
// [*runbook.TokenRefused]; any other error says nothing about the secret.
func (c *Client) Request(ctx context.Context, client runbook.ClientID, secret operation.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	form := url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {string(client)},
		"client_secret": {secret.Reveal()},
		"scope":         {graphScope},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("ask for a token: the login address is wrong")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	resp, err := c.prove.Do(r)
	if err != nil {
		return fmt.Errorf("ask for a token: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := judge(resp); err != nil {
		return fmt.Errorf("ask for a token: %w", err)
	}
	return nil
}

// judge tells a token from a refusal from anything else.
func judge(resp *http.Response) error {
	var answer tokenAnswer
	err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer)
	switch {
	case err == nil && resp.StatusCode == http.StatusOK && bool(answer.Token):
		return nil
	case err == nil && len(answer.Codes) > 0 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests:
		return &runbook.TokenRefused{Codes: answer.Codes, Trace: answer.trace()}
	default: // throttled, broken, or not Entra: no word about the secret
		return fmt.Errorf("the token endpoint answered %d with neither a token nor a refusal", resp.StatusCode)
	}
}

type tokenAnswer struct {
	Token   present `json:"access_token"`
	Codes   []int   `json:"error_codes"`
	TraceID string  `json:"trace_id"`
}

// trace returns the id for the vendor's support, if it is one.
func (a tokenAnswer) trace() string {
	if !vendorsWord.MatchString(a.TraceID) {
		return "unknown"
	}
	return a.TraceID
}

// present notes that a member is there and not what it says.
type present bool

// UnmarshalJSON implements json.Unmarshaler.
func (p *present) UnmarshalJSON(b []byte) error {
	*p = len(b) > len(`""`) && b[0] == '"'
	return nil
}

// discreet signs the bot in and keeps answers out of errors: the SDK's own errors
// quote them, tokens included. So its errors are not used at all where they are
// not a refusal; what made it fail is noted where it happens.
type discreet struct {
	credential azcore.TokenCredential
	cause      *cause
	early      *early // nil: the bot has a secret
}

// early has the assertion of the first sign-in made while the SDK still asks where
// tokens are to be had, since neither needs what the other says. Those after it are
// made when the SDK wants them, which knows by then where.
type early struct {
	make func(context.Context) (string, error)

	mu      sync.Mutex
	begun   bool
	pending <-chan assertion // what is being made and nobody has taken; nil: nothing is
}

type assertion struct {
	text string
	err  error
}

// begin begins to make the first assertion, once, and returns what ends that sign-in.
func (e *early) begin(ctx context.Context) (end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun {
		return func() {}
	}
	made := make(chan assertion, 1)
	e.begun, e.pending = true, made
	var making sync.WaitGroup
	making.Go(func() {
		text, err := e.make(ctx)
		made <- assertion{text, err}
	})
	return func() {
		making.Wait()
		e.claim() // when it was not wanted; later it would be stale
	}
}

// claim gives what is being made to one who asks, and nil to all others.
func (e *early) claim() <-chan assertion {
	e.mu.Lock()
	defer e.mu.Unlock()
	pending := e.pending
	e.pending = nil
	return pending
}

// take returns the assertion that is being made, to the first who wants one, or makes
// another. The SDK may want several for one sign-in, and others may sign in meanwhile.
func (e *early) take(ctx context.Context) (string, error) {
	if pending := e.claim(); pending != nil {
		select {
		case a := <-pending:
			if a.err == nil {
				return a.text, nil
			}
		case <-ctx.Done():
		}
	}
	return e.make(ctx) // also when that one was made for somebody who has given up
}

// cause is why the last sign-in failed before there was an answer.
type cause struct {
	mu  sync.Mutex
	err error
}

func (c *cause) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *cause) take() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return errors.New("the answer cannot be read")
	}
	return c.err
}

// transport notes why a request got no answer.
func (c *cause) transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		c.note(err)
		return resp, err
	})
}

// assertion notes why there is no assertion to sign in with.
func (c *cause) assertion(next func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		s, err := next(ctx)
		c.note(err)
		return s, err
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// signInError says why the bot itself could not sign in.
type signInError struct{ err error }

// Error implements error.
func (e *signInError) Error() string { return "sign in to Entra as the bot: " + e.err.Error() }

// Unwrap returns the cause.
func (e *signInError) Unwrap() error { return e.err }

// GetToken implements azcore.TokenCredential.
func (d discreet) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if d.early != nil {
		defer d.early.begin(ctx)()
	}
	token, err := d.credential.GetToken(ctx, o)
	if err == nil {
		return token, nil
	}
	if ctx.Err() != nil {
		return azcore.AccessToken{}, &signInError{ctx.Err()}
	}
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		defer func() { _ = failed.RawResponse.Body.Close() }()
		if refusal := judge(failed.RawResponse); refusal != nil {
			return azcore.AccessToken{}, &signInError{refusal}
		}
	}
	return azcore.AccessToken{}, &signInError{d.cause.take()}
}
