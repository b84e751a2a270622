package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/entra"
)

// The intruder, unless told otherwise.
const (
	intruderUser    = "mallory"
	intruderAddress = "203.0.113.66" // of a block that is kept for documentation
	intruderAgent   = "curl/8.5.0"
	intruderKey     = "AKIASANDBOXINTRUDER1"
	intruderEvery   = 100 * time.Millisecond
	intruderPatient = 5
)

// errRefused is what the token endpoint's refusal comes down to.
var errRefused = errors.New("refused")

// IntruderOptions say how an intruder goes about it.
type IntruderOptions struct {
	Secret  string `json:"secret"`            // whose secret is stolen: "sharepoint/prod"
	User    string `json:"user,omitempty"`    // the IAM user whose credentials they have
	Address string `json:"address,omitempty"` // where they call from
	Agent   string `json:"user_agent,omitempty"`
	// Every is the pause between two requests for a token; 0 is 100 ms. It is
	// real time, as requests are.
	Every time.Duration `json:"-"`
	// Patience is how many refusals in a row they take before they give up; 0 is 5.
	Patience int `json:"patience,omitempty"`
	// FederatedCredential has them open a way in that needs no secret, Owner make
	// the person with that object id an owner; both with an administrator's session.
	FederatedCredential bool   `json:"federated_credential,omitempty"`
	Owner               string `json:"owner,omitempty"`
}

// Loot is what an intruder got, and when it ended. Times are the sandbox's.
type Loot struct {
	Secret  string `json:"secret,omitempty"` // empty: nobody broke in
	User    string `json:"user,omitempty"`
	Address string `json:"address,omitempty"`
	Running bool   `json:"running"` // still trying

	Stolen       time.Time `json:"stolen,omitzero"` // when the parameter was read
	Tokens       int       `json:"tokens"`          // got with the stolen copy
	FirstToken   time.Time `json:"first_token,omitzero"`
	LastToken    time.Time `json:"last_token,omitzero"`
	TokensExpire time.Time `json:"tokens_expire,omitzero"` // until when the last of them works
	Refusals     int       `json:"refusals"`
	FirstRefusal time.Time `json:"first_refusal,omitzero"`
	LastRefusal  time.Time `json:"last_refusal,omitzero"`
	Words        string    `json:"words,omitempty"`   // of the last refusal
	Trouble      string    `json:"trouble,omitempty"` // why a request got neither
}

// Intruder reads a secret with somebody's AWS credentials and asks for tokens
// with the stolen copy, again and again, until it stops working. It calls the
// stand-ins over their protocols like anybody else, so latency and faults hit it
// too, and the logs show it.
type Intruder struct {
	sandbox *Sandbox

	mu   sync.Mutex
	stop context.CancelFunc
	done chan struct{} // closed when the last one has ended; nil before the first
	loot Loot
}

// Start breaks in. When it returns without an error, the secret was read, the
// other doors were opened and the first token was asked for. A second intruder
// can start when the first has ended.
func (i *Intruder) Start(ctx context.Context, o IntruderOptions) error {
	secret, ok := i.sandbox.Team.Secret(o.Secret)
	if !ok {
		return fmt.Errorf("there is no secret %q to steal", o.Secret)
	}
	o.User, o.Address, o.Agent = cmp.Or(o.User, intruderUser), cmp.Or(o.Address, intruderAddress), cmp.Or(o.Agent, intruderAgent)
	o.Every, o.Patience = cmp.Or(o.Every, intruderEvery), cmp.Or(o.Patience, intruderPatient)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.loot.Running {
		return fmt.Errorf("an intruder is at %s already", i.loot.Secret)
	}
	b := burglar{sandbox: i.sandbox, options: o, secret: secret, web: i.sandbox.Client()}
	value, err := b.steal(ctx)
	if err != nil {
		b.web.CloseIdleConnections()
		return err
	}
	i.loot = Loot{Secret: o.Secret, User: o.User, Address: o.Address, Running: true, Stolen: i.sandbox.Clock.Now()}
	if err := b.openDoors(); err != nil {
		i.loot.Running = false
		b.web.CloseIdleConnections()
		return err
	}
	lives, err := b.token(ctx, value)
	i.loot.note(lives, err, i.sandbox.Clock.Now())
	running, stop := context.WithCancel(context.Background())
	i.stop, i.done = stop, make(chan struct{})
	go i.run(running, b, value)
	return nil
}

// run asks for tokens until it was refused often enough in a row.
func (i *Intruder) run(ctx context.Context, b burglar, value string) {
	defer close(i.done)
	defer b.web.CloseIdleConnections()
	defer i.change(func(l *Loot) { l.Running = false })
	for refused := 0; refused < b.options.Patience; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(b.options.Every):
		}
		lives, err := b.token(ctx, value)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			refused = 0
		case errors.Is(err, errRefused):
			refused++
		}
		i.change(func(l *Loot) { l.note(lives, err, i.sandbox.Clock.Now()) })
	}
}

func (i *Intruder) change(f func(*Loot)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(&i.loot)
}

