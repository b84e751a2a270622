// Package discovery looks around for what a first configuration needs: parameters
// in pairs of a client id and a client secret, the ECS services that take them, the
// Entra applications that the bot owns, and the tools of MCP servers. It reads no
// client secret, changes nothing, and writes what it found as a configuration.
package discovery

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Parameter is one in SSM, without its value.
type Parameter struct {
	Name string
	Type string // "SecureString"
}

// Service is one of ECS and what it takes from parameters.
type Service struct {
	Cluster, Name string
	Secrets       map[string]string // variable → parameter
}

// Application is one of Entra that the bot's service principal owns.
type Application struct {
	ClientID string
	Name     string
}

// Tool is one that an MCP server offers.
type Tool struct {
	Name     string
	ReadOnly bool // the server says so
}

// AWS is what is asked of AWS, with the rights of the person who asks.
type AWS interface {
	ParametersUnder(ctx context.Context, path string) ([]Parameter, error)
	ServicesWithSecrets(ctx context.Context) ([]Service, error)
	// ClientIDs reads parameters that hold client ids: value by name.
	ClientIDs(ctx context.Context, names []string) (map[string]string, error)
}

// Entra is what is asked of Entra, as the bot.
type Entra interface {
	OwnedApplications(ctx context.Context) ([]Application, error)
}

// MCP lists a server's tools.
type MCP interface {
	Tools(ctx context.Context, url string) ([]Tool, error)
}

// Secret is a pair of parameters and what belongs to it.
type Secret struct {
	Server, Environment string
	IDParameter         string // empty: there is none beside the secret
	SecretParameter     string
	Cluster, Service    string   // the service that takes the secret; empty: none was found
	Variable            string   // as which it takes it
	Others              []string // further services that take it
	ClientID            string   // empty: not read
	Owned               bool     // the bot owns the application
}

// Name is how people call it.
func (s Secret) Name() string { return s.Server + "/" + s.Environment }

// Group are the secrets whose parameters have names of one pattern.
type Group struct {
	IDPattern, SecretPattern string
	Secrets                  []Secret // by server, then environment
}

// Found is all that a look came to.
type Found struct {
	Groups   []Group
	Unplaced []string      // SecureStrings that look like client secrets and fit no pattern
	Unpaired []Application // owned, and in no client id's parameter
	// Whether the services, and the applications that the bot owns, were read.
	Services, Applications bool
	Troubles               []string // sentences: what could not be looked at, and why
}

// Look finds out what it can. where is the path of the parameters, or a pattern of
// the client secrets' names with {env} and {mcp} in it. That AWS's parameters can't
// be listed is an error; all else that can't be looked at is a trouble. entra may be
// nil.
func Look(ctx context.Context, aws AWS, entra Entra, where string) (Found, error) {
	path, _, isPattern := strings.Cut(where, "{")
	if isPattern && (!strings.Contains(where, "{env}") || !strings.Contains(where, "{mcp}")) {
		return Found{}, fmt.Errorf("the pattern %s needs both {env} and {mcp}", where)
	}
	if isPattern { // the folder that is sure
		path = path[:strings.LastIndex(path, "/")+1]
	}
	parameters, err := aws.ParametersUnder(ctx, "/"+strings.Trim(path, "/"))
	if err != nil {
		return Found{}, err
	}
	patterns := []string{where}
	if !isPattern {
		patterns = Patterns(parameters, where)
	}
	found := group(parameters, patterns)
	services, err := aws.ServicesWithSecrets(ctx)
	found.Services = err == nil
	if err != nil {
		found.Troubles = append(found.Troubles, "The ECS services were not looked at: "+err.Error())
	}
	found.serve(services)
	if entra != nil {
		found.own(ctx, aws, entra)
	}
	return found, nil
}

// name is what the configuration takes as a server or an environment.
const name = `[a-z0-9][a-z0-9-]*`

