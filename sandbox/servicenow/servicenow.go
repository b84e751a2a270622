// Package servicenow is a stand-in for the part of ServiceNow's Table API that change
// requests need: one table, found by number, read with stored and shown values, and
// work notes added. README.md beside the sandbox says what it does and does not do.
//
// Sources: ServiceNow's documentation "Table API" (paths, parameters, status codes),
// KB0534905 (stored instants are UTC, shown ones in the user's zone), "Inbound REST API
// rate limiting" (429, Retry-After), "Journal field type" (work_notes has no stored
// value). The errors' shape {"error":{"message","detail"},"status":"failure"} and their
// words are those that clients of real instances have recorded.
package servicenow

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Table is the one table that there is.
const Table = "change_request"

// Credentials that the stand-in takes.
const (
	User = "twokey.bot"
	Zone = "Europe/Berlin" // of that user: what is shown is not what is stored
)

// Change is one change request.
type Change struct {
	Number   string    `json:"number"`
	Summary  string    `json:"short_description"`
	State    string    `json:"state"`      // the stored value: "-1"
	Approval string    `json:"approval"`   // the stored value: "approved"
	Start    time.Time `json:"start_date"` // zero: none
	End      time.Time `json:"end_date"`
	Notes    []Note    `json:"work_notes"` // oldest first
}

// Note is one work note.
type Note struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}

// Server is the stand-in.
type Server struct {
	// Password is of User's; Token does instead of both.
	Password, Token string

	conditions *conditions.Conditions
	zone       *time.Location

	mu         sync.Mutex
	changes    map[string]*Change
	unreadable bool // work_notes is not for the bot's user
}

// New returns an instance without changes, with credentials that nobody had before.
func New(c *conditions.Conditions) *Server {
	zone, err := time.LoadLocation(Zone)
	if err != nil {
		zone = time.FixedZone("CET", 3600) // a machine without zones
	}
	return &Server{Password: rand.Text(), Token: rand.Text(), conditions: c, zone: zone, changes: map[string]*Change{}}
}

// Put makes or replaces a change request. Its notes stay.
func (s *Server) Put(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, there := s.changes[c.Number]; there && c.Notes == nil {
		c.Notes = before.Notes
	}
	s.changes[c.Number] = &c
}

// Change returns a copy of a change request.
func (s *Server) Change(number string) (Change, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, there := s.changes[number]
	if !there {
		return Change{}, false
	}
	out := *c
	out.Notes = slices.Clone(c.Notes)
	return out, true
}

// State returns all change requests, by number.
func (s *Server) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Change{}
	for _, c := range s.changes {
		one := *c
		one.Notes = slices.Clone(c.Notes)
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Number, b.Number) })
	return map[string]any{"changes": out}
}

// Handler serves /api/now/table/change_request.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/now/table/{table}", s.list)
	mux.HandleFunc("PATCH /api/now/table/{table}/{id}", s.update)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "Requested URI does not represent any resource", "")
	})
	return s.conditions.Handler(vendor{}, s.authenticated(mux))
}

