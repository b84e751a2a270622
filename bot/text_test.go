package bot

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

func TestTextThatHidesOrReordersIsTakenOut(t *testing.T) {
	for in, want := range map[string]string{
		"safe \u202egpj.exe\u202c":   "safe gpj.exe",
		"pay\u200bpal\u2060":         "paypal",
		"a\u0000b\u0007c":            "abc",
		"soft\u00adhyphen":           "softhyphen",
		"tab\there":                  "tab here",
		"two\u2028lines":             "two\nlines",
		"\U000e0041tag":              "tag",
		"\u3164filler\u2800":         "filler",
		"bad \xff byte":              "bad \ufffd byte",
		"  Ünïcödé 漢字 stays  ":       "Ünïcödé 漢字 stays",
		"variation\ufe0f selector":   "variation selector",
		"\u2066isolated\u2069 text":  "isolated text",
		"carriage\r\nreturn is kept": "carriage \nreturn is kept",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNobodysTextCanMentionOrLink(t *testing.T) {
	for in, want := range map[string]string{
		"<!channel> now":             "&lt;!channel&gt; now",
		"<@U0BOB> approved":          "&lt;@U0BOB&gt; approved",
		"<https://evil|Details>":     "&lt;https://evil|Details&gt;",
		"tell @Channel and @here":    "tell ＠Channel and ＠here",
		"R&D":                        "R&amp;D",
		"<!chan\u200bnel>":           "&lt;!channel&gt;",
		"@chan\u200bnel is joined":   "＠channel is joined",
		"someone@hereford.example":   "someone@hereford.example",
		"&lt;!channel&gt; was typed": "&amp;lt;!channel&amp;gt; was typed",
	} {
		if got := escape(in, 100); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCutTextNeverEndsInsideAnEntity(t *testing.T) {
	for limit := 2; limit < 12; limit++ {
		got := escape("&&&", limit)
		if utf8.RuneCountInString(got) > limit {
			t.Errorf("limit %d: %q is too long", limit, got)
		}
		if rest := strings.TrimSuffix(strings.ReplaceAll(got, "&amp;", ""), "…"); rest != "" {
			t.Errorf("limit %d: %q holds a broken entity", limit, got)
		}
	}
	if got := escape("&&&", 15); got != "&amp;&amp;&amp;" {
		t.Errorf("what fits exactly was cut: %q", got)
	}
}

func TestASentenceNamesPeopleAndChannelsAndNothingElse(t *testing.T) {
	got := sentence("By <@U0BOB> in <#C0OPS>; <!here> <!subteam^S1> <@U0|x> <https://evil>")
	want := "By <@U0BOB> in <#C0OPS>; &lt;!here&gt; &lt;!subteam^S1&gt; &lt;@U0|x&gt; &lt;https://evil&gt;"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestASentencesInstantsAreShownInTheReadersZone(t *testing.T) {
	for in, want := range map[string]string{
		"It opens at 2026-11-24 21:05 UTC.":  "It opens at <!date^1795554300^{date_short_pretty} at {time}|2026-11-24 21:05 UTC>.",
		"From 2026-11-24 21:05 to 22:00 UTC": "From 2026-11-24 21:05 to 22:00 UTC",
		"at 2026-02-31 21:05 UTC":            "at 2026-02-31 21:05 UTC",
		"<!date^1^x|2026-11-24 21:05 UTC>":   "&lt;!date^1^x|<!date^1795554300^{date_short_pretty} at {time}|2026-11-24 21:05 UTC>&gt;",
	} {
		if got := sentence(in); got != want {
			t.Errorf("sentence(%q)\ngot  %q\nwant %q", in, got, want)
		}
	}
}

func TestOnlyWhatLooksLikeAnIDBecomesAMention(t *testing.T) {
	for user, want := range map[operation.UserID]string{
		"U0BOB":                "<@U0BOB>",
		"U0|x> <!channel":      "Mallory",
		"!channel":             "Mallory",
		"":                     "Mallory",
		"U0BOB> <https://evil": "Mallory",
	} {
		if got := (line{who(operation.Person{User: user, Name: "Mallory"})}).read(); got != want {
			t.Errorf("who(%q) reads %q, want %q", user, got, want)
		}
	}
}

func TestNobodysWordsLookLikeALineOfTheCard(t *testing.T) {
	op := rotation(operation.Pending)
	op.Reason = "because\nConfirmed by the boss."
	text := Card{Operation: op}.Message().Text
	if strings.Contains(text, "\nConfirmed by the boss") {
		t.Errorf("a reason forges a line:\n%s", text)
	}
	if !strings.Contains(text, "\nWhy: because Confirmed by the boss.") {
		t.Errorf("the reason is missing:\n%s", text)
	}
}

// allowed is all the mark-up that a message's text may hold.
var allowed = regexp.MustCompile(`<@[UW][A-Z0-9]+>|<#[CG][A-Z0-9]+>|<!date\^\d+\^[^<>|]*\|[^<>|]*>`)

func FuzzEscapedTextIsHarmless(f *testing.F) {
	for _, s := range []string{"<!channel>", "a&b<c>d", "@everyone", "\u202e\u200b\xff", "<@U1> <#C1>", strings.Repeat("<", 50)} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < 2 || limit > 4000 {
			return // nobody asks for that
		}
		got := escape(text, limit)
		harmless(t, got)
		if n := utf8.RuneCountInString(got); n > limit {
			t.Errorf("%d runes, %d allowed: %q", n, limit, got)
		}
		if left := regexp.MustCompile(`&(amp|lt|gt);`).ReplaceAllString(got, ""); strings.Contains(left, "&") {
			t.Errorf("a broken entity: %q", got)
		}
		if broadcast.MatchString(got) {
			t.Errorf("mentions everybody: %q", got)
		}
		harmless(t, allowed.ReplaceAllString(sentence(text), ""))
	})
}

func harmless(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsAny(text, "<>") {
		t.Errorf("mark-up or broken text: %q", text)
	}
	for _, r := range text {
		if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && r != '\n' {
			t.Errorf("hidden character %U in %q", r, text)
		}
	}
}

func FuzzACardShowsWhatIsThereAndStaysWithinSlacksLimits(f *testing.F) {
	f.Add("reason", "CHG1", "<!channel>", "U0BOB", 3)
	f.Add(strings.Repeat("&", 3000), "`", strings.Repeat("x", 900), "!here", 90)
	f.Fuzz(func(t *testing.T, reason, reference, what, user string, changes int) {
		op := rotation(operation.Parked)
		op.Reason, op.ChangeReference, op.Trouble, op.DecisionWords = reason, reference, reason, what
		op.Requester = operation.Person{User: operation.UserID(user), Name: what}
		for range max(0, min(changes, 200)) {
			op.Plan.Changes = append(op.Plan.Changes, operation.Change{What: what, From: reason, To: reference})
		}
		for _, m := range []Message{
			Card{Operation: op, Steps: progress(op), Approvers: what}.Message(),
			Status{Operation: op, Steps: progress(op), Told: []operation.Entry{{Outcome: operation.Verified, Step: what}, {Outcome: operation.Noted, Step: reason}}}.Message(),
			RoomNote(what, nil), RoomNote("", []Uninvited{{User: operation.UserID(user), Why: reason}}),
			FileNote(operation.Document{Name: what, Title: reference}, reason), Page(reason, true, ""),
			Line(operation.Entry{Outcome: operation.Verified, Step: what, Text: reason, By: &op.Requester}, false),
			Line(operation.Entry{Outcome: operation.Decided, Event: operation.Deny, Text: reason, By: &op.Requester}, false),
			Direct(reason),
		} {
			harmless(t, allowed.ReplaceAllString(m.Text, ""))
			if n := utf8.RuneCountInString(m.Text); n > 4000 {
				t.Errorf("the text has %d characters", n)
			}
			if len(m.Blocks) > 50 {
				t.Errorf("%d blocks", len(m.Blocks))
			}
			if n := textLength(t, m); n > 13200 {
				t.Errorf("the blocks hold %d characters", n)
			}
		}
	})
}

func TestEvidenceMayStyleAndNothingElse(t *testing.T) {
	got := Line(operation.Entry{Outcome: operation.Verified, Step: "Read the audit logs", Text: "*2 things stand out.*\n`GetParameter` by <@U0BOB>, 2 * 3 * 4, `open, * alone"}, false)
	b, err := json.Marshal(slack.Blocks{BlockSet: got.Blocks})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"text":"2 things stand out.","style":{"bold":true}`, `"text":"GetParameter","style":{"code":true}`,
		`"text":" by \u003c@U0BOB\u003e, 2 * 3 * 4, ` + "`open, * alone" + `"`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	if want := "2 things stand out.\nGetParameter by &lt;@U0BOB&gt;"; !strings.Contains(got.Text, want) {
		t.Errorf("no %q in %q", want, got.Text)
	}
}

// textLength counts the characters of all texts in a message's blocks.
func textLength(t *testing.T, m Message) int {
	t.Helper()
	b, err := json.Marshal(slack.Blocks{BlockSet: m.Blocks})
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if s, ok := e.(string); ok && k == "text" {
					n += utf8.RuneCountInString(s)
				}
				walk(e)
			}
		}
	}
	walk(v)
	return n
}

