package entra_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/twokey/twokey/integrations/entra"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox/conditions"
	sandbox "github.com/twokey/twokey/sandbox/entra"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID = "3f0c2c3e-6b1f-4a55-9f5e-0d6f6f5e7a10"
	issuer   = "https://3c6a.tokens.sts.global.api.aws"
	subject  = "arn:aws:iam::111122223333:role/twokey"
	audience = "api://AzureADTokenExchange"
)

// world is a tenant over TLS, and a client that signs in with a federated token.
type world struct {
	t      *testing.T
	cond   *conditions.Conditions
	tenant *sandbox.Server
	config entra.Config
	client *entra.Client

	bot, app sandbox.IDs
	first    sandbox.Password

	mu       sync.Mutex
	bodies   []string // of the requests that were sent
	spoil    func(path string, answer []byte) []byte
	log      *lines
	mentions []error // every error that was seen, for the proof of discretion
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func newWorld(t *testing.T, roles ...string) *world {
	t.Helper()
	cond := conditions.New(conditions.NewClock())
	w := &world{t: t, cond: cond, tenant: sandbox.New(cond, tenantID), log: &lines{}}
	w.bot = w.tenant.AddApplication(sandbox.NewApplication{Name: "twokey", Roles: append([]string{"Application.ReadWrite.OwnedBy"}, roles...)})
	w.app = w.tenant.AddApplication(sandbox.NewApplication{Name: "sharepoint prod"})
	must(t, w.tenant.AddOwner(w.app.Client, w.bot.Principal))
	var err error
	w.first, err = w.tenant.AddPassword(w.app.Client, sandbox.NewPassword{Name: "first"})
	must(t, err)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	w.tenant.TrustIssuer(issuer, key.Public())
	must(t, w.tenant.AddFederatedCredential(w.bot.Client, sandbox.Federated{Name: "aws", Issuer: issuer, Subject: subject, Audiences: []string{audience}}))
	w.config = w.serve()
	w.config.Assertion = func(context.Context) (string, error) {
		now := cond.Clock.Now()
		return jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
			Issuer: issuer, Subject: subject, Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(5 * time.Minute)),
		}).SignedString(key)
	}
	w.client = w.connect(w.config)
	return w
}

// serve starts the tenant and returns a configuration without a credential.
func (w *world) serve() entra.Config {
	w.t.Helper()
	tlsConfig, pem, err := sandbox.NewTLS()
	must(w.t, err)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.bodies = append(w.bodies, r.URL.Path+" "+string(body))
		spoil := w.spoil
		w.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		if spoil == nil {
			w.tenant.Handler().ServeHTTP(rw, r)
			return
		}
		rec := httptest.NewRecorder()
		w.tenant.Handler().ServeHTTP(rec, r)
		rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		rw.WriteHeader(rec.Code)
		_, _ = rw.Write(spoil(r.URL.Path, rec.Body.Bytes()))
	}))
	srv.TLS = tlsConfig
	srv.EnableHTTP2 = true
	srv.StartTLS()
	w.t.Cleanup(srv.Close)
	caFile := filepath.Join(w.t.TempDir(), "ca.pem")
	must(w.t, os.WriteFile(caFile, pem, 0o600))
	return entra.Config{
		Tenant: tenantID, ClientID: runbook.ClientID(w.bot.Client), LoginURL: srv.URL, GraphURL: srv.URL, CAFile: caFile,
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func (w *world) connect(c entra.Config) *entra.Client {
	w.t.Helper()
	client, err := entra.New(c)
	must(w.t, err)
	w.t.Cleanup(client.Close)
	return client
}

func (w *world) read() runbook.Application {
	w.t.Helper()
	a, err := w.client.Application(w.t.Context(), runbook.ClientID(w.app.Client))
	must(w.t, err)
	return a
}

// add makes a key and returns its text.
func (w *world) add(name string) (runbook.Key, operation.Secret, error) {
	w.t.Helper()
	var text operation.Secret
	k, err := w.client.AddPassword(w.t.Context(), runbook.ObjectID(w.app.Object), name, time.Now().AddDate(2, 0, 0),
		func(_ context.Context, _ runbook.Key, s operation.Secret) error {
			text = s
			return nil
		})
	w.seen(err)
	return k, text, err
}

func (w *world) seen(err error) {
	if err != nil {
		w.mentions = append(w.mentions, err)
	}
}

// living returns the names of the application's keys in the tenant itself.
func (w *world) living() []string {
	out := []string{}
	for _, a := range w.tenant.State().(sandbox.State).Applications {
		if a.Client != w.app.Client {
			continue
		}
		for _, p := range a.Passwords {
			if p.Removed.IsZero() {
				out = append(out, p.Name)
			}
		}
	}
	return out
}

func (w *world) refused(client string, secret operation.Secret) []int {
	w.t.Helper()
	err := w.client.Request(w.t.Context(), runbook.ClientID(client), secret)
	w.seen(err)
	var refused *runbook.TokenRefused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused.Codes
	}
	w.t.Fatal(err)
	return nil
}

