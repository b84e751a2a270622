package entra

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ErrUnknown is wrapped by what the seeding methods return for an application,
// key or user that is not in the tenant.
var ErrUnknown = errors.New("not in this tenant")

// IDs are the three ids of one registered application.
type IDs struct {
	Object    string `json:"object_id"`
	Client    string `json:"client_id"`
	Principal string `json:"service_principal_id,omitempty"`
}

// NewApplication is what an application is registered with.
type NewApplication struct {
	Name    string    `json:"name"`
	Client  string    `json:"client_id,omitempty"` // made up when empty
	Created time.Time `json:"created,omitzero"`    // now when zero
	// Roles are the app permissions that an administrator consented to, such
	// as "Application.ReadWrite.OwnedBy".
	Roles            []string `json:"roles,omitempty"`
	WithoutPrincipal bool     `json:"without_service_principal,omitempty"`
}

// NewPassword is what a secret is seeded with.
type NewPassword struct {
	Name               string    `json:"name"`
	Start              time.Time `json:"start,omitzero"` // now when zero
	End                time.Time `json:"end,omitzero"`   // two years after Start when zero
	Secret             string    `json:"secret,omitempty"`
	OnServicePrincipal bool      `json:"on_service_principal,omitempty"`
}

// Password is one secret; removed ones stay, with the time of their removal.
type Password struct {
	KeyID   string    `json:"key_id"`
	Name    string    `json:"name"`
	Hint    string    `json:"hint"`
	Secret  string    `json:"secret"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Added   time.Time `json:"added,omitzero"` // zero for seeds: known everywhere
	Removed time.Time `json:"removed,omitzero"`
	Revoked bool      `json:"revoked,omitempty"`
}

// NewCertificate is what a certificate is seeded with.
type NewCertificate struct {
	Name               string    `json:"name"`
	Start              time.Time `json:"start,omitzero"` // now when zero
	End                time.Time `json:"end,omitzero"`   // a year after Start when zero
	Thumbprint         string    `json:"thumbprint,omitempty"`
	OnServicePrincipal bool      `json:"on_service_principal,omitempty"`
}

// Certificate is one certificate of an application or a service principal.
type Certificate struct {
	KeyID      string    `json:"key_id"`
	Name       string    `json:"name"`
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
	Thumbprint string    `json:"thumbprint,omitempty"` // customKeyIdentifier
}

// Federated lets tokens of another issuer sign an application in.
type Federated struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject"`
	Audiences []string `json:"audiences"`
}

// Policy is an app management policy, as far as it is about secrets.
type Policy struct {
	ID              string    `json:"id,omitempty"`
	Enabled         bool      `json:"enabled"`
	MaxLifetimeDays int       `json:"max_lifetime_days,omitempty"` // 0: no restriction
	ForbidPasswords bool      `json:"forbid_passwords,omitempty"`
	CreatedAfter    time.Time `json:"created_after,omitzero"` // only for applications created later
}

// User is a person of the directory.
type User struct {
	ID                string `json:"id"`
	Name              string `json:"name"`
	Mail              string `json:"mail"`
	UserPrincipalName string `json:"user_principal_name"`
	Enabled           bool   `json:"enabled"`
	Guest             bool   `json:"guest,omitempty"`
}

type application struct {
	IDs
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	Notes       string        `json:"notes,omitempty"`
	Created     time.Time     `json:"created"`
	Disabled    bool          `json:"disabled"`
	Blocked     bool          `json:"blocked_by_conditional_access"`
	Roles       []string      `json:"roles"`
	Owners      []string      `json:"owners"`
	Passwords   []Password    `json:"passwords"`
	Certs       []Certificate `json:"certificates"`
	Federated   []Federated   `json:"federated_credentials"`
	Policy      *Policy       `json:"policy,omitempty"`
	Principal   *principal    `json:"service_principal,omitempty"`
}

type principal struct {
	Enabled   bool          `json:"enabled"`
	Owners    []string      `json:"owners"`
	Passwords []Password    `json:"passwords"`
	Certs     []Certificate `json:"certificates"`
}

// AddApplication registers an application, with a service principal unless told
// otherwise.
func (s *Server) AddApplication(n NewApplication) IDs {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &application{
		IDs:     IDs{Object: uuid.NewString(), Client: n.Client},
		Name:    n.Name,
		Created: n.Created,
		Roles:   slices.Clone(n.Roles),
	}
	if a.Client == "" {
		a.Client = uuid.NewString()
	}
	if a.Created.IsZero() {
		a.Created = s.now()
	}
	if !n.WithoutPrincipal {
		a.IDs.Principal = uuid.NewString()
		a.Principal = &principal{Enabled: true}
	}
	s.applications[strings.ToLower(a.Client)] = a
	s.inOrder = nil
	return a.IDs
}

