package operation_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

func authenticatorKey(user operation.UserID) string {
	return (string(user) + "'s authenticator app")[:len(user)+16]
}

func authenticator(key string) operation.Authenticator {
	a, err := operation.NewAuthenticator(operation.NewSecret(base32.StdEncoding.EncodeToString([]byte(key))))
	if err != nil {
		panic(err) // the tests' own keys are long enough
	}
	return a
}

// codeOf is what a person's app shows, by RFC 4226, section 5.3, and RFC 6238.
func codeOf(user operation.UserID, at time.Time) string {
	mac := hmac.New(sha1.New, []byte(authenticatorKey(user)))
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30) // a hash takes everything
	sum := mac.Sum(nil)
	o := sum[19] & 15
	return fmt.Sprintf("%06d", (uint32(sum[o])&127<<24|uint32(sum[o+1])<<16|uint32(sum[o+2])<<8|uint32(sum[o+3]))%1e6)
}

// withFactor has everything confirmed with a code. Everybody has an app but dave.
func withFactor(d *desk) *desk {
	d.plan.factor = true
	d.rules.Tries, d.rules.Authenticators = d.store, map[operation.UserID]operation.Authenticator{}
	for user := range d.work.people {
		if user != "dave" {
			d.rules.Authenticators[user] = authenticator(authenticatorKey(user))
		}
	}
	return d
}

// confirmWith clicks Confirm with a code.
func (d *desk) confirmWith(t *testing.T, op operation.Operation, user operation.UserID, code string) error {
	t.Helper()
	c := click(op, operation.Confirm, user)
	c.Code = code
	_, err := d.rules.Approve(t.Context(), c)
	return err
}

func wantSecondFactor(t *testing.T, what string, err error, words string) {
	t.Helper()
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Code != operation.CodeSecondFactor || !strings.Contains(refusal.Text, words) {
		t.Errorf("%s: got %v, want a refusal with %q", what, err, words)
	}
}

// The vectors are those of RFC 6238, appendix B, the last six digits.
func TestCodesAreThoseOfTheStandard(t *testing.T) {
	for at, code := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		d := withFactor(newDesk(t))
		d.rules.Authenticators["bob"] = authenticator("12345678901234567890")
		d.now = time.Unix(at, 0).UTC()
		if err := d.confirmWith(t, d.ask(t, "sharepoint/prod"), "bob", code); err != nil {
			t.Errorf("%s at %d: %v", code, at, err)
		}
	}
}

