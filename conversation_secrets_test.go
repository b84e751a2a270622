package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/twokey/twokey/sandbox/slack"
)

// secretVerbs are about /secrets and the Home tab.
func secretVerbs() []verb {
	const who = `([a-z][a-z.]*)`
	return []verb{
		{pattern: who + `'s answer shows (.+)`, look: func(c *conversation, a []string) error { return c.answerShows(a[0], a[1], true) }},
		{pattern: who + `'s answer does not show (.+)`, look: func(c *conversation, a []string) error { return c.answerShows(a[0], a[1], false) }},
		{pattern: who + `'s answer has the buttons (.+)`, look: (*conversation).answerHas},
		{pattern: who + ` clicks (.+) on the answer`, act: func(c *conversation, a []string) error { return c.clicksAnswer(a[0], a[1], "") }},
		{pattern: who + ` clicks (.+) on the answer beside (.+)`, act: func(c *conversation, a []string) error { return c.clicksAnswer(a[0], a[1], a[2]) }},
		{pattern: who + ` forges a click on (\w+) of the answer with (.+)`, act: (*conversation).forgesAnswer},
		{pattern: who + ` has (\d+) answers?`, look: (*conversation).countAnswers},
		{pattern: who + ` opens the Home tab`, act: func(c *conversation, a []string) error {
			r, err := c.box.Slack.OpenHome(a[0])
			return c.acted(a[0], r, err)
		}},
		{pattern: who + `'s Home tab shows (.+)`, look: func(c *conversation, a []string) error { return c.homeShows(a[0], a[1], true) }},
		{pattern: who + `'s Home tab does not show (.+)`, look: func(c *conversation, a []string) error { return c.homeShows(a[0], a[1], false) }},
		{pattern: who + ` clicks (.+) on the Home tab(?: beside (.+))?`, act: (*conversation).clicksHome},
		{pattern: who + ` has the file (\S+) with (.+)`, look: (*conversation).hasFile},
	}
}

// answers are what somebody was shown in private that has buttons, oldest first.
func (c *conversation) answers(user string) []slack.Message {
	var out []slack.Message
	for _, m := range c.private(user) {
		all, err := c.box.Slack.Messages(m.Channel, user) // with what can be clicked
		if err != nil {
			c.t.Fatal(err)
		}
		if i := slices.IndexFunc(all, func(one slack.Message) bool { return one.TS == m.TS && len(one.Actions) > 0 }); i >= 0 {
			out = append(out, all[i])
		}
	}
	return out
}

// answer is the newest of them, which counts as read.
func (c *conversation) answer(user string) (slack.Message, error) {
	all := c.answers(user)
	if len(all) == 0 {
		return slack.Message{}, fmt.Errorf("%s has no answer; private messages: %s", user, c.unread(user))
	}
	m := all[len(all)-1]
	c.told[m.TS] = true
	return m, nil
}

func (c *conversation) answerShows(user, text string, want bool) error {
	m, err := c.answer(user)
	if err == nil && strings.Contains(readable(c.box, m.Text), c.filled(text)) != want {
		err = fmt.Errorf("it reads:\n%s", readable(c.box, m.Text))
	}
	return err
}

func (c *conversation) answerHas(a []string) error {
	m, err := c.answer(a[0])
	if err != nil {
		return err
	}
	var shown []string
	for _, action := range m.Actions {
		if text := action.Text; text != "Open" {
			shown = append(shown, text)
		}
	}
	if got := strings.Join(shown, ", "); got != a[1] {
		return fmt.Errorf("its buttons are %q", got)
	}
	return nil
}

func (c *conversation) countAnswers(a []string) error {
	if n := len(c.answers(a[0])); fmt.Sprint(n) != a[1] {
		return fmt.Errorf("%s has %d", a[0], n)
	}
	return nil
}

