package entra

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Roles signs the bot in and lists the app permissions that its token carries, such
// as "Application.ReadWrite.OwnedBy". Microsoft says that Graph's tokens are not for
// their bearers to read; this only tells a person what to expect, and an unreadable
// token is an error.
func (c *Client) Roles(ctx context.Context) ([]string, error) {
	token, err := c.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{graphScope}})
	if err != nil {
		return nil, fmt.Errorf("sign in to Entra: %w", err)
	}
	parts := strings.Split(token.Token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("read the bot's roles: %w", errUnreadable)
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Roles []string `json:"roles"`
	}
	if err != nil || json.Unmarshal(body, &claims) != nil { // the text of neither error: it may quote the token
		return nil, fmt.Errorf("read the bot's roles: %w", errUnreadable)
	}
	return claims.Roles, nil
}