// Loot tells how it stands.
func (i *Intruder) Loot() Loot {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.loot
}

// Stop ends the intruder, waits for it and tells what it got.
func (i *Intruder) Stop() Loot {
	i.mu.Lock()
	stop, done := i.stop, i.done
	i.mu.Unlock()
	if done != nil {
		stop()
		<-done
	}
	return i.Loot()
}

// Ended waits until the intruder has given up, or ctx is over.
func (i *Intruder) Ended(ctx context.Context) (Loot, error) {
	i.mu.Lock()
	done := i.done
	i.mu.Unlock()
	if done == nil {
		return i.Loot(), nil
	}
	select {
	case <-done:
		return i.Loot(), nil
	case <-ctx.Done():
		return i.Loot(), fmt.Errorf("the intruder still tries: %w", ctx.Err())
	}
}

// note writes down what one request for a token brought.
func (l *Loot) note(lives time.Duration, err error, at time.Time) {
	switch {
	case err == nil:
		if l.Tokens == 0 {
			l.FirstToken = at
		}
		l.Tokens++
		l.LastToken, l.TokensExpire = at, at.Add(lives)
	case errors.Is(err, errRefused):
		if l.Refusals == 0 {
			l.FirstRefusal = at
		}
		l.Refusals++
		l.LastRefusal, l.Words = at, err.Error()
	default:
		l.Trouble = err.Error()
	}
}

// burglar is one intruder at work.
type burglar struct {
	sandbox *Sandbox
	options IntruderOptions
	secret  Secret
	web     *http.Client
}

// send calls a stand-in from the intruder's address.
func (b burglar) send(ctx context.Context, address, body string, header map[string]string, into any) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("break in: %w", err)
	}
	r.Header.Set("X-Forwarded-For", b.options.Address)
	r.Header.Set("User-Agent", b.options.Agent)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := b.web.Do(r)
	if err != nil {
		return 0, fmt.Errorf("break in: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into); err != nil {
		return resp.StatusCode, fmt.Errorf("break in: the answer %d cannot be read: %w", resp.StatusCode, err)
	}
	return resp.StatusCode, nil
}

// steal reads the secret's parameter with the user's credentials.
func (b burglar) steal(ctx context.Context) (string, error) {
	b.sandbox.AWS.SeedIdentity(intruderKey, aws.Identity{User: b.options.User})
	var answer struct {
		Type      string `json:"__type"`
		Parameter struct{ Value string }
	}
	status, err := b.send(ctx, b.sandbox.url+"/aws/", fmt.Sprintf(`{"Name":%q,"WithDecryption":true}`, b.secret.SecretParameter), map[string]string{
		"X-Amz-Target": "AmazonSSM.GetParameter", "Content-Type": "application/x-amz-json-1.1",
		"Authorization": "AWS4-HMAC-SHA256 Credential=" + intruderKey + "/20260101/" + region + "/ssm/aws4_request, SignedHeaders=host, Signature=00",
	}, &answer)
	switch {
	case err != nil:
		return "", err
	case status != http.StatusOK:
		return "", fmt.Errorf("read %s: %d %s", b.secret.SecretParameter, status, answer.Type)
	}
	return answer.Parameter.Value, nil
}

// openDoors opens the other ways in that were asked for.
func (b burglar) openDoors() error {
	hand := b.sandbox.Entra.By(entra.Hand{User: b.options.User + "@contoso.example", Address: b.options.Address})
	if b.options.FederatedCredential {
		if err := hand.AddFederatedCredential(b.secret.ClientID, entra.Federated{
			Name: "ci", Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:" + b.options.User + "/tools:ref:refs/heads/main", Audiences: []string{audience},
		}); err != nil {
			return fmt.Errorf("add a federated credential: %w", err)
		}
	}
	if b.options.Owner != "" {
		if err := hand.AddOwner(b.secret.ClientID, b.options.Owner); err != nil {
			return fmt.Errorf("add an owner: %w", err)
		}
	}
	return nil
}

// token asks for one token with the stolen copy, and tells how long it lives. A
// refusal wraps errRefused.
func (b burglar) token(ctx context.Context, value string) (time.Duration, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {b.secret.ClientID}, "client_secret": {value}, "scope": {"https://graph.microsoft.com/.default"},
	}
	var answer struct {
		Token string `json:"access_token"`
		Lives int    `json:"expires_in"` // seconds
		Codes []int  `json:"error_codes"`
	}
	status, err := b.send(ctx, b.sandbox.tlsURL+"/"+tenant+"/oauth2/v2.0/token", form.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, &answer)
	switch {
	case err != nil:
		return 0, err
	case status == http.StatusOK && answer.Token != "":
		return time.Duration(answer.Lives) * time.Second, nil
	case len(answer.Codes) > 0 && (status == http.StatusBadRequest || status == http.StatusUnauthorized):
		return 0, fmt.Errorf("%w: AADSTS%d", errRefused, answer.Codes[0])
	default:
		return 0, fmt.Errorf("ask for a token: %d", status)
	}
}
