package slack

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is one message of a channel, as it is stored.
type Message struct {
	Channel  string   `json:"channel"`
	TS       string   `json:"ts"`
	ThreadTS string   `json:"thread_ts,omitempty"` // of the parent; empty at the top level
	User     string   `json:"user"`
	BotID    string   `json:"bot_id,omitempty"`
	Subtype  string   `json:"subtype,omitempty"`
	Text     string   `json:"text"`
	Blocks   []object `json:"blocks,omitempty"`
	// Attachments are kept as they came.
	Attachments []any    `json:"attachments,omitempty"`
	Metadata    object   `json:"metadata,omitempty"`
	Files       []string `json:"files,omitempty"`
	Broadcast   bool     `json:"reply_broadcast,omitempty"`

	EphemeralTo string              `json:"ephemeral_to,omitempty"` // only this person sees it, and no API does
	EditedAt    string              `json:"edited_ts,omitempty"`
	Edits       int                 `json:"edits,omitempty"`
	Deleted     bool                `json:"deleted,omitempty"`
	Reactions   map[string][]string `json:"reactions,omitempty"`
	// Mentions are those whom the message pings: user and group ids, "!channel",
	// "!here", "!everyone".
	Mentions []string  `json:"mentions,omitempty"`
	PostedAt time.Time `json:"posted_at"` // the sandbox's time
	// Actions are what can be clicked, where messages are listed for people.
	Actions []Action `json:"actions,omitempty"`
	// Replies are the thread, where messages are listed nested.
	Replies []Message `json:"replies,omitempty"`
}

func (m *Message) clone() Message {
	out := *m
	out.Blocks, out.Attachments, out.Mentions = slices.Clone(m.Blocks), slices.Clone(m.Attachments), slices.Clone(m.Mentions)
	return out
}

// wire is the message as conversations.history gives it.
func (s *Server) wire(m *Message, withMetadata bool) object {
	out := object{"type": "message", "user": m.User, "ts": m.TS, "text": m.Text, "team": s.team.ID}
	if m.BotID != "" {
		out["bot_id"], out["app_id"] = m.BotID, s.app.ID
		out["bot_profile"] = object{"id": s.app.BotID, "app_id": s.app.ID, "user_id": s.app.BotUser, "name": s.app.Name, "deleted": false, "updated": 0, "team_id": s.team.ID}
	}
	if m.Subtype != "" {
		out["subtype"] = m.Subtype
	}
	if len(m.Blocks) > 0 {
		out["blocks"] = m.Blocks
	}
	if len(m.Attachments) > 0 {
		out["attachments"] = m.Attachments
	}
	if m.EditedAt != "" {
		out["edited"] = object{"user": m.User, "ts": m.EditedAt}
	}
	if withMetadata && m.Metadata != nil {
		out["metadata"] = m.Metadata
	}
	if len(m.Files) > 0 {
		files := make([]object, 0, len(m.Files))
		for _, id := range m.Files {
			files = append(files, s.wireFile(s.files[id]))
		}
		out["files"], out["upload"] = files, true
	}
	if len(m.Reactions) > 0 {
		var list []object
		for _, name := range slices.Sorted(maps.Keys(m.Reactions)) {
			list = append(list, object{"name": name, "users": m.Reactions[name], "count": len(m.Reactions[name])})
		}
		out["reactions"] = list
	}
	if slices.ContainsFunc(s.pins[m.Channel], func(p pin) bool { return p.TS == m.TS }) {
		out["pinned_to"] = []string{m.Channel}
	}
	s.wireThread(m, out)
	return out
}

