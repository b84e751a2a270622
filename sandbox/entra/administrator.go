package entra

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
)

// Hand is whose hand changes something beside the bot: a person who is signed in
// to the portal, or somebody who holds such a person's session.
type Hand struct {
	ID      string `json:"id,omitempty"` // object id
	User    string `json:"user"`         // userPrincipalName
	Address string `json:"address"`
}

// Administrator changes applications as a person does in the portal. Unlike the
// tenant's own methods, which seed, what it does is in the directory audits.
type Administrator struct {
	tenant *Server
	hand   Hand
}

// By returns an administrator with that hand; what is left empty is made up.
func (s *Server) By(h Hand) Administrator {
	h.User, h.Address = cmp.Or(h.User, "administrator@contoso.example"), cmp.Or(h.Address, "198.51.100.10")
	h.ID = cmp.Or(h.ID, uuid.NewSHA1(uuid.NameSpaceDNS, []byte(h.User)).String())
	return Administrator{s, h}
}

// AddPassword makes a secret that every replica knows at once.
func (m Administrator) AddPassword(client string, n NewPassword) (Password, error) {
	p, err := m.tenant.AddPassword(client, n)
	if err != nil {
		return Password{}, err
	}
	return p, m.audit(client, func(a *application) (string, []target) {
		return credentialsActivity(n.OnServicePrincipal, "Add", len(m.tenant.audits)), []target{a.target(n.OnServicePrincipal, keyChange(0, 1, p))}
	})
}

// RemovePassword takes a secret away.
func (m Administrator) RemovePassword(client, keyID string) error {
	if err := m.tenant.RemovePassword(client, keyID); err != nil {
		return err
	}
	return m.audit(client, func(a *application) (string, []target) {
		p := findPassword(a.Passwords, keyID)
		principal := p == nil
		if principal {
			p = findPassword(*a.passwords(true), keyID)
		}
		return credentialsActivity(principal, "Remove", len(m.tenant.audits)), []target{a.target(principal, keyChange(1, 0, *p))}
	})
}

// AddOwner makes a user or a service principal an owner of the application and
// of its service principal. The audit is about the owner; the application stands
// in what it changed.
func (m Administrator) AddOwner(client, owner string) error {
	if err := m.tenant.AddOwner(client, owner); err != nil {
		return err
	}
	return m.audit(client, func(a *application) (string, []target) {
		who := target{ID: owner, Type: "User", Changed: map[string]change{
			"Application.ObjectID": {New: asJSON(a.Object)}, "Application.DisplayName": {New: asJSON(a.Name)}, "Application.AppId": {New: asJSON(a.Client)},
		}}
		switch o := m.tenant.owner(owner).(type) {
		case *User:
			who.Name = o.UserPrincipalName
		case *application:
			who.Type, who.Name = "ServicePrincipal", o.Name
		}
		return "Add owner to application", []target{who, {ID: a.Object, Type: "Application"}}
	})
}

// AddFederatedCredential lets a token of f.Issuer about f.Subject sign the
// application in.
func (m Administrator) AddFederatedCredential(client string, f Federated) error {
	if err := m.tenant.AddFederatedCredential(client, f); err != nil {
		return err
	}
	return m.audit(client, func(a *application) (string, []target) {
		return "Update application", []target{a.target(false, map[string]change{
			"FederatedIdentityCredentials": {Old: "[]", New: asJSON([]map[string]any{{"Name": f.Name, "Issuer": f.Issuer, "Subject": f.Subject, "Audiences": f.Audiences}})},
			"Included Updated Properties":  {New: `"FederatedIdentityCredentials"`},
		})}
	})
}

// audit writes down what the administrator did to an application.
func (m Administrator) audit(client string, tell func(*application) (string, []target)) error {
	return m.tenant.change(client, func(a *application) error {
		e := audit{ID: uuid.NewString(), At: m.tenant.now(), Hand: &m.hand, Agent: "Mozilla/5.0"}
		e.Activity, e.Targets = tell(a)
		m.tenant.audits = bounded(append(m.tenant.audits, e))
		return nil
	})
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("entra: cannot encode %T: %v", v, err)) // it is made of texts
	}
	return string(b)
}
