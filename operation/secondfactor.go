package operation

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238 with SHA-1 is what authenticator apps take
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Authenticator is the shared secret of a person's authenticator app. It makes codes
// of six digits, a new one every 30 seconds (RFC 6238).
type Authenticator struct{ key Secret }

const (
	// codeLife is how long one code is shown.
	codeLife = 30 * time.Second
	// codeDigits is how many digits a code has.
	codeDigits = 6
	// minAuthenticator is the shortest secret that is taken, in bytes (RFC 4226, R6).
	minAuthenticator = 16
	// maxTries is how many codes a person may try within triesTime: of a million codes
	// three fit at a time, so that guessing stays hopeless.
	maxTries  = 5
	triesTime = 15 * time.Minute
)

// NewAuthenticator reads a secret as authenticator apps write it: base32, blanks and
// small letters allowed. Its error never holds the text.
func NewAuthenticator(text Secret) (Authenticator, error) {
	plain := strings.TrimRight(strings.ToUpper(strings.Join(strings.Fields(text.Reveal()), "")), "=")
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain)
	if err != nil || len(key) < minAuthenticator {
		return Authenticator{}, errors.New("it must be base32 (A-Z, 2-7) of at least 16 bytes, which are 26 characters")
	}
	return Authenticator{key: NewSecret(string(key))}, nil
}

// codeAt is the code of one step: of 30 seconds, counted since 1970.
func (a Authenticator) codeAt(step int64) string {
	mac := hmac.New(sha1.New, []byte(a.key.Reveal()))
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", codeDigits, number%1_000_000)
}

// match finds the step whose code this is: the present one, or the one before or
// behind it, since clocks differ and typing takes time.
func (a Authenticator) match(code string, now time.Time) (step int64, ok bool) {
	present := now.Unix() / int64(codeLife/time.Second)
	for _, s := range []int64{present, present - 1, present + 1} {
		if hmac.Equal([]byte(a.codeAt(s)), []byte(code)) {
			return s, true
		}
	}
	return 0, false
}

// UsedCode is a code of an authenticator that a confirmation used up.
type UsedCode struct {
	User UserID
	Step int64 // no code of this step or an earlier one is taken any more
}

// ErrCodeUsed is returned by [Writer.Change] when a code was used before.
var ErrCodeUsed = errors.New("the code was used before")

// Tries counts how often people try codes, across all replicas.
type Tries interface {
	// TryCode counts one more try of user and returns how many there were since
	// since, this one included. A confirmation with a right code sets them to 0.
	TryCode(ctx context.Context, user UserID, since, now time.Time) (int, error)
}

// secondFactor checks the code that was typed to confirm, where the plan wants one.
// The code is used up by the transition that it allows.
func (r *Rules) secondFactor(ctx context.Context, op Operation, click Click, now time.Time) (*UsedCode, error) {
	if click.Event != Confirm || !op.Plan.Policy.SecondFactor {
		return nil, nil
	}
	code := strings.Join(strings.Fields(click.Code), "")
	a, ok := r.Authenticators[click.User]
	switch {
	case !ok:
		return nil, Refuse(CodeSecondFactor, "Confirming this takes a code of your authenticator app, and I know no authenticator of yours. Have whoever runs me set one up for you; somebody else has to confirm. Nothing was changed.")
	case code == "":
		return nil, Refuse(CodeSecondFactor, "Confirming this takes a code of your authenticator app. Click Confirm on the card and type it. Nothing was changed.")
	}
	tries, err := r.Tries.TryCode(ctx, click.User, now.Add(-triesTime), now)
	if err != nil {
		return nil, RefuseBecause(err, CodeLookup, "I could not check your code, so I refuse. Please try again. Nothing was changed.")
	}
	if tries > maxTries {
		return nil, Refuse(CodeSecondFactor, "Too many codes were tried in your name, so I take none for up to %d minutes. If it was not you, somebody is in your chat account: tell security at once. Somebody else can confirm.", int(triesTime.Minutes()))
	}
	step, ok := a.match(code, now)
	if !ok {
		return nil, Refuse(CodeSecondFactor, "That is not the code that your authenticator app shows now. Nothing was changed; click Confirm again with the present one.")
	}
	return &UsedCode{User: click.User, Step: step}, nil
}

// equipped leaves those who have what confirming by a policy takes.
func (r *Rules) equipped(p Policy, people []Person) []Person {
	if !p.SecondFactor {
		return people
	}
	var out []Person
	for _, one := range people {
		if _, ok := r.Authenticators[one.User]; ok {
			out = append(out, one)
		}
	}
	return out
}