func TestAnApplicationIsReadWithItsKeysOwnersAndPolicies(t *testing.T) {
	w := newWorld(t, "Policy.Read.All")
	hidden, err := w.tenant.AddPassword(w.app.Client, sandbox.NewPassword{Name: "hidden", OnServicePrincipal: true})
	must(t, err)
	w.tenant.SetDefaultPolicy(sandbox.Policy{Enabled: true, MaxLifetimeDays: 90})
	want := []runbook.Key{
		{ID: runbook.KeyID(w.first.KeyID), Name: "first", Hint: w.first.Secret[:3]},
		{ID: runbook.KeyID(hidden.KeyID), Name: "hidden", Hint: hidden.Secret[:3], OnServicePrincipal: true},
	}
	slices.SortFunc(want, func(a, b runbook.Key) int { return strings.Compare(string(a.ID), string(b.ID)) })
	got := w.read()
	for i, k := range got.Keys {
		if d := k.Start.AddDate(2, 0, 0).Sub(k.End); d != 0 {
			t.Errorf("%s: %s to %s", k.Name, k.Start, k.End)
		}
		got.Keys[i].Start, got.Keys[i].End = time.Time{}, time.Time{}
	}
	same(t, runbook.Application{
		Object: runbook.ObjectID(w.app.Object), Client: runbook.ClientID(w.app.Client), Name: "sharepoint prod", Keys: want,
		ServicePrincipal: runbook.ObjectID(w.app.Principal), PrincipalEnabled: true,
		OwnedByUs: true, Us: runbook.ObjectID(w.bot.Principal), OwnersRead: true, PolicyRead: true, MaxSecretLifetime: 90 * 24 * time.Hour,
	}, got)
}

func TestWhatMayNotBeReadIsSaidToBeNotRead(t *testing.T) {
	w := newWorld(t)
	got := w.read()
	same(t, false, got.PolicyRead)
	same(t, true, got.OwnersRead)
	w.cond.Add(conditions.Fault{Operation: "graph.listOwners", Kind: conditions.Refuse, Status: 403, Code: "Authorization_RequestDenied", Count: 1})
	got = w.read()
	same(t, []bool{false, false}, []bool{got.OwnersRead, got.OwnedByUs})
}

func TestADisabledApplicationAndAForeignOneAreSeenAsSuch(t *testing.T) {
	w := newWorld(t)
	yes, no := true, false
	must(t, w.tenant.ChangeApplication(w.app.Client, sandbox.Change{Disabled: &yes, PrincipalEnabled: &no}))
	got := w.read()
	same(t, []bool{true, false}, []bool{got.Disabled, got.PrincipalEnabled})

	foreign := w.tenant.AddApplication(sandbox.NewApplication{Name: "payroll", WithoutPrincipal: true})
	other, err := w.client.Application(t.Context(), runbook.ClientID(foreign.Client))
	must(t, err)
	same(t, []any{false, true, runbook.ObjectID("")}, []any{other.OwnedByUs, other.OwnersRead, other.ServicePrincipal})
	_, err = w.client.AddPassword(t.Context(), other.Object, "x", time.Now().Add(time.Hour), nil)
	if !operation.IsPermanent(err) || !strings.Contains(err.Error(), "Authorization_RequestDenied") {
		t.Error(err)
	}
}

func TestAnUnknownApplicationIsPermanentlyUnknown(t *testing.T) {
	w := newWorld(t)
	for client, want := range map[runbook.ClientID]error{"00000000-0000-0000-0000-000000000001": entra.ErrNoApplication, "x' or true": nil} {
		_, err := w.client.Application(t.Context(), client)
		if !operation.IsPermanent(err) || want != nil && !errors.Is(err, want) {
			t.Error(err)
		}
	}
}

func TestPoliciesClipAndForbidAsTheyHold(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		name        string
		tenant, own sandbox.Policy
		longest     time.Duration
		forbids     bool
	}{
		{"none", sandbox.Policy{}, sandbox.Policy{}, 0, false},
		{"the tenant's is off", sandbox.Policy{MaxLifetimeDays: 30, ForbidPasswords: true}, sandbox.Policy{}, 0, false},
		{"the tenant's forbids", sandbox.Policy{Enabled: true, ForbidPasswords: true}, sandbox.Policy{}, 0, true},
		{"its own goes first", sandbox.Policy{Enabled: true, MaxLifetimeDays: 30}, sandbox.Policy{Enabled: true, MaxLifetimeDays: 400}, 400 * day, false},
		{"each restriction by itself", sandbox.Policy{Enabled: true, MaxLifetimeDays: 30}, sandbox.Policy{Enabled: true, ForbidPasswords: true}, 30 * day, true},
		{"only for newer ones", sandbox.Policy{Enabled: true, MaxLifetimeDays: 30, CreatedAfter: time.Now().Add(time.Hour)}, sandbox.Policy{}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "Policy.Read.All")
			w.tenant.SetDefaultPolicy(c.tenant)
			must(t, w.tenant.ChangeApplication(w.app.Client, sandbox.Change{Policy: &c.own}))
			got := w.read()
			same(t, []any{c.longest, c.forbids, true}, []any{got.MaxSecretLifetime, got.NewSecretsForbid, got.PolicyRead})
		})
	}
}

func TestAPolicyThatIsNotUnderstoodCountsAsNotRead(t *testing.T) {
	for iso, want := range map[string][]any{
		"P6M": {time.Duration(0), false}, "for ever": {time.Duration(0), false},
		"P1Y": {365 * 24 * time.Hour, true}, "P4DT12H": {108 * time.Hour, true},
	} {
		w := newWorld(t, "Policy.Read.All")
		w.tenant.SetDefaultPolicy(sandbox.Policy{Enabled: true, MaxLifetimeDays: 90})
		w.spoil = func(_ string, answer []byte) []byte { return bytes.ReplaceAll(answer, []byte("P90D"), []byte(iso)) }
		got := w.read()
		same(t, want, []any{got.MaxSecretLifetime, got.PolicyRead})
	}
}

func TestASecretIsMadeHandedOverProvenAndRemoved(t *testing.T) {
	w := newWorld(t)
	k, text, err := w.add("twokey:k7m2p9")
	must(t, err)
	same(t, []any{"twokey:k7m2p9", true}, []any{k.Name, text.HasHint(k.Hint)})
	same(t, nil, w.refusedOrNil(w.app.Client, text))
	same(t, []string{"first", "twokey:k7m2p9"}, w.living())

	must(t, w.client.RemovePassword(t.Context(), runbook.ObjectID(w.app.Object), runbook.Key{ID: runbook.KeyID(w.first.KeyID)}))
	same(t, []string{"twokey:k7m2p9"}, w.living())
	same(t, []int{runbook.SecretInvalid}, w.refused(w.app.Client, operation.NewSecret(w.first.Secret)))
	must(t, w.client.RemovePassword(t.Context(), runbook.ObjectID(w.app.Object), runbook.Key{ID: runbook.KeyID(w.first.KeyID)})) // gone is done

	w.mu.Lock()
	defer w.mu.Unlock()
	sent := strings.Join(w.bodies, "\n")
	if !strings.Contains(sent, "endDateTime") || strings.Contains(sent, "startDateTime") || strings.Contains(sent, "customKeyIdentifier") {
		t.Error("addPassword was sent with other members than displayName and endDateTime")
	}
}

func (w *world) refusedOrNil(client string, s operation.Secret) any {
	if codes := w.refused(client, s); codes != nil {
		return codes
	}
	return nil
}

func TestASecretOfTheServicePrincipalIsRemovedThere(t *testing.T) {
	w := newWorld(t)
	hidden, err := w.tenant.AddPassword(w.app.Client, sandbox.NewPassword{Name: "hidden", OnServicePrincipal: true})
	must(t, err)
	k := runbook.Key{ID: runbook.KeyID(hidden.KeyID), OnServicePrincipal: true}
	must(t, w.client.RemovePassword(t.Context(), runbook.ObjectID(w.app.Principal), k))
	same(t, []int{runbook.SecretInvalid}, w.refused(w.app.Client, operation.NewSecret(hidden.Secret)))
	same(t, []string{"first"}, w.living())
	must(t, w.client.RemovePassword(t.Context(), runbook.ObjectID(w.app.Principal), k))
}

func TestAKeyThatOnlyOneReplicaKnowsIsNotYetRemoved(t *testing.T) {
	w := newWorld(t)
	k, _, err := w.add("new")
	must(t, err)
	w.tenant.SetBehaviour(sandbox.Behaviour{Read: []float64{3600, 0}})
	err = w.client.RemovePassword(t.Context(), runbook.ObjectID(w.app.Object), k)
	if notYet := (operation.NotYet{}); !errors.As(err, &notYet) || operation.IsPermanent(err) {
		t.Errorf("%T %v", err, err)
	}
	same(t, []string{"first", "new"}, w.living())
}

func TestAKeyThatCannotBeKeptIsTakenBackThroughLag(t *testing.T) {
	w := newWorld(t)
	must(t, w.client.Request(t.Context(), runbook.ClientID(w.app.Client), operation.NewSecret(w.first.Secret)))
	w.tenant.SetBehaviour(sandbox.Behaviour{Read: []float64{1}}) // for a second nobody can remove it
	full := errors.New("the parameter store is full")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.client.AddPassword(ctx, runbook.ObjectID(w.app.Object), "lost", time.Now().AddDate(1, 0, 0),
		func(context.Context, runbook.Key, operation.Secret) error {
			cancel() // taken back even when nobody waits any more
			return full
		})
	if !errors.Is(err, full) || strings.Contains(err.Error(), "left on the application") {
		t.Error(err)
	}
	same(t, []string{"first"}, w.living())
}

func TestAKeyThatMayBeKeptStays(t *testing.T) {
	w := newWorld(t)
	_, err := w.client.AddPassword(t.Context(), runbook.ObjectID(w.app.Object), "perhaps", time.Now().AddDate(1, 0, 0),
		func(context.Context, runbook.Key, operation.Secret) error {
			return errors.Join(runbook.ErrMayBeKept, errors.New("no answer"))
		})
	if !errors.Is(err, runbook.ErrMayBeKept) {
		t.Errorf("got %v", err)
	}
	same(t, []string{"first", "perhaps"}, w.living()) // somebody may run on it
}

func TestAKeyThatCannotBeTakenBackIsNamed(t *testing.T) {
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "graph.removePassword", Kind: conditions.Refuse, Status: 403, Code: "Authorization_RequestDenied"})
	_, err := w.client.AddPassword(t.Context(), runbook.ObjectID(w.app.Object), "left", time.Now().AddDate(1, 0, 0),
		func(context.Context, runbook.Key, operation.Secret) error { return errors.New("no") })
	if err == nil || !strings.Contains(err.Error(), "is left on the application") {
		t.Error(err)
	}
	same(t, []string{"first", "left"}, w.living())
}

func TestAWriteThatMayHaveHappenedIsSentOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *world)
		happy bool // it happened
	}{
		{"504 after the write", func(w *world) { w.tenant.TimeOutAfter("graph.addPassword", 1) }, true},
		{"the answer is cut off", fault(conditions.CutAfter, 0), true},
		{"the connection breaks before", fault(conditions.CutBefore, 0), false},
		{"nobody answers", fault(conditions.Timeout, 0), false},
		{"500", fault(conditions.ServerErr, 500), false},
		{"503", fault(conditions.ServerErr, 503), false},
		{"502 and a page of a proxy", fault(conditions.Nonsense, 0), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.name == "nobody answers" { // elsewhere there is time enough for a repetition to be seen
				w.config.Timeout = time.Second
				w.client = w.connect(w.config)
			}
			w.read() // signs in
			c.spoil(w)
			_, text, err := w.add("once")
			if err == nil || operation.IsPermanent(err) || !text.IsZero() {
				t.Errorf("permanent %v: %v", operation.IsPermanent(err), err)
			}
			for deadline := time.Now().Add(10 * time.Second); w.cond.Counts()["graph.addPassword"] == 0; {
				if time.Now().After(deadline) { // a call is logged when its handler ends
					t.Fatal("the request did not arrive")
				}
				time.Sleep(time.Millisecond)
			}
			same(t, 1, w.cond.Counts()["graph.addPassword"])
			same(t, c.happy, slices.Contains(w.living(), "once"))
		})
	}
}

func fault(kind conditions.Kind, status int) func(*world) {
	return func(w *world) {
		w.cond.Add(conditions.Fault{Operation: "graph.addPassword", Kind: kind, Status: status, Count: 1})
	}
}

func TestARemovalAnsweredByAProxyIsNoRemoval(t *testing.T) {
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "graph.removePassword", Kind: conditions.Nonsense, Count: 1})
	err := w.client.RemovePassword(t.Context(), runbook.ObjectID(w.app.Object), runbook.Key{ID: runbook.KeyID(w.first.KeyID)})
	if err == nil || operation.IsPermanent(err) {
		t.Error(err)
	}
	same(t, []string{"first"}, w.living())
}

func TestAThrottledWriteWaitsAsLongAsItIsTold(t *testing.T) {
	w := newWorld(t)
	w.read()
	w.cond.Add(conditions.Fault{Operation: "graph.addPassword", Kind: conditions.Throttle, RetryAfter: 1, Count: 1})
	start := time.Now()
	_, _, err := w.add("patient")
	must(t, err)
	if d := time.Since(start); d < time.Second {
		t.Errorf("waited %s", d)
	}
	same(t, 2, w.cond.Counts()["graph.addPassword"])
	same(t, []string{"first", "patient"}, w.living())

	w.cond.Add(conditions.Fault{Operation: "graph.addPassword", Kind: conditions.Throttle, RetryAfter: 3600, Count: 1})
	_, _, err = w.add("impatient")
	if err == nil || operation.IsPermanent(err) { // too long for this call, and no refusal
		t.Error(err)
	}
}

func TestRetriesStopWhenTheCallerDoes(t *testing.T) {
	w := newWorld(t)
	w.read()
	w.cond.Add(conditions.Fault{Operation: "graph.addPassword", Kind: conditions.Throttle, RetryAfter: 30})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := w.client.AddPassword(ctx, runbook.ObjectID(w.app.Object), "x", time.Now().AddDate(1, 0, 0), nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("%s: %v", time.Since(start), err)
	}
}

func TestOneProcessNeverOverlapsItsOwnWritesAndYieldsToOthers(t *testing.T) {
	w := newWorld(t)
	w.read()
	w.tenant.SetBehaviour(sandbox.Behaviour{WriteTakes: 0.05})
	addFour := func(clients ...*entra.Client) {
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				_, err := clients[i%len(clients)].AddPassword(t.Context(), runbook.ObjectID(w.app.Object), "n", time.Now().AddDate(1, 0, 0),
					func(context.Context, runbook.Key, operation.Secret) error { return nil })
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
	addFour(w.client)
	same(t, 4, w.cond.Counts()["graph.addPassword"]) // nothing was refused, nothing sent again
	w.tenant.SetBehaviour(sandbox.Behaviour{WriteTakes: 0.2, ConflictStatus: 400})
	addFour(w.client, w.connect(w.config)) // as if another replica of the bot wrote too
	if n := w.cond.Counts()["graph.addPassword"]; n <= 8 {
		t.Errorf("%d requests: no overlap was refused", n)
	}
	same(t, 9, len(w.living()))
}

func TestReadsAreTriedAgain(t *testing.T) {
	for _, f := range []conditions.Fault{
		{Kind: conditions.ServerErr, Status: 503}, {Kind: conditions.CutBefore}, {Kind: conditions.Nonsense}, {Kind: conditions.Throttle},
	} {
		w := newWorld(t)
		f.Operation, f.Count = "graph.getApplication", 2
		w.cond.Add(f)
		w.read()
		same(t, 3, w.cond.Counts()["graph.getApplication"])
	}
}

func TestAJumpOfTheVendorsClockIsSurvivedByAClaimsChallenge(t *testing.T) {
	w := newWorld(t)
	w.read()
	w.cond.Clock.Advance(48 * time.Hour)
	w.read()
	same(t, 2, w.cond.Counts()["entra.token"])
}

func TestEveryProofIsAFreshRequestOverItsOwnConnection(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		must(t, w.client.Request(t.Context(), runbook.ClientID(w.app.Client), operation.NewSecret(w.first.Secret)))
	}
	same(t, 3, w.cond.Counts()["entra.token"])
	w.tenant.SetBehaviour(sandbox.Behaviour{Learn: []float64{0, 60}})
	_, text, err := w.add("new")
	must(t, err)
	codes := append(w.refused(w.app.Client, text), w.refused(w.app.Client, text)...)
	same(t, []int{runbook.SecretInvalid}, codes) // one replica knows it, the other does not
}

func TestARefusalOfATokenHasEntrasNumber(t *testing.T) {
	w := newWorld(t)
	yes := true
	same(t, []int{runbook.SecretInvalid}, w.refused(w.app.Client, operation.NewSecret("wrong")))
	same(t, []int{runbook.ApplicationUnknown}, w.refused("00000000-0000-0000-0000-000000000001", operation.NewSecret("x")))
	must(t, w.tenant.ChangeApplication(w.app.Client, sandbox.Change{BlockedByConditionalAccess: &yes}))
	same(t, []int{runbook.BlockedByConditional}, w.refused(w.app.Client, operation.NewSecret(w.first.Secret)))
	must(t, w.tenant.ChangeApplication(w.app.Client, sandbox.Change{Disabled: &yes}))
	same(t, []int{runbook.ApplicationDisabled}, w.refused(w.app.Client, operation.NewSecret(w.first.Secret)))
}

func TestATokenEndpointInTroubleSaysNothingAboutTheSecret(t *testing.T) {
	w := newWorld(t)
	w.config.Timeout = time.Second
	w.client = w.connect(w.config)
	for _, kind := range []conditions.Kind{conditions.Throttle, conditions.ServerErr, conditions.Nonsense, conditions.CutAfter, conditions.Timeout} {
		w.cond.Add(conditions.Fault{Operation: "entra.token", Kind: kind, Count: 1})
		err := w.client.Request(t.Context(), runbook.ClientID(w.app.Client), operation.NewSecret(w.first.Secret))
		if refused := (*runbook.TokenRefused)(nil); err == nil || errors.As(err, &refused) || operation.IsPermanent(err) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestTheBotSignsInWithItsOwnSecretToo(t *testing.T) {
	w := newWorld(t)
	own, err := w.tenant.AddPassword(w.bot.Client, sandbox.NewPassword{Name: "bot"})
	must(t, err)
	w.config.Assertion, w.config.Secret = nil, operation.NewSecret(own.Secret)
	w.client = w.connect(w.config)
	same(t, "sharepoint prod", w.read().Name)
}

// TestTheFirstSignInAsksTwoAtOnce: for the assertion, and where tokens are to be had.
// Each waits for the other here.
func TestTheFirstSignInAsksTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	assert, asked, answered := w.config.Assertion, make(chan struct{}), make(chan struct{})
	var n atomic.Int32
	w.config.Assertion = func(ctx context.Context) (string, error) {
		if n.Add(1) == 1 {
			close(asked)
			<-answered
		}
		return assert(ctx)
	}
	w.spoil = func(path string, answer []byte) []byte {
		if strings.HasSuffix(path, "/openid-configuration") {
			select {
			case <-asked:
			case <-time.After(5 * time.Second):
				t.Error("the assertion was not asked for meanwhile")
			}
			close(answered)
		}
		return answer
	}
	w.client = w.connect(w.config)
	same(t, "sharepoint prod", w.read().Name)
	if n.Load() != 1 {
		t.Errorf("%d assertions were made", n.Load())
	}
}

// TestTheFirstSignInDoesNotWaitForAnAssertionThatAnotherTook: while the first still asks where tokens are to be
// had, another takes the assertion that was made for it.
func TestTheFirstSignInDoesNotWaitForAnAssertionThatAnotherTook(t *testing.T) {
	w := newWorld(t)
	asked, others := make(chan struct{}), make(chan struct{})
	var n atomic.Int32
	w.spoil = func(path string, answer []byte) []byte {
		if strings.HasSuffix(path, "/openid-configuration") && n.Add(1) == 1 {
			close(asked)
			<-others
		}
		return answer
	}
	w.client = w.connect(w.config)
	read := make(chan error, 1)
	go func() {
		_, err := w.client.Application(t.Context(), runbook.ClientID(w.app.Client))
		read <- err
	}()
	<-asked
	_, err := w.client.Roles(t.Context()) // wants a token of another kind, which the SDK keeps apart
	close(others)
	must(t, err)
	must(t, <-read)
}

func TestAnAssertionIsReadFromItsFileEachTime(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "token")
	fresh, err := w.config.Assertion(t.Context())
	must(t, err)
	must(t, os.WriteFile(file, []byte(fresh+"\n"), 0o600))
	w.config.Assertion = entra.AssertionFromFile(file)
	w.client = w.connect(w.config)
	w.read()
	must(t, os.Remove(file))
	w.client = w.connect(w.config)
	_, err = w.client.Application(t.Context(), runbook.ClientID(w.app.Client))
	if err == nil || !strings.Contains(err.Error(), "read the federated assertion") {
		t.Error(err)
	}
}

func TestABotThatCannotSignInSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.config.Assertion, w.config.Secret = nil, operation.NewSecret("wrong")
	_, err := w.connect(w.config).Application(t.Context(), runbook.ClientID(w.app.Client))
	var refused *runbook.TokenRefused
	if !errors.As(err, &refused) || !refused.Has(runbook.SecretInvalid) || !strings.Contains(err.Error(), "sign in to Entra as the bot") {
		t.Error(err)
	}
	w.config.CAFile = ""
	_, err = w.connect(w.config).Application(t.Context(), runbook.ClientID(w.app.Client))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
}

func TestAPersonIsExactlyOneEnabledIdentity(t *testing.T) {
	w := newWorld(t, "User.Read.All")
	bob := w.tenant.AddUser(sandbox.User{Name: "Bob", Mail: "bob@example.com", UserPrincipalName: "b.builder@example.com", Enabled: true})
	w.tenant.AddUser(sandbox.User{Name: "Old Bob", Mail: "bob@example.com", UserPrincipalName: "old@example.com"})
	gone := w.tenant.AddUser(sandbox.User{Name: "Gone", Mail: "gone@example.com", UserPrincipalName: "gone@example.com"})
	quote := w.tenant.AddUser(sandbox.User{Name: "Pat", Mail: "pat.o'neil@example.com", UserPrincipalName: "pat@example.com", Enabled: true})
	for _, upn := range []string{"t1@example.com", "t2@example.com"} {
		w.tenant.AddUser(sandbox.User{Name: "Twin", Mail: "twin@example.com", UserPrincipalName: upn, Enabled: true})
	}
	for _, c := range []struct {
		email, id string
		enabled   bool
		wrong     string
	}{
		{"Bob@Example.com", bob, true, ""},
		{"b.builder@example.com", bob, true, ""},
		{"gone@example.com", gone, false, ""},
		{"pat.o'neil@example.com", quote, true, ""},
		{"twin@example.com", "", false, "has 2 users"},
		{"nobody@example.com", "", false, "has no user"},
		{"' or accountEnabled eq true or mail eq '", "", false, "has no user"},
		{"", "", false, "no e-mail address"},
	} {
		id, enabled, err := w.client.Person(t.Context(), c.email)
		same(t, []any{operation.PersonID(c.id), c.enabled}, []any{id, enabled})
		if (c.wrong == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), c.wrong) || !operation.IsPermanent(err)) {
			t.Errorf("%s: %v", c.email, err)
		}
	}
}

func TestEveryMistakeOfTheConfigurationIsToldAtOnce(t *testing.T) {
	_, err := entra.New(entra.Config{ClientID: "x", LoginURL: "http://login", GraphURL: "graph"})
	for _, want := range []string{"tenant", `client id "x"`, "either a federated assertion or a client secret", `login address "http://login"`, `graph address "graph"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(notPEM, []byte("nothing"), 0o600))
	for _, file := range []string{notPEM, filepath.Join(t.TempDir(), "missing")} {
		_, err = entra.New(entra.Config{
			Tenant: tenantID, ClientID: "00000000-0000-0000-0000-000000000001", Secret: operation.NewSecret("x"),
			LoginURL: "https://login", GraphURL: "https://graph", CAFile: file,
		})
		if err == nil || !strings.Contains(err.Error(), "CA file") {
			t.Error(err)
		}
	}
}

// TestNoSecretIsInAnyLogOrError goes through successes and every fault, with the
// bot's log and the SDK's own at their loudest.
func TestNoSecretIsInAnyLogOrError(t *testing.T) {
	w := newWorld(t, "User.Read.All", "Policy.Read.All")
	azlog.SetListener(func(_ azlog.Event, message string) { _, _ = w.log.Write([]byte(message + "\n")) })
	defer azlog.SetListener(nil)
	own, err := w.tenant.AddPassword(w.bot.Client, sandbox.NewPassword{Name: "bot"})
	must(t, err)
	w.config.Assertion, w.config.Secret, w.config.Timeout = nil, operation.NewSecret(own.Secret), time.Second

	for _, kind := range []conditions.Kind{"", conditions.CutAfter, conditions.Nonsense, conditions.ServerErr, conditions.Timeout, conditions.Throttle} {
		for _, call := range []string{"entra.token", "graph.addPassword", "graph.removePassword", "graph.listUsers"} {
			if kind == conditions.Timeout && call == "graph.listUsers" {
				continue // reads repeat, and only the time passes
			}
			w.client = w.connect(w.config) // signs in anew
			if kind != "" {
				w.cond.Add(conditions.Fault{Operation: call, Kind: kind, Count: 1})
			}
			k, text, _ := w.add("s")
			_, err := w.client.Application(t.Context(), runbook.ClientID(w.app.Client))
			w.seen(err)
			w.seen(w.client.Request(t.Context(), runbook.ClientID(w.app.Client), text))
			w.seen(w.client.RemovePassword(t.Context(), runbook.ObjectID(w.app.Object), k))
			_, _, err = w.client.Person(t.Context(), "eve@example.com")
			w.seen(err)
			w.cond.Clear()
		}
	}
	said := w.log.String()
	for _, err := range w.mentions {
		said += err.Error() + "\n"
	}
	if len(w.mentions) < 10 || !strings.Contains(said, "asked entra") || !strings.Contains(said, "==> REQUEST/RESPONSE") {
		t.Fatalf("too little was said to prove anything: %d errors, %d bytes", len(w.mentions), len(said))
	}
	secrets := []string{"eyJ"} // how every access token begins
	for _, a := range w.tenant.State().(sandbox.State).Applications {
		for _, p := range a.Passwords {
			secrets = append(secrets, p.Secret, p.Secret[4:20])
		}
	}
	for _, s := range secrets {
		if i := strings.Index(said, s); i >= 0 {
			t.Errorf("%q was said: …%s", s, said[max(0, i-200):min(len(said), i+200)])
		}
	}
	if strings.Contains(w.log.String(), "eve@example.com") {
		t.Error("the log tells whose address was looked up")
	}
}

// TestAnAnswerThatCannotBeReadIsNotQuoted breaks the answers that hold a secret
// behind the place where it stands.
func TestAnAnswerThatCannotBeReadIsNotQuoted(t *testing.T) {
	for path, c := range map[string]struct {
		end  string
		hold string
	}{
		"/token":       {`"expires_in":[{`, "access_token"},
		"/addPassword": {`"keyId":[7]}`, "secretText"},
	} {
		w := newWorld(t)
		broken := ""
		w.spoil = func(p string, answer []byte) []byte {
			if !strings.HasSuffix(p, path) {
				return answer
			}
			answer = append(bytes.TrimRight(answer, "}\n"), []byte(","+c.end)...)
			broken = string(answer)
			return answer
		}
		_, _, err := w.add("x")
		if err == nil || operation.IsPermanent(err) {
			t.Fatalf("%s: %v", path, err)
		}
		_, rest, ok := strings.Cut(broken, `"`+c.hold+`":"`)
		if !ok || len(rest) < 20 {
			t.Fatalf("%s: no secret was in %q", path, broken)
		}
		if said := err.Error() + w.log.String(); strings.Contains(said, rest[:20]) || strings.Contains(said, c.hold) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestOnlyTheNeededPartsOfTheSDKAreCompiled(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip("the go command is needed to list what is compiled: " + err.Error())
	}
	var parts []string
	for p := range strings.FieldsSeq(string(out)) {
		if rest, ok := strings.CutPrefix(p, "github.com/microsoftgraph/msgraph-sdk-go/"); ok {
			parts = append(parts, rest)
		}
	}
	slices.Sort(parts)
	same(t, []string{"applications", "models", "models/odataerrors"}, parts)
}
