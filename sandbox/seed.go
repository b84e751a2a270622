package sandbox

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/google/uuid"

	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/mcp"
	"github.com/twokey/twokey/sandbox/slack"
)

// The names of the platform are the same at every start, so that a bot that was
// configured for one sandbox works with the next.
const (
	region  = "eu-central-1"
	account = "123456789012"
	tenant  = "4f1d6a52-8c1b-4a53-9d0e-6f4b7f0a2c11"

	botRole = "twokey" // the IAM role that the bot runs as
	// accessKey is nobody's: the sandbox checks no signature.
	accessKey    = "TWOKEYSANDBOX0001"
	accessSecret = "not-a-secret"

	// audience is what Entra wants in tokens of other issuers.
	audience = "api://AzureADTokenExchange"
)

// The people's accounts, groups and channels in Slack.
const (
	OperationsChannel = "C0PLATFORMOPS" // #platform-ops
	GeneralChannel    = "C0GENERAL01"   // #general
	SharedChannel     = "C0SHAREDVND"   // #shared-with-vendor, with another company
	ApproversGroup    = "S0APPROVERS"   // bob and carol
	RequestersGroup   = "S0REQUESTERS"  // alice, bob and carol
)

// Team is who and what was seeded.
type Team struct {
	Tenant  string   `json:"tenant"`
	Bot     Bot      `json:"bot"`
	People  []Person `json:"people"`
	Secrets []Secret `json:"secrets"`
}

// Bot is the identity of the bot in Entra and AWS.
type Bot struct {
	ClientID  string `json:"client_id"`
	Principal string `json:"service_principal_id"`
	Role      string `json:"role"` // ARN of its IAM role
}

// Person is a Slack account and the Entra identity behind it.
type Person struct {
	Name  string `json:"name"`
	Slack string `json:"slack_id"`
	Email string `json:"email"`
	Entra string `json:"entra_id,omitempty"` // two accounts of one person have the same
	About string `json:"about"`
}

// Secret is one client secret of the platform and all that it is tied to.
type Secret struct {
	Name              string    `json:"name"` // "sharepoint/prod"
	Server            string    `json:"server"`
	Environment       string    `json:"environment"`
	ClientID          string    `json:"client_id"`
	ObjectID          string    `json:"object_id"`
	ClientIDParameter string    `json:"client_id_parameter"`
	SecretParameter   string    `json:"secret_parameter"`
	Cluster           string    `json:"cluster"`
	Service           string    `json:"service"`
	Expires           time.Time `json:"expires"` // of the seeded key
}

// Secret returns the secret called name.
func (t Team) Secret(name string) (Secret, bool) {
	for _, s := range t.Secrets {
		if s.Name == name {
			return s, true
		}
	}
	return Secret{}, false
}

func secretName(server, environment string) string { return server + "/" + environment }

// kept is one secret to seed: whose, and how long its key still lives.
type kept struct {
	server, environment string
	left                time.Duration
}

const day = 24 * time.Hour

// moreServers begins the names of the servers that [Options.More] adds.
const moreServers = "connector-"

// secrets lists the platform's secrets. Some are near their end, so that there
// is something to be reminded of; none has expired.
func secrets() []kept {
	return []kept{
		{"sharepoint", "prod", 12 * day}, {"sharepoint", "dev", 610 * day},
		{"github", "prod", 45 * day}, {"github", "dev", 5 * day},
		{"jira", "prod", 420 * day}, {"jira", "dev", 27 * day},
		{"confluence", "prod", 665 * day}, {"confluence", "dev", 480 * day},
	}
}

