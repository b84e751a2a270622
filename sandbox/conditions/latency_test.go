package conditions

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// What the stand-in needs for itself is part of the latency, and its effect does not
// wait for the answer's time.
func TestTheCallerWaitsForTheLatencyAndNotForTheWorkOnTopOfIt(t *testing.T) {
	const latency = 100 * time.Millisecond
	for _, work := range []time.Duration{0, 30 * time.Millisecond, 250 * time.Millisecond} {
		for name, say := range map[string]func(http.ResponseWriter){
			"with a body":    func(w http.ResponseWriter) { _, _ = io.WriteString(w, "done") },
			"without a body": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
			"without a word": func(http.ResponseWriter) {},
			"as JSON": func(w http.ResponseWriter) {
				WriteJSON(w, http.StatusOK, "application/json", map[string]string{"a": "b"})
			},
			"with a sad word": func(w http.ResponseWriter) { http.Error(w, "no", http.StatusTeapot) },
		} {
			synctest.Test(t, func(t *testing.T) {
				c := New(NewClock())
				c.SetLatency("*", latency)
				began := time.Now()
				var effect time.Duration
				h := c.Handler(letters{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(work)
					effect = time.Since(began)
					say(w)
				}))
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/a", http.NoBody))
				if took, want := time.Since(began), max(latency, work); took != want {
					t.Errorf("%s after %s of work: it took %s, want %s", name, work, took, want)
				}
				if effect != work {
					t.Errorf("%s: the effect came after %s, want %s", name, effect, work)
				}
			})
		}
	}
}

func TestASlowCallIsLateWithItsEffectToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(NewClock())
		c.SetLatency("*", 100*time.Millisecond)
		c.Add(Fault{Operation: "a", Kind: Slow, Delay: time.Second})
		began := time.Now()
		h := c.Handler(letters{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if late := time.Since(began); late != 1100*time.Millisecond {
				t.Errorf("the effect came after %s", late)
			}
		}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/a", http.NoBody))
	})
}
