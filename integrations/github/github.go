// Package github asks GitHub's REST API what a repository's settings are. It
// changes nothing.
package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/policy"
)

// Client implements [policy.Hosting].
type Client struct {
	// Address is where the API is; empty: https://api.github.com.
	Address string
	Token   operation.Secret
}

const (
	callTime  = 20 * time.Second
	maxAnswer = 1 << 20 // bytes
)

// repository is what is read of an answer to GET /repos/{owner}/{repo}:
// https://docs.github.com/rest/repos/repos#get-a-repository.
type repository struct {
	Security *struct {
		Scanning   *setting `json:"secret_scanning"`
		Protection *setting `json:"secret_scanning_push_protection"`
	} `json:"security_and_analysis"`
}

type setting struct {
	Status string `json:"status"` // "enabled" or "disabled"
}

// errNotShown is when the token may not see the settings: GitHub then leaves them out.
var errNotShown = errors.New("GitHub does not show the token these settings")

// Scanning implements policy.Hosting.
func (c *Client) Scanning(ctx context.Context, name string) (policy.Scanning, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	address := strings.TrimSuffix(c.Address, "/")
	if address == "" {
		address = "https://api.github.com"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/repos/"+name, nil)
	if err != nil {
		return policy.Scanning{}, fmt.Errorf("ask GitHub about %s: %w", name, err)
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	if !c.Token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	}
	// A redirect could lead the token elsewhere; one means that the repository was renamed.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return policy.Scanning{}, fmt.Errorf("ask GitHub about %s: %w", name, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK {
		return policy.Scanning{}, fmt.Errorf("ask GitHub about %s: it answered %s", name, resp.Status)
	}
	var found repository
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&found); err != nil {
		return policy.Scanning{}, fmt.Errorf("read what GitHub says of %s: %w", name, err)
	}
	if found.Security == nil || found.Security.Scanning == nil || found.Security.Protection == nil {
		return policy.Scanning{}, fmt.Errorf("ask GitHub about %s: %w", name, errNotShown)
	}
	return policy.Scanning{Secrets: found.Security.Scanning.Status == "enabled", PushProtection: found.Security.Protection.Status == "enabled"}, nil
}
