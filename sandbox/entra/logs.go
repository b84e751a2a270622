package entra

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// How far back sign-ins and audits can be read, with and without a licence.
const (
	retention           = 30 * 24 * time.Hour
	retentionUnlicensed = 7 * 24 * time.Hour
)

// graphPrincipal is the object id that this tenant knows Microsoft Graph by.
const graphPrincipal = "00000003-0000-0000-c000-000000000001"

// signIn is one request for a token, granted or refused.
type signIn struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Client    string    `json:"client_id"`
	Name      string    `json:"name"`
	Principal string    `json:"service_principal_id"`
	KeyID     string    `json:"key_id"`
	Kind      string    `json:"credential_type"`
	IP        string    `json:"ip"`
	Resource  string    `json:"resource"`
	Code      int       `json:"error_code"`
	Why       string    `json:"failure_reason,omitempty"`
	Agent     string    `json:"user_agent"`
}

// audit is one write.
type audit struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Activity string    `json:"activity"`
	By       IDs       `json:"by,omitzero"` // an application
	ByName   string    `json:"by_name,omitempty"`
	Hand     *Hand     `json:"hand,omitempty"` // or a person
	Targets  []target  `json:"targets"`
	Agent    string    `json:"user_agent"`
}

// target is one object that a write was about.
type target struct {
	ID      string            `json:"id"`
	Type    string            `json:"type"`
	Name    string            `json:"name"`
	Changed map[string]change `json:"changed,omitempty"`
}

// change is one property before and after, as the audit log words it.
type change struct {
	Old string `json:"old"`
	New string `json:"new"`
}

func (s *Server) noteSignIn(r *http.Request, a *application, proof credential, resource string, err *refusal) {
	e := signIn{
		ID: uuid.NewString(), At: s.now(), Client: a.Client, Name: a.Name, Principal: a.IDs.Principal,
		KeyID: proof.keyID, Kind: proof.kind, IP: callerIP(r), Resource: resource, Agent: r.UserAgent(),
	}
	if err != nil {
		e.Code, e.Why = err.code, err.text
	}
	s.signIns = bounded(append(s.signIns, e))
	if err == nil && a.password(e.KeyID) != nil { // the report tells of no federated credential
		s.used(a, e.KeyID, e.At, e.ID)
	}
}

// use is when a key last got a token, by which request. It is kept for good: the
// report of it does not end with the logs' retention.
type use struct {
	app     *application
	key     string
	at      time.Time
	request string
}

// used notes that a key got a token.
func (s *Server) used(a *application, key string, at time.Time, request string) {
	u, before := s.uses[key]
	if !before {
		u = &use{app: a, key: key}
		s.uses[key] = u
		s.usesInOrder = append(s.usesInOrder, u)
	}
	u.at, u.request = at, request
}

func (s *Server) audit(c *call, a *application, activity string, changed map[string]change) {
	s.audits = bounded(append(s.audits, audit{
		ID: uuid.NewString(), At: s.now(), Activity: activity, By: c.caller.app.IDs, ByName: c.caller.app.Name,
		Targets: []target{a.target(c.collection == "servicePrincipals", changed)}, Agent: c.r.UserAgent(),
	}))
}

func (a *application) target(principal bool, changed map[string]change) target {
	if principal {
		return target{a.IDs.Principal, "ServicePrincipal", a.Name, changed}
	}
	return target{a.Object, "Application", a.Name, changed}
}

// keyChange describes one secret that came or went, in the log's own notation.
func keyChange(before, after int, p Password) map[string]change {
	key := fmt.Sprintf("[KeyIdentifier=%s,KeyType=Password,KeyUsage=Verify,DisplayName=%s]", p.KeyID, p.Name)
	c := change{Old: "[]", New: quoted(key)}
	if after < before {
		c.Old, c.New = c.New, c.Old
	}
	return map[string]change{
		"KeyDescription":              c,
		"Included Updated Properties": {New: `"KeyDescription"`},
	}
}

// quoted is a JSON list of that one text.
func quoted(s string) string {
	b, err := json.Marshal([]string{s})
	if err != nil {
		panic("entra: cannot encode a text: " + err.Error()) // any text can be
	}
	return string(b)
}

// listSignIns tells sign-ins of service principals, which only the beta has and
// only for who asks for them by signInEventTypes. Nobody interactive signs in here.
func (s *Server) listSignIns(c *call) (any, error) {
	if s.behaviour.Unlicensed {
		return nil, &graphError{status: http.StatusForbidden, code: "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
			message: "Neither tenant is B2C or tenant doesn't have premium license"}
	}
	all := []document{}
	asked := strings.Contains(c.query.Get("$filter"), "signInEventTypes/any")
	for _, e := range slices.Backward(s.signIns) {
		if c.beta && asked && s.remembered(e.At) {
			all = append(all, e.document())
		}
	}
	return c.list("auditLogs/signIns", all, nil)
}

