package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/twokey/twokey/sandbox/servicenow"
)

// The files that clients of a sandbox need.
const (
	ConfigFile      = "twokey.yml"          // of the bot
	CAFile          = "sandbox-ca.pem"      // trusted for Entra
	EndpointCAFile  = "endpoint-ca.pem"     // believed of the TLS endpoint
	AppTokenFile    = "slack-app-token"     // xapp-…
	BotTokenFile    = "slack-bot-token"     // xoxb-…
	ServiceNowFile  = "servicenow-password" // of the user twokey.bot
	EnvironmentFile = "sandbox.environment" // to source in a shell
	databaseFile    = "twokey.db"           // the bot makes it
	RecordKeyFile   = "twokey.record.key"   // the bot makes it
	RecordOrigin    = "sandbox.twokey"      // first line of its checkpoints
)

// config is the bot's configuration for a sandbox: an ordinary one, with other
// addresses in it.
const config = `# The configuration of a bot that lives in the sandbox.
database: "sqlite:$DIR/` + databaseFile + `"
terraform_plans: "$DIR/plans"
listen: 127.0.0.1:0
slack:
  app_token: {file: "$DIR/` + AppTokenFile + `"}
  bot_token: {file: "$DIR/` + BotTokenFile + `"}
  operations_channel: ` + OperationsChannel + `
  api_url: $URL/slack/api/
approvers: ` + ApproversGroup + `
requesters: ` + RequestersGroup + `
entra:
  tenant: $TENANT
  client_id: $CLIENT_ID
  login_url: $ENTRA_URL
  graph_url: $ENTRA_URL
  ca_file: "$DIR/` + CAFile + `"
aws:
  region: ` + region + `
  endpoint_url: $URL/aws
record:
  key_file: "$DIR/` + RecordKeyFile + `"
  origin: ` + RecordOrigin + `
certificates:
  regions: [` + region + `]
tls:
  hosts: ["$ENDPOINT"]
  ca_file: "$DIR/` + EndpointCAFile + `"
reminders:
  schedules: [{cron: "0 9 * * *", zone: Europe/Berlin}]
defaults:
  owner: {name: Platform team}
secrets:
  - servers: [sharepoint, github, jira, confluence]
    environments: [dev, prod]
    client_id: /aiconnectors/{env}/{mcp}/client_id
    client_secret: /aiconnectors/{env}/{mcp}/client_secret
    ecs: {cluster: "aiconnectors-{env}", service: "{mcp}", variable: CLIENT_SECRET}
    mcp:
      url: "$URL/mcp/{env}/{mcp}"
      health: "$URL/mcp/{env}/{mcp}/health"
    per_server:
      sharepoint: {mcp: {tool: search_documents, arguments: {query: onboarding}, expect: Onboarding guide}}
      github: {mcp: {tool: search_repositories, arguments: {query: connectors}, expect: platform/connectors}}
      jira: {mcp: {tool: search_issues, arguments: {query: rotate}, expect: OPS-101}}
      confluence: {mcp: {tool: search_pages, arguments: {query: runbook}, expect: rotate a client secret}}
`

// ConfigYAML is the configuration of a bot that lives in this sandbox, with the
// files that [Sandbox.WriteFiles] writes into dir.
func (s *Sandbox) ConfigYAML(dir string) string {
	values := map[string]string{
		"DIR": filepath.ToSlash(dir), "URL": s.url, "ENTRA_URL": s.tlsURL, "TENANT": s.Team.Tenant, "CLIENT_ID": s.Team.Bot.ClientID,
		"ENDPOINT": s.Endpoint.Address(),
	}
	text := os.Expand(config, func(name string) string { return values[name] })
	var more []string
	for _, secret := range s.Team.Secrets {
		if strings.HasPrefix(secret.Server, moreServers) {
			more = append(more, secret.Server)
		}
	}
	if len(more) == 0 {
		return text
	}
	return text + fmt.Sprintf(`  - servers: [%s]
    environments: [prod]
    client_id: /aiconnectors/{env}/{mcp}/client_id
    client_secret: /aiconnectors/{env}/{mcp}/client_secret
    ecs: {cluster: "aiconnectors-{env}", service: "{mcp}", variable: CLIENT_SECRET}
    mcp: {url: "%[2]s/mcp/{env}/{mcp}", health: "%[2]s/mcp/{env}/{mcp}/health", tool: search, arguments: {query: home}, expect: connector}
`, strings.Join(more, ", "), s.url)
}

// ServiceNowYAML is what the configuration has in addition where changes are managed in
// the sandbox's ServiceNow, with the file that [Sandbox.WriteFiles] writes into dir.
func (s *Sandbox) ServiceNowYAML(dir string) string {
	return fmt.Sprintf("servicenow: {url: %q, user: %s, password: {file: %q}}\n", s.url+"/servicenow", servicenow.User, filepath.ToSlash(filepath.Join(dir, ServiceNowFile)))
}

// Environ points other clients at this sandbox, as NAME=value: the AWS command
// and SDKs, Slack's clients, whatever reads SSL_CERT_FILE. The bot itself needs
// only the AWS credentials of it. The files are those of [Sandbox.WriteFiles].
func (s *Sandbox) Environ(dir string) []string {
	ca := filepath.Join(dir, CAFile)
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey,
		"AWS_SECRET_ACCESS_KEY=" + accessSecret,
		"AWS_EC2_METADATA_DISABLED=true", // nobody is to be asked but the sandbox
		"AWS_REGION=" + region,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_ENDPOINT_URL=" + s.url + "/aws",
		"SLACK_API_URL=" + s.url + "/slack/api/",
		"SLACK_APP_TOKEN=" + s.Slack.AppToken(),
		"SLACK_BOT_TOKEN=" + s.Slack.BotToken(),
		"AZURE_TENANT_ID=" + tenant,
		"AZURE_AUTHORITY_HOST=" + s.tlsURL,
		"SSL_CERT_FILE=" + ca,
		"NODE_EXTRA_CA_CERTS=" + ca,
		"SANDBOX=" + s.url, // as the examples in README.md call it
	}
}

// WriteFiles writes the configuration and all that it names into dir, for nobody
// else to read, and returns the configuration's path. The directory is made when
// it is missing; files of an earlier sandbox are replaced.
func (s *Sandbox) WriteFiles(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the directory of the sandbox's files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of the sandbox's files: %w", err)
	}
	environment := "export " + strings.Join(s.Environ(dir), "\nexport ") + "\n"
	for name, text := range map[string]string{
		ConfigFile: s.ConfigYAML(dir), CAFile: string(s.ca), EndpointCAFile: string(s.Endpoint.CA()), EnvironmentFile: environment,
		AppTokenFile: s.Slack.AppToken() + "\n", BotTokenFile: s.Slack.BotToken() + "\n", ServiceNowFile: s.ServiceNow.Password + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write the sandbox's files: %w", err)
		}
	}
	return filepath.Join(dir, ConfigFile), nil
}
