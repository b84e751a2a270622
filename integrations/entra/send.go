package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	kiota "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/twokey/twokey/operation"
)

// How often and how long a request is tried again. What is not done by then is
// the runbook's to repeat, between its other steps.
const (
	maxAttempts = 6
	maxWait     = time.Minute
)

// errUnreadable stands for an answer that is not the vendor's. The answer itself
// is never quoted: it may be the one that holds a secret.
var errUnreadable = errors.New("the answer is not Graph's")

// failure is an answer of Graph's other than success, without its text.
type failure struct {
	status  int
	code    string // "Authorization_RequestDenied"
	request string // the vendor's id of the request, for its support
	after   time.Duration
	overlap bool // refused because another write was under way in the tenant
}

// Error implements error.
func (f *failure) Error() string {
	return fmt.Sprintf("Graph answered %d %s (request %s)", f.status, f.code, f.request)
}

// refused reports whether Graph definitely did nothing.
func (f *failure) refused() bool { return f.status >= 400 && f.status < 500 }

// busy reports whether Graph definitely did nothing and might another time.
func (f *failure) busy() bool { return f.overlap || f.status == http.StatusTooManyRequests }

var vendorsWord = regexp.MustCompile(`^[\w.-]{1,80}$`)

// describe turns the SDK's error into one that is safe to log: the SDK's own
// quotes answers, and panics when an answer has no message.
func describe(err error) error {
	var answered kiota.ApiErrorable
	var sent *url.Error
	var signIn *signInError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answered):
		return newFailure(answered)
	case errors.As(err, &signIn), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &sent): // without the address, whose query may hold an e-mail address
		return fmt.Errorf("reach Graph: %w", sent.Err)
	default:
		return errUnreadable
	}
}

func newFailure(answered kiota.ApiErrorable) *failure {
	f := &failure{status: answered.GetStatusCode(), code: "without a code", request: "unknown"}
	if h := answered.GetResponseHeaders(); h != nil {
		if id := h.Get("request-id"); len(id) == 1 && vendorsWord.MatchString(id[0]) {
			f.request = id[0]
		}
		if after := h.Get("Retry-After"); len(after) == 1 {
			f.after = retryAfter(after[0])
		}
	}
	var told *odataerrors.ODataError
	if e, ok := answered.(error); !ok || !errors.As(e, &told) || told.GetErrorEscaped() == nil {
		return f
	}
	if code := told.GetErrorEscaped().GetCode(); code != nil && vendorsWord.MatchString(*code) {
		f.code = *code
	}
	// Graph also words this refusal under its general code, so the text decides there.
	message := told.GetErrorEscaped().GetMessage()
	f.overlap = f.refused() && (f.code == "Directory_ConcurrencyViolation" ||
		message != nil && strings.Contains(*message, "concurrent requests being made to the tenant"))
	return f
}

// retryAfter reads the header in both of its forms.
func retryAfter(header string) time.Duration {
	if n, err := strconv.Atoi(header); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return time.Until(at)
	}
	return 0
}

// read sends a request that changes nothing, again where that may help.
func (c *Client) read(ctx context.Context, what string, send func(context.Context) error) error {
	return c.try(ctx, what, send, func(err error) bool {
		var f *failure
		var signIn *signInError // tried again by the SDK already
		return !errors.As(err, &signIn) && (!errors.As(err, &f) || f.busy() || !f.refused())
	})
}

// write sends a request that changes something, and alone. It is sent again only
// after an answer that says that nothing happened. A refusal is permanent; after
// any other error the change may have happened.
func (c *Client) write(ctx context.Context, what string, send func(context.Context) error) error {
	select {
	case <-c.writing:
		defer func() { c.writing <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for another write: %w", what, ctx.Err())
	}
	return c.try(ctx, what, send, func(err error) bool {
		var f *failure
		return errors.As(err, &f) && f.busy()
	})
}

// try sends until it worked, the error is one that again does not take, or the
// bounds are reached.
func (c *Client) try(ctx context.Context, what string, send func(context.Context) error, again func(error) bool) error {
	pause := c.pause
	for attempt := 1; ; attempt++ {
		err := c.once(ctx, send)
		var f *failure
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f) && f.refused() && !f.busy():
			return operation.Permanent(fmt.Errorf("%s: %w", what, err))
		case !again(err) || attempt == maxAttempts || ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, err)
		}
		wait := pause
		if f != nil && f.after > 0 {
			wait = f.after
		}
		if wait > maxWait {
			return fmt.Errorf("%s: asked to wait for %s: %w", what, wait, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		}
		pause *= 2
	}
}

