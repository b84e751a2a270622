package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// configFile is the shape of the file; every key that exists is here.
type configFile struct {
	Database   source              `yaml:"database"`
	Plans      strict.Text         `yaml:"terraform_plans"`
	Listen     strict.Text         `yaml:"listen"`
	Slack      slackSection        `yaml:"slack"`
	Approvers  strict.Text         `yaml:"approvers"`
	Requesters strict.Text         `yaml:"requesters"`
	Entra      entraSection        `yaml:"entra"`
	AWS        awsSection          `yaml:"aws"`
	Record     recordSection       `yaml:"record"`
	Emergency  emergencySection    `yaml:"emergency"`
	Factor     secondFactorSection `yaml:"second_factor"`
	Reminders  remindersSection    `yaml:"reminders"`
	Digest     taskSection         `yaml:"digest"`
	Sweeps     taskSection         `yaml:"sweeps"`
	Checks     policySection       `yaml:"policy"`
	ACM        acmSection          `yaml:"certificates"`
	TLS        tlsSection          `yaml:"tls"`
	ServiceNow serviceNowSection   `yaml:"servicenow"`
	Defaults   settings            `yaml:"defaults"`
	Secrets    []secretsSection    `yaml:"secrets"`
}

type slackSection struct {
	At                strict.Position
	AppToken          source      `yaml:"app_token"`
	BotToken          source      `yaml:"bot_token"`
	APIURL            strict.Text `yaml:"api_url"`
	OperationsChannel strict.Text `yaml:"operations_channel"`
}

type entraSection struct {
	At         strict.Position
	Tenant     strict.Text `yaml:"tenant"`
	ClientID   strict.Text `yaml:"client_id"`
	Credential source      `yaml:"credential"`
	LoginURL   strict.Text `yaml:"login_url"`
	GraphURL   strict.Text `yaml:"graph_url"`
	CAFile     strict.Text `yaml:"ca_file"`
}

type awsSection struct {
	At          strict.Position
	Region      strict.Text `yaml:"region"`
	EndpointURL strict.Text `yaml:"endpoint_url"`
}

type recordSection struct {
	KeyFile strict.Text `yaml:"key_file"`
	Key     source      `yaml:"key"`
	Origin  strict.Text `yaml:"origin"`
}

// emergencySection is about /emergency-disable: whom it pages above the approvers,
// and the channel that an incident gets.
type emergencySection struct {
	At         strict.Position
	Escalation strict.Text   `yaml:"escalation"`
	Responders strict.Text   `yaml:"responders"`
	Invite     []strict.Text `yaml:"invite"`
	Channel    strict.Text   `yaml:"channel"`
	Private    strict.Text   `yaml:"private"`
	Runbook    strict.Text   `yaml:"runbook"`
}

// source says where a secret text comes from. Bare is for those who put the text
// itself into the file; only the database's address may stand there.
type source struct {
	At   strict.Position
	Bare strict.Text `yaml:",scalar"`
	Env  strict.Text `yaml:"env"`
	File strict.Text `yaml:"file"`
}

// awsWebIdentity is the credential that needs no secret, and the default.
const awsWebIdentity = "aws web identity"

// configReader turns the file's shape into a Config and collects what is wrong.
// No mistake quotes a value: secrets end up in wrong places.
type configReader struct {
	getenv   func(string) string
	readFile fileReader
	mistakes []strict.Mistake
	absent   map[absence][]operation.SecretName
}

func (r *configReader) mistake(at strict.Position, format string, args ...any) {
	if at.Line == 0 {
		at = strict.Position{Line: 1, Column: 1} // nothing of it is in the file: the file itself is where it is missing
	}
	r.mistakes = append(r.mistakes, strict.Mistake{At: at, Text: fmt.Sprintf(format, args...)})
}

