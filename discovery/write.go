package discovery

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// FillIn stands where only a person knows what belongs there. The file is read with
// it in it, and the doctor says where it still is.
const FillIn = "FILL_IN"

// Answers are what cannot be discovered. What is empty is left out of the file,
// where it may be left out.
type Answers struct {
	AppToken, BotToken  string // "env:NAME" or "file:PATH"
	OperationsChannel   string
	Approvers           string
	Requesters          string
	SlackAPIURL         string
	Tenant, ClientID    string
	Credential          string // "env:NAME" or "file:PATH"; empty: AWS's web identity
	LoginURL, GraphURL  string
	CAFile              string
	Region, EndpointURL string
	Database            string
	KeyFile, Origin     string
	URL, Health         string // patterns of the MCP servers' addresses

	Cluster, Service, Variable string // patterns, for secrets that no service takes
	// By server.
	Tool, Arguments, Expect map[string]string
	// Offered are the tools that servers offer, where they could be asked.
	Offered map[string][]Tool
}

// Write writes the configuration that f and a come to.
func Write(w io.Writer, f Found, a Answers) error {
	d := &draft{f: f, a: a}
	d.head()
	for _, trouble := range f.Troubles {
		d.comment("", trouble)
	}
	d.line("secrets:")
	for _, g := range f.Groups {
		for _, e := range g.entries() {
			d.entry(g, e)
		}
	}
	if len(f.Groups) == 0 {
		d.comment("  ", "No parameter was found that looks like a client secret. Write one entry for servers and environments:")
		d.entry(Group{IDPattern: "/" + FillIn + "/{env}/{mcp}/client_id", SecretPattern: "/" + FillIn + "/{env}/{mcp}/client_secret"},
			entry{servers: []string{"fill-in"}, environments: []string{"fill-in"}})
	}
	d.rest()
	_, err := io.WriteString(w, d.b.String())
	return err
}

type draft struct {
	f Found
	a Answers
	b strings.Builder
}

