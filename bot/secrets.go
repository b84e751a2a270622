package bot

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
)

// Actions of what /secrets answers. None of them changes a secret: two open the form
// of a request, which then needs its two people.
const (
	ActionSecretsOpen     = "secrets_open" // of these, the button says what to look at
	ActionSecretsBack     = "secrets_back"
	ActionSecretsPrevious = "secrets_previous"
	ActionSecretsNext     = "secrets_next"
	ActionSecretsFindings = "secrets_findings"
	ActionSecretsAgain    = "secrets_again" // the same, read anew
	ActionSecretsShare    = "secrets_share"
	ActionSecretsExport   = "secrets_export"
	ActionSecretRotate    = "secret_rotate"    // opens [RotateModal]
	ActionSecretEmergency = "secret_emergency" // opens [EmergencyModal]
	ActionSecretTake      = "secret_take"      // takes the reminder, as on its own card
	ActionSecretSnooze    = "secret_snooze"    // opens [SnoozeModal]
)

// SecretsRef is what a button of /secrets carries: what to look at. It may be
// forged: who may see that is judged at the click.
type SecretsRef struct {
	Page  int    // from 0
	Words string // as they follow the command
}

// MaxWords bounds what is typed behind /secrets, in bytes.
const MaxWords = 300

// String is the form that travels.
func (r SecretsRef) String() string {
	return strings.TrimRight(fmt.Sprintf("%d %s", r.Page, r.Words), " ")
}

// ParseSecretsRef reads what [SecretsRef.String] wrote, and reports whether it can
// be that.
func ParseSecretsRef(text string) (SecretsRef, bool) {
	page, words, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(page)
	return SecretsRef{Page: n, Words: words}, err == nil && n >= 0 && len(words) <= MaxWords
}

// SecretList is the inventory, or a part of it, a page at a time.
type SecretList struct {
	Ref       SecretsRef
	Inventory inventory.Inventory // in the order in which it is shown
	Findings  bool                // show the findings, and not the items
	Now       time.Time
	By        operation.Person // who shared it; zero: it is for one person
	Shared    bool             // they have just done that
}

// perPage is how many rows a page has: a message must hold them with everything
// that could not be read.
const perPage = 8

// Message renders the page.
func (l SecretList) Message() Message {
	b := builder{}
	v := l.Inventory
	rows := len(v.Items)
	title := count(rows, "secret or certificate", "secrets and certificates")
	if l.Findings {
		rows = len(v.Findings)
		title = count(rows, "thing to look at", "things to look at")
	}
	pages := max(1, (rows+perPage-1)/perPage)
	page := min(l.Ref.Page, pages-1)
	if pages > 1 {
		title += fmt.Sprintf(", page %d of %d", page+1, pages)
	}
	b.add(slack.NewHeaderBlock(plainText(title, maxHeader)))
	b.sharedBy(l.By)
	if !l.Findings && rows > 0 {
		b.lines(countsLine(v))
	}
	b.gaps(v.Gaps)
	from, to := page*perPage, min((page+1)*perPage, rows)
	for n := from; n < to; n++ {
		if l.Findings {
			l.row(&b, findingLine(v.Findings[n]), v.Findings[n].Feeds)
		} else {
			l.row(&b, itemLines(v.Items[n], l.Now), v.Items[n].Feeds)
		}
	}
	if rows == 0 {
		b.lines(line{say("Nothing here is as you asked.")})
	}
	if l.By.User == "" {
		l.buttons(&b, page, pages)
	}
	b.context(l.footer())
	return b.message(title)
}

// row adds one line and, for a secret of the configuration, the way to its page.
func (l SecretList) row(b *builder, row line, f inventory.Feeds) {
	var open *slack.Accessory
	if f.Secret != "" && l.By.User == "" {
		open = slack.NewAccessory(toSecrets(ActionSecretsOpen, "Open", SecretsRef{Words: f.Server + " " + f.Environment}))
	}
	b.section(row, open)
}