// once sends with the time that one request may take.
func (c *Client) once(ctx context.Context, send func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return describe(send(ctx))
}

// get reads an entity that is not in the imported part of the SDK, through the
// SDK's adapter. path is relative to the API's version.
func get[T any](ctx context.Context, c *Client, what, path string) (T, error) {
	return getAt[T](ctx, c, what, c.graphURL+path)
}

// getAt is get with the whole address, for what only the beta has.
func getAt[T any](ctx context.Context, c *Client, what, address string) (T, error) {
	var out T
	err := c.getRaw(ctx, what, address, func(raw []byte) error {
		if json.Unmarshal(raw, &out) != nil {
			return errUnreadable
		}
		return nil
	})
	return out, err
}

// getRaw has accept take the answer apart, and asks again when it can't.
func (c *Client) getRaw(ctx context.Context, what, address string, accept func([]byte) error) error {
	return c.read(ctx, what, func(ctx context.Context) error {
		u, err := url.Parse(address)
		if err != nil {
			return errUnreadable
		}
		request := kiota.NewRequestInformation()
		request.Method = kiota.GET
		request.SetUri(*u)
		request.Headers.Add("Accept", "application/json")
		body, err := c.adapter.SendPrimitive(ctx, request, "[]byte", errorMapping())
		if err != nil {
			return err
		}
		raw, ok := body.([]byte)
		if !ok {
			return errUnreadable
		}
		return accept(raw)
	})
}

func errorMapping() kiota.ErrorMappings {
	return kiota.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue}
}

// collection is one page of a list.
type collection[T any] struct {
	Value []T    `json:"value"`
	Next  string `json:"@odata.nextLink"`
}

// maxPages bounds a list whose end does not come.
const maxPages = 50

// list reads all pages.
func list[T any](ctx context.Context, c *Client, what, path string) ([]T, error) {
	var all []T
	for range maxPages {
		page, err := get[collection[T]](ctx, c, what, path)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
		if page.Next == "" {
			return all, nil
		}
		var ours bool
		if path, ours = strings.CutPrefix(page.Next, c.graphURL); !ours {
			return nil, fmt.Errorf("%s: the next page is at another address", what)
		}
	}
	return nil, fmt.Errorf("%s: more than %d pages", what, maxPages)
}

// status returns the status that Graph answered with, or 0.
func status(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.status
	}
	return 0
}

func isGUID(s string) bool { return uuid.Validate(s) == nil }

// quote makes a text safe inside an OData literal.
func quote(s string) string { return strings.ReplaceAll(s, "'", "''") }

// answered refuses successes that are not the vendor's: a proxy that answers 200
// with a page of its own must not pass for a key that was removed.
type answered struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a answered) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(r)
	if err != nil || resp.StatusCode >= 400 || resp.StatusCode == http.StatusNoContent {
		return resp, err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && kind == "application/json" {
		return resp, nil
	}
	_ = resp.Body.Close()
	return nil, errUnreadable
}

// logged writes a line a request: never a header, a query or a body.
type logged struct {
	next http.RoundTripper
	log  *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (l logged) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := l.next.RoundTrip(r)
	attributes := []slog.Attr{slog.String("method", r.Method), slog.String("host", r.URL.Host), slog.String("path", r.URL.Path), slog.Duration("took", time.Since(start))}
	if err != nil {
		attributes = append(attributes, slog.String("error", err.Error()))
	} else {
		attributes = append(attributes, slog.Int("status", resp.StatusCode), slog.String("request", resp.Header.Get("request-id")))
	}
	l.log.LogAttrs(r.Context(), slog.LevelDebug, "asked entra", attributes...)
	return resp, err
}
