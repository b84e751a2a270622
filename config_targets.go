package main

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twokey/twokey/internal/near"
	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// settings is what can be said of a secret, and overridden nearer to it.
type settings struct {
	ClientID        strict.Text  `yaml:"client_id"`     // SSM parameter
	ClientSecret    strict.Text  `yaml:"client_secret"` // SSM parameter
	KMSKey          strict.Text  `yaml:"kms_key"`
	ECS             ecsSection   `yaml:"ecs"`
	MCP             mcpSection   `yaml:"mcp"`
	Lifetime        strict.Text  `yaml:"lifetime"`
	Overlap         strict.Text  `yaml:"overlap"`
	Lapse           strict.Text  `yaml:"lapse"`
	ChangeReference strict.Text  `yaml:"change_reference"`
	Owner           ownerSection `yaml:"owner"`
	Canary          strict.Text  `yaml:"canary"` // true: drills are held with it

	Method    strict.Text      `yaml:"method"` // of a rotation: graph or terragrunt
	Terraform terraformSection `yaml:"terraform"`
}

type ecsSection struct {
	Cluster  strict.Text `yaml:"cluster"`
	Service  strict.Text `yaml:"service"`
	Variable strict.Text `yaml:"variable"`
}

// terraformSection is where a secret is written down as code.
type terraformSection struct {
	Directory   strict.Text `yaml:"directory"`
	Program     strict.Text `yaml:"program"`
	AllowRevert strict.Text `yaml:"allow_revert"`
	Replace     strict.Text `yaml:"replace"`
}

type mcpSection struct {
	URL       strict.Text `yaml:"url"`
	Health    strict.Text `yaml:"health"`
	Tool      strict.Text `yaml:"tool"`
	Arguments strict.Tree `yaml:"arguments"`
	Expect    strict.Text `yaml:"expect"`
}

// override is settings together with who may ask and confirm, which have their
// defaults at the top of the file.
type override struct {
	settings   `yaml:",inline"`
	Approvers  strict.Text `yaml:"approvers"`
	Requesters strict.Text `yaml:"requesters"`
}

// section is an override that stands under a name.
type section struct {
	At       strict.Position
	override `yaml:",inline"`
}

// secretsSection describes servers × environments secrets at once. What is said
// nearer to one secret wins: per_secret over per_server over per_environment.
type secretsSection struct {
	section        `yaml:",inline"`
	Servers        []strict.Text      `yaml:"servers"`
	Environments   []strict.Text      `yaml:"environments"`
	PerEnvironment map[string]section `yaml:"per_environment"`
	PerServer      map[string]section `yaml:"per_server"`
	PerSecret      map[string]section `yaml:"per_secret"` // "sharepoint/prod"
}

// texts lists every scalar of an override, always in the same order.
func (o *override) texts() []*strict.Text {
	return []*strict.Text{
		&o.ClientID, &o.ClientSecret, &o.KMSKey, &o.ECS.Cluster, &o.ECS.Service, &o.ECS.Variable,
		&o.MCP.URL, &o.MCP.Health, &o.MCP.Tool, &o.MCP.Expect,
		&o.Lifetime, &o.Overlap, &o.Lapse, &o.ChangeReference, &o.Canary, &o.Approvers, &o.Requesters,
		&o.Owner.Name, &o.Owner.Channel, &o.Owner.Escalation,
		&o.Terraform.Directory, &o.Terraform.Program, &o.Terraform.AllowRevert, &o.Terraform.Replace, &o.Method,
	}
}

// with returns o with what over says laid over it.
func (o override) with(over override) override {
	mine := o.texts()
	for i, t := range over.texts() {
		if t.IsSet() {
			*mine[i] = *t
		}
	}
	if over.MCP.Arguments.At.Line > 0 {
		o.MCP.Arguments = over.MCP.Arguments
	}
	return o
}

// absence is a key that is missing, told once for all secrets that miss it.
type absence struct {
	at  strict.Position
	key string
	add string // what to write
}

// tellAbsent makes one mistake of each absence.
func (r *configReader) tellAbsent() {
	for a, names := range r.absent {
		who := string(names[0])
		if n := len(names) - 1; n > 0 {
			who += " and " + count(n, "other secret")
		}
		r.mistake(a.at, "%s is missing for %s; add %s", a.key, who, a.add)
	}
}

