package bot

import (
	"fmt"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// reminder is what is told of a client secret so many days before its end.
func reminder(days int) operation.Reminder {
	stage := days
	if days > 1 && days < 7 {
		stage = 7
	}
	return operation.Reminder{
		ID: operation.ReminderID(40 + days), Round: 12, Stage: operation.Stage(stage), At: at(0), Days: days,
		Matter: operation.Matter{Item: "secret:3f1c", End: at(0).Add(time.Duration(days)*24*time.Hour + 5*time.Hour), Told: operation.Stage(stage)},
		Name:   "sharepoint/prod", Kind: "client secret", Secret: "sharepoint/prod", Owner: "Team Documents",
		Feeds: []string{
			"SSM parameter /aiconnectors/prod/sharepoint/client_secret", "ECS service aiconnectors-prod/sharepoint",
			"MCP server https://sharepoint.prod.example.com/mcp", "key of the Entra application aiconnectors-sharepoint-prod",
		},
		Breaks:  "Entra gives no tokens for it any more: the service keeps running, and all that it does with them fails.",
		Channel: "C0PLATFORM", Card: "1772442000.000100",
	}
}

// overdue ended three days before it was told.
func overdue() operation.Reminder {
	r := reminder(-3)
	r.Ring = "S0APPROVERS"
	return r
}

// unknown could not be read.
func unknown() operation.Reminder {
	r := reminder(0)
	r.Matter.End, r.Stage, r.Days = time.Time{}, -20514, 0
	r.Matter.Told = r.Stage
	r.Why = "Which of its application's keys is in use could not be read from /aiconnectors/prod/sharepoint/client_secret: the permission to read it is missing (AccessDeniedException)."
	r.Breaks = ""
	return r
}

// endpoint is something that cannot be rotated here.
func endpoint() operation.Reminder {
	r := reminder(30)
	r.ID, r.Matter.Item, r.Name, r.Kind, r.Secret = 71, "tls:sharepoint.prod.example.com:443", "sharepoint.prod.example.com:443", "TLS endpoint", ""
	r.Owner, r.Feeds, r.Breaks = "", nil, "Clients refuse to connect."
	return r
}

func taken(r operation.Reminder) operation.Reminder {
	r.Matter.Taken = operation.Taken{By: bob(), At: at(90)}
	return r
}

func snoozed(r operation.Reminder) operation.Reminder {
	r.Matter.Snoozed = operation.Snooze{By: carol(), At: at(95), Until: at(95 + 5*24*60), Reason: "The vendor's release freeze ends on Friday."}
	return r
}

func done(r operation.Reminder) operation.Reminder {
	r.Matter.Settled = operation.Settled{At: at(200), Operation: "k7m2p9"}
	return r
}

func renewed(r operation.Reminder) operation.Reminder {
	r.Matter.Settled = operation.Settled{At: at(200), Why: "it was renewed and expires at 2027-03-02 09:00 UTC."}
	return r
}

// reminders are all that is told of what expires.
func reminders() map[string]Message {
	out := map[string]Message{}
	newer := reminder(30)
	newer.Newer = true
	hostile := reminder(14)
	hostile.Name, hostile.Owner, hostile.Why = "<!channel>\u202e *prod*", "<@U0BOB> @everyone", "<https://evil.example|Rotate here>"
	for name, r := range map[string]operation.Reminder{
		"due": reminder(14), "tomorrow": reminder(1), "today": reminder(0), "overdue": overdue(), "unknown": unknown(), "endpoint": endpoint(),
		"taken": taken(reminder(14)), "snoozed": snoozed(taken(reminder(14))), "done": done(taken(reminder(14))), "renewed": renewed(endpoint()),
		"newer": newer, "hostile": hostile,
	} {
		out["reminder-"+name] = RoundMessage(operation.Round{ID: 12, Channel: "C0PLATFORM", At: at(0), Reminders: []operation.Reminder{r}}, false)
	}
	out["reminder-under-round"] = ReminderCard(reminder(14))
	several := operation.Round{ID: 13, Channel: "C0PLATFORM", At: at(0), Ring: "S0APPROVERS", Reminders: []operation.Reminder{
		overdue(), unknown(), taken(reminder(3)), snoozed(reminder(14)), endpoint(), done(reminder(30)), renewed(endpoint()),
	}}
	out["round"] = RoundMessage(several, true)
	out["round-edited"] = RoundMessage(several, false)
	many := operation.Round{ID: 14, Channel: "C0PLATFORM", At: at(0)}
	for i := range 250 {
		r := reminder(7)
		r.Name = fmt.Sprintf("server-%d/%s", i, strings.Repeat("&", i))
		many.Reminders = append(many.Reminders, r)
	}
	out["round-too-many"] = RoundMessage(many, true)
	out["round-escalated"] = RoundMessage(operation.Round{ID: 15, Channel: "C0LEADERS", At: at(0), Escalated: true,
		Reminders: []operation.Reminder{overdue(), reminder(3)}}, true)
	out["round-escalated-one"] = RoundMessage(operation.Round{ID: 15, Channel: "C0LEADERS", At: at(0), Escalated: true,
		Reminders: []operation.Reminder{taken(reminder(3))}}, false)
	by := bob()
	for name, e := range map[string]operation.Entry{
		"taken":   {Step: operation.StepTaken, Text: "sharepoint/prod. It was Carol Approver's before."},
		"snoozed": {Step: operation.StepSnoozed, Text: "sharepoint/prod. Until 2026-03-07 10:35 UTC: The vendor's release freeze ends on Friday."},
	} {
		e.By, e.At, e.Sequence, e.Outcome = &by, at(5), 42, operation.Noted
		out["care-"+name] = CareLine(e)
	}
	return out
}