// config reads the sections in the order of the file's shape. It goes on after a
// mistake: all of them are told at once.
func (r *configReader) config(f *configFile) *Config {
	c := &Config{
		Database: r.database(f.Database),
		Plans:    f.Plans.Or("twokey-plans"),
		Listen:   r.listen(f.Listen),
		Slack:    r.slack(f.Slack),
		Entra:    r.entra(f.Entra),
		AWS:      r.aws(f.AWS),
		Record:   r.record(f.Record),
	}
	if !f.Approvers.IsSet() {
		r.mistake(strict.Position{}, "approvers is missing: without a user group whose members may confirm, nothing can ever be confirmed, so nothing starts; add approvers: S…, the group's id")
	}
	c.Approvers = r.group(f.Approvers, "approvers")
	c.Requesters = r.group(f.Requesters, "requesters")
	c.Escalation = r.group(f.Emergency.Escalation, "emergency.escalation")
	c.Room = r.room(f.Emergency)
	c.Reminders = r.reminders(f.Reminders, c)
	c.Digest = r.task(f.Digest, "digest", defaultDigest, c)
	c.Sweeps = r.task(f.Sweeps, "sweeps", defaultSweep, c)
	c.Checks = r.policy(f.Checks, c)
	c.Targets = r.targets(f, c)
	c.Authenticators = r.secondFactor(f.Factor, c.Targets)
	c.Regions = r.regions(f.ACM)
	c.TLS = r.tls(f.TLS, c.Targets)
	c.ServiceNow = r.serviceNow(f.ServiceNow)
	return c
}

// room reads how an incident's channel is made.
func (r *configReader) room(s emergencySection) runbook.RoomPolicy {
	p := runbook.RoomPolicy{Private: r.yes(s.Private, "emergency.private"), Group: r.group(s.Responders, "emergency.responders")}
	if s.Channel.IsSet() {
		r.shape(s.Channel, s.At, "emergency.channel", `[CG][A-Z0-9]{2,}`, "the id of the channel that all incidents are told in, which begins with C")
		p.Channel = operation.ChannelID(s.Channel.Value)
	}
	for _, user := range s.Invite {
		r.shape(user, s.At, "emergency.invite", `[UW][A-Z0-9]{2,}`, "a person's member id, which begins with U (in Slack: the profile's ⋮ menu, Copy member ID)")
		p.Invite = append(p.Invite, operation.UserID(user.Value))
	}
	if s.Runbook.IsSet() {
		p.Runbook = r.secureURL(s.Runbook, "emergency.runbook", "")
	}
	return p
}

// yes reads true or false; left out is false.
func (r *configReader) yes(t strict.Text, key string) bool {
	if t.IsSet() && t.Value != "true" && t.Value != "false" {
		r.mistake(t.At, "%s must be true or false", key)
	}
	return t.Value == "true"
}

func (r *configReader) slack(s slackSection) SlackConfig {
	c := SlackConfig{
		AppToken: r.token(s.AppToken, s.At, "slack.app_token", "SLACK_APP_TOKEN", "xapp-"),
		BotToken: r.token(s.BotToken, s.At, "slack.bot_token", "SLACK_BOT_TOKEN", "xoxb-"),
		APIURL:   r.secureURL(s.APIURL, "slack.api_url", "https://slack.com/api/") + "/",
	}
	switch {
	case !s.OperationsChannel.IsSet():
		r.mistake(s.At, "slack.operations_channel is missing; add operations_channel: C…, the id of the channel where requests are confirmed (in Slack: the channel's details, at the bottom)")
	default:
		c.OperationsChannel = r.channel(s.OperationsChannel, "slack.operations_channel")
	}
	return c
}

// channel checks a channel's id; empty where the file has none.
func (r *configReader) channel(t strict.Text, key string) operation.ChannelID {
	if t.IsSet() && !regexp.MustCompile(`^[CG][A-Z0-9]{2,}$`).MatchString(t.Value) {
		r.mistake(t.At, "%s must be a channel's id, which begins with C, and not its name (in Slack: the channel's details, at the bottom)", key)
	}
	return operation.ChannelID(t.Value)
}

// group checks a user group's id. Names can be given to another group; ids cannot.
func (r *configReader) group(t strict.Text, key string) operation.GroupID {
	if t.IsSet() && !regexp.MustCompile(`^S[A-Z0-9]{2,}$`).MatchString(t.Value) {
		r.mistake(t.At, "%s must be a user group's id, which begins with S, and not its name (in Slack: the group's ⋮ menu, Copy group ID)", key)
	}
	return operation.GroupID(t.Value)
}