// seed fills the stand-ins and waits until all tasks run.
func seed(ctx context.Context, s *Sandbox, o Options) (Team, error) {
	bot, err := s.seedBot()
	if err != nil {
		return Team{}, err
	}
	team := Team{Tenant: tenant, Bot: bot, People: s.seedPeople()}
	if err := s.seedChannels(); err != nil {
		return Team{}, err
	}
	all := secrets()
	for i := range o.More {
		all = append(all, kept{fmt.Sprintf("%s%02d", moreServers, i+1), "prod", 500 * day})
	}
	for _, k := range all {
		made, err := s.seedSecret(k, bot)
		if err != nil {
			return Team{}, fmt.Errorf("%s: %w", secretName(k.server, k.environment), err)
		}
		team.Secrets = append(team.Secrets, made)
	}
	if err := s.seedCertificates(); err != nil {
		return Team{}, err
	}
	for _, secret := range team.Secrets { // the parameters' past is made, so the tasks' present can begin
		if err := s.seedService(ctx, secret, o.Tasks); err != nil {
			return Team{}, fmt.Errorf("%s: %w", secret.Name, err)
		}
	}
	return team, nil
}

// clientID gives an application the same client id at every start.
func clientID(name string) string {
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(name+".sandbox.twokey")).String()
}

// seedBot registers the bot's own application, which signs in with tokens of
// its IAM role and needs no secret.
func (s *Sandbox) seedBot() (Bot, error) {
	ids := s.Entra.AddApplication(entra.NewApplication{
		Name: "twokey", Client: clientID("twokey"), Created: s.Clock.Now().Add(-900 * day),
		Roles: []string{"Application.ReadWrite.OwnedBy", "User.Read.All", "Policy.Read.All", "AuditLog.Read.All"},
	})
	bot := Bot{ClientID: ids.Client, Principal: ids.Principal, Role: "arn:aws:iam::" + account + ":role/" + botRole}
	if err := s.AWS.SeedRole(aws.Role{Name: botRole, Policies: map[string]json.RawMessage{"twokey": allow(
		[]string{"ssm:*", "ecs:*", "sts:GetWebIdentityToken", "cloudtrail:LookupEvents", "iam:SimulatePrincipalPolicy", "iam:ListRoles", "acm:ListCertificates", "acm:DescribeCertificate"}, "*")}}); err != nil {
		return Bot{}, err
	}
	s.AWS.SeedIdentity(accessKey, aws.Identity{Role: botRole, Session: "sandbox"})
	keys, err := publicKeys(s.AWS.JWKS())
	if err != nil {
		return Bot{}, err
	}
	s.Entra.TrustIssuer(s.AWS.Issuer(), keys...)
	return bot, s.Entra.AddFederatedCredential(ids.Client, entra.Federated{
		Name: "aws", Issuer: s.AWS.Issuer(), Subject: bot.Role, Audiences: []string{audience},
	})
}

// publicKeys reads the RSA keys of a key set, the only kind that Entra takes.
func publicKeys(set map[string]any) ([]any, error) {
	b, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encode the issuer's keys: %w", err)
	}
	var published struct {
		Keys []struct{ Kty, N, E string }
	}
	if err := json.Unmarshal(b, &published); err != nil {
		return nil, fmt.Errorf("read the issuer's keys: %w", err)
	}
	var keys []any
	for _, k := range published.Keys {
		if k.Kty != "RSA" {
			continue
		}
		n, err := base64.RawURLEncoding.DecodeString(k.N)
		if err != nil {
			return nil, fmt.Errorf("read a key's modulus: %w", err)
		}
		e, err := base64.RawURLEncoding.DecodeString(k.E)
		if err != nil {
			return nil, fmt.Errorf("read a key's exponent: %w", err)
		}
		keys = append(keys, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())})
	}
	return keys, nil
}

