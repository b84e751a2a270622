package inventory

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// ErrNotPermitted is wrapped by what a source returns when the bot may not read it.
var ErrNotPermitted = errors.New("the permission to read it is missing")

// Directory lists all that has keys, however many pages that takes. A sequence
// ends at its first error; what came before it was read.
type Directory interface {
	// Applications lists the tenant's applications with their owners.
	Applications(ctx context.Context) iter.Seq2[Application, error]
	// ServicePrincipals lists those that have keys of their own, without owners.
	ServicePrincipals(ctx context.Context) iter.Seq2[Application, error]
	// LastUses tells when keys last got a token; keys that never did are missing.
	LastUses(ctx context.Context) iter.Seq2[LastUse, error]
}

// Application is an application or a service principal, with its keys.
type Application struct {
	Object       runbook.ObjectID
	Client       runbook.ClientID
	Name         string
	Secrets      []runbook.Key
	Certificates []runbook.Key
	Owners       []string // names
}

// LastUse is when a key last got a token.
type LastUse struct {
	Key runbook.KeyID
	At  time.Time
}

// Parameters reads many parameters with few calls.
type Parameters interface {
	// ParametersNamed returns those of names that exist, with their values but
	// without KMS key and labels. It takes at most [ParametersAtOnce] names, and
	// fails for all when one of them may not be read.
	ParametersNamed(ctx context.Context, names []string) ([]runbook.Parameter, error)
	// KMSKeys returns by which key those of names are encrypted that exist. It
	// takes at most [KMSKeysAtOnce] names.
	KMSKeys(ctx context.Context, names []string) (map[string]string, error)
}

// How many names SSM takes in a call.
const (
	ParametersAtOnce = 10
	KMSKeysAtOnce    = 50
)

// Certificates lists the certificates of one AWS region that were issued once.
type Certificates interface {
	Certificates(ctx context.Context, region string) ([]ACMCertificate, error)
}

// ACMCertificate is one certificate in AWS Certificate Manager.
type ACMCertificate struct {
	ARN      string
	Domain   string
	Start    time.Time
	End      time.Time
	Imported bool     // ACM never renews these
	Renews   bool     // ACM will renew it by itself
	Renewal  string   // how its renewal stands, in ACM's word; empty: none is under way
	Reason   string   // why the renewal failed, in ACM's word
	InUseBy  []string // ARNs
	Revoked  bool
	// NotRead says why Renewal and InUseBy could not be read; nil: they were.
	NotRead error
}

// Handshakes looks at what TLS endpoints show.
type Handshakes interface {
	// Handshake connects to "host:port". An endpoint that is not believed is no
	// error: its dates are returned all the same.
	Handshake(ctx context.Context, address string, now time.Time) (Handshake, error)
}

// Handshake is what an endpoint showed.
type Handshake struct {
	Start  time.Time // of the server's own certificate
	End    time.Time // the earliest of the chain
	Issuer string
	// Ends names the certificate of the chain that ends first, when that is not
	// the server's own.
	Ends string
	// Distrust says why the chain is not believed; empty: it is.
	Distrust string
}

// Operations tells what twokey itself did.
type Operations interface {
	// Operation returns operation.ErrUnknown when there is none.
	Operation(ctx context.Context, id operation.ID) (operation.Operation, error)
	// OperationsOf returns the newest operations on a secret, open and ended.
	OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error)
}

// Region is an AWS region whose certificates are watched.
type Region struct {
	Name  string
	Owner runbook.Owner
}

// Endpoint is a TLS endpoint that is watched.
type Endpoint struct {
	Address string // host:port
	Owner   runbook.Owner
	Feeds   Feeds
}
