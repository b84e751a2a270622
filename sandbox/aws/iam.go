package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Role is an IAM role to seed, with its permissions.
type Role struct {
	Name string `json:"name"`
	// Policies are policy documents by name. Statements with Condition or
	// NotPrincipal are refused: the stand-in cannot evaluate them.
	Policies map[string]json.RawMessage `json:"policies"`
}

type role struct {
	name     string
	created  time.Time
	policies map[string][]statement
}

// statement is one statement of a policy. Each list may be one text in JSON.
type statement struct {
	Sid         string
	Effect      string
	Action      texts
	NotAction   texts
	Resource    texts
	NotResource texts
}

// texts is a list that IAM lets people write as a single text.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// SeedRole adds a role or replaces it.
func (s *Server) SeedRole(r Role) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := &role{name: r.Name, created: s.cond.Clock.Now(), policies: map[string][]statement{}}
	for name, document := range r.Policies {
		statements, err := readPolicy(document)
		if err != nil {
			return fmt.Errorf("read policy %s of role %s: %w", name, r.Name, err)
		}
		made.policies[name] = statements
	}
	s.roles[r.Name] = made
	return nil
}

func readPolicy(document json.RawMessage) ([]statement, error) {
	var policy struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strictJSON(document, &policy); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(policy.Statement), []byte("{")) { // IAM lets people write a single one without brackets
		policy.Statement = slices.Concat([]byte("["), policy.Statement, []byte("]"))
	}
	var statements []statement
	if err := strictJSON(policy.Statement, &statements); err != nil {
		return nil, err
	}
	for _, st := range statements {
		if st.Effect != "Allow" && st.Effect != "Deny" || len(st.Action)+len(st.NotAction) == 0 || len(st.Resource)+len(st.NotResource) == 0 {
			return nil, errors.New("a statement needs Effect, Action and Resource")
		}
	}
	return statements, nil
}

func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (s *Server) roleARN(name string) string { return "arn:aws:iam::" + s.account + ":role/" + name }

