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

// retention is how far back sign-ins and audits can be read.
const retention = 30 * 24 * time.Hour

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
	ID       string            `json:"id"`
	At       time.Time         `json:"at"`
	Activity string            `json:"activity"`
	By       IDs               `json:"by"`
	ByName   string            `json:"by_name"`
	Target   string            `json:"target_id"`
	Type     string            `json:"target_type"`
	Name     string            `json:"target_name"`
	Changed  map[string]change `json:"changed,omitempty"`
	Agent    string            `json:"user_agent"`
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
}

func (s *Server) audit(c *call, a *application, activity string, changed map[string]change) {
	e := audit{
		ID: uuid.NewString(), At: s.now(), Activity: activity,
		By: c.caller.app.IDs, ByName: c.caller.app.Name,
		Target: a.Object, Type: "Application", Name: a.Name, Changed: changed, Agent: c.r.UserAgent(),
	}
	if c.collection == "servicePrincipals" {
		e.Target, e.Type = a.IDs.Principal, "ServicePrincipal"
	}
	s.audits = bounded(append(s.audits, e))
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
	all := []document{}
	asked := strings.Contains(c.query.Get("$filter"), "signInEventTypes/any")
	for _, e := range slices.Backward(s.signIns) {
		if c.beta && asked && s.remembered(e.At) {
			all = append(all, e.document())
		}
	}
	return c.list("auditLogs/signIns", all, nil)
}

func (s *Server) remembered(at time.Time) bool { return s.now().Sub(at) <= retention }

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
	changed := []document{}
	for name, c := range e.Changed {
		changed = append(changed, document{"displayName": name, "oldValue": orNull(c.Old), "newValue": orNull(c.New)})
	}
	slices.SortFunc(changed, func(a, b document) int { return strings.Compare(text(b["displayName"]), text(a["displayName"])) })
	return document{
		"id": e.ID, "activityDateTime": graphTime(e.At), "activityDisplayName": e.Activity, "category": "ApplicationManagement",
		"correlationId": e.ID, "loggedByService": "Core Directory", "operationType": "Update", "result": "success", "resultReason": "",
		"initiatedBy": document{"user": nil, "app": document{
			"appId": nil, "displayName": e.ByName, "servicePrincipalId": e.By.Principal, "servicePrincipalName": nil,
		}},
		"targetResources": []document{{
			"id": e.Target, "displayName": e.Name, "type": e.Type, "groupType": nil, "userPrincipalName": nil, "modifiedProperties": changed,
		}},
		"additionalDetails": []document{{"key": "User-Agent", "value": e.Agent}},
	}
}

// listCredentialActivities tells of each secret when it last got a token.
func (s *Server) listCredentialActivities(c *call) (any, error) {
	all := []document{}
	for _, a := range s.sorted() {
		for origin, list := range map[string][]Password{"application": a.Passwords, "servicePrincipal": *a.passwords(true)} {
			for _, p := range list {
				if last := s.lastUse(p.KeyID); last != nil {
					all = append(all, activity(a, p, origin, *last))
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b document) int { return strings.Compare(text(a["keyId"]), text(b["keyId"])) })
	return c.list("reports/appCredentialSignInActivities", all, nil)
}

// lastUse is not bounded by the logs' retention: the report has no end.
func (s *Server) lastUse(keyID string) *signIn {
	for _, e := range slices.Backward(s.signIns) {
		if e.KeyID == keyID && e.Code == 0 {
			return &e
		}
	}
	return nil
}

func activity(a *application, p Password, origin string, last signIn) document {
	return document{
		"id": p.KeyID, "keyId": p.KeyID, "keyType": "clientSecret", "keyUsage": "verify", "credentialOrigin": origin,
		"appId": a.Client, "appObjectId": a.Object, "servicePrincipalObjectId": a.IDs.Principal, "resourceId": graphPrincipal,
		"createdDateTime": graphTime(p.Start), "expirationDateTime": graphTime(p.End),
		"signInActivity": document{"lastSignInDateTime": graphTime(last.At), "lastSignInRequestId": last.ID},
	}
}
