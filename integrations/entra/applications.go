package entra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/microsoftgraph/msgraph-sdk-go/applications"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// ErrNoApplication is wrapped by what Application returns for a client id that
// the tenant does not have.
var ErrNoApplication = errors.New("no such application in the tenant")

// Taking back a key that was just made may have to wait for the replica that
// does not know it yet.
const takeBackTime = 30 * time.Second

// lag is when to look again for a key that one replica knows and another does not.
const lag = 2 * time.Second

// Application reads the application, its service principal, owners and policies.
// Each read may be answered by a replica that is behind, so a key that is not
// listed may exist and a listed one may be gone: who must know reads again. Keys
// come in a fixed order, so that reads can be compared.
func (c *Client) Application(ctx context.Context, client runbook.ClientID) (runbook.Application, error) {
	if !isGUID(string(client)) {
		return runbook.Application{}, operation.Permanent(fmt.Errorf("read an application: the client id %q is not a GUID", client))
	}
	found, err := c.application(ctx, client)
	if err != nil {
		return runbook.Application{}, err
	}
	out := runbook.Application{
		Object: found.ID, Client: client, Name: found.Name, Disabled: found.Disabled,
		Keys: keys(found.Passwords, false),
	}
	// At once, since a rotation reads it often: each fills in members of its own.
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.addPrincipal(ctx, &out) })
	g.Go(func() error { return c.addOwnership(ctx, &out) })
	g.Go(func() error { return c.addPolicy(ctx, &out, found.Created) })
	if err := g.Wait(); err != nil {
		return runbook.Application{}, err
	}
	slices.SortFunc(out.Keys, func(a, b runbook.Key) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

type password struct {
	ID    runbook.KeyID `json:"keyId"`
	Name  string        `json:"displayName"`
	Hint  string        `json:"hint"`
	Start time.Time     `json:"startDateTime"`
	End   time.Time     `json:"endDateTime"`
}

type application struct {
	ID        runbook.ObjectID `json:"id"`
	AppID     string           `json:"appId"`
	Name      string           `json:"displayName"`
	Created   time.Time        `json:"createdDateTime"`
	Disabled  bool             `json:"isDisabled"`
	Passwords []password       `json:"passwordCredentials"`
}

// application reads without the SDK's model of an application, which refers to
// a thousand others: it alone would add 20 MB to the program.
func (c *Client) application(ctx context.Context, client runbook.ClientID) (application, error) {
	found, err := get[application](ctx, c, "read application "+string(client),
		"/applications(appId='"+string(client)+"')?$select=id,appId,displayName,createdDateTime,isDisabled,passwordCredentials")
	switch {
	case status(err) == http.StatusNotFound:
		return application{}, operation.Permanent(fmt.Errorf("application %s: %w", client, ErrNoApplication))
	case err == nil && found.ID == "":
		return application{}, fmt.Errorf("read application %s: %w", client, errUnreadable)
	}
	return found, err
}

func keys(list []password, onPrincipal bool) []runbook.Key {
	var out []runbook.Key
	for _, p := range list {
		out = append(out, runbook.Key{ID: p.ID, Name: p.Name, Hint: p.Hint, Start: p.Start, End: p.End, OnServicePrincipal: onPrincipal})
	}
	return out
}

type principal struct {
	ID        runbook.ObjectID `json:"id"`
	Enabled   bool             `json:"accountEnabled"`
	Passwords []password       `json:"passwordCredentials"`
}

// addPrincipal reads the service principal, whose own secrets sign the
// application in as well as the application's do.
func (c *Client) addPrincipal(ctx context.Context, a *runbook.Application) error {
	p, err := get[principal](ctx, c, "read the service principal of "+a.Name,
		"/servicePrincipals(appId='"+string(a.Client)+"')?$select=id,accountEnabled,passwordCredentials")
	if status(err) == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	a.ServicePrincipal, a.PrincipalEnabled = p.ID, p.Enabled
	a.Keys = append(a.Keys, keys(p.Passwords, true)...)
	return nil
}

type object struct {
	ID runbook.ObjectID `json:"id"`
}

// addOwnership tells whether our own service principal owns the application.
func (c *Client) addOwnership(ctx context.Context, a *runbook.Application) error {
	own, err := c.ownPrincipal(ctx)
	if err != nil {
		return err
	}
	a.Us = own
	owners, err := list[object](ctx, c, "read the owners of "+a.Name, "/applications/"+string(a.Object)+"/owners?$select=id")
	if status(err) == http.StatusForbidden {
		return nil
	}
	if err != nil {
		return err
	}
	a.OwnersRead = true
	a.OwnedByUs = slices.Contains(owners, object{own})
	return nil
}

// ownPrincipal returns our service principal, which never changes.
func (c *Client) ownPrincipal(ctx context.Context) (runbook.ObjectID, error) {
	c.mu.Lock()
	own := c.own
	c.mu.Unlock()
	if own != "" {
		return own, nil
	}
	p, err := get[object](ctx, c, "read the bot's own service principal", "/servicePrincipals(appId='"+string(c.clientID)+"')?$select=id")
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = p.ID
	return p.ID, nil
}

// AddPassword makes a key and hands its text to keep, under ctx. The text is not
// held after keep returns. When keep fails, the key is removed again, unless keep
// does not know whether it failed; if that fails too, the error names the key that
// is left.
//
// It never sends a start: Entra's own clock must not find it in the future.
func (c *Client) AddPassword(ctx context.Context, app runbook.ObjectID, name string, end time.Time, keep func(context.Context, runbook.Key, operation.Secret) error) (runbook.Key, error) {
	credential := models.NewPasswordCredential()
	credential.SetDisplayName(&name)
	credential.SetEndDateTime(&end)
	body := applications.NewItemAddPasswordPostRequestBody()
	body.SetPasswordCredential(credential)

	var added models.PasswordCredentialable
	err := c.write(ctx, "add a secret called "+name, func(ctx context.Context) (err error) {
		// Made from the address, and for one request: the SDK's way to it, by the
		// builder of all applications, links in the models of all that Graph
		// knows (20 MB).
		builder := applications.NewItemAddPasswordRequestBuilder(c.graphURL+"/applications/"+url.PathEscape(string(app))+"/addPassword", c.adapter)
		added, err = builder.Post(ctx, body, nil)
		if err == nil && (added == nil || added.GetKeyId() == nil || text(added.GetSecretText()) == "") {
			err = errUnreadable
		}
		return err
	})
	if err != nil {
		return runbook.Key{}, err
	}
	k := made(added)
	if err := keep(ctx, k, operation.NewSecret(*added.GetSecretText())); err != nil {
		err = fmt.Errorf("keep the new secret %s: %w", k.ID, err)
		if errors.Is(err, runbook.ErrMayBeKept) {
			return runbook.Key{}, err
		}
		return runbook.Key{}, errors.Join(err, c.takeBack(ctx, app, k))
	}
	return k, nil
}

// made renders addPassword's answer.
func made(p models.PasswordCredentialable) runbook.Key {
	k := runbook.Key{ID: runbook.KeyID(p.GetKeyId().String()), Name: text(p.GetDisplayName()), Hint: text(p.GetHint())}
	if t := p.GetStartDateTime(); t != nil {
		k.Start = *t
	}
	if t := p.GetEndDateTime(); t != nil {
		k.End = *t
	}
	return k
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// takeBack removes a key that was made a moment ago, even when ctx is over. A
// replica that does not know it yet says "no such key", so only a removal that
// was confirmed counts.
func (c *Client) takeBack(ctx context.Context, app runbook.ObjectID, k runbook.Key) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTime)
	defer cancel()
	for pause := c.pause; ; pause *= 2 {
		err := c.sendRemove(ctx, app, k)
		if err == nil {
			return nil
		}
		if s := status(err); s == http.StatusForbidden || s == http.StatusUnauthorized {
			return fmt.Errorf("the new key %s is left on the application: %w", k.ID, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("the new key %s may be left on the application: %w", k.ID, err)
		}
	}
}

// RemovePassword removes exactly that key of the application or, where the key
// says so, of the service principal that holder is then. A key that Graph does not know and that is
// not listed either is gone. One that Graph does not know and that is still
// listed is a replica's lag: the error is not permanent.
func (c *Client) RemovePassword(ctx context.Context, holder runbook.ObjectID, k runbook.Key) error {
	err := c.sendRemove(ctx, holder, k)
	if s := status(err); s != http.StatusBadRequest && s != http.StatusNotFound {
		return err
	}
	listed, readErr := c.lists(ctx, holder, k)
	switch {
	case readErr != nil:
		return fmt.Errorf("see whether key %s is gone: %w", k.ID, readErr)
	case listed:
		return operation.NotYet{After: lag, Why: fmt.Sprintf("key %s is listed and cannot be removed yet", k.ID)}
	default:
		return nil
	}
}

// sendRemove asks Graph to remove the key, wherever it is.
func (c *Client) sendRemove(ctx context.Context, holder runbook.ObjectID, k runbook.Key) error {
	id, err := uuid.Parse(string(k.ID))
	if err != nil {
		return operation.Permanent(fmt.Errorf("remove a key: %q is not a key id", k.ID))
	}
	body := applications.NewItemRemovePasswordPostRequestBody()
	body.SetKeyId(&id)
	return c.write(ctx, "remove key "+string(k.ID), func(ctx context.Context) error {
		return applications.NewItemRemovePasswordRequestBuilder(c.graphURL+pathOf(holder, k)+"/removePassword", c.adapter).Post(ctx, body, nil)
	})
}

// pathOf is the path of the object that holds the key.
func pathOf(holder runbook.ObjectID, k runbook.Key) string {
	if k.OnServicePrincipal {
		return "/servicePrincipals/" + url.PathEscape(string(holder))
	}
	return "/applications/" + url.PathEscape(string(holder))
}

// lists reports whether a read lists the key.
func (c *Client) lists(ctx context.Context, holder runbook.ObjectID, k runbook.Key) (bool, error) {
	found, err := get[principal](ctx, c, "read the keys of "+string(holder), pathOf(holder, k)+"?$select=id,passwordCredentials")
	for _, p := range found.Passwords {
		if strings.EqualFold(string(p.ID), string(k.ID)) {
			return true, err
		}
	}
	return false, err
}
