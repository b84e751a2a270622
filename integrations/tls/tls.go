// Package tls looks at the certificates that TLS endpoints show in a handshake.
// Nothing is sent to them but the handshake itself.
package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/twokey/twokey/inventory"
)

var _ inventory.Handshakes = (*Looker)(nil)

// Config says whom to believe, and how long to wait.
type Config struct {
	// CAFile has certificates, as PEM, to believe besides the system's. Empty: none.
	CAFile string
	// Timeout bounds one look, connecting included; 0 is ten seconds.
	Timeout time.Duration
}

// Looker looks at endpoints. It is safe for concurrent use.
type Looker struct {
	roots   *x509.CertPool
	timeout time.Duration
}

// New reads the authorities.
func New(c Config) (*Looker, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a distroless image may have none
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authorities of TLS endpoints: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the file %s of certificate authorities has no PEM certificate", c.CAFile)
		}
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return &Looker{roots: roots, timeout: c.Timeout}, nil
}

// Handshake connects to address, which is host:port, and asks for host by SNI. A
// chain that is not believed at now is told as such: its dates are what was asked
// for, and an expired one is what matters most.
func (l *Looker) Handshake(ctx context.Context, address string, now time.Time) (inventory.Handshake, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return inventory.Handshake{}, fmt.Errorf("look at %s: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS10, // old endpoints expire too; nothing is told them
		InsecureSkipVerify: true, // the chain is judged below, where an expired one can be read
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	var shown []*x509.Certificate
	if err == nil {
		shown = conn.(*tls.Conn).ConnectionState().PeerCertificates // of a TLS dialer it is one
		_ = conn.Close()                                            // nothing was sent that could be lost
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return inventory.Handshake{}, fmt.Errorf("look at %s: no answer within %s", address, l.timeout)
	case err != nil:
		return inventory.Handshake{}, fmt.Errorf("look at %s: %w", address, err)
	case len(shown) == 0:
		return inventory.Handshake{}, fmt.Errorf("look at %s: it shows no certificate", address)
	}
	return l.judge(shown, host, now), nil
}

// judge verifies what was shown, and finds what ends first.
func (l *Looker) judge(shown []*x509.Certificate, host string, now time.Time) inventory.Handshake {
	own := shown[0]
	out := inventory.Handshake{Start: own.NotBefore, Issuer: own.Issuer.String()}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	chains, err := own.Verify(x509.VerifyOptions{DNSName: host, Intermediates: between, Roots: l.roots, CurrentTime: now})
	first := firstToEnd(shown)
	if err != nil {
		out.Distrust = distrust(err)
	} else {
		// Of several chains a client takes one that holds, so the last to break
		// counts. What was shown besides does not matter.
		ends := make([]*x509.Certificate, len(chains))
		for i, chain := range chains {
			ends[i] = firstToEnd(chain)
		}
		first = slices.MaxFunc(ends, byEnd)
	}
	out.End = first.NotAfter
	if !first.Equal(own) {
		out.Ends = first.Subject.String()
	}
	return out
}

func firstToEnd(chain []*x509.Certificate) *x509.Certificate {
	return slices.MinFunc(chain, byEnd)
}

func byEnd(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }

// distrust words why a chain is not believed.
func distrust(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "nobody whom I believe has signed its certificate"
	case errors.As(err, &name):
		return "its certificate is for other names"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "a certificate of its chain has expired or does not hold yet"
	default:
		return err.Error()
	}
}
