package entra

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// State is the whole tenant, values of secrets included.
type State struct {
	Tenant        string         `json:"tenant"`
	Applications  []application  `json:"applications"`
	Users         []User         `json:"users"`
	DefaultPolicy Policy         `json:"default_policy"`
	Behaviour     Behaviour      `json:"behaviour"`
	LateTimeouts  map[string]int `json:"late_timeouts"`
	Tokens        []Token        `json:"tokens"`
	SignIns       []signIn       `json:"sign_ins"`
	Audits        []audit        `json:"directory_audits"`
}

// State returns a copy of everything.
func (s *Server) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := State{
		Tenant: s.tenant, DefaultPolicy: s.defaultPolicy, Behaviour: s.behaviour, LateTimeouts: map[string]int{},
		Applications: []application{}, Users: []User{},
		Tokens: slices.Clone(s.tokens), SignIns: slices.Clone(s.signIns), Audits: slices.Clone(s.audits),
	}
	for k, v := range s.lateTimeouts {
		out.LateTimeouts[k] = v
	}
	for _, a := range s.sorted() {
		out.Applications = append(out.Applications, a.clone())
	}
	for _, u := range s.users {
		out.Users = append(out.Users, *u)
	}
	return out
}

// clone copies what changes after the lock is given back.
func (a *application) clone() application {
	c := *a
	c.Roles, c.Owners = slices.Clone(a.Roles), slices.Clone(a.Owners)
	c.Passwords, c.Certs, c.Federated = slices.Clone(a.Passwords), slices.Clone(a.Certs), slices.Clone(a.Federated)
	if a.Principal != nil {
		p := *a.Principal
		p.Owners, p.Passwords, p.Certs = slices.Clone(p.Owners), slices.Clone(p.Passwords), slices.Clone(p.Certs)
		c.Principal = &p
	}
	return c
}

// Control serves this stand-in's settings, relative to /_sandbox/entra.
// sandbox/entra/README.md lists them.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.State(), nil) })
	mux.HandleFunc("PUT /behaviour", control(func(_ *http.Request, b Behaviour) (any, error) {
		s.SetBehaviour(b)
		return b, nil
	}))
	mux.HandleFunc("PUT /late-timeouts", control(func(_ *http.Request, in struct {
		Operation string `json:"operation"`
		Count     int    `json:"count"`
	}) (any, error) {
		s.TimeOutAfter(in.Operation, in.Count)
		return in, nil
	}))
	mux.HandleFunc("PUT /default-policy", control(func(_ *http.Request, p Policy) (any, error) {
		s.SetDefaultPolicy(p)
		return p, nil
	}))
	mux.HandleFunc("POST /users", control(func(_ *http.Request, u User) (any, error) {
		u.ID = s.AddUser(u)
		return u, nil
	}))
	s.controlApplications(mux)
	return mux
}

func (s *Server) controlApplications(mux *http.ServeMux) {
	mux.HandleFunc("POST /applications", control(func(_ *http.Request, n NewApplication) (any, error) {
		return s.AddApplication(n), nil
	}))
	mux.HandleFunc("PATCH /applications/{client}", control(func(r *http.Request, c Change) (any, error) {
		return c, s.ChangeApplication(r.PathValue("client"), c)
	}))
	mux.HandleFunc("POST /applications/{client}/owners", control(func(r *http.Request, in struct {
		ID string `json:"id"`
		By Hand   `json:"by"`
	}) (any, error) {
		return in, s.By(in.By).AddOwner(r.PathValue("client"), in.ID)
	}))
	mux.HandleFunc("POST /applications/{client}/federated-credentials", control(func(r *http.Request, in struct {
		Federated
		By Hand `json:"by"`
	}) (any, error) {
		return in, s.By(in.By).AddFederatedCredential(r.PathValue("client"), in.Federated)
	}))
	mux.HandleFunc("POST /applications/{client}/passwords", control(func(r *http.Request, in struct {
		NewPassword
		By Hand `json:"by"`
	}) (any, error) {
		return s.By(in.By).AddPassword(r.PathValue("client"), in.NewPassword)
	}))
	mux.HandleFunc("POST /applications/{client}/certificates", control(func(r *http.Request, n NewCertificate) (any, error) {
		return s.AddCertificate(r.PathValue("client"), n)
	}))
	mux.HandleFunc("PUT /applications/{client}/passwords/{key}/last-use", control(func(r *http.Request, at time.Time) (any, error) {
		return at, s.SetLastUse(r.PathValue("client"), r.PathValue("key"), at)
	}))
	mux.HandleFunc("POST /population", control(func(_ *http.Request, p Population) (any, error) {
		return p, s.Populate(p)
	}))
	mux.HandleFunc("DELETE /applications/{client}/passwords/{key}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, s.By(Hand{}).RemovePassword(r.PathValue("client"), r.PathValue("key")))
	})
	mux.HandleFunc("POST /applications/{client}/passwords/{key}/revoke", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, s.RevokePassword(r.PathValue("client"), r.PathValue("key")))
	})
}

// control decodes the body strictly: a misspelt setting must not pass for set.
func control[In any](do func(*http.Request, In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			conditions.WriteJSON(w, http.StatusBadRequest, "application/json", map[string]string{"error": err.Error()})
			return
		}
		out, err := do(r, in)
		reply(w, out, err)
	}
}

func reply(w http.ResponseWriter, out any, err error) {
	switch {
	case errors.Is(err, ErrUnknown):
		conditions.WriteJSON(w, http.StatusNotFound, "application/json", map[string]string{"error": err.Error()})
	case err != nil:
		conditions.WriteJSON(w, http.StatusBadRequest, "application/json", map[string]string{"error": err.Error()})
	default:
		conditions.WriteJSON(w, http.StatusOK, "application/json", out)
	}
}