func (l SecretList) buttons(b *builder, page, pages int) {
	words := l.Ref.Words
	var move, all []slack.BlockElement
	if page > 0 {
		move = append(move, toSecrets(ActionSecretsPrevious, "Previous", SecretsRef{page - 1, words}))
	}
	if page+1 < pages {
		move = append(move, toSecrets(ActionSecretsNext, "Next", SecretsRef{page + 1, words}))
	}
	here := SecretsRef{page, words}
	if n := len(l.Inventory.Findings); n > 0 && !l.Findings {
		all = append(all, toSecrets(ActionSecretsFindings, count(n, "thing to look at", "things to look at"), SecretsRef{0, strings.TrimSpace(words + " findings")}))
	}
	if words != "" {
		all = append(all, toSecrets(ActionSecretsBack, "All secrets", SecretsRef{}))
	}
	all = append(all, toSecrets(ActionSecretsAgain, "Read again", here), toSecrets(ActionSecretsExport, "CSV", here))
	if !l.Shared {
		all = append(all, toSecrets(ActionSecretsShare, "Share in the channel", here))
	}
	b.add(slack.NewActionBlock("", append(move, all...)...))
}

func (l SecretList) footer() line {
	f := readAt(l.Inventory.At, l.Now)
	if l.Ref.Words != "" {
		f = append(line{say("Asked for: "), words(l.Ref.Words), say(" · ")}, f...)
	}
	if l.By.User != "" {
		return append(f, say(" · see more with "), code("/secrets"))
	}
	return privately(f, l.Shared)
}

// privately says who sees it.
func privately(f line, yes bool) line {
	if yes {
		return append(f, say(" · you have shared it in this channel"))
	}
	return append(f, say(" · only you see this"))
}

// readAt says how old an inventory is.
func readAt(at, now time.Time) line {
	l := line{say("Read from Entra, AWS and the endpoints "), when(at)}
	if minutes := int(now.Sub(at).Minutes()); minutes > 0 {
		l = append(l, say(", "+count(minutes, "minute", "minutes")+" ago"))
	}
	return l
}

func toSecrets(action, label string, to SecretsRef) *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(action, to.String(), plainText(label, maxButton))
}

// section is a line with something beside it.
func (b *builder) section(l line, beside *slack.Accessory) {
	b.add(slack.NewSectionBlock(mrkdwn(l.mrkdwn()), nil, beside))
	b.text = append(b.text, l.read())
}

func (b *builder) sharedBy(p operation.Person) {
	if p.User != "" {
		b.lines(line{who(p), say(" shares what the inventory says.")})
	}
}

// maxGaps bounds the gaps that are told in full.
const maxGaps = 5

// gaps says loudly what could not be read.
func (b *builder) gaps(gaps []inventory.Gap) {
	if len(gaps) == 0 {
		return
	}
	b.lines(line{sign("warning"), bold("Not everything could be read. What is missing here is unknown, and not fine:")})
	var lines []line
	for _, g := range gaps[:min(len(gaps), maxGaps)] {
		lines = append(lines, line{bold(plain(sentenceCase(g.Source), maxPhrase)), say(": "), words(g.Why)})
	}
	if more := len(gaps) - maxGaps; more > 0 {
		lines = append(lines, line{bold(fmt.Sprintf("… and %d more.", more))})
	}
	b.list(lines)
}

func countsLine(v inventory.Inventory) line {
	n := v.Counts()
	var l line
	for _, s := range inventory.Statuses() {
		if len(l) > 0 {
			l = append(l, say("   "))
		}
		l = append(l, sign(statusSign(s)), say(fmt.Sprintf("%d %s", n[s], s)))
	}
	return l
}

func statusSign(s inventory.Status) string {
	switch s {
	case inventory.Overdue:
		return "rotating_light"
	case inventory.Unknown:
		return "question"
	case inventory.Due:
		return "hourglass_flowing_sand"
	case inventory.Fine:
		return "white_check_mark"
	}
	return "question"
}

func itemSign(i inventory.Item, now time.Time) string {
	switch {
	case i.Replaced:
		return "white_circle"
	case i.Status == inventory.Due && i.Left(now) <= soon*24*time.Hour:
		return "alarm_clock"
	}
	return statusSign(i.Status)
}

