package runbook

import (
	"time"

	"github.com/twokey/twokey/operation"
)

// Target is one secret of the configuration and all that it is tied to.
type Target struct {
	Name        operation.SecretName // "sharepoint/prod"
	Server      string               // "sharepoint"
	Environment string               // "prod"

	ClientIDParameter string // SSM parameter that holds the application's client id
	SecretParameter   string // SSM parameter that holds the client secret
	KMSKey            string // the key that the parameter must be encrypted with: "aws/ssm"

	Cluster  string // ECS cluster
	Service  string // ECS service
	Variable string // environment variable that the task definition injects the secret as

	MCP Endpoint // the MCP server and its test tool call

	// LifetimeMonths is how long a new secret lives, in calendar months.
	LifetimeMonths int
	// Overlap is how long the old key lives on beside the new one.
	Overlap time.Duration
	// OverlapUntilExpiry keeps the old key until it expires by itself.
	OverlapUntilExpiry bool

	// ChangeReferencePattern is a regular expression that a rotation's change
	// reference must match; empty: none is asked for.
	ChangeReferencePattern string

	// Canary secrets are there for drills: nobody depends on them.
	Canary bool

	Policy operation.Policy
}

// PendingParameter is where a new secret waits until it is proven.
func (t Target) PendingParameter() string { return t.SecretParameter + ".pending" }