// targets expands every entry under secrets. Two secrets of one name would be one
// lock for two operations, so that is refused like two in one parameter.
func (r *configReader) targets(f *configFile, c *Config) []runbook.Target {
	if len(f.Secrets) == 0 {
		r.mistake(strict.Position{}, "secrets is missing: there is nothing to rotate; add it as in twokey.example.yml")
	}
	var all []runbook.Target
	seen := map[operation.SecretName]bool{}
	uses := map[string]use{}
	for _, s := range f.Secrets {
		if s.At.Line == 0 {
			continue // an empty entry, told by the decoder
		}
		servers := r.names(s.Servers, s.At, "servers", "[sharepoint, github]")
		environments := r.names(s.Environments, s.At, "environments", "[dev, prod]")
		r.overridden(s, servers, environments)
		for _, server := range servers {
			for _, env := range environments {
				p := &pattern{configReader: r, at: s.At, name: operation.SecretName(server + "/" + env), server: server, env: env}
				if seen[p.name] {
					r.mistake(s.At, "%s is described twice; remove it from one of the entries under secrets", p.name)
					continue
				}
				seen[p.name] = true
				// From the farthest to the nearest: what is nearer to the secret wins.
				o := override{settings: f.Defaults}.with(s.override).with(s.PerEnvironment[env].override).with(s.PerServer[server].override).with(s.PerSecret[string(p.name)].override)
				t := p.target(o, c)
				all = append(all, t)
				r.sharing(uses, t, o)
			}
		}
	}
	return all
}