// beside finds the button of the block that has a text; without a text, of any.
func beside(blocks []map[string]any, actions []slack.Action, called, text string) (slack.Action, error) {
	for _, block := range blocks {
		body, err := json.Marshal(block)
		if err != nil {
			return slack.Action{}, err
		}
		if !strings.Contains(string(body), text) {
			continue
		}
		for _, a := range actions {
			if a.BlockID == block["block_id"] && strings.EqualFold(a.Text, called) {
				return a, nil
			}
		}
	}
	return slack.Action{}, fmt.Errorf("there is no button %q beside %q", called, text)
}

func (c *conversation) clicksAnswer(user, called, text string) error {
	var m slack.Message
	var action slack.Action
	err := c.until(func() (err error) {
		if m, err = c.answer(user); err == nil {
			action, err = beside(m.Blocks, m.Actions, called, text)
		}
		return err
	})
	if err != nil {
		return err
	}
	r, err := c.box.Slack.SendClick(slack.ClickRequest{User: user, Channel: m.Channel, MessageTS: m.TS, BlockID: action.BlockID, ActionID: action.ActionID})
	return c.acted(user, r, err)
}

func (c *conversation) forgesAnswer(a []string) error {
	m, err := c.answer(a[0])
	if err != nil {
		return err
	}
	r, err := c.box.Slack.SendClick(slack.ClickRequest{User: a[0], Channel: m.Channel, MessageTS: m.TS, ActionID: a[1], Value: a[2], Forge: true})
	return c.acted(a[0], r, err)
}

func (c *conversation) homeTab(user string) (slack.View, error) {
	screen, err := c.box.Slack.Views(user)
	if err == nil && screen.Home == nil {
		err = fmt.Errorf("%s has no Home tab", user)
	}
	if err != nil {
		return slack.View{}, err
	}
	return *screen.Home, nil
}

func (c *conversation) homeShows(user, text string, want bool) error {
	v, err := c.homeTab(user)
	if err != nil {
		return err
	}
	var lines []string
	for _, block := range v.Blocks {
		lines = append(lines, shownIn(block))
	}
	all := readable(c.box, strings.Join(lines, "\n"))
	if strings.Contains(all, c.filled(text)) != want {
		return fmt.Errorf("it shows:\n%s", all)
	}
	return nil
}

// shownIn is all text of a block, in the order in which it is shown.
func shownIn(v any) string {
	var out string
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			out += shownIn(one)
		}
	case map[string]any:
		if text, ok := v["text"].(string); ok {
			return text + " "
		}
		for _, key := range []string{"text", "elements", "fields", "accessory"} {
			out += shownIn(v[key])
		}
	}
	return out
}

func (c *conversation) clicksHome(a []string) error {
	var v slack.View
	var action slack.Action
	err := c.until(func() (err error) {
		if v, err = c.homeTab(a[0]); err == nil {
			action, err = beside(v.Blocks, v.Actions, a[1], a[2])
		}
		return err
	})
	if err != nil {
		return err
	}
	r, err := c.box.Slack.SendClick(slack.ClickRequest{User: a[0], ViewID: v.ID, BlockID: action.BlockID, ActionID: action.ActionID})
	return c.acted(a[0], r, err)
}

// hasFile finds a file that only one person was sent.
func (c *conversation) hasFile(a []string) error {
	id, err := c.box.Slack.UserID(a[0])
	if err != nil {
		return err
	}
	state := c.slackState()
	var names []string
	for _, f := range state.Files {
		names = append(names, f.Name)
		if !strings.HasPrefix(f.Name, a[1]) || !strings.Contains(f.Content, c.filled(a[2])) {
			continue
		}
		i := slices.IndexFunc(state.Channels, func(ch slack.Channel) bool { return slices.Equal(f.Channels, []string{ch.ID}) })
		if i < 0 || !state.Channels[i].IM || state.Channels[i].User != id {
			return fmt.Errorf("%s stands in %v", f.Name, f.Channels)
		}
		for _, m := range c.private(a[0]) { // the message that it came with
			c.told[m.TS] = c.told[m.TS] || len(m.Files) > 0
		}
		return nil
	}
	return fmt.Errorf("the files are %v", names)
}
