package entra

import (
	"net/url"
	"strings"
)

// Admits tells why an application could not get a token with this secret right
// now; nil when it could, whichever replica answers. It judges as the token
// endpoint does and is no request: nothing is logged and no replica's turn is
// taken, so that watching changes nothing.
func (s *Server) Admits(client, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.applications[strings.ToLower(client)]
	if a == nil {
		return refuse(applicationUnknown, client)
	}
	turn := s.turn
	defer func() { s.turn = turn }()
	for i := range max(1, len(s.behaviour.Learn), len(s.behaviour.Forget)) {
		s.turn = i
		if _, err := s.admit(a, url.Values{"client_secret": {secret}}); err != nil {
			return err
		}
	}
	return nil
}
