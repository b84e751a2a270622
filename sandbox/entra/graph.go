package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/twokey/twokey/sandbox/conditions"
)

// route is one operation of Graph.
type route struct {
	operation string
	write     bool
	beta      bool     // only there under /beta
	roles     []string // any of these app permissions admits
	serve     func(*Server, *call) (any, error)
}

// call is one request to Graph, under the server's lock.
type call struct {
	address
	caller caller
	route  route
	query  url.Values
	body   json.RawMessage
	r      *http.Request
	// expanded are the relations that are sent along with each entity.
	expanded []string
}

// address is what a Graph path names: a collection, perhaps one of its members,
// and what is wanted of it.
type address struct {
	beta       bool
	base       string // "https://host/v1.0"
	collection string
	name       string // of the alternative key: "appId"; empty for the object id
	key        string
	rest       string // "addPassword"
}

var byAlternativeKey = regexp.MustCompile(`^(\w+)\((\w+)='([^']*)'\)$`)

// graphRoutes is all of Graph that is here.
func graphRoutes() map[string]route {
	readApps := []string{"Application.Read.All", "Application.ReadWrite.All", "Application.ReadWrite.OwnedBy", "Directory.Read.All"}
	writeApps := []string{"Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"}
	readUsers := []string{"User.Read.All", "Directory.Read.All"}
	readPolicies := []string{"Policy.Read.All", "Policy.ReadWrite.ApplicationConfiguration"}
	readLogs := []string{"AuditLog.Read.All"}
	return map[string]route{
		"GET applications":                                 {operation: "graph.listApplications", roles: readApps, serve: (*Server).listApplications},
		"GET applications/{}":                              {operation: "graph.getApplication", roles: readApps, serve: (*Server).getApplication},
		"PATCH applications/{}":                            {operation: "graph.updateApplication", write: true, roles: writeApps, serve: (*Server).updateApplication},
		"GET applications/{}/owners":                       {operation: "graph.listOwners", roles: readApps, serve: (*Server).listOwners},
		"GET applications/{}/federatedIdentityCredentials": {operation: "graph.listFederatedIdentityCredentials", roles: readApps, serve: (*Server).listFederated},
		"GET applications/{}/appManagementPolicies":        {operation: "graph.listApplicationAppManagementPolicies", roles: readPolicies, serve: (*Server).listPoliciesOfApplication},
		"POST applications/{}/addPassword":                 {operation: "graph.addPassword", write: true, roles: writeApps, serve: (*Server).addPassword},
		"POST applications/{}/removePassword":              {operation: "graph.removePassword", write: true, roles: writeApps, serve: (*Server).removePassword},
		"GET servicePrincipals":                            {operation: "graph.listServicePrincipals", roles: readApps, serve: (*Server).listServicePrincipals},
		"GET servicePrincipals/{}":                         {operation: "graph.getServicePrincipal", roles: readApps, serve: (*Server).getServicePrincipal},
		"GET servicePrincipals/{}/ownedObjects":            {operation: "graph.listOwnedObjects", roles: readApps, serve: (*Server).listOwnedObjects},
		"PATCH servicePrincipals/{}":                       {operation: "graph.updateServicePrincipal", write: true, roles: writeApps, serve: (*Server).updateServicePrincipal},
		"POST servicePrincipals/{}/addPassword":            {operation: "graph.addPassword", write: true, roles: writeApps, serve: (*Server).addPassword},
		"POST servicePrincipals/{}/removePassword":         {operation: "graph.removePassword", write: true, roles: writeApps, serve: (*Server).removePassword},
		"GET users":    {operation: "graph.listUsers", roles: readUsers, serve: (*Server).listUsers},
		"GET users/{}": {operation: "graph.getUser", roles: readUsers, serve: (*Server).getUser},
		"GET policies/defaultAppManagementPolicy":   {operation: "graph.getDefaultAppManagementPolicy", roles: readPolicies, serve: (*Server).getDefaultPolicy},
		"GET policies/appManagementPolicies":        {operation: "graph.listAppManagementPolicies", roles: readPolicies, serve: (*Server).listPolicies},
		"GET auditLogs/signIns":                     {operation: "graph.listSignIns", roles: readLogs, serve: (*Server).listSignIns},
		"GET auditLogs/directoryAudits":             {operation: "graph.listDirectoryAudits", roles: readLogs, serve: (*Server).listAudits},
		"GET reports/appCredentialSignInActivities": {operation: "graph.listAppCredentialSignInActivities", beta: true, roles: readLogs, serve: (*Server).listCredentialActivities},
	}
}