// remembered reports whether the logs tell of that instant: not yet, or not any
// more.
func (s *Server) remembered(at time.Time) bool {
	keeps := retention
	if s.behaviour.Unlicensed {
		keeps = retentionUnlicensed
	}
	age := s.now().Sub(at)
	return age >= time.Duration(s.behaviour.LogDelay*float64(time.Second)) && age <= keeps
}

func (e signIn) document() document {
	name := e.Resource
	id := any(nil)
	if e.Resource == graphResource {
		name, id = "Microsoft Graph", "00000003-0000-0000-c000-000000000000"
	}
	access := "notApplied"
	if e.Code == conditionalAccess {
		access = "failure"
	}
	return document{
		"id": e.ID, "createdDateTime": graphTime(e.At), "appId": e.Client, "appDisplayName": e.Name,
		"ipAddress": e.IP, "isInteractive": false, "signInEventTypes": []string{"servicePrincipal"},
		"servicePrincipalId": e.Principal, "servicePrincipalName": e.Name,
		"servicePrincipalCredentialKeyId": e.KeyID, "clientCredentialType": orNull(e.Kind),
		"resourceDisplayName": name, "resourceId": id, "conditionalAccessStatus": access,
		"userId": "", "userDisplayName": nil, "userPrincipalName": nil, "userAgent": orNull(e.Agent),
		"correlationId": e.ID, "clientAppUsed": nil,
		"location": document{"city": nil, "state": nil, "countryOrRegion": nil},
		"status":   document{"errorCode": e.Code, "failureReason": orNull(e.Why), "additionalDetails": nil},
	}
}

func (s *Server) listAudits(c *call) (any, error) {
	all := []document{}
	for _, e := range slices.Backward(s.audits) {
		if s.remembered(e.At) {
			all = append(all, e.document())
		}
	}
	return c.list("auditLogs/directoryAudits", all, nil)
}

// document leaves appId null, as the real log does for apps.
func (e audit) document() document {
	by := document{"user": nil, "app": document{
		"appId": nil, "displayName": e.ByName, "servicePrincipalId": e.By.Principal, "servicePrincipalName": nil,
	}}
	if e.Hand != nil {
		by = document{"app": nil, "user": document{
			"id": e.Hand.ID, "displayName": nil, "userPrincipalName": e.Hand.User, "ipAddress": e.Hand.Address,
		}}
	}
	targets := []document{}
	for _, t := range e.Targets {
		targets = append(targets, t.document())
	}
	return document{
		"id": e.ID, "activityDateTime": graphTime(e.At), "activityDisplayName": e.Activity, "category": "ApplicationManagement",
		"correlationId": e.ID, "loggedByService": "Core Directory", "operationType": "Update", "result": "success", "resultReason": "",
		"initiatedBy": by, "targetResources": targets,
		"additionalDetails": []document{{"key": "User-Agent", "value": e.Agent}},
	}
}

// document tells a person's name as userPrincipalName, and any other's as displayName.
func (t target) document() document {
	changed := []document{}
	for name, c := range t.Changed {
		changed = append(changed, document{"displayName": name, "oldValue": orNull(c.Old), "newValue": orNull(c.New)})
	}
	slices.SortFunc(changed, func(a, b document) int { return strings.Compare(text(b["displayName"]), text(a["displayName"])) })
	name, user := orNull(t.Name), any(nil)
	if t.Type == "User" {
		name, user = nil, orNull(t.Name)
	}
	return document{"id": t.ID, "displayName": name, "type": t.Type, "groupType": nil, "userPrincipalName": user, "modifiedProperties": changed}
}

// listCredentialActivities tells of each secret when it last got a token.
func (s *Server) listCredentialActivities(c *call) (any, error) {
	return c.listOf("reports/appCredentialSignInActivities", len(s.usesInOrder), func(i int) document { return s.usesInOrder[i].document() }, nil)
}

func (u *use) document() document {
	origin, p := "application", findPassword(u.app.Passwords, u.key)
	if p == nil {
		origin, p = "servicePrincipal", findPassword(*u.app.passwords(true), u.key)
	}
	return document{
		"id": p.KeyID, "keyId": p.KeyID, "keyType": "clientSecret", "keyUsage": "verify", "credentialOrigin": origin,
		"appId": u.app.Client, "appObjectId": u.app.Object, "servicePrincipalObjectId": u.app.IDs.Principal, "resourceId": graphPrincipal,
		"createdDateTime": graphTime(p.Start), "expirationDateTime": graphTime(p.End),
		"signInActivity": document{"lastSignInDateTime": graphTime(u.at), "lastSignInRequestId": u.request},
	}
}