func (d *draft) line(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

// comment writes a comment of one line: what others said may have more.
func (d *draft) comment(indent, text string) {
	d.line("%s# %s", indent, strings.Join(strings.Fields(text), " "))
}

// set writes a key that has a value.
func (d *draft) set(indent, key, value string) {
	if value != "" {
		d.line("%s%s: %s", indent, key, scalar(value))
	}
}

// source writes where a secret text comes from.
func (d *draft) source(key, from string) {
	if kind, where, ok := strings.Cut(from, ":"); ok {
		d.line("  %s: {%s: %s}", key, kind, scalar(where))
	}
}

// scalar writes a text so that YAML reads the same one, in flow as in block.
func scalar(text string) string {
	plain := regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*$`)
	word := regexp.MustCompile(`(?i)^(y|n|yes|no|true|false|on|off|null)$`)
	if plain.MatchString(text) && !word.MatchString(text) {
		return text
	}
	return quoted(text)
}

// quoted is YAML's double-quoted form.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (d *draft) head() {
	a := d.a
	d.line("# yaml-language-server: $schema=twokey.schema.json")
	d.line("# Written by twokey init. What else can be set stands in twokey.example.yml. Look at it with")
	d.line("#   twokey config check --config FILE, and then twokey doctor --config FILE")
	if open := d.open(); len(open) > 0 {
		d.line("# Search for %s: %s.", FillIn, strings.Join(open, ", "))
	}
	d.line("")
	d.set("", "database", a.Database)
	d.line("slack:")
	d.source("app_token", a.AppToken)
	d.source("bot_token", a.BotToken)
	d.set("  ", "operations_channel", a.OperationsChannel)
	d.set("  ", "api_url", a.SlackAPIURL)
	d.line("")
	d.set("", "approvers", a.Approvers)
	d.set("", "requesters", a.Requesters)
	d.line("")
	d.line("entra:")
	d.set("  ", "tenant", a.Tenant)
	d.set("  ", "client_id", a.ClientID)
	d.source("credential", a.Credential)
	d.set("  ", "login_url", a.LoginURL)
	d.set("  ", "graph_url", a.GraphURL)
	d.set("  ", "ca_file", a.CAFile)
	d.line("")
	d.line("aws:")
	d.set("  ", "region", a.Region)
	d.set("  ", "endpoint_url", a.EndpointURL)
	d.line("")
	if a.KeyFile+a.Origin != "" {
		d.line("record:")
		d.set("  ", "key_file", a.KeyFile)
		d.set("  ", "origin", a.Origin)
		d.line("")
	}
}

// open says what is left to fill in.
func (d *draft) open() []string {
	var ecs, tools bool
	for _, g := range d.f.Groups {
		for _, e := range g.entries() {
			for _, f := range d.fields(e) {
				ecs = ecs || strings.HasPrefix(f.pattern, FillIn)
			}
			for _, server := range e.servers {
				tools = tools || d.a.Tool[server] == "" || d.a.Expect[server] == ""
			}
		}
	}
	var out []string
	add := func(what string, missing bool) {
		if missing {
			out = append(out, what)
		}
	}
	add("the secrets themselves", len(d.f.Groups) == 0)
	add("the ECS services", ecs)
	add("the address of the MCP servers", d.a.URL == "")
	add("a tool that only reads, and a text that its answer contains", tools)
	return out
}

// field is a key of the ecs section and how it is laid out.
type field struct {
	key string
	layout
}

// fields are the ecs section's; what was not found is as the answers say.
func (d *draft) fields(e entry) []field {
	out := []field{
		{"cluster", lay(e.secrets, func(s Secret) string { return s.Cluster })},
		{"service", lay(e.secrets, func(s Secret) string { return s.Service })},
		{"variable", lay(e.secrets, func(s Secret) string { return s.Variable })},
	}
	out[0].pattern = cmp.Or(out[0].pattern, d.a.Cluster, FillIn)
	out[1].pattern = cmp.Or(out[1].pattern, d.a.Service, FillIn+"-{mcp}-{env}") // two secrets in one place are refused
	out[2].pattern = cmp.Or(out[2].pattern, d.a.Variable, FillIn)
	return out
}

func (d *draft) entry(g Group, e entry) {
	fields := d.fields(e)
	d.line("  - servers: [%s]", list(e.servers))
	d.line("    environments: [%s]", list(e.environments))
	if !slices.ContainsFunc(e.secrets, func(s Secret) bool { return s.IDParameter != "" }) {
		d.comment("    ", "No client id's parameter was found beside the secrets; make one, or correct this name.")
	}
	d.set("    ", "client_id", g.IDPattern)
	d.set("    ", "client_secret", g.SecretPattern)
	var ecs []string
	for _, f := range fields {
		ecs = append(ecs, f.key+": "+scalar(f.pattern))
	}
	d.line("    ecs: {%s}", strings.Join(ecs, ", "))
	d.line("    mcp:")
	d.set("      ", "url", cmp.Or(d.a.URL, "https://"+FillIn+"/{env}/{mcp}/mcp"))
	d.set("      ", "health", d.a.Health)
	d.perServer(e, fields)
	d.exceptions("per_environment", fields, func(l layout) map[string]string { return l.environments })
	d.exceptions("per_secret", fields, func(l layout) map[string]string { return l.secrets })
	d.notes(e)
}

// perServer has the test tool of each server, and what is different in ECS.
func (d *draft) perServer(e entry, fields []field) {
	d.line("    per_server:")
	for _, server := range e.servers {
		var parts []string
		if ecs := exception(fields, func(l layout) map[string]string { return l.servers }, server); ecs != "" {
			parts = append(parts, ecs)
		}
		mcp := "tool: " + scalar(cmp.Or(d.a.Tool[server], FillIn))
		if d.a.Arguments[server] != "" {
			mcp += ", arguments: " + d.a.Arguments[server] // JSON is YAML
		}
		mcp += ", expect: " + scalar(cmp.Or(d.a.Expect[server], FillIn))
		parts = append(parts, "mcp: {"+mcp+"}")
		if d.a.Tool[server] == "" {
			if proposal := propose(d.a.Offered[server]); proposal != "" {
				d.comment("      ", proposal)
			}
		}
		d.line("      %s: {%s}", scalar(server), strings.Join(parts, ", "))
	}
}

// propose names the first tool that only reads, and the others.
func propose(offered []Tool) string {
	var reading, others []string
	for _, t := range offered {
		if t.ReadOnly {
			reading = append(reading, t.Name)
		} else {
			others = append(others, t.Name)
		}
	}
	switch {
	case len(offered) == 0:
		return ""
	case len(reading) == 0:
		return "tool: none of its tools says that it only reads: " + strings.Join(others, ", ")
	case len(reading)+len(others) == 1:
		return "tool: " + reading[0] + " (it only reads, says the server)"
	default:
		return "tool: " + reading[0] + " (it only reads, says the server); there are also " + strings.Join(append(reading[1:], others...), ", ")
	}
}

func (d *draft) exceptions(key string, fields []field, of func(layout) map[string]string) {
	names := map[string]bool{}
	for _, f := range fields {
		for name := range of(f.layout) {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return
	}
	d.line("    %s:", key)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.line("      %s: {%s}", scalar(name), exception(fields, of, name))
	}
}

// exception is what is different in ECS for one name; empty: nothing.
func exception(fields []field, of func(layout) map[string]string, name string) string {
	var parts []string
	for _, f := range fields {
		if pattern, different := of(f.layout)[name]; different {
			parts = append(parts, f.key+": "+scalar(pattern))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "ecs: {" + strings.Join(parts, ", ") + "}"
}

// notes are what somebody should know of an entry's secrets.
func (d *draft) notes(e entry) {
	for _, s := range e.secrets {
		if s.IDParameter == "" && slices.ContainsFunc(e.secrets, func(o Secret) bool { return o.IDParameter != "" }) {
			d.comment("    ", s.Name()+": there is no parameter with its client id.")
		}
		if d.f.Services && s.Service == "" {
			d.comment("    ", s.Name()+": no ECS service was found that takes "+s.SecretParameter+"; what stands above is a guess.")
		}
		if len(s.Others) > 0 {
			d.comment("    ", fmt.Sprintf("%s: also taken by %s. A rotation redeploys one service only: these go on with the old secret until it is removed, and then fail.", s.Name(), strings.Join(s.Others, ", ")))
		}
		if d.f.Applications && s.ClientID != "" && !s.Owned {
			d.comment("    ", fmt.Sprintf("%s: the bot does not own the Entra application %s; docs/installing.md, 2.3, makes it an owner.", s.Name(), s.ClientID))
		}
	}
}

// rest is what was found and has no place.
func (d *draft) rest() {
	for _, p := range d.f.Unplaced {
		d.comment("  ", "Not described: the parameter "+p+" fits no pattern, or is a second one of the same server and environment.")
	}
	for _, a := range d.f.Unpaired {
		d.comment("  ", fmt.Sprintf("Not described: the bot owns the application %s (%s), and no parameter that was found has its client id.", a.Name, a.ClientID))
	}
}

func list(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = scalar(n)
	}
	return strings.Join(out, ", ")
}
