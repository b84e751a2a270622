package bot

import (
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// leftoversShown are leftovers in all their states.
func leftoversShown() map[string]Message {
	key := operation.Leftover{
		ID: 3, Finding: "unexplained-key:9d2f", Secret: "sharepoint/prod", Title: "Left behind: a key of sharepoint/prod", Key: "9d2f", Removable: true,
		Text:    "Key 9d2f (twokey:k7m2p9) of the application aiconnectors-sharepoint-prod is in no parameter. Operation k7m2p9, which made it, is handed over.",
		Channel: "C0PLATFORM", At: at(0), Message: "1772442000.000100",
	}
	removed, gone, returned := key, key, key
	removed.Closed = operation.Settled{At: at(90), Operation: "m3n4p5"}
	gone.Closed = operation.Settled{At: at(90), Why: "the live parameter holds it by now."}
	returned.Removable, returned.Returned, returned.Title = false, true, "A removed key of sharepoint/prod is there again"
	returned.Text = "Key 9d2f (portal) of the application aiconnectors-sharepoint-prod is there again: operation k7m2p9 had removed it, and Entra did not list it any more. Somebody brought it back, and whoever has its text can use it."
	hostile := key
	hostile.Text = "<!channel> *bold* <https://evil.example|click> &"
	return map[string]Message{
		"leftover-key": LeftoverMessage(key), "leftover-removed": LeftoverMessage(removed), "leftover-gone": LeftoverMessage(gone),
		"leftover-returned": LeftoverMessage(returned), "leftover-hostile": LeftoverMessage(hostile),
	}
}

// digestsShown are weekly digests: a week with everything, one with nothing, one
// that is too long.
func digestsShown() map[string]Message {
	e := func(name, kind string, days int) operation.Expiring {
		return operation.Expiring{Name: name, Kind: kind, Owner: "Platform team", End: at(0).AddDate(0, 0, days)}
	}
	alice, bob := operation.Person{User: "U0ALICE", Name: "Alice"}, bob()
	full := operation.WeeklyDigest{
		ID: 7, Channel: "C0PLATFORM", Since: at(0).AddDate(0, 0, -7), At: at(0), Zone: "Europe/Berlin",
		Overdue: []operation.Expiring{e("github/dev", "client secret", -3)},
		Unknown: []operation.Expiring{{Name: "jira/dev", Kind: "client secret", Why: "Which of its application's keys is in use could not be read."}},
		Months: []operation.Month{{Name: "March 2026", Items: []operation.Expiring{e("sharepoint/prod", "client secret", 6)}}, {Name: "April 2026"},
			{Name: "May 2026", Items: []operation.Expiring{e("jira/prod", "client secret", 70), e("login.example.com:443", "TLS endpoint", 71)}}},
		Later: 4, Leftovers: 1, Retired: 2, Gaps: []string{"last uses in Entra: the permission to read it is missing"},
		Deeds: []operation.Deed{
			{Operation: "k7m2p9", Kind: kindRotate, Secret: "confluence/prod", State: operation.Succeeded, By: alice, Confirmed: bob, At: at(0).AddDate(0, 0, -2), Decided: 4 * time.Minute, Took: 24 * time.Hour},
			{Operation: "m3n4p5", Kind: kindRotate, Secret: "confluence/dev", State: operation.TakenBack, By: bob, Confirmed: alice, At: at(0).AddDate(0, 0, -1)},
			{Operation: "q6r7s8", Kind: kindEmergency, Secret: "github/prod", State: operation.Succeeded, Emergency: true, By: alice, Confirmed: bob, At: at(0).AddDate(0, 0, -1), Decided: 95 * time.Second, Removed: time.Second, Took: 5 * time.Minute},
			{Operation: "t9u2v3", Kind: kindEmergency, Secret: "canary/prod", State: operation.Succeeded, Emergency: true, Drill: true, By: bob, Confirmed: alice, At: at(0).AddDate(0, 0, -3), Decided: 12 * time.Second, Removed: time.Second, Took: 3 * time.Minute},
			{Operation: "w4x5y6", Kind: kindEmergency, Secret: "jira/prod", State: operation.Pending, Emergency: true, By: alice, At: at(-20)},
		},
		Unconfirmable: []operation.Unconfirmable{{Secret: "jira/dev", Why: "the approvers' group has no full member with an enabled identity."}, {Secret: "jira/prod", Why: "the approvers' group has no full member with an enabled identity."}},
		NoPicture:     "It could not be drawn: no letters.",
	}
	empty := operation.WeeklyDigest{ID: 8, Channel: "C0PLATFORM", Since: at(0).AddDate(0, 0, -7), At: at(0), Zone: "UTC", Months: []operation.Month{{Name: "March 2026"}}}
	long := empty
	long.Months = nil
	for m := range 13 {
		month := operation.Month{Name: fmt.Sprintf("Month %d", m)}
		for i := range 20 {
			month.Items = append(month.Items, e(fmt.Sprintf("server-%d-%d/prod", m, i), "client secret", 30*m+i))
			long.Overdue = append(long.Overdue, e(fmt.Sprintf("server-%d-%d/dev", m, i), "client secret", -i-1))
		}
		long.Months = append(long.Months, month)
	}
	picture := operation.Document{Name: "digest-2026-03-02.png", Title: "What expires in the next 12 months", Alternative: "Time line of the next 12 months: 1 overdue."}
	return map[string]Message{
		"digest": DigestMessage(full), "digest-months": MonthsMessage(full), "digest-empty": DigestMessage(empty), "digest-months-empty": MonthsMessage(empty),
		"digest-too-long": DigestMessage(long), "digest-months-too-long": MonthsMessage(long), "digest-no-picture": PictureNote(picture, "Slack refuses it."),
	}
}
