package bot

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

var update = flag.Bool("update", false, "write the golden files anew")

func at(minutes int) time.Time {
	return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
}

func alice() operation.Person {
	return operation.Person{User: "U0ALICE", Person: "person-alice", Name: "Alice Asker"}
}

func bob() operation.Person {
	return operation.Person{User: "U0BOB", Person: "person-bob", Name: "Bob Approver"}
}

func carol() operation.Person {
	return operation.Person{User: "U0CAROL", Person: "person-carol", Name: "Carol Approver"}
}

// rotation is an operation in the given state, as the rules would have left it.
func rotation(state operation.State) operation.Operation {
	op := operation.Operation{
		ID: "k7m2p9", Kind: "rotate", Secret: "sharepoint/prod", State: state,
		Requester: alice(), Reason: "The secret expires on 14 March & the vendor asked for it.", ChangeReference: "CHG0031337",
		RequestedAt: at(0), LapsesAt: at(15), Channel: "C0PLATFORM", Card: "1772442000.000100",
		Plan: operation.Plan{
			Kind: "rotate", Secret: "sharepoint/prod",
			Changes: []operation.Change{
				{What: "Entra application aiconnectors-sharepoint-prod", To: "a second key, named twokey k7m2p9, until 2 March 2028"},
				{What: "SSM parameter /aiconnectors/prod/sharepoint/client_secret", From: "version 7", To: "version 8"},
				{What: "ECS service aiconnectors-prod/sharepoint", From: "2 running tasks", To: "2 new tasks by a forced deployment"},
				{What: "Old key 3f1c…9a (hint abc)", From: "in use", To: "removed after an overlap of 24 hours"},
			},
			Policy: operation.Policy{Approvers: "S0APPROVERS", Channel: "C0PLATFORM", Lapse: 15 * time.Minute},
		},
		Digest: "3f9a1c2e4b5d60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef",
	}
	switch state {
	case operation.Pending:
	case operation.Denied:
		op.DecidedBy, op.DecidedAt, op.DecisionWords, op.EndedAt = bob(), at(3), "There is a release freeze until Monday.", at(3)
	case operation.Cancelled:
		op.DecidedBy, op.DecidedAt, op.EndedAt = alice(), at(3), at(3)
	case operation.Lapsed:
		op.EndedAt = at(15)
	default:
		op.Approver, op.DecidedBy, op.DecidedAt = bob(), bob(), at(3)
	}
	switch state {
	case operation.Running:
		op.Step = 3
	case operation.Waiting:
		op.Step, op.Due = 6, at(24*60)
	case operation.Undoing, operation.TakenBack:
		op.Step, op.FailedStep, op.Trouble = 3, 5, "The new tasks did not become healthy within 10 minutes."
	case operation.Parked:
		op.Step, op.ParkedFrom, op.Trouble = 4, operation.Running, "ECS answers AccessDenied to UpdateService."
	case operation.HandedOver:
		op.Step, op.DecidedBy, op.Trouble = 4, carol(), "ECS answers AccessDenied to UpdateService."
	case operation.Voided:
		op.Trouble = "The SSM parameter is at version 8 now; the plan was made for version 7."
	default: // the others hold no more than that
	}
	if !state.Open() && op.EndedAt.IsZero() {
		op.EndedAt = at(60)
	}
	return op
}

// progress is the step list of a rotation.
func progress(op operation.Operation) []operation.StepState {
	var steps []operation.Step
	for _, name := range []string{
		"make a new secret in Entra", "keep it in the pending parameter", "prove the new secret", "put it into the live parameter",
		"redeploy the service", "call the test tool", "wait for the overlap to end", "remove the old key",
	} {
		steps = append(steps, operation.Step{Name: name})
	}
	return operation.Progress(steps, op)
}

