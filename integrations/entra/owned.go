package entra

import (
	"context"

	"github.com/twokey/twokey/discovery"
)

var _ discovery.Entra = (*Client)(nil)

type ownedObject struct {
	Type  string `json:"@odata.type"`
	AppID string `json:"appId"`
	Name  string `json:"displayName"`
}

// OwnedApplications implements discovery.Entra. Graph lists service principals and
// groups along with the applications.
func (c *Client) OwnedApplications(ctx context.Context) ([]discovery.Application, error) {
	own, err := c.ownPrincipal(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := list[ownedObject](ctx, c, "list what the bot owns", "/servicePrincipals/"+string(own)+"/ownedObjects?$select=id,appId,displayName")
	if err != nil {
		return nil, err
	}
	var out []discovery.Application
	for _, o := range objects {
		if o.Type == "#microsoft.graph.application" {
			out = append(out, discovery.Application{ClientID: o.AppID, Name: o.Name})
		}
	}
	return out, nil
}
