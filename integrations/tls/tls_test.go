package tls

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/endpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an endpoint and one who looks at it and believes its authority.
type world struct {
	*Looker
	endpoint *endpoint.Server
	clock    *conditions.Clock
}

func newWorld(t *testing.T, timeout time.Duration) *world {
	t.Helper()
	clock := conditions.NewClock()
	e, err := endpoint.Start(clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, e.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := New(Config{CAFile: ca, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return &world{l, e, clock}
}

func (w *world) look(t *testing.T, c endpoint.Certificate) inventory.Handshake {
	t.Helper()
	if err := w.endpoint.Show(c); err != nil {
		t.Fatal(err)
	}
	h, err := w.Handshake(t.Context(), w.endpoint.Address(), w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAnEndpointTellsItsDatesWhateverIsWrongWithIt(t *testing.T) {
	w := newWorld(t, 0)
	now := w.clock.Now().UTC().Truncate(time.Second)
	soon, later, past := now.AddDate(0, 0, 20), now.AddDate(0, 6, 0), now.AddDate(0, 0, -3)
	for _, c := range []struct {
		name     string
		shows    endpoint.Certificate
		end      time.Time
		ends     string
		distrust string // a part of it; empty: none
	}{
		{"fine", endpoint.Certificate{Start: past, End: soon}, soon, "", ""},
		{"a chain that ends first", endpoint.Certificate{Start: past, End: later, IntermediateEnd: soon}, soon, "CN=sandbox endpoint intermediate", ""},
		{"expired", endpoint.Certificate{Start: past.AddDate(-1, 0, 0), End: past}, past, "", "has expired"},
		{"of an authority that nobody knows", endpoint.Certificate{Start: past, End: soon, Stranger: true}, soon, "", "nobody whom I believe"},
		{"for other names", endpoint.Certificate{Start: past, End: soon, Names: []string{"other.example.com"}}, soon, "", "for other names"},
		{"not yet", endpoint.Certificate{Start: soon, End: later}, later, "", "does not hold yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := w.look(t, c.shows)
			if !h.End.Equal(c.end) || !h.Start.Equal(c.shows.Start) {
				t.Errorf("from %s to %s, want from %s to %s", h.Start, h.End, c.shows.Start, c.end)
			}
			if h.Ends != c.ends {
				t.Errorf("first to end is %q, want %q", h.Ends, c.ends)
			}
			if (h.Distrust == "") != (c.distrust == "") || !strings.Contains(h.Distrust, c.distrust) {
				t.Errorf("distrust %q, want %q", h.Distrust, c.distrust)
			}
			if h.Issuer != "CN=sandbox endpoint intermediate" {
				t.Errorf("issuer %q", h.Issuer)
			}
		})
	}
}

func TestTheInstantIsTheCallers(t *testing.T) {
	w := newWorld(t, 0)
	if err := w.endpoint.Show(endpoint.Certificate{}); err != nil {
		t.Fatal(err)
	}
	h, err := w.Handshake(t.Context(), w.endpoint.Address(), w.clock.Now().AddDate(0, 0, 91))
	if err != nil || !strings.Contains(h.Distrust, "expired") {
		t.Errorf("after its end it is %+v, %v", h, err)
	}
}

func TestAnEndpointThatDoesNotAnswerIsGivenUp(t *testing.T) {
	w := newWorld(t, 50*time.Millisecond)
	if err := w.endpoint.Show(endpoint.Certificate{Silent: true}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Handshake(t.Context(), w.endpoint.Address(), w.clock.Now())
	if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("got %v", err)
	}
}

func TestAnAddressWhereNobodyListensOrSpeaksTLSIsAnError(t *testing.T) {
	w := newWorld(t, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{closed, "no port", "[::1"} {
		if _, err := w.Handshake(t.Context(), address, w.clock.Now()); err == nil || !strings.Contains(err.Error(), "look at "+address) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAFileWithoutAuthoritiesIsRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, filepath.Join(t.TempDir(), "missing.pem")} {
		if _, err := New(Config{CAFile: path}); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
}