func (r *configReader) entra(s entraSection) EntraConfig {
	c := EntraConfig{
		Tenant:   s.Tenant.Value,
		ClientID: s.ClientID.Value,
		LoginURL: r.secureURL(s.LoginURL, "entra.login_url", "https://login.microsoftonline.com"),
		GraphURL: r.secureURL(s.GraphURL, "entra.graph_url", "https://graph.microsoft.com"),
		CAFile:   r.caFile(s.CAFile, "entra.ca_file"),
	}
	guid := `[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`
	r.shape(s.Tenant, s.At, "entra.tenant", `(`+guid+`|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)`, "the directory's id or domain, such as contoso.onmicrosoft.com")
	r.shape(s.ClientID, s.At, "entra.client_id", guid, "the application (client) id of the bot's own app registration, 32 digits in five groups")
	if s.Credential.At.Line > 0 && s.Credential.Bare.Value != awsWebIdentity {
		c.Secret = r.secret(s.Credential, s.At, "entra.credential", "ENTRA_CLIENT_SECRET")
	}
	return c
}

// aws takes the region from the environment where the file has none, as AWS's own
// programs do: on ECS it is set.
func (r *configReader) aws(s awsSection) AWSConfig {
	c := AWSConfig{Region: s.Region.Value}
	if !s.Region.IsSet() {
		c.Region = r.getenv("AWS_REGION")
	}
	if c.Region == "" {
		r.mistake(s.At, "aws.region is missing; add region: eu-central-1, or set the environment variable AWS_REGION")
	} else if !isRegion(c.Region) {
		r.mistake(s.Region.At, "aws.region must be an AWS region, such as eu-central-1")
	}
	if s.EndpointURL.IsSet() {
		c.EndpointURL = r.secureURL(s.EndpointURL, "aws.endpoint_url", "")
	}
	return c
}

func (r *configReader) record(s recordSection) RecordConfig {
	c := RecordConfig{KeyFile: s.KeyFile.Or("twokey.record.key"), Origin: s.Origin.Or("twokey")}
	if s.Key.At.Line > 0 {
		if s.KeyFile.IsSet() {
			r.mistake(s.KeyFile.At, "record has both key_file and key; keep key_file for a key that lies in a file, or key: {env: RECORD_KEY} for one that does not")
		}
		c.KeyFile, c.Key = "", r.secret(s.Key, s.Key.At, "record.key", "RECORD_KEY")
	}
	if s.Origin.IsSet() {
		// What golang.org/x/mod/sumdb/note takes as a signer's name, narrowed to what a URL takes.
		r.shape(s.Origin, s.Origin.At, "record.origin", `[A-Za-z0-9._/-]+`, "the record's name, such as twokey.example.com/record: letters, digits, dots, dashes and slashes")
	}
	return c
}

// shape checks a text that must be there against a whole-text pattern.
func (r *configReader) shape(t strict.Text, parent strict.Position, key, pattern, what string) {
	switch {
	case !t.IsSet():
		r.mistake(parent, "%s is missing; add %s: %s", key, last(key), what)
	case !regexp.MustCompile(`^(` + pattern + `)$`).MatchString(t.Value):
		r.mistake(t.At, "%s must be %s", key, what)
	}
}

func (r *configReader) listen(t strict.Text) string {
	address := t.Or("127.0.0.1:8080")
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		r.mistake(t.At, "listen must be host:port, such as 127.0.0.1:8080 or :8080")
	}
	return address
}

// database is the one secret text that may stand in the file, since most addresses
// carry no password.
func (r *configReader) database(s source) operation.Secret {
	address := s.Bare.Value
	switch {
	case s.At.Line == 0:
		return operation.NewSecret("sqlite:twokey.db")
	case !s.Bare.IsSet():
		address = r.secret(s, s.At, "database", "DATABASE_URL").Reveal()
		if address == "" {
			return operation.Secret{} // told already
		}
	}
	file, isFile := strings.CutPrefix(address, "sqlite:")
	u, err := url.Parse(address)
	isPostgres := err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
	if !isPostgres && (!isFile || file == "") {
		r.mistake(s.At, "database must be sqlite: with a file, such as sqlite:twokey.db, or a postgres:// address")
	}
	return operation.NewSecret(address)
}

