package exposure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twokey/twokey/runbook"
)

// What the sources may answer besides what they found. What was read before an
// error is returned with it.
var (
	// ErrNotPermitted: the bot may not read this log.
	ErrNotPermitted = errors.New("the permission to read it is missing")
	// ErrNoLicence: the tenant has no licence that this log comes with.
	ErrNoLicence = errors.New("the tenant's licence does not include it")
)

// Truncated is returned with the newest part of what there is, when there is
// more than may be read.
type Truncated struct {
	Limit int       // how many events were read
	Since time.Time // everything from then on was read
}

// Error implements error.
func (t *Truncated) Error() string {
	return fmt.Sprintf("there are more than the %d newest events that are read", t.Limit)
}

// Trail is AWS's log of calls. Calls come in any order, and may hold calls that
// concern others.
type Trail interface {
	// Calls returns the calls of that name, such as "GetParameter".
	Calls(ctx context.Context, name string, w Window) ([]Call, error)
	// CallsOn returns the calls that the log itself knows to be about resource.
	CallsOn(ctx context.Context, resource string, w Window) ([]Call, error)
}

// Call is one call to AWS. Address, Agent and the identity's names are chosen by
// the caller.
type Call struct {
	ID      string
	At      time.Time
	Name    string // "GetParameter"
	By      Identity
	Address string // sourceIPAddress: an address, or a service's name
	Agent   string
	// Parameters are the names that the call was about, without selectors; of a
	// call by path, Path is that path.
	Parameters []string
	Path       string
	Cluster    string // of calls to ECS
	Service    string
	Task       string
	Refused    string // AWS's error code; empty: it was done
}

// Identity is who called.
type Identity struct {
	Kind      string // "AssumedRole", "IAMUser", "Root", "AWSService" …
	Principal string // ARN of the role or user; empty when there is none
	Name      string // of the role, user or service
	Session   string // of a role
}

// SignIns is Entra's log of what got tokens, or did not.
type SignIns interface {
	// SignIns returns the sign-ins of the application's service principal.
	SignIns(ctx context.Context, client runbook.ClientID, w Window) ([]SignIn, error)
}

// SignIn is one request for a token.
type SignIn struct {
	ID        string
	At        time.Time
	Key       runbook.KeyID // empty when none fitted
	Federated bool          // by a federated credential instead of a secret
	Address   string
	Resource  string // what the token was for
	Agent     string
	Code      int // AADSTS number; 0: granted
}

// Audits is Entra's log of what was changed.
type Audits interface {
	// DirectoryAudits returns the changes of the application and its service
	// principal, and of who owns them.
	DirectoryAudits(ctx context.Context, app, principal runbook.ObjectID, w Window) ([]Audit, error)
}

// Audit is one change in the directory.
type Audit struct {
	ID       string
	At       time.Time
	Activity string // "Update application – Certificates and secrets management"
	By       Actor
	Failed   bool
	Targets  []Target
	Agent    string
}

// Actor is who changed something: a user or an application.
type Actor struct {
	Principal runbook.ObjectID // object id of the user or the service principal
	Name      string
	Address   string // of users only
	App       bool
}

// Target is one object that a change was about.
type Target struct {
	ID      string
	Kind    string // "Application", "ServicePrincipal", "User"
	Name    string
	Changes []Change
}

// Change is one property before and after, in Entra's notation.
type Change struct {
	Property string
	Old      string
	New      string
}

// Doors reads the other ways into an application that stand open now.
type Doors interface {
	Doors(ctx context.Context, app runbook.ObjectID) ([]Door, error)
}

// Door is one other way into an application: who owns it can make keys, and a
// federated credential signs in without any.
type Door struct {
	ID        string
	Name      string
	Federated bool   // otherwise an owner
	Detail    string // issuer and subject, or the owner's kind
}
