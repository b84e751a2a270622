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
	form := make([]byte, 0, len(body))
	for field := range bytes.SplitSeq(body, []byte{'&'}) { // an & within a value is written %26
		value, found := bytes.CutPrefix(field, []byte("token="))
		if !found {
			form = append(append(form, field...), '&')
			continue
		}
		token, err := url.QueryUnescape(string(value))
		if err != nil {
			return nil, fmt.Errorf("read the form for %s", r.URL.Path) // the cause quotes it
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	}
	body = bytes.TrimSuffix(form, []byte{'&'})
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return b.next.Do(r)
}
