package entra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/runbook"
)

var (
	_ exposure.SignIns = (*Client)(nil)
	_ exposure.Audits  = (*Client)(nil)
	_ exposure.Doors   = (*Client)(nil)
)

// A log is read newest first, logPage entries a request, maxLogged in all.
const (
	logPage   = 999
	maxLogged = 10 * logPage
)

// noLicence is Graph's code for a tenant whose licence a log does not come with.
const noLicence = "Authentication_RequestFromNonPremiumTenantOrB2CTenant"

// Principal returns the object id of the bot's own service principal.
func (c *Client) Principal(ctx context.Context) (runbook.ObjectID, error) { return c.ownPrincipal(ctx) }

type signIn struct {
	ID       string        `json:"id"`
	At       time.Time     `json:"createdDateTime"`
	Key      runbook.KeyID `json:"servicePrincipalCredentialKeyId"`
	Kind     string        `json:"clientCredentialType"`
	Address  string        `json:"ipAddress"`
	Resource string        `json:"resourceDisplayName"`
	Agent    string        `json:"userAgent"`
	Status   struct {
		Code int `json:"errorCode"`
	} `json:"status"`
}

func (s signIn) at() time.Time { return s.At }

// SignIns implements exposure.SignIns. Graph tells of service principals in its
// beta only, and only to who asks for them by signInEventTypes.
func (c *Client) SignIns(ctx context.Context, client runbook.ClientID, w exposure.Window) ([]exposure.SignIn, error) {
	filter := "signInEventTypes/any(t: t eq 'servicePrincipal') and appId eq '" + quote(string(client)) + "' and " + between("createdDateTime", w)
	address := strings.TrimSuffix(c.graphURL, "/v1.0") + "/beta/auditLogs/signIns?" + newestFirst(filter, "createdDateTime")
	found, err := entries[signIn](ctx, c, "read the sign-ins of "+string(client), address)
	out := make([]exposure.SignIn, 0, len(found))
	for _, s := range found {
		out = append(out, exposure.SignIn{ID: s.ID, At: s.At, Key: s.Key, Federated: s.Kind == "federatedIdentityCredential",
			Address: s.Address, Resource: s.Resource, Agent: s.Agent, Code: s.Status.Code})
	}
	return out, err
}

