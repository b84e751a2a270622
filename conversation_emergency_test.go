package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/slack"
)

// emergencyVerbs are the intruder, the incident's channel and its files.
func emergencyVerbs() []verb {
	const secret = `([a-z]+/[a-z]+)`
	return []verb{
		{pattern: `an intruder uses the secret of ` + secret, act: (*conversation).intruder},
		{pattern: `alice asks for an emergency about ` + secret, act: (*conversation).asksForEmergency},
		{pattern: `([a-z.]+) confirms by typing (\S+)`, act: func(c *conversation, a []string) error {
			return errors.Join(c.do(a[0]+" clicks Confirm…"), c.do(a[0]+" sends off typed="+a[1]))
		}},
		{pattern: `the intruder has given up`, look: (*conversation).intruderGaveUp},
		{pattern: `the last token was stolen before the proof`, look: (*conversation).provenAfterTheLast},
		{pattern: `remember the (key|operation) of ` + secret + ` as (.+)`, act: (*conversation).rememberID},
		{pattern: `when (\S+) is next called: (.+)`, act: func(c *conversation, a []string) error { return c.when(a, conditions.Before) }},
		{pattern: `when (\S+) has next had its effect: (.+)`, act: func(c *conversation, a []string) error { return c.when(a, conditions.After) }},
		{pattern: `somebody makes the channel (\S+)`, act: func(c *conversation, a []string) error {
			_, err := c.box.Slack.AddChannel(slack.Channel{Name: c.filled(a[0]), Members: []string{"dave"}, WithoutBot: true})
			return err
		}},
		{pattern: `there is a group (\S+) of (\S+)`, act: func(c *conversation, a []string) error {
			_, err := c.box.Slack.AddGroup(slack.Group{ID: "S0" + strings.ToUpper(a[0]), Handle: a[0], Name: a[0], Users: []string{a[1]}})
			return err
		}},
		{pattern: `somebody adds a second key to ` + secret, act: (*conversation).secondKey},
		{pattern: `somebody adds a key to the service principal of ` + secret, act: (*conversation).hiddenKey},

		{pattern: `card stays as it is for (\S+)`, act: (*conversation).cardStays},
		{pattern: `channel shows (.+)`, look: (*conversation).channelShows},
		{pattern: `room is (\S+?)(, private)?`, look: (*conversation).roomIs},
		{pattern: `there is no room`, look: (*conversation).noRoom},
		{pattern: `room has the people (.+)`, look: (*conversation).roomHasPeople},
		{pattern: `room has the bookmarks (.+)`, look: (*conversation).roomHasBookmarks},
		{pattern: `room's topic has (.+)`, look: func(c *conversation, a []string) error {
			_, ch, err := c.room()
			if err == nil && !strings.Contains(ch.Topic, a[0]) {
				err = fmt.Errorf("the topic is %q", ch.Topic)
			}
			return err
		}},
		{pattern: `status is pinned`, look: (*conversation).statusIsPinned},
		{pattern: `status shows (.+)`, look: func(c *conversation, a []string) error {
			status, _, err := c.room()
			if err == nil && !strings.Contains(readable(c.box, status.Text), c.filled(a[0])) {
				err = fmt.Errorf("the status reads:\n%s", readable(c.box, status.Text))
			}
			return err
		}},
		{pattern: `room shows (.+)`, look: (*conversation).roomShows},
		{pattern: `room never shows (.+)`, act: (*conversation).roomNeverShows},
		{pattern: `room is as in (\S+\.golden)`, act: (*conversation).roomIsAsIn},
		{pattern: `file (\S+) has (.+)`, look: (*conversation).fileHas},
		{pattern: `file (\S+) is as in (\S+\.golden)`, act: (*conversation).fileIsAsIn},
	}
}

// killed is an emergency in which the bot dies in the middle of a call.
const killed = `
the service is broken on purpose
an intruder uses the secret of sharepoint/prod
alice asks for an emergency about sharepoint/prod
when %s: bot is killed
bob confirms by typing sharepoint/prod
the bot is dead
bot starts
the intruder has given up
room shows Finished
check sharepoint/prod
sharepoint/prod has 1 key
`

func TestAnEmergencySurvivesADeathInTheMiddleOfEachCall(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes; leave out -short")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "TWOKEYSANDBOX0001")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Run("all", func(t *testing.T) { // returns when all are over, so that the environment lasts
		for _, call := range []string{
			"graph.removePassword", "graph.addPassword", "ssm.DeleteParameter", "ssm.PutParameter", "ssm.LabelParameterVersion", "ecs.UpdateService", "ecs.ListTasks",
			"cloudtrail.LookupEvents", "slack.conversations.create", "slack.conversations.invite", "slack.pins.add", "slack.files.completeUploadExternal",
		} {
			for _, moment := range []string{"is next called", "has next had its effect"} {
				name := call + " " + moment
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					converse(t, name, fmt.Sprintf(killed, name))
				})
			}
		}
	})
}

