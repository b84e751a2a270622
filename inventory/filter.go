package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Filter says which items are wanted. What is empty filters nothing; of a list,
// one that fits is enough. Letters may be small or capital.
type Filter struct {
	Kinds        []Kind
	Statuses     []Status
	Environments []string
	Servers      []string
	// Owners are parts of owners' names, or channels; NoOwner is who has none.
	Owners []string
	// Text is a part of anything that names an item.
	Text string
	// Configured leaves out what the configuration does not know: the keys of other
	// applications.
	Configured bool
}

// NoOwner is the filter for what nobody owns.
const NoOwner = "none"

// Matches reports whether the filter wants the item.
func (f Filter) Matches(i Item) bool {
	return oneOf(f.Kinds, func(k Kind) bool { return k == i.Kind }) &&
		oneOf(f.Statuses, func(s Status) bool { return s == i.Status }) &&
		oneOf(f.Environments, func(e string) bool { return strings.EqualFold(e, i.Feeds.Environment) }) &&
		oneOf(f.Servers, func(s string) bool { return strings.EqualFold(s, i.Feeds.Server) }) &&
		oneOf(f.Owners, func(o string) bool { return owns(o, i) }) &&
		(!f.Configured || i.configured()) && i.mentions(f.Text)
}

// configured reports whether an item is of something in the configuration. What
// could not be read at all may be.
func (i Item) configured() bool {
	return i.Feeds.Secret != "" || i.Kind == ACM || i.Kind == TLS || i.Status == Unknown
}

// oneOf reports whether one of the list fits, or nothing is asked for.
func oneOf[T any](list []T, fits func(T) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, fits)
}

func owns(o string, i Item) bool {
	if strings.EqualFold(o, NoOwner) {
		return i.OwnerFrom == ""
	}
	return i.OwnerFrom != "" && (contains(i.Owner.Name, o) || strings.EqualFold(string(i.Owner.Channel), o))
}

func contains(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

func (i Item) mentions(text string) bool {
	if text == "" {
		return true
	}
	return slices.ContainsFunc([]string{
		i.Name, i.Key, string(i.KeyID), string(i.Client), i.Application, i.ARN, i.Issuer, i.Owner.Name,
		string(i.Feeds.Secret), i.Feeds.Parameter, i.Feeds.Cluster, i.Feeds.Service, i.Feeds.Endpoint, strings.Join(i.Feeds.Resources, " "),
	}, func(s string) bool { return contains(s, text) })
}

// Select returns the part of the inventory that the filter wants. Findings are
// kept that concern what the filter names; gaps always are, since what they hide
// might have been wanted.
func (v Inventory) Select(f Filter) Inventory {
	out := v
	if f.empty() {
		return out
	}
	out.Items, out.Findings = []Item{}, []Finding{}
	for _, i := range v.Items {
		if f.Matches(i) {
			out.Items = append(out.Items, i)
		}
	}
	for _, one := range v.Findings {
		if f.wants(one) {
			out.Findings = append(out.Findings, one)
		}
	}
	return out
}

// empty reports whether the filter wants everything.
func (f Filter) empty() bool {
	return len(f.Kinds)+len(f.Statuses)+len(f.Environments)+len(f.Servers)+len(f.Owners) == 0 && f.Text == "" && !f.Configured
}

// wants judges a finding by what it has in common with items: a finding has no
// kind of theirs and no status.
func (f Filter) wants(one Finding) bool {
	i := Item{Feeds: one.Feeds, Owner: one.Owner, Name: one.Text}
	i.Owner, i.OwnerFrom = configured(one.Owner)
	f.Kinds, f.Statuses, f.Configured = nil, nil, false
	return f.Matches(i)
}

// ParseKind reads a kind as people type it.
func ParseKind(text string) (Kind, error) { return parse(text, "kind", Kinds()) }

// ParseStatus reads a status as people type it.
func ParseStatus(text string) (Status, error) { return parse(text, "status", Statuses()) }

// ParseOrder reads an order as people type it.
func ParseOrder(text string) (Order, error) { return parse(text, "order", Orders()) }

func parse[T ~string](text, what string, known []T) (T, error) {
	for _, k := range known {
		if strings.EqualFold(text, string(k)) {
			return k, nil
		}
	}
	words := make([]string, len(known))
	for n, k := range known {
		words[n] = string(k)
	}
	return "", fmt.Errorf("there is no %s %q; there are %s", what, text, strings.Join(words, ", "))
}

// Order is an order of items.
type Order string

// The orders. Each ends with the id, so that the same items are always in the same
// order.
const (
	ByUrgency Order = "urgency" // overdue, unknown, due, fine; in each, what ends first
	ByEnd     Order = "end"     // what ends first; unknown ends before all
	ByName    Order = "name"
	ByOwner   Order = "owner" // in each, by urgency; what nobody owns first
)

// Orders lists all orders.
func Orders() []Order { return []Order{ByUrgency, ByEnd, ByName, ByOwner} }

// Sort puts items in an order. Items are large, so it first finds out where each
// belongs, and then moves each once.
func Sort(items []Item, by Order) {
	places := make([]place, len(items)) // places[n] tells what will stand at n
	for n := range items {
		places[n] = by.place(n, &items[n])
	}
	slices.SortFunc(places, place.compare)
	for start := range places {
		first := items[start]
		for to := start; places[to].from != to; { // a circle of places, each taking the item of the next
			next := places[to].from
			places[to].from = to
			if next == start {
				items[to] = first
				break
			}
			items[to] = items[next]
			to = next
		}
	}
}

// place is what decides where an item belongs, the first that differs, apart from
// the item: looking into two large items for every comparison takes longer than
// everything else that is done with a list of 20,000.
type place struct {
	text string // an owner's or an item's name in small letters
	rank int
	end  int64 // microseconds since 1970: comparing instants takes three times as long
	name string
	id   ID
	from int // where the item stands
}

func (o Order) place(from int, i *Item) place {
	p := place{from: from, end: i.End.UnixMicro(), id: i.ID}
	switch o {
	case ByEnd:
		p.name = i.Name
	case ByName:
		p.text = strings.ToLower(i.Name)
	case ByOwner:
		p.text, p.rank, p.name = strings.ToLower(i.Owner.Name), i.rank(), i.Name
	default:
		p.rank, p.name = i.rank(), i.Name
	}
	return p
}

func (p place) compare(q place) int {
	if p.text != q.text {
		return cmp.Compare(p.text, q.text)
	}
	if p.rank != q.rank {
		return p.rank - q.rank
	}
	if c := cmp.Compare(p.end, q.end); c != 0 {
		return c
	}
	if c := cmp.Compare(p.name, q.name); c != 0 {
		return c
	}
	return cmp.Compare(p.id, q.id)
}

// rank is how far down an item stands. What was replaced hurts nobody when it ends.
func (i *Item) rank() int {
	if i.Replaced {
		return len(Statuses())
	}
	return slices.Index(Statuses(), i.Status)
}
