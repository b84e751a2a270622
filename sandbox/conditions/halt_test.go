package conditions

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// letters is a vendor with one call a path.
type letters struct{}

func (letters) Operation(r *http.Request) string { return r.URL.Path[1:] }
func (letters) WriteFault(w http.ResponseWriter, _ *http.Request, f Fault) {
	w.WriteHeader(f.Status)
}

func TestACallCanBeHaltedBeforeAndAfterItsEffect(t *testing.T) {
	c := New(NewClock())
	var order []string
	note := func(what string) func(*http.Request) {
		return func(*http.Request) { order = append(order, what) }
	}
	s := httptest.NewServer(c.Handler(letters{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		order = append(order, "effect")
		w.Header().Set("X-Kept", "yes")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "done")
	})))
	defer s.Close()
	c.At("a", 2, Before, note("before"))
	c.At("a", 2, After, note("after"))
	for _, path := range []string{"/a", "/b", "/a", "/a"} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted || string(body) != "done" || resp.Header.Get("X-Kept") != "yes" {
			t.Errorf("%s: answered %d %q %v", path, resp.StatusCode, body, resp.Header)
		}
	}
	if want := []string{"effect", "effect", "before", "effect", "after", "effect"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
}

func TestACallWhoseAnswerIsLostIsHaltedAfterItsEffectToo(t *testing.T) {
	c := New(NewClock())
	order := make(chan string, 2)
	s := httptest.NewServer(c.Handler(letters{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { order <- "effect" })))
	defer s.Close()
	c.Add(Fault{Operation: "a", Kind: CutAfter})
	c.At("a", 1, After, func(*http.Request) { order <- "after" })
	if resp, err := http.Post(s.URL+"/a", "text/plain", nil); err == nil {
		_ = resp.Body.Close()
		t.Error("an answer came")
	}
	if first, second := <-order, <-order; first != "effect" || second != "after" {
		t.Errorf("first %s, then %s", first, second)
	}
}
