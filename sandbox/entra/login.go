package entra

import (
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Tokens for clients that can be told to come back (continuous access
// evaluation) live longer, which is what makes a stolen one worse.
const (
	tokenLife    = time.Hour
	tokenLifeCAE = 24 * time.Hour
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Token is one access token that was issued.
type Token struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Client   string    `json:"client_id"`
	KeyID    string    `json:"key_id,omitempty"`    // of the secret it was got with
	Assertor string    `json:"federated,omitempty"` // name of the federated credential
	Resource string    `json:"resource"`
	IP       string    `json:"ip"`
	Expires  time.Time `json:"expires"`
}

// credential is what an application proved itself with.
type credential struct {
	keyID     string
	kind      string // Graph's clientCredentialType
	federated string
}

func loginOperation(path string) string {
	switch {
	case strings.HasSuffix(path, "/oauth2/v2.0/token"):
		return "entra.token"
	case strings.HasSuffix(path, "/v2.0/.well-known/openid-configuration"):
		return "entra.openidConfiguration"
	case path == "/common/discovery/instance":
		return "entra.instanceDiscovery"
	case strings.HasSuffix(path, "/discovery/v2.0/keys"):
		return "entra.keys"
	}
	return "entra.unknown"
}

func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request) {
	tenant, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch operation := loginOperation(r.URL.Path); {
	case operation == "entra.instanceDiscovery":
		conditions.WriteJSON(w, http.StatusOK, "application/json", s.instances(r))
	case operation == "entra.unknown":
		http.NotFound(w, r)
	case tenant != s.tenant:
		s.writeRefusal(w, r, refuse(tenantUnknown, tenant))
	case operation == "entra.token" && r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "", http.StatusMethodNotAllowed)
	case operation == "entra.token":
		s.serveToken(w, r)
	case operation == "entra.keys":
		conditions.WriteJSON(w, http.StatusOK, "application/json", s.keys.document())
	default:
		conditions.WriteJSON(w, http.StatusOK, "application/json", s.openID(r))
	}
}

// openID is the discovery document. Its issuer is at this server's own address,
// because MSAL refuses one that matches neither its authority nor a known cloud.
func (s *Server) openID(r *http.Request) map[string]any {
	base := "https://" + r.Host + "/" + s.tenant
	return map[string]any{
		"issuer":                                base + "/v2.0",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic", "private_key_jwt"},
	}
}

func (s *Server) instances(r *http.Request) map[string]any {
	return map[string]any{
		"tenant_discovery_endpoint": "https://" + r.Host + "/" + s.tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []map[string]any{{
			"preferred_network": r.Host,
			"preferred_cache":   r.Host,
			"aliases":           []string{r.Host},
		}},
	}
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.writeRefusal(w, r, refuse(parameterMissing, "grant_type"))
		return
	}
	form := r.PostForm
	if user, password, ok := r.BasicAuth(); ok { // client_secret_basic: both are form-encoded inside
		form.Set("client_id", unescape(user))
		form.Set("client_secret", unescape(password))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, resource, err := s.requested(form)
	if err != nil {
		s.writeRefusal(w, r, err)
		return
	}
	proof, err := s.admit(a, form)
	s.noteSignIn(r, a, proof, resource, err)
	if err != nil {
		s.writeRefusal(w, r, err)
		return
	}
	conditions.WriteJSON(w, http.StatusOK, "application/json; charset=utf-8", s.issueToken(r, a, proof, resource))
}

func unescape(s string) string {
	if t, err := url.QueryUnescape(s); err == nil {
		return t
	}
	return s
}

// requested reads who wants a token for what.
func (s *Server) requested(form url.Values) (*application, string, *refusal) {
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if form.Get(name) == "" {
			return nil, "", refuse(parameterMissing, name)
		}
	}
	if g := form.Get("grant_type"); g != "client_credentials" {
		return nil, "", refuse(grantUnsupported, g)
	}
	resource, ok := strings.CutSuffix(resourceScope(form.Get("scope")), "/.default")
	if !ok {
		return nil, "", refuse(scopeNotDefault, form.Get("scope"))
	}
	if resource != graphResource && s.applications[strings.ToLower(strings.TrimPrefix(resource, "api://"))] == nil {
		return nil, "", refuse(resourceUnknown, resource)
	}
	client := form.Get("client_id")
	a := s.applications[strings.ToLower(client)]
	if a == nil {
		return nil, "", refuse(applicationUnknown, client)
	}
	return a, resource, nil
}

// resourceScope leaves out the scopes that MSAL always sends and that mean
// nothing to an application.
func resourceScope(scope string) string {
	scopes := slices.DeleteFunc(strings.Fields(scope), func(s string) bool {
		return s == "openid" || s == "offline_access" || s == "profile"
	})
	return strings.Join(scopes, " ")
}

// admit decides whether the application may have a token now.
func (s *Server) admit(a *application, form url.Values) (credential, *refusal) {
	if a.Principal == nil {
		return credential{}, refuse(principalMissing, a.Client)
	}
	if a.Disabled || !a.Principal.Enabled {
		return credential{}, refuse(applicationDisabled, a.Client, a.Name)
	}
	proof, err := s.authenticate(a, form)
	if err != nil {
		return proof, err
	}
	if a.Blocked {
		return proof, refuse(conditionalAccess)
	}
	return proof, nil
}

