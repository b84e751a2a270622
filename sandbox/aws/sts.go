package aws

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Key ids of the web identity tokens' signing keys.
const (
	rsaKeyID   = "sandbox-rs256"
	ecdsaKeyID = "sandbox-es384"
)

func newSigningKeys() *signingKeys {
	return &signingKeys{
		rsa: sync.OnceValue(func() *rsa.PrivateKey {
			k, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				panic("sandbox/aws: make an RSA key: " + err.Error()) // fails for too small sizes only
			}
			return k
		}),
		ecdsa: sync.OnceValue(func() *ecdsa.PrivateKey {
			k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			if err != nil {
				panic("sandbox/aws: make an elliptic key: " + err.Error()) // does not fail for P-384
			}
			return k
		}),
	}
}

type (
	callerIdentityOutput struct{ UserId, Account, Arn string }
	sessionKeys          struct {
		AccessKeyId, SecretAccessKey, SessionToken string
		Expiration                                 string
	}
	assumedRoleUser  struct{ AssumedRoleId, Arn string }
	assumeRoleOutput struct {
		Credentials     sessionKeys
		AssumedRoleUser assumedRoleUser
	}
	webIdentityTokenOutput struct{ WebIdentityToken, Expiration string }
)

// instant is a timestamp as the query protocol writes it.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (s *Server) getCallerIdentity(c call, _ url.Values) (*callerIdentityOutput, error) {
	return &callerIdentityOutput{UserId: c.who.userID(), Account: c.who.Account, Arn: c.who.arn()}, nil
}

// duration reads DurationSeconds, between least and most.
func duration(form url.Values, fallback, least, most int) (time.Duration, error) {
	n := fallback
	if text := form.Get("DurationSeconds"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < least || n > most {
			return 0, refuse("ValidationError", fmt.Sprintf("1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint: Member must have value between %d and %d", text, least, most))
		}
	}
	return time.Duration(n) * time.Second, nil
}

// assumeRole hands out a session of a role that was seeded. Trust policies are
// not evaluated.
func (s *Server) assumeRole(c call, form url.Values) (*assumeRoleOutput, error) {
	session := form.Get("RoleSessionName")
	if !regexp.MustCompile(`^[\w+=,.@-]{2,64}$`).MatchString(session) {
		return nil, refuse("ValidationError", "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*")
	}
	name := last(form.Get("RoleArn"))
	if _, ok := s.roles[name]; !ok || form.Get("RoleArn") != s.roleARN(name) {
		return nil, &apiError{Code: "AccessDenied", Status: http.StatusForbidden,
			Message: "User: " + c.who.arn() + " is not authorized to perform: sts:AssumeRole on resource: " + form.Get("RoleArn")}
	}
	lasts, err := duration(form, 3600, 900, 43200)
	if err != nil {
		return nil, err
	}
	who := Identity{Account: s.account, Role: name, Session: session}
	key := "ASIA" + strings.ToUpper(strings.ReplaceAll(uuid.NewString(), "-", ""))[:16]
	s.identities[key] = who
	return &assumeRoleOutput{
		Credentials:     sessionKeys{key, newCipher()[:40], newCipher(), instant(c.now.Add(lasts))},
		AssumedRoleUser: assumedRoleUser{who.userID(), who.arn()},
	}, nil
}

// Issuer is the issuer of the account's web identity tokens, as AWS names it.
func (s *Server) Issuer() string {
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(s.account))
	return "https://" + id.String() + ".tokens.sts.global.api.aws"
}

// claims are what STS puts into a web identity token.
type claims struct {
	jwt.RegisteredClaims
	AWS map[string]any `json:"https://sts.amazonaws.com/"`
}

func (s *Server) getWebIdentityToken(c call, form url.Values) (*webIdentityTokenOutput, error) {
	var audience []string
	for i := 1; form.Has("Audience.member." + strconv.Itoa(i)); i++ {
		audience = append(audience, form.Get("Audience.member."+strconv.Itoa(i)))
	}
	if len(audience) < 1 || len(audience) > 10 {
		return nil, refuse("ValidationError", "1 validation error detected: Value at 'audience' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	lasts, err := duration(form, 300, 60, 3600)
	if err != nil {
		return nil, err
	}
	unsigned := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.Issuer(), Subject: c.who.principal(), Audience: audience, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(c.now), ExpiresAt: jwt.NewNumericDate(c.now.Add(lasts)),
		},
		AWS: map[string]any{"aws_account": c.who.Account, "source_region": s.region, "principal_id": c.who.principal()},
	}
	var token *jwt.Token
	var key any
	switch algorithm := form.Get("SigningAlgorithm"); algorithm {
	case "RS256":
		token, key = jwt.NewWithClaims(jwt.SigningMethodRS256, unsigned), s.keys.rsa()
		token.Header["kid"] = rsaKeyID
	case "ES384":
		token, key = jwt.NewWithClaims(jwt.SigningMethodES384, unsigned), s.keys.ecdsa()
		token.Header["kid"] = ecdsaKeyID
	default:
		return nil, refuse("ValidationError", "1 validation error detected: Value '"+algorithm+"' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [RS256, ES384]")
	}
	signed, err := token.SignedString(key)
	if err != nil {
		return nil, fmt.Errorf("sign a web identity token: %w", err)
	}
	return &webIdentityTokenOutput{signed, instant(c.now.Add(lasts))}, nil
}

// WebIdentity is what a web identity token of this account says.
type WebIdentity struct {
	Issuer   string
	Subject  string // the ARN of the role or user
	Audience []string
}

// VerifyWebIdentityToken checks a token's signature, issuer and lifetime by the
// sandbox's clock, as whoever trusts the account's issuer would by its JWKS.
func (s *Server) VerifyWebIdentityToken(token string) (WebIdentity, error) {
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		switch t.Header["kid"] {
		case rsaKeyID:
			return &s.keys.rsa().PublicKey, nil
		case ecdsaKeyID:
			return &s.keys.ecdsa().PublicKey, nil
		default:
			return nil, errors.New("no such key")
		}
	}, jwt.WithValidMethods([]string{"RS256", "ES384"}), jwt.WithIssuer(s.Issuer()), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.cond.Clock.Now))
	if err != nil {
		return WebIdentity{}, fmt.Errorf("verify a web identity token: %w", err)
	}
	return WebIdentity{c.Issuer, c.Subject, c.Audience}, nil
}

func (s *Server) serveDiscovery(w http.ResponseWriter) {
	conditions.WriteJSON(w, http.StatusOK, "application/json", map[string]any{
		"issuer": s.Issuer(), "jwks_uri": s.Issuer() + "/.well-known/jwks.json",
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256", "ES384"},
	})
}

func (s *Server) serveJWKS(w http.ResponseWriter) {
	conditions.WriteJSON(w, http.StatusOK, "application/json", s.JWKS())
}

// JWKS is the public half of the signing keys, as the issuer publishes it.
func (s *Server) JWKS() map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	r := s.keys.rsa().PublicKey
	point, err := s.keys.ecdsa().PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic("sandbox/aws: encode an elliptic key: " + err.Error()) // it is a valid P-384 key
	}
	return map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": rsaKeyID, "n": b64(r.N.Bytes()), "e": b64(big.NewInt(int64(r.E)).Bytes())},
		{"kty": "EC", "use": "sig", "alg": "ES384", "kid": ecdsaKeyID, "crv": "P-384", "x": b64(point[1:49]), "y": b64(point[49:])},
	}}
}
