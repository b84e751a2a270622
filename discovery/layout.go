package discovery

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// layout is how a value that each secret of an entry has is written: once, with
// placeholders, and what differs nearer to the secret.
type layout struct {
	pattern string // empty: no secret has a value
	// Exceptions by server, by environment and by secret.
	servers, environments, secrets map[string]string
}

// lay writes values, by secret, as briefly as it can. Secrets without a value are
// covered by the pattern.
func lay(secrets []Secret, value func(Secret) string) layout {
	l := layout{servers: map[string]string{}, environments: map[string]string{}, secrets: map[string]string{}}
	var known []Secret
	for _, s := range secrets {
		if value(s) != "" {
			known = append(known, s)
		}
	}
	if len(known) == 0 {
		return l
	}
	l.pattern, _ = best(known, value)
	differ := func(s Secret) bool { return fill(l.pattern, s) != value(s) }
	// An exception for a server or an environment must fit all of its secrets that
	// are known; the nearer one wins in the configuration, so servers go first.
	except := func(of func(Secret) string, into map[string]string) {
		groups := map[string][]Secret{}
		for _, s := range known {
			groups[of(s)] = append(groups[of(s)], s)
		}
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			if n := len(groups[name]); n < 2 || !slices.ContainsFunc(groups[name], differ) {
				continue
			}
			if pattern, fits := best(groups[name], value); fits == len(groups[name]) {
				into[name] = pattern
			}
		}
	}
	except(func(s Secret) string { return s.Server }, l.servers)
	except(func(s Secret) string { return s.Environment }, l.environments)
	for _, s := range known {
		if l.of(s) != value(s) {
			l.secrets[s.Name()] = value(s)
		}
	}
	return l
}

// of is what the configuration comes to for a secret.
func (l layout) of(s Secret) string {
	return fill(cmp.Or(l.secrets[s.Name()], l.servers[s.Server], l.environments[s.Environment], l.pattern), s)
}

// best is the pattern that most of the secrets' values fit, and how many do. Of
// equal ones it is that with the most placeholders.
func best(secrets []Secret, value func(Secret) string) (pattern string, fits int) {
	counts := map[string]int{}
	for _, s := range secrets {
		for _, candidate := range candidates(value(s), s) {
			counts[candidate] = 0
		}
	}
	for candidate := range counts {
		for _, s := range secrets {
			if fill(candidate, s) == value(s) {
				counts[candidate]++
			}
		}
	}
	all := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(strings.Count(b, "{"), strings.Count(a, "{")), cmp.Compare(a, b))
	})
	return all[0], counts[all[0]]
}

// candidates are the ways in which a secret's value may be a pattern.
func candidates(value string, s Secret) []string {
	server := strings.ReplaceAll(value, s.Server, "{mcp}")
	environment := strings.ReplaceAll(value, s.Environment, "{env}")
	// The longer name first: "prod" may be a part of "production-tools".
	both := strings.ReplaceAll(server, s.Environment, "{env}")
	if len(s.Environment) > len(s.Server) {
		both = strings.ReplaceAll(environment, s.Server, "{mcp}")
	}
	return []string{value, server, environment, both}
}

// entry are the servers that are in the same environments: servers × environments.
type entry struct {
	servers, environments []string
	secrets               []Secret
}

// entries cuts a group into entries, the largest first.
func (g Group) entries() []entry {
	where := map[string][]string{}
	for _, s := range g.Secrets {
		where[s.Server] = append(where[s.Server], s.Environment)
	}
	by := map[string]*entry{}
	for _, server := range slices.Sorted(maps.Keys(where)) {
		key := strings.Join(where[server], " ")
		if by[key] == nil {
			by[key] = &entry{environments: where[server]}
		}
		by[key].servers = append(by[key].servers, server)
	}
	var out []entry
	for _, e := range by {
		for _, s := range g.Secrets {
			if slices.Contains(e.servers, s.Server) {
				e.secrets = append(e.secrets, s)
			}
		}
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b entry) int {
		return cmp.Or(cmp.Compare(len(b.secrets), len(a.secrets)), cmp.Compare(a.servers[0], b.servers[0]))
	})
	return out
}
