package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
)

// peopleVerbs are what people do and read in Slack.
func peopleVerbs() []verb {
	const who = `([a-z][a-z.]*)`
	return []verb{
		{pattern: who + ` types (/.*)`, act: func(c *conversation, a []string) error { return c.typed(a[0], "#platform-ops", a[1], false) }},
		{pattern: who + ` types in (\S+): (/.*)`, act: func(c *conversation, a []string) error { return c.typed(a[0], a[1], a[2], false) }},
		{pattern: who + ` forges in (\S+): (/.*)`, act: func(c *conversation, a []string) error { return c.typed(a[0], a[1], a[2], true) }},
		{pattern: who + ` and ` + who + ` type at once (/.*)`, act: (*conversation).typedAtOnce},
		{pattern: who + ` confirms (?:by typing (\S+) )?with (no code|their code|the same code|` + who + `'s code|\d+)`, act: (*conversation).confirmsWithCode},
		{pattern: who + ` clicks (.+?)(?: on card (\d+))?`, act: (*conversation).clicks},
		{pattern: who + ` uses (\w+) on the (card|newest line)`, act: (*conversation).usesShortcut},
		{pattern: who + ` and ` + who + ` click (.+) at once`, act: (*conversation).clickAtOnce},
		{pattern: who + ` forges a click on (\w+)(?: on card (\d+))?(?: with (.+))?`, act: (*conversation).forges},
		{pattern: who + ` sends off (.+)`, act: func(c *conversation, a []string) error { return c.sendsOff(a[0], a[1], nil) }},
		{pattern: who + ` forges the form's metadata as (.+) and sends off (.+)`, act: (*conversation).forgesForm},
		{pattern: who + ` closes the form`, act: func(c *conversation, a []string) error {
			_, err := c.box.Slack.CloseView(a[0], "")
			return err
		}},
		{pattern: `the next (?:(\d+) )?envelopes? arrives? twice`, act: func(c *conversation, a []string) error {
			n, err := strconv.Atoi(cmp.Or(a[0], "1"))
			c.box.Slack.DeliverTwice(n)
			return err
		}},
		{pattern: who + `'s last envelope arrives again`, act: func(c *conversation, a []string) error { return c.box.Slack.Redeliver(c.sent[a[0]]) }},

		{pattern: who + ` reads (.+)`, look: (*conversation).reads},
		{pattern: who + ` or ` + who + ` reads (.+)`, look: func(c *conversation, a []string) error {
			if err := c.reads([]string{a[0], a[2]}); err != nil {
				return c.reads([]string{a[1], a[2]})
			}
			return nil
		}},
		{pattern: who + ` never reads (.+)`, act: (*conversation).neverReads},
		{pattern: who + ` sees the form (.+)`, look: (*conversation).seesForm},
		{pattern: who + `'s form has (\w+)=(.*)`, look: (*conversation).formHas},
		{pattern: who + `'s form offers (\w+): (.+)`, look: (*conversation).formOffers},
		{pattern: who + `'s form complains (.+)`, look: (*conversation).formComplains},

		{pattern: `card shows (.+)`, look: (*conversation).cardShows},
		{pattern: `card has no buttons`, look: func(c *conversation, _ []string) error { return c.cardHas("") }},
		{pattern: `card has the buttons (.+)`, look: func(c *conversation, a []string) error { return c.cardHas(a[0]) }},
		{pattern: `there (?:is|are) (\d+) cards?`, look: (*conversation).thereAreCards},
		{pattern: `look at card (\d+)`, act: (*conversation).lookAtCard},
		{pattern: `nobody is pinged by the card`, look: (*conversation).nobodyIsPinged},
		{pattern: `nobody is asked`, act: (*conversation).nobodyIsAsked},
		{pattern: `thread shows (.+)`, look: (*conversation).threadShows},
		{pattern: `thread never shows (.+)`, act: (*conversation).threadNeverShows},
		{pattern: `channel never shows (.+)`, act: (*conversation).channelNeverShows},
		{pattern: `thread is as in (\S+\.golden)`, act: (*conversation).threadIsAsIn},
		{pattern: `every line of the thread came within (\S+) of the one before`, act: (*conversation).noSilence},
	}
}

// messages are all that stands in Slack, private ones included, oldest first.
func (c *conversation) messages() []slack.Message {
	var all []slack.Message
	for _, list := range c.slackState().Messages {
		for _, m := range list {
			if !m.Deleted {
				all = append(all, m)
			}
		}
	}
	slices.SortFunc(all, func(a, b slack.Message) int { return cmp.Compare(a.TS, b.TS) })
	return all
}

func (c *conversation) slackState() slack.State {
	state, ok := c.box.Slack.State().(slack.State)
	if !ok {
		c.t.Fatal("the state of Slack is no slack.State")
	}
	return state
}

