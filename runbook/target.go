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

	// Module is where Terraform provisions it, if it does.
	Module Module `json:",omitzero"`

	Policy operation.Policy
	// EmergencySecondFactor is true where an emergency's confirmation takes a code
	// of the approver's authenticator app, as Policy says it of everything else.
	EmergencySecondFactor bool `json:",omitempty"`

	// Owner is told when it is due. Who that is changes nothing of what is done,
	// so it is no part of a plan.
	Owner Owner `json:"-"`
}

// Owner is who looks after something that expires, and where they are told.
type Owner struct {
	Name       string              `json:"name,omitempty"`
	Channel    operation.ChannelID `json:"channel,omitempty"`    // empty: where requests are confirmed
	Escalation operation.ChannelID `json:"escalation,omitempty"` // where it is told when nobody acts
}

// PendingParameter is where a new secret waits until it is proven.
func (t Target) PendingParameter() string { return t.SecretParameter + ".pending" }