// authenticated takes basic authentication and bearer tokens.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, basic := r.BasicAuth()
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if (!basic || user != User || password != s.Password) && bearer != s.Token {
			w.Header().Set("WWW-Authenticate", `BASIC realm="Service-now"`)
			refuse(w, http.StatusUnauthorized, "User Not Authenticated", "Required to provide Auth information")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !knownTable(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*Change
	number, isNumber := strings.CutPrefix(q.Get("sysparm_query"), "number=")
	for _, c := range s.changes {
		// What is no query is passed over, as glide.invalid_query.returns_no_rows=false has it.
		if !isNumber || c.Number == number {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *Change) int { return strings.Compare(a.Number, b.Number) })
	if limit, err := strconv.Atoi(q.Get("sysparm_limit")); err == nil && limit < len(found) {
		found = found[:limit]
	}
	result := []map[string]any{}
	for _, c := range found {
		result = append(result, s.record(c, q.Get("sysparm_fields"), q.Get("sysparm_display_value")))
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(len(result)))
	conditions.WriteJSON(w, http.StatusOK, "application/json;charset=UTF-8", map[string]any{"result": result})
}

func (s *Server) update(w http.ResponseWriter, r *http.Request) {
	if !knownTable(w, r) {
		return
	}
	var form map[string]string
	if err := json.NewDecoder(r.Body).Decode(&form); err != nil {
		refuse(w, http.StatusBadRequest, "Exception while reading request", "The payload is not valid JSON")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.changes {
		if sysID(c.Number) != r.PathValue("id") {
			continue
		}
		if text := form["work_notes"]; text != "" { // what is not known is passed over, as the vendor does
			c.Notes = append(c.Notes, Note{At: s.conditions.Clock.Now(), By: User, Text: text})
		}
		q := r.URL.Query()
		conditions.WriteJSON(w, http.StatusOK, "application/json;charset=UTF-8", map[string]any{"result": s.record(c, q.Get("sysparm_fields"), q.Get("sysparm_display_value"))})
		return
	}
	refuse(w, http.StatusNotFound, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
}

func knownTable(w http.ResponseWriter, r *http.Request) bool {
	if table := r.PathValue("table"); table != Table {
		refuse(w, http.StatusBadRequest, "Invalid table "+table, "")
		return false
	}
	return true
}

// record renders a change: stored values, shown ones ("true") or both ("all").
func (s *Server) record(c *Change, fields, display string) map[string]any {
	type pair struct{ value, shown string }
	all := map[string]pair{
		"sys_id":            {sysID(c.Number), sysID(c.Number)},
		"number":            {c.Number, c.Number},
		"short_description": {c.Summary, c.Summary},
		"state":             {c.State, states(c.State)},
		"approval":          {c.Approval, approvals(c.Approval)},
		"start_date":        {stored(c.Start), s.shown(c.Start)},
		"end_date":          {stored(c.End), s.shown(c.End)},
		"work_notes":        {"", s.journal(c.Notes)},
	}
	if s.unreadable {
		delete(all, "work_notes")
	}
	out := map[string]any{}
	for name, p := range all {
		if fields != "" && !slices.Contains(strings.Split(fields, ","), name) {
			continue
		}
		switch display {
		case "all":
			out[name] = map[string]string{"display_value": p.shown, "value": p.value}
		case "true":
			out[name] = p.shown
		default:
			out[name] = p.value
		}
	}
	return out
}

// stored is an instant as the table keeps it.
func stored(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}

// shown is an instant as the user sees it.
func (s *Server) shown(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(s.zone).Format(time.DateTime)
}

// journal is all notes as one text, newest first.
func (s *Server) journal(notes []Note) string {
	var b strings.Builder
	for _, n := range slices.Backward(notes) {
		fmt.Fprintf(&b, "%s - %s (Work notes)\n%s\n\n", s.shown(n.At), n.By, n.Text)
	}
	return b.String()
}

// states and approvals are the choice lists of a new instance.
func states(value string) string {
	return cmp.Or(map[string]string{"-5": "New", "-4": "Assess", "-3": "Authorize", "-2": "Scheduled", "-1": "Implement", "0": "Review", "3": "Closed", "4": "Canceled"}[value], value)
}

func approvals(value string) string {
	return cmp.Or(map[string]string{"not requested": "Not Yet Requested", "requested": "Requested", "approved": "Approved", "rejected": "Rejected"}[value], value)
}

// sysID is 32 hexadecimal digits, always the same for a number.
func sysID(number string) string {
	sum := sha256.Sum256([]byte(number))
	return hex.EncodeToString(sum[:16])
}

// refuse answers as the Table API does.
func refuse(w http.ResponseWriter, status int, message, detail string) {
	var more any // null where there is none
	if detail != "" {
		more = detail
	}
	conditions.WriteJSON(w, status, "application/json;charset=UTF-8", map[string]any{"error": map[string]any{"message": message, "detail": more}, "status": "failure"})
}

// vendor names the calls and words the refusals.
type vendor struct{}

// Operation implements [conditions.Vendor].
func (vendor) Operation(r *http.Request) string {
	switch r.Method {
	case http.MethodGet:
		return "servicenow.list"
	case http.MethodPatch:
		return "servicenow.update"
	}
	return "servicenow.unknown"
}

// WriteFault implements [conditions.Vendor]: a refusal is the missing role's 403
// unless its status says otherwise.
func (vendor) WriteFault(w http.ResponseWriter, _ *http.Request, f conditions.Fault) {
	switch {
	case f.Kind == conditions.Throttle:
		refuse(w, http.StatusTooManyRequests, "Rate limit exceeded", "Too many requests: the rate limit rule of this user is exceeded")
	case f.Kind == conditions.ServerErr:
		refuse(w, http.StatusInternalServerError, "Internal server error", "Transaction cancelled: maximum execution time exceeded")
	case f.Status == http.StatusUnauthorized:
		refuse(w, f.Status, "User Not Authenticated", "Required to provide Auth information")
	case f.Status == http.StatusNotFound:
		refuse(w, f.Status, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
	default:
		refuse(w, cmp.Or(f.Status, http.StatusForbidden), "Operation Failed", cmp.Or(f.Code, "ACL Exception Update Failed due to security constraints"))
	}
}
