// Package endpoint stands in for anything that speaks TLS and whose certificate
// can expire: a server in front of which somebody forgot a date. It answers the
// handshake and then hangs up.
package endpoint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Certificate is what the endpoint shows. Its chain has an intermediate authority.
type Certificate struct {
	Names           []string  `json:"names,omitempty"`           // host names and addresses; localhost and 127.0.0.1 when empty
	Start           time.Time `json:"start,omitzero"`            // an hour ago when zero
	End             time.Time `json:"end,omitzero"`              // 90 days from now when zero
	IntermediateEnd time.Time `json:"intermediate_end,omitzero"` // five years from now when zero
	// Stranger has it signed by an authority that nobody knows.
	Stranger bool `json:"stranger,omitempty"`
	// Silent lets callers connect and never answers them.
	Silent bool `json:"silent,omitempty"`
}

// Server is the endpoint. It is safe for concurrent use.
type Server struct {
	clock    *conditions.Clock
	listener net.Listener
	ca       authority
	serving  sync.WaitGroup

	mu    sync.Mutex
	shown Certificate
	pair  tls.Certificate
	open  map[net.Conn]bool
	done  bool // Close was called
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Start opens a port of the loopback and shows a certificate that is fine.
func Start(clock *conditions.Clock) (*Server, error) {
	s := &Server{clock: clock, open: map[net.Conn]bool{}}
	var err error
	if s.ca, err = s.authority("sandbox endpoint authority", clock.Now().AddDate(10, 0, 0), nil); err != nil {
		return nil, err
	}
	if err := s.Show(Certificate{}); err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("open a port for the TLS endpoint: %w", err)
	}
	s.serving.Go(s.serve)
	return s, nil
}

// Address is where the endpoint listens: host:port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// CA is the certificate of the authority that signs what the endpoint shows, in PEM.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.cert.Raw})
}

// Close ends everything and waits for it.
func (s *Server) Close() {
	_ = s.listener.Close() // it is closed once
	s.mu.Lock()
	s.done = true
	for c := range s.open {
		_ = c.Close() // whoever is there is cut
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// Show makes a certificate and shows it from now on.
func (s *Server) Show(c Certificate) error {
	now := s.clock.Now()
	if len(c.Names) == 0 {
		c.Names = []string{"localhost", "127.0.0.1"}
	}
	setDefault(&c.Start, now.Add(-time.Hour))
	setDefault(&c.End, now.AddDate(0, 0, 90))
	setDefault(&c.IntermediateEnd, now.AddDate(5, 0, 0))
	root := s.ca
	var err error
	if c.Stranger {
		if root, err = s.authority("nobody knows me", now.AddDate(10, 0, 0), nil); err != nil {
			return err
		}
	}
	between, err := s.authority("sandbox endpoint intermediate", c.IntermediateEnd, &root)
	if err != nil {
		return err
	}
	pair, err := issue(c, between)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown, s.pair = c, pair
	return nil
}

func setDefault(t *time.Time, to time.Time) {
	if t.IsZero() {
		*t = to
	}
}

// authority makes a certificate authority, signed by above or by itself. It holds
// from long ago, so that certificates may begin in the past.
func (s *Server) authority(name string, end time.Time, above *authority) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("make an authority's key: %w", err)
	}
	template := template(name, s.clock.Now().AddDate(-10, 0, 0), end)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	signer := authority{template, key}
	if above != nil {
		signer = *above
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	if err != nil {
		return authority{}, fmt.Errorf("make an authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("read the authority's certificate: %w", err)
	}
	return authority{cert, key}, nil
}

func template(name string, start, end time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic("endpoint: no randomness: " + err.Error()) // crypto/rand does not fail on supported systems
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: start, NotAfter: end}
}

// issue makes the endpoint's own certificate, with its chain.
func issue(c Certificate, by authority) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the endpoint's key: %w", err)
	}
	t := template(c.Names[0], c.Start, c.End)
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range c.Names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by.cert, key.Public(), by.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the endpoint's certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, by.cert.Raw}, PrivateKey: key}, nil
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // it was closed
		}
		if s.keep(conn) {
			s.serving.Go(func() { s.answer(conn) })
		}
	}
}

// keep notes an open connection, so that Close can cut it.
func (s *Server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		_ = conn.Close() // nobody waits for it any more
		return false
	}
	s.open[conn] = true
	return true
}

func (s *Server) answer(conn net.Conn) {
	s.mu.Lock()
	shown, pair := s.shown, s.pair
	s.mu.Unlock()
	if shown.Silent {
		_, _ = io.Copy(io.Discard, conn) // until the caller gives up
	} else {
		// A caller that does not like the certificate hangs up; that is its own affair.
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}).Handshake()
	}
	s.mu.Lock()
	delete(s.open, conn)
	s.mu.Unlock()
	_ = conn.Close() // there is nothing more to say
}

// State is what the endpoint shows and where.
type State struct {
	Address string      `json:"address"`
	Shown   Certificate `json:"certificate"`
}

// State returns a copy of everything, as a [State].
func (s *Server) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{Address: s.listener.Addr().String(), Shown: s.shown}
}

// Control serves the endpoint's settings: GET and PUT /certificate.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /certificate", func(w http.ResponseWriter, _ *http.Request) {
		conditions.WriteJSON(w, http.StatusOK, "application/json", s.State())
	})
	mux.HandleFunc("PUT /certificate", func(w http.ResponseWriter, r *http.Request) {
		var c Certificate
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		err := d.Decode(&c)
		if err == nil {
			err = s.Show(c)
		}
		if err != nil {
			conditions.WriteJSON(w, http.StatusBadRequest, "application/json", map[string]string{"error": err.Error()})
			return
		}
		conditions.WriteJSON(w, http.StatusOK, "application/json", s.State())
	})
	return mux
}