// AddOwner makes a user or a service principal, by object id, an owner of the
// application and of its service principal.
func (s *Server) AddOwner(client, owner string) error {
	return s.change(client, func(a *application) error {
		if s.owner(owner) == nil {
			return fmt.Errorf("owner %s: %w", owner, ErrUnknown)
		}
		a.Owners = append(a.Owners, owner)
		if a.Principal != nil {
			a.Principal.Owners = append(a.Principal.Owners, owner)
		}
		return nil
	})
}

// RemoveOwner takes an owner of the application and of its service principal away.
func (s *Server) RemoveOwner(client, owner string) error {
	return s.change(client, func(a *application) error {
		is := func(id string) bool { return id == owner }
		a.Owners = slices.DeleteFunc(a.Owners, is)
		if a.Principal != nil {
			a.Principal.Owners = slices.DeleteFunc(a.Principal.Owners, is)
		}
		return nil
	})
}

// AddPassword seeds a secret that every replica knows at once.
func (s *Server) AddPassword(client string, n NewPassword) (Password, error) {
	p := s.newPassword(n)
	err := s.change(client, func(a *application) error {
		if n.OnServicePrincipal && a.Principal == nil {
			return fmt.Errorf("service principal of %s: %w", client, ErrUnknown)
		}
		list := a.passwords(n.OnServicePrincipal)
		*list = append(*list, p)
		return nil
	})
	return p, err
}

// RemovePassword takes a secret away as an administrator in the portal would.
func (s *Server) RemovePassword(client, keyID string) error {
	return s.changePassword(client, keyID, func(p *Password) { p.Removed = s.now() })
}

// RevokePassword makes a secret refused as revoked.
func (s *Server) RevokePassword(client, keyID string) error {
	return s.changePassword(client, keyID, func(p *Password) { p.Revoked = true })
}

// AddCertificate seeds a certificate. Nothing can sign in with it; it is there
// to be listed and to expire.
func (s *Server) AddCertificate(client string, n NewCertificate) (Certificate, error) {
	if n.Start.IsZero() {
		n.Start = s.now()
	}
	if n.End.IsZero() {
		n.End = n.Start.AddDate(1, 0, 0)
	}
	c := Certificate{KeyID: uuid.NewString(), Name: n.Name, Start: n.Start.UTC(), End: n.End.UTC(), Thumbprint: n.Thumbprint}
	return c, s.change(client, func(a *application) error {
		switch {
		case !n.OnServicePrincipal:
			a.Certs = append(a.Certs, c)
		case a.Principal == nil:
			return fmt.Errorf("service principal of %s: %w", client, ErrUnknown)
		default:
			a.Principal.Certs = append(a.Principal.Certs, c)
		}
		return nil
	})
}

// SetLastUse has the report tell that a key last got a token at that instant.
func (s *Server) SetLastUse(client, keyID string, at time.Time) error {
	return s.change(client, func(a *application) error {
		p := a.password(keyID)
		if p == nil {
			return fmt.Errorf("key %s: %w", keyID, ErrUnknown)
		}
		s.used(a, p.KeyID, at, uuid.NewString())
		return nil
	})
}

// Population is many applications at once, for what must bear a large tenant.
type Population struct {
	Applications int    `json:"applications"`
	Keys         int    `json:"keys"` // of each
	Name         string `json:"name"` // what the applications' names begin with
	Owner        string `json:"owner,omitempty"`
	Used         bool   `json:"used,omitempty"` // every key got a token once
}

