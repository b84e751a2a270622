package bot

import (
	"fmt"
	"strings"
	"time"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

const day = 24 * time.Hour

// item is a live client secret that ends so long after the tests' first instant.
func item(name string, ends time.Duration, status inventory.Status) inventory.Item {
	server, environment, _ := strings.Cut(name, "/")
	return inventory.Item{
		ID: inventory.ID("secret:" + name), Kind: inventory.Secret, Name: name, Key: "yearly 2025",
		KeyID: "3f1c0a9e-0000-4000-8000-00000000019a", Client: "c0ffee00-0000-4000-8000-000000000001", Application: "aiconnectors-" + server + "-" + environment,
		Owner: runbook.Owner{Name: "Team Documents"}, OwnerFrom: inventory.FromConfig, Live: true,
		Feeds: inventory.Feeds{
			Secret: operation.SecretName(name), Server: server, Environment: environment, Parameter: "/aiconnectors/" + environment + "/" + server + "/client_secret",
			Cluster: "aiconnectors-" + environment, Service: server, Endpoint: "https://" + server + "." + environment + ".example.com/mcp",
		},
		Start: at(0).Add(ends - 730*day), End: at(0).Add(ends), Status: status,
		Rotated: &inventory.Rotation{At: at(0).Add(-400 * day), Operation: "m4x8q2", Kind: "rotate", By: alice(), ConfirmedBy: carol()},
		Used:    inventory.Use{At: at(0).Add(-2 * time.Hour)},
	}
}

// unreadable is one of which nothing could be read.
func unreadable(name string) inventory.Item {
	i := item(name, 0, inventory.Unknown)
	i.End, i.Start, i.Key, i.KeyID, i.Rotated, i.Used = time.Time{}, time.Time{}, "", "", nil, inventory.Use{}
	i.Why = "Which of its application's keys is in use could not be read: the permission to read it is missing (AccessDeniedException)."
	return i
}

// stock is an inventory with something of everything, as it is shown.
func stock() inventory.Inventory {
	old := item("github/dev", 40*day, inventory.Fine)
	old.ID, old.Live, old.Replaced, old.Rotated, old.Key, old.KeyID = "secret:old", false, true, nil, "", "0ddba11e-0000-4000-8000-000000000002"
	old.Used, old.Why = inventory.Use{Why: "the permission to read it is missing"}, "It is in no parameter, and no operation explains it."
	endpoint := inventory.Item{ID: "tls:mcp.example.com:443", Kind: inventory.TLS, Name: "mcp.example.com:443", End: at(0).Add(5 * day), Status: inventory.Due}
	return inventory.Inventory{
		At: at(-7), Due: 30 * day,
		Items: []inventory.Item{
			item("jira/prod", -3*day, inventory.Overdue), unreadable("confluence/prod"), endpoint, item("sharepoint/prod", 14*day+5*time.Hour, inventory.Due),
			item("github/dev", 300*day, inventory.Fine), old,
		},
		Findings: []inventory.Finding{
			{ID: "/aiconnectors/dev/github/client_secret", Kind: inventory.ParameterDrift, Feeds: old.Feeds, Text: "The value of /aiconnectors/dev/github/client_secret belongs to no key of aiconnectors-github-dev."},
			{ID: "0ddba11e", Kind: inventory.KeyUnexplained, Feeds: old.Feeds, Text: "Key 0ddba11e of the application aiconnectors-github-dev is in no parameter, and no operation explains it. Somebody made it and may use it."},
		},
		Gaps: []inventory.Gap{{Source: "last uses in Entra", Why: "the permission to read it is missing (Authorization_RequestDenied)"}},
	}
}

// only is the part of the stock that belongs to one secret.
func only(name operation.SecretName) inventory.Inventory {
	v := stock()
	v.Items = v.Of(name)
	var found []inventory.Finding
	for _, f := range v.Findings {
		if f.Feeds.Secret == name {
			found = append(found, f)
		}
	}
	v.Findings = found
	return v
}

func lists() map[string]SecretList {
	all := SecretList{Inventory: stock(), Now: at(0)}
	calm := stock()
	calm.Gaps, calm.Findings = nil, nil
	none := SecretList{Ref: SecretsRef{Words: "overdue dev"}, Inventory: inventory.Inventory{At: at(0)}, Now: at(0)}
	findings := all
	findings.Findings, findings.Ref = true, SecretsRef{Words: "findings"}
	sharedList := all
	sharedList.By, sharedList.Inventory = bob(), calm
	sent := all
	sent.Shared, sent.Inventory = true, calm
	many := SecretList{Ref: SecretsRef{Page: 1, Words: "all"}, Now: at(0), Inventory: stock()}
	for i := range 40 {
		one := item(fmt.Sprintf("server%d/%s<!channel>*&", i, strings.Repeat("&", 300)), 90*day, inventory.Fine)
		one.Owner.Name, one.Why, one.Key = "<@U0BOB> @everyone "+strings.Repeat("o", 300), "\u202e<https://evil.example|here>"+strings.Repeat("&", 900), strings.Repeat("k", 300)
		many.Inventory.Items = append(many.Inventory.Items, one)
		many.Inventory.Gaps = append(many.Inventory.Gaps, inventory.Gap{Source: "<!here>", Why: strings.Repeat("&", 900)})
	}
	return map[string]SecretList{"list": all, "none": none, "findings": findings, "list-shared": sharedList, "list-sent": sent, "list-many": many}
}

func secretPages() map[string]SecretPage {
	pending := rotation(operation.Pending)
	told := reminder(14)
	entry := func(seq int64, minutes int, o operation.Outcome, ev operation.Event, step string, by *operation.Person, text string) operation.Entry {
		e := operation.Entry{Sequence: seq, At: at(minutes), Secret: "sharepoint/prod", Outcome: o, Event: ev, Step: step, By: by, Text: text}
		if ev != "" {
			e.Operation = "m4x8q2"
		}
		return e
	}
	a, c := alice(), carol()
	page := SecretPage{
		Name: "sharepoint/prod", Ref: SecretsRef{Words: "sharepoint prod"}, Inventory: only("sharepoint/prod"), Now: at(0),
		Open: []operation.Operation{pending}, Links: map[operation.ID]string{pending.ID: "https://contoso.slack.example/archives/C0PLATFORM/p1772442000000100"},
		Kinds:    map[operation.ID]operation.Kind{"m4x8q2": "rotate", pending.ID: "rotate"},
		Reminder: &told, Reminding: "https://contoso.slack.example/archives/C0PLATFORM/p1772442000000200",
		History: []operation.Entry{
			entry(90, -1, operation.Noted, "", operation.StepReminded, nil, "sharepoint/prod (client secret): it expires at 2026-03-16 14:00 UTC; stage 14."),
			entry(42, -576000, operation.Noted, operation.Finish, "", nil, ""),
			entry(31, -576010, operation.Decided, operation.Confirm, "", &c, ""),
			entry(30, -576012, operation.Asked, operation.Request, "", &a, "The yearly rotation <!channel>\nof this secret."),
		}, Earlier: 3,
	}
	quiet := SecretPage{Name: "github/dev", Ref: SecretsRef{Words: "github dev"}, Inventory: only("github/dev"), Now: at(0)}
	blind := SecretPage{Name: "confluence/prod", Ref: SecretsRef{Words: "confluence prod"}, Inventory: only("confluence/prod"), Now: at(0)}
	sharedPage := page
	sharedPage.By = bob()
	sent := page
	r := snoozed(taken(reminder(14)))
	sent.Shared, sent.Reminder = true, &r
	return map[string]SecretPage{"page": page, "page-quiet": quiet, "page-unknown": blind, "page-shared": sharedPage, "page-sent": sent}
}

// homes are the Home tabs that people see.
func homes() map[string]Home {
	parked, leaked, waiting := rotation(operation.Parked), emergency(operation.Pending), rotation(operation.Waiting)
	parked.ID, parked.Secret, parked.Plan.Secret = "p4rk3d", "github/prod", "github/prod"
	waiting.ID, waiting.Secret = "w8w8w8", "jira/dev"
	mine := taken(reminder(14))
	busy := Home{
		Inventory: stock(), Waiting: []operation.Operation{leaked}, Own: []operation.Operation{parked}, Open: []operation.Operation{leaked, parked, waiting},
		Links: map[operation.ID]string{leaked.ID: "https://contoso.slack.example/archives/C0PLATFORM/p1772442000000100"},
		Taken: []operation.Reminder{mine}, Reminding: map[operation.ReminderID]string{mine.ID: "https://contoso.slack.example/archives/C0PLATFORM/p1772442000000200"}, Now: at(0),
	}
	calm := stock()
	calm.Items, calm.Gaps, calm.Findings = calm.Items[4:5], nil, nil
	full := busy
	full.Inventory = lists()["list-many"].Inventory
	for n := range full.Inventory.Items {
		full.Inventory.Items[n].Status = inventory.Due
	}
	for range 40 {
		full.Waiting, full.Own, full.Open, full.Taken = append(full.Waiting, parked), append(full.Own, parked), append(full.Open, parked), append(full.Taken, mine)
	}
	return map[string]Home{
		"busy": busy, "calm": {Inventory: calm, Now: at(0)}, "full": full,
		"refused": {Refusal: "Only full members of this workspace may do this: no guests, bots, deactivated accounts or people of other organisations. Nothing was changed."},
	}
}

func secretMessages() map[string]Message {
	out := map[string]Message{}
	for name, l := range lists() {
		out["secrets-"+name] = l.Message()
	}
	for name, p := range secretPages() {
		out["secrets-"+name] = p.Message()
	}
	return out
}
