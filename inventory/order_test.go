package inventory

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// items draws items of all kinds, with hostile and equal names among them.
func items(t *rapid.T) []Item {
	word := rapid.SampledFrom([]string{"", "sharepoint", "SharePoint", "jira", "=1+1", "a\nb", "ſ", "Ünïcödé"})
	var out []Item
	for n := range rapid.IntRange(0, 30).Draw(t, "items") {
		i := Item{
			ID: ID(rapid.StringMatching(`[a-z]{3}`).Draw(t, "id") + string(rune('A'+n))), Kind: rapid.SampledFrom(Kinds()).Draw(t, "kind"), Name: word.Draw(t, "name"), Key: word.Draw(t, "key"),
			Feeds:    Feeds{Server: word.Draw(t, "server"), Environment: rapid.SampledFrom([]string{"", "dev", "prod"}).Draw(t, "environment"), Secret: operation.SecretName(word.Draw(t, "secret"))},
			Replaced: rapid.IntRange(0, 5).Draw(t, "replaced") == 0,
		}
		if name := word.Draw(t, "owner"); name != "" {
			i.Owner, i.OwnerFrom = runbook.Owner{Name: name}, FromConfig
		}
		if days := rapid.IntRange(-60, 60).Draw(t, "days"); days != 60 {
			i.End = now.AddDate(0, 0, days)
		}
		i.Status = i.StatusAt(now, DefaultDue)
		out = append(out, i)
	}
	return out
}

func TestTheStatusFollowsFromTheEndAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		left := time.Duration(rapid.Int64Range(-int64(400*day), int64(400*day)).Draw(t, "left"))
		due := time.Duration(rapid.Int64Range(0, int64(100*day)).Draw(t, "due"))
		zone := time.FixedZone("", rapid.IntRange(-14*3600, 14*3600).Draw(t, "zone"))
		i := Item{End: now.Add(left).In(time.FixedZone("", rapid.IntRange(-14*3600, 14*3600).Draw(t, "zone of the end")))}
		want := Fine
		switch {
		case left <= 0:
			want = Overdue
		case left <= due:
			want = Due
		}
		if got := i.StatusAt(now.In(zone), due); got != want {
			t.Fatalf("with %s left and due before %s it is %s, want %s", left, due, got, want)
		}
		if i.Replaced = true; i.StatusAt(now, due) != Fine {
			t.Fatal("what was replaced is not fine")
		}
	})
	if got := (Item{}).StatusAt(now, DefaultDue); got != Unknown {
		t.Errorf("without an end it is %s", got)
	}
}

func TestTheMostUrgentComesFirstAndTheOrderIsAlwaysTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		given := items(t)
		for _, order := range Orders() {
			sorted, again := slices.Clone(given), slices.Clone(given)
			Sort(sorted, order)
			slices.Reverse(again)
			Sort(again, order)
			if d := cmp.Diff(sorted, again); d != "" {
				t.Fatalf("by %s the order depends on what was before:\n%s", order, d)
			}
			for n := range len(sorted) - 1 {
				a, b := sorted[n], sorted[n+1]
				switch {
				case order == ByUrgency && a.rank() > b.rank():
					t.Fatalf("%s (%s) comes before %s (%s)", a.ID, a.Status, b.ID, b.Status)
				case order == ByUrgency && a.rank() == b.rank() && a.End.After(b.End), order == ByEnd && a.End.After(b.End):
					t.Fatalf("by %s what ends %s comes before what ends %s", order, a.End, b.End)
				case order == ByName && strings.ToLower(a.Name) > strings.ToLower(b.Name):
					t.Fatalf("%q comes before %q", a.Name, b.Name)
				case order == ByOwner && strings.ToLower(a.Owner.Name) > strings.ToLower(b.Owner.Name):
					t.Fatalf("%q's comes before %q's", a.Owner.Name, b.Owner.Name)
				}
			}
		}
	})
}

func TestAFilterKeepsExactlyWhatItNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := Inventory{At: now, Due: DefaultDue, Items: items(t)}
		f := Filter{
			Kinds:        rapid.SliceOfN(rapid.SampledFrom(Kinds()), 0, 2).Draw(t, "kinds"),
			Statuses:     rapid.SliceOfN(rapid.SampledFrom(Statuses()), 0, 2).Draw(t, "statuses"),
			Environments: rapid.SliceOfN(rapid.SampledFrom([]string{"dev", "PROD", "test"}), 0, 2).Draw(t, "environments"),
			Text:         rapid.SampledFrom([]string{"", "SHAREPOINT", "=1", "nothing"}).Draw(t, "text"),
		}
		got := v.Select(f)
		kept := map[ID]bool{}
		for _, i := range got.Items {
			kept[i.ID] = true
		}
		for _, i := range v.Items {
			wanted := (len(f.Kinds) == 0 || slices.Contains(f.Kinds, i.Kind)) &&
				(len(f.Statuses) == 0 || slices.Contains(f.Statuses, i.Status)) &&
				(len(f.Environments) == 0 || slices.ContainsFunc(f.Environments, func(e string) bool { return strings.EqualFold(e, i.Feeds.Environment) })) &&
				strings.Contains(strings.ToLower(strings.Join([]string{i.Name, i.Key, i.Owner.Name, string(i.Feeds.Secret)}, "|")), strings.ToLower(f.Text))
			if kept[i.ID] != wanted {
				t.Fatalf("%+v is kept: %v, want %v, by %+v", i, kept[i.ID], wanted, f)
			}
		}
	})
}

func TestOwnersAreFoundByNameChannelOrAbsence(t *testing.T) {
	owned := Item{Owner: runbook.Owner{Name: "Platform team", Channel: "C0PLATFORM"}, OwnerFrom: FromConfig}
	orphan := Item{}
	for asked, want := range map[string][2]bool{"platform": {true, false}, "C0PLATFORM": {true, false}, "network": {false, false}, "None": {false, true}} {
		f := Filter{Owners: []string{asked}}
		if got := [2]bool{f.Matches(owned), f.Matches(orphan)}; got != want {
			t.Errorf("%s: %v, want %v", asked, got, want)
		}
	}
}

func TestWhatIsNotConfiguredCanBeLeftOut(t *testing.T) {
	f := Filter{Configured: true}
	for _, c := range []struct {
		i    Item
		want bool
	}{
		{Item{Kind: Secret, Status: Overdue}, false}, {Item{Kind: Secret, Feeds: Feeds{Secret: "a/b"}}, true},
		{Item{Kind: ACM}, true}, {Item{Kind: TLS}, true}, {Item{Kind: Secret, Status: Unknown}, true},
	} {
		if got := f.Matches(c.i); got != c.want {
			t.Errorf("%+v: %v", c.i, got)
		}
	}
}

func TestFindingsAreFilteredByWhatTheyConcern(t *testing.T) {
	v := Inventory{Findings: []Finding{
		{ID: "1", Feeds: Feeds{Environment: "prod"}, Owner: runbook.Owner{Name: "Platform"}, Text: "one"}, {ID: "2", Feeds: Feeds{Environment: "dev"}, Text: "two"},
	}, Gaps: []Gap{{"something", "broke"}}}
	for want, f := range map[string]Filter{
		"1": {Environments: []string{"prod"}, Kinds: []Kind{TLS}, Statuses: []Status{Fine}}, "2": {Owners: []string{NoOwner}}, "12": {Configured: true}, "": {Text: "three"},
	} {
		got := v.Select(f)
		ids := ""
		for _, one := range got.Findings {
			ids += one.ID
		}
		if ids != want || len(got.Gaps) != 1 {
			t.Errorf("%+v finds %q, want %q; gaps %v", f, ids, want, got.Gaps)
		}
	}
}

func TestWordsOfPeopleAreReadOrTheirMeaningsListed(t *testing.T) {
	if k, err := ParseKind("ACM"); k != ACM || err != nil {
		t.Errorf("%s, %v", k, err)
	}
	if s, err := ParseStatus("overDUE"); s != Overdue || err != nil {
		t.Errorf("%s, %v", s, err)
	}
	if o, err := ParseOrder("owner"); o != ByOwner || err != nil {
		t.Errorf("%s, %v", o, err)
	}
	if _, err := ParseStatus("late"); err == nil || err.Error() != `there is no status "late"; there are overdue, unknown, due, fine` {
		t.Errorf("%v", err)
	}
}