// A list has many names and reasons; these bound each. A secret's page has more room.
const (
	maxName = 80
	maxWhy  = 200
)

// itemLines are an item in a list.
func itemLines(i inventory.Item, now time.Time) line {
	l := line{sign(itemSign(i, now)), bold(plain(i.Name, maxName)), say(" · " + i.Words())}
	if i.Key != "" {
		l = append(l, say(" “"+plain(i.Key, maxName)+"”"))
	}
	l = append(append(l, newLine()), ends(i, now)...)
	if i.Replaced {
		l = append(l, say(" · replaced: nothing that is configured uses it"))
	}
	l = append(l, newLine(), say(plain(ownerWords(i), maxName)))
	if i.Feeds.Service != "" {
		l = append(l, say(" · feeds "+plain(i.Feeds.Cluster+"/"+i.Feeds.Service, maxName)))
	}
	if i.Why != "" {
		l = append(l, newLine(), say(plain(i.Why, maxWhy)))
	}
	return l
}

// ends says when an item expires, seen from now.
func ends(i inventory.Item, now time.Time) line {
	left := i.Left(now)
	whole := int(left.Abs() / (24 * time.Hour))
	switch {
	case i.End.IsZero():
		return line{bold("UNKNOWN"), say(" when it expires")}
	case left <= 0 && whole == 0:
		return line{say("expired today, "), when(i.End)}
	case left <= 0:
		return line{say("expired " + count(whole, "day", "days") + " ago, "), when(i.End)}
	case whole == 0:
		return line{say("expires within a day, "), when(i.End)}
	}
	return line{say("expires in " + count(whole, "day", "days") + ", "), when(i.End)}
}

func ownerWords(i inventory.Item) string {
	if i.OwnerFrom == "" {
		return ownerName(i)
	}
	return "owner: " + ownerName(i)
}

func ownerName(i inventory.Item) string {
	switch i.OwnerFrom {
	case inventory.FromConfig:
		return i.Owner.Name
	case inventory.FromEntra:
		return i.Owner.Name + " (owns it in Entra)"
	}
	return "no owner is known"
}

func findingLine(f inventory.Finding) line {
	name := string(f.Feeds.Secret)
	if name == "" {
		name = f.ID
	}
	return line{sign("mag"), bold(plain(name, maxName)), say(" · " + strings.ReplaceAll(string(f.Kind), "-", " ")), newLine(), words(f.Text)}
}

// SecretPage is all that is known of one secret of the configuration.
type SecretPage struct {
	Name      operation.SecretName
	Ref       SecretsRef
	Inventory inventory.Inventory // of this secret: the key in use first
	Open      []operation.Operation
	Links     map[operation.ID]string // of the cards of operations
	Kinds     map[operation.ID]operation.Kind
	Reminder  *operation.Reminder // nil: none is open
	Reminding string              // address of its card
	History   []operation.Entry   // newest first
	Earlier   int                 // how much older than that is left out
	Now       time.Time
	By        operation.Person // who shared it; zero: it is for one person
	Shared    bool             // they have just done that
}

// Message renders the page.
func (p SecretPage) Message() Message {
	b := builder{}
	title := string(p.Name)
	emoji := "question"
	if len(p.Inventory.Items) > 0 {
		emoji = itemSign(p.Inventory.Items[0], p.Now)
	}
	b.add(slack.NewHeaderBlock(plainText(signed(emoji, title), maxHeader)))
	b.sharedBy(p.By)
	b.gaps(p.Inventory.Gaps)
	if len(p.Inventory.Items) == 0 {
		b.lines(line{sign("question"), bold("UNKNOWN"), say(": nothing was read of it.")})
	} else {
		p.facts(&b, p.Inventory.Items[0])
	}
	if len(p.Inventory.Findings) > 0 {
		b.heading("Look at this")
		var found []line
		for _, f := range p.Inventory.Findings {
			found = append(found, line{words(f.Text)})
		}
		b.list(found)
	}
	b.paragraphs(p.now()...)
	p.history(&b)
	p.buttons(&b)
	b.context(p.footer())
	return b.message(title)
}

