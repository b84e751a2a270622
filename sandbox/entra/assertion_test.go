package entra_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/golang-jwt/jwt/v5"

	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
)

const issuer = "https://3c6a.tokens.sts.global.api.aws"

// assertion signs a token as another issuer would.
func assertion(t *testing.T, key *ecdsa.PrivateKey, change func(*jwt.RegisteredClaims)) string {
	t.Helper()
	c := jwt.RegisteredClaims{
		Issuer: issuer, Subject: "arn:aws:iam::111122223333:role/twokey", Audience: jwt.ClaimStrings{"api://AzureADTokenExchange"},
		IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(5 * time.Minute)),
	}
	if change != nil {
		change(&c)
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodES256, c).SignedString(key)
	must(t, err)
	return s
}

func TestAFederatedTokenMustMatchIssuerSubjectAudienceKeyAndTime(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	w := newWorld(t)
	w.server.TrustIssuer(issuer, key.Public())
	must(t, w.server.AddFederatedCredential(w.bot.Client, entra.Federated{
		Name: "aws", Issuer: issuer, Subject: "arn:aws:iam::111122223333:role/twokey", Audiences: []string{"api://AzureADTokenExchange"},
	}))
	try := func(a string) int {
		return w.code(w.bot.Client, "", "client_assertion", a, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	}
	same(t, 0, try(assertion(t, key, nil)))
	same(t, 700211, try(assertion(t, key, func(c *jwt.RegisteredClaims) { c.Issuer = "https://evil.example" })))
	same(t, 700213, try(assertion(t, key, func(c *jwt.RegisteredClaims) { c.Subject = "arn:aws:iam::111122223333:role/other" })))
	same(t, 700212, try(assertion(t, key, func(c *jwt.RegisteredClaims) { c.Audience = jwt.ClaimStrings{"sts.amazonaws.com"} })))
	same(t, 700024, try(assertion(t, key, func(c *jwt.RegisteredClaims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Hour)) })))
	same(t, 700027, try(assertion(t, stranger, nil)))
	same(t, 50027, try("nonsense"))
	same(t, 7000219, w.code(w.bot.Client, "", "client_assertion", "x", "client_assertion_type", "x"))
	tokens := w.server.State().(entra.State).Tokens
	same(t, "aws", tokens[0].Assertor)
}

func TestTheMadeCertificateIsTrustedThroughItsAuthority(t *testing.T) {
	config, pem, err := entra.NewTLS()
	must(t, err)
	s := entra.New(conditions.New(conditions.NewClock()), tenantID)
	srv := httptest.NewUnstartedServer(s.Handler())
	srv.TLS = config
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the PEM")
	}
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer trusting.CloseIdleConnections()
	resp, err := trusting.Get(srv.URL + "/" + tenantID + "/v2.0/.well-known/openid-configuration")
	must(t, err)
	same(t, any(srv.URL+"/"+tenantID+"/oauth2/v2.0/token"), decode(t, resp)["token_endpoint"])
	if _, err := http.Get(srv.URL); err == nil {
		t.Error("a client that does not know the authority was let through")
	}
}
