package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
)

// DefaultStages are how many days before its end something is told.
func DefaultStages() []int { return []int{90, 60, 30, 14, 7, 3, 1} }

// DefaultEscalate is how many days before its end something is told where it
// escalates, when nobody has taken it.
const DefaultEscalate = 7

// Policy is who is told what, and when.
type Policy struct {
	Stages   []int // days before the end, most first
	Escalate int   // from how many days before the end on; 0: never
	// Channel is where owners are told who have no channel of their own.
	Channel operation.ChannelID
	// Escalation is where it escalates for owners who have no channel for that.
	Escalation operation.ChannelID
	// Ring is the group that an overdue secret rings; empty: nobody.
	Ring operation.GroupID
	// Others has keys told too that belong to no secret of the configuration.
	Others bool
}

// Surveyor finds out what can expire, now.
type Surveyor interface {
	Sweep(ctx context.Context) (inventory.Inventory, error)
}

// Book keeps what was told.
type Book interface {
	// Matters returns what was told of and is not settled.
	Matters(ctx context.Context) ([]operation.Matter, error)
	// Remind tells those reminders that are still to be told, each once.
	Remind(ctx context.Context, now time.Time, due []operation.Reminder) ([]operation.Reminder, error)
	// Settle notes that matters need nobody any more.
	Settle(ctx context.Context, matters []operation.Matter) error
}

// Reminders tells what expires, and closes what does not any more.
type Reminders struct {
	Surveyor Surveyor
	Book     Book
	Policy   Policy
}

// Ask tells everything that is due at now and was not told, at the newest stage
// alone. Asked again, it tells nothing. Days are those of the given zone.
func (r *Reminders) Ask(ctx context.Context, now time.Time, zone *time.Location) error {
	found, err := r.Surveyor.Sweep(ctx)
	if err != nil {
		return fmt.Errorf("look for what expires: %w", err)
	}
	open, err := r.Book.Matters(ctx)
	if err != nil {
		return err
	}
	if err := r.Book.Settle(ctx, settled(found, open, now)); err != nil {
		return err
	}
	known := map[key]operation.Matter{}
	for _, m := range open {
		known[keyOf(m.Item, m.End)] = m
	}
	var due []operation.Reminder
	for _, i := range found.Items {
		stage, ok := r.Policy.due(i, now, zone)
		if !ok {
			continue
		}
		if m, told := known[keyOf(string(i.ID), i.End)]; told && !m.Untold(stage, now) {
			continue // the book would say so too, but costs a transaction
		}
		due = append(due, r.Policy.reminder(i, stage, now, zone))
	}
	if len(due) == 0 {
		return nil
	}
	slices.SortStableFunc(due, func(a, b operation.Reminder) int { return rank(a) - rank(b) })
	_, err = r.Book.Remind(ctx, now, due)
	return err
}

// rank has what can be rotated here come first.
func rank(r operation.Reminder) int {
	if r.Secret != "" {
		return 0
	}
	return 1
}

// key is what makes two matters one.
type key struct {
	item string
	end  int64 // microseconds since 1970, as they are stored; 0: unknown
}

func keyOf(item string, end time.Time) key {
	if end.IsZero() {
		return key{item: item}
	}
	return key{item, end.UnixMicro()}
}

// due is the stage at which an item is to be told at now.
func (p Policy) due(i inventory.Item, now time.Time, zone *time.Location) (operation.Stage, bool) {
	configured := i.Feeds.Secret != "" || i.KeyID == "" // what has no key's id was configured, or could not be read
	if i.Replaced || !configured && !p.Others {
		return 0, false
	}
	if i.End.IsZero() {
		return operation.Stage(-day(now, zone)), true // once a day, for as long as it is so
	}
	stages := p.Stages
	if p.above(i) != "" {
		stages = append(slices.Clip(stages), p.Escalate) // the day on which it escalates is one to tell it on
	}
	stage, ok := StageAt(stages, i.End, now, zone)
	switch {
	case i.Renews && now.Add(inventory.DefaultDue).Before(i.End):
		return 0, false // it may still renew itself
	case stage < 0 && i.KeyID != "" && !i.Live:
		return 0, true // a dead key that nothing has is told once, and not every day
	}
	return stage, ok
}

