package entra_test

import (
	"encoding/xml"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/twokey/twokey/sandbox/entra"
)

// schema is Graph's published model (CSDL), as far as it was copied.
type schema struct {
	types   map[string]csdlType
	actions []csdlAction
}

type csdlType struct {
	Name       string         `xml:"Name,attr"`
	Base       string         `xml:"BaseType,attr"`
	Properties []csdlProperty `xml:"Property"`
}

type csdlProperty struct {
	Name     string `xml:"Name,attr"`
	Type     string `xml:"Type,attr"`
	Nullable string `xml:"Nullable,attr"`
}

type csdlAction struct {
	Name       string         `xml:"Name,attr"`
	Parameters []csdlProperty `xml:"Parameter"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	raw, err := os.ReadFile("testdata/graph-v1.0.csdl.xml")
	must(t, err)
	var file struct {
		Entities []csdlType   `xml:"DataServices>Schema>EntityType"`
		Complex  []csdlType   `xml:"DataServices>Schema>ComplexType"`
		Actions  []csdlAction `xml:"DataServices>Schema>Action"`
	}
	must(t, xml.Unmarshal(raw, &file))
	s := schema{types: map[string]csdlType{}, actions: file.Actions}
	for _, ct := range append(file.Entities, file.Complex...) {
		s.types["graph."+ct.Name] = ct
	}
	// Bases that were not copied, as the vendor's reference pages list them.
	s.types["graph.policyBase"] = csdlType{Base: "graph.directoryObject", Properties: []csdlProperty{
		{Name: "displayName", Type: "Edm.String"}, {Name: "description", Type: "Edm.String"},
	}}
	s.types["graph.appManagementConfiguration"] = csdlType{Properties: []csdlProperty{
		{Name: "passwordCredentials", Type: "Collection(graph.passwordCredentialConfiguration)"},
		{Name: "keyCredentials", Type: "Collection(graph.keyCredentialConfiguration)"},
	}}
	s.types["graph.identity"] = csdlType{Properties: []csdlProperty{{Name: "id", Type: "Edm.String"}, {Name: "displayName", Type: "Edm.String"}}}
	s.types["graph.tenantAppManagementPolicy"] = csdlType{Base: "graph.policyBase", Properties: []csdlProperty{
		{Name: "isEnabled", Type: "Edm.Boolean"},
		{Name: "applicationRestrictions", Type: "graph.appManagementConfiguration"},
		{Name: "servicePrincipalRestrictions", Type: "graph.appManagementConfiguration"},
	}}
	return s
}

func (s schema) property(typeName, name string) (csdlProperty, bool) {
	for typeName != "" {
		ct := s.types[typeName]
		for _, p := range ct.Properties {
			if p.Name == name {
				return p, true
			}
		}
		typeName = ct.Base
	}
	return csdlProperty{}, false
}

// check returns every member of an entity that the model does not have, or has
// with another type. beta names members that only the beta has.
func (s schema) check(typeName string, entity map[string]any, beta ...string) []string {
	if len(entity) == 0 {
		return []string{typeName + ": nothing was sent"}
	}
	var wrong []string
	for name, v := range entity {
		if strings.HasPrefix(name, "@odata.") || slices.Contains(beta, name) {
			continue
		}
		p, ok := s.property(typeName, name)
		if !ok {
			wrong = append(wrong, typeName+" has no property "+name)
			continue
		}
		wrong = append(wrong, s.checkValue(typeName+"/"+name, p.Type, p.Nullable == "false", v)...)
	}
	return wrong
}

var isoDuration = regexp.MustCompile(`^P\d+D$`)

func (s schema) checkValue(where, typeName string, required bool, v any) []string {
	if v == nil {
		if required {
			return []string{where + " is null"}
		}
		return nil
	}
	var wrong []string
	if inner, ok := strings.CutPrefix(typeName, "Collection("); ok {
		list, ok := v.([]any)
		if !ok {
			return []string{where + " is no list"}
		}
		for _, member := range list {
			wrong = append(wrong, s.checkValue(where, strings.TrimSuffix(inner, ")"), true, member)...)
		}
		return wrong
	}
	object, isObject := v.(map[string]any)
	if _, known := s.types[typeName]; known && isObject {
		return s.check(typeName, object)
	}
	if !isA(typeName, v) {
		return []string{fmt.Sprintf("%s: %v is no %s", where, v, typeName)}
	}
	return nil
}

func isA(typeName string, v any) bool {
	str, isString := v.(string)
	switch typeName {
	case "Edm.Boolean":
		_, ok := v.(bool)
		return ok
	case "Edm.Int32":
		n, ok := v.(float64)
		return ok && n == float64(int32(n))
	case "Edm.Guid":
		return uuid.Validate(str) == nil
	case "Edm.DateTimeOffset":
		_, err := time.Parse(time.RFC3339Nano, str)
		return err == nil && strings.HasSuffix(str, "Z")
	case "Edm.Duration":
		return isoDuration.MatchString(str)
	default:
		return isString // Edm.String, Edm.Binary, or an enumeration, whose members were not copied
	}
}

// richWorld has one of everything that can be sent.
func richWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "AuditLog.Read.All", "Policy.Read.All", "User.Read.All", "Application.ReadWrite.All")
	_, err := w.server.AddPassword(w.owned.Client, entra.NewPassword{Name: "hidden", OnServicePrincipal: true})
	must(t, err)
	for _, onPrincipal := range []bool{false, true} {
		_, err = w.server.AddCertificate(w.owned.Client, entra.NewCertificate{Name: "signing", Thumbprint: "dGh1bWI=", OnServicePrincipal: onPrincipal})
		must(t, err)
	}
	must(t, w.server.AddFederatedCredential(w.owned.Client, entra.Federated{Name: "aws", Issuer: issuer, Subject: "s", Audiences: []string{"a"}}))
	must(t, w.server.By(entra.Hand{}).AddOwner(w.owned.Client, w.user))
	must(t, w.server.By(entra.Hand{}).AddFederatedCredential(w.owned.Client, entra.Federated{Name: "ci", Issuer: issuer, Subject: "ci", Audiences: []string{"a"}}))
	w.server.SetDefaultPolicy(entra.Policy{Enabled: true, MaxLifetimeDays: 900, CreatedAfter: time.Now().AddDate(-1, 0, 0)})
	yes := true
	must(t, w.server.ChangeApplication(w.owned.Client, entra.Change{Disabled: &yes, Policy: &entra.Policy{Enabled: true, MaxLifetimeDays: 800}}))
	same(t, 7000112, w.code(w.owned.Client, w.ownedSecret))
	return w
}

func TestEverythingSentIsInGraphsModel(t *testing.T) {
	s := readSchema(t)
	w := richWorld(t)
	status, added := w.graph("POST", "/v1.0/applications/"+w.owned.Object+"/addPassword", nil)
	same(t, 200, status)
	s.fits(t, "graph.passwordCredential", added)

	signIns := "/beta/auditLogs/signIns?$filter=signInEventTypes/any(t:t%20eq%20'servicePrincipal')"
	for _, c := range []struct {
		path, typeName string
		list           bool
		beta           []string
	}{
		{"/v1.0/applications", "graph.application", true, nil},
		{"/v1.0/applications/" + w.owned.Object, "graph.application", false, nil},
		{"/v1.0/applications(appId='" + w.owned.Client + "')", "graph.application", false, nil},
		{"/v1.0/applications/" + w.owned.Object + "/federatedIdentityCredentials", "graph.federatedIdentityCredential", true, nil},
		{"/v1.0/servicePrincipals", "graph.servicePrincipal", true, nil},
		{"/v1.0/servicePrincipals/" + w.owned.Principal, "graph.servicePrincipal", false, nil},
		{"/v1.0/users", "graph.user", true, nil},
		{"/v1.0/users/" + w.user + "?$select=id,accountEnabled,userType,otherMails,proxyAddresses,deletedDateTime", "graph.user", false, nil},
		{"/v1.0/policies/defaultAppManagementPolicy", "graph.tenantAppManagementPolicy", false, nil},
		{"/v1.0/policies/appManagementPolicies", "graph.appManagementPolicy", true, nil},
		{"/v1.0/applications/" + w.owned.Object + "/appManagementPolicies", "graph.appManagementPolicy", true, nil},
		{"/v1.0/auditLogs/directoryAudits", "graph.directoryAudit", true, nil},
		{signIns, "graph.signIn", true, []string{"signInEventTypes", "servicePrincipalCredentialKeyId", "clientCredentialType"}},
	} {
		t.Run(c.path, func(t *testing.T) {
			status, body := w.graph("GET", c.path, nil)
			same(t, 200, status)
			if !c.list {
				s.fits(t, c.typeName, body, c.beta...)
				return
			}
			list, _ := body["value"].([]any)
			if len(list) == 0 {
				t.Fatal("nothing to check")
			}
			for _, e := range list {
				s.fits(t, c.typeName, e, c.beta...)
			}
		})
	}
	t.Run("owners", func(t *testing.T) {
		_, body := w.graph("GET", "/v1.0/applications/"+w.owned.Object+"/owners", nil)
		s.fits(t, "graph.servicePrincipal", at(body, "value", 0))
		s.fits(t, "graph.user", at(body, "value", 1))
	})
	t.Run("owned objects", func(t *testing.T) {
		_, body := w.graph("GET", "/v1.0/applications/"+w.owned.Object+"/owners", nil)
		owner, _ := at(body, "value", 0).(map[string]any)
		status, body := w.graph("GET", "/v1.0/servicePrincipals/"+owner["id"].(string)+"/ownedObjects", nil)
		same(t, 200, status)
		first, _ := at(body, "value", 0).(map[string]any)
		same(t, any(w.owned.Client), first["appId"])
		same(t, any("#microsoft.graph.application"), first["@odata.type"])
		s.fits(t, "graph.application", first)
	})
}

// TestEverythingInTheModelOfASecretIsAccepted sends each member that the model
// lets a caller set, and each parameter of the actions.
func TestEverythingInTheModelOfASecretIsAccepted(t *testing.T) {
	s := readSchema(t)
	w := newWorld(t)
	settable := map[string]any{
		"customKeyIdentifier": "AAAA", "displayName": "n",
		"startDateTime": time.Now(), "endDateTime": time.Now().Add(time.Hour),
	}
	readOnly := []string{"hint", "keyId", "secretText"}
	var names []string
	for _, p := range s.types["graph.passwordCredential"].Properties {
		if !slices.Contains(readOnly, p.Name) {
			names = append(names, p.Name)
		}
	}
	same(t, []string{"customKeyIdentifier", "displayName", "endDateTime", "startDateTime"}, names)
	for _, a := range s.actions {
		on := a.Parameters[0].Type
		path := map[string]string{"graph.application": "/v1.0/applications/" + w.owned.Object, "graph.servicePrincipal": "/v1.0/servicePrincipals/" + w.owned.Principal}[on]
		switch a.Name {
		case "addPassword":
			same(t, "passwordCredential", a.Parameters[1].Name)
			status, body := w.graph("POST", path+"/addPassword", map[string]any{"passwordCredential": settable})
			same(t, 200, status)
			same(t, any("n"), body["displayName"])
		case "removePassword":
			same(t, []csdlProperty{{Name: "keyId", Type: "Edm.Guid", Nullable: "false"}}, a.Parameters[1:])
			status, _ := w.graph("POST", path+"/removePassword", map[string]any{"keyId": uuid.NewString()})
			same(t, 400, status) // understood: no such key
		}
	}
}

func TestTheCheckItselfFindsWhatIsWrong(t *testing.T) {
	s := readSchema(t)
	for _, wrong := range []map[string]any{
		{"colour": "red"}, {"displayName": 1.0}, {"appId": []any{}}, {"createdDateTime": "yesterday"}, {"tags": nil},
		{"passwordCredentials": []any{map[string]any{"keyId": "7"}}}, {"isDisabled": "yes"}, {},
	} {
		if len(s.check("graph.application", wrong)) != 1 {
			t.Errorf("%v passes", wrong)
		}
	}
}

// fits fails for every member of an entity that is not as in the model.
func (s schema) fits(t *testing.T, typeName string, entity any, beta ...string) {
	t.Helper()
	object, _ := entity.(map[string]any)
	for _, wrong := range s.check(typeName, object, beta...) {
		t.Error(wrong)
	}
}
