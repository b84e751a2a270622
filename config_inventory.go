package main

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// ownerSection says who looks after something that expires.
type ownerSection struct {
	Name       strict.Text `yaml:"name"`
	Channel    strict.Text `yaml:"channel"`
	Escalation strict.Text `yaml:"escalation"`
}

type acmSection struct {
	At      strict.Position
	Regions []strict.Text `yaml:"regions"`
	Owner   ownerSection  `yaml:"owner"`
}

type tlsSection struct {
	At         strict.Position
	Hosts      []strict.Text `yaml:"hosts"`
	MCPServers strict.Text   `yaml:"mcp_servers"`
	CAFile     strict.Text   `yaml:"ca_file"`
	Owner      ownerSection  `yaml:"owner"`
}

// TLSConfig says which TLS endpoints are watched.
type TLSConfig struct {
	Endpoints []inventory.Endpoint
	CAFile    string // more certificate authorities to believe, PEM; empty: none
}

// owner checks an owner. One without a name could not be told to anybody.
func (r *configReader) owner(s ownerSection, key string) runbook.Owner {
	o := runbook.Owner{
		Name:    s.Name.Value,
		Channel: r.channel(s.Channel, key+".channel"), Escalation: r.channel(s.Escalation, key+".escalation"),
	}
	for _, t := range []strict.Text{s.Channel, s.Escalation, s.Name} {
		if t.IsSet() && strings.TrimSpace(o.Name) == "" {
			r.mistake(t.At, "%s.name is missing; add name: who looks after it, such as Platform team", key)
			break
		}
	}
	return o
}

// regions reads the AWS regions whose certificates are watched.
func (r *configReader) regions(s acmSection) []inventory.Region {
	owner := r.owner(s.Owner, "certificates.owner")
	var out []inventory.Region
	for _, t := range s.Regions {
		switch {
		case !t.IsSet(): // told by the decoder
		case !isRegion(t.Value):
			r.mistake(t.At, "certificates.regions must be AWS regions, such as [eu-central-1, us-east-1]")
		case slices.ContainsFunc(out, func(one inventory.Region) bool { return one.Name == t.Value }):
			r.mistake(t.At, "certificates.regions: %s stands there twice; remove one", t.Value)
		default:
			out = append(out, inventory.Region{Name: t.Value, Owner: owner})
		}
	}
	if s.At.Line > 0 && len(s.Regions) == 0 {
		r.mistake(s.At, "certificates.regions is missing; add regions: [eu-central-1], those whose ACM certificates are watched")
	}
	return out
}

// tls reads the endpoints that are watched: the hosts of the file and, unless it
// says no, the MCP servers that are reached by https.
func (r *configReader) tls(s tlsSection, targets []runbook.Target) TLSConfig {
	c := TLSConfig{CAFile: r.caFile(s.CAFile, "tls.ca_file")}
	owner := r.owner(s.Owner, "tls.owner")
	known := map[string]bool{}
	for _, t := range s.Hosts {
		if !t.IsSet() {
			continue // told by the decoder
		}
		address, ok := hostAddress(t.Value)
		switch {
		case !ok:
			r.mistake(t.At, "tls.hosts must be host names, with a port where it is not 443, such as [mcp.example.com, db.example.com:5432]")
		case known[address]:
			r.mistake(t.At, "tls.hosts: %s stands there twice; remove one", address)
		default:
			known[address] = true
			c.Endpoints = append(c.Endpoints, inventory.Endpoint{Address: address, Owner: owner, Feeds: served(address, targets)})
		}
	}
	switch s.MCPServers.Or("true") {
	case "true":
		c.Endpoints = append(c.Endpoints, mcpEndpoints(targets, known)...)
	case "false":
	default:
		r.mistake(s.MCPServers.At, "tls.mcp_servers must be true or false: whether the certificates of the MCP servers are watched, too")
	}
	return c
}

// mcpEndpoints are the hosts of MCP servers that are not known yet, each once.
func mcpEndpoints(targets []runbook.Target, known map[string]bool) []inventory.Endpoint {
	var out []inventory.Endpoint
	for _, t := range targets {
		address := httpsAddress(t.MCP.URL)
		if address == "" || known[address] {
			continue
		}
		known[address] = true
		out = append(out, inventory.Endpoint{Address: address, Owner: t.Owner, Feeds: served(address, targets)})
	}
	return out
}

// served is what a host serves: the first MCP server behind it. Where several are,
// it names no secret of one of them.
func served(address string, targets []runbook.Target) inventory.Feeds {
	var behind []runbook.Target
	for _, t := range targets {
		if httpsAddress(t.MCP.URL) == address {
			behind = append(behind, t)
		}
	}
	switch len(behind) {
	case 0:
		return inventory.Feeds{}
	case 1:
		return inventory.Feeds{Server: behind[0].Server, Environment: behind[0].Environment, Endpoint: behind[0].MCP.URL}
	}
	f := inventory.Feeds{Endpoint: "https://" + address}
	if !slices.ContainsFunc(behind, func(t runbook.Target) bool { return t.Environment != behind[0].Environment }) {
		f.Environment = behind[0].Environment
	}
	return f
}

// httpsAddress is the host and port of an https address; empty for any other.
func httpsAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// hostAddress reads a host with or without a port.
func hostAddress(text string) (string, bool) {
	if !regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`).MatchString(text) {
		return "", false
	}
	address := httpsAddress("https://" + text)
	return address, address != ""
}

// describeOwner is the owner in a table.
func describeOwner(o runbook.Owner) string {
	if o == (runbook.Owner{}) {
		return "-"
	}
	text := o.Name
	for _, channel := range []operation.ChannelID{o.Channel, o.Escalation} {
		if channel != "" {
			text += " " + string(channel)
		}
	}
	return text
}

// describeRegions and describeTLS say what is watched besides the secrets.
func describeRegions(regions []inventory.Region) string {
	if len(regions) == 0 {
		return "not watched"
	}
	var names []string
	for _, one := range regions {
		names = append(names, one.Name)
	}
	return strings.Join(names, ", ")
}

func describeTLS(c TLSConfig) string {
	if len(c.Endpoints) == 0 {
		return "not watched"
	}
	var addresses []string
	for _, e := range c.Endpoints {
		addresses = append(addresses, e.Address)
	}
	const some = 3
	if len(addresses) > some {
		return fmt.Sprintf("%s and %d more", strings.Join(addresses[:some], ", "), len(addresses)-some)
	}
	return strings.Join(addresses, ", ")
}