// wildcard compares with IAM's wildcards, * and ?.
func wildcard(pattern, text string) bool {
	// path.Match stops at slashes, which IAM's wildcards do not.
	escaped := strings.NewReplacer("/", "\x00", `\`, `\\`, "[", `\[`).Replace(pattern)
	ok, err := path.Match(escaped, strings.ReplaceAll(text, "/", "\x00"))
	return err == nil && ok
}

func (st statement) applies(action, resource string) bool {
	matchesAction := func(p string) bool { return wildcard(strings.ToLower(p), strings.ToLower(action)) }
	matchesResource := func(p string) bool { return wildcard(p, resource) }
	if len(st.Action) > 0 && !slices.ContainsFunc(st.Action, matchesAction) || slices.ContainsFunc(st.NotAction, matchesAction) {
		return false
	}
	return len(st.Resource) == 0 && !slices.ContainsFunc(st.NotResource, matchesResource) || slices.ContainsFunc(st.Resource, matchesResource)
}

// decide evaluates a role's policies: a Deny beats an Allow beats silence.
func (r *role) decide(action, resource string) (decision string, by []matchedStatement) {
	decision = "implicitDeny"
	for _, name := range slices.Sorted(maps.Keys(r.policies)) {
		for _, st := range r.policies[name] {
			if !st.applies(action, resource) {
				continue
			}
			by = append(by, matchedStatement{SourcePolicyId: "role_" + r.name + "_" + name, SourcePolicyType: "role"})
			if st.Effect == "Deny" {
				decision = "explicitDeny"
			} else if decision != "explicitDeny" {
				decision = "allowed"
			}
		}
	}
	return decision, by
}

type (
	matchedStatement struct{ SourcePolicyId, SourcePolicyType string }
	members[T any]   struct {
		Member []T `xml:"member"`
	}
	evaluation struct {
		EvalActionName, EvalResourceName, EvalDecision string
		MatchedStatements                              members[matchedStatement]
		MissingContextValues                           members[string]
	}
	simulateOutput struct {
		EvaluationResults members[evaluation]
		IsTruncated       bool
		Marker            string `xml:",omitempty"`
	}
	roleOutput struct {
		Path, RoleName, RoleId, Arn, CreateDate, AssumeRolePolicyDocument string
		MaxSessionDuration                                                int
	}
	listRolesOutput struct {
		Roles       members[roleOutput]
		IsTruncated bool
		Marker      string `xml:",omitempty"`
	}
	getRoleOutput struct{ Role roleOutput }
)

func noSuchRole(name string) error {
	return &apiError{Code: "NoSuchEntity", Status: http.StatusNotFound, Message: "The role with name " + name + " cannot be found."}
}

// list reads a list member of a query: Name.member.1, Name.member.2, …
func list(form url.Values, name string) []string {
	var out []string
	for i := 1; form.Has(name + ".member." + strconv.Itoa(i)); i++ {
		out = append(out, form.Get(name+".member."+strconv.Itoa(i)))
	}
	return out
}

// marked cuts a page as IAM's markers do.
func marked[T any](all []T, listing string, form url.Values) ([]T, string, error) {
	limit := 100
	if text := form.Get("MaxItems"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 1000 {
			return nil, "", refuse("ValidationError", "1 validation error detected: Value '"+text+"' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 1000")
		}
	}
	some, next, ok := page(all, listing, form.Get("Marker"), limit)
	if !ok {
		return nil, "", refuse("ValidationError", "Invalid Marker.")
	}
	return some, next, nil
}

func (s *Server) simulatePrincipalPolicy(_ call, form url.Values) (*simulateOutput, error) {
	for _, unsupported := range []string{"ResourcePolicy", "CallerArn", "ResourceHandlingOption", "PolicyInputList.member.1", "ContextEntries.member.1.ContextKeyName", "PermissionsBoundaryPolicyInputList.member.1"} {
		if form.Has(unsupported) {
			return nil, refuse("InvalidInput", "the stand-in cannot simulate with "+unsupported)
		}
	}
	source := form.Get("PolicySourceArn")
	r, ok := s.roles[last(source)]
	if !ok || source != s.roleARN(r.name) {
		return nil, noSuchRole(last(source))
	}
	actions, resources := list(form, "ActionNames"), list(form, "ResourceArns")
	if len(actions) == 0 {
		return nil, refuse("ValidationError", "1 validation error detected: Value null at 'actionNames' failed to satisfy constraint: Member must not be null")
	}
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	var all []evaluation
	for _, action := range actions {
		if !strings.Contains(action, ":") {
			return nil, refuse("InvalidInput", "Invalid action name: "+action)
		}
		for _, resource := range resources {
			decision, by := r.decide(action, resource)
			all = append(all, evaluation{EvalActionName: action, EvalResourceName: resource, EvalDecision: decision, MatchedStatements: members[matchedStatement]{by}})
		}
	}
	some, next, err := marked(all, "simulation "+source, form)
	if err != nil {
		return nil, err
	}
	return &simulateOutput{members[evaluation]{some}, next != "", next}, nil
}

func (s *Server) showRole(r *role) roleOutput {
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	return roleOutput{Path: "/", RoleName: r.name, RoleId: uniqueID("AROA", r.name), Arn: s.roleARN(r.name), CreateDate: instant(r.created),
		AssumeRolePolicyDocument: url.QueryEscape(trust), MaxSessionDuration: 3600}
}

func (s *Server) listRoles(_ call, form url.Values) (*listRolesOutput, error) {
	var all []roleOutput
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		if strings.HasPrefix("/", form.Get("PathPrefix")) {
			all = append(all, s.showRole(s.roles[name]))
		}
	}
	some, next, err := marked(all, "roles", form)
	if err != nil {
		return nil, err
	}
	return &listRolesOutput{members[roleOutput]{some}, next != "", next}, nil
}

func (s *Server) getRole(_ call, form url.Values) (*getRoleOutput, error) {
	r, ok := s.roles[form.Get("RoleName")]
	if !ok {
		return nil, noSuchRole(form.Get("RoleName"))
	}
	return &getRoleOutput{s.showRole(r)}, nil
}