// seedPeople adds everybody to Slack and, but for the stranger, to Entra.
func (s *Sandbox) seedPeople() []Person {
	const domain = "@contoso.example"
	accounts := []struct {
		user  slack.User
		entra string // whose identity; empty: none here
		about string
	}{
		{slack.User{ID: "U0ALICE001", Name: "alice", RealName: "Alice Jansen"}, "alice", "asks; in the requesters' group"},
		{slack.User{ID: "U0BOB00001", Name: "bob", RealName: "Bob Okafor"}, "bob", "in both groups"},
		{slack.User{ID: "U0CAROL001", Name: "carol", RealName: "Carol Lindt"}, "carol", "in both groups"},
		{slack.User{ID: "U0DAVE0001", Name: "dave", RealName: "Dave Moreau"}, "dave", "full member in no group"},
		{slack.User{ID: "U0ALICE002", Name: "alice.admin", RealName: "Alice Jansen (admin)"}, "alice", "alice's second account"},
		{slack.User{ID: "U0ERIN0001", Name: "erin", RealName: "Erin Novak", Deleted: true}, "erin", "deactivated"},
		{slack.User{ID: "U0GINA0001", Name: "gina", RealName: "Gina Guest", Restricted: true}, "gina", "guest"},
		{slack.User{ID: "U0STAN0001", Name: "stan", RealName: "Stan Stranger", TeamID: "T0VENDOR001"}, "", "stranger from another workspace"},
	}
	var people []Person
	for _, a := range accounts {
		p := Person{Name: a.user.Name, Email: a.user.Name + domain, About: a.about}
		if a.entra == "" {
			p.Email = a.user.Name + "@vendor.example"
		} else {
			// One identity has a mail address and a sign-in name; a second account
			// of the same person is known by the latter.
			p.Entra = s.Entra.AddUser(entra.User{
				ID: clientID("person " + a.entra), Name: a.entra, Mail: a.entra + domain, UserPrincipalName: a.entra + ".admin" + domain,
				Enabled: !a.user.Deleted, Guest: a.user.Restricted,
			})
		}
		a.user.Email, a.user.TZ = p.Email, "Europe/Berlin"
		p.Slack = s.Slack.AddUser(a.user).ID
		people = append(people, p)
	}
	return people
}

func (s *Sandbox) seedChannels() error {
	members := []string{"alice", "bob", "carol", "dave", "alice.admin"}
	for _, g := range []slack.Group{
		{ID: ApproversGroup, Handle: "approvers", Name: "Approvers", Users: []string{"bob", "carol"}},
		{ID: RequestersGroup, Handle: "requesters", Name: "Requesters", Users: []string{"alice", "bob", "carol"}},
	} {
		if _, err := s.Slack.AddGroup(g); err != nil {
			return fmt.Errorf("add the group %s: %w", g.Handle, err)
		}
	}
	for _, c := range []slack.Channel{
		{ID: OperationsChannel, Name: "platform-ops", Members: append(members, "gina")},
		{ID: GeneralChannel, Name: "general", General: true, Members: members},
		{ID: SharedChannel, Name: "shared-with-vendor", ExtShared: true, Members: append(members, "stan")},
	} {
		if _, err := s.Slack.AddChannel(c); err != nil {
			return fmt.Errorf("add the channel %s: %w", c.Name, err)
		}
	}
	return nil
}

// seedSecret registers an application with a key and puts both into parameters,
// on the day when the key was made.
func (s *Sandbox) seedSecret(k kept, bot Bot) (Secret, error) {
	name := secretName(k.server, k.environment)
	expires := s.Clock.Now().Add(k.left).Truncate(time.Second)
	made := expires.AddDate(-2, 0, 0)
	ids := s.Entra.AddApplication(entra.NewApplication{Name: "aiconnectors-" + k.server + "-" + k.environment, Client: clientID(name), Created: made.Add(-time.Hour)})
	if err := s.Entra.AddOwner(ids.Client, bot.Principal); err != nil {
		return Secret{}, err
	}
	key, err := s.Entra.AddPassword(ids.Client, entra.NewPassword{Name: "portal " + made.Format(time.DateOnly), Start: made, End: expires})
	if err != nil {
		return Secret{}, err
	}
	path := "/aiconnectors/" + k.environment + "/" + k.server
	secret := Secret{
		Name: name, Server: k.server, Environment: k.environment, ClientID: ids.Client, ObjectID: ids.Object,
		ClientIDParameter: path + "/client_id", SecretParameter: path + "/client_secret",
		Cluster: "aiconnectors-" + k.environment, Service: k.server, Expires: expires,
	}
	return secret, s.at(made, func() error {
		if err := s.AWS.SeedParameter(aws.Parameter{Name: secret.ClientIDParameter, Value: ids.Client}); err != nil {
			return err
		}
		return s.AWS.SeedParameter(aws.Parameter{Name: secret.SecretParameter, Value: key.Secret})
	})
}

