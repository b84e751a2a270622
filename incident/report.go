package incident

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Ledger is the record, for reading and proving.
type Ledger interface {
	// Entries returns an operation's entries in order.
	Entries(ctx context.Context, id operation.ID) ([]operation.Entry, error)
	// Prove returns a file that proves them against a signed checkpoint, made
	// now if the newest one is older than they are.
	Prove(ctx context.Context, id operation.ID) ([]byte, error)
}

// Operations reads operations.
type Operations interface {
	Operation(ctx context.Context, id operation.ID) (operation.Operation, error)
}

// Reporter drafts incident reports. It meets [runbook.Reporter].
type Reporter struct {
	Ledger     Ledger
	Operations Operations
	Now        func() time.Time
}

// Draft writes the report of an operation as it stands, and the proof of its time
// line.
func (r *Reporter) Draft(ctx context.Context, id operation.ID) (runbook.Report, error) {
	op, err := r.Operations.Operation(ctx, id)
	if err != nil {
		return runbook.Report{}, fmt.Errorf("read operation %s: %w", id, err)
	}
	entries, err := r.Ledger.Entries(ctx, id)
	if err != nil {
		return runbook.Report{}, fmt.Errorf("read the record of operation %s: %w", id, err)
	}
	proof, err := r.Ledger.Prove(ctx, id)
	if err != nil {
		return runbook.Report{}, fmt.Errorf("prove operation %s: %w", id, err)
	}
	report, now := draft{op: op, entries: entries}, r.Now()
	return runbook.Report{Times: sentence(report.times()), Documents: []operation.Document{
		{Operation: id, Name: ReportFile(id), Title: "Draft report of incident " + string(id), Body: report.markdown(now), At: now},
		{Operation: id, Name: ProofFile(id), Title: "Proof of the time line of " + string(id), Body: proof, At: now},
	}}, nil
}

// ReportFile and ProofFile are the names of an operation's documents.
func ReportFile(id operation.ID) string { return "report-" + string(id) + ".md" }

// ProofFile is the name of the file that proves the time line.
func ProofFile(id operation.ID) string { return "proof-" + string(id) + ".json" }

// draft is a report being written.
type draft struct {
	op      operation.Operation
	entries []operation.Entry
	b       bytes.Buffer
}

