package entra

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/runbook"
)

var _ inventory.Directory = (*Client)(nil)

// How a whole tenant is listed: pages as large as Graph has them, and no more of
// them than any tenant needs.
const (
	tenantPage  = 999
	tenantPages = 2000
)

// listedKey is a key as a list of applications has it. A certificate for signing
// is listed twice, and its private key's password as a secret: all of these have
// the same thumbprint as their identifier.
type listedKey struct {
	password
	Thumbprint string `json:"customKeyIdentifier"`
}

type listedApplication struct {
	ID           runbook.ObjectID `json:"id"`
	AppID        runbook.ClientID `json:"appId"`
	Name         string           `json:"displayName"`
	Passwords    []listedKey      `json:"passwordCredentials"`
	Certificates []listedKey      `json:"keyCredentials"`
	Owners       []struct {
		ID   string `json:"id"`
		Name string `json:"displayName"`
		User string `json:"userPrincipalName"`
	} `json:"owners"`
}

// Applications implements inventory.Directory. Graph tells of an application's
// owners no more than 20 this way.
func (c *Client) Applications(ctx context.Context) iter.Seq2[inventory.Application, error] {
	return listed(ctx, c, "list the applications", fmt.Sprintf(
		"%s/applications?$top=%d&$select=id,appId,displayName,passwordCredentials,keyCredentials&$expand=owners($select=id,displayName,userPrincipalName)", c.graphURL, tenantPage),
		func(a listedApplication) (inventory.Application, bool) { return a.application(false), true })
}

// ServicePrincipals implements inventory.Directory. Most of them have no key of
// their own, and Graph cannot leave those out.
func (c *Client) ServicePrincipals(ctx context.Context) iter.Seq2[inventory.Application, error] {
	return listed(ctx, c, "list the service principals", fmt.Sprintf(
		"%s/servicePrincipals?$top=%d&$select=id,appId,displayName,passwordCredentials,keyCredentials", c.graphURL, tenantPage),
		func(a listedApplication) (inventory.Application, bool) {
			return a.application(true), len(a.Passwords)+len(a.Certificates) > 0
		})
}

type credentialActivity struct {
	KeyID    runbook.KeyID `json:"keyId"`
	Activity struct {
		Last time.Time `json:"lastSignInDateTime"`
	} `json:"signInActivity"`
}

// LastUses implements inventory.Directory. Only Graph's beta has the report.
func (c *Client) LastUses(ctx context.Context) iter.Seq2[inventory.LastUse, error] {
	return listed(ctx, c, "read when keys were last used", fmt.Sprintf(
		"%s/beta/reports/appCredentialSignInActivities?$top=%d", strings.TrimSuffix(c.graphURL, "/v1.0"), tenantPage),
		func(a credentialActivity) (inventory.LastUse, bool) {
			return inventory.LastUse{Key: a.KeyID, At: a.Activity.Last}, !a.Activity.Last.IsZero()
		})
}

func (a listedApplication) application(principal bool) inventory.Application {
	out := inventory.Application{Object: a.ID, Client: a.AppID, Name: a.Name}
	seen := map[string]bool{}
	for _, k := range a.Certificates {
		if k.Thumbprint != "" && seen[k.Thumbprint] {
			continue
		}
		seen[k.Thumbprint] = true
		out.Certificates = append(out.Certificates, keys([]password{k.password}, principal)...)
	}
	for _, k := range a.Passwords {
		if k.Thumbprint == "" || !seen[k.Thumbprint] {
			out.Secrets = append(out.Secrets, keys([]password{k.password}, principal)...)
		}
	}
	for _, o := range a.Owners {
		switch {
		case o.Name != "":
			out.Owners = append(out.Owners, o.Name)
		case o.User != "":
			out.Owners = append(out.Owners, o.User)
		default:
			out.Owners = append(out.Owners, o.ID)
		}
	}
	return out
}

// listed yields what render makes of all that a list has. While a page is taken
// apart, the next is on its way.
func listed[In, Out any](ctx context.Context, c *Client, what, address string, render func(In) (Out, bool)) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pages := make(chan rawPage)
		go c.fetchPages(ctx, what, address, pages)
		defer func() {
			cancel()
			for range pages { // until the fetching has ended
			}
		}()
		var none Out
		for page := range pages {
			var in collection[In]
			err := page.err
			if err == nil && (json.Unmarshal(page.body, &in) != nil || in.Next != page.next) {
				err = fmt.Errorf("%s: %w", what, errUnreadable)
			}
			if err != nil {
				yield(none, notListable(err))
				return
			}
			for _, one := range in.Value {
				if out, wanted := render(one); wanted && !yield(out, nil) {
					return
				}
			}
		}
	}
}

// rawPage is a page as it came, with the address of the next.
type rawPage struct {
	body []byte
	next string
	err  error
}

// fetchPages sends page after page until there is no more, or an error. It closes
// pages at its end.
func (c *Client) fetchPages(ctx context.Context, what, address string, pages chan<- rawPage) {
	defer close(pages)
	server := strings.TrimSuffix(c.graphURL, "v1.0")
	for n := 0; address != ""; n++ {
		page := rawPage{}
		page.err = c.getRaw(ctx, what, address, func(body []byte) (err error) {
			page.body = body
			page.next, err = nextLink(body)
			return err
		})
		switch {
		case page.err != nil:
		case page.next != "" && !strings.HasPrefix(page.next, server):
			page.err = fmt.Errorf("%s: the next page is at another address", what)
		case n == tenantPages:
			page.err = fmt.Errorf("%s: more than %d pages", what, tenantPages)
		}
		select {
		case pages <- page:
		case <-ctx.Done():
			return
		}
		if page.err != nil {
			return
		}
		address = page.next
	}
}

// nextLink finds the address of the next page without taking the page apart, so
// that the request for it does not wait for that. Inside a text the member's name
// cannot stand like this: its quotes would be escaped. Taking the page apart checks
// the address.
func nextLink(body []byte) (string, error) {
	_, rest, found := bytes.Cut(body, []byte(`"@odata.nextLink":`))
	if !found {
		return "", nil
	}
	var next string
	if err := json.NewDecoder(bytes.NewReader(rest)).Decode(&next); err != nil {
		return "", errUnreadable
	}
	return next, nil
}

// notListable makes Graph's ways of refusing a list the inventory's.
func notListable(err error) error {
	var f *failure
	if errors.As(err, &f) && f.status == http.StatusForbidden {
		return fmt.Errorf("%w: %w", inventory.ErrNotPermitted, err)
	}
	return err
}
