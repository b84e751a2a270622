package entra

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// document is one entity as Graph sends it.
type document = map[string]any

// Pages hold as many entities as Graph's do.
const (
	defaultPage = 100
	largestPage = 999
)

// list answers a request for a collection: filtered, ordered, a page of it, and
// of each entity only what was selected. defaults names what is sent without
// $select; nil is everything.
func (c *call) list(context string, all []document, defaults []string) (any, error) {
	return c.listOf(context, len(all), func(i int) document { return all[i] }, defaults)
}

// listOf is list for large collections: unless it must be filtered or ordered, only
// the page that is asked for is rendered.
func (c *call) listOf(context string, count int, render func(int) document, defaults []string) (any, error) {
	options := []string{"$filter", "$select", "$top", "$skiptoken", "$orderby", "$count"}
	if len(c.expanded) > 0 {
		options = append(options, "$expand")
	}
	if err := c.known(options...); err != nil {
		return nil, err
	}
	if c.query.Get("$filter") != "" || c.query.Get("$orderby") != "" {
		all := make([]document, count)
		for i := range all {
			all[i] = render(i)
		}
		matching, err := filter(all, c.query.Get("$filter"))
		if err != nil {
			return nil, err
		}
		if err := order(matching, c.query.Get("$orderby")); err != nil {
			return nil, err
		}
		count, render = len(matching), func(i int) document { return matching[i] }
	}
	from, to, next, err := c.page(count)
	if err != nil {
		return nil, err
	}
	value := make([]document, 0, to-from)
	for i := from; i < to; i++ {
		selected, err := c.selected(render(i), defaults)
		if err != nil {
			return nil, err
		}
		value = append(value, selected)
	}
	out := document{"@odata.context": c.base + "/$metadata#" + context, "value": value}
	if next != "" {
		out["@odata.nextLink"] = next
	}
	if c.query.Get("$count") == "true" {
		out["@odata.count"] = count
	}
	return out, nil
}

// one answers a request for a single entity.
func (c *call) one(context string, d document, defaults []string) (any, error) {
	if err := c.known("$select"); err != nil {
		return nil, err
	}
	out, err := c.selected(d, defaults)
	if err != nil {
		return nil, err
	}
	out["@odata.context"] = c.base + "/$metadata#" + context
	return out, nil
}

// known refuses query options that this stand-in would otherwise ignore.
func (c *call) known(options ...string) error {
	for name := range c.query {
		if !slices.Contains(options, name) {
			return badRequest("The query option '%s' is not supported here.", name)
		}
	}
	return nil
}

func (c *call) selected(d document, defaults []string) (document, error) {
	names := defaults
	if s := c.query.Get("$select"); s != "" {
		names = strings.Split(s, ",")
	}
	if names == nil {
		return d, nil
	}
	out := document{}
	for k, v := range d {
		if strings.HasPrefix(k, "@odata.") || slices.Contains(c.expanded, k) {
			out[k] = v
		}
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		v, ok := d[name]
		if !ok && d["@odata.type"] == nil { // of mixed types each gives what it has
			return nil, badRequest("Could not find a property named '%s' on this type.", name)
		}
		if ok {
			out[name] = v
		}
	}
	return out, nil
}

// page finds what $top and $skiptoken ask for of count entities, and the link to
// what follows.
func (c *call) page(count int) (from, to int, next string, err error) {
	size := defaultPage
	if t := c.query.Get("$top"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 || n > largestPage {
			return 0, 0, "", badRequest("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", t, largestPage)
		}
		size = n
	}
	if t := c.query.Get("$skiptoken"); t != "" {
		raw, err := base64.RawURLEncoding.DecodeString(t)
		if err == nil {
			from, err = strconv.Atoi(string(raw))
		}
		if err != nil || from < 0 {
			return 0, 0, "", badRequest("The skip token is invalid.")
		}
	}
	from = min(from, count)
	to = min(from+size, count)
	if to == count {
		return from, to, "", nil
	}
	q := url.Values{}
	for k, v := range c.query {
		q[k] = v
	}
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to))))
	return from, to, c.base + strings.TrimPrefix(c.r.URL.EscapedPath(), "/"+c.version()) + "?" + q.Encode(), nil
}

func (a address) version() string {
	if a.beta {
		return "beta"
	}
	return "v1.0"
}

func order(list []document, by string) error {
	if by == "" {
		return nil
	}
	name, direction, _ := strings.Cut(by, " ")
	for _, d := range list {
		if _, ok := d[name]; !ok {
			return badRequest("Could not find a property named '%s' on this type.", name)
		}
	}
	slices.SortStableFunc(list, func(a, b document) int {
		n := strings.Compare(fmt.Sprint(a[name]), fmt.Sprint(b[name])) // names and times in Graph's fixed format
		if direction == "desc" {
			return -n
		}
		return n
	})
	return nil
}