func (d *draft) line(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

func (d *draft) markdown(now time.Time) []byte {
	d.head(now)
	d.timeline()
	d.effects()
	d.findings()
	d.questions()
	d.proof()
	return d.b.Bytes()
}

func (d *draft) drill() bool { return d.op.Options[runbook.OptionDrill] == "true" }

func (d *draft) head(now time.Time) {
	op := d.op
	title := "Incident"
	if d.drill() {
		title = "DRILL, no incident:"
	}
	d.line("# %s %s: secret of %s disabled\n", title, op.ID, op.Secret)
	d.line("*A draft, written by twokey from its record at %s. What is in brackets is for people to fill in.*\n", instant(now))
	d.line("| | |\n|---|---|")
	state := op.State.Words()
	if op.State == operation.Running {
		state += "; this report is its last step"
	}
	d.line("| State | %s |", inline(state))
	d.line("| Asked for by | %s, %s |", person(op.Requester), instant(op.RequestedAt))
	if op.Approver.User != "" {
		d.line("| Confirmed by | %s, %s |", person(op.Approver), instant(d.when(operation.Confirm)))
	}
	d.line("| Reason given | %s |", inline(op.Reason))
	if since := op.Options[runbook.OptionSince]; since != "" {
		d.line("| Leaked since | %s |", inline(since))
	}
	if op.ChangeReference != "" {
		d.line("| Change reference | %s |", inline(op.ChangeReference))
	}
	d.line("| Plan | digest `%s` |", op.Digest)
	d.line("| Who led | [name] |")
	d.line("")
}

// when is the instant of the first entry with the event.
func (d *draft) when(event operation.Event) time.Time {
	for _, e := range d.entries {
		if e.Event == event {
			return e.At
		}
	}
	return time.Time{}
}

// verified is the instant at which a step was verified.
func (d *draft) verified(step string) (time.Time, bool) {
	for _, e := range d.entries {
		if e.Step == step && e.Outcome == operation.Verified {
			return e.At, true
		}
	}
	return time.Time{}, false
}

func (d *draft) has(step string) bool {
	return slices.ContainsFunc(d.entries, func(e operation.Entry) bool { return e.Step == step })
}

func (d *draft) timeline() {
	d.line("## Time line\n")
	d.line("Each line is an entry of the record; `%s` proves them.\n", ProofFile(d.op.ID))
	d.line("| Time | Entry | What | Who | Evidence |\n|---|---|---|---|---|")
	for _, e := range d.entries {
		what := e.Step
		if what == "" {
			what = strings.ReplaceAll(string(e.Event), "_", " ")
		}
		who := ""
		if e.By != nil {
			who = person(*e.By)
		}
		d.line("| %s | %d | %s: %s | %s | %s |", instant(e.At), e.Sequence, inline(what), e.Outcome, who, inline(short(e.Text)))
	}
	d.line("")
	for _, t := range d.times() {
		d.line("- %s: **%s**", t.What, t.Took)
	}
	d.line("")
}

// Span is how long a part of an emergency took.
type Span struct {
	What string
	Took time.Duration
}

func (d *draft) times() []Span {
	asked, confirmed := d.op.RequestedAt, d.when(operation.Confirm)
	var out []Span
	add := func(what string, from, to time.Time) {
		if !from.IsZero() && !to.IsZero() {
			took := to.Sub(from)
			precision := time.Millisecond
			if took >= time.Minute {
				precision = time.Second
			}
			out = append(out, Span{what, took.Round(precision)})
		}
	}
	add("from the request to the confirmation", asked, confirmed)
	if at, ok := d.verified(runbook.StepRemove); ok {
		add("from the confirmation to the verified removal", confirmed, at)
	}
	if at, ok := d.verified(runbook.StepServer); ok {
		add("from the confirmation to the verified service", confirmed, at)
	}
	return out
}

// sentence says how long the parts took.
func sentence(spans []Span) string {
	var out []string
	for _, s := range spans {
		out = append(out, s.What+" "+s.Took.String())
	}
	if len(out) == 0 {
		return "How long it took is not known: nothing was confirmed."
	}
	return "Times: " + strings.Join(out, "; ") + "."
}

// Times tells how long the parts of an emergency took, from its entries.
func Times(op operation.Operation, entries []operation.Entry) []Span {
	d := draft{op: op, entries: entries}
	return d.times()
}

func (d *draft) effects() {
	d.line("## What was confirmed\n")
	for _, c := range d.op.Plan.Changes {
		d.line("- %s: %s → %s", inline(c.What), inline(c.From), inline(c.To))
	}
	for _, w := range d.op.Plan.Warnings {
		d.line("- Warned of beforehand: %s", inline(w))
	}
	d.line("\n## Effects\n")
	removed, gone := d.verified(runbook.StepRemove)
	back, works := d.verified(runbook.StepServer)
	switch {
	case gone && works && !d.has(runbook.StepRefused): // the removed key was not the one in use
		d.line("- The service kept its secret, which was another one. [What else used the removed one?]")
	case gone && works:
		d.line("- The service could get no new tokens from %s at the latest until %s. [What did users notice?]", instant(removed), instant(back))
	case gone:
		d.line("- The service could get no new tokens from %s on; it was **not** verified to work again when this was written.", instant(removed))
	default:
		d.line("- The removal of the compromised key was **not** verified when this was written.")
	}
	d.line("- Tokens issued before the removal could work for about an hour after it, and up to 24 hours where continuous access evaluation is used. [Were they used?]\n")
}

func (d *draft) findings() {
	d.line("## Findings in the audit logs\n")
	found := false
	for _, e := range d.entries {
		if e.Step == runbook.StepAudit && e.Text != "" {
			found = true
			d.line("%s\n", quote(e.Text))
		}
	}
	if !found {
		d.line("The audit logs were **not** read when this was written. `/check-audit-logs` reads them.\n")
	}
}

func (d *draft) questions() {
	d.line("## Gaps and open questions\n")
	for _, e := range d.entries {
		if e.Outcome == operation.Failed || e.Outcome == operation.NotUndone {
			d.line("- Entry %d, %s: %s", e.Sequence, inline(e.Step), inline(e.Text))
		}
	}
	for _, q := range []string{
		"How did the secret get out? [ ]", "Who noticed, and how? [ ]", "What was done with it? See the findings, and what they do not cover. [ ]",
		"Were other secrets in the same place? [ ]", "Who has to be told? [ ]", "What keeps it from happening again? [ ]",
	} {
		d.line("- %s", q)
	}
	d.line("")
}

func (d *draft) proof() {
	d.line("## How to check this\n")
	d.line("`twokey audit check %s --verifier FILE` proves that the time line's entries stand in the signed record; `twokey audit verify` checks the whole record.", ProofFile(d.op.ID))
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func person(p operation.Person) string {
	if p.Name == "" {
		return inline(string(p.User))
	}
	return inline(p.Name) + " (" + inline(string(p.User)) + ")"
}

// inline writes what people and vendors wrote on one line, without a meaning in
// Markdown.
func inline(s string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "`", "'", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "#", "\\#").Replace(strings.Join(strings.Fields(s), " "))
}

// short is the first line; the others have a section of their own.
func short(s string) string {
	first, rest, many := strings.Cut(strings.TrimSpace(s), "\n")
	if many && rest != "" {
		return first + " (…)"
	}
	return first
}

// quote keeps lines, as a block quotation with lists and a table.
func quote(s string) string {
	var out []string
	last := ""
	for line := range strings.Lines(s) {
		kind, text := "", inline(line)
		if item, isItem := strings.CutPrefix(line, "• "); isItem {
			kind, text = "item", "- "+inline(item)
		}
		cells, isRow := operation.Cells(line)
		if isRow {
			for i, c := range cells {
				cells[i] = inline(c)
			}
			kind, text = "row", "| "+strings.Join(cells, " | ")+" |"
		}
		if len(out) > 0 && (kind == "" || kind != last) {
			out = append(out, ">")
		}
		out = append(out, "> "+text)
		if isRow && last != kind {
			out = append(out, "> |"+strings.Repeat("---|", len(cells)))
		}
		last = kind
	}
	return strings.Join(out, "\n")
}
