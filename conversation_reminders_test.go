package main

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/sandbox/slack"
)

// reminderVerbs are about what expires.
func reminderVerbs() []verb {
	const (
		who    = `([a-z][a-z.]*)`
		secret = `([a-z]+/[a-z]+)`
	)
	return []verb{
		{pattern: who + ` clicks (.+) on the reminder of ` + secret, act: (*conversation).clicksReminder},
		{pattern: who + ` forges a click on (\w+) of the reminder of ` + secret + ` on card (\d+)`, act: (*conversation).forgesReminder},
		{pattern: who + ` snoozes for (\d+) days because (.+)`, act: (*conversation).snoozes},
		{pattern: `reminder of ` + secret + ` shows (.+)`, look: (*conversation).reminderShows},
		{pattern: `reminder of ` + secret + ` has the buttons (.+)`, look: (*conversation).reminderHas},
		{pattern: `reminder of ` + secret + ` has no buttons`, look: func(c *conversation, a []string) error { return c.reminderHas([]string{a[0], ""}) }},
		{pattern: `there (?:is|are) (\d+) reminders? of ` + secret, look: (*conversation).countReminders},
		{pattern: `under the reminders stands (.+)`, look: (*conversation).underReminders},
		{pattern: `the schedule of (?:reminders|sweeps|digests|policy checks) has begun`, look: (*conversation).scheduleBegan},
		{pattern: `nobody is pinged by reminders`, look: (*conversation).remindersPingNobody},
	}
}

// reminders are the messages about what expires, with what can be clicked, oldest first.
func (c *conversation) reminders() []slack.Message {
	all, err := c.box.Slack.Messages("#platform-ops", "")
	if err != nil {
		c.t.Fatal(err)
	}
	var out []slack.Message
	for _, m := range all {
		for _, one := range append([]slack.Message{m}, m.Replies...) {
			if payload, _ := one.Metadata["event_payload"].(map[string]any); payload["reminder"] != nil {
				out = append(out, one)
			}
		}
	}
	return out
}

// remindersOf are the cards of one secret.
func (c *conversation) remindersOf(name string) []slack.Message {
	return slices.DeleteFunc(c.reminders(), func(m slack.Message) bool {
		return !strings.HasPrefix(m.Text, name+" ") || !strings.Contains(m.Text, "\nReminder: ")
	})
}

// reminderOf is the newest of them.
func (c *conversation) reminderOf(name string) (slack.Message, error) {
	all := c.remindersOf(name)
	if len(all) == 0 {
		return slack.Message{}, fmt.Errorf("there is no reminder of %s", name)
	}
	return all[len(all)-1], nil
}

// scheduleBegan: a new schedule's first tick is its next, so it has to be there
// before the clock jumps.
func (c *conversation) scheduleBegan([]string) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.dir, "twokey.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // read only
	var n int
	err = db.QueryRow("SELECT COUNT(*) FROM ticks").Scan(&n)
	if err == nil && n == 0 {
		err = errors.New("it has not")
	}
	return err
}

func (c *conversation) clicksReminder(a []string) error {
	return c.clicksOn(a[0], a[1], func() (slack.Message, error) { return c.reminderOf(a[2]) })
}

// clicksOn presses a button of a message when both are there.
func (c *conversation) clicksOn(user, called string, find func() (slack.Message, error)) error {
	var m slack.Message
	var action slack.Action
	err := c.until(func() (err error) {
		if m, err = find(); err == nil {
			action, err = button(m, called)
		}
		return err
	})
	if err != nil {
		return err
	}
	r, err := c.box.Slack.Click(user, "#platform-ops", m.TS, action.ActionID)
	return c.acted(user, r, err)
}

// forgesReminder clicks with a reminder's value on a card that is not its own.
func (c *conversation) forgesReminder(a []string) error {
	m, err := c.reminderOf(a[2])
	if err != nil {
		return err
	}
	card, err := c.theCard(a[3])
	if err != nil {
		return err
	}
	r, err := c.box.Slack.SendClick(slack.ClickRequest{User: a[0], Channel: "#platform-ops", MessageTS: card.TS, ActionID: a[1], Value: m.Actions[0].Value, Forge: true})
	return c.acted(a[0], r, err)
}

func (c *conversation) snoozes(a []string) error {
	days, err := strconv.Atoi(a[1])
	if err != nil {
		return err
	}
	if err := c.until(func() error { _, err := c.form(a[0]); return err }); err != nil {
		return err
	}
	until := c.box.Clock.Now().AddDate(0, 0, days).Truncate(time.Minute)
	r, err := c.box.Slack.SendSubmit(slack.SubmitRequest{User: a[0], Values: map[string]any{bot.InputUntil: until.Unix(), bot.InputReason: a[2]}})
	return c.acted(a[0], r, err)
}

func (c *conversation) reminderShows(a []string) error {
	m, err := c.reminderOf(a[0])
	if err == nil && !strings.Contains(readable(c.box, m.Text), a[1]) {
		err = fmt.Errorf("it reads:\n%s", readable(c.box, m.Text))
	}
	return err
}

func (c *conversation) reminderHas(a []string) error {
	m, err := c.reminderOf(a[0])
	if err != nil {
		return err
	}
	var shown []string
	for _, action := range m.Actions {
		shown = append(shown, action.Text)
	}
	if got := strings.Join(shown, ", "); got != a[1] {
		return fmt.Errorf("its buttons are %q", got)
	}
	return nil
}

func (c *conversation) countReminders(a []string) error {
	if n := len(c.remindersOf(a[1])); strconv.Itoa(n) != a[0] {
		return fmt.Errorf("there are %d", n)
	}
	return nil
}

func (c *conversation) underReminders(a []string) error {
	var all []string
	for _, m := range c.reminders() {
		text := readable(c.box, m.Text)
		if m.ThreadTS != "" && strings.Contains(text, a[0]) {
			return nil
		}
		all = append(all, text)
	}
	return fmt.Errorf("there stands:\n%s", strings.Join(all, "\n--\n"))
}

func (c *conversation) remindersPingNobody([]string) error {
	for _, m := range c.reminders() {
		if slices.ContainsFunc(m.Mentions, func(id string) bool { return strings.HasPrefix(id, "S") || strings.HasPrefix(id, "!") }) {
			return fmt.Errorf("%q rings with %v", m.Text, m.Mentions)
		}
	}
	return nil
}
