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
	a.PolicyRead = true
	a.NewSecretsForbid = effective[newPasswords].holds(created)
	if r := effective[passwordLifetime]; r.holds(created) {
		a.MaxSecretLifetime = lifetime(r.Longest)
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

// lifetime reads a duration. One that cannot be read caps at a day, since a
// policy is there: too short is seen in the plan, too long is refused at the
// first write.
func lifetime(iso string) time.Duration {
	const unreadable = 24 * time.Hour
	d, err := serialization.ParseISODuration(iso)
	if err != nil {
		return unreadable
	}
	out, err := d.ToDuration()
	if err != nil || out <= 0 {
		return unreadable
	}
	return out
}