// wireThread adds what tells a parent and a reply.
func (s *Server) wireThread(m *Message, out object) {
	if m.ThreadTS != "" {
		out["thread_ts"] = m.ThreadTS
		if parent := s.message(m.Channel, m.ThreadTS); parent != nil {
			out["parent_user_id"] = parent.User
		}
		if m.Broadcast {
			out["subtype"] = "thread_broadcast"
		}
		return
	}
	replies := s.repliesTo(m)
	if len(replies) == 0 {
		return
	}
	var users []string
	for _, r := range replies {
		if !slices.Contains(users, r.User) {
			users = append(users, r.User)
		}
	}
	out["thread_ts"], out["reply_count"], out["reply_users"], out["reply_users_count"] = m.TS, len(replies), users, len(users)
	out["latest_reply"], out["is_locked"], out["subscribed"] = replies[len(replies)-1].TS, false, false
}

// repliesTo returns a thread's replies that everybody sees, oldest first.
func (s *Server) repliesTo(m *Message) []*Message {
	var out []*Message
	for _, r := range s.messages[m.Channel] {
		if r.ThreadTS == m.TS && !r.Deleted && r.EphemeralTo == "" {
			out = append(out, r)
		}
	}
	return out
}

// message finds a message that was not deleted.
func (s *Server) message(channel, ts string) *Message {
	for _, m := range s.messages[channel] {
		if m.TS == ts && !m.Deleted {
			return m
		}
	}
	return nil
}

// post appends a message with a ts that is unique in its channel.
func (s *Server) post(m *Message) *Message {
	m.PostedAt = s.cond.Clock.Now()
	m.TS = slackTime(m.PostedAt)
	if list := s.messages[m.Channel]; len(list) > 0 {
		if last := list[len(list)-1].TS; compareTS(m.TS, last) <= 0 { // same microsecond, or the clock was set back
			m.TS = afterTS(last)
		}
	}
	m.Mentions = mentions(m)
	s.messages[m.Channel] = append(s.messages[m.Channel], m)
	s.note("message", m.clone())
	return m
}

func compareTS(a, b string) int {
	as, au, _ := strings.Cut(a, ".")
	bs, bu, _ := strings.Cut(b, ".")
	if c := cmp.Compare(len(as), len(bs)); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(as, bs), cmp.Compare(au, bu))
}

func afterTS(ts string) string {
	sec, micro, _ := strings.Cut(ts, ".")
	s, _ := strconv.ParseInt(sec, 10, 64) // our own ts
	u, _ := strconv.ParseInt(micro, 10, 64)
	return slackTime(time.Unix(s, (u+1)*1000))
}

// content is what chat.postMessage, chat.update and their like take.
type content struct {
	text        string
	blocks      []object
	hasBlocks   bool
	attachments []any
	metadata    object
}

// Slack's limits of a whole message.
const (
	maxText       = 40000 // characters; longer texts are cut by chat.postMessage
	maxUpdateText = 4000
	maxBlocksText = 13200 // characters of all blocks; found by users of bolt-js (issue 2509), not documented
	maxMetadata   = 8000  // bytes
)

// content reads and checks a message's arguments.
func (c *call) content() (content, error) {
	out := content{text: c.p.text("text"), hasBlocks: c.p.has("blocks")}
	raw, err := c.p.json("blocks")
	if err != nil {
		return out, refuse("invalid_blocks_format")
	}
	if raw != nil {
		list, ok := raw.([]any)
		if !ok {
			return out, refuse("invalid_blocks_format")
		}
		blocks, problems := c.checkBlocks(list, inMessage, "/blocks")
		if len(problems) > 0 {
			return out, &apiError{name: "invalid_blocks", messages: problems}
		}
		if textOf(list) > maxBlocksText {
			return out, refuse("msg_blocks_too_long")
		}
		out.blocks = blocks
	}
	attachments, err := c.p.json("attachments")
	if err != nil {
		return out, refuse("invalid_attachments")
	}
	out.attachments, _ = attachments.([]any)
	if len(out.attachments) > 100 {
		return out, refuse("too_many_attachments")
	}
	if out.metadata, err = c.metadata(); err != nil {
		return out, err
	}
	if out.text == "" && len(out.blocks) == 0 && len(out.attachments) == 0 {
		return out, refuse("no_text")
	}
	return out, nil
}

