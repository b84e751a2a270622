package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox"
)

func authenticatorKey(user string) string { return "authenticator app of " + user }

// authenticators writes the secrets of bob's and carol's apps into files, and returns
// what the configuration says of them.
func authenticators(box *sandbox.Sandbox, dir string) (string, error) {
	var out []string
	for _, p := range box.Team.People {
		if p.Name != "bob" && p.Name != "carol" {
			continue
		}
		path := filepath.Join(dir, "totp."+p.Name)
		if err := os.WriteFile(path, []byte(base32.StdEncoding.EncodeToString([]byte(authenticatorKey(p.Name)))+"\n"), 0o600); err != nil {
			return "", err
		}
		out = append(out, fmt.Sprintf("%s: {file: %q}", p.Slack, path))
	}
	return "{" + strings.Join(out, ", ") + "}", nil
}

// codeOf is what a person's app shows: RFC 6238.
func codeOf(user string, at time.Time) string {
	mac := hmac.New(sha1.New, []byte(authenticatorKey(user)))
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30) // a hash takes everything
	sum := mac.Sum(nil)
	o := sum[19] & 15
	return fmt.Sprintf("%06d", (uint32(sum[o])&127<<24|uint32(sum[o+1])<<16|uint32(sum[o+2])<<8|uint32(sum[o+3]))%1e6)
}

// confirmsWithCode fills in the form that Confirm… opens.
func (c *conversation) confirmsWithCode(a []string) error {
	user, typed, code := a[0], a[1], a[2]
	switch {
	case code == "their code":
		code = codeOf(user, c.box.Clock.Now())
		c.ids["code of "+user] = code
	case code == "the same code":
		code = c.ids["code of "+user]
	case code == "no code":
		code = ""
	case a[3] != "":
		code = codeOf(a[3], c.box.Clock.Now())
	}
	values := "code=" + code
	if typed != "" {
		values += ", typed=" + typed
	}
	return errors.Join(c.do(user+" clicks Confirm…"), c.do(user+" sends off "+values))
}
