package entra

import (
	"context"
	"net/http"
	"time"

	"github.com/microsoft/kiota-abstractions-go/serialization"

	"github.com/twokey/twokey/runbook"
)

// What app management policies restrict about secrets, by Graph's names.
const (
	newPasswords     = "passwordAddition"
	passwordLifetime = "passwordLifetime"
)

type restriction struct {
	Kind     string    `json:"restrictionType"`
	State    string    `json:"state"`
	Longest  string    `json:"maxLifetime"` // an ISO 8601 duration
	NewSince time.Time `json:"restrictForAppsCreatedAfterDateTime"`
}

type restrictions struct {
	Passwords []restriction `json:"passwordCredentials"`
}

type tenantPolicy struct {
	Enabled      bool         `json:"isEnabled"`
	Applications restrictions `json:"applicationRestrictions"`
}

type ownPolicy struct {
	Enabled      bool         `json:"isEnabled"`
	Restrictions restrictions `json:"restrictions"`
}

// addPolicy reads what holds for the application's secrets: the tenant's policy
// and, restriction by restriction before it, the application's own. Without the
// permission to read them the application says that they were not read. Whom a
// policy exempts by custom attributes is not read either; such a rotation is
// clipped although it need not be.
func (c *Client) addPolicy(ctx context.Context, a *runbook.Application, created time.Time) error {
	tenant, err := get[tenantPolicy](ctx, c, "read the tenant's app management policy", "/policies/defaultAppManagementPolicy")
	if status(err) == http.StatusForbidden {
		return nil
	}
	if err != nil {
		return err
	}
	own, err := list[ownPolicy](ctx, c, "read the policies of "+a.Name, "/applications/"+string(a.Object)+"/appManagementPolicies")
	if status(err) == http.StatusForbidden {
		return nil
	}
	if err != nil {
		return err
	}
	effective := map[string]restriction{}
	if tenant.Enabled {
		overlay(effective, tenant.Applications.Passwords)
	}
	for _, p := range own {
		if p.Enabled {
			overlay(effective, p.Restrictions.Passwords)
		}
	}
	a.NewSecretsForbid = effective[newPasswords].holds(created)
	a.PolicyRead = true
	if r := effective[passwordLifetime]; r.holds(created) {
		a.MaxSecretLifetime, a.PolicyRead = lifetime(r.Longest)
	}
	return nil
}

func overlay(onto map[string]restriction, rs []restriction) {
	for _, r := range rs {
		onto[r.Kind] = r
	}
}

func (r restriction) holds(created time.Time) bool {
	return r.State == "enabled" && !created.Before(r.NewSince)
}

// lifetime reads a duration; none is no cap. One in months, or otherwise not
// understood, counts as not read: too long a secret is then refused by Graph at
// the first write, before anything has changed.
func lifetime(iso string) (longest time.Duration, understood bool) {
	if iso == "" {
		return 0, true
	}
	d, err := serialization.ParseISODuration(iso)
	if err != nil {
		return 0, false
	}
	longest, err = d.ToDuration()
	return longest, err == nil && longest > 0
}
