package runbook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// What the runbooks need of the vendors. Each adapter under integrations/ meets
// the interfaces of its vendor. Definite refusals come back marked with
// [operation.Permanent]; everything else may be tried again.

// ObjectID is an Entra object's id; ClientID is an application's (client) id.
type (
	ObjectID string
	ClientID string
	KeyID    string
)

// Key is one password credential of an application or its service principal.
type Key struct {
	ID    KeyID
	Name  string // displayName
	Hint  string // the first three characters of the secret
	Start time.Time
	End   time.Time
	// OnServicePrincipal is true for a key of the service principal's own.
	OnServicePrincipal bool
}

// Application is an Entra application as read at one instant.
type Application struct {
	Object            ObjectID
	Client            ClientID
	Name              string
	Keys              []Key
	ServicePrincipal  ObjectID      // empty when there is none in the tenant
	PrincipalEnabled  bool          // the service principal's accountEnabled
	Disabled          bool          // isDisabled: deactivated as a whole
	OwnedByUs         bool          // our own service principal is an owner
	Us                ObjectID      // our own service principal
	MaxSecretLifetime time.Duration // 0 when no policy caps it
	NewSecretsForbid  bool          // a policy forbids new secrets
	PolicyRead        bool          // false: the policy could not be read; say "not checked"
	OwnersRead        bool          // false: the owners could not be read
}

// ErrMayBeKept is wrapped by an error after which nobody knows whether a new key's
// text was kept. Such a key must not be removed at once: another worker may have
// found the text, and the service may run on it.
var ErrMayBeKept = errors.New("the new secret may have been kept")

// Applications reads and changes Entra applications.
type Applications interface {
	// Application finds the application by its client id.
	Application(ctx context.Context, client ClientID) (Application, error)
	// AddPassword makes a key called name that ends at end, and hands its text
	// to keep before it returns; the text exists nowhere else. When keep fails,
	// the new key is removed again and keep's error is returned, unless that wraps
	// [ErrMayBeKept]. It is not repeatable: after any error the caller must look
	// for name.
	AddPassword(ctx context.Context, app ObjectID, name string, end time.Time, keep func(context.Context, Key, operation.Secret) error) (Key, error)
	// RemovePassword removes exactly that key from the object that holds it: the
	// application or, for a key of its own, the service principal. A key that is
	// already gone is no error.
	RemovePassword(ctx context.Context, holder ObjectID, key Key) error
}

// Tokens asks the token endpoint.
type Tokens interface {
	// Request asks for one fresh token by client credentials and throws it away.
	// A refusal is a [*TokenRefused].
	Request(ctx context.Context, client ClientID, secret operation.Secret) error
}

// Entra's error numbers (AADSTS…), as found in error_codes.
const (
	SecretInvalid        = 7000215 // wrong, not yet on every replica, or removed
	SecretExpired        = 7000222
	ApplicationUnknown   = 700016
	PrincipalMissing     = 7000229
	ApplicationDisabled  = 7000112
	SecretRevoked        = 7005003
	BlockedByConditional = 53003 // the secret was right, the sign-in is blocked
)

// TokenRefused is the token endpoint's refusal.
type TokenRefused struct {
	Codes []int  // error_codes
	Trace string // trace_id, for the vendor's support
}

// Error implements error.
func (e *TokenRefused) Error() string {
	return fmt.Sprintf("token refused: AADSTS%v (trace %s)", e.Codes, e.Trace)
}

// Has reports whether code is among the refusal's numbers.
func (e *TokenRefused) Has(code int) bool {
	for _, c := range e.Codes {
		if c == code {
			return true
		}
	}
	return false
}

// Parameter is an SSM parameter as read at one instant.
type Parameter struct {
	Name     string
	Version  int64
	Type     string // "SecureString"
	KMSKey   string // key id, ARN or alias as SSM tells it
	Modified time.Time
	Value    operation.Secret
	Labels   []string
}

// ErrNoParameter is wrapped by what Read returns for a name that does not exist.
var ErrNoParameter = fmt.Errorf("no such parameter")

// Parameters reads and writes SSM parameters.
type Parameters interface {
	// Read returns the newest version of name with its value and key; with
	// "name:3" or "name:label" that version.
	Read(ctx context.Context, name string) (Parameter, error)
	// Write puts a new version of a SecureString and returns its number. It
	// creates name when there is none. SSM has no compare-and-set: the caller
	// compares the number with what it expected.
	Write(ctx context.Context, name string, value operation.Secret, kmsKey string) (int64, error)
	// Delete removes name with its history. A name that is gone is no error.
	Delete(ctx context.Context, name string) error
}

// Labels marks versions of parameters.
type Labels interface {
	Label(ctx context.Context, name string, version int64, label string) error
	Unlabel(ctx context.Context, name string, version int64, label string) error
}

// Service is an ECS service as read at one instant.
type Service struct {
	Cluster        string
	Name           string
	Desired        int
	Running        int
	Pending        int
	MinimumPercent int
	MaximumPercent int
	TaskDefinition string
	ExecutionRole  string // ARN of the role by which ECS reads the secrets; empty: none
	TaskRole       string // ARN of the role of the containers themselves; empty: none
	// Secrets maps the environment variables of all containers to the SSM
	// parameter that the task definition injects (valueFrom), by name or ARN.
	Secrets map[string]string
	// PlainText lists places of the task definition where something that looks
	// like an Entra secret stands in plain text; never the text itself.
	PlainText []string
	// NotChecked lists what could not be looked through for plain text, and why.
	NotChecked  []string
	Deployments []Deployment
}

// Deployment is one of a service's deployments.
type Deployment struct {
	ID      string // "ecs-svc/…"
	Status  string // PRIMARY, ACTIVE, INACTIVE
	Rollout string // IN_PROGRESS, COMPLETED, FAILED
	Reason  string // rolloutStateReason
	Created time.Time
	Failed  int // failedTasks
}

// Task is one running task.
type Task struct {
	ID        string
	StartedBy string // the deployment's id
	Created   time.Time
	Status    string // lastStatus
	Health    string // HEALTHY, UNHEALTHY, UNKNOWN
}

// Services reads and redeploys ECS services.
type Services interface {
	Service(ctx context.Context, cluster, name string) (Service, error)
	// Redeploy forces a new deployment and returns its id.
	Redeploy(ctx context.Context, cluster, name string) (string, error)
	// Tasks returns the tasks whose desired status is RUNNING.
	Tasks(ctx context.Context, cluster, name string) ([]Task, error)
}

// Endpoint is an MCP server and the call that proves it works.
type Endpoint struct {
	URL       string         `json:"url"`       // the MCP endpoint (streamable HTTP)
	Health    string         `json:"health"`    // health URL; empty: none
	Tool      string         `json:"tool"`      // the test tool
	Arguments map[string]any `json:"arguments"` // its arguments
	Expect    string         `json:"expect"`    // what the result's text must contain
}

// Servers asks MCP servers. What they answer is evidence; an answer that is not
// the expected one is an error.
type Servers interface {
	// Healthy asks the health URL.
	Healthy(ctx context.Context, e Endpoint) (string, error)
	// CallTool initializes a session, checks that the tool is listed, calls it
	// and compares the result.
	CallTool(ctx context.Context, e Endpoint) (string, error)
}
