package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// graph is the sandbox's Microsoft Graph.
type graph struct {
	base, tenant, client, secret string
	http                         *http.Client
}

func newGraph(getenv func(string) string) (*graph, error) {
	ca, err := os.ReadFile(getenv("ARM_SANDBOX_CA_FILE"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &graph{
		base: getenv("ARM_SANDBOX_URL"), tenant: getenv("ARM_TENANT_ID"), client: getenv("ARM_CLIENT_ID"), secret: getenv("ARM_CLIENT_SECRET"),
		http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	}, nil
}

// call sends one request and decodes the answer into out, unless that is nil.
func (g *graph) call(ctx context.Context, method, path string, in, out any) error {
	token, err := g.token(ctx)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, g.base+"/v1.0"+path, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	return g.send(req, out)
}

func (g *graph) token(ctx context.Context) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {g.client}, "client_secret": {g.secret}, "scope": {"https://graph.microsoft.com/.default"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.base+"/"+g.tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var out struct {
		Token string `json:"access_token"`
	}
	err = g.send(req, &out)
	return out.Token, err
}

func (g *graph) send(req *http.Request, out any) error {
	res, err := g.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		var e struct {
			Error any `json:"error"`
		}
		_ = json.NewDecoder(res.Body).Decode(&e)
		return fmt.Errorf("%s %s: %s: %v", req.Method, req.URL.Path, res.Status, e.Error)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}
