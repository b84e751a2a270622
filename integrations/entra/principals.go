package entra

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	kiota "github.com/microsoft/kiota-abstractions-go"

	"github.com/twokey/twokey/runbook"
)

var _ runbook.Principals = (*Client)(nil)

// SetEnabled sets the service principal's accountEnabled: without it no secret of
// the application gets a token in this tenant. Repeating it changes nothing.
func (c *Client) SetEnabled(ctx context.Context, principal runbook.ObjectID, enabled bool) error {
	u, err := url.Parse(c.graphURL + "/servicePrincipals/" + url.PathEscape(string(principal)))
	if err != nil {
		return fmt.Errorf("address the service principal: %w", err)
	}
	body, err := json.Marshal(map[string]bool{"accountEnabled": enabled})
	if err != nil {
		return fmt.Errorf("encode accountEnabled: %w", err)
	}
	what := "deactivate the service principal"
	if enabled {
		what = "activate the service principal"
	}
	return c.write(ctx, what, func(ctx context.Context) error {
		request := kiota.NewRequestInformation()
		request.Method = kiota.PATCH
		request.SetUri(*u)
		request.Headers.Add("Accept", "application/json")
		request.SetStreamContentAndContentType(body, "application/json")
		return c.adapter.SendNoContent(ctx, request, errorMapping())
	})
}
