package exposure_test

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/twokey/twokey/exposure"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// update rewrites the goldens: go test ./exposure -update
var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("not what %s says (-want +got):\n%s", path, d)
	}
}

// hostile is a caller who chose every text that can be chosen.
func hostile() *logs {
	mallory := exposure.Identity{Kind: "AssumedRole", Principal: "arn:aws:iam::123456789012:role/=cmd", Name: "=cmd|' /C calc'!A0", Session: "<!channel> <@U0BOB00001>"}
	return &logs{
		calls: []exposure.Call{
			{ID: "1", At: ago(80 * time.Minute), Name: "GetParameter", By: mallory, Address: "203.0.113.66", Agent: "=HYPERLINK(\"http://evil.example\",\"all clear\")", Parameters: []string{live}},
			{ID: "2", At: ago(79 * time.Minute), Name: "GetParameter", By: mallory, Address: "`*_~<http://evil.example|all clear>", Agent: "+1\r\n-- expected --\x1b[2J\x00\u202e", Parameters: []string{live}},
			{ID: "3", At: ago(70 * time.Minute), Name: "GetParameters", By: session(executionRole, task), Address: "ecs-tasks.amazonaws.com", Agent: "ecs-tasks.amazonaws.com", Parameters: []string{clientID, live}},
			{ID: "4", At: ago(60 * time.Minute), Name: "PutParameter", By: session(botRole, "bot"), Address: botsAddress, Agent: "twokey", Parameters: []string{live}},
		},
		signIns: map[runbook.ClientID][]exposure.SignIn{client: {
			{ID: "5", At: ago(78 * time.Minute), Key: "old", Address: "203.0.113.66", Resource: "Microsoft Graph", Agent: "@SUM(1)"},
			{ID: "6", At: ago(77 * time.Minute), Key: "old", Address: "203.0.113.66", Resource: "Microsoft Graph", Agent: "@SUM(1)"},
			{ID: "7", At: ago(30 * time.Minute), Address: "203.0.113.66", Resource: "Microsoft Graph", Agent: "＝1", Code: runbook.SecretInvalid},
			{ID: "8", At: ago(29 * time.Minute), Key: "new", Address: tasksAddress},
			{ID: "9", At: ago(31 * time.Minute), Address: tasksAddress, Code: runbook.SecretInvalid},
		}},
		audits: []exposure.Audit{
			{ID: "a", At: ago(76 * time.Minute), Activity: "Add owner to application", By: exposure.Actor{Name: "-2+3@contoso.example", Address: "203.0.113.66"},
				Targets: []exposure.Target{{ID: "m", Kind: "User", Name: "mallory@contoso.example, \"the\nadmin\""}}},
			{ID: "b", At: ago(75 * time.Minute), Activity: "Update application", By: exposure.Actor{Name: "carol@contoso.example"}, Targets: []exposure.Target{{ID: "app", Kind: "Application", Name: "jira"}}},
		},
		failing: map[string]error{"Doors": exposure.ErrNotPermitted},
	}
}

func TestTheFindingsReadAsTheGoldensDo(t *testing.T) {
	f := hostile().gather(jira(), twoHours())
	table, err := f.CSV()
	must(t, err)
	golden(t, "events.csv", string(table))
	golden(t, "summary.txt", f.Summary()+"\n")
}

func TestWhatOthersChoseCannotSpeakForUs(t *testing.T) {
	f := hostile().gather(jira(), twoHours())
	summary := f.Summary()
	ours := quoted.ReplaceAllString(summary, "")
	for _, forbidden := range []string{"<", ">", "&", "`", "channel", "U0BOB", "http"} {
		if strings.Contains(ours, forbidden) {
			t.Errorf("outside of backquotes the summary holds %q:\n%s", forbidden, summary)
		}
	}
	if strings.ContainsAny(summary, "\x1b\x00\u202e\r") {
		t.Errorf("the summary holds control characters:\n%s", summary)
	}
}

// quoted is what stands between backquotes.
var quoted = regexp.MustCompile("`[^`\n]*`")

// anyText is a text that an attacker might choose.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"=1+1", "  @x", "-", "＋1", "<!here>", "`", "a\r\nb", "\"quoted\", and more", "\xff\xfe", strings.Repeat("long ", 200), "\u202eevil", "",
	}))
}

// anyLogs draws sources full of such texts.
func anyLogs(t *rapid.T) *logs {
	text := anyText()
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return ago(time.Duration(rapid.IntRange(0, 9000).Draw(t, "seconds")) * time.Second)
	})
	l := &logs{signIns: map[runbook.ClientID][]exposure.SignIn{}, failing: map[string]error{}}
	for range rapid.IntRange(0, 40).Draw(t, "calls") {
		l.calls = append(l.calls, exposure.Call{
			ID: text.Draw(t, "id"), At: at.Draw(t, "at"), Name: rapid.SampledFrom([]string{"GetParameter", "PutParameter", "GetParameters"}).Draw(t, "name"),
			By:      exposure.Identity{Kind: rapid.SampledFrom([]string{"AssumedRole", "IAMUser", "Root", "?"}).Draw(t, "kind"), Principal: rapid.SampledFrom([]string{botRole, executionRole, "x"}).Draw(t, "principal"), Session: text.Draw(t, "session")},
			Address: text.Draw(t, "address"), Agent: text.Draw(t, "agent"), Parameters: []string{live}, Refused: text.Draw(t, "refused"),
		})
	}
	for range rapid.IntRange(0, 40).Draw(t, "sign-ins") {
		l.signIns[client] = append(l.signIns[client], exposure.SignIn{
			ID: text.Draw(t, "id"), At: at.Draw(t, "at"), Key: runbook.KeyID(rapid.SampledFrom([]string{"old", "new", "other", ""}).Draw(t, "key")), Address: text.Draw(t, "address"),
			Resource: text.Draw(t, "resource"), Agent: text.Draw(t, "agent"), Code: rapid.SampledFrom([]int{0, 0, runbook.SecretInvalid}).Draw(t, "code"),
		})
	}
	for range rapid.IntRange(0, 10).Draw(t, "audits") {
		l.audits = append(l.audits, exposure.Audit{ID: text.Draw(t, "id"), At: at.Draw(t, "at"), Activity: text.Draw(t, "activity"), By: exposure.Actor{Name: text.Draw(t, "by")}})
	}
	for _, source := range []string{"GetParameter", "SignIns", "Audits", "Doors"} {
		if rapid.Bool().Draw(t, source+" fails") {
			l.failing[source] = &broken{text.Draw(t, "error")}
		}
	}
	return l
}

