package entra

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/twokey/twokey/operation"
)

type user struct {
	ID      string `json:"id"`
	Enabled *bool  `json:"accountEnabled"`
}

// Person returns whose verified e-mail address this is, and whether that
// identity is enabled. Nobody, or more than one enabled identity, is a permanent
// error: then nobody can say which human being it is.
func (c *Client) Person(ctx context.Context, email string) (operation.PersonID, bool, error) {
	if email == "" {
		return "", false, operation.Permanent(errors.New("look up a person: there is no e-mail address"))
	}
	q := url.Values{
		"$filter": {fmt.Sprintf("mail eq '%[1]s' or userPrincipalName eq '%[1]s'", quote(email))},
		"$select": {"id,accountEnabled"},
	}
	found, err := list[user](ctx, c, "look up a person", "/users?"+q.Encode())
	if err != nil {
		return "", false, err
	}
	var enabled []user
	for _, u := range found {
		if u.Enabled == nil {
			return "", false, operation.Permanent(fmt.Errorf("look up %s: the directory does not say whether the identity is enabled", email))
		}
		if *u.Enabled {
			enabled = append(enabled, u)
		}
	}
	switch {
	case len(enabled) == 1:
		return operation.PersonID(enabled[0].ID), true, nil
	case len(enabled) == 0 && len(found) == 1: // found, and disabled
		return operation.PersonID(found[0].ID), false, nil
	case len(found) == 0:
		return "", false, operation.Permanent(fmt.Errorf("the directory has no user with the e-mail address %s", email))
	default:
		return "", false, operation.Permanent(fmt.Errorf("the directory has %d users with the e-mail address %s: it must be exactly one", len(found), email))
	}
}