// token reads one of Slack's tokens and tells the two kinds apart.
func (r *configReader) token(s source, parent strict.Position, key, variable, prefix string) operation.Secret {
	secret := r.secret(s, parent, key, variable)
	if !secret.IsZero() && !strings.HasPrefix(secret.Reveal(), prefix) {
		r.mistake(s.At, "%s must begin with %s; what is there begins with something else, so it is probably another token", key, prefix)
	}
	return secret
}

// secret reads a secret text from where s says. A zero Secret has been told as a mistake.
func (r *configReader) secret(s source, parent strict.Position, key, variable string) operation.Secret {
	switch {
	case s.At.Line == 0:
		r.mistake(parent, "%s is missing; add %s: {env: %s} or %s: {file: /run/secrets/%s}", key, last(key), variable, last(key), last(key))
	case s.Bare.IsSet():
		r.mistake(s.At, "%s must not stand in this file, where everybody can read it; write {env: %s} or {file: /run/secrets/%s}", key, variable, last(key))
	case s.Env.IsSet() == s.File.IsSet():
		r.mistake(s.At, "%s needs either env or file, and exactly one of them", key)
	case s.Env.IsSet():
		return r.fromEnvironment(s.Env, key)
	default:
		return r.fromFile(s.File, key)
	}
	return operation.Secret{}
}

// fromEnvironment names the variable in its mistake only once it has the shape of a
// name: a token that was written in its place has not.
func (r *configReader) fromEnvironment(t strict.Text, key string) operation.Secret {
	if !isVariable(t.Value) {
		r.mistake(t.At, "%s: env takes the name of an environment variable, not the text itself", key)
		return operation.Secret{}
	}
	text := strings.TrimSpace(r.getenv(t.Value))
	if text == "" {
		r.mistake(t.At, "%s: the environment variable %s is not set", key, t.Value)
	}
	return operation.NewSecret(text)
}

// maxToken bounds what is read from a token file, in bytes.
const maxToken = 64 << 10

func (r *configReader) fromFile(t strict.Text, key string) operation.Secret {
	b, err := r.readFile(t.Value, maxToken)
	if err != nil {
		r.mistake(t.At, "%s: the file cannot be read: %s", key, withoutPath(err))
		return operation.Secret{}
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		r.mistake(t.At, "%s: the file is empty", key)
	}
	return operation.NewSecret(text)
}

// withoutPath leaves the path out of an error: somebody may have written the
// secret where the path belongs.
func withoutPath(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// caFile looks into the file, because a wrong one shows up much later as a TLS error.
func (r *configReader) caFile(t strict.Text, key string) string {
	if !t.IsSet() {
		return ""
	}
	b, err := r.readFile(t.Value, maxConfig)
	if err != nil {
		r.mistake(t.At, "%s cannot be read: %s", key, withoutPath(err))
	} else if !x509.NewCertPool().AppendCertsFromPEM(b) {
		r.mistake(t.At, "%s holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----", key)
	}
	return t.Value
}

// secureURL checks an address that secrets are sent to, and returns it without a
// slash at its end. Plain http is for this machine only.
func (r *configReader) secureURL(t strict.Text, key, fallback string) string {
	address := t.Or(fallback)
	u := r.url(t, key, address)
	if u != nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		r.mistake(t.At, "%s must be https, since secrets are sent there; http is taken for this machine only", key)
	}
	return strings.TrimRight(address, "/")
}

// url parses an address, and returns nil when it has told a mistake.
func (r *configReader) url(t strict.Text, key, address string) *url.URL {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		r.mistake(t.At, "%s must be an address that begins with https:// (or http://)", key)
	case u.User != nil:
		r.mistake(t.At, "%s must not contain a user name or password; remove what stands before the @", key)
	default:
		return u
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// last returns the key itself of a path such as "slack.app_token".
func last(path string) string { return path[strings.LastIndex(path, ".")+1:] }

func isRegion(name string) bool {
	return regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`).MatchString(name)
}

// isVariable reports whether name can be an environment variable's.
func isVariable(name string) bool {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name)
}
