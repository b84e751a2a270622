package entra

import (
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Entra's error numbers, in the situations that bring them about.
const (
	parameterMissing     = 900144
	tenantUnknown        = 90002
	grantUnsupported     = 70003
	scopeNotDefault      = 1002012
	resourceUnknown      = 500011
	applicationUnknown   = 700016
	principalMissing     = 7000229
	applicationDisabled  = 7000112
	credentialMissing    = 7000218
	invalidSecret        = 7000215
	expiredSecret        = 7000222
	revokedSecret        = 7005003
	conditionalAccess    = 53003
	assertionMalformed   = 50027
	assertionSignature   = 700027
	assertionTimes       = 700024
	noFederatedIssuer    = 700211
	noFederatedAudience  = 700212
	noFederatedSubject   = 700213
	assertionTypeUnknown = 7000219
	tenantThrottled      = 90055
	transientError       = 90033
)

// refusal is an error of the token endpoint.
type refusal struct {
	status int
	code   int
	word   string // OAuth's "error"
	text   string
}

// Error implements error.
func (e *refusal) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.code, e.text) }

// refuse words the refusal with that number; args fill its text.
func refuse(code int, args ...any) *refusal {
	e := &refusal{code: code}
	var text string
	e.status, e.word, text = wording(code)
	e.text = text
	if len(args) > 0 {
		e.text = fmt.Sprintf(text, args...)
	}
	return e
}

// wording is what Entra says with each number.
func wording(code int) (status int, word, text string) {
	const client = "invalid_client"
	switch code {
	case parameterMissing:
		return http.StatusBadRequest, "invalid_request", "The request body must contain the following parameter: '%s'."
	case tenantUnknown:
		return http.StatusBadRequest, "invalid_request", "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
	case grantUnsupported:
		return http.StatusBadRequest, "unsupported_grant_type", "The app requested an unsupported grant type '%s'."
	case scopeNotDefault:
		return http.StatusBadRequest, "invalid_scope", "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
	case resourceUnknown:
		return http.StatusBadRequest, "invalid_resource", "The resource principal named %s was not found in the tenant."
	case applicationUnknown:
		return http.StatusBadRequest, "unauthorized_client", "Application with identifier '%s' was not found in the directory."
	case principalMissing:
		return http.StatusUnauthorized, client, "The client application %s is missing service principal in the tenant."
	case applicationDisabled:
		return http.StatusUnauthorized, "unauthorized_client", "Application '%s'(%s) is disabled."
	case credentialMissing:
		return http.StatusUnauthorized, client, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
	case invalidSecret:
		return http.StatusUnauthorized, client, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID."
	case expiredSecret:
		return http.StatusUnauthorized, client, "The provided client secret keys for app '%s' are expired."
	case revokedSecret:
		return http.StatusUnauthorized, client, "The provided client secret of app '%s' has been revoked."
	case conditionalAccess:
		return http.StatusBadRequest, "invalid_grant", "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."
	case assertionMalformed:
		return http.StatusBadRequest, "invalid_request", "JWT token is invalid or malformed."
	case assertionSignature:
		return http.StatusUnauthorized, client, "Client assertion failed signature validation."
	case assertionTimes:
		return http.StatusUnauthorized, client, "Client assertion is not within its valid time range."
	case noFederatedIssuer:
		return http.StatusUnauthorized, client, "No matching federated identity record found for presented assertion issuer '%s'."
	case noFederatedAudience:
		return http.StatusUnauthorized, client, "No matching federated identity record found for presented assertion audience '%s'."
	case noFederatedSubject:
		return http.StatusUnauthorized, client, "No matching federated identity record found for presented assertion subject '%s'."
	case assertionTypeUnknown:
		return http.StatusBadRequest, "invalid_request", "The client_assertion_type is not supported."
	case tenantThrottled:
		return http.StatusTooManyRequests, "temporarily_unavailable", "The request has been throttled because of too many requests."
	case transientError:
		return http.StatusServiceUnavailable, "temporarily_unavailable", "A transient error has occurred. Please try again."
	default:
		return http.StatusBadRequest, "invalid_request", "The sandbox was told to refuse this."
	}
}

// writeRefusal answers as the token endpoint does.
func (s *Server) writeRefusal(w http.ResponseWriter, r *http.Request, e *refusal) {
	trace, correlation := uuid.NewString(), correlationID(r)
	at := s.now().UTC().Format("2006-01-02 15:04:05Z")
	conditions.WriteJSON(w, e.status, "application/json; charset=utf-8", map[string]any{
		"error":             e.word,
		"error_description": fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s", e.Error(), trace, correlation, at),
		"error_codes":       []int{e.code},
		"timestamp":         at,
		"trace_id":          trace,
		"correlation_id":    correlation,
		"error_uri":         fmt.Sprintf("https://%s/error?code=%d", r.Host, e.code),
	})
}

// correlationID is the caller's own, when it sent one.
func correlationID(r *http.Request) string {
	if id, err := uuid.Parse(r.Header.Get("client-request-id")); err == nil {
		return id.String()
	}
	return uuid.NewString()
}

// graphTime is the time format of Graph and of State.
func graphTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }
