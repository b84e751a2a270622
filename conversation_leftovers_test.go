package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/slack"
)

// leftoverVerbs are about what something unforeseen has left behind, and about the
// weekly digest.
func leftoverVerbs() []verb {
	const (
		who    = `([a-z][a-z.]*)`
		secret = `([a-z]+/[a-z]+)`
	)
	return []verb{
		{pattern: `somebody leaves a key named (\S+) at ` + secret, act: (*conversation).leavesKey},
		{pattern: `somebody takes the left key of ` + secret + ` away`, act: (*conversation).takesKey},
		{pattern: `the (left|hidden) key of ` + secret + ` is (there|gone)`, look: (*conversation).leftKey},
		{pattern: who + ` clicks (.+) on the leftover of ` + secret, act: (*conversation).clicksLeftover},
		{pattern: `leftover of ` + secret + ` shows (.+)`, look: (*conversation).leftoverShows},
		{pattern: `there (?:is|are) (\d+) messages? against the policy`, look: func(c *conversation, a []string) error {
			n := 0
			for _, m := range c.messages() {
				if payload, _ := m.Metadata["event_payload"].(map[string]any); payload["kind"] == "leftover" && strings.Contains(m.Text, "Policy · found") {
					n++
				}
			}
			if strconv.Itoa(n) != a[0] {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		}},
		{pattern: `leftover of ` + secret + ` has no buttons`, look: (*conversation).leftoverDone},
		{pattern: `there (?:is|are) (\d+) messages? about a leftover of ` + secret, look: (*conversation).countLeftovers},
		{pattern: `digest shows (.+)`, look: (*conversation).digestShows},
		{pattern: `under the digest (stands|is a picture that reads) (.+)`, look: (*conversation).underDigest},
		{pattern: `there (?:is|are) (\d+) digests?`, look: (*conversation).countDigests},
	}
}

func (c *conversation) leavesKey(a []string) error {
	s, err := c.secret(a[1])
	if err != nil {
		return err
	}
	made, err := c.box.Entra.AddPassword(s.ClientID, entra.NewPassword{Name: a[0]})
	c.names["the left key"], c.ids["left key"] = made.Secret, made.KeyID
	return err
}

func (c *conversation) takesKey(a []string) error {
	s, err := c.secret(a[0])
	if err != nil {
		return err
	}
	return c.box.Entra.RemovePassword(s.ClientID, c.ids["left key"])
}

func (c *conversation) leftKey(a []string) error {
	v, err := c.verdict(a[1])
	if err != nil {
		return err
	}
	is := "gone"
	for _, k := range v.Keys {
		if k.ID == c.ids[a[0]+" key"] {
			is = "there"
		}
	}
	if is != a[2] {
		return fmt.Errorf("it is %s; the keys are %+v", is, v.Keys)
	}
	return nil
}

// leftovers are the messages about those of a secret, oldest first.
func (c *conversation) leftovers(name string) []slack.Message {
	all, err := c.box.Slack.Messages("#platform-ops", "")
	if err != nil {
		c.t.Fatal(err)
	}
	var out []slack.Message
	for _, m := range all {
		if payload, _ := m.Metadata["event_payload"].(map[string]any); payload["leftover"] != nil && strings.Contains(m.Text, " "+name) {
			out = append(out, m)
		}
	}
	return out
}

func (c *conversation) leftoverOf(name string) (slack.Message, error) {
	all := c.leftovers(name)
	if len(all) == 0 {
		return slack.Message{}, fmt.Errorf("there is no leftover of %s", name)
	}
	return all[len(all)-1], nil
}

func (c *conversation) clicksLeftover(a []string) error {
	return c.clicksOn(a[0], a[1], func() (slack.Message, error) { return c.leftoverOf(a[2]) })
}

func (c *conversation) leftoverShows(a []string) error {
	m, err := c.leftoverOf(a[0])
	if err == nil && !strings.Contains(readable(c.box, m.Text), a[1]) {
		err = fmt.Errorf("it reads:\n%s", readable(c.box, m.Text))
	}
	return err
}

func (c *conversation) leftoverDone(a []string) error {
	m, err := c.leftoverOf(a[0])
	if err == nil && len(m.Actions) > 0 {
		err = fmt.Errorf("it has %+v", m.Actions)
	}
	return err
}

func (c *conversation) countLeftovers(a []string) error {
	if n := len(c.leftovers(a[1])); strconv.Itoa(n) != a[0] {
		return fmt.Errorf("there are %d", n)
	}
	return nil
}

// digests are the weekly digests, oldest first.
func (c *conversation) digests() []slack.Message {
	all, err := c.box.Slack.Messages("#platform-ops", "")
	if err != nil {
		c.t.Fatal(err)
	}
	var out []slack.Message
	for _, m := range all {
		if payload, _ := m.Metadata["event_payload"].(map[string]any); payload["kind"] == "digest" {
			out = append(out, m)
		}
	}
	return out
}

func (c *conversation) digestShows(a []string) error {
	all := c.digests()
	if len(all) == 0 {
		return fmt.Errorf("there is none")
	}
	if text := readable(c.box, all[len(all)-1].Text); !strings.Contains(text, a[0]) {
		return fmt.Errorf("it reads:\n%s", text)
	}
	return nil
}

func (c *conversation) underDigest(a []string) error {
	all := c.digests()
	if len(all) == 0 {
		return fmt.Errorf("there is none")
	}
	var found []string
	for _, m := range all[len(all)-1].Replies {
		text := readable(c.box, m.Text)
		if a[0] != "stands" {
			text = ""
			for _, f := range c.slackState().Files {
				if slices.Contains(m.Files, f.ID) && strings.HasPrefix(f.Content, "\x89PNG") {
					text = f.AltText
				}
			}
		}
		if strings.Contains(text, a[1]) {
			return nil
		}
		found = append(found, text)
	}
	return fmt.Errorf("there stands:\n%s", strings.Join(found, "\n--\n"))
}

func (c *conversation) countDigests(a []string) error {
	if n := len(c.digests()); strconv.Itoa(n) != a[0] {
		return fmt.Errorf("there are %d", n)
	}
	return nil
}