func (c *call) metadata() (object, error) {
	raw, err := c.p.json("metadata")
	if err != nil {
		return nil, refuse("invalid_metadata_format")
	}
	if raw == nil {
		return nil, nil
	}
	m, ok := raw.(map[string]any)
	if !ok {
		return nil, refuse("invalid_metadata_format")
	}
	if len(m) == 0 {
		return nil, nil // chat.update takes metadata away with {}
	}
	if kind, ok := m["event_type"].(string); !ok || kind == "" {
		return nil, refuse("invalid_metadata_schema")
	}
	if _, ok := m["event_payload"].(map[string]any); !ok {
		return nil, refuse("invalid_metadata_schema")
	}
	if b, _ := json.Marshal(m); len(b) > maxMetadata {
		return nil, refuse("metadata_too_large")
	}
	return m, nil
}

// textOf counts the characters of all texts in blocks.
func textOf(v any) int {
	n := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += textOf(e)
		}
	case map[string]any:
		for k, e := range v {
			if t, ok := e.(string); ok && k == "text" {
				n += utf8.RuneCountInString(t)
			} else {
				n += textOf(e)
			}
		}
	}
	return n
}

// writable finds the channel of a message about to be posted.
func (c *call) writable(name string) (*Channel, error) {
	ch := c.channelByID(name)
	if ch == nil && c.userByID(name) != nil { // a user's id is their DM with the bot
		if u := c.userByID(name); u.Deleted || u.ID == c.app.BotUser {
			return nil, refuse("channel_not_found")
		}
		ch = c.directMessage(name)
	}
	if ch == nil && strings.HasPrefix(name, "#") {
		if found, err := c.channel(name); err == nil {
			ch = found
		}
	}
	member := ch != nil && ch.has(c.app.BotUser)
	switch {
	case ch == nil, ch.Private && !member:
		return nil, refuse("channel_not_found")
	case ch.Archived:
		return nil, refuse("is_archived")
	case !member && c.need("chat:write.public") != nil:
		return nil, refuse("not_in_channel")
	}
	return ch, nil
}

// thread finds the parent that a reply names; a reply to a reply goes to its parent.
func (c *call) thread(ch *Channel) (string, error) {
	ts := c.p.text("thread_ts")
	if ts == "" {
		return "", nil
	}
	parent := c.message(ch.ID, ts)
	if parent == nil {
		return "", refuse("thread_not_found")
	}
	if parent.EphemeralTo != "" {
		return "", refuse("cannot_reply_to_message")
	}
	if parent.ThreadTS != "" {
		return parent.ThreadTS, nil
	}
	return ts, nil
}

func (c *call) postMessage() (object, error) {
	ch, err := c.writable(c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	body, err := c.content()
	if err != nil {
		return nil, err
	}
	thread, err := c.thread(ch)
	if err != nil {
		return nil, err
	}
	if err := c.take("chat.postMessage "+ch.ID, posting()); err != nil {
		return nil, err
	}
	m := c.post(&Message{
		Channel: ch.ID, ThreadTS: thread, User: c.app.BotUser, BotID: c.app.BotID, Text: cut(body.text, maxText), Blocks: body.blocks,
		Attachments: body.attachments, Metadata: body.metadata, Broadcast: thread != "" && c.p.truth("reply_broadcast"),
	})
	return object{"channel": ch.ID, "ts": m.TS, "message": c.wire(m, true)}, nil
}

func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most])
}

// own finds a message of the bot's that a call wants to change.
func (c *call) own(refusal string) (*Message, error) {
	ch := c.channelByID(c.p.text("channel"))
	if ch == nil || ch.Private && !ch.has(c.app.BotUser) {
		return nil, refuse("channel_not_found")
	}
	m := c.message(ch.ID, c.p.text("ts"))
	switch {
	case m == nil, m.EphemeralTo != "":
		return nil, refuse("message_not_found")
	case m.User != c.app.BotUser:
		return nil, refuse(refusal)
	}
	return m, nil
}

func (c *call) updateMessage() (object, error) {
	m, err := c.own("cant_update_message")
	if err != nil {
		return nil, err
	}
	if c.channelByID(m.Channel).Archived {
		return nil, refuse("is_inactive")
	}
	body, err := c.content()
	if err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(body.text) > maxUpdateText {
		return nil, refuse("msg_too_long")
	}
	if body.text != "" || body.hasBlocks {
		m.Text, m.Blocks = body.text, body.blocks // text alone takes the blocks away
	}
	if c.p.has("attachments") || body.text != "" || body.hasBlocks {
		m.Attachments = body.attachments
	}
	if c.p.has("metadata") { // left out, it stays
		m.Metadata = body.metadata
	}
	m.EditedAt, m.Edits, m.Mentions = slackTime(c.cond.Clock.Now()), m.Edits+1, mentions(m)
	c.note("message_changed", m.clone())
	return object{"channel": m.Channel, "ts": m.TS, "text": m.Text, "message": c.wire(m, true)}, nil
}

func (c *call) deleteMessage() (object, error) {
	m, err := c.own("cant_delete_message")
	if err != nil {
		return nil, err
	}
	m.Deleted = true
	c.note("message_deleted", m.clone())
	return object{"channel": m.Channel, "ts": m.TS}, nil
}

func (c *call) postEphemeral() (object, error) {
	ch, err := c.writable(c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	body, err := c.content()
	if err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(body.text) > maxText {
		return nil, refuse("msg_too_long")
	}
	user := c.p.text("user")
	if c.userByID(user) == nil || !ch.has(user) {
		return nil, refuse("user_not_in_channel")
	}
	m := c.post(&Message{
		Channel: ch.ID, ThreadTS: c.p.text("thread_ts"), User: c.app.BotUser, BotID: c.app.BotID, Text: body.text, Blocks: body.blocks,
		Attachments: body.attachments, EphemeralTo: user,
	})
	return object{"message_ts": m.TS}, nil
}

func (c *call) permalink() (object, error) {
	ch, err := c.readable("", c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	m := c.message(ch.ID, c.p.text("message_ts"))
	if m == nil || m.EphemeralTo != "" {
		return nil, refuse("message_not_found")
	}
	return object{"channel": ch.ID, "permalink": c.permalinkTo(m)}, nil
}

func (s *Server) permalinkTo(m *Message) string {
	link := "https://" + s.team.Domain + ".slack.com/archives/" + m.Channel + "/p" + strings.ReplaceAll(m.TS, ".", "")
	if m.ThreadTS != "" {
		link += "?thread_ts=" + m.ThreadTS + "&cid=" + m.Channel
	}
	return link
}

// mentions lists whom the message's markup pings.
func mentions(m *Message) []string {
	var out []string
	add := func(text string) {
		for _, part := range strings.Split(text, "<")[1:] {
			inner, _, closed := strings.Cut(part, ">")
			if !closed || inner == "" {
				continue
			}
			target, _, _ := strings.Cut(inner, "|")
			switch {
			case target[0] == '@', strings.HasPrefix(target, "!subteam^"):
				target = strings.TrimPrefix(strings.TrimPrefix(target, "@"), "!subteam^")
			case target != "!channel" && target != "!here" && target != "!everyone":
				continue
			}
			if !slices.Contains(out, target) {
				out = append(out, target)
			}
		}
	}
	if len(m.Blocks) == 0 { // with blocks the text is for notifications and pings nobody by itself
		add(m.Text)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if text, ok := v["text"].(string); ok && (v["type"] == "mrkdwn" || v["type"] == "markdown") {
				add(text)
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	for _, b := range m.Blocks {
		walk(b)
	}
	return out
}