func wordLines(texts []string) []line {
	out := make([]line, len(texts))
	for i, t := range texts {
		out[i] = line{words(t)}
	}
	return out
}

// facts are what is known of a secret, by its key in use.
func (p SecretPage) facts(b *builder, inUse inventory.Item) {
	first := paragraph{line: append(line{sign(itemSign(inUse, p.Now))}, p.key(inUse)...)}
	b.paragraphs(first, paragraph{line: line{bold("Owner: "), say(plain(ownerName(inUse), maxName))}}, paragraph{line: lastRotation(inUse)}, paragraph{line: lastUse(inUse)})
	b.heading("What it feeds")
	b.list(wordLines(inUse.TiedTo()))
	var others []line
	for _, i := range p.Inventory.Items[1:] {
		l := append(line{sign(itemSign(i, p.Now))}, p.key(i)...)
		others = append(others, append(append(l, say(" ")), lastUse(i)...))
	}
	if len(others) > 0 {
		b.heading("Other keys of its application, and what belongs to it")
		b.list(others)
	}
}

// key is which key it is, how old, and when it expires.
func (p SecretPage) key(i inventory.Item) line {
	var l line
	if i.Live {
		l = append(l, bold("In use: "))
	}
	l = append(l, say(i.Words()))
	if i.KeyID != "" {
		l = append(l, say(", key "), code(plain(string(i.KeyID), maxName)))
	}
	if i.Key != "" {
		l = append(l, say(" “"+plain(i.Key, maxName)+"”"))
	}
	if !i.Start.IsZero() {
		l = append(l, say(", "+count(int(i.Age(p.Now)/(24*time.Hour)), "day", "days")+" old"))
	}
	l = append(append(append(l, say("; ")), ends(i, p.Now)...), say("."))
	if i.Why != "" {
		l = append(l, say(" "+plain(i.Why, maxPhrase)))
	}
	return l
}

func lastRotation(i inventory.Item) line {
	r := i.Rotated
	switch {
	case i.KeyID == "":
		return line{bold("Last rotation: unknown"), say(", since it is unknown which key is in use.")}
	case r == nil:
		return line{bold("Last rotation: "), say("none that I know of made this key.")}
	}
	return line{bold("Last rotation: "), when(r.At), say(", operation "), code(string(r.Operation)), say(", asked for by "), unrung(r.By), say(", confirmed by "), unrung(r.ConfirmedBy), say(".")}
}

func lastUse(i inventory.Item) line {
	switch {
	case !i.Used.At.IsZero():
		return line{bold("Last used: "), when(i.Used.At), say(".")}
	case i.Used.Why != "":
		return line{bold("Last used: unknown"), say(": " + plain(i.Used.Why, maxPhrase) + ".")}
	}
	return line{bold("Last used: unknown"), say(".")}
}

// unrung names somebody without ringing: what they did may be long ago.
func unrung(p operation.Person) span { return who(operation.Person{Name: p.Name}) }

// now is what is going on with it: open operations and the open reminder.
func (p SecretPage) now() []paragraph {
	var out []paragraph
	for _, op := range p.Open {
		out = append(out, paragraph{line: append(line{sign(stateSign(op.State))}, operationLine(op, p.Links[op.ID])...)})
	}
	if len(p.Open) == 0 {
		out = append(out, paragraph{line: line{sign("zzz"), say("No operation is open.")}})
	}
	if p.Reminder == nil {
		return append(out, paragraph{line: line{sign("no_bell"), say("No reminder is open.")}})
	}
	m := p.Reminder.Matter
	l := line{sign("bell"), bold("Reminder"), say(" told "), when(p.Reminder.At), say(": nobody has taken it")}
	if m.Taken.By.User != "" {
		l = line{sign("bell"), bold("Reminder"), say(" told "), when(p.Reminder.At), say(": taken by "), unrung(m.Taken.By), say(", "), when(m.Taken.At)}
	}
	if m.Snoozed.By.User != "" && p.Now.Before(m.Snoozed.Until) {
		l = append(l, say("; snoozed by "), unrung(m.Snoozed.By), say(" until "), when(m.Snoozed.Until), say(": "+plain(m.Snoozed.Reason, maxPhrase)))
	}
	return append(out, paragraph{line: toCard(append(l, say(".")), p.Reminding)})
}

