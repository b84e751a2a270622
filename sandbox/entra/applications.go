package entra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// document renders the application as a Graph replica of that age reads it.
func (s *Server) applicationDocument(a *application, age time.Duration) document {
	return document{
		"id": a.Object, "deletedDateTime": nil, "appId": a.Client, "displayName": a.Name,
		"description": orNull(a.Description), "notes": orNull(a.Notes),
		"createdDateTime": graphTime(a.Created), "disabledByMicrosoftStatus": nil, "isDisabled": trueOrNull(a.Disabled),
		"publisherDomain": nil, "signInAudience": "AzureADMyOrg", "identifierUris": []string{}, "tags": []string{},
		"appRoles": []document{}, "requiredResourceAccess": []document{},
		"keyCredentials":      certificateDocuments(a.Certs),
		"passwordCredentials": passwordDocuments(visible(a.Passwords, s.now(), age)),
	}
}

func (s *Server) principalDocument(a *application, age time.Duration) document {
	return document{
		"id": a.IDs.Principal, "deletedDateTime": nil, "appId": a.Client, "displayName": a.Name, "appDisplayName": a.Name,
		"accountEnabled": a.Principal.Enabled, "appOwnerOrganizationId": s.tenant, "appRoleAssignmentRequired": false,
		"disabledByMicrosoftStatus": nil, "isDisabled": trueOrNull(a.Disabled), "notes": nil, "servicePrincipalType": "Application",
		"servicePrincipalNames": []string{a.Client}, "signInAudience": "AzureADMyOrg", "tags": []string{},
		"keyCredentials":      certificateDocuments(a.Principal.Certs),
		"passwordCredentials": passwordDocuments(visible(a.Principal.Passwords, s.now(), age)),
	}
}

func passwordDocuments(list []Password) []document {
	out := []document{}
	for _, p := range list {
		out = append(out, passwordDocument(p))
	}
	return out
}

// passwordDocument never holds the text: Graph tells it once, in the answer to
// addPassword.
func passwordDocument(p Password) document {
	return document{
		"customKeyIdentifier": nil, "displayName": orNull(p.Name), "hint": p.Hint, "keyId": p.KeyID, "secretText": nil,
		"startDateTime": graphTime(p.Start), "endDateTime": graphTime(p.End),
	}
}