// name is what a person is called.
func (c *conversation) name(id string) string {
	for _, p := range c.box.Team.People {
		if p.Slack == id {
			return p.Name
		}
	}
	return id
}

// acted notes what somebody sent, and that Slack got its acknowledgement.
func (c *conversation) acted(user string, r slack.Result, err error) error {
	if err != nil {
		return err
	}
	c.sent[user] = r.EnvelopeID
	if !r.Acked {
		return fmt.Errorf("the bot did not acknowledge: %s", r.Shown)
	}
	return nil
}

func (c *conversation) typed(user, channel, line string, forge bool) error {
	command, text, _ := strings.Cut(c.filled(line), " ")
	r, err := c.box.Slack.SendCommand(slack.CommandRequest{User: user, Channel: channel, Command: command, Text: text, Forge: forge})
	return c.acted(user, r, err)
}

// typedAtOnce has two people ask for the same in the same instant.
func (c *conversation) typedAtOnce(a []string) error {
	return atOnce(a[:2], func(user string) error {
		r, err := c.box.Slack.Command(user, "#platform-ops", a[2])
		return err2(r, err)
	})
}

func err2(r slack.Result, err error) error {
	if err == nil && !r.Acked {
		err = fmt.Errorf("the bot did not acknowledge: %s", r.Shown)
	}
	return err
}

