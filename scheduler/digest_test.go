package scheduler

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/store"
)

// archive notes which digests were told, and fails when the test says so.
type archive struct {
	*store.Store
	fails func() (before, after bool)
}

// TellDigest implements Archive.
func (a archive) TellDigest(ctx context.Context, last time.Time, d operation.WeeklyDigest, picture []byte) error {
	before, after := a.fails()
	if before {
		return errCrash
	}
	if err := a.Store.TellDigest(ctx, last, d, picture); err != nil {
		return err
	}
	if after {
		return errCrash // committed, and nobody knows
	}
	return nil
}

// fataler is a test, or a case of a property.
type fataler interface{ Fatal(args ...any) }

type everybody struct{}

func (everybody) Unconfirmed(context.Context, operation.Policy) string { return "" }

func weekly(t fataler) Schedule {
	s, err := ParseSchedule("0 9 * * 1", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func digests(t fataler, db *store.Store, v inventory.Inventory, fails func() (before, after bool)) *Digests {
	return &Digests{
		Surveyor: swept(v), Archive: archive{db, fails}, Deeds: db, Judge: everybody{}, Schedule: weekly(t), Channel: "C0OPS",
		Draw: func(operation.WeeklyDigest, *time.Location) ([]byte, error) { return []byte("a picture"), nil },
	}
}

// swept is an inventory that was made before.
type swept inventory.Inventory

func (s swept) Sweep(context.Context) (inventory.Inventory, error) {
	return inventory.Inventory(s), nil
}

// digestsTold are the digests' messages that were to be posted so far.
func digestsTold(t fataler, db *store.Store) int {
	var n int
	if err := db.DB().QueryRow("SELECT COUNT(*) FROM notices WHERE kind = 'digest'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestADigestIsToldOnceAWeekWhateverCrashes: replicas ask at once, die before or
// after the digest is written down, ask again, and sleep through weeks.
func TestADigestIsToldOnceAWeekWhateverCrashes(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(t *testing.T) string{
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "twokey.db") },
		"PostgreSQL": func(t *testing.T) string { return need.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := address(t)
			first := openStore(t, where)
			replicas := []*store.Store{first}
			if name == "PostgreSQL" {
				replicas = append(replicas, openStore(t, where))
			}
			s := weekly(t)
			at := s.Next(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
			want := 0
			rapid.Check(t, func(t *rapid.T) {
				for range rapid.IntRange(0, 3).Draw(t, "weeks of sleep") {
					at = s.Next(at)
				}
				late := at.Add(time.Duration(rapid.IntRange(0, 6*24*60).Draw(t, "minutes late")) * time.Minute)
				dies := rapid.SliceOfN(rapid.IntRange(0, 3), 6, 6).Draw(t, "dies")
				var wg sync.WaitGroup
				for i := range rapid.IntRange(1, 3).Draw(t, "askers") {
					calls := 0
					fails := func() (before, after bool) {
						calls++
						return dies[(i+calls)%len(dies)] == 1 && calls < 5, dies[(i+calls)%len(dies)] == 2
					}
					asker := digests(t, replicas[i%len(replicas)], inventory.Inventory{}, fails)
					wg.Go(func() {
						for range 10 { // as the queue would try again, a little later
							if err := asker.Ask(context.Background(), late); !errors.Is(err, errCrash) {
								if err != nil {
									t.Error(err)
								}
								return
							}
						}
					})
				}
				wg.Wait()
				want++
				if got := digestsTold(t, first); got != want {
					t.Fatalf("%d digests after %d that were due", got, want)
				}
				at = s.Next(late)
			})
		})
	}
}

func TestADigestSortsWhatExpiresIntoMonthsOfItsZone(t *testing.T) {
	t.Parallel()
	db := openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "twokey.db"))
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC) // a Monday
	replaced, foreign, unknown := secret("replaced", now.AddDate(0, 1, 0)), secret("foreign", now.AddDate(0, 1, 0)), secret("unknown", time.Time{})
	replaced.Replaced = true
	foreign.Feeds = inventory.Feeds{}
	unknown.Why = "It could not be read."
	v := inventory.Inventory{At: now, Items: []inventory.Item{
		secret("later", now.AddDate(2, 0, 0)), secret("overdue", now.AddDate(0, 0, -1)), secret("ends", now), replaced, foreign, unknown,
		secret("berlin", time.Date(2026, 12, 31, 23, 30, 0, 0, time.UTC)), // January there
		secret("december", time.Date(2026, 12, 31, 22, 30, 0, 0, time.UTC)), secret("last", time.Date(2027, 11, 30, 12, 0, 0, 0, time.UTC)),
	}, Gaps: []inventory.Gap{{Source: "last uses in Entra", Why: "the permission is missing"}}}
	asker := digests(t, db, v, never)
	asker.Draw = func(operation.WeeklyDigest, *time.Location) ([]byte, error) { return nil, errors.New("no letters") }
	asker.Judge = nobody{}
	asker.Targets = []runbook.Target{{Name: "a/prod", Policy: operation.Policy{Channel: "C1"}}}
	if err := asker.Ask(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	d, picture, err := db.Digest(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range d.Overdue {
		got = append(got, "overdue "+e.Name)
	}
	for _, e := range d.Unknown {
		got = append(got, "unknown "+e.Name)
	}
	for _, m := range d.Months {
		for _, e := range m.Items {
			got = append(got, m.Name+" "+e.Name)
		}
	}
	want := "overdue overdue/prod; overdue ends/prod; unknown unknown/prod; December 2026 december/prod; January 2027 berlin/prod; November 2027 last/prod"
	if s := strings.Join(got, "; "); s != want || d.Later != 1 || len(d.Months) != 13 {
		t.Errorf("%d later, %d months, %s", d.Later, len(d.Months), s)
	}
	if len(picture) != 0 || !strings.Contains(d.NoPicture, "no letters") {
		t.Errorf("the picture is %q, there is none because %q", picture, d.NoPicture)
	}
	if len(d.Unconfirmable) != 1 || d.Unconfirmable[0].Why != "nobody is there." || len(d.Gaps) != 1 {
		t.Errorf("%+v, gaps %q", d.Unconfirmable, d.Gaps)
	}
}

// TestAKeyIsSaidToBeGoneOnlyWhereEntraListsItNoMore: with its whole list.
func TestAKeyIsSaidToBeGoneOnlyWhereEntraListsItNoMore(t *testing.T) {
	t.Parallel()
	db := openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "twokey.db"))
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC) // a Monday
	rotated := deeds{{ID: "k7m2p9", Kind: runbook.KindRotate, Secret: "a/prod", State: operation.Succeeded, Approver: operation.Person{User: "U2"},
		Plan: operation.Plan{Details: []byte(`{"old_key": "OLD"}`)}}}
	undone := deeds{rotated[0]}
	undone[0].State = operation.TakenBack
	for n, c := range []struct {
		about string
		deeds deeds
		v     inventory.Inventory
		want  int
	}{
		{"it is not listed", rotated, inventory.Inventory{Items: []inventory.Item{secret("new", now.AddDate(1, 0, 0))}}, 1},
		{"somebody brought it back", rotated, inventory.Inventory{Items: []inventory.Item{secret("old", now.AddDate(1, 0, 0))}}, 0},
		{"applications could not be read", rotated, inventory.Inventory{Gaps: []inventory.Gap{{Source: inventory.GapApplications}}}, 0},
		{"service principals could not be read", rotated, inventory.Inventory{Gaps: []inventory.Gap{{Source: inventory.GapPrincipals}}}, 0},
		{"nothing was retired", undone, inventory.Inventory{}, 0},
	} {
		asker := digests(t, db, c.v, never)
		asker.Deeds, asker.Targets = c.deeds, []runbook.Target{{Name: "a/prod"}}
		at := now.AddDate(0, 0, 7*n)
		c.deeds[0].EndedAt = at.AddDate(0, 0, -1)
		if err := asker.Ask(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		d, _, err := db.Digest(t.Context(), operation.DigestID(n+1))
		if err != nil || d.Retired != c.want || len(d.Deeds) != 1 {
			t.Errorf("%s: %d are said to be gone, with %d deeds, %v", c.about, d.Retired, len(d.Deeds), err)
		}
	}
}

