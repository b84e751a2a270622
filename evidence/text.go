package evidence

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// readme says what is in the folder, how it is checked, and what it does not show.
func (d *drawn) readme() []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	yes, no, unknown := d.keeps()
	line("# Evidence of %s to %s\n", day(d.From), day(d.To))
	line("Written by twokey at %s from its signed record, its database and a look at Entra and AWS. Instants are in UTC.\n", stamp(d.At))
	line("| | |\n|---|---|")
	line("| Secrets within the 24-month rule, at the time of writing | %d yes, %d no, %d unknown |", yes, no, unknown)
	line("| Operations in the window | %d, of which %d drills |", len(d.operations), len(drills(d.operations)))
	line("| Requests and clicks that were refused | %d |", len(d.refusals))
	line("| Findings at the time of writing | %d, and %d things could not be read |", len(d.Inventory.Findings), len(d.Inventory.Gaps))
	line("| Entries of the record | %d, of which %d are shown here |", d.total, len(d.entries))
	line("\n## Controls")
	line("What a control demands is the organisation's own text, which twokey does not have. The column in the middle is twokey's reading of it; where it is another, read the files by theirs.\n")
	line("| control | read as | files |\n|---|---|---|")
	line("| SC.03.07 | secrets have a limited age and are rotated | `inventory.csv` (age of each against 24 months), `operations.csv`, `steps.csv` (each rotation's proofs), `operations.md` |")
	line("| SC.03.02 | access: nobody changes a secret alone, and only who may | `access.csv` (who may ask and confirm), `operations.csv` (who did), `refusals.csv` (who was refused, and by which rule) |")
	line("| SC.01.19 | what was done can be shown, and is as it was | `record.jsonl`, `checkpoints.txt`, `MANIFEST.sha256`, `MANIFEST.sig`, `check.go`; `drills.csv` (that an emergency is practised), `findings.csv`, `findings-over-time.csv` |")
	line("\n## How to check it")
	line("1. `sh check.sh` compares every file with the manifest. It needs sha256sum and nothing else.")
	line("2. `go run check.go '<verifier key>'` also checks the signatures, computes the record's hashes anew and compares the tables with it. It needs Go, no network, and reads in one sitting. The verifier key is the one line of `verifier.pub`; take it from another source, such as the configuration's repository: whoever forged this folder would have put a key of theirs into it.")
	line("3. Compare a checkpoint of `checkpoints.txt` with the one that was posted in the chat at the time, under the operation's card. `twokey audit verify` does that for the whole record.")
	line("\nThe entries that are not shown stand in `record.jsonl` as hashes: that none was left out can be checked, and what they say cannot be read.")
	line("\n## What is where")
	line("| file | has |\n|---|---|")
	for _, row := range [][2]string{
		{"`operations.md`", "each operation as a story: who asked and confirmed, for which change, each step with its proof"},
		{"`operations.csv`, `.json`", "the operations that something happened to in the window"},
		{"`steps.csv`, `.json`", "their steps and undos as the record has them"},
		{"`refusals.csv`, `.json`", "what was refused in the window, and by which rule"},
		{"`drills.csv`", "the operations that were rehearsals"},
		{"`inventory.csv`, `.json`", "all that expires, as of the time of writing"},
		{"`access.csv`", "the configuration of who may ask and confirm, as of the time of writing"},
		{"`findings.csv`", "what was not as it should be at the time of writing, and what could not be read"},
		{"`findings-over-time.csv`", "what the policy's checks and the sweeps found in the window, as it was told and as it was closed"},
		{"`record.jsonl`", "the record: shown entries, and the hashes of the others"},
		{"`checkpoints.txt`", "the record's signed heads"},
	} {
		line("| %s | %s |", row[0], row[1])
	}
	line("\n## What is not here")
	line("- Inventory, access and findings tell of the time of writing, not of the window: they are read live and never remembered.")
	line("- Who was a member of the groups is not kept. That the approver was one at the click is what each confirmation in the record says.")
	line("- Entries after the newest checkpoint are vouched for by the manifest's signature alone. `check.go` says how many there are.")
	return b.Bytes()
}

// story is each operation for people to read.
func (d *drawn) story() []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Operations of %s to %s", day(d.From), day(d.To))
	if len(d.operations) == 0 {
		line("\nThere were none.")
	}
	for _, op := range d.operations {
		title := string(op.Kind)
		if op.Drill() {
			title = "DRILL: " + title
		}
		line("\n## %s: %s of %s, %s\n", op.ID, title, op.Secret, op.State.Words())
		line("- Asked for by %s at %s: %s", inline(op.Requester.Name), stamp(op.RequestedAt), inline(op.Reason))
		if op.Approver.User != "" {
			line("- Confirmed by %s at %s, for the plan with the digest `%s`", inline(op.Approver.Name), d.confirmed(op), op.Digest)
		} else if op.DecidedBy.User != "" {
			line("- Decided by %s at %s: %s", inline(op.DecidedBy.Name), stamp(op.DecidedAt), inline(op.DecisionWords))
		}
		if op.ChangeReference != "" {
			line("- Change: %s", inline(op.ChangeReference))
		}
		if !op.EndedAt.IsZero() {
			line("- Ended at %s", stamp(op.EndedAt))
		}
		line("\n| entry | at | step | outcome | proof |\n|---|---|---|---|---|")
		for _, e := range d.entries {
			if e.Operation != op.ID || e.Outcome == operation.Refused {
				continue
			}
			step := e.Step
			if step == "" {
				step = "*" + string(e.Event) + "*"
			}
			line("| %d | %s | %s | %s | %s |", e.Sequence, stamp(e.At), inline(step), e.Outcome, inline(e.Text))
		}
	}
	return b.Bytes()
}

// confirmed is the instant of the confirmation; the operation keeps only that of its
// last decision.
func (d *drawn) confirmed(op operation.Operation) string {
	for _, e := range d.entries {
		if e.Operation == op.ID && e.Event == operation.Confirm && e.Outcome == operation.Decided {
			return stamp(e.At)
		}
	}
	return "an instant that the record does not have"
}

// special is what Markdown and HTML would take for more than text.
var special = regexp.MustCompile("[\\\\`*_{}\\[\\]<>|#~!]")

// inline makes somebody's words harmless inside a line of Markdown.
func inline(text string) string {
	return special.ReplaceAllString(strings.Join(strings.Fields(text), " "), "\\$0")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
