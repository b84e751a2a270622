package bot

import (
	"maps"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// emergency is an emergency in the given state, as the rules and its steps would
// have left it.
func emergency(state operation.State) operation.Operation {
	op := rotation(state)
	op.ID, op.Kind, op.Plan.Kind = "q4x7tz", "emergency_disable", "emergency_disable"
	op.Reason, op.ChangeReference = "The secret stood in a public repository since this morning.", ""
	op.LapsesAt = op.RequestedAt.Add(time.Hour)
	op.Plan.Changes = []operation.Change{
		{What: "Key 3f1c2b9a-0d4e-4f5a-8b6c-7d8e9f0a1b2c of aiconnectors-sharepoint-prod", From: "works", To: "removed at once, for ever"},
		{What: "Service aiconnectors-prod/sharepoint", From: "works", To: "gets no new tokens until a new secret is in place: some minutes"},
		{What: "SSM parameter /aiconnectors/prod/sharepoint/client_secret", From: "version 7", To: "a new version with a new secret, and all tasks started anew"},
		{What: "Tokens that were stolen already", From: "work", To: "may work for about an hour after the removal, and up to 24 hours where continuous access evaluation is used"},
	}
	op.Plan.Warnings = []string{"The app management policy was not checked: whether a new secret may be made is not known."}
	op.Plan.Urgent, op.Plan.MustType = true, "sharepoint/prod"
	op.Plan.Policy.Escalation = "S0SECURITY"
	op.Plan.Room = &operation.Room{Name: "inc-2026-03-02-sharepoint-prod", Runbook: "https://wiki.example.com/leaked"}
	if state == operation.Lapsed {
		op.EndedAt = op.LapsesAt
	}
	if op.Approver.User != "" {
		op.RoomChannel, op.RoomStatus = "C0INCIDENT", "1772442240.000100"
	}
	switch state {
	case operation.Running:
		op.Step, op.Facts = 5, removed()
	case operation.Parked:
		op.Step, op.Trouble, op.NoReturn = 0, "Entra refuses to remove key 3f1c2b9a: Authorization_RequestDenied.", true
	case operation.Succeeded:
		op.Facts = removed()
		op.Facts[operation.FactWorks] = "the MCP server, with a new secret: health check and test call since 09:11:40 UTC"
	default: // nothing was found out yet
	}
	return op
}

func removed() map[operation.Fact]string {
	return map[operation.Fact]string{
		operation.FactDead:      "key 3f1c2b9a (twokey:k7m2p9), removed at 09:03:02 UTC; 5 of 5 token requests with it refused",
		operation.FactTokensDie: at(63).Format(time.RFC3339),
	}
}

// drill makes an operation one that only practises.
func drill(op operation.Operation) operation.Operation {
	op.Secret, op.Plan.Secret = "canary/dev", "canary/dev"
	op.Options = map[operation.Option]string{operation.OptionDrill: "true"}
	return op
}

func frozen(kind operation.Kind, state operation.State) operation.Operation {
	op := rotation(state)
	op.Kind, op.Plan.Kind, op.ChangeReference = kind, kind, ""
	op.Plan.Changes = []operation.Change{
		{What: "Service principal of aiconnectors-sharepoint-prod", From: "active", To: "deactivated"},
		{What: "Tokens", From: "every live secret gets them", To: "none for any secret, until somebody thaws it"},
	}
	return op
}

// emergencyProgress is the step list of an emergency.
func emergencyProgress(op operation.Operation) []operation.StepState {
	var steps []operation.Step
	for _, name := range []string{
		"Remove the compromised key", "Prove the stolen secret is refused", "Clear the way", "Make a new secret in Entra",
		"Prove the new secret by fresh tokens", "Put it into the live parameter", "Redeploy the service", "Check the MCP server",
		"Clear up", "Read the audit logs", "Draft the report",
	} {
		steps = append(steps, operation.Step{Name: name})
	}
	return operation.Progress(steps, op)
}

// emergencies are the messages about emergencies.
func emergencies() map[string]Message {
	out := map[string]Message{}
	card := func(name string, op operation.Operation, change ...func(*Card)) {
		c := Card{Operation: op, Steps: emergencyProgress(op), Approvers: "platform-approvers", Escalation: "security"}
		for _, f := range change {
			f(&c)
		}
		out["card-emergency-"+name] = c.Message()
	}
	ring := func(c *Card) { c.Ring = true }
	card("pending", emergency(operation.Pending), ring)
	card("pending-edited", emergency(operation.Pending))
	card("pending-drill", drill(emergency(operation.Pending)), ring)
	for _, s := range []operation.State{operation.Approved, operation.Running, operation.Parked, operation.Succeeded, operation.Lapsed} {
		card(string(s), emergency(s), ring) // which only pending ones do
	}
	card("running-drill", drill(emergency(operation.Running)))
	roomless := emergency(operation.Running)
	roomless.RoomChannel, roomless.RoomTrouble = "", "Slack refuses: an administrator lets only some people do that."
	card("running-roomless", roomless)

	freeze := func(name string, op operation.Operation) {
		step := operation.Progress([]operation.Step{{Name: "Deactivate the service principal"}}, op)
		out["card-"+name] = Card{Operation: op, Steps: step, Approvers: "platform-approvers"}.Message()
	}
	freeze("freeze-pending", frozen("freeze", operation.Pending))
	done := frozen("freeze", operation.Succeeded)
	done.Step = 1
	freeze("freeze-succeeded", done)
	freeze("thaw-pending", frozen("thaw", operation.Pending))

	maps.Copy(out, rooms())
	return out
}

// rooms are the messages in an incident's channel.
func rooms() map[string]Message {
	out := map[string]Message{}
	status := func(name string, op operation.Operation, told ...operation.Entry) {
		out["status-"+name] = Status{Operation: op, Steps: emergencyProgress(op), Told: told, Card: "https://acme.slack.com/archives/C0PLATFORM/p1772442000000100"}.Message()
	}
	entry := func(minute int, o operation.Outcome, step, text string) operation.Entry {
		return operation.Entry{At: at(minute), Outcome: o, Step: step, Text: text}
	}
	bob := bob()
	confirmed := operation.Entry{At: at(3), Outcome: operation.Decided, Event: operation.Confirm, By: &bob}
	contained := []operation.Entry{
		confirmed,
		entry(3, operation.Verified, "Remove the compromised key", "absent in 3 reads"),
		entry(4, operation.Verified, "Prove the stolen secret is refused", "5 of 5"),
		entry(5, operation.Verified, "Make a new secret in Entra", "key 77aa"),
	}
	status("approved", emergency(operation.Approved), confirmed)
	status("running", emergency(operation.Running), contained...)
	status("running-drill", drill(emergency(operation.Running)), contained...)
	status("parked", emergency(operation.Parked), confirmed, entry(18, operation.Failed, "Remove the compromised key", "refused"))
	status("succeeded", emergency(operation.Succeeded), append(contained,
		entry(11, operation.Verified, "Check the MCP server", "health and test call"),
		entry(13, operation.Verified, "Read the audit logs", "2 readers"),
		operation.Entry{At: at(14), Outcome: operation.Noted, Event: operation.Finish, Text: "Every step is done and verified."})...)

	out["room-none"] = RoomNote("Slack refuses: I lack the scope channels:manage, which the app's manifest gives.", nil)
	out["room-missing"] = RoomNote("", []Uninvited{
		{User: "U0GINA", Why: "Slack refuses: the account is deactivated, a guest's or another organisation's (cant_invite)."},
		{Group: "S0RESPONDERS", Why: "Slack refuses (no_such_subteam)."},
	})
	out["file-refused"] = FileNote(operation.Document{Name: "audit-sharepoint-prod.csv", Title: "Audit events of sharepoint/prod"}, "Slack refuses: I lack the scope files:write, which the app's manifest gives.")
	out["page"] = Page("Emergency: <@U0ALICE> asks to disable the secret of sharepoint/prod at once. Please look at the card in <#C0PLATFORM> now. <!channel>", false, "https://acme.slack.com/archives/C0PLATFORM/p1772442000000100")
	out["page-drill"] = Page("Emergency: <@U0ALICE> asks to disable the secret of canary/dev at once.", true, "")
	found := "2 things stand out, and not everything was looked at.\n`sharepoint/prod`, 2026-03-01 09:00:00 – 2026-03-02 09:12:00 UTC. Events that stand out: 6, unknown: 0, expected: 12.\n" +
		strings.Join([]string{
			operation.Row("Verdict", "When (UTC)", "What"),
			operation.Row("Stands out: neither the service's role nor mine read it", "2026-03-02 08:55:00", "`GetParameter` by `user mallory <!channel> *boss*` from `203.0.113.66` on `/aiconnectors/prod/sharepoint/client_secret`"),
			operation.Row("Stands out: the same address goes on after the removal, and is not known as the service's", "2026-03-02 08:56:00 – 08:59:40", "5 × `token granted` by `key 3f1c2b9a` from `<https://evil.example|all clear>` on `Microsoft Graph`"),
			operation.Row("Expected: ECS read it to start a task of the service", "2026-03-02 07:02:11 – 09:10:26", "12 × `GetParameters` by `the service's execution role, task 0a1b2c` from `ecs-tasks.amazonaws.com` on `/aiconnectors/prod/sharepoint/client_secret`"),
		}, "\n") + "\n… and 2 more.\n" +
		"Not covered:\n• CloudTrail, 2026-03-02 08:57:00 – 09:12:00 UTC: events reach CloudTrail up to 15 minutes late."
	out["line-audit"] = Line(entry(13, operation.Verified, "Read the audit logs", found), false)
	out["findings"] = Findings(found)
	out["line-verified-drill"] = Line(entries()["verified"], true)
	return out
}

// emergencyModals are the forms of emergencies.
func emergencyModals() map[string]Modal {
	form := EmergencyForm{
		Servers: []string{"confluence", "github", "jira", "sharepoint"}, Environments: []string{"dev", "prod"},
		Server: "sharepoint", Environment: "prod", Reason: "It stood in a public repository.", Since: at(-60),
	}
	practice := EmergencyForm{Servers: []string{"canary"}, Environments: []string{"dev"}, Drill: true, Key: KeyOther, KeyID: "3f1c2b9a-0d4e-4f5a-8b6c-7d8e9f0a1b2c"}
	return map[string]Modal{
		"emergency": EmergencyModal(form), "emergency-drill": EmergencyModal(practice),
		"typed": TypedModal(emergency(operation.Pending)), "typed-drill": TypedModal(drill(emergency(operation.Pending))),
	}
}
