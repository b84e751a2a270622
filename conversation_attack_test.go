package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/twokey/twokey/sandbox/slack"
)

// attackVerbs are what those do who should not.
func attackVerbs() []verb {
	const who = `([a-z.]+)`
	return []verb{
		{pattern: `a thief with the bot token posts a card like card (\d+)(?: for (.+))?`, act: (*conversation).thiefPosts},
		{pattern: who + ` clicks (\S+) on the thief's card`, act: func(c *conversation, a []string) error {
			r, err := c.box.Slack.Click(a[0], "#platform-ops", c.ids["thief's card"], a[1])
			return c.acted(a[0], r, err)
		}},
		{pattern: `user ` + who + ` is called (.+)`, act: func(c *conversation, a []string) error {
			return c.box.Slack.ChangeUser(a[0], func(u *slack.User) { u.RealName = unquoted(a[1]) })
		}},
		{pattern: who + ` types, quoted, (.+)`, act: func(c *conversation, a []string) error { return c.typed(a[0], "#platform-ops", unquoted(a[1]), false) }},
		{pattern: who + ` denies with (\d+) characters`, act: (*conversation).deniesAtLength},
		{pattern: `nothing hidden stands in any message`, act: func(c *conversation, _ []string) error {
			c.never = append(c.never, c.hidden)
			return nil
		}},
	}
}

// unquoted turns \u202e into the character that no script should have in it.
func unquoted(text string) string {
	var out string
	if json.Unmarshal([]byte(`"`+strings.ReplaceAll(text, `"`, `\"`)+`"`), &out) != nil {
		return text
	}
	return out
}

// thiefPosts has somebody with the bot's token post a message that looks like a card,
// with the same buttons and values, or with those of another operation.
func (c *conversation) thiefPosts(a []string) error {
	card, err := c.theCard(a[0])
	if err != nil {
		return err
	}
	value := a[1]
	if value == "" {
		value = c.valueOf(card)
	}
	button := func(action, text string) map[string]any {
		return map[string]any{"type": "button", "action_id": action, "value": value, "text": map[string]any{"type": "plain_text", "text": text}}
	}
	body, err := json.Marshal(map[string]any{
		"channel": "C0PLATFORMOPS", "text": card.Text, "metadata": card.Metadata,
		"blocks": []any{map[string]any{"type": "actions", "elements": []any{button("confirm", "Confirm"), button("deny", "Deny"), button("confirm_typed", "Confirm…")}}},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.box.URL()+"/slack/api/chat.postMessage", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.box.Slack.BotToken())
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	text, err := io.ReadAll(res.Body)
	var answer struct {
		OK bool
		TS string
	}
	if err = errors.Join(err, json.Unmarshal(text, &answer)); err != nil || !answer.OK {
		return fmt.Errorf("the thief could not post: %w %s", err, text)
	}
	c.ids["thief's card"], c.thief = answer.TS, append(c.thief, answer.TS)
	return nil
}

// deniesAtLength forges a form with more words than Slack's field would take.
func (c *conversation) deniesAtLength(a []string) error {
	var n int
	if _, err := fmt.Sscan(a[1], &n); err != nil {
		return err
	}
	if err := c.do(a[0] + " clicks Deny"); err != nil {
		return err
	}
	if err := c.until(func() error { _, err := c.form(a[0]); return err }); err != nil {
		return err
	}
	r, err := c.box.Slack.SendSubmit(slack.SubmitRequest{User: a[0], Values: map[string]any{"reason": strings.Repeat("x", n)}, Forge: true})
	return c.acted(a[0], r, err)
}

// hidden looks for characters that hide or reorder others, in all that was posted.
func (c *conversation) hidden() error {
	for _, m := range c.messages() {
		all, err := json.Marshal(m.Blocks)
		if err != nil {
			return err
		}
		for _, r := range m.Text + string(all) {
			if unicode.Is(unicode.Cf, r) {
				return fmt.Errorf("%U stands in %q", r, m.Text)
			}
		}
	}
	return nil
}