func atOnce(people []string, do func(user string) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(people))
	for i, user := range people {
		wg.Go(func() { errs[i] = do(user) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// cards are the bot's cards in the operations channel, oldest first, with what can
// be clicked.
func (c *conversation) cards() []slack.Message {
	all, err := c.box.Slack.Messages("#platform-ops", "")
	if err != nil {
		c.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(m slack.Message) bool {
		payload, _ := m.Metadata["event_payload"].(map[string]any)
		return payload["kind"] != "card" || slices.Contains(c.thief, m.TS)
	})
}

// theCard is the card that the script talks about: n, or the one that it looks
// at, or the newest.
func (c *conversation) theCard(n string) (slack.Message, error) {
	cards := c.cards()
	i := c.card
	if n != "" {
		i, _ = strconv.Atoi(n) // the pattern has digits only
	}
	if i == 0 {
		i = len(cards)
	}
	if i == 0 || i > len(cards) {
		return slack.Message{}, fmt.Errorf("there are %d cards", len(cards))
	}
	return cards[i-1], nil
}

// button finds what a script calls a button, by its text or its action.
func button(m slack.Message, called string) (slack.Action, error) {
	for _, a := range m.Actions {
		if strings.EqualFold(a.Text, called) || a.ActionID == called {
			return a, nil
		}
	}
	return slack.Action{}, fmt.Errorf("the card has no button %q", called)
}

func (c *conversation) clicks(a []string) error {
	user, called, n := a[0], a[1], a[2]
	var card slack.Message
	var action slack.Action
	err := c.until(func() (err error) {
		if card, err = c.theCard(n); err != nil {
			return err
		}
		action, err = button(card, called)
		return err
	})
	if err != nil {
		return err
	}
	r, err := c.box.Slack.Click(user, "#platform-ops", card.TS, action.ActionID)
	return c.acted(user, r, err)
}

func (c *conversation) clickAtOnce(a []string) error {
	var card slack.Message
	err := c.until(func() (err error) {
		if card, err = c.theCard(""); err == nil {
			_, err = button(card, a[2])
		}
		return err
	})
	if err != nil {
		return err
	}
	return atOnce(a[:2], func(user string) error {
		r, err := c.box.Slack.Click(user, "#platform-ops", card.TS, a[2])
		return err2(r, err)
	})
}

// forges clicks what is not shown, or with a value that is not the button's:
// "card 2's value", or any text in which $1 stands for the first card's value.
func (c *conversation) forges(a []string) error {
	card, err := c.theCard(a[2])
	if err != nil {
		return err
	}
	value := a[3]
	if value == "" {
		value = c.valueOf(card)
	}
	for n, other := range c.cards() {
		value = strings.ReplaceAll(value, fmt.Sprintf("$%d", n+1), c.valueOf(other))
	}
	r, err := c.box.Slack.SendClick(slack.ClickRequest{User: a[0], Channel: "#platform-ops", MessageTS: card.TS, ActionID: a[1], Value: value, Forge: true})
	return c.acted(a[0], r, err)
}

// valueOf is what a card's buttons carry, or carried: "operation digest".
func (c *conversation) valueOf(card slack.Message) string {
	payload, _ := card.Metadata["event_payload"].(map[string]any)
	return fmt.Sprint(payload["operation"], " ", payload["digest"])
}

// values reads "server=github, reason=it is old".
func values(text string) map[string]any {
	out := map[string]any{}
	for part := range strings.SplitSeq(text, ", ") {
		key, value, _ := strings.Cut(part, "=")
		out[key] = value
	}
	return out
}

func (c *conversation) sendsOff(user, text string, metadata *string) error {
	if err := c.until(func() error { _, err := c.form(user); return err }); err != nil {
		return err
	}
	r, err := c.box.Slack.SendSubmit(slack.SubmitRequest{User: user, Values: values(c.filled(text)), PrivateMetadata: metadata, Forge: metadata != nil})
	c.names["complaint of "+user] = fmt.Sprint(r.Errors)
	if len(r.Errors) > 0 {
		return err // the client did not send it
	}
	return c.acted(user, r, err)
}

func (c *conversation) forgesForm(a []string) error {
	metadata := a[1]
	for n, card := range c.cards() {
		metadata = strings.ReplaceAll(metadata, fmt.Sprintf("$%d", n+1), fmt.Sprintf("%s %s %s", c.valueOf(card), sandbox.OperationsChannel, card.TS))
	}
	return c.sendsOff(a[0], a[2], &metadata)
}

// private are the messages that only one person sees, oldest first.
func (c *conversation) private(user string) []slack.Message {
	id, err := c.box.Slack.UserID(user)
	if err != nil {
		c.t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, ch := range c.slackState().Channels {
		direct[ch.ID] = ch.IM && ch.User == id
	}
	var out []slack.Message
	for _, m := range c.messages() {
		if m.EphemeralTo == id || direct[m.Channel] && m.User == c.box.Slack.BotUserID() {
			out = append(out, m)
		}
	}
	return out
}

// directChannels are those between the bot and one person.
func (c *conversation) directChannels() map[string]bool {
	direct := map[string]bool{}
	for _, ch := range c.slackState().Channels {
		direct[ch.ID] = ch.IM
	}
	return direct
}

// reads finds a private message that was not read yet.
func (c *conversation) reads(a []string) error {
	for _, m := range c.private(a[0]) {
		if c.told[m.TS] || !strings.Contains(readable(c.box, m.Text), a[1]) {
			continue
		}
		direct := c.directChannels()
		for _, other := range c.messages() {
			if other.EphemeralTo == "" && !direct[other.Channel] && other.TS != m.TS && strings.Contains(other.Text, m.Text) {
				return fmt.Errorf("what only %s should read stands in %s too", a[0], other.Channel)
			}
		}
		c.told[m.TS] = true
		return nil
	}
	return fmt.Errorf("%s has not read that; private messages: %s", a[0], c.unread(a[0]))
}

func (c *conversation) unread(user string) string {
	var out []string
	for _, m := range c.private(user) {
		if !c.told[m.TS] {
			out = append(out, fmt.Sprintf("%q", readable(c.box, m.Text)))
		}
	}
	return strings.Join(out, ", ")
}

func (c *conversation) neverReads(a []string) error {
	c.never = append(c.never, func() error {
		for _, m := range c.private(a[0]) {
			if strings.Contains(readable(c.box, m.Text), a[1]) {
				return fmt.Errorf("%s read %q", a[0], m.Text)
			}
		}
		return nil
	})
	return nil
}

func (c *conversation) form(user string) (slack.View, error) {
	screen, err := c.box.Slack.Views(user)
	if err != nil {
		return slack.View{}, err
	}
	if len(screen.Modals) == 0 {
		return slack.View{}, fmt.Errorf("%s has no form open; private messages: %s", user, c.unread(user))
	}
	return screen.Modals[len(screen.Modals)-1], nil
}

func (c *conversation) seesForm(a []string) error {
	v, err := c.form(a[0])
	if err == nil && v.Title != a[1] {
		err = fmt.Errorf("the form is %q", v.Title)
	}
	return err
}

// formHas compares what is filled in already.
func (c *conversation) formHas(a []string) error {
	v, err := c.form(a[0])
	if err != nil {
		return err
	}
	for _, block := range v.State {
		if e, ok := block[a[1]]; ok {
			got, _ := e["value"].(string)
			if option, ok := e["selected_option"].(map[string]any); ok {
				got, _ = option["value"].(string)
			}
			if got != a[2] {
				return fmt.Errorf("the form has %s=%s", a[1], got)
			}
			return nil
		}
	}
	return fmt.Errorf("the form has no %s: %v", a[1], v.State)
}

func (c *conversation) formOffers(a []string) error {
	v, err := c.form(a[0])
	if err != nil {
		return err
	}
	for _, block := range v.Blocks {
		element, _ := block["element"].(map[string]any)
		if element["action_id"] != a[1] {
			continue
		}
		var offered []string
		options, _ := element["options"].([]any)
		for _, o := range options {
			option, _ := o.(map[string]any)
			offered = append(offered, fmt.Sprint(option["value"]))
		}
		if got := strings.Join(offered, ", "); got != a[2] {
			return fmt.Errorf("the form offers %s", got)
		}
		return nil
	}
	return fmt.Errorf("the form has no %s", a[1])
}

func (c *conversation) formComplains(a []string) error {
	if got := c.names["complaint of "+a[0]]; !strings.Contains(got, a[1]) {
		return fmt.Errorf("the complaints are %s", got)
	}
	return nil
}

func (c *conversation) cardShows(a []string) error {
	card, err := c.theCard("")
	if err == nil && !strings.Contains(readable(c.box, card.Text), c.filled(a[0])) {
		err = fmt.Errorf("the card reads:\n%s", readable(c.box, card.Text))
	}
	return err
}

func (c *conversation) cardHas(buttons string) error {
	card, err := c.theCard("")
	if err != nil {
		return err
	}
	var shown []string
	for _, a := range card.Actions {
		shown = append(shown, a.Text)
	}
	if got := strings.Join(shown, ", "); got != buttons {
		return fmt.Errorf("the card's buttons are %q", got)
	}
	return nil
}

// nobodyIsPinged: a card names people, and rings with nobody but the requester.
func (c *conversation) nobodyIsPinged([]string) error {
	card, err := c.theCard("")
	if err != nil {
		return err
	}
	for _, id := range card.Mentions {
		if c.name(id) != "alice" {
			return fmt.Errorf("the card rings with %s", c.name(id))
		}
	}
	return nil
}

func (c *conversation) thereAreCards(a []string) error {
	if n := strconv.Itoa(len(c.cards())); n != a[0] {
		return fmt.Errorf("there are %s", n)
	}
	return nil
}

func (c *conversation) lookAtCard(a []string) error {
	c.card, _ = strconv.Atoi(a[0]) // the pattern has digits only
	_, err := c.theCard("")
	return err
}

func (c *conversation) nobodyIsAsked([]string) error {
	c.never = append(c.never, func() error {
		if cards := c.cards(); len(cards) > 0 {
			return fmt.Errorf("there is a card: %s", cards[0].Text)
		}
		return nil
	})
	return nil
}

// thread is what stands under the card.
func (c *conversation) thread() (slack.Message, []slack.Message, error) {
	card, err := c.theCard("")
	if err != nil {
		return card, nil, err
	}
	return card, card.Replies, nil
}

// threadShows finds a line behind those that were found before: the order counts.
func (c *conversation) threadShows(a []string) error {
	card, lines, err := c.thread()
	if err != nil {
		return err
	}
	var texts []string
	for i, m := range lines {
		text := readable(c.box, m.Text)
		if i >= c.seen[card.TS] && strings.Contains(text, a[0]) {
			c.seen[card.TS] = i + 1
			return nil
		}
		texts = append(texts, text)
	}
	return fmt.Errorf("the thread reads, behind line %d:\n%s", c.seen[card.TS], strings.Join(texts, "\n--\n"))
}

func (c *conversation) threadNeverShows(a []string) error {
	card, err := c.theCard("")
	if err != nil {
		return err
	}
	c.never = append(c.never, func() error {
		lines, err := c.box.Slack.Thread("#platform-ops", card.TS)
		for _, m := range lines {
			if strings.Contains(readable(c.box, m.Text), a[0]) {
				return fmt.Errorf("the thread shows %q", m.Text)
			}
		}
		return err
	})
	return nil
}

func (c *conversation) channelNeverShows(a []string) error {
	c.never = append(c.never, func() error {
		for _, m := range c.messages() {
			if m.EphemeralTo == "" && strings.Contains(readable(c.box, m.Text), a[0]) {
				return fmt.Errorf("the channel shows %q", m.Text)
			}
		}
		return nil
	})
	return nil
}

// noSilence measures the pauses of a thread in real time, since the card was posted.
func (c *conversation) noSilence(a []string) error {
	limit, err := time.ParseDuration(a[0])
	if err != nil {
		return err
	}
	card, lines, err := c.thread()
	if err != nil {
		return err
	}
	last := card.PostedAt
	for _, m := range lines {
		if pause := m.PostedAt.Sub(last); pause > limit {
			return fmt.Errorf("%s of silence before %q", pause, m.Text)
		}
		last = m.PostedAt
	}
	return nil
}

// readable turns Slack's markup into what a client shows.
func readable(box *sandbox.Sandbox, text string) string { return (&play{box: box}).readable(text) }

// usesShortcut takes one of the app's shortcuts from a message's menu.
func (c *conversation) usesShortcut(a []string) error {
	card, lines, err := c.thread()
	if err != nil {
		return err
	}
	message := card
	if a[2] == "newest line" {
		message = lines[len(lines)-1]
	}
	r, err := c.box.Slack.Shortcut(slack.ShortcutRequest{User: a[0], CallbackID: a[1], Channel: message.Channel, MessageTS: message.TS})
	return c.acted(a[0], r, err)
}