// seedCertificates adds one certificate that ACM renews by itself, and one that
// somebody imported and has to renew.
func (s *Sandbox) seedCertificates() error {
	balancer := "arn:aws:elasticloadbalancing:" + region + ":" + account + ":loadbalancer/app/mcp/50dc6c495c0c9188"
	now := s.Clock.Now().Truncate(time.Second)
	for _, c := range []aws.Certificate{
		{ID: clientID("managed certificate"), Domain: "mcp.contoso.example", Start: now.Add(-195 * day), End: now.Add(200 * day), InUseBy: []string{balancer}},
		{ID: clientID("imported certificate"), Domain: "legacy.contoso.example", Imported: true, Start: now.Add(-305 * day), End: now.Add(60 * day), InUseBy: []string{balancer}},
	} {
		if _, err := s.AWS.SeedCertificate(c); err != nil {
			return fmt.Errorf("add the certificate of %s: %w", c.Domain, err)
		}
	}
	return nil
}

// at does something in the sandbox's past.
func (s *Sandbox) at(then time.Time, do func() error) error {
	back := s.Clock.Now().Sub(then)
	s.Clock.Advance(-back)
	defer s.Clock.Advance(back)
	return do()
}

// allow is a policy document with one statement.
func allow(actions []string, resource string) json.RawMessage {
	return document(map[string]any{
		"Version":   "2012-10-17",
		"Statement": []any{map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource}},
	})
}

// document encodes what AWS takes as JSON.
func document(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("sandbox: a document cannot be encoded: " + err.Error()) // it is made of maps and texts
	}
	return b
}

// seedService puts the MCP server behind the load balancer and starts its tasks.
func (s *Sandbox) seedService(ctx context.Context, secret Secret, tasks int) error {
	s.MCP.AddService(mcp.Service{Environment: secret.Environment, Server: secret.Server, Cluster: secret.Cluster, Service: secret.Service})
	parameters := "arn:aws:ssm:" + region + ":" + account + ":parameter"
	family := secret.Cluster + "-" + secret.Service
	execution := family + "-execution"
	if err := s.AWS.SeedRole(aws.Role{Name: execution, Policies: map[string]json.RawMessage{"secrets": allow(
		[]string{"ssm:GetParameters"}, parameters+"/aiconnectors/"+secret.Environment+"/"+secret.Server+"/*")}}); err != nil {
		return err
	}
	return s.AWS.SeedService(ctx, aws.Service{
		Cluster: secret.Cluster, Name: secret.Service, Desired: tasks, CircuitBreaker: true, Rollback: true,
		TaskDefinition: document(map[string]any{
			"family": family, "executionRoleArn": "arn:aws:iam::" + account + ":role/" + execution,
			"networkMode": "awsvpc", "requiresCompatibilities": []string{"FARGATE"}, "cpu": "256", "memory": "512",
			"containerDefinitions": []any{map[string]any{
				"name": secret.Server + "-mcp", "image": "registry.contoso.example/mcp/" + secret.Server + ":1.4.2", "essential": true,
				"environment": []any{map[string]string{"name": mcp.TenantVariable, "value": tenant}},
				"secrets": []any{
					map[string]string{"name": mcp.ClientIDVariable, "valueFrom": parameters + secret.ClientIDParameter},
					map[string]string{"name": mcp.ClientSecretVariable, "valueFrom": parameters + secret.SecretParameter},
				},
				"healthCheck": map[string]any{"command": []string{"CMD-SHELL", "curl -f http://localhost:8080/health || exit 1"}},
			}},
		}),
	})
}
