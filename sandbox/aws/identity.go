package aws

import (
	"crypto/sha256"
	"encoding/base32"
	"net"
	"net/http"
	"strings"
)

// Identity is who an access key belongs to: a role's session, a user, or the
// account itself when both names are empty.
type Identity struct {
	Account string `json:"account,omitempty"` // empty: the stand-in's own
	Role    string `json:"role,omitempty"`
	Session string `json:"session,omitempty"` // of the role
	User    string `json:"user,omitempty"`
	// Denied is an identity that no policy allows anything of SSM.
	Denied bool `json:"denied,omitempty"`
}

// SeedIdentity says whom an access key id (at least 16 letters and digits)
// belongs to. A key that nobody was seeded for acts as the account's root;
// neither is any signature checked.
func (s *Server) SeedIdentity(accessKeyID string, who Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if who.Account == "" {
		who.Account = s.account
	}
	s.identities[accessKeyID] = who
}

// identity looks an access key up. The caller holds the lock.
func (s *Server) identity(key string) Identity {
	if who, ok := s.identities[key]; ok {
		return who
	}
	return Identity{Account: s.account}
}

// arn is the caller's ARN as STS tells it.
func (i Identity) arn() string {
	switch {
	case i.Role != "":
		return "arn:aws:sts::" + i.Account + ":assumed-role/" + i.Role + "/" + i.Session
	case i.User != "":
		return "arn:aws:iam::" + i.Account + ":user/" + i.User
	default:
		return "arn:aws:iam::" + i.Account + ":root"
	}
}

// principal is the ARN of the role or user behind the session.
func (i Identity) principal() string {
	if i.Role != "" {
		return "arn:aws:iam::" + i.Account + ":role/" + i.Role
	}
	return i.arn()
}

// userID is AWS's unique id of the caller.
func (i Identity) userID() string {
	switch {
	case i.Role != "":
		return uniqueID("AROA", i.Role) + ":" + i.Session
	case i.User != "":
		return uniqueID("AIDA", i.User)
	default:
		return i.Account
	}
}

// userName is how CloudTrail names the caller in a look-up.
func (i Identity) userName() string {
	switch {
	case i.Role != "":
		return i.Session
	case i.User != "":
		return i.User
	default:
		return "root"
	}
}

// uniqueID makes an id in AWS's form that is the same for the same name.
func uniqueID(prefix, name string) string {
	sum := sha256.Sum256([]byte(name))
	return prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

// accessKey reads the access key id from a Signature Version 4 header.
func accessKey(r *http.Request) string {
	key, _, _ := strings.Cut(scope(r), "/")
	return key
}

// signedRegion reads the region from the same header. Only ACM's certificates are
// kept by region.
func signedRegion(r *http.Request) string {
	parts := strings.Split(scope(r), "/") // key/day/region/service/aws4_request
	if len(parts) < 3 {
		return ""
	}
	return parts[2]
}

// scope is the credential's scope, with the key before it.
func scope(r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	value, _, _ := strings.Cut(rest, ",")
	return value
}

// host is the address without its port.
func host(remote string) string {
	h, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return h
}