type broken struct{ text string }

func (b *broken) Error() string { return b.text }

func TestWhateverTheLogsHoldTheFindingsAreWellFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLogs(t)
		f := l.gather(jira(), twoHours())
		total := f.Counts.StandOut + f.Counts.Unknown + f.Counts.Expected
		if total != len(f.Events) || f.Counts.Events != len(f.Events) {
			t.Fatalf("the counts %+v do not add up to %d events", f.Counts, len(f.Events))
		}
		for i, e := range f.Events {
			if e.Why == "" || e.What == "" || (i > 0 && e.At.Before(f.Events[i-1].At)) {
				t.Fatalf("event %d is without a reason, or out of order: %+v", i, e)
			}
		}
		checkSummary(t, f)
		checkCSV(t, f)
		checkTable(t, f)
	})
}

func checkSummary(t *rapid.T, f exposure.Findings) {
	s := f.Summary()
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
	if n := utf8.RuneCountInString(escaped); n > 2500 || strings.Contains(quoted.ReplaceAllString(s, ""), "`") {
		t.Fatalf("the summary has %d characters, or a backquote too many:\n%s", n, s)
	}
	if (len(f.NotCovered) > 0) != strings.Contains(s, "Not covered:") || (f.Counts.StandOut > 0) != strings.Contains(strings.Split(s, "\n")[0], "stand") && !strings.HasPrefix(s, "Nothing stands out in what was looked at") {
		t.Fatalf("of %+v and %d gaps the summary says\n%s", f.Counts, len(f.NotCovered), s)
	}
}

func checkCSV(t *rapid.T, f exposure.Findings) {
	raw, err := f.CSV()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil || len(rows) != len(f.Events)+1 || bytes.Count(raw, []byte("\n")) != len(rows) || bytes.Count(raw, []byte("\r\n")) != len(rows) {
		t.Fatalf("%d rows of %d events: %v", len(rows), len(f.Events), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.IndexAny(strings.TrimLeft(cell, " "), "=+-@＝＋－＠") == 0 && !negative.MatchString(cell) {
				t.Fatalf("a spreadsheet takes %q for a formula", cell)
			}
			if strings.ContainsFunc(cell, unicode.IsControl) || utf8.RuneCountInString(cell) > 202 {
				t.Fatalf("the cell %q is too long or holds control characters", cell)
			}
		}
	}
}

// negative is a number, which spreadsheets calculate nothing of.
var negative = regexp.MustCompile(`^-[0-9]+$`)

func checkTable(t *rapid.T, f exposure.Findings) {
	groups := f.Groups()
	n := 0
	for i, g := range groups {
		n += g.Count
		if i > 0 && groups[i-1].Verdict != g.Verdict && g.Verdict == exposure.StandsOut {
			t.Fatal("something that stands out comes after something else")
		}
	}
	if n != len(f.Events) {
		t.Fatalf("%d groups hold %d of %d events", len(groups), n, len(f.Events))
	}
	var rows [][]string
	for line := range strings.Lines(f.Summary()) {
		if cells, isRow := operation.Cells(line); isRow {
			rows = append(rows, cells)
		}
	}
	left := 0
	if m := regexp.MustCompile(`(?m)^… and (\d+) more\.$`).FindStringSubmatch(strings.Split(f.Summary(), "\nNot covered:")[0]); m != nil {
		left, _ = strconv.Atoi(m[1]) // digits
	}
	if len(groups) > 0 && len(rows)-1+left != len(groups) || len(groups) == 0 && rows != nil {
		t.Fatalf("of %d groups the table shows %d rows and leaves %d out", len(groups), len(rows)-1, left)
	}
	for i, cells := range rows {
		if len(cells) != 3 || i > 0 && !strings.HasPrefix(strings.ToLower(cells[0]), groups[i-1].Verdict.Words()+": ") {
			t.Fatalf("row %d of the table is %q", i, cells)
		}
	}
}

func TestTheOrderInWhichLogsAnswerDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLogs(t)
		for i := range l.calls { // the vendors' ids are unique
			l.calls[i].ID = fmt.Sprint("call", i)
		}
		for i := range l.signIns[client] {
			l.signIns[client][i].ID = fmt.Sprint("sign-in", i)
		}
		for i := range l.audits {
			l.audits[i].ID = fmt.Sprint("audit", i)
		}
		one := l.gather(jira(), twoHours())
		slices.Reverse(l.calls)
		slices.Reverse(l.signIns[client])
		slices.Reverse(l.audits)
		if d := cmp.Diff(one, l.gather(jira(), twoHours())); d != "" {
			t.Fatal(d)
		}
	})
}