// deeds are what was done to every secret.
type deeds []operation.Operation

func (d deeds) OperationsOf(context.Context, operation.SecretName) ([]operation.Operation, error) {
	return d, nil
}

func (d deeds) OpenLeftovers(context.Context) ([]operation.Leftover, error) { return nil, nil }

type nobody struct{}

func (nobody) Unconfirmed(context.Context, operation.Policy) string { return "nobody is there." }

// TestALeftoverIsToldOnceUntilItChangesOrIsGone: the same finding is one message,
// whoever asks and however often.
func TestALeftoverIsToldOnceUntilItChangesOrIsGone(t *testing.T) {
	t.Parallel()
	db := openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "twokey.db"))
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	left := func(name, text string) inventory.Finding {
		return inventory.Finding{ID: "unexplained-key:k", Kind: inventory.KeyUnexplained, Feeds: inventory.Feeds{Secret: "a/prod"}, Key: &runbook.Key{ID: "k", Name: name}, Text: text}
	}
	with := func(f ...inventory.Finding) inventory.Inventory { return inventory.Inventory{Findings: f} }
	live := with()
	live.Items = []inventory.Item{{KeyID: "k", Live: true, End: now}}
	blind := inventory.Inventory{Gaps: []inventory.Gap{{Source: inventory.GapApplications, Why: "Entra is down"}}}
	pending := inventory.Finding{ID: "pending-parameter:/p.pending", Kind: inventory.PendingLeft, Feeds: inventory.Feeds{Secret: "a/prod", Parameter: "/p.pending"}, Text: "there"}
	busy := []operation.Operation{{ID: "k7m2p9", State: operation.Running}}
	for n, c := range []struct {
		about string
		v     inventory.Inventory
		open  []operation.Operation
		want  string // told so far, open, and why the last was closed
	}{
		{"somebody else's key is nobody's business", with(left("portal", "x")), nil, "0 0 "},
		{"a key of ours is told", with(left("twokey:zzz", "x")), nil, "1 1 "},
		{"and not again", with(left("twokey:zzz", "x")), nil, "1 1 "},
		{"what could not be read is not gone", blind, nil, "1 1 "},
		{"it changes", with(left("twokey:zzz", "y")), nil, "2 1 it has changed, and is told anew."},
		{"an operation may need it", with(), busy, "2 1 it has changed, and is told anew."},
		{"it is in use", live, nil, "2 0 the live parameter holds it by now."},
		{"it is left again, and a parameter", with(left("twokey:zzz", "y"), pending), nil, "4 2 the live parameter holds it by now."},
		{"both are gone", with(), nil, "4 0 it is there no longer."},
	} {
		asker := &Sweeps{Surveyor: swept(c.v), Shelf: db, Operations: openOnes(c.open), Channel: "C0OPS"}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := asker.Ask(t.Context(), now.AddDate(0, 0, n)); err != nil {
					t.Errorf("%s: %v", c.about, err)
				}
			})
		}
		wg.Wait()
		if got := shelf(t, db); got != c.want {
			t.Errorf("%s: %q, want %q", c.about, got, c.want)
		}
	}
}

type openOnes []operation.Operation

func (o openOnes) OpenOperations(context.Context, operation.SecretName) ([]operation.Operation, error) {
	return o, nil
}

// shelf counts what was told and what is open, and says why the last was closed.
func shelf(t *testing.T, db *store.Store) string {
	t.Helper()
	open, err := db.OpenLeftovers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told, why := 0, ""
	var last time.Time
	for {
		l, err := db.Leftover(t.Context(), operation.LeftoverID(told+1))
		if errors.Is(err, operation.ErrUnknown) {
			return fmt.Sprintf("%d %d %s", told, len(open), why)
		}
		if err != nil {
			t.Fatal(err)
		}
		told++
		if !l.Open() && l.Closed.At.After(last) {
			last, why = l.Closed.At, l.Closed.Why
		}
	}
}