func TestAPlanThatTheCardCannotShowCannotBeConfirmed(t *testing.T) {
	op := rotation(operation.Pending)
	if !has(Card{Operation: op}.Message(), ActionConfirm) {
		t.Error("a plan that fits has no Confirm button")
	}
	for range 100 {
		op.Plan.Changes = append(op.Plan.Changes, operation.Change{What: strings.Repeat("x", 300), To: "gone"})
	}
	m := Card{Operation: op}.Message()
	if has(m, ActionConfirm) {
		t.Error("a plan of which the card shows a part can be confirmed")
	}
	if !has(m, ActionDeny) || !has(m, ActionCancel) {
		t.Error("it cannot be denied or cancelled either")
	}
}

func TestACardHasButtonsOnlyWhileTheyCanDoSomething(t *testing.T) {
	for _, s := range operation.States() {
		m := Card{Operation: rotation(s)}.Message()
		for action, event := range map[string]operation.Event{
			ActionConfirm: operation.Confirm, ActionDeny: operation.Deny, ActionCancel: operation.Cancel,
			ActionRetry: operation.Retry, ActionUndo: operation.Undo, ActionHandOver: operation.HandOver,
		} {
			if _, possible := operation.Next(s, event); possible != has(m, action) {
				t.Errorf("%s: button %s there: %v, possible: %v", s, action, has(m, action), possible)
			}
		}
	}
}

