package bot

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// doer sends requests: an *http.Client.
type doer interface {
	Do(*http.Request) (*http.Response, error)
}

// bearer moves the token out of a form and into the Authorization header: proxies
// and crash reports that keep bodies leave that header out. slack-go puts it into
// the form of most methods.
type bearer struct{ next doer }

// Do implements slack-go's HTTP client.
func (b bearer) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return b.next.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the form for %s: %w", r.URL.Path, err)
	}
	_ = r.Body.Close() // a buffer
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("read the form for %s", r.URL.Path) // the cause quotes it
	}
	if token := form.Get("token"); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
		form.Del("token")
		body = []byte(form.Encode())
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return b.next.Do(r)
}