// Populate adds a population. The keys end at different days of the two years
// that begin a month ago.
func (s *Server) Populate(p Population) error {
	for n := range p.Applications {
		ids := s.AddApplication(NewApplication{Name: fmt.Sprintf("%s-%05d", p.Name, n)})
		if p.Owner != "" {
			if err := s.AddOwner(ids.Client, p.Owner); err != nil {
				return err
			}
		}
		for k := range p.Keys {
			end := s.now().AddDate(0, 0, (n*p.Keys+k)%730-30)
			key, err := s.AddPassword(ids.Client, NewPassword{Name: fmt.Sprintf("key %d", k), Start: end.AddDate(-2, 0, 0), End: end})
			if err != nil {
				return err
			}
			if p.Used {
				if err := s.SetLastUse(ids.Client, key.KeyID, s.now().Add(-time.Hour)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// AddFederatedCredential lets a token of f.Issuer about f.Subject sign the
// application in. The issuer's keys are told by [Server.TrustIssuer].
func (s *Server) AddFederatedCredential(client string, f Federated) error {
	f.ID = uuid.NewString()
	return s.change(client, func(a *application) error {
		a.Federated = append(a.Federated, f)
		return nil
	})
}

// TrustIssuer tells the public keys that an issuer of federated credentials
// signs with. The real service reads them from the issuer's discovery document.
func (s *Server) TrustIssuer(issuer string, keys ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusted[issuer] = keys
}

// AddUser adds a person, or replaces the one with that id, and returns the id.
func (s *Server) AddUser(u User) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.ID == "" {
		u.ID = uuid.NewString()
	}
	s.users[u.ID] = &u
	return u.ID
}

// SetDefaultPolicy sets the tenant's default app management policy.
func (s *Server) SetDefaultPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.defaultPolicy = p
}

// Change is what can be changed about an application from outside; nil members
// stay as they are.
type Change struct {
	Disabled                   *bool    `json:"disabled"`
	PrincipalEnabled           *bool    `json:"service_principal_enabled"`
	BlockedByConditionalAccess *bool    `json:"blocked_by_conditional_access"`
	Roles                      []string `json:"roles"`
	// Policy is the application's own policy; it goes before the default one.
	Policy *Policy `json:"policy"`
}

// ChangeApplication applies c.
func (s *Server) ChangeApplication(client string, c Change) error {
	return s.change(client, func(a *application) error {
		if c.PrincipalEnabled != nil {
			if a.Principal == nil {
				return fmt.Errorf("service principal of %s: %w", client, ErrUnknown)
			}
			a.Principal.Enabled = *c.PrincipalEnabled
		}
		if c.Disabled != nil {
			a.Disabled = *c.Disabled
		}
		if c.BlockedByConditionalAccess != nil {
			a.Blocked = *c.BlockedByConditionalAccess
		}
		if c.Roles != nil {
			a.Roles = slices.Clone(c.Roles)
		}
		if c.Policy != nil {
			p := *c.Policy
			if p.ID == "" {
				p.ID = uuid.NewString()
			}
			a.Policy = &p
		}
		return nil
	})
}

// change runs f on an application under the lock.
func (s *Server) change(client string, f func(*application) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.applications[strings.ToLower(client)]
	if a == nil {
		return fmt.Errorf("application %s: %w", client, ErrUnknown)
	}
	return f(a)
}

func (s *Server) changePassword(client, keyID string, f func(*Password)) error {
	return s.change(client, func(a *application) error {
		for _, onPrincipal := range []bool{false, true} {
			if p := findPassword(*a.passwords(onPrincipal), keyID); p != nil && p.Removed.IsZero() {
				f(p)
				return nil
			}
		}
		return fmt.Errorf("key %s: %w", keyID, ErrUnknown)
	})
}

// passwords returns the application's own list, or its service principal's.
func (a *application) passwords(onPrincipal bool) *[]Password {
	if !onPrincipal {
		return &a.Passwords
	}
	if a.Principal == nil {
		return &[]Password{}
	}
	return &a.Principal.Passwords
}

// password finds a secret of the application or of its service principal; nil when
// there is none.
func (a *application) password(keyID string) *Password {
	if p := findPassword(a.Passwords, keyID); p != nil {
		return p
	}
	return findPassword(*a.passwords(true), keyID)
}

func findPassword(list []Password, keyID string) *Password {
	for i := range list {
		if strings.EqualFold(list[i].KeyID, keyID) {
			return &list[i]
		}
	}
	return nil
}

// newPassword makes a secret up where none is given.
func (s *Server) newPassword(n NewPassword) Password {
	if n.Start.IsZero() {
		n.Start = s.now()
	}
	if n.End.IsZero() {
		n.End = n.Start.AddDate(2, 0, 0)
	}
	if n.Secret == "" {
		n.Secret = newSecret()
	}
	return Password{
		KeyID:  uuid.NewString(),
		Name:   n.Name,
		Hint:   n.Secret[:min(3, len(n.Secret))],
		Secret: n.Secret,
		Start:  n.Start.UTC(),
		End:    n.End.UTC(),
	}
}

// owner returns what an owner's object id stands for: a *User, an *application
// (for its service principal) or nil.
func (s *Server) owner(id string) any {
	if u := s.users[id]; u != nil {
		return u
	}
	for _, a := range s.applications {
		if a.IDs.Principal == id && id != "" {
			return a
		}
	}
	return nil
}

// newSecret makes a text in the form of Entra's own, by which scanners know one:
// three characters, a digit, "Q~" and 31 to 34 more.
func newSecret() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return pick(letters, 3) + pick("0123456789", 1) + "Q~" + pick(letters+"-_.~", 31+number(4))
}

func pick(from string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = from[number(len(from))]
	}
	return string(b)
}

func number(below int) int {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(below)))
	if err != nil {
		panic("entra: no randomness: " + err.Error()) // crypto/rand does not fail on supported systems
	}
	return int(n.Int64())
}
