package entra

import (
	"fmt"
	"net/http"
	"time"
)

// The ids and names of the policy that every tenant has.
const (
	defaultPolicyID   = "00000000-0000-0000-0000-000000000000"
	defaultPolicyName = "Default app management tenant policy"
)

// effectivePolicy is what holds for an application: for each restriction its own
// policy where that says something, else the tenant's.
func (s *Server) effectivePolicy(a *application) Policy {
	p := s.defaultPolicy
	p.ID = defaultPolicyID
	if !p.appliesTo(a) {
		p = Policy{ID: defaultPolicyID}
	}
	own := a.Policy
	if own == nil || !own.appliesTo(a) {
		return p
	}
	p.ID = own.ID
	if own.MaxLifetimeDays > 0 {
		p.MaxLifetimeDays = own.MaxLifetimeDays
	}
	p.ForbidPasswords = p.ForbidPasswords || own.ForbidPasswords
	return p
}

func (p Policy) appliesTo(a *application) bool {
	return p.Enabled && !a.Created.Before(p.CreatedAfter)
}

// allows refuses a new secret that the policy does not admit.
func (p Policy) allows(a *application, secret Password) error {
	if p.ForbidPasswords {
		return &graphError{
			status: http.StatusBadRequest, code: "CredentialTypeNotAllowedAsPerAppPolicy",
			message: fmt.Sprintf("Credential type not allowed as per assigned policy '%s'.", p.ID),
		}
	}
	longest := time.Duration(p.MaxLifetimeDays) * 24 * time.Hour
	if longest > 0 && secret.End.Sub(secret.Start) > longest {
		return &graphError{
			status: http.StatusBadRequest, code: "CredentialInvalidLifetimeAsPerAppPolicy",
			message: fmt.Sprintf("Credential lifetime exceeds the max value allowed as per assigned policy '%s'.", p.ID),
		}
	}
	return nil
}

// restrictions renders the policy's two restrictions as passwordCredentials.
func (p Policy) restrictions() document {
	list := []document{}
	since := any(nil)
	if !p.CreatedAfter.IsZero() {
		since = graphTime(p.CreatedAfter)
	}
	one := func(kind string, longest any) document {
		return document{"restrictionType": kind, "state": "enabled", "maxLifetime": longest, "restrictForAppsCreatedAfterDateTime": since, "excludeActors": nil}
	}
	if p.ForbidPasswords {
		list = append(list, one("passwordAddition", nil))
	}
	if p.MaxLifetimeDays > 0 {
		list = append(list, one("passwordLifetime", fmt.Sprintf("P%dD", p.MaxLifetimeDays)))
	}
	return document{"passwordCredentials": list, "keyCredentials": []document{}}
}

func (s *Server) getDefaultPolicy(c *call) (any, error) {
	return c.one("policies/defaultAppManagementPolicy/$entity", document{
		"id": defaultPolicyID, "displayName": defaultPolicyName,
		"description": "Default tenant policy that enforces app management restrictions on applications and service principals.",
		"isEnabled":   s.defaultPolicy.Enabled,

		"applicationRestrictions":      s.defaultPolicy.restrictions(),
		"servicePrincipalRestrictions": Policy{}.restrictions(),
	}, nil)
}

func (p *Policy) document(name string) document {
	return document{
		"id": p.ID, "deletedDateTime": nil, "displayName": "Secrets of " + name, "description": "", "isEnabled": p.Enabled,
		"restrictions": p.restrictions(),
	}
}

func (s *Server) listPolicies(c *call) (any, error) {
	all := []document{}
	for _, a := range s.sorted() {
		if a.Policy != nil {
			all = append(all, a.Policy.document(a.Name))
		}
	}
	return c.list("policies/appManagementPolicies", all, nil)
}

func (s *Server) listPoliciesOfApplication(c *call) (any, error) {
	a, err := s.find(c.address)
	if err != nil {
		return nil, err
	}
	all := []document{}
	if a.Policy != nil {
		all = append(all, a.Policy.document(a.Name))
	}
	return c.list("appManagementPolicies", all, nil)
}