func parseAddress(r *http.Request) address {
	version, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a := address{beta: version == "beta", base: "https://" + r.Host + "/" + version}
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	a.collection = parts[0]
	parts = parts[1:]
	if m := byAlternativeKey.FindStringSubmatch(a.collection); m != nil {
		a.collection, a.name, a.key = m[1], m[2], m[3]
	} else if keyed := []string{"applications", "servicePrincipals", "users"}; slices.Contains(keyed, a.collection) && len(parts) > 0 {
		a.key, parts = parts[0], parts[1:]
	}
	for i := range parts {
		parts[i] = strings.TrimPrefix(parts[i], "microsoft.graph.") // actions may be called by their full name
	}
	a.rest = strings.Join(parts, "/")
	return a
}

// route is the address's key in the table of routes.
func (a address) route(method string) string {
	out := method + " " + a.collection
	if a.key != "" {
		out += "/{}"
	}
	if a.rest != "" {
		out += "/" + a.rest
	}
	return out
}

// graphError is an error in Graph's form.
type graphError struct {
	status    int
	code      string
	message   string
	challenge string // WWW-Authenticate
}

// Error implements error.
func (e *graphError) Error() string { return e.code + ": " + e.message }

func badRequest(format string, args ...any) *graphError {
	return &graphError{status: http.StatusBadRequest, code: "Request_BadRequest", message: fmt.Sprintf(format, args...)}
}

func notFound(key string) *graphError {
	return &graphError{
		status: http.StatusNotFound, code: "Request_ResourceNotFound",
		message: fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", key),
	}
}

func denied() *graphError {
	return &graphError{status: http.StatusForbidden, code: "Authorization_RequestDenied", message: "Insufficient privileges to complete the operation."}
}

func (s *Server) serveGraph(w http.ResponseWriter, r *http.Request) {
	body, err := s.answer(r)
	var refused *graphError
	switch {
	case errors.As(err, &refused):
		s.writeGraphError(w, r, refused)
	case err != nil:
		s.writeGraphError(w, r, &graphError{status: http.StatusInternalServerError, code: "InternalServerError", message: err.Error()})
	case body == nil:
		w.Header().Set("request-id", uuid.NewString())
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("request-id", uuid.NewString())
		conditions.WriteJSON(w, http.StatusOK, "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8", body)
	}
}

func (s *Server) writeGraphError(w http.ResponseWriter, r *http.Request, e *graphError) {
	request := uuid.NewString()
	w.Header().Set("request-id", request)
	if e.challenge != "" {
		w.Header().Set("WWW-Authenticate", e.challenge)
	}
	conditions.WriteJSON(w, e.status, "application/json", map[string]any{"error": map[string]any{
		"code":    e.code,
		"message": e.message,
		"innerError": map[string]any{
			"date":              s.now().UTC().Format("2006-01-02T15:04:05"),
			"request-id":        request,
			"client-request-id": correlationID(r),
		},
	}})
}

