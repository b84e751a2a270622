// Package entra reads and changes Entra applications through Microsoft Graph,
// proves secrets at the token endpoint and looks people up in the directory. It
// is the only importer of Microsoft's SDKs, of which it takes the application
// part alone: the whole takes minutes to compile.
package entra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azure "github.com/microsoft/kiota-authentication-azure-go"
	kiotahttp "github.com/microsoft/kiota-http-go"
	kiotajson "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// graphScope is what tokens are asked for: every app permission consented to.
// It names the resource, wherever that is reached.
const graphScope = "https://graph.microsoft.com/.default"

// requestTimeout is how long one request may take when the configuration says
// nothing.
const requestTimeout = 30 * time.Second

// Config says which tenant, and how the bot signs in to it.
type Config struct {
	Tenant   string           // tenant id
	ClientID runbook.ClientID // the bot's own application
	LoginURL string           // "https://login.microsoftonline.com"
	GraphURL string           // "https://graph.microsoft.com"
	// CAFile has certificates, as PEM, to trust besides the system's: of a proxy
	// that opens TLS, for example. Empty: none.
	CAFile string
	// Assertion returns a fresh token of another issuer that a federated identity
	// credential of the bot's application admits. It must be safe for concurrent
	// use. Either this or Secret is set.
	Assertion func(context.Context) (string, error)
	// Secret is the bot's own client secret, where there is no other issuer.
	Secret operation.Secret
	// Timeout bounds one request; 0 is half a minute.
	Timeout time.Duration
	// Log gets a line a request at debug level; nil: none.
	Log *slog.Logger
}

// Client meets [runbook.Applications], [runbook.Tokens] and
// [operation.Directory]. It is safe for concurrent use.
type Client struct {
	tokenURL string
	graphURL string // with the version
	timeout  time.Duration
	pause    time.Duration // before the second attempt; doubled after each
	clientID runbook.ClientID

	transport  *http.Transport
	credential azcore.TokenCredential
	adapter    *core.GraphRequestAdapterBase
	prove      *http.Client

	// writing holds a token while nobody writes: Graph refuses writes that
	// overlap in a tenant, so this process sends one at a time.
	writing chan struct{}

	mu  sync.Mutex
	own runbook.ObjectID // our service principal, once it was looked up
}

var (
	_ runbook.Applications = (*Client)(nil)
	_ runbook.Tokens       = (*Client)(nil)
	_ operation.Directory  = (*Client)(nil)
)

// New checks c and returns a client. It sends nothing yet.
func New(c Config) (*Client, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	timeout, log := c.Timeout, c.Log
	if timeout == 0 {
		timeout = requestTimeout
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	login, graph := strings.TrimRight(c.LoginURL, "/"), strings.TrimRight(c.GraphURL, "/")+"/v1.0"
	client := &Client{
		tokenURL: login + "/" + url.PathEscape(c.Tenant) + "/oauth2/v2.0/token",
		graphURL: graph, timeout: timeout, pause: 250 * time.Millisecond, clientID: c.ClientID,
		transport: transport,
		prove:     proofClient(transport, log),
		writing:   make(chan struct{}, 1),
	}
	client.writing <- struct{}{}
	credential, err := c.credential(login, logged{transport, log}, timeout)
	if err != nil {
		return nil, err
	}
	client.credential = credential
	if client.adapter, err = newAdapter(graph, credential, logged{answered{transport}, log}); err != nil {
		return nil, err
	}
	return client, nil
}

// Close gives idle connections back.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	c.prove.CloseIdleConnections()
}

func (c Config) check() error {
	var wrong []error
	if c.Tenant == "" {
		wrong = append(wrong, errors.New("entra: the tenant is missing"))
	}
	if !isGUID(string(c.ClientID)) {
		wrong = append(wrong, fmt.Errorf("entra: the client id %q is not a GUID", c.ClientID))
	}
	if (c.Assertion == nil) == c.Secret.IsZero() {
		wrong = append(wrong, errors.New("entra: give either a federated assertion or a client secret"))
	}
	for what, address := range map[string]string{"login": c.LoginURL, "graph": c.GraphURL} {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" {
			wrong = append(wrong, fmt.Errorf("entra: the %s address %q is not an https address", what, address))
		}
	}
	return errors.Join(wrong...)
}

// transport trusts the system's authorities and those of the CA file.
func (c Config) transport() (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("entra: read the CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a distroless image may have none
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("entra: the CA file %s has no PEM certificate", c.CAFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// credential signs the bot in. Instance discovery is off because the login
// address is the operator's own choice, so there is nothing to ask others about.
func (c Config) credential(login string, transport http.RoundTripper, timeout time.Duration) (azcore.TokenCredential, error) {
	why := &cause{}
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: login + "/"},
		Transport: &http.Client{Transport: why.transport(transport), Timeout: timeout},
		Retry:     policy.RetryOptions{MaxRetries: 2, RetryDelay: 250 * time.Millisecond}, // a sign-in may be repeated
	}
	var credential azcore.TokenCredential
	var err error
	var first *early
	if c.Assertion != nil {
		first = &early{make: c.Assertion}
		credential, err = azidentity.NewClientAssertionCredential(c.Tenant, string(c.ClientID), why.assertion(first.take),
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	} else {
		credential, err = azidentity.NewClientSecretCredential(c.Tenant, string(c.ClientID), c.Secret.Reveal(),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	}
	if err != nil {
		return nil, fmt.Errorf("entra: prepare to sign in: %w", err)
	}
	return discreet{credential, why, first}, nil
}

// newAdapter builds the SDK's request adapter without its retry handler, which
// would send addPassword again after a 503 or 504 that hid a success, and
// without redirects. The serializers are given, since the SDK's global registry
// is filled by its root package only.
func newAdapter(graph string, credential azcore.TokenCredential, transport http.RoundTripper) (*core.GraphRequestAdapterBase, error) {
	u, err := url.Parse(graph)
	if err != nil {
		return nil, fmt.Errorf("entra: %w", err)
	}
	auth, err := azure.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(credential, []string{graphScope}, []string{u.Hostname()})
	if err != nil {
		return nil, fmt.Errorf("entra: prepare to sign in: %w", err)
	}
	options := core.GraphClientOptions{}
	client := &http.Client{
		Transport: kiotahttp.NewCustomTransportWithParentTransport(transport,
			core.NewGraphTelemetryHandler(&options), kiotahttp.NewParametersNameDecodingHandler()),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	adapter, err := core.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		auth, options, kiotajson.NewJsonParseNodeFactory(), kiotajson.NewJsonSerializationWriterFactory(), client)
	if err != nil {
		return nil, fmt.Errorf("entra: prepare Graph: %w", err)
	}
	adapter.SetBaseUrl(graph)
	return adapter, nil
}

// AssertionFromFile reads the federated assertion from a file that others keep
// fresh, such as the one AWS_WEB_IDENTITY_TOKEN_FILE names.
func AssertionFromFile(path string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read the federated assertion: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
}