// messages are all kinds of messages that the bot posts.
func messages() map[string]Message {
	out := map[string]Message{}
	card := func(name string, op operation.Operation, classic bool) {
		out["card-"+name] = Card{Operation: op, Steps: progress(op), Approvers: "platform-approvers", Classic: classic}.Message()
	}
	for _, s := range operation.States() {
		card(string(s), rotation(s), false)
	}
	card("running-classic", rotation(operation.Running), true)
	card("taken_back-classic", rotation(operation.TakenBack), true)

	warned := rotation(operation.Pending)
	warned.Plan.Warnings = []string{"Owners were not checked: the directory did not answer.", "The policy cuts the new secret's life to 180 days."}
	card("pending-warned", warned, false)
	proposed := rotation(operation.Parked)
	proposed.Proposal = operation.Proposal{Event: operation.Undo, By: carol(), At: at(20)}
	card("parked-proposed", proposed, false)
	noReturn := rotation(operation.Parked)
	noReturn.NoReturn = true
	card("parked-no-return", noReturn, false)
	backwards := rotation(operation.Parked)
	backwards.ParkedFrom, backwards.FailedStep = operation.Undoing, 5
	card("parked-undoing", backwards, false)
	hostile := rotation(operation.Pending)
	hostile.Reason = "<!channel> *Approved* by <@U0BOB> \u202etxt.exe\u202c <https://evil.example|Details> @everyone\u200b"
	hostile.ChangeReference = "`CHG` & <b>"
	card("pending-hostile", hostile, false)
	ended := rotation(operation.Superseded)
	ended.SupersededBy = "q4x7tz"
	replaced := Card{Operation: ended, Steps: progress(ended), Incident: emergency(operation.Running), IncidentCard: "https://acme.slack.com/archives/C0PLATFORM/p1772442000000100"}
	out["card-superseded-room"] = replaced.Message()
	replaced.Incident.RoomChannel = ""
	out["card-superseded-card"] = replaced.Message()
	long := rotation(operation.Pending)
	for i := range 200 {
		long.Plan.Changes = append(long.Plan.Changes, operation.Change{What: fmt.Sprintf("parameter %d %s", i, strings.Repeat("&", 500)), To: "gone"})
	}
	card("pending-too-long", long, false)

	maps.Copy(out, emergencies())
	maps.Copy(out, reminders())
	maps.Copy(out, secretMessages())
	maps.Copy(out, leftoversShown())
	maps.Copy(out, digestsShown())
	for name, e := range entries() {
		out["line-"+name] = Line(e, false)
	}
	out["checkpoint"] = Checkpoint("twokey/audit\n42\nk3hJ8vQXqk1b2Vx0qk9V8Vt1bXo0o2m3d4e5f6a7b8c=\n\n— twokey/audit Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n")
	out["direct"] = Direct("Only <@U0ALICE>, who asked, can cancel. The card is in <#C0PLATFORM>. <!channel> & <https://evil.example|this>")
	return out
}

func entries() map[string]operation.Entry {
	by := func(e operation.Entry, p operation.Person) operation.Entry { e.By = &p; return e }
	base := operation.Entry{Sequence: 42, At: at(5), Operation: "k7m2p9", Secret: "sharepoint/prod"}
	step := func(o operation.Outcome, name, text string) operation.Entry {
		e := base
		e.Outcome, e.Step, e.Text = o, name, text
		return e
	}
	event := func(o operation.Outcome, ev operation.Event, text string) operation.Entry {
		e := base
		e.Outcome, e.Event, e.Text = o, ev, text
		return e
	}
	return map[string]operation.Entry{
		"asked":          by(event(operation.Asked, operation.Request, "The secret expires on 14 March."), alice()),
		"asked-to-undo":  by(event(operation.Asked, operation.Undo, ""), carol()),
		"confirmed":      by(event(operation.Decided, operation.Confirm, ""), bob()),
		"denied":         by(event(operation.Decided, operation.Deny, "There is a release freeze until Monday."), bob()),
		"lapsed":         event(operation.Decided, operation.Lapse, "Nobody confirmed it in time. Nothing was changed."),
		"verified":       step(operation.Verified, "prove the new secret", "20 of 20 fresh token requests succeeded within 41 s (trace ids 1f…, 2a…)."),
		"failed":         step(operation.Failed, "redeploy the service", "Deployment ecs-svc/8412 was rolled back: tasks failed to start."),
		"undone":         step(operation.Undone, "put it into the live parameter", "Version 9 holds the old value again."),
		"not-undone":     step(operation.NotUndone, "make a new secret in Entra", "Graph answers 403 Authorization_RequestDenied."),
		"noted":          step(operation.Noted, "", "The overlap was shortened."),
		"noted-step":     step(operation.Noted, "wait for the overlap to end", "Until 3 March 09:00 UTC."),
		"refused":        event(operation.Refused, operation.Confirm, "You asked for this, so another person has to turn the second key."),
		"without-record": {At: at(5), Outcome: operation.Noted, Text: "a & b < c"},
	}
}

// modals are all forms that the bot opens.
func modals() map[string]Modal {
	op := rotation(operation.Pending)
	form := RotateForm{
		Servers: []string{"confluence", "github", "jira", "sharepoint"}, Environments: []string{"dev", "prod"},
		Server: "sharepoint", Change: "CHG0031337", ChangePattern: `CHG\d{7}`,
	}
	many := RotateForm{Environments: []string{"dev", "prod"}}
	for i := range 101 {
		many.Servers = append(many.Servers, fmt.Sprintf("server-%d", i))
	}
	out := map[string]Modal{"rotate": RotateModal(form), "rotate-many": RotateModal(many), "deny": DenyModal(op)}
	maps.Copy(out, emergencyModals())
	out["snooze"] = SnoozeModal(reminder(14), at(0))
	return out
}

func TestEveryMessageLooksAsItDid(t *testing.T) {
	for name, m := range messages() {
		golden(t, name, map[string]any{"text": m.Text, "blocks": slack.Blocks{BlockSet: m.Blocks}})
	}
	for name, m := range modals() {
		golden(t, "modal-"+name, m.view())
	}
	for name, h := range homes() {
		golden(t, "home-"+name, h.view())
	}
}

// golden compares v with its file, or writes the file.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".golden.json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./bot -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s differs (go test ./bot -update accepts it):\n%s", name, diff)
	}
}