// answer serves one request to Graph; a nil body is 204.
func (s *Server) answer(r *http.Request) (any, error) {
	c := &call{address: parseAddress(r), r: r}
	route, ok := s.routes[c.address.route(r.Method)]
	if !ok || (route.beta && !c.beta) {
		return nil, &graphError{status: http.StatusBadRequest, code: "BadRequest", message: fmt.Sprintf("Resource not found for the segment '%s'.", c.collection)}
	}
	c.route = route
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, badRequest("Unable to read the body.")
	}
	c.body = body
	if c.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, badRequest("Unable to read the query.")
	}
	if !route.write {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.run(c)
	}
	return s.runWrite(r.Context(), c)
}

// run checks the caller and serves the call. The lock is held.
func (s *Server) run(c *call) (any, error) {
	var err error
	if c.caller, err = s.bearer(c.r); err != nil {
		return nil, err
	}
	if !c.caller.hasAny(c.route.roles) && !s.readsItself(c) {
		if strings.HasPrefix(c.collection, "auditLogs") || c.collection == "reports" {
			return nil, &graphError{status: http.StatusForbidden, code: "Authentication_MSGraphPermissionMissing", message: "Calling principal does not have required MSGraph permissions " + strings.Join(c.route.roles, ",")}
		}
		return nil, denied()
	}
	return c.route.serve(s, c)
}

// runWrite lets one write at a time into the tenant and refuses what overlaps,
// as Graph does. The write's own time passes outside the lock, so that overlap
// is a matter of real time and not of who gets the lock.
func (s *Server) runWrite(ctx context.Context, c *call) (any, error) {
	s.mu.Lock()
	if s.writing {
		defer s.mu.Unlock()
		return nil, s.conflict()
	}
	s.writing = true
	takes := realSeconds(s.behaviour.WriteTakes)
	s.mu.Unlock()

	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	body, err := s.run(c)
	if err == nil && s.lateTimeouts[c.route.operation] > 0 {
		s.lateTimeouts[c.route.operation]--
		return nil, &graphError{status: http.StatusGatewayTimeout, code: "UnknownError", message: ""}
	}
	return body, err
}

func (s *Server) conflict() *graphError {
	status := s.behaviour.ConflictStatus
	if status == 0 {
		status = http.StatusConflict
	}
	return &graphError{
		status: status, code: "Directory_ConcurrencyViolation",
		message: "Error due to concurrent requests being made to the tenant. Please wait briefly and retry.",
	}
}

func (c caller) hasAny(roles []string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(c.Roles, role) })
}

// readsItself reports whether an app reads its own application or service
// principal, which needs no permission.
func (s *Server) readsItself(c *call) bool {
	if c.route.write || c.rest != "" {
		return false
	}
	a, err := s.find(c.address)
	return err == nil && a == c.caller.app
}

// mayWrite reports whether the caller may change the application or its service
// principal: Application.ReadWrite.OwnedBy is enough for what it owns.
func (c *call) mayWrite(owners []string) bool {
	return c.caller.hasAny([]string{"Application.ReadWrite.All"}) || slices.Contains(owners, c.caller.ObjectID)
}

// find returns the application that an address of an application or of a
// service principal names.
func (s *Server) find(a address) (*application, error) {
	for _, app := range s.applications {
		id := app.Object
		if a.collection == "servicePrincipals" {
			id = app.IDs.Principal
		}
		matches := strings.EqualFold(id, a.key)
		if a.name == "appId" {
			matches = strings.EqualFold(app.Client, a.key)
		}
		if matches && id != "" && (a.name == "" || a.name == "appId") {
			return app, nil
		}
	}
	return nil, notFound(a.key)
}

// sorted returns the applications in a stable order. Nobody may change the list.
func (s *Server) sorted() []*application {
	if s.inOrder == nil {
		s.inOrder = make([]*application, 0, len(s.applications))
		for _, a := range s.applications {
			s.inOrder = append(s.inOrder, a)
		}
		slices.SortFunc(s.inOrder, func(a, b *application) int { return strings.Compare(a.Object, b.Object) })
	}
	return s.inOrder
}
