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
	"github.com/twokey/twokey/runbook"
)

// Archive keeps the digests that were told.
type Archive interface {
	// LastDigest is when the newest was told; zero when none ever was.
	LastDigest(ctx context.Context) (time.Time, error)
	// TellDigest does nothing when another was told since last.
	TellDigest(ctx context.Context, last time.Time, d operation.WeeklyDigest, picture []byte) error
}

// Deeds tells what was done, and what is left.
type Deeds interface {
	// OperationsOf returns the newest operations on a secret, open and ended.
	OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error)
	OpenLeftovers(ctx context.Context) ([]operation.Leftover, error)
}

// Judge says why nobody could confirm an operation today; empty when somebody could.
type Judge interface {
	Unconfirmed(ctx context.Context, p operation.Policy) string
}

// Digests tell what expires in the coming year and what was done.
type Digests struct {
	Surveyor Surveyor
	Archive  Archive
	Deeds    Deeds
	Judge    Judge
	Targets  []runbook.Target
	Schedule Schedule
	Channel  operation.ChannelID
	Others   bool // keys of the tenant's other applications too
	// Draw makes the picture, as a PNG.
	Draw func(d operation.WeeklyDigest, zone *time.Location) ([]byte, error)
}

// firstDigest is how far the first digest looks back.
const firstDigest = 7 * 24 * time.Hour

// months is how many months a digest looks ahead, besides the present one.
const months = 12

// Ask tells the digest that is due, if it was not told. What stops the picture does
// not stop the text.
func (d *Digests) Ask(ctx context.Context, now time.Time) error {
	last, err := d.Archive.LastDigest(ctx)
	if err != nil {
		return err
	}
	since := last
	switch {
	case last.IsZero():
		since = now.Add(-firstDigest)
	case d.Schedule.Next(last).After(now):
		return nil // it was told, and whoever told it died before that was noted
	}
	found, err := d.Surveyor.Sweep(ctx)
	if err != nil {
		return fmt.Errorf("look for what expires: %w", err)
	}
	digest := operation.WeeklyDigest{Channel: d.Channel, Since: since, At: now, Zone: d.Schedule.Zone().String()}
	d.expiring(&digest, found)
	if err := d.done(ctx, &digest, found); err != nil {
		return err
	}
	d.unconfirmable(ctx, &digest)
	digest.Alternative = alternative(digest)
	picture, err := d.Draw(digest, d.Schedule.Zone())
	if err != nil {
		digest.NoPicture = "It could not be drawn: " + err.Error() + "."
	}
	return d.Archive.TellDigest(ctx, last, digest, picture)
}

// expiring sorts what expires into months.
func (d *Digests) expiring(digest *operation.WeeklyDigest, v inventory.Inventory) {
	zone := d.Schedule.Zone()
	first := monthOf(digest.At, zone)
	for n := range months + 1 {
		digest.Months = append(digest.Months, operation.Month{Name: first.AddDate(0, n, 0).Format("January 2006")})
	}
	items := slices.Clone(v.Items)
	inventory.Sort(items, inventory.ByEnd)
	for _, i := range items {
		configured := i.Feeds.Secret != "" || i.KeyID == ""
		if i.Replaced || !configured && !d.Others {
			continue
		}
		one := operation.Expiring{Name: i.Name, Kind: i.Kind.Words(), Owner: i.Owner.Name, End: i.End}
		n := between(first, monthOf(i.End, zone))
		switch {
		case i.End.IsZero():
			one.Why = i.Why
			digest.Unknown = append(digest.Unknown, one)
		case !digest.At.Before(i.End):
			digest.Overdue = append(digest.Overdue, one)
		case n > months:
			digest.Later++
		default:
			digest.Months[n].Items = append(digest.Months[n].Items, one)
		}
	}
	for _, g := range v.Gaps {
		digest.Gaps = append(digest.Gaps, g.Source+": "+g.Why)
	}
}

func monthOf(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, zone)
}

func between(first, t time.Time) int {
	return (t.Year()-first.Year())*12 + int(t.Month()) - int(first.Month())
}

// done gathers what ended since the last digest, and every emergency that is open.
func (d *Digests) done(ctx context.Context, digest *operation.WeeklyDigest, v inventory.Inventory) error {
	for _, t := range d.Targets {
		all, err := d.Deeds.OperationsOf(ctx, t.Name)
		if err != nil {
			return fmt.Errorf("read the operations of %s: %w", t.Name, err)
		}
		for _, op := range all {
			ended := op.EndedAt.After(digest.Since) && !op.EndedAt.After(digest.At)
			goesOn, confirmed := op.Plan.Urgent && op.State.Open(), op.Approver.User != ""
			if !ended && !goesOn || !confirmed && !op.Plan.Urgent {
				continue // of what nobody confirmed, only emergencies are news
			}
			digest.Deeds = append(digest.Deeds, deed(op))
			if op.State == operation.Succeeded {
				digest.Retired += retired(op, v)
			}
		}
	}
	slices.SortStableFunc(digest.Deeds, func(a, b operation.Deed) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Operation, b.Operation))
	})
	left, err := d.Deeds.OpenLeftovers(ctx)
	digest.Leftovers = len(slices.DeleteFunc(left, operation.Leftover.OfPolicy)) // those have another remedy
	return err
}

// retired counts the keys that an operation removed and that the directory does not
// list. Without the whole list nothing is claimed.
func retired(op operation.Operation, v inventory.Inventory) int {
	if slices.ContainsFunc(v.Gaps, func(g inventory.Gap) bool {
		return g.Source == inventory.GapApplications || g.Source == inventory.GapPrincipals
	}) {
		return 0
	}
	n := 0
	for _, id := range runbook.KeysReplaced(op) {
		if !slices.ContainsFunc(v.Items, func(i inventory.Item) bool { return strings.EqualFold(string(i.KeyID), string(id)) }) {
			n++
		}
	}
	return n
}

func deed(op operation.Operation) operation.Deed {
	out := operation.Deed{
		Operation: op.ID, Kind: op.Kind, Secret: op.Secret, State: op.State, Emergency: op.Plan.Urgent, Drill: op.Drill(),
		By: op.Requester, Confirmed: op.Approver, At: op.EndedAt,
	}
	if op.State.Open() {
		out.At = op.RequestedAt
	}
	if op.Approver.User == "" {
		return out
	}
	out.Decided = op.DecidedAt.Sub(op.RequestedAt)
	if at := runbook.RemovedAt(op); !at.IsZero() {
		out.Removed = max(at.Sub(op.DecidedAt), time.Millisecond) // 0 is not removed, and within the second is soonest of all
	}
	if !op.EndedAt.IsZero() {
		out.Took = op.EndedAt.Sub(op.DecidedAt)
	}
	return out
}

// unconfirmable asks about each policy once.
func (d *Digests) unconfirmable(ctx context.Context, digest *operation.WeeklyDigest) {
	asked := map[operation.Policy]string{}
	for _, t := range d.Targets {
		why, known := asked[t.Policy]
		if !known {
			why = d.Judge.Unconfirmed(ctx, t.Policy)
			asked[t.Policy] = why
		}
		if why != "" {
			digest.Unconfirmable = append(digest.Unconfirmable, operation.Unconfirmable{Secret: t.Name, Why: why})
		}
	}
}

// alternative is the picture in words.
func alternative(d operation.WeeklyDigest) string {
	text := "Time line of the next 12 months: when each secret and certificate expires. " + d.Summary()
	for _, m := range d.Months {
		if len(m.Items) > 0 {
			text += fmt.Sprintf(" %s: %d.", m.Name, len(m.Items))
		}
	}
	return text
}
