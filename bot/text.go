package bot

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Slack's limits, in characters.
const (
	maxText    = 3900 // chat.update refuses more than 4000 of a message's text
	maxSection = 3000
	maxHeader  = 150
	maxButton  = 75
	maxInput   = 40_000 // bytes of one text that are looked at: Slack takes less
	maxPhrase  = 400    // one part of one line of a card: ours, so that the whole stays readable
)

// clean takes out of text what can hide or reorder other text: control
// characters, bidirectional overrides, zero-width and tag characters. People's
// words stand in the card that a second person decides by.
func clean(text string) string {
	text = text[:min(len(text), maxInput)]
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\u2028' || r == '\u2029':
			return '\n'
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), filler(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError))))
}

// filler reports letters that show as nothing.
func filler(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u3164', '\uffa0', '\u2800', '\u034f', '\u17b4', '\u17b5':
		return true
	}
	return r >= '\ufe00' && r <= '\ufe0f' || r >= 0xe0100 && r <= 0xe01ef // variation selectors
}

// What Slack parses: a client may take @channel for a mention of everybody, and
// what is left of <@U…> and <#C…> after escaping may be put back.
var (
	broadcast = regexp.MustCompile(`(?i)@(channel|here|everyone)\b`)
	mention   = regexp.MustCompile(`&lt;(@[UW][A-Z0-9]{1,30}|#[CG][A-Z0-9]{1,30})&gt;`)
	slackUser = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)
	userGroup = regexp.MustCompile(`^S[A-Z0-9]{1,30}$`)
)

// width is how many characters r takes once it is escaped.
func width(r rune) int {
	switch r {
	case '&':
		return len("&amp;")
	case '<', '>':
		return len("&lt;")
	}
	return 1
}

// plain is somebody's text for places that Slack does not parse, at most limit
// characters long. It is counted as if it were escaped, so that cutting it
// never cuts an entity and Slack never counts more than we do.
func plain(text string, limit int) string {
	text = clean(text)
	used, room := 0, 0 // room: how much fits before an ellipsis
	for i, r := range text {
		if used += width(r); used > limit {
			return text[:room] + "…"
		}
		if used < limit {
			room = i + utf8.RuneLen(r)
		}
	}
	return text
}

// escape makes somebody's text harmless in a text that Slack parses: no mention
// and no link is left in it.
func escape(text string, limit int) string {
	text = plain(broadcast.ReplaceAllString(clean(text), "＠$1"), limit)
	text = strings.ReplaceAll(text, "&", "&amp;") // first: the others bring ampersands of their own
	text = strings.ReplaceAll(text, "<", "&lt;")
	return strings.ReplaceAll(text, ">", "&gt;")
}

// sentence is a text of our own for one person. It may name people and channels
// as <@U…> and <#C…>, and instants as 2026-11-24 13:05 UTC, which are shown in the
// reader's own zone; everything else in it is harmless.
func sentence(text string) string {
	text = mention.ReplaceAllString(escape(text, maxSection), "<$1>")
	return minute.ReplaceAllStringFunc(text, func(written string) string {
		t, err := time.Parse(minuteFormat, written)
		if err != nil { // the 31st of February
			return written
		}
		return "<!date^" + strconv.FormatInt(t.Unix(), 10) + "^{date_short_pretty} at {time}|" + written + ">"
	})
}

// minuteFormat is how a sentence writes an instant, and minute finds it there.
const minuteFormat = "2006-01-02 15:04 MST"

var minute = regexp.MustCompile(`\b\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC\b`)

// span is a piece of a line. A line is written once and shown twice: as rich
// text, in which nothing is parsed, and in the text for screen readers and
// notifications.
type span struct {
	text  string
	style *slack.RichTextSectionTextStyle
	user  operation.UserID
	at    time.Time
	emoji string // shown, not read out
	place operation.ChannelID
	url   string // of a link, whose words are in text
}

func say(text string) span { return span{text: text} }
func bold(text string) span {
	return span{text: text, style: &slack.RichTextSectionTextStyle{Bold: true}}
}
func code(text string) span {
	return span{text: text, style: &slack.RichTextSectionTextStyle{Code: true}}
}
func when(t time.Time) span { return span{at: t} }
func sign(name string) span { return span{emoji: name} }

// newLine breaks a line beside a button; where lines are read out it is a blank.
func newLine() span { return say("\n") }

// where names a channel. To those who may not know of it Slack shows no name.
func where(c operation.ChannelID) span { return span{place: c} }

// link is our own words that lead somewhere; just the words without an address.
func link(text, url string) span { return span{text: text, url: url} }