func (s *Server) authenticate(a *application, form url.Values) (credential, *refusal) {
	switch {
	case form.Get("client_assertion") != "":
		if form.Get("client_assertion_type") != jwtBearer {
			return credential{}, refuse(assertionTypeUnknown)
		}
		return s.checkAssertion(a, form.Get("client_assertion"))
	case form.Get("client_secret") != "":
		return s.checkSecret(a, form.Get("client_secret"))
	default:
		return credential{}, refuse(credentialMissing)
	}
}

// checkSecret looks among the secrets that the replica whose turn it is knows:
// the application's and its service principal's, either will do.
func (s *Server) checkSecret(a *application, secret string) (credential, *refusal) {
	now := s.now()
	learn, forget := s.tokenReplica()
	for _, p := range slices.Concat(a.Passwords, *a.passwords(true)) {
		same := subtle.ConstantTimeCompare([]byte(p.Secret), []byte(secret)) == 1
		if !same || !p.knownAt(now, learn, forget) {
			continue
		}
		proof := credential{keyID: p.KeyID, kind: "clientSecret"}
		switch {
		case p.Revoked:
			return proof, refuse(revokedSecret, a.Client)
		case !now.Before(p.End):
			return proof, refuse(expiredSecret, a.Client)
		case now.Before(p.Start):
			return proof, refuse(invalidSecret)
		}
		return proof, nil
	}
	return credential{kind: "clientSecret"}, refuse(invalidSecret)
}

// checkAssertion matches a token of another issuer with the application's
// federated credentials: issuer, then subject, then audience, as Entra reports.
func (s *Server) checkAssertion(a *application, assertion string) (credential, *refusal) {
	proof := credential{kind: "federatedIdentityCredential"}
	claims := jwt.RegisteredClaims{}
	token, _, err := jwt.NewParser().ParseUnverified(assertion, &claims)
	if err != nil {
		return proof, refuse(assertionMalformed)
	}
	matching := slices.DeleteFunc(slices.Clone(a.Federated), func(f Federated) bool { return f.Issuer != claims.Issuer })
	if len(matching) == 0 {
		return proof, refuse(noFederatedIssuer, claims.Issuer)
	}
	matching = slices.DeleteFunc(matching, func(f Federated) bool { return f.Subject != claims.Subject })
	if len(matching) == 0 {
		return proof, refuse(noFederatedSubject, claims.Subject)
	}
	for _, f := range matching {
		if !slices.ContainsFunc(f.Audiences, func(want string) bool { return slices.Contains(claims.Audience, want) }) {
			continue
		}
		proof.federated, proof.keyID = f.Name, f.ID
		return proof, s.checkSignature(token.Raw, claims.Issuer)
	}
	return proof, refuse(noFederatedAudience, strings.Join(claims.Audience, " "))
}

func (s *Server) checkSignature(assertion, issuer string) *refusal {
	_, err := jwt.Parse(assertion, func(*jwt.Token) (any, error) {
		set := jwt.VerificationKeySet{}
		for _, key := range s.trusted[issuer] {
			set.Keys = append(set.Keys, key)
		}
		return set, nil
	},
		jwt.WithTimeFunc(s.now), jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Minute),
		jwt.WithValidMethods([]string{"RS256", "ES256", "ES384"}))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return refuse(assertionTimes)
	default:
		return refuse(assertionSignature)
	}
}

// issueToken signs a token and records it.
func (s *Server) issueToken(r *http.Request, a *application, proof credential, resource string) map[string]any {
	life, cae := tokenLife, strings.Contains(strings.ToLower(r.PostForm.Get("claims")), `"cp1"`)
	if cae {
		life = tokenLifeCAE
	}
	now := s.now()
	t := Token{
		ID: uuid.NewString(), At: now, Client: a.Client, KeyID: proof.keyID, Assertor: proof.federated,
		Resource: resource, IP: callerIP(r), Expires: now.Add(life),
	}
	if proof.federated != "" {
		t.KeyID = ""
	}
	s.tokens = bounded(append(s.tokens, t))
	out := map[string]any{
		"token_type":     "Bearer",
		"expires_in":     int(life.Seconds()) - 1,
		"ext_expires_in": int(life.Seconds()) - 1,
		"access_token":   s.keys.sign(s.claims(a, t, cae)),
	}
	if cae {
		out["refresh_in"] = int(life.Seconds()) / 2
	}
	return out
}

func (s *Server) claims(a *application, t Token, cae bool) accessClaims {
	c := accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    "https://sts.windows.net/" + s.tenant + "/",
			Audience:  jwt.ClaimStrings{t.Resource},
			Subject:   a.IDs.Principal,
			IssuedAt:  jwt.NewNumericDate(t.At),
			NotBefore: jwt.NewNumericDate(t.At),
			ExpiresAt: jwt.NewNumericDate(t.Expires),
		},
		AppID: a.Client, AppName: a.Name, ObjectID: a.IDs.Principal, TenantID: s.tenant,
		IDType: "app", Version: "1.0", UTI: t.ID,
	}
	if t.Resource == graphResource {
		c.Roles = a.Roles
	}
	if cae {
		c.Capabilities = []string{"CP1"}
	}
	return c
}

// callerIP is where a caller says it is: tests play strangers by X-Forwarded-For,
// since everybody comes from the loopback.
func callerIP(r *http.Request) string {
	if ip := r.Header.Get("X-Forwarded-For"); ip != "" {
		return ip
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// maxLogged bounds what a long-lived sandbox remembers of each kind.
const maxLogged = 20000

func bounded[T any](list []T) []T {
	if len(list) <= maxLogged {
		return list
	}
	return slices.Clone(list[len(list)-maxLogged:])
}