// names reads a list of servers or environments: words that people type.
func (r *configReader) names(list []strict.Text, parent strict.Position, key, example string) []string {
	var out []string
	for _, t := range list {
		switch {
		case !t.IsSet(): // told by the decoder
		case !regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`).MatchString(t.Value):
			r.mistake(t.At, "%s: a name must be of small letters, digits and dashes, as people will type it", key)
		case slices.Contains(out, t.Value):
			r.mistake(t.At, "%s: %s stands there twice; remove one", key, t.Value)
		default:
			out = append(out, t.Value)
		}
	}
	if len(list) == 0 {
		r.mistake(parent, "%s is missing; add %s: %s", key, key, example)
	}
	return out
}

// overridden checks that overrides are for things that exist.
func (r *configReader) overridden(s secretsSection, servers, environments []string) {
	var secrets []string
	for _, server := range servers {
		for _, env := range environments {
			secrets = append(secrets, server+"/"+env)
		}
	}
	check := func(key string, given map[string]section, known []string) {
		for name, o := range given {
			if !slices.Contains(known, name) {
				r.mistake(o.At, "%s has %q, which this entry does not describe; %s", key, name, near.Hint(name, known))
			}
		}
	}
	check("per_environment", s.PerEnvironment, environments)
	check("per_server", s.PerServer, servers)
	check("per_secret", s.PerSecret, secrets)
}

// use is the first secret that uses a parameter, or a variable of a service.
type use struct {
	by  runbook.Target
	key string
}

// sharing refuses two secrets in one place: rotating one would break the other.
// The pending parameter counts as a place, too: it is written during a rotation.
func (r *configReader) sharing(uses map[string]use, t runbook.Target, o override) {
	claim := func(what, key string, at strict.Position) {
		before, taken := uses[what]
		if !taken {
			uses[what] = use{t, key}
			return
		}
		switch {
		case before.key != key:
			r.mistake(at, "%s of %s is also %s of %s; each needs a parameter of its own", key, t.Name, before.key, before.by.Name)
		case slices.ContainsFunc(r.mistakes, func(m strict.Mistake) bool { return m.At == at }): // once a line is enough
		case before.by.Server != t.Server:
			r.mistake(at, "%s is the same for %s and %s; each secret needs its own: use {mcp} in it", key, before.by.Name, t.Name)
		default:
			r.mistake(at, "%s is the same for %s and %s; each secret needs its own: use {env} in it", key, before.by.Name, t.Name)
		}
	}
	if t.ClientIDParameter != "" {
		claim(t.ClientIDParameter, "client_id", o.ClientID.At)
	}
	if t.SecretParameter != "" {
		claim(t.SecretParameter, "client_secret", o.ClientSecret.At)
		claim(t.PendingParameter(), "client_secret with .pending", o.ClientSecret.At)
	}
	if t.Cluster != "" && t.Service != "" && t.Variable != "" {
		claim(strings.Join([]string{"ecs", t.Cluster, t.Service, t.Variable}, " "), "ecs.service", o.ECS.Service.At)
	}
}

// pattern fills in the settings of one secret.
type pattern struct {
	*configReader
	at          strict.Position // of the entry under secrets
	name        operation.SecretName
	server, env string
}

// Defaults of what the file need not say.
const (
	defaultKMSKey   = "aws/ssm"
	defaultLifetime = "24 months"
	defaultOverlap  = "24h"
	defaultLapse    = "15m"

	untilExpiry = "until expiry"
)

// target makes the secret that a filled-in pattern describes. Where a check fails
// the field stays empty, so that one mistake is not told a second time as another.
func (p *pattern) target(o override, c *Config) runbook.Target {
	t := runbook.Target{
		Name:              p.name,
		Server:            p.server,
		Environment:       p.env,
		ClientIDParameter: p.parameter(o.ClientID, "client_id"),
		SecretParameter:   p.parameter(o.ClientSecret, "client_secret"),
		KMSKey:            o.KMSKey.Or(defaultKMSKey),
		Cluster:           p.required(o.ECS.Cluster, "ecs.cluster", `aiconnectors-{env}`, `(arn:[a-z-]+:ecs:[a-z0-9-]+:[0-9]{12}:cluster/)?[A-Za-z0-9_-]{1,255}`, "an ECS cluster's name or ARN"),
		Service:           p.required(o.ECS.Service, "ecs.service", `"{mcp}"`, `[A-Za-z0-9_-]{1,255}`, "an ECS service's name"),
		Variable:          p.required(o.ECS.Variable, "ecs.variable", `CLIENT_SECRET`, `[A-Za-z_][A-Za-z0-9_]*`, "the environment variable that the task definition injects the secret as"),
		MCP:               p.endpoint(o.MCP),
		LifetimeMonths:    p.lifetime(o.Lifetime),

		ChangeReferencePattern: p.changeReference(o.ChangeReference),
		Owner:                  p.owner(o.Owner, "owner"),
		Policy:                 operation.Policy{Approvers: c.Approvers, Requesters: c.Requesters, Channel: c.Slack.OperationsChannel, Lapse: p.lapse(o.Lapse), Escalation: c.Escalation},
		Canary:                 p.yes(o.Canary, "canary"),
		Module:                 p.module(o.Terraform, o.Method),
	}
	t.Overlap, t.OverlapUntilExpiry = p.overlap(o.Overlap)
	if !regexp.MustCompile(`^(aws/ssm|alias/[A-Za-z0-9/_-]+|arn:[a-z-]+:kms:\S+|(mrk-)?[0-9a-f-]{32,36})$`).MatchString(t.KMSKey) {
		p.mistake(o.KMSKey.At, "kms_key must be aws/ssm, an alias (alias/…), or a KMS key's id or ARN")
	}
	if o.Approvers.IsSet() {
		t.Policy.Approvers = p.group(o.Approvers, "approvers")
	}
	if o.Requesters.IsSet() {
		t.Policy.Requesters = p.group(o.Requesters, "requesters")
	}
	return t
}

// fill puts the server and the environment into a naming pattern; empty when the
// pattern cannot be used.
func (p *pattern) fill(t strict.Text, key string) string {
	out := p.replace(t.Value)
	for _, unknown := range regexp.MustCompile(`\{([^{}]*)\}`).FindAllStringSubmatch(out, -1) {
		p.mistake(t.At, "%s has the placeholder {%s}, which does not exist; %s", key, unknown[1], near.Hint("{"+unknown[1]+"}", []string{"{env}", "{mcp}"}))
		return ""
	}
	if strings.ContainsAny(out, "{}") {
		p.mistake(t.At, "%s has a brace without its partner; placeholders are {env} and {mcp}", key)
		return ""
	}
	return out
}

// replace fills the placeholders that exist and leaves all else as it is.
func (p *pattern) replace(s string) string {
	return strings.NewReplacer("{mcp}", p.server, "{env}", p.env).Replace(s)
}

// required fills a pattern that must be there and have a shape.
func (p *pattern) required(t strict.Text, key, example, shape, what string) string {
	if !t.IsSet() {
		a := absence{p.at, key, last(key) + ": " + example}
		p.absent[a] = append(p.absent[a], p.name)
		return ""
	}
	out := p.fill(t, key)
	if out != "" && regexp.MustCompile(`^(`+shape+`)$`).MatchString(out) {
		return out
	}
	if out != "" || t.Value == "" {
		p.mistake(t.At, "%s must be %s", key, what)
	}
	return ""
}

// parameter fills the name of an SSM parameter.
func (p *pattern) parameter(t strict.Text, key string) string {
	out := p.required(t, key, "/aiconnectors/{env}/{mcp}/"+key, `(/[A-Za-z0-9_.-]+)+|[A-Za-z0-9_.-]+`,
		"the name of an SSM parameter, such as /aiconnectors/{env}/{mcp}/"+key+" (the name only: no id and no secret stands in this file)")
	first := strings.ToLower(strings.Split(strings.TrimPrefix(out, "/"), "/")[0])
	switch {
	case strings.HasPrefix(first, "aws") || strings.HasPrefix(first, "ssm"):
		p.mistake(t.At, "%s begins with aws or ssm, which AWS keeps for itself; rename the parameter", key)
	case strings.Count(out, "/") > maxParameterLevels || len(out)+len(".pending") > maxParameterName:
		p.mistake(t.At, "%s is too long or too deep for SSM, which takes %d levels and %d characters, .pending included", key, maxParameterLevels, maxParameterName)
	}
	return out
}

// SSM's own limits of a parameter's name.
const (
	maxParameterLevels = 15
	maxParameterName   = 1011
)

// endpoint reads the test call. It is required, with what it must answer: a
// rotation is done when the server has proven that it works with the new secret.
// Plain http is taken, since MCP servers are often reached inside a private network
// and no secret is sent there.
func (p *pattern) endpoint(m mcpSection) runbook.Endpoint {
	e := runbook.Endpoint{
		URL:       p.required(m.URL, "mcp.url", `"https://{mcp}.{env}.example.com/mcp"`, `.+`, "the address of the MCP endpoint"),
		Tool:      p.required(m.Tool, "mcp.tool", "the name of a tool that proves, when called, that the server can sign in", `[A-Za-z0-9_./-]{1,128}`, "an MCP tool's name"),
		Expect:    p.replace(m.Expect.Value),
		Arguments: p.arguments(m.Arguments.Value),
	}
	if e.URL != "" {
		p.url(m.URL, "mcp.url", e.URL)
	}
	if m.Health.IsSet() {
		if e.Health = p.fill(m.Health, "mcp.health"); e.Health != "" || m.Health.Value == "" {
			p.url(m.Health, "mcp.health", e.Health)
		}
	}
	if m.Expect.Value == "" {
		a := absence{p.at, "mcp.expect", "expect: a text that the test call's result must contain"}
		p.absent[a] = append(p.absent[a], p.name)
	}
	return e
}

// module reads where Terraform provisions the secret, and whether it rotates it;
// without a directory nobody asks Terraform anything.
func (p *pattern) module(t terraformSection, method strict.Text) runbook.Module {
	programs, methods := []string{"terraform", "terragrunt", "tofu"}, []string{methodGraph, methodTerragrunt}
	m := runbook.Module{AllowRevert: p.yes(t.AllowRevert, "terraform.allow_revert"), Rotates: method.Or(methodGraph) == methodTerragrunt}
	m.Program = t.Program.Or(programs[0])
	if m.Rotates {
		m.Program = t.Program.Or(methodTerragrunt)
	}
	if !slices.Contains(programs, m.Program) {
		p.mistake(t.Program.At, "terraform.program must be terraform, terragrunt or tofu; %s", near.Hint(m.Program, programs))
	}
	if !slices.Contains(methods, method.Or(methodGraph)) {
		p.mistake(method.At, "method must be graph (I make the secret) or terragrunt (an apply does); %s", near.Hint(method.Value, methods))
	}
	if m.Replace = t.Replace.Value; m.Replace != "" {
		m.Replace = p.required(t.Replace, "terraform.replace", "", `[A-Za-z_][A-Za-z0-9_."\[\]/-]*`, "the address of one resource, such as azuread_application_password.this")
		if !m.Rotates {
			p.mistake(t.Replace.At, "terraform.replace is for method: terragrunt; remove it, or add the method")
		}
	}
	if t.Directory.IsSet() {
		m.Directory = p.fill(t.Directory, "terraform.directory")
		return m
	}
	for _, other := range []strict.Text{t.Program, t.AllowRevert, t.Replace, method} {
		if other.IsSet() && other.Value != methodGraph {
			a := absence{other.At, "terraform.directory", "directory: infra/initial/mcps/{mcp}"}
			p.absent[a] = append(p.absent[a], p.name)
			break
		}
	}
	return runbook.Module{}
}

// The methods of a rotation.
const (
	methodGraph      = "graph"
	methodTerragrunt = "terragrunt"
)

// arguments fills placeholders in the texts of a test call's arguments. Other
// braces are the tool's own affair.
func (p *pattern) arguments(in map[string]any) map[string]any {
	out := make(map[string]any, len(in))
	for _, k := range slices.Sorted(maps.Keys(in)) {
		out[k] = p.argument(in[k])
	}
	return out
}

func (p *pattern) argument(v any) any {
	switch v := v.(type) {
	case string:
		return p.replace(v)
	case map[string]any:
		return p.arguments(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = p.argument(v[i])
		}
		return out
	}
	return v
}

// maxMonths is what Entra's own portal gives a secret at most.
const maxMonths = 24

// lifetime counts in calendar months, as Entra and people do.
func (p *pattern) lifetime(t strict.Text) int {
	m := regexp.MustCompile(`^([0-9]{1,3}) months?$`).FindStringSubmatch(t.Or(defaultLifetime))
	if m == nil {
		p.mistake(t.At, "lifetime must be a number of months, such as 24 months")
		return 0
	}
	months, _ := strconv.Atoi(m[1]) // up to three digits
	if months < 1 || months > maxMonths {
		p.mistake(t.At, "lifetime must be 1 to %d months", maxMonths)
	}
	return months
}

// Bounds of the overlap and of the time to confirm.
const (
	maxOverlap = 60 * 24 * time.Hour
	minLapse   = time.Minute
	maxLapse   = 24 * time.Hour
)

// overlap is how long the old key lives on. It is bounded because a forgotten key
// is what rotation is meant to end; who wants it kept must say "until expiry".
func (p *pattern) overlap(t strict.Text) (time.Duration, bool) {
	if t.Value == untilExpiry {
		return 0, true
	}
	d, err := parseDuration(t.Or(defaultOverlap))
	switch {
	case err != nil:
		p.mistake(t.At, "overlap must be a time such as 24h or 7d, or: %s", untilExpiry)
	case d < 0 || d > maxOverlap:
		p.mistake(t.At, "overlap must be 0s to %s; to keep the old key for good, write: %s", shortDuration(maxOverlap), untilExpiry)
	}
	return d, false
}

// lapse is how long a request can be confirmed. A long one invites people to
// confirm what they no longer remember asking for.
func (p *pattern) lapse(t strict.Text) time.Duration {
	d, err := parseDuration(t.Or(defaultLapse))
	switch {
	case err != nil:
		p.mistake(t.At, "lapse must be a time such as 15m or 2h")
	case d < minLapse || d > maxLapse:
		p.mistake(t.At, "lapse must be %s to %s: how long a request waits for its second person", shortDuration(minLapse), shortDuration(maxLapse))
	}
	return d
}

// changeReference wants the pattern anchored: an unanchored one is fulfilled by any
// text that contains a reference, which nobody notices until an audit does.
func (p *pattern) changeReference(t strict.Text) string {
	if !t.IsSet() {
		return ""
	}
	_, err := regexp.Compile(t.Value)
	switch {
	case err != nil:
		p.mistake(t.At, `change_reference is not a regular expression; one such as '^CHG[0-9]{7}$' works`)
	case !strings.HasPrefix(t.Value, "^") || !strings.HasSuffix(t.Value, "$"):
		p.mistake(t.At, `change_reference must begin with ^ and end with $, so that the whole reference is checked, such as '^CHG[0-9]{7}$'`)
	}
	return t.Value
}

// parseDuration is time.ParseDuration, and takes whole days as well.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// shortDuration writes 24h instead of 24h0m0s, and 7d instead of 168h0m0s.
func shortDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