// who names a person: by a mention when the id looks like one.
func who(p operation.Person) span {
	if slackUser.MatchString(string(p.User)) {
		return span{user: p.User}
	}
	if name := words(p.Name); name.text != "" {
		return name
	}
	return say("somebody")
}

// dateFormat shows an instant in the reader's own time zone.
const dateFormat = "{date_short_pretty} at {time_secs}"

// utc is an instant for those whose client cannot show dates.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// line is a sentence in pieces.
type line []span

// rich is the line as rich text.
func (l line) rich() []slack.RichTextSectionElement {
	out := make([]slack.RichTextSectionElement, 0, len(l))
	for _, s := range l {
		switch {
		case s.user != "":
			out = append(out, slack.NewRichTextSectionUserElement(string(s.user), nil))
		case !s.at.IsZero():
			fallback := utc(s.at)
			out = append(out, slack.NewRichTextSectionDateElement(s.at.Unix(), dateFormat, nil, &fallback))
		case s.emoji != "":
			out = append(out, slack.NewRichTextSectionEmojiElement(s.emoji, 0, nil), slack.NewRichTextSectionTextElement(" ", nil))
		case s.place != "":
			out = append(out, slack.NewRichTextSectionChannelElement(string(s.place), nil))
		case s.url != "":
			out = append(out, slack.NewRichTextSectionLinkElement(s.url, s.text, nil))
		case s.text != "":
			out = append(out, slack.NewRichTextSectionTextElement(s.text, s.style))
		}
	}
	return out
}

// length is how many characters the line takes.
func (l line) length() int {
	n := 0
	for _, s := range l {
		n += utf8.RuneCountInString(s.text)
	}
	return n
}

// read is the line as it is read out, escaped for Slack's text.
func (l line) read() string {
	var out strings.Builder
	for _, s := range l {
		switch {
		case s.user != "":
			out.WriteString("<@" + string(s.user) + ">")
		case !s.at.IsZero():
			out.WriteString(date(s.at))
		case s.place != "":
			out.WriteString("<#" + string(s.place) + ">")
		case s.url != "":
			out.WriteString("<" + s.url + "|" + escape(s.text, maxPhrase) + ">")
		default:
			out.WriteString(escapeSpaced(s.text))
		}
	}
	return out.String()
}

// mrkdwn is the line for blocks that have no rich text: small print, and what stands
// beside a button.
func (l line) mrkdwn() string {
	var out strings.Builder
	for _, s := range l {
		part := line{s}.read()
		switch {
		case s.emoji != "":
			part = ":" + s.emoji + ": "
		case s.text == "\n":
			part = "\n"
		case s.style == nil:
		case s.style.Bold:
			part = "*" + part + "*"
		case s.style.Code:
			part = "`" + part + "`"
		}
		out.WriteString(part)
	}
	return out.String()
}

func date(t time.Time) string {
	return "<!date^" + strconv.FormatInt(t.Unix(), 10) + "^" + dateFormat + "|" + utc(t) + ">"
}

// escapeSpaced escapes and keeps the blanks around a piece of a line. Line breaks
// go: in the text, nobody's words may look like a line of the card's own.
func escapeSpaced(text string) string {
	text = strings.ReplaceAll(text, "\n", " ")
	body := escape(text, maxSection)
	if body == "" {
		return text[:len(text)-len(strings.TrimLeft(text, " "))]
	}
	lead := text[:len(text)-len(strings.TrimLeft(text, " "))]
	tail := text[len(strings.TrimRight(text, " ")):]
	return lead + body + tail
}

// style finds the little mark-up that evidence has: *bold* and `code`.
var style = regexp.MustCompile("`[^`\n]+`|\\*[^*\\s](?:[^*\n]*[^*\\s])?\\*")

// marked is evidence in pieces. Its mark-up can only style: there is none in it that
// mentions or links.
func marked(text string) line {
	var out line
	end := 0
	for _, at := range style.FindAllStringIndex(text, -1) {
		out = append(out, say(text[end:at[0]]))
		inner := text[at[0]+1 : at[1]-1]
		if text[at[0]] == '`' {
			out = append(out, code(inner))
		} else {
			out = append(out, bold(inner))
		}
		end = at[1]
	}
	return append(out, say(text[end:]))
}

// words is somebody's text inside a line.
func words(text string) span { return say(plain(text, maxPhrase)) }

// join puts lines of a text together and keeps whole lines only, so that what is
// cut is never half a mention or half a date.
func join(lines []string, limit int) string {
	var out strings.Builder
	used := 0
	for _, l := range lines {
		n := utf8.RuneCountInString(l)
		if used+n+2 > limit {
			out.WriteString("\n…")
			break
		}
		if used > 0 {
			out.WriteString("\n")
			n++
		}
		out.WriteString(l)
		used += n
	}
	return out.String()
}