// operationLine is an operation in a list.
func operationLine(op operation.Operation, card string) line {
	l := line{bold(title(op)), say(" is " + op.State.Words() + ". Asked for by "), unrung(op.Requester), say(", "), when(op.RequestedAt), say(".")}
	if op.State == operation.Parked && op.Trouble != "" {
		l = append(l, say(" "), words(op.Trouble))
	}
	return toCard(l, card)
}

// toCard ends a line with the way to a card, where Slack says it.
func toCard(l line, card string) line {
	if card == "" {
		return l
	}
	return append(l, say(" "), link("Open the card", card))
}

func (p SecretPage) history(b *builder) {
	b.heading("History")
	var lines []line
	for _, e := range p.History {
		l := line{when(e.At), say(": ")}
		if kind := p.Kinds[e.Operation]; kind != "" {
			l = append(l, say(titled(string(kind))+" "), code(string(e.Operation)), say(": "))
		}
		lines = append(lines, append(l, told(e)...))
	}
	switch {
	case len(lines) == 0:
		lines = []line{{say("Nothing is recorded yet.")}}
	case p.Earlier > 0:
		lines = append(lines, line{say(fmt.Sprintf("%d earlier: ", p.Earlier)), code("twokey audit list --secret " + string(p.Name))})
	}
	b.list(lines)
}

// maxTold bounds what an entry of a history says besides what happened.
const maxTold = 120

// told is an entry in a history.
func told(e operation.Entry) line {
	if e.By != nil {
		by := operation.Person{Name: e.By.Name}
		e.By = &by
	}
	var l line
	switch e.Step {
	case operation.StepTaken, operation.StepSnoozed, operation.StepReminded, operation.StepSettled:
		l = line{bold(sentenceCase(e.Step))}
		if e.By != nil {
			l = append(l, say(" by "), who(*e.By))
		}
		l = append(l, say("."))
	default:
		l = headline(e)
	}
	if e.Text != "" {
		l = append(l, say(" "+plain(strings.ReplaceAll(e.Text, "\n", " "), maxTold)))
	}
	return l
}

func (p SecretPage) buttons(b *builder) {
	if p.By.User != "" {
		return
	}
	var act []slack.BlockElement
	add := func(action, value, label string, style slack.Style) {
		button := slack.NewButtonBlockElement(action, value, plainText(label, maxButton))
		button.Style = style
		act = append(act, button)
	}
	add(ActionSecretRotate, string(p.Name), "Rotate…", slack.StylePrimary)
	add(ActionSecretEmergency, string(p.Name), "Emergency disable…", slack.StyleDanger)
	if r := p.Reminder; r != nil && r.Card != "" {
		ref := ReminderRef{Reminder: r.ID, Channel: r.Channel, Message: r.Card}.String()
		if p.Now.Before(r.Matter.SnoozeEnd()) {
			add(ActionSecretSnooze, ref, "Snooze the reminder…", slack.StyleDefault)
		}
		add(ActionSecretTake, ref, "I take it", slack.StyleDefault)
	}
	b.add(slack.NewActionBlock("", act...))
	more := []slack.BlockElement{toSecrets(ActionSecretsBack, "All secrets", SecretsRef{}), toSecrets(ActionSecretsAgain, "Read again", p.Ref)}
	if !p.Shared {
		more = append(more, toSecrets(ActionSecretsShare, "Share in the channel", p.Ref))
	}
	b.add(slack.NewActionBlock("", more...))
}

func (p SecretPage) footer() line {
	f := readAt(p.Inventory.At, p.Now)
	if p.By.User != "" {
		return append(f, say(" · see it as it is now with "), code("/secrets "+p.Ref.Words))
	}
	return privately(f, p.Shared)
}
