package inventory

import (
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Kind is what expires.
type Kind string

// The kinds. Entra's keys sit on an application or on its service principal;
// either signs the application in.
const (
	Secret               Kind = "secret"                // client secret of an Entra application
	PrincipalSecret      Kind = "principal-secret"      // client secret of its service principal
	Certificate          Kind = "certificate"           // certificate of an Entra application
	PrincipalCertificate Kind = "principal-certificate" // certificate of its service principal
	ACM                  Kind = "acm"                   // certificate in AWS Certificate Manager
	TLS                  Kind = "tls"                   // what an endpoint shows in a handshake
)

// Kinds lists all kinds in the order in which they are shown.
func Kinds() []Kind {
	return []Kind{Secret, PrincipalSecret, Certificate, PrincipalCertificate, ACM, TLS}
}

// Words says the kind as a person would.
func (k Kind) Words() string {
	switch k {
	case Secret:
		return "client secret"
	case PrincipalSecret:
		return "client secret of a service principal"
	case Certificate:
		return "certificate of an application"
	case PrincipalCertificate:
		return "certificate of a service principal"
	case ACM:
		return "ACM certificate"
	case TLS:
		return "TLS endpoint"
	default:
		return string(k)
	}
}

// Status is how urgent an item is.
type Status string

// The statuses, most urgent first.
const (
	Overdue Status = "overdue" // it has expired
	Unknown Status = "unknown" // it could not be read when it expires, or whether
	Due     Status = "due"     // it expires soon
	Fine    Status = "fine"
)

// Statuses lists all statuses, most urgent first.
func Statuses() []Status { return []Status{Overdue, Unknown, Due, Fine} }

// DefaultDue is how long before its end something is due.
const DefaultDue = 30 * 24 * time.Hour

// ID names one item, the same at every sweep for as long as the item exists.
type ID string

// Source says where an owner is known from.
type Source string

// Where owners are known from.
const (
	FromConfig Source = "configuration"
	FromEntra  Source = "entra"
)

// Item is one thing that expires, or of which that could not be read.
type Item struct {
	ID   ID     `json:"id"`
	Kind Kind   `json:"kind"`
	Name string `json:"name"` // "sharepoint/prod", an application's name, a domain, a host and port
	// Key is the name that somebody gave the key; empty when there is none.
	Key string `json:"key,omitempty"`

	KeyID       runbook.KeyID    `json:"key_id,omitempty"`      // of Entra's keys
	Client      runbook.ClientID `json:"client_id,omitempty"`   // of their application
	Holder      runbook.ObjectID `json:"holder,omitempty"`      // the object that has the key: what removes it needs
	Application string           `json:"application,omitempty"` // its name
	ARN         string           `json:"arn,omitempty"`         // of ACM's
	Issuer      string           `json:"issuer,omitempty"`      // of certificates, where it was shown

	Owner     runbook.Owner `json:"owner,omitzero"`
	OwnerFrom Source        `json:"owner_from,omitempty"` // empty: no owner is known

	Feeds Feeds `json:"feeds,omitzero"`
	// Live is true of what Feeds.Parameter holds right now.
	Live bool `json:"live,omitempty"`
	// Replaced is true of a key whose application feeds parameters that all hold
	// other keys: nothing that is configured breaks when it ends, so it is never
	// due.
	Replaced bool `json:"replaced,omitempty"`
	// Renews is true of certificates that ACM renews by itself. When one of them is
	// due, that has not worked.
	Renews bool `json:"renews,omitempty"`

	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"` // zero: unknown, or not issued

	Rotated *Rotation `json:"rotated,omitempty"` // by which operation of ours; nil: by none
	Used    Use       `json:"used,omitzero"`

	Status Status `json:"status"`
	// Why is a sentence: why the status is unknown, or what else must be known.
	Why string `json:"why,omitempty"`
}

// Feeds is what works with an item and breaks when it ends. Of a key that is not
// live it is what its application is for.
type Feeds struct {
	Secret      operation.SecretName `json:"secret,omitempty"` // the configuration's name for all of it
	Server      string               `json:"server,omitempty"`
	Environment string               `json:"environment,omitempty"`
	Parameter   string               `json:"parameter,omitempty"` // that holds the item's value
	Cluster     string               `json:"cluster,omitempty"`
	Service     string               `json:"service,omitempty"` // ECS
	Endpoint    string               `json:"endpoint,omitempty"`
	// Resources are what uses an ACM certificate, as ARNs.
	Resources []string `json:"resources,omitempty"`
}

// Rotation is how an item came to be, when an operation of ours made it.
type Rotation struct {
	At          time.Time        `json:"at"`
	Operation   operation.ID     `json:"operation"`
	Kind        operation.Kind   `json:"kind"`
	By          operation.Person `json:"by"`
	ConfirmedBy operation.Person `json:"confirmed_by"`
}

// Use is when a key last got a token, as the directory reports it.
type Use struct {
	At  time.Time `json:"at,omitzero"`   // zero: unknown
	Why string    `json:"why,omitempty"` // it is unknown
}

// Words says what the item is as a person would.
func (i Item) Words() string {
	switch {
	case i.Kind != ACM || i.ARN == "":
		return i.Kind.Words()
	case i.Renews:
		return i.Kind.Words() + ", renews itself"
	default:
		return i.Kind.Words() + ", does not renew itself"
	}
}

// maxResources bounds what is named of a certificate's users.
const maxResources = 5

// TiedTo names, one a line, what has the item or uses it.
func (i Item) TiedTo() []string {
	var out []string
	add := func(what, name string) {
		if name != "" {
			out = append(out, what+" "+name)
		}
	}
	add("SSM parameter", i.Feeds.Parameter)
	if i.Feeds.Service != "" {
		add("ECS service", i.Feeds.Cluster+"/"+i.Feeds.Service)
	}
	add("MCP server", i.Feeds.Endpoint)
	for _, arn := range i.Feeds.Resources[:min(len(i.Feeds.Resources), maxResources)] {
		add("AWS resource", arn)
	}
	if more := len(i.Feeds.Resources) - maxResources; more > 0 {
		out = append(out, fmt.Sprintf("and %d more AWS resources", more))
	}
	if i.KeyID != "" && i.Application != "" {
		add("key of the Entra application", i.Application)
	}
	return out
}

// Age is how long the item exists at now; 0 when its start is unknown.
func (i Item) Age(now time.Time) time.Duration {
	if i.Start.IsZero() || now.Before(i.Start) {
		return 0
	}
	return now.Sub(i.Start)
}

// Left is how long the item lives on at now; negative when it has expired. It
// means nothing when End is zero.
func (i Item) Left(now time.Time) time.Duration { return i.End.Sub(now) }

// StatusAt is the item's status at now, when due is how long before its end it is
// due. For the instant of the sweep it is the same as Status.
func (i Item) StatusAt(now time.Time, due time.Duration) Status {
	switch {
	case i.End.IsZero():
		return Unknown
	case i.Replaced:
		return Fine
	case !now.Before(i.End):
		return Overdue
	case !now.Add(due).Before(i.End):
		return Due
	default:
		return Fine
	}
}

// FindingKind is what is not as it should be, besides dates.
type FindingKind string

// The kinds of findings.
const (
	KeyUnexplained     FindingKind = "unexplained-key"     // in no parameter, and no operation explains it
	KeyInNoParameter   FindingKind = "key-in-no-parameter" // an operation made it and has ended without it
	KeyReturned        FindingKind = "removed-key"         // an operation has removed it, and it is there
	PendingLeft        FindingKind = "pending-parameter"   // of no open operation
	ParameterPlain     FindingKind = "plain-parameter"     // no SecureString
	ParameterOtherKey  FindingKind = "other-kms-key"       // not the configured one
	ParameterDrift     FindingKind = "drift"               // its value belongs to no key
	EndpointNotTrusted FindingKind = "untrusted-endpoint"  // the handshake's chain is not believed
	CertificateRevoked FindingKind = "revoked-certificate"
)

// FindingKinds lists all kinds of findings.
func FindingKinds() []FindingKind {
	return []FindingKind{
		KeyUnexplained, KeyInNoParameter, KeyReturned, PendingLeft, ParameterPlain, ParameterOtherKey, ParameterDrift, EndpointNotTrusted, CertificateRevoked,
	}
}

// Finding is one thing that somebody should look at.
type Finding struct {
	ID   string      `json:"id"` // the same at every sweep
	Kind FindingKind `json:"kind"`
	// Feeds is what it concerns; Parameter is the one that is wrong.
	Feeds Feeds         `json:"feeds,omitzero"`
	Owner runbook.Owner `json:"owner,omitzero"`
	// Key is the key that it is about, and Holder the object that has it; both as
	// removing it takes them.
	Key    *runbook.Key     `json:"key,omitempty"`
	Holder runbook.ObjectID `json:"holder,omitempty"`
	Text   string           `json:"text"`
}

// Gap is something that could not be read and leaves more than one item, or no
// item, unknown. Silence would be taken for good news.
type Gap struct {
	Source string `json:"source"` // "last uses in Entra"
	Why    string `json:"why"`
}

// Sources whose gap leaves open whether something was left behind.
const (
	GapApplications = "applications in Entra"
	GapPrincipals   = "service principals in Entra"
	GapOperations   = "twokey's own operations"
)

// Inventory is what one sweep found.
type Inventory struct {
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took"`  // nanoseconds
	Due      time.Duration `json:"due"`   // nanoseconds: how long before its end something is due
	Items    []Item        `json:"items"` // most urgent first
	Findings []Finding     `json:"findings"`
	Gaps     []Gap         `json:"gaps"`
}

// Of returns the items of one secret of the configuration. There is always one at
// least that is live or unknown.
func (v Inventory) Of(name operation.SecretName) []Item {
	var out []Item
	for _, i := range v.Items {
		if i.Feeds.Secret == name {
			out = append(out, i)
		}
	}
	return out
}

// Item finds an item by its id.
func (v Inventory) Item(id ID) (Item, bool) {
	for _, i := range v.Items {
		if i.ID == id {
			return i, true
		}
	}
	return Item{}, false
}

// Counts counts the items by status.
func (v Inventory) Counts() map[Status]int {
	out := map[Status]int{}
	for _, i := range v.Items {
		out[i.Status]++
	}
	return out
}

// Alarming reports whether something is overdue, or unknown.
func (v Inventory) Alarming() bool {
	n := v.Counts()
	return n[Overdue]+n[Unknown] > 0
}

// days says how far apart two instants are, in whole days.
func days(d time.Duration) string {
	n := int(d / (24 * time.Hour))
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}
