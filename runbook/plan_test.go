package runbook

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twokey/twokey/operation"
)

func TestMonthsEndOnTheLastDayOfAShorterOne(t *testing.T) {
	for _, c := range []struct {
		from   string
		months int
		want   string
	}{
		{"2026-11-24T10:00:00Z", 24, "2028-11-24T10:00:00Z"},
		{"2024-02-29T23:59:59Z", 12, "2025-02-28T23:59:59Z"},
		{"2024-02-29T00:00:00Z", 24, "2026-02-28T00:00:00Z"},
		{"2024-02-29T00:00:00Z", 48, "2028-02-29T00:00:00Z"},
		{"2026-08-31T12:00:00Z", 6, "2027-02-28T12:00:00Z"},
		{"2026-12-31T00:00:00Z", 1, "2027-01-31T00:00:00Z"},
		{"2026-01-31T00:00:00Z", 1, "2026-02-28T00:00:00Z"},
		{"2026-10-31T00:00:00Z", 1, "2026-11-30T00:00:00Z"},
	} {
		from, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := addMonths(from, c.months).Format(time.RFC3339); got != c.want {
			t.Errorf("%s and %d months is %s, not %s", c.from, c.months, got, c.want)
		}
	}
}

func TestMonthsNeverSkipOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := time.Unix(rapid.Int64Range(1.5e9, 3e9).Draw(t, "from"), 0).UTC()
		months := rapid.IntRange(1, 120).Draw(t, "months")
		got := addMonths(from, months)
		if moved := (got.Year()-from.Year())*12 + int(got.Month()) - int(from.Month()); moved != months || got.Day() > from.Day() {
			t.Fatalf("%s and %d months is %s", from, months, got)
		}
	})
}

func TestAKMSKeyIsTheSameUnderAllItsNames(t *testing.T) {
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"aws/ssm", "alias/aws/ssm", true},
		{"alias/aws/ssm", "arn:aws:kms:eu-central-1:123456789012:alias/aws/ssm", true},
		{"alias/team", "team", true},
		{id, "arn:aws:kms:eu-central-1:123456789012:key/" + id, true},
		{"alias/team", "alias/other", false},
		{id, "alias/team", false},
		{"", "alias/aws/ssm", false},
	} {
		if SameKMSKey(c.a, c.b) != c.same || SameKMSKey(c.b, c.a) != c.same {
			t.Errorf("%q and %q: same is not %t", c.a, c.b, c.same)
		}
	}
}

func TestARollOutNeedsRoom(t *testing.T) {
	for _, c := range []struct {
		desired, least, most int
		can                  bool
	}{
		{1, 100, 200, true},
		{2, 100, 200, true},
		{1, 0, 100, true},   // stop the one, start another
		{1, 50, 100, false}, // half a task is a task
		{2, 50, 100, true},
		{1, 100, 150, false}, // one and a half is one
		{2, 100, 150, true},
		{3, 100, 133, false},
		{10, 100, 110, true},
	} {
		if got := canRedeploy(Service{Desired: c.desired, MinimumPercent: c.least, MaximumPercent: c.most}); got != c.can {
			t.Errorf("%d tasks at %d to %d %%: %t", c.desired, c.least, c.most, got)
		}
	}
}

func TestDurationsAreSaidAsPeopleDo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1 hour", 24 * time.Hour: "24 hours", 48 * time.Hour: "48 hours", 72 * time.Hour: "3 days", 73 * time.Hour: "73 hours",
		30 * time.Minute: "30 minutes", time.Minute: "1 minute", 90 * time.Minute: "90 minutes", 90 * time.Second: "1m30s",
	} {
		if got := words(d); got != want {
			t.Errorf("%s is said as %q, not %q", d, got, want)
		}
	}
}

// A deployment is complete when it, and nothing beside it, runs all tasks. What it
// can still become is waited for, what is gone is made anew, and a failure is final.
func TestWhenADeploymentIsComplete(t *testing.T) {
	ours := Deployment{ID: "ecs-svc/2", Status: "PRIMARY", Rollout: "COMPLETED"}
	old := Deployment{ID: "ecs-svc/1", Status: "ACTIVE", Rollout: "COMPLETED"}
	under := func(d Deployment, change func(*Deployment)) Deployment { change(&d); return d }
	service := func(running, pending int, deployments ...Deployment) Service {
		return Service{Name: "jira", Desired: 2, Running: running, Pending: pending, Deployments: deployments}
	}
	for name, c := range map[string]struct {
		service Service
		want    string // done, wait, again, final
	}{
		"it runs alone":                        {service(2, 0, ours), "done"},
		"an inactive one is listed beside it":  {service(2, 0, ours, under(old, func(d *Deployment) { d.Status = "INACTIVE" })), "done"},
		"the old one still runs":               {service(2, 0, ours, old), "wait"},
		"it is in progress":                    {service(2, 0, under(ours, func(d *Deployment) { d.Rollout = "IN_PROGRESS" })), "wait"},
		"a task is missing":                    {service(1, 0, ours), "wait"},
		"a task is pending":                    {service(2, 1, ours), "wait"},
		"it failed":                            {service(2, 0, under(ours, func(d *Deployment) { d.Rollout = "FAILED" }), old), "final"},
		"another one is the primary one":       {service(2, 0, under(old, func(d *Deployment) { d.Status = "PRIMARY" }), under(ours, func(d *Deployment) { d.Status = "ACTIVE" })), "again"},
		"it is gone":                           {service(2, 0, old), "again"},
		"nobody wants a task, so nothing runs": {Service{Name: "jira", Deployments: []Deployment{ours}}, "wait"},
	} {
		err := complete(c.service, ours.ID)
		var notYet operation.NotYet
		var again operation.DoAgain
		got := "other"
		switch {
		case err == nil:
			got = "done"
		case errors.As(err, &notYet):
			got = "wait"
		case errors.As(err, &again):
			got = "again"
		case operation.IsPermanent(err):
			got = "final"
		}
		if got != c.want {
			t.Errorf("%s: %s (%v), not %s", name, got, err, c.want)
		}
	}
}
