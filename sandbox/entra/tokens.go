package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// accessClaims are what an app-only access token says.
type accessClaims struct {
	jwt.RegisteredClaims
	AppID        string   `json:"appid"`
	AppName      string   `json:"app_displayname"`
	ObjectID     string   `json:"oid"`
	TenantID     string   `json:"tid"`
	Roles        []string `json:"roles,omitempty"`
	IDType       string   `json:"idtyp"`
	Version      string   `json:"ver"`
	UTI          string   `json:"uti"`
	Capabilities []string `json:"xms_cc,omitempty"`
}

// signingKey is made at the first token, since making one takes a while.
type signingKey struct {
	once sync.Once
	key  *rsa.PrivateKey
}

// keyName is the one key's id.
const keyName = "sandbox"

func (k *signingKey) get() *rsa.PrivateKey {
	k.once.Do(func() {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic("entra: no signing key: " + err.Error()) // crypto/rand does not fail on supported systems
		}
		k.key = key
	})
	return k.key
}

func (k *signingKey) sign(c accessClaims) string {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	t.Header["kid"] = keyName
	signed, err := t.SignedString(k.get())
	if err != nil {
		panic("entra: cannot sign: " + err.Error()) // the claims are this package's own
	}
	return signed
}

// document is the JSON web key set.
func (k *signingKey) document() map[string]any {
	public := k.get().PublicKey
	b64 := base64.RawURLEncoding.EncodeToString
	return map[string]any{"keys": []map[string]any{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyName,
		"n": b64(public.N.Bytes()), "e": b64(big.NewInt(int64(public.E)).Bytes()),
	}}}
}

// caller is who sent a request to Graph.
type caller struct {
	accessClaims
	app *application // for a token of this tenant there is always one
}

// bearer checks the token of a request to Graph.
func (s *Server) bearer(r *http.Request) (caller, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || text == "" {
		return caller{}, &graphError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: "Access token is empty."}
	}
	var c caller
	_, err := jwt.ParseWithClaims(text, &c.accessClaims,
		func(*jwt.Token) (any, error) { return s.keys.get().Public(), nil },
		jwt.WithTimeFunc(s.now), jwt.WithAudience(graphResource), jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
	if errors.Is(err, jwt.ErrTokenExpired) {
		return caller{}, s.expired(c.accessClaims)
	}
	if err != nil {
		return caller{}, &graphError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: "Access token validation failure."}
	}
	c.app = s.applications[strings.ToLower(c.AppID)]
	if c.app == nil {
		return caller{}, &graphError{status: http.StatusUnauthorized, code: "Authorization_IdentityNotFound", message: "The identity of the calling application could not be established."}
	}
	return c, nil
}

// expired is the answer to an old token. A client that said it can handle claims
// challenges gets one, so that it asks for a new token: when the sandbox's clock
// jumps, the client's own clock does not know that its token is old.
func (s *Server) expired(c accessClaims) *graphError {
	e := &graphError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: "Lifetime validation failed, the token is expired."}
	if len(c.Capabilities) == 0 {
		return e
	}
	claims, err := json.Marshal(map[string]any{"access_token": map[string]any{
		"nbf": map[string]any{"essential": true, "value": fmt.Sprint(s.now().Unix())},
	}})
	if err != nil {
		panic("entra: cannot encode a claims challenge: " + err.Error()) // strings and booleans only
	}
	e.challenge = fmt.Sprintf(`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="%s"`,
		base64.StdEncoding.EncodeToString(claims))
	return e
}