// looksLikeSecret reports whether a parameter may hold a client secret.
func looksLikeSecret(p Parameter) bool {
	return p.Type == "SecureString" && regexp.MustCompile(`(?i)secret`).MatchString(lastPart(p.Name)) && !strings.HasSuffix(p.Name, ".pending")
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Patterns guesses how client secrets below a path are named: below it two folders,
// one for the environment and one for the server. Which is which: the environment
// has a usual name, or there are fewer of them.
func Patterns(parameters []Parameter, path string) []string {
	root := "/" + strings.Trim(path, "/")
	if root != "/" {
		root += "/"
	}
	first, second := map[string]map[string]bool{}, map[string]map[string]bool{} // by the name behind them
	for _, p := range parameters {
		parts := strings.Split(strings.TrimPrefix(p.Name, root), "/")
		if !looksLikeSecret(p) || !strings.HasPrefix(p.Name, root) || len(parts) != 3 {
			continue
		}
		if first[parts[2]] == nil {
			first[parts[2]], second[parts[2]] = map[string]bool{}, map[string]bool{}
		}
		first[parts[2]][parts[0]], second[parts[2]][parts[1]] = true, true
	}
	var out []string
	for _, base := range slices.Sorted(maps.Keys(first)) {
		folders := "{env}/{mcp}/"
		a, b := usual(first[base]), usual(second[base])
		if b > a || a == b && len(second[base]) < len(first[base]) {
			folders = "{mcp}/{env}/"
		}
		out = append(out, root+folders+base)
	}
	return out
}

// usual counts names that environments usually have.
func usual(names map[string]bool) int {
	n := 0
	for name := range names {
		if regexp.MustCompile(`^(dev(elopment)?|te?st(ing)?|int|qa|uat|stag(e|ing)|pre-?prod|prod(uction)?|live|sandbox)$`).MatchString(name) {
			n++
		}
	}
	return n
}

// group puts the parameters into the patterns that they fit.
func group(parameters []Parameter, patterns []string) Found {
	there := map[string]bool{}
	for _, p := range parameters {
		there[p.Name] = true
	}
	var found Found
	placed, taken := map[string]bool{}, map[string]bool{}
	for _, pattern := range patterns {
		g := Group{SecretPattern: pattern, IDPattern: idPattern(pattern)}
		matcher := match(pattern)
		for _, p := range parameters {
			m := matcher.FindStringSubmatch(p.Name)
			if m == nil || p.Type != "SecureString" || placed[p.Name] {
				continue
			}
			s := Secret{Server: m[matcher.SubexpIndex("mcp")], Environment: m[matcher.SubexpIndex("env")], SecretParameter: p.Name}
			if id := fill(g.IDPattern, s); there[id] && id != p.Name {
				s.IDParameter = id
			}
			if taken[s.Name()] { // a second secret of the same name needs a decision
				continue
			}
			placed[p.Name], taken[s.Name()] = true, true
			g.Secrets = append(g.Secrets, s)
		}
		slices.SortFunc(g.Secrets, func(a, b Secret) int {
			return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Environment, b.Environment))
		})
		if len(g.Secrets) > 0 {
			found.Groups = append(found.Groups, g)
		}
	}
	for _, p := range parameters {
		if looksLikeSecret(p) && !placed[p.Name] {
			found.Unplaced = append(found.Unplaced, p.Name)
		}
	}
	slices.Sort(found.Unplaced)
	return found
}

// idPattern is where the client id is that belongs to a client secret.
func idPattern(pattern string) string {
	at := strings.LastIndex(strings.ToLower(pattern), "secret")
	if at < 0 {
		return pattern + "_id"
	}
	id := "id"
	if pattern[at] == 'S' {
		id = "ID"
	}
	return pattern[:at] + id + pattern[at+len("secret"):]
}

// match makes an expression of a pattern. A placeholder that stands there a second
// time only has to fit.
func match(pattern string) *regexp.Regexp {
	expression := regexp.QuoteMeta(pattern)
	for _, word := range []string{"env", "mcp"} {
		placeholder := regexp.QuoteMeta("{" + word + "}")
		expression = strings.Replace(expression, placeholder, "(?P<"+word+">"+name+"?)", 1)
		expression = strings.ReplaceAll(expression, placeholder, name+"?")
	}
	return regexp.MustCompile("^" + expression + "$")
}

func fill(pattern string, s Secret) string {
	return strings.NewReplacer("{mcp}", s.Server, "{env}", s.Environment).Replace(pattern)
}

// serve finds the services that take the secrets.
func (f *Found) serve(services []Service) {
	type place struct{ cluster, service, variable string }
	users := map[string][]place{}
	for _, v := range services {
		for _, variable := range slices.Sorted(maps.Keys(v.Secrets)) {
			users[v.Secrets[variable]] = append(users[v.Secrets[variable]], place{v.Cluster, v.Name, variable})
		}
	}
	for _, g := range f.Groups {
		for i := range g.Secrets {
			s := &g.Secrets[i]
			for n, u := range users[s.SecretParameter] {
				if n == 0 {
					s.Cluster, s.Service, s.Variable = u.cluster, u.service, u.variable
				} else {
					s.Others = append(s.Others, fmt.Sprintf("%s/%s as %s", u.cluster, u.service, u.variable))
				}
			}
		}
	}
}

// own ties the applications that the bot owns to the pairs, by their client ids.
func (f *Found) own(ctx context.Context, aws AWS, entra Entra) {
	applications, err := entra.OwnedApplications(ctx)
	if err != nil {
		f.Troubles = append(f.Troubles, "The Entra applications that the bot owns were not looked at: "+err.Error())
		return
	}
	var names []string
	for _, g := range f.Groups {
		for _, s := range g.Secrets {
			if s.IDParameter != "" {
				names = append(names, s.IDParameter)
			}
		}
	}
	ids, err := aws.ClientIDs(ctx, names)
	if err != nil {
		f.Troubles = append(f.Troubles, "Which application belongs to which parameter was not looked at: "+err.Error())
		return
	}
	f.Applications = true
	owned, paired := map[string]bool{}, map[string]bool{}
	for _, a := range applications {
		owned[strings.ToLower(a.ClientID)] = true
	}
	for _, g := range f.Groups {
		for i := range g.Secrets {
			s := &g.Secrets[i]
			s.ClientID = ids[s.IDParameter]
			id := strings.ToLower(strings.TrimSpace(s.ClientID))
			s.Owned, paired[id] = owned[id], true
		}
	}
	for _, a := range applications {
		if !paired[strings.ToLower(a.ClientID)] {
			f.Unpaired = append(f.Unpaired, a)
		}
	}
}