// intruder breaks in. Whatever the script is about, after the first refusal the
// stolen secret gets no token any more, beyond what a lagging replica grants.
func (c *conversation) intruder(a []string) error {
	err := c.box.Intruder.Start(c.t.Context(), sandbox.IntruderOptions{Secret: a[0], Every: 25 * time.Millisecond, Patience: 40})
	c.never = append(c.never, func() error {
		loot := c.box.Intruder.Stop()
		switch late := loot.LastToken.Sub(loot.FirstRefusal); {
		case loot.Tokens == 0 || loot.Refusals == 0:
			return fmt.Errorf("the intruder was not there, or is still: %+v", loot)
		case late > c.lag:
			return fmt.Errorf("the intruder still got tokens %s after the first refusal: %+v", late, loot)
		}
		return nil
	})
	return err
}

// asksForEmergency is the beginning of most scripts: asked, told, paged.
func (c *conversation) asksForEmergency(a []string) error {
	n := len(c.cards())
	return errors.Join(
		c.do("alice types /emergency-disable "+strings.Replace(a[0], "/", " ", 1)+" the secret is in a public repository"),
		c.do("alice reads The approvers are being paged"),
		c.do("bob reads Emergency: @alice asks to disable the secret of "+a[0]),
		c.do("carol reads Emergency: @alice asks to disable the secret of "+a[0]),
		c.do(fmt.Sprintf("there are %d cards", n+1)),
	)
}

func (c *conversation) intruderGaveUp([]string) error {
	if loot := c.box.Intruder.Loot(); loot.Running || loot.Refusals == 0 {
		return fmt.Errorf("the intruder has %+v", loot)
	}
	return nil
}

// provenAfterTheLast compares the intruder's last token with the record's entry
// that says that the secret is refused.
func (c *conversation) provenAfterTheLast([]string) error {
	src, err := audit.Open(context.Background(), c.address())
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	lines, err := audit.List(context.Background(), src, audit.Filter{})
	if err != nil {
		return err
	}
	loot := c.box.Intruder.Loot()
	for _, l := range lines {
		if l.Entry.Outcome == operation.Verified && l.Entry.Step == "Prove the stolen secret is refused" {
			if loot.LastToken.After(l.Entry.At) {
				return fmt.Errorf("proven at %s, and the last token was got at %s", l.Entry.At, loot.LastToken)
			}
			return nil
		}
	}
	return errors.New("there is no proof in the record")
}

// rememberID keeps an id under a name: <name> stands for it in what follows.
func (c *conversation) rememberID(a []string) error {
	if a[0] == "operation" {
		card, err := c.theCard("")
		if err != nil {
			return err
		}
		c.ids[a[2]], _, _ = strings.Cut(c.valueOf(card), " ")
		return nil
	}
	v, err := c.verdict(a[1])
	for _, k := range v.Keys {
		if k.Live {
			c.ids[a[2]] = k.ID
		}
	}
	return err
}

var placeholder = regexp.MustCompile(`<([a-z ]+)>`)

// filled puts what was remembered, and today's date, into a text.
func (c *conversation) filled(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(m string) string {
		name := strings.Trim(m, "<>")
		if name == "today" {
			return c.box.Clock.Now().UTC().Format(time.DateOnly)
		}
		if known, ok := c.ids[name]; ok {
			return known
		}
		return m
	})
}

// when does what the rest of the line says in the middle of a call.
func (c *conversation) when(a []string, moment conditions.Moment) error {
	c.box.Conditions.At(a[0], c.box.Conditions.Arrived(a[0])+1, moment, func(*http.Request) {
		if err := c.do(a[1]); err != nil {
			c.t.Errorf("%s: in the middle of %s: %s: %v", c.path, a[0], a[1], err)
		}
	})
	return nil
}

func (c *conversation) secondKey(a []string) error {
	if err := c.somebodyKeys([]string{"adds", a[0]}); err != nil {
		return err
	}
	v, err := c.verdict(a[0])
	for _, k := range v.Keys {
		if !k.Live {
			c.ids["second key"] = k.ID
		}
	}
	return err
}

// hiddenKey is one that the application's own list does not show.
func (c *conversation) hiddenKey(a []string) error {
	s, err := c.secret(a[0])
	if err != nil {
		return err
	}
	made, err := c.box.Entra.AddPassword(s.ClientID, entra.NewPassword{Name: "by an intruder", OnServicePrincipal: true})
	c.ids["hidden key"] = made.KeyID
	return err
}

// cardStays looks all the time: what must not happen cannot be waited for.
func (c *conversation) cardStays(a []string) error {
	long, err := time.ParseDuration(a[0])
	if err != nil {
		return err
	}
	before, err := c.theCard("")
	if err != nil {
		return err
	}
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		now, err := c.theCard("")
		if err != nil || now.Text != before.Text {
			return errors.Join(err, fmt.Errorf("it reads now:\n%s", readable(c.box, now.Text)))
		}
	}
	return nil
}

