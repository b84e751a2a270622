package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/twokey/twokey/operation"
)

// Error is AWS's refusal or failure. It does not wrap the SDK's error: AWS's
// messages can repeat what was sent.
type Error struct {
	Attempted string // "ssm:PutParameter /a/b"
	Code      string // AWS's, such as "AccessDeniedException"
	Message   string // AWS's, where it cannot hold a value
	Status    int    // HTTP
	RequestID string // for AWS's support
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s (status %d, request %s)", e.Attempted, e.Code, e.Status, e.RequestID)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// definite tells whether another try would be refused alike.
func (e *Error) definite() bool {
	if _, throttled := retry.DefaultThrottleErrorCodes[e.Code]; throttled {
		return false
	}
	passing := []string{"TooManyUpdates", "ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed", "RequestTimeout", "RequestTimeoutException"}
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests &&
		!slices.Contains(passing, e.Code)
}

// refused turns the SDK's error into ours: an [*Error] for AWS's own, marked as
// permanent if it is definite; otherwise what kept the answer away.
func refused(attempted string, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return unanswered(attempted, err)
	}
	e := &Error{Attempted: attempted, Code: api.ErrorCode(), Message: api.ErrorMessage()}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		e.Status, e.RequestID = response.HTTPStatusCode(), response.ServiceRequestID()
	}
	if e.definite() {
		return operation.Permanent(e)
	}
	return e
}

// unanswered describes a call without an answer of AWS's.
func unanswered(attempted string, err error) error {
	var sent *url.Error
	var garbled *smithy.DeserializationError
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", attempted, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", attempted, context.DeadlineExceeded)
	case errors.As(err, &garbled): // its text quotes the answer
		return fmt.Errorf("%s: what came back is not an answer of AWS", attempted)
	case errors.As(err, &sent):
		return fmt.Errorf("%s: no answer: %w", attempted, sent)
	default: // nothing was sent: no credentials, no endpoint
		return fmt.Errorf("%s: %w", attempted, err)
	}
}

// withoutMessage takes AWS's message out of a refusal, unless its code is one
// whose message names principals, keys and limits only. A refused value can be
// quoted in the others ("Value '…' at 'value' failed to satisfy constraint").
func withoutMessage(err error) error {
	var e *Error
	harmless := []string{"AccessDeniedException", "InvalidKeyId", "ParameterMaxVersionLimitExceeded", "ThrottlingException", "TooManyUpdates",
		"UnrecognizedClientException", "ExpiredTokenException"}
	if errors.As(err, &e) && !slices.Contains(harmless, e.Code) {
		e.Message = ""
	}
	return err
}

// isCode tells whether err is AWS's refusal with one of the codes.
func isCode(err error, codes ...string) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}