type directoryAudit struct {
	ID       string    `json:"id"`
	At       time.Time `json:"activityDateTime"`
	Activity string    `json:"activityDisplayName"`
	Result   string    `json:"result"`
	By       struct {
		App *struct {
			Name      string           `json:"displayName"`
			Principal runbook.ObjectID `json:"servicePrincipalId"`
		} `json:"app"`
		User *struct {
			ID      runbook.ObjectID `json:"id"`
			Name    string           `json:"userPrincipalName"`
			Address string           `json:"ipAddress"`
		} `json:"user"`
	} `json:"initiatedBy"`
	Targets []struct {
		ID      string `json:"id"`
		Name    string `json:"displayName"`
		User    string `json:"userPrincipalName"`
		Kind    string `json:"type"`
		Changes []struct {
			Property string `json:"displayName"`
			Old      string `json:"oldValue"`
			New      string `json:"newValue"`
		} `json:"modifiedProperties"`
	} `json:"targetResources"`
	Details []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"additionalDetails"`
}

func (a directoryAudit) at() time.Time { return a.At }

// DirectoryAudits implements exposure.Audits. An entry about owners names the
// owner first and the application perhaps in a changed property alone, so those
// are read for the whole tenant and sorted out here.
func (c *Client) DirectoryAudits(ctx context.Context, app, principal runbook.ObjectID, w exposure.Window) ([]exposure.Audit, error) {
	wanted := []string{
		"targetResources/any(t: t/id eq '" + quote(string(app)) + "')",
		"startswith(activityDisplayName,'Add owner to ')",
		"startswith(activityDisplayName,'Remove owner from ')",
	}
	if principal != "" {
		wanted = append(wanted, "targetResources/any(t: t/id eq '"+quote(string(principal))+"')")
	}
	var out []exposure.Audit
	var cut *exposure.Truncated
	for _, want := range wanted {
		address := c.graphURL + "/auditLogs/directoryAudits?" + newestFirst(want+" and "+between("activityDateTime", w), "activityDateTime")
		found, err := entries[directoryAudit](ctx, c, "read the audits of "+string(app), address)
		for _, a := range found {
			if a.mentions(app) || principal != "" && a.mentions(principal) {
				out = append(out, a.exposed())
			}
		}
		var more *exposure.Truncated
		switch {
		case errors.As(err, &more) && (cut == nil || more.Since.After(cut.Since)):
			cut = more // the narrowest of them holds for all
		case err != nil && more == nil:
			return out, err
		}
	}
	if cut != nil {
		return out, cut
	}
	return out, nil
}

// mentions reports whether an entry is about the object, as target or by a
// changed property.
func (a directoryAudit) mentions(id runbook.ObjectID) bool {
	for _, t := range a.Targets {
		if strings.EqualFold(t.ID, string(id)) {
			return true
		}
		for _, c := range t.Changes {
			if strings.EqualFold(strings.Trim(c.New, `"`), string(id)) || strings.EqualFold(strings.Trim(c.Old, `"`), string(id)) {
				return true
			}
		}
	}
	return false
}

func (a directoryAudit) exposed() exposure.Audit {
	out := exposure.Audit{ID: a.ID, At: a.At, Activity: a.Activity, Failed: a.Result != "success"}
	switch {
	case a.By.User != nil:
		out.By = exposure.Actor{Principal: a.By.User.ID, Name: a.By.User.Name, Address: a.By.User.Address}
	case a.By.App != nil:
		out.By = exposure.Actor{Principal: a.By.App.Principal, Name: a.By.App.Name, App: true}
	}
	for _, t := range a.Targets {
		target := exposure.Target{ID: t.ID, Kind: t.Kind, Name: t.Name}
		if target.Name == "" {
			target.Name = t.User
		}
		for _, c := range t.Changes {
			target.Changes = append(target.Changes, exposure.Change(c))
		}
		out.Targets = append(out.Targets, target)
	}
	for _, d := range a.Details {
		if d.Key == "User-Agent" {
			out.Agent = d.Value
		}
	}
	return out
}

// Doors implements exposure.Doors: the application's owners and its federated
// credentials.
func (c *Client) Doors(ctx context.Context, app runbook.ObjectID) ([]exposure.Door, error) {
	type owner struct {
		ID   string `json:"id"`
		Name string `json:"displayName"`
		Kind string `json:"@odata.type"`
	}
	type federated struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Issuer  string `json:"issuer"`
		Subject string `json:"subject"`
	}
	var out []exposure.Door
	credentials, federatedErr := list[federated](ctx, c, "read the federated credentials of "+string(app), "/applications/"+string(app)+"/federatedIdentityCredentials")
	for _, f := range credentials {
		out = append(out, exposure.Door{ID: f.ID, Name: f.Name, Federated: true, Detail: "issuer " + f.Issuer + ", subject " + f.Subject})
	}
	owners, ownersErr := list[owner](ctx, c, "read the owners of "+string(app), "/applications/"+string(app)+"/owners?$select=id,displayName")
	for _, o := range owners {
		out = append(out, exposure.Door{ID: o.ID, Name: o.Name, Detail: strings.TrimPrefix(o.Kind, "#microsoft.graph.")})
	}
	return out, errors.Join(notPermitted(federatedErr), notPermitted(ownersErr))
}

func between(property string, w exposure.Window) string {
	at := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
	return property + " ge " + at(w.From) + " and " + property + " le " + at(w.To.Add(time.Second)) // to the second, so a little too much
}

func newestFirst(filter, by string) string {
	return url.Values{"$filter": {filter}, "$orderby": {by + " desc"}, "$top": {fmt.Sprint(logPage)}}.Encode()
}

// entries reads a log's pages until it ends or the bound is reached.
func entries[T interface{ at() time.Time }](ctx context.Context, c *Client, what, address string) ([]T, error) {
	server, _, _ := strings.Cut(strings.TrimPrefix(address, "https://"), "/")
	var all []T
	for range maxPages {
		page, err := getAt[collection[T]](ctx, c, what, address)
		if err != nil {
			return all, notPermitted(err)
		}
		all = append(all, page.Value...)
		switch {
		case page.Next == "":
			return all, nil
		case len(all) >= maxLogged:
			return all, &exposure.Truncated{Limit: len(all), Since: all[len(all)-1].at()}
		case !strings.HasPrefix(page.Next, "https://"+server+"/"):
			return all, fmt.Errorf("%s: the next page is at another address", what)
		}
		address = page.Next
	}
	return all, fmt.Errorf("%s: more than %d pages", what, maxPages)
}

// notPermitted makes Graph's ways of saying so exposure's.
func notPermitted(err error) error {
	var f *failure
	switch {
	case !errors.As(err, &f) || f.status != http.StatusForbidden:
		return err
	case f.code == noLicence:
		return fmt.Errorf("%w: %w", exposure.ErrNoLicence, err)
	default:
		return fmt.Errorf("%w: %w", exposure.ErrNotPermitted, err)
	}
}