// room is the pinned status of the operation whose card is looked at, and the
// channel that it stands in.
func (c *conversation) room() (slack.Message, slack.Channel, error) {
	card, err := c.theCard("")
	if err != nil {
		return card, slack.Channel{}, err
	}
	op, _, _ := strings.Cut(c.valueOf(card), " ")
	for _, m := range c.messages() {
		payload, _ := m.Metadata["event_payload"].(map[string]any)
		if payload["kind"] != "status" || payload["operation"] != op {
			continue
		}
		for _, ch := range c.slackState().Channels {
			if ch.ID == m.Channel {
				return m, ch, nil
			}
		}
	}
	return slack.Message{}, slack.Channel{}, fmt.Errorf("operation %s has no status message", op)
}

func (c *conversation) roomIs(a []string) error {
	_, ch, err := c.room()
	if err == nil && (ch.Name != c.filled(a[0]) || ch.Private != (a[1] != "")) {
		err = fmt.Errorf("the room is %s, private: %t", ch.Name, ch.Private)
	}
	return err
}

func (c *conversation) noRoom([]string) error {
	if _, ch, err := c.room(); err == nil {
		return fmt.Errorf("the room is %s", ch.Name)
	}
	return nil
}

func (c *conversation) roomHasPeople(a []string) error {
	_, ch, err := c.room()
	if err != nil {
		return err
	}
	var there []string
	for _, id := range ch.Members {
		if name := c.name(id); name != id { // the bot itself has no name
			there = append(there, name)
		}
	}
	slices.Sort(there)
	if got := strings.Join(there, ", "); got != a[0] {
		return fmt.Errorf("the room has %s", got)
	}
	return nil
}

func (c *conversation) roomHasBookmarks(a []string) error {
	_, ch, err := c.room()
	if err != nil {
		return err
	}
	var titles []string
	for _, b := range c.slackState().Bookmarks[ch.ID] {
		if link, _ := b["link"].(string); !strings.HasPrefix(link, "http") {
			return fmt.Errorf("the bookmark %v leads nowhere", b)
		}
		titles = append(titles, fmt.Sprint(b["title"]))
	}
	if got := strings.Join(titles, ", "); got != c.filled(a[0]) {
		return fmt.Errorf("the bookmarks are %s", got)
	}
	return nil
}

func (c *conversation) statusIsPinned([]string) error {
	status, ch, err := c.room()
	if err == nil && !slices.Contains(c.slackState().Pins[ch.ID], status.TS) {
		err = errors.New("it is not pinned")
	}
	return err
}

// roomThread is what stands under the status.
func (c *conversation) roomThread() (slack.Message, []slack.Message, error) {
	status, ch, err := c.room()
	if err != nil {
		return status, nil, err
	}
	lines, err := c.box.Slack.Thread(ch.ID, status.TS)
	if err != nil || len(lines) == 0 {
		return status, nil, err
	}
	return status, lines[1:], nil
}

// roomShows finds a line behind those that were found before, as threadShows does.
func (c *conversation) roomShows(a []string) error {
	status, lines, err := c.roomThread()
	if err != nil {
		return err
	}
	var texts []string
	for i, m := range lines {
		text := readable(c.box, m.Text)
		if i >= c.seen[status.TS] && strings.Contains(text, c.filled(a[0])) {
			c.seen[status.TS] = i + 1
			return nil
		}
		texts = append(texts, text)
	}
	return fmt.Errorf("the room's thread reads, behind line %d:\n%s", c.seen[status.TS], strings.Join(texts, "\n--\n"))
}

func (c *conversation) roomNeverShows(a []string) error {
	c.never = append(c.never, func() error {
		_, lines, err := c.roomThread()
		for _, m := range lines {
			if strings.Contains(readable(c.box, m.Text), a[0]) {
				return fmt.Errorf("the room shows %q", m.Text)
			}
		}
		return err
	})
	return nil
}

func (c *conversation) roomIsAsIn(a []string) error {
	if err := c.until(c.allTold); err != nil {
		return err
	}
	status, lines, err := c.roomThread()
	if err != nil {
		return err
	}
	return c.asIn(a[0], append([]slack.Message{status}, lines...))
}

// channelShows finds a message that everybody in some channel can read.
func (c *conversation) channelShows(a []string) error {
	direct := c.directChannels()
	for _, m := range c.messages() {
		if m.EphemeralTo == "" && !direct[m.Channel] && strings.Contains(readable(c.box, m.Text), c.filled(a[0])) {
			return nil
		}
	}
	return errors.New("nobody wrote that")
}

// uploaded is the newest file whose name begins so.
func (c *conversation) uploaded(name string) (slack.File, error) {
	var names []string
	for _, f := range slices.Backward(c.slackState().Files) {
		if strings.HasPrefix(f.Name, c.filled(name)) {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return slack.File{}, fmt.Errorf("there is no file %s: %s", name, strings.Join(names, ", "))
}

func (c *conversation) fileHas(a []string) error {
	f, err := c.uploaded(a[0])
	if err == nil && !strings.Contains(f.Content, c.filled(a[1])) {
		err = fmt.Errorf("%s reads:\n%s", f.Name, f.Content)
	}
	return err
}

func (c *conversation) fileIsAsIn(a []string) error {
	if err := c.until(c.allTold); err != nil {
		return err
	}
	f, err := c.uploaded(a[0])
	if err != nil {
		return err
	}
	return c.textAsIn(a[1], f.Content)
}
