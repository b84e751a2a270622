package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"net/url"
)

type authenticatorCommand struct {
	Person string `arg:"positional,required" help:"whose it will be, as their app shall show it: bob@example.com"`
}

// authenticatorSize is what RFC 4226 recommends, in bytes.
const authenticatorSize = 20

// Run makes a new secret for a person's authenticator app. It keeps nothing.
func (c *authenticatorCommand) Run(_ context.Context, io streams) error {
	key := make([]byte, authenticatorSize)
	_, _ = rand.Read(key) // never fails: crypto/rand panics instead
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key)
	uri := url.URL{Scheme: "otpauth", Host: "totp", Path: "/twokey:" + c.Person, RawQuery: url.Values{"secret": {text}, "issuer": {"twokey"}}.Encode()}
	_, err := fmt.Fprintf(io.out, `%s

For the bot: this text goes where second_factor.authenticators of the configuration says, into a file or an
environment variable. For %s: it goes into their authenticator app, typed or as a QR code of
%s
Nobody else may see it, and it is not shown again.
`, text, c.Person, uri.String())
	return err
}
