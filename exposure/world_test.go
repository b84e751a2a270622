package exposure_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/integrations/entra"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/conditions"
	standin "github.com/twokey/twokey/sandbox/entra"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ourOperation operation.ID = "k7m2p9"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a sandbox and the real adapters before it.
type world struct {
	t      *testing.T
	box    *sandbox.Sandbox
	cloud  *aws.Client
	entra  *entra.Client
	secret sandbox.Secret
	target runbook.Target

	began   time.Time
	removed time.Time
	key     runbook.KeyID // the one that was live at the start
}

// newWorld starts one; roles replace the bot's permissions in Entra.
func newWorld(t *testing.T, roles ...string) *world {
	t.Helper()
	box, err := sandbox.Start(t.Context(), sandbox.Options{})
	must(t, err)
	t.Cleanup(box.Close)
	if len(roles) > 0 {
		must(t, box.Entra.ChangeApplication(box.Team.Bot.ClientID, standin.Change{Roles: roles}))
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "TWOKEYSANDBOX0001")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "anything")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	cloud, err := aws.New(t.Context(), aws.Config{Region: "eu-central-1", Endpoint: box.URL() + "/aws"})
	must(t, err)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, box.CA(), 0o600))
	directory, err := entra.New(entra.Config{
		Tenant: box.Team.Tenant, ClientID: runbook.ClientID(box.Team.Bot.ClientID), LoginURL: box.EntraURL(), GraphURL: box.EntraURL(), CAFile: ca,
		Assertion: func(ctx context.Context) (string, error) {
			return cloud.WebIdentityToken(ctx, "api://AzureADTokenExchange")
		},
	})
	must(t, err)
	t.Cleanup(directory.Close)
	secret, _ := box.Team.Secret("jira/prod")
	w := &world{t: t, box: box, cloud: cloud, entra: directory, secret: secret, began: box.Clock.Now(), target: runbook.Target{
		Name: "jira/prod", ClientIDParameter: secret.ClientIDParameter, SecretParameter: secret.SecretParameter, KMSKey: "aws/ssm",
		Cluster: secret.Cluster, Service: secret.Service,
	}}
	w.key = w.application().Keys[0].ID
	return w
}

func (w *world) application() runbook.Application {
	w.t.Helper()
	app, err := w.entra.Application(w.t.Context(), runbook.ClientID(w.secret.ClientID))
	must(w.t, err)
	return app
}

// until waits for a condition, and says what it waited for in vain.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// emergency does what the emergency's steps do, with the adapters that they use:
// the key goes first, then the service comes back with a new one.
func (w *world) emergency() {
	w.t.Helper()
	ctx, app := w.t.Context(), w.application()
	old, err := w.cloud.Read(ctx, w.secret.SecretParameter)
	must(w.t, err)
	for _, k := range app.Keys {
		must(w.t, w.entra.RemovePassword(ctx, app.Object, k))
	}
	w.removed = w.box.Clock.Now()
	if err := w.entra.Request(ctx, app.Client, old.Value); err == nil {
		w.t.Fatal("the removed secret still gets tokens")
	}
	_, err = w.entra.AddPassword(ctx, app.Object, runbook.Mark(ourOperation), w.removed.AddDate(2, 0, 0), func(ctx context.Context, _ runbook.Key, text operation.Secret) error {
		_, err := w.cloud.Write(ctx, w.secret.SecretParameter, text, "aws/ssm")
		return err
	})
	must(w.t, err)
	live, err := w.cloud.Read(ctx, w.secret.SecretParameter)
	must(w.t, err)
	must(w.t, w.entra.Request(ctx, app.Client, live.Value))
	_, err = w.cloud.Redeploy(ctx, w.secret.Cluster, w.secret.Service)
	must(w.t, err)
	until(w.t, "the service runs on the new secret", func() bool { v, err := w.box.Check("jira/prod"); return err == nil && v.OK })
}

// subject is jira/prod as the lead's command would fill it in.
func (w *world) subject() exposure.Subject {
	w.t.Helper()
	service, err := w.cloud.Service(w.t.Context(), w.secret.Cluster, w.secret.Service)
	must(w.t, err)
	s := exposure.SubjectOf(w.target, w.application(), service)
	s.BotRole, err = w.cloud.Role(w.t.Context())
	must(w.t, err)
	s.BotPrincipal, err = w.entra.Principal(w.t.Context())
	must(w.t, err)
	s.BotClient, s.Keys, s.Removed = runbook.ClientID(w.box.Team.Bot.ClientID), []runbook.KeyID{w.key}, w.removed
	s.Deeds = []exposure.Deed{{Operation: ourOperation, From: w.began, Confirmed: w.began}}
	return s
}

func (w *world) gatherer() *exposure.Gatherer {
	return &exposure.Gatherer{Trail: w.cloud, SignIns: w.entra, Audits: w.entra, Doors: w.entra, Now: w.box.Clock.Now}
}

// gather looks at the time from the sandbox's start to now.
func (w *world) gather() exposure.Findings {
	w.t.Helper()
	return w.gatherer().Gather(w.t.Context(), w.subject(), exposure.Window{From: w.began.Add(-time.Minute)})
}

// entraOnly leaves CloudTrail out, whose look-ups take their time.
func (w *world) entraOnly(from time.Time) exposure.Findings {
	w.t.Helper()
	g := w.gatherer()
	g.Trail = nil
	return g.Gather(w.t.Context(), w.subject(), exposure.Window{From: from})
}

func (w *world) fault(f conditions.Fault) { w.box.Conditions.Add(f) }