func TestAConfirmationTakesTheCodeOfTheClickersOwnApp(t *testing.T) {
	tests := []struct{ name, code, words string }{
		{"none", "", "takes a code of your authenticator app"},
		{"blanks", "   ", "takes a code of your authenticator app"},
		{"another person's", codeOf("carol", time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)), "not the code"},
		{"one of a minute ago", codeOf("bob", time.Date(2026, 11, 24, 11, 59, 0, 0, time.UTC)), "not the code"},
		{"one of a minute ahead", codeOf("bob", time.Date(2026, 11, 24, 12, 1, 0, 0, time.UTC)), "not the code"},
		{"letters", "abcdef", "not the code"},
		{"a long one", strings.Repeat("1", 10_000), "not the code"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := withFactor(newDesk(t))
			op := d.ask(t, "sharepoint/prod")
			err := d.confirmWith(t, op, "bob", tt.code)
			wantSecondFactor(t, tt.name, err, tt.words)
			d.checkRefused(t, tt.name, op, err)
		})
	}
	for name, code := range map[string]string{
		"now": codeOf("bob", newDesk(t).now), "half a minute ago": codeOf("bob", newDesk(t).now.Add(-30*time.Second)), "half a minute ahead": codeOf("bob", newDesk(t).now.Add(30*time.Second)),
		"with a blank, as apps show it": codeOf("bob", newDesk(t).now)[:3] + " " + codeOf("bob", newDesk(t).now)[3:],
	} {
		d := withFactor(newDesk(t))
		if err := d.confirmWith(t, d.ask(t, "sharepoint/prod"), "bob", code); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACodeIsTakenOnce(t *testing.T) {
	d := withFactor(newDesk(t))
	first, second := d.ask(t, "sharepoint/prod"), d.ask(t, "github/prod")
	code := codeOf("bob", d.now)
	if err := d.confirmWith(t, first, "bob", code); err != nil {
		t.Fatal(err)
	}
	err := d.confirmWith(t, second, "bob", code)
	wantSecondFactor(t, "again", err, "used before")
	d.checkRefused(t, "again", second, err)
	wantSecondFactor(t, "an earlier one", d.confirmWith(t, second, "bob", codeOf("bob", d.now.Add(-30*time.Second))), "used before")
	d.now = d.now.Add(30 * time.Second)
	if err := d.confirmWith(t, second, "bob", codeOf("bob", d.now)); err != nil {
		t.Error(err)
	}
}

// Replicas share the store and nothing else.
func TestACodeIsTakenOnceByReplicasAtOnce(t *testing.T) {
	d := withFactor(newDesk(t))
	code := codeOf("bob", d.now)
	var ops []operation.Operation
	for i := range 4 {
		ops = append(ops, d.ask(t, operation.SecretName(fmt.Sprint("s", i, "/prod"))))
	}
	errs := make([]error, len(ops))
	var wg sync.WaitGroup
	for i, op := range ops {
		replica := &operation.Rules{
			Reader: d.store, Writer: d.store, Chat: d.work, Directory: d.work, Now: d.rules.Now, Clock: d.store.Clock, Planners: d.rules.Planners,
			Authenticators: d.rules.Authenticators, Tries: d.store,
		}
		wg.Go(func() {
			c := click(op, operation.Confirm, "bob")
			c.Code = code
			_, errs[i] = replica.Approve(t.Context(), c)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantSecondFactor(t, "the loser", err, "used before")
		}
	}
	if won != 1 {
		t.Errorf("the code was taken %d times", won)
	}
}

func TestGuessingCodesEndsSoon(t *testing.T) {
	d := withFactor(newDesk(t))
	op := d.ask(t, "sharepoint/prod")
	for range 5 {
		wantSecondFactor(t, "a guess", d.confirmWith(t, op, "bob", "000000"), "not the code")
	}
	wantSecondFactor(t, "the right one, after five guesses", d.confirmWith(t, op, "bob", codeOf("bob", d.now)), "Too many codes")
	d.now = d.now.Add(14 * time.Minute)
	if err := d.confirmWith(t, op, "carol", codeOf("carol", d.now)); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	d.now = d.now.Add(2 * time.Minute)
	if err := d.confirmWith(t, d.ask(t, "github/prod"), "bob", codeOf("bob", d.now)); err != nil {
		t.Errorf("bob, later: %v", err)
	}
}

func TestACodeIsNoSecondPerson(t *testing.T) {
	d := withFactor(newDesk(t))
	op := d.ask(t, "sharepoint/prod")
	for _, user := range []operation.UserID{"alice", "alice2"} {
		err := d.confirmWith(t, op, user, codeOf(user, d.now))
		var refusal *operation.Refusal
		if !errors.As(err, &refusal) || refusal.Code != operation.CodeSamePerson {
			t.Errorf("%s: got %v", user, err)
		}
	}
}

func TestWhoHasNoAuthenticatorCannotConfirmAndIsNotCountedOn(t *testing.T) {
	d := withFactor(newDesk(t))
	op := d.ask(t, "sharepoint/prod")
	delete(d.rules.Authenticators, "bob")
	wantSecondFactor(t, "bob", d.confirmWith(t, op, "bob", "123456"), "no authenticator of yours")
	delete(d.rules.Authenticators, "carol")
	_, err := d.rules.Request(t.Context(), ask("github/prod", "alice"))
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || refusal.Code != operation.CodeNobodyEligible || !strings.Contains(refusal.Text, "second factor") {
		t.Errorf("got %v", err)
	}
}

// Somebody who can change the configuration cannot weaken what is asked for already.
func TestTheDemandForACodeIsPartOfThePlan(t *testing.T) {
	d, s := withFactor(newDesk(t)), newScript()
	op := d.ask(t, "sharepoint/prod")
	if err := d.confirmWith(t, op, "bob", codeOf("bob", d.now)); err != nil {
		t.Fatal(err)
	}
	d.plan.factor = false
	op = d.run(t, d.runner(s), op)
	if op.State != operation.Voided || len(s.calls) > 0 {
		t.Errorf("it is %s, and did %v", op.State, s.calls)
	}
}

func TestNoCodeIsRecorded(t *testing.T) {
	d := withFactor(newDesk(t))
	op := d.ask(t, "sharepoint/prod")
	_ = d.confirmWith(t, op, "bob", "918273")
	code := codeOf("bob", d.now)
	if err := d.confirmWith(t, op, "bob", code); err != nil {
		t.Fatal(err)
	}
	entries, err := audit.OfOperation(t.Context(), d.store.DB(), op.ID)
	if err != nil {
		t.Fatal(err)
	}
	now, err := d.store.Operation(t.Context(), op.ID)
	if all := fmt.Sprintf("%+v %+v", entries, now); err != nil || strings.Contains(all, code) || strings.Contains(all, "918273") {
		t.Errorf("%s (%v)", all, err)
	}
}

func TestAnAuthenticatorsSecretIsReadOrRefused(t *testing.T) {
	for text, good := range map[string]bool{
		"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ": true, "gezd gnbv gy3t qojq gezd gnbv gy3t qojq": true, "GEZDGNBVGY3TQOJQGEZDGNBVGY======": true,
		"": false, "GEZDGNBV": false, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1": false, "hunter2-hunter2-hunter2-hunter2": false,
	} {
		if _, err := operation.NewAuthenticator(operation.NewSecret(text)); (err == nil) != good || err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzAnAuthenticatorsSecretIsReadOrRefused(f *testing.F) {
	for _, s := range []string{"", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "gezd gnbv gy3t qojq gezd gnbv gy", "GEZDGNBV=====", "１２３", "========", "ſſſſſſſſſſſſſſſſſſſſſſſſſſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := operation.NewAuthenticator(operation.NewSecret(text))
		if err != nil && len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows it: %v", err)
		}
		if err == nil && len(text) < 26 {
			t.Errorf("%q is taken", text)
		}
	})
}