// has reports whether the message has a button for the action.
func has(m Message, action string) bool {
	for _, b := range m.Blocks {
		actions, ok := b.(*slack.ActionBlock)
		if !ok {
			continue
		}
		for _, e := range actions.Elements.ElementSet {
			if button, ok := e.(*slack.ButtonBlockElement); ok && button.ActionID == action {
				return true
			}
		}
	}
	return false
}

func TestWhatAButtonCarriesComesBackAsItWas(t *testing.T) {
	for _, r := range []Ref{
		{Operation: "k7m2p9", Digest: "3f9a"},
		{Operation: "k7m2p9", Digest: "3f9a", Channel: "C0OPS", Message: "1772442000.000100"},
	} {
		if got, ok := ParseRef(r.String()); !ok || got != r {
			t.Errorf("ParseRef(%q) = %+v, %v", r.String(), got, ok)
		}
	}
	for _, bad := range []string{"", "k7m2p9", "k7m2p9 ", "a b c", "a b c d e", "a  b", "k7\nm2 3f", strings.Repeat("a", 300) + " b"} {
		if got, ok := ParseRef(bad); ok {
			t.Errorf("ParseRef(%q) = %+v, want a refusal", bad, got)
		}
	}
}

func FuzzParseRefTakesOnlyWhatStringWrites(f *testing.F) {
	f.Add("k7m2p9 3f9a")
	f.Add("k7m2p9 3f9a C0OPS 1.2")
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := ParseRef(text); ok && r.String() != text {
			t.Errorf("ParseRef(%q) reads %+v, which is written %q", text, r, r.String())
		}
	})
}