// StageAt is the latest stage that is due at now for what ends at end, by the days
// of a zone: the smallest of stages that is not yet past or, from its end on, how
// many days ago that was. It reports false while none is due.
func StageAt(stages []int, end, now time.Time, zone *time.Location) (operation.Stage, bool) {
	left := day(end, zone) - day(now, zone)
	if !now.Before(end) {
		return operation.Stage(left), true
	}
	best, found := 0, false
	for _, s := range stages {
		if left <= s && (!found || s < best) {
			best, found = s, true
		}
	}
	return operation.Stage(best), found
}

// reminder words what people are told of an item.
func (p Policy) reminder(i inventory.Item, stage operation.Stage, now time.Time, zone *time.Location) operation.Reminder {
	r := operation.Reminder{
		Matter: operation.Matter{Item: string(i.ID), End: i.End}, Stage: stage, At: now,
		Name: i.Name, Kind: i.Words(), Secret: i.Feeds.Secret, Key: string(i.KeyID), Owner: i.Owner.Name, Why: i.Why,
		Feeds: i.TiedTo(), Breaks: breaks(i), Channel: p.channel(i),
	}
	if i.KeyID != "" && !i.Live {
		r.Kind += ", in no parameter"
	}
	if !i.End.IsZero() {
		r.Days = day(i.End, zone) - day(now, zone)
	}
	if int(stage) <= p.Escalate {
		r.Escalation = p.above(i)
	}
	if i.Live && r.Overdue() {
		r.Ring = p.Ring
	}
	return r
}

// channel is where an item's owner is told.
func (p Policy) channel(i inventory.Item) operation.ChannelID {
	return cmp.Or(i.Owner.Channel, p.Channel)
}

// above is where an item escalates; empty: nowhere.
func (p Policy) above(i inventory.Item) operation.ChannelID {
	above := cmp.Or(i.Owner.Escalation, p.Escalation)
	if p.Escalate == 0 || i.End.IsZero() || above == p.channel(i) {
		return ""
	}
	return above
}

// breaks says what no longer works after an item's end.
func breaks(i inventory.Item) string {
	switch {
	case i.Live:
		return "Entra gives no tokens for it any more: the service keeps running, and all that it does with them fails."
	case i.Kind == inventory.TLS:
		return "Clients refuse to connect."
	case i.Kind == inventory.ACM:
		return "What uses it shows a certificate that nobody believes."
	case i.KeyID != "":
		return "Nothing that is configured here. Somebody else may have it."
	}
	return ""
}

// settled finds the open matters that need nobody any more. What could not be read
// is no reason to believe that it is gone.
func settled(v inventory.Inventory, open []operation.Matter, now time.Time) []operation.Matter {
	items := map[string]inventory.Item{}
	for _, i := range v.Items {
		items[string(i.ID)] = i
	}
	var out []operation.Matter
	for _, m := range open {
		why := ""
		i, there := items[m.Item]
		switch {
		case there && i.Replaced:
			why = "another key is in its place."
		case there && !i.End.IsZero() && m.End.IsZero():
			why = fmt.Sprintf("it is known again when it expires: at %s.", i.End.UTC().Format("2006-01-02 15:04 MST"))
		case there && !i.End.IsZero() && keyOf(m.Item, i.End) != keyOf(m.Item, m.End):
			why = fmt.Sprintf("it was renewed and expires at %s.", i.End.UTC().Format("2006-01-02 15:04 MST"))
		case !there && m.End.IsZero():
			why = "it can be read again."
		case !there && readCompletely(v, m.Item):
			why = "it is there no longer."
		}
		if why != "" {
			m.Settled = operation.Settled{At: now, Why: why}
			out = append(out, m)
		}
	}
	return out
}

// readCompletely reports whether all items of a kind could be read, so that one
// which is missing is gone.
func readCompletely(v inventory.Inventory, item string) bool {
	kind := item[:max(strings.IndexAny(item+":", ":@"), 0)]
	for _, i := range v.Items {
		if i.End.IsZero() && i.KeyID == "" && (string(i.Kind) == kind || kind != string(inventory.ACM) && kind != string(inventory.TLS)) {
			return false
		}
	}
	return len(v.Gaps) == 0
}