func certificateDocuments(list []Certificate) []document {
	out := []document{}
	for _, c := range list {
		out = append(out, document{
			"customKeyIdentifier": orNull(c.Thumbprint), "displayName": orNull(c.Name), "keyId": c.KeyID, "key": nil,
			"startDateTime": graphTime(c.Start), "endDateTime": graphTime(c.End),
			"type": "AsymmetricX509Cert", "usage": "Verify",
		})
	}
	return out
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// trueOrNull is how Graph tells a switch that was never touched.
func trueOrNull(b bool) any {
	if !b {
		return nil
	}
	return true
}

// byExpansion takes $expand=owners, alone or with a $select of its own.
var byExpansion = regexp.MustCompile(`^owners(?:\(\$select=([\w,]+)\))?$`)

// mostExpanded is how many objects of a relation Graph sends along.
const mostExpanded = 20

func (s *Server) listApplications(c *call) (any, error) {
	var members []string
	if expand := c.query.Get("$expand"); expand != "" {
		m := byExpansion.FindStringSubmatch(expand)
		if m == nil {
			return nil, badRequest("The expression '%s' cannot be expanded here.", expand)
		}
		if c.expanded = []string{"owners"}; m[1] != "" {
			members = strings.Split(m[1], ",")
		}
	}
	age, all := s.readReplica(), s.sorted()
	return c.listOf("applications", len(all), func(i int) document {
		d := s.applicationDocument(all[i], age)
		if len(c.expanded) > 0 {
			d["owners"] = s.ownerDocuments(all[i], members)
		}
		return d
	}, nil)
}

// ownerDocuments renders an application's owners with only these members; nil: all.
func (s *Server) ownerDocuments(a *application, members []string) []document {
	out := []document{}
	for _, d := range s.owners(a) {
		if len(out) == mostExpanded {
			break
		}
		some := document{}
		for k, v := range d {
			if members == nil || k == "@odata.type" || slices.Contains(members, k) {
				some[k] = v
			}
		}
		out = append(out, some)
	}
	return out
}

func (s *Server) getApplication(c *call) (any, error) {
	a, err := s.find(c.address)
	if err != nil {
		return nil, err
	}
	return c.one("applications/$entity", s.applicationDocument(a, s.readReplica()), nil)
}

func (s *Server) listServicePrincipals(c *call) (any, error) {
	var all []*application
	age := s.readReplica()
	for _, a := range s.sorted() {
		if a.Principal != nil {
			all = append(all, a)
		}
	}
	return c.listOf("servicePrincipals", len(all), func(i int) document { return s.principalDocument(all[i], age) }, nil)
}

func (s *Server) getServicePrincipal(c *call) (any, error) {
	a, err := s.find(c.address)
	if err != nil {
		return nil, err
	}
	if a.Principal == nil {
		return nil, notFound(c.key)
	}
	return c.one("servicePrincipals/$entity", s.principalDocument(a, s.readReplica()), nil)
}

func (s *Server) listOwners(c *call) (any, error) {
	a, err := s.find(c.address)
	if err != nil {
		return nil, err
	}
	return c.list("directoryObjects", s.owners(a), nil)
}

// owners renders an application's owners.
func (s *Server) owners(a *application) []document {
	all := []document{}
	for _, id := range a.Owners {
		var d document
		switch o := s.owner(id).(type) {
		case *User:
			d = userDocument(o)
			d["@odata.type"] = "#microsoft.graph.user"
		case *application:
			d = s.principalDocument(o, 0)
			d["@odata.type"] = "#microsoft.graph.servicePrincipal"
		}
		all = append(all, d)
	}
	return all
}

// listOwnedObjects lists the applications and service principals that a service
// principal owns, as Graph does: of mixed types.
func (s *Server) listOwnedObjects(c *call) (any, error) {
	owner, err := s.find(c.address)
	if err != nil {
		return nil, err
	}
	if owner.Principal == nil {
		return nil, notFound(c.key)
	}
	all, age := []document{}, s.readReplica()
	for _, a := range s.sorted() {
		if slices.Contains(a.Owners, owner.IDs.Principal) {
			d := s.applicationDocument(a, age)
			d["@odata.type"] = "#microsoft.graph.application"
			all = append(all, d)
		}
		if a.Principal != nil && slices.Contains(a.Principal.Owners, owner.IDs.Principal) {
			d := s.principalDocument(a, age)
			d["@odata.type"] = "#microsoft.graph.servicePrincipal"
			all = append(all, d)
		}
	}
	return c.list("directoryObjects", all, nil)
}

func (s *Server) listFederated(c *call) (any, error) {
	a, err := s.find(c.address)
	if err != nil {
		return nil, err
	}
	all := []document{}
	for _, f := range a.Federated {
		all = append(all, document{
			"id": f.ID, "name": f.Name, "issuer": f.Issuer, "subject": f.Subject, "audiences": f.Audiences, "description": nil,
		})
	}
	return c.list("applications('"+a.Object+"')/federatedIdentityCredentials", all, nil)
}

// owned finds the application that a write is about, and checks that the caller
// may change it.
func (s *Server) owned(c *call) (a *application, onPrincipal bool, err error) {
	if a, err = s.find(c.address); err != nil {
		return nil, false, err
	}
	owners := a.Owners
	if onPrincipal = c.collection == "servicePrincipals"; onPrincipal {
		if a.Principal == nil {
			return nil, false, notFound(c.key)
		}
		owners = a.Principal.Owners
	}
	if !c.mayWrite(owners) {
		return nil, false, denied()
	}
	return a, onPrincipal, nil
}

// passwordRequest is the body of addPassword, member by member as in Graph's model.
type passwordRequest struct {
	PasswordCredential struct {
		CustomKeyIdentifier *string    `json:"customKeyIdentifier"`
		DisplayName         *string    `json:"displayName"`
		EndDateTime         *time.Time `json:"endDateTime"`
		StartDateTime       *time.Time `json:"startDateTime"`
	} `json:"passwordCredential"`
}

func (s *Server) addPassword(c *call) (any, error) {
	a, onPrincipal, err := s.owned(c)
	if err != nil {
		return nil, err
	}
	var in passwordRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	n := NewPassword{OnServicePrincipal: onPrincipal}
	want := in.PasswordCredential
	if want.DisplayName != nil {
		n.Name = *want.DisplayName
	}
	if want.StartDateTime != nil {
		n.Start = *want.StartDateTime
	}
	if want.EndDateTime != nil {
		n.End = *want.EndDateTime
	}
	p := s.newPassword(n)
	if !p.End.After(p.Start) || !p.End.After(s.now()) {
		return nil, badRequest("Credential end date is invalid.")
	}
	if err := s.effectivePolicy(a).allows(a, p); err != nil {
		return nil, err
	}
	p.Added = s.now()
	list := a.passwords(onPrincipal)
	before := len(visible(*list, p.Added, 0))
	*list = append(*list, p)
	s.audit(c, a, credentialsActivity(onPrincipal, "Add", len(s.audits)), keyChange(before, before+1, p))
	out := passwordDocument(p)
	out["secretText"] = p.Secret
	out["@odata.context"] = c.base + "/$metadata#microsoft.graph.passwordCredential"
	return out, nil
}

// removePassword refuses a key that the replica serving it does not know, which
// is also how a key that was added a moment ago is refused.
func (s *Server) removePassword(c *call) (any, error) {
	a, onPrincipal, err := s.owned(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		KeyID string `json:"keyId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if _, err := uuid.Parse(in.KeyID); err != nil {
		return nil, badRequest("Cannot convert the literal '%s' to the expected type 'Edm.Guid'.", in.KeyID)
	}
	list := *a.passwords(onPrincipal)
	p := findPassword(list, in.KeyID)
	if p == nil || !p.Removed.IsZero() || !p.knownAt(s.now(), s.readReplica(), 0) {
		return nil, badRequest("No password credential found with keyId %s.", in.KeyID)
	}
	before := len(visible(list, s.now(), 0))
	p.Removed = s.now()
	s.audit(c, a, credentialsActivity(onPrincipal, "Remove", len(s.audits)), keyChange(before, before-1, *p))
	return nil, nil
}

func (s *Server) updateApplication(c *call) (any, error) {
	a, _, err := s.owned(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		DisplayName *string `json:"displayName"`
		Description *string `json:"description"`
		Notes       *string `json:"notes"`
		IsDisabled  *bool   `json:"isDisabled"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.IsDisabled != nil && !c.beta {
		return nil, badRequest("Property 'isDisabled' is read-only and cannot be set.")
	}
	for to, from := range map[*string]*string{&a.Name: in.DisplayName, &a.Description: in.Description, &a.Notes: in.Notes} {
		if from != nil {
			*to = *from
		}
	}
	if in.IsDisabled != nil {
		a.Disabled = *in.IsDisabled
	}
	s.audit(c, a, "Update application", nil)
	return nil, nil
}

func (s *Server) updateServicePrincipal(c *call) (any, error) {
	a, _, err := s.owned(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		AccountEnabled *bool `json:"accountEnabled"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	var changed map[string]change
	if in.AccountEnabled != nil {
		changed = map[string]change{"AccountEnabled": {Old: fmt.Sprintf("[%t]", a.Principal.Enabled), New: fmt.Sprintf("[%t]", *in.AccountEnabled)}}
		a.Principal.Enabled = *in.AccountEnabled
	}
	s.audit(c, a, "Update service principal", changed)
	return nil, nil
}

// decode reads a body and refuses what this stand-in would otherwise ignore.
func (c *call) decode(into any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		name, isUnknown := strings.CutPrefix(err.Error(), "json: unknown field ")
		if isUnknown {
			return badRequest("Invalid property '%s'.", strings.Trim(name, `"`))
		}
		return badRequest("Unable to read JSON request payload.")
	}
	return nil
}

// credentialsActivity words a change of secrets as the audit log does: for
// applications with an en dash and a space at the end or with a hyphen, by turns,
// as both are seen.
func credentialsActivity(onPrincipal bool, verb string, turn int) string {
	if onPrincipal {
		return verb + " service principal credentials"
	}
	return []string{"Update application \u2013 Certificates and secrets management ", "Update application - Certificates and secrets management"}[turn%2]
}

// userDefaults is what Graph sends of a user that nothing was selected of;
// accountEnabled is not among it.
func userDefaults() []string {
	return []string{"businessPhones", "displayName", "givenName", "id", "jobTitle", "mail", "mobilePhone", "officeLocation", "preferredLanguage", "surname", "userPrincipalName"}
}

func userDocument(u *User) document {
	userType := "Member"
	if u.Guest {
		userType = "Guest"
	}
	first, last, _ := strings.Cut(u.Name, " ")
	return document{
		"id": u.ID, "deletedDateTime": nil, "displayName": u.Name, "givenName": orNull(first), "surname": orNull(last),
		"mail": orNull(u.Mail), "userPrincipalName": u.UserPrincipalName, "accountEnabled": u.Enabled, "userType": userType,
		"businessPhones": []string{}, "jobTitle": nil, "mobilePhone": nil, "officeLocation": nil, "preferredLanguage": nil,
		"otherMails": []string{}, "proxyAddresses": []string{},
	}
}

func (s *Server) listUsers(c *call) (any, error) {
	var all []document
	for _, u := range s.users {
		all = append(all, userDocument(u))
	}
	slices.SortFunc(all, func(a, b document) int { return strings.Compare(text(a["id"]), text(b["id"])) })
	return c.list("users", all, userDefaults())
}

func (s *Server) getUser(c *call) (any, error) {
	for _, u := range s.users {
		if strings.EqualFold(u.ID, c.key) || strings.EqualFold(u.UserPrincipalName, c.key) {
			return c.one("users/$entity", userDocument(u), userDefaults())
		}
	}
	return nil, notFound(c.key)
}
