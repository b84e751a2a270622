package slack

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scopePrefix is the family of scopes that a conversation belongs to.
func scopePrefix(ch *Channel) string {
	switch {
	case ch.IM:
		return "im:"
	case ch.Private:
		return "groups:"
	}
	return "channels:"
}

// readable finds a channel that the bot can see. With what, such as "history",
// the token needs that scope for this kind of conversation.
func (c *call) readable(what, id string) (*Channel, error) {
	ch := c.channelByID(id)
	if ch == nil || (ch.Private || ch.IM) && !ch.has(c.app.BotUser) {
		return nil, refuse("channel_not_found")
	}
	if what != "" {
		if err := c.need(scopePrefix(ch) + what); err != nil {
			return nil, err
		}
	}
	return ch, nil
}

// manageable finds a channel that the bot may change; finer is the end of the
// scope that allows this change alone, such as ".topic".
func (c *call) manageable(finer string) (*Channel, error) {
	ch := c.channelByID(c.p.text("channel"))
	if ch == nil || ch.Private && !ch.has(c.app.BotUser) {
		return nil, refuse("channel_not_found")
	}
	if ch.IM {
		return nil, refuse("method_not_supported_for_channel_type")
	}
	scopes := []string{"channels:manage"}
	if ch.Private {
		scopes = []string{"groups:write"}
	}
	if finer != "" {
		scopes = append(scopes, scopePrefix(ch)+"write"+finer)
	}
	return ch, c.need(scopes...)
}

func (c *call) conversationInfo() (object, error) {
	ch, err := c.readable("read", c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	out := c.wireChannel(ch)
	if c.p.truth("include_num_members") {
		out["num_members"] = len(ch.Members)
	}
	return object{"channel": out}, nil
}

func (c *call) conversationList() (object, error) {
	kinds := c.p.list("types")
	if len(kinds) == 0 {
		kinds = []string{"public_channel"}
	}
	var all []object
	for _, ch := range c.channels {
		kind := kindOf(ch)
		hidden := kind != "public_channel" && !ch.has(c.app.BotUser)
		if !slices.Contains(kinds, kind) || hidden || ch.Archived && c.p.truth("exclude_archived") {
			continue
		}
		if err := c.need(scopePrefix(ch) + "read"); err != nil {
			return nil, err
		}
		out := c.wireChannel(ch)
		out["num_members"] = len(ch.Members)
		all = append(all, out)
	}
	return paged(c, "channels", all, 100, 1000)
}

// userConversations lists the conversations that a user is in: the bot itself when
// none is named. Of others it lists what the bot can see too.
func (c *call) userConversations() (object, error) {
	user := c.p.text("user")
	if user == "" {
		user = c.app.BotUser
	}
	if user != c.app.BotUser && c.userByID(user) == nil {
		return nil, refuse("user_not_found")
	}
	kinds := c.p.list("types")
	if len(kinds) == 0 {
		kinds = []string{"public_channel"}
	}
	var all []object
	for _, ch := range c.channels {
		hidden := kindOf(ch) != "public_channel" && !ch.has(c.app.BotUser)
		if !ch.has(user) || !slices.Contains(kinds, kindOf(ch)) || hidden || ch.Archived && c.p.truth("exclude_archived") {
			continue
		}
		if err := c.need(scopePrefix(ch) + "read"); err != nil {
			return nil, err
		}
		all = append(all, c.wireChannel(ch))
	}
	return paged(c, "channels", all, 100, 1000)
}

// kindOf is how the argument "types" calls a conversation.
func kindOf(ch *Channel) string {
	switch {
	case ch.IM:
		return "im"
	case ch.Private:
		return "private_channel"
	}
	return "public_channel"
}

func (c *call) conversationMembers() (object, error) {
	ch, err := c.readable("read", c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	return paged(c, "members", ch.Members, 100, 1000)
}

// paged answers with one page of all, by Slack's cursors.
func paged[T any](c *call, name string, all []T, fallback, most int) (object, error) {
	start, err := c.cursor()
	if err != nil || start > len(all) {
		return nil, refuse("invalid_cursor")
	}
	size := c.p.number("limit", fallback)
	if size <= 0 {
		size = fallback
	}
	end := min(start+min(size, most), len(all))
	next := ""
	if end < len(all) {
		next = cursorFor(end)
	}
	return object{name: append([]T{}, all[start:end]...), "response_metadata": object{"next_cursor": next}}, nil
}

func cursorFor(index int) string {
	return base64.StdEncoding.EncodeToString([]byte("next:" + strconv.Itoa(index)))
}

func (c *call) cursor() (int, error) {
	text := c.p.text("cursor")
	if text == "" {
		return 0, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return 0, refuse("invalid_cursor")
	}
	number, ok := strings.CutPrefix(string(b), "next:")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 {
		return 0, refuse("invalid_cursor")
	}
	return n, nil
}

// window reads oldest, latest and inclusive.
func (c *call) window() (func(ts string) bool, error) {
	oldest, latest, inclusive := c.p.text("oldest"), c.p.text("latest"), c.p.truth("inclusive")
	if _, err := strconv.ParseFloat(oldest, 64); oldest != "" && err != nil {
		return nil, refuse("invalid_ts_oldest")
	}
	if _, err := strconv.ParseFloat(latest, 64); latest != "" && err != nil {
		return nil, refuse("invalid_ts_latest")
	}
	return func(ts string) bool {
		if inclusive && (ts == oldest || ts == latest) {
			return true
		}
		return (oldest == "" || oldest == "0" || compareTS(ts, oldest) > 0) && (latest == "" || compareTS(ts, latest) < 0)
	}, nil
}

// joined refuses to read a channel that the bot is not in.
func (c *call) joined(id string) (*Channel, error) {
	ch, err := c.readable("history", id)
	if err != nil {
		return nil, err
	}
	if !ch.has(c.app.BotUser) {
		return nil, refuse("not_in_channel")
	}
	return ch, nil
}

func (c *call) history() (object, error) {
	ch, err := c.joined(c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	within, err := c.window()
	if err != nil {
		return nil, err
	}
	var all []object
	for _, m := range slices.Backward(c.messages[ch.ID]) { // newest first
		top := m.ThreadTS == "" || m.Broadcast
		if top && !m.Deleted && m.EphemeralTo == "" && within(m.TS) {
			all = append(all, c.wire(m, c.p.truth("include_all_metadata")))
		}
	}
	out, err := paged(c, "messages", all, 100, 999)
	return withMore(out, len(c.pins[ch.ID])), err
}

func (c *call) replies() (object, error) {
	ch, err := c.joined(c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	within, err := c.window()
	if err != nil {
		return nil, err
	}
	parent := c.message(ch.ID, c.p.text("ts"))
	if parent == nil || parent.EphemeralTo != "" {
		return nil, refuse("thread_not_found")
	}
	if parent.ThreadTS != "" { // a reply's ts gives that reply alone
		return withMore(object{"messages": []object{c.wire(parent, c.p.truth("include_all_metadata"))}}, 0), nil
	}
	all := []object{c.wire(parent, c.p.truth("include_all_metadata"))} // the parent is always there
	for _, m := range c.repliesTo(parent) {
		if within(m.TS) {
			all = append(all, c.wire(m, c.p.truth("include_all_metadata")))
		}
	}
	out, err := paged(c, "messages", all, 1000, 1000)
	return withMore(out, 0), err
}

func withMore(out object, pins int) object {
	if out == nil {
		return nil
	}
	meta, _ := out["response_metadata"].(object)
	more := meta != nil && meta["next_cursor"] != ""
	out["has_more"], out["pin_count"] = more, pins
	if !more {
		delete(out, "response_metadata")
	}
	return out
}

func (c *call) openDirect() (object, error) {
	users := c.p.list("users")
	if id := c.p.text("channel"); id != "" {
		ch := c.channelByID(id)
		if ch == nil || !ch.IM {
			return nil, refuse("channel_not_found")
		}
		users = []string{ch.User}
	}
	if err := c.need("im:write"); err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, refuse("users_list_not_supplied")
	}
	if len(users) > 1 { // group DMs are not played here
		return nil, refuse("invalid_user_combination")
	}
	u := c.userByID(users[0])
	switch {
	case u == nil:
		return nil, refuse("user_not_found")
	case u.Deleted:
		return nil, refuse("user_disabled")
	case u.Bot:
		return nil, refuse("cannot_dm_bot")
	case c.stranger(u):
		return nil, refuse("user_not_visible")
	}
	known := slices.ContainsFunc(c.channels, func(ch *Channel) bool { return ch.IM && ch.User == u.ID })
	ch := c.directMessage(u.ID)
	out := object{"id": ch.ID}
	if c.p.truth("return_im") {
		out = c.wireChannel(ch)
	}
	answer := object{"channel": out}
	if known {
		answer["no_op"], answer["already_open"] = true, true
	}
	return answer, nil
}

func (c *call) createChannel() (object, error) {
	name := c.p.text("name")
	scope := "channels:manage"
	if c.p.truth("is_private") {
		scope = "groups:write"
	}
	if err := c.need(scope); err != nil {
		return nil, err
	}
	switch {
	case name == "":
		return nil, refuse("invalid_name_required")
	case utf8.RuneCountInString(name) > 80:
		return nil, refuse("invalid_name_maxlength")
	case !regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]+$`).MatchString(name):
		return nil, refuse("invalid_name_specials")
	case strings.Trim(name, "_-") == "":
		return nil, refuse("invalid_name_punctuation")
	case slices.ContainsFunc(c.channels, func(ch *Channel) bool { return ch.Name == name && !ch.IM }):
		return nil, refuse("name_taken")
	}
	made, err := c.addChannel(Channel{Name: name, Private: c.p.truth("is_private"), Creator: c.app.BotUser})
	if err != nil {
		return nil, err
	}
	return object{"channel": c.wireChannel(c.channelByID(made.ID))}, nil
}

func (c *call) invite() (object, error) {
	ch, err := c.manageable(".invites")
	if err != nil {
		return nil, err
	}
	users := c.p.list("users")
	switch {
	case len(users) == 0:
		return nil, refuse("no_user")
	case ch.Archived:
		return nil, refuse("is_archived")
	case !ch.has(c.app.BotUser):
		return nil, refuse("not_in_channel")
	}
	for _, id := range users {
		u := c.userByID(id)
		switch {
		case u == nil:
			return nil, refuse("user_not_found")
		case id == c.app.BotUser:
			return nil, refuse("cant_invite_self")
		case ch.has(id):
			return nil, refuse("already_in_channel")
		case u.Deleted, c.foreign(u):
			return nil, refuse("cant_invite")
		}
	}
	ch.Members = append(ch.Members, users...)
	c.note("channel", ch.clone())
	return object{"channel": c.wireChannel(ch)}, nil
}

func (c *call) setTopic() (object, error) {
	ch, err := c.manageable(".topic")
	if err != nil {
		return nil, err
	}
	topic := c.p.text("topic")
	switch {
	case ch.Archived:
		return nil, refuse("is_archived")
	case !ch.has(c.app.BotUser):
		return nil, refuse("not_in_channel")
	case utf8.RuneCountInString(topic) > 250:
		return nil, refuse("too_long")
	}
	ch.Topic = topic
	c.note("channel", ch.clone())
	return object{"channel": c.wireChannel(ch)}, nil
}

func (c *call) archive() (object, error) {
	ch, err := c.manageable("")
	if err != nil {
		return nil, err
	}
	switch {
	case ch.Archived:
		return nil, refuse("already_archived")
	case ch.General:
		return nil, refuse("cant_archive_general")
	case !ch.has(c.app.BotUser):
		return nil, refuse("not_in_channel")
	}
	ch.Archived = true
	c.note("channel", ch.clone())
	return object{}, nil
}

func (c *call) join() (object, error) {
	ch := c.channelByID(c.p.text("channel"))
	switch {
	case ch == nil, ch.Private:
		return nil, refuse("channel_not_found")
	case ch.IM:
		return nil, refuse("method_not_supported_for_channel_type")
	case ch.Archived:
		return nil, refuse("is_archived")
	case ch.has(c.app.BotUser):
		return object{"channel": c.wireChannel(ch), "warning": "already_in_channel", "response_metadata": object{"warnings": []string{"already_in_channel"}}}, nil
	}
	ch.Members = append(ch.Members, c.app.BotUser)
	c.note("channel", ch.clone())
	return object{"channel": c.wireChannel(ch)}, nil
}

// pin is one pinned message.
type pin struct {
	TS      string
	Created int64
}

// item finds the message that a pin or a reaction is about.
func (c *call) item() (*Message, error) {
	ch, err := c.readable("", c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	ts := c.p.text("timestamp")
	if ts == "" {
		return nil, refuse("no_item_specified")
	}
	if !ch.has(c.app.BotUser) {
		return nil, refuse("not_in_channel")
	}
	m := c.message(ch.ID, ts)
	if m == nil || m.EphemeralTo != "" {
		return nil, refuse("message_not_found")
	}
	return m, nil
}

func (c *call) addPin() (object, error) {
	m, err := c.item()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(c.pins[m.Channel], func(p pin) bool { return p.TS == m.TS }) {
		return nil, refuse("already_pinned")
	}
	if len(c.pins[m.Channel]) >= 100 {
		return nil, refuse("too_many_pins")
	}
	c.pins[m.Channel] = append(c.pins[m.Channel], pin{TS: m.TS, Created: c.unix()})
	c.note("pin", object{"channel": m.Channel, "ts": m.TS})
	return object{}, nil
}

func (c *call) removePin() (object, error) {
	m, err := c.item()
	if err != nil {
		return nil, err
	}
	before := len(c.pins[m.Channel])
	c.pins[m.Channel] = slices.DeleteFunc(c.pins[m.Channel], func(p pin) bool { return p.TS == m.TS })
	if len(c.pins[m.Channel]) == before {
		return nil, refuse("no_pin")
	}
	c.note("unpin", object{"channel": m.Channel, "ts": m.TS})
	return object{}, nil
}

func (c *call) listPins() (object, error) {
	ch, err := c.readable("", c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	items := []object{}
	for _, p := range slices.Backward(c.pins[ch.ID]) {
		if m := c.message(ch.ID, p.TS); m != nil {
			items = append(items, object{"type": "message", "channel": ch.ID, "created": p.Created, "created_by": c.app.BotUser, "message": c.wire(m, false)})
		}
	}
	return object{"items": items}, nil
}

func (c *call) addReaction() (object, error) {
	m, err := c.item()
	if err != nil {
		return nil, err
	}
	name := strings.Trim(c.p.text("name"), ":")
	switch {
	case name == "":
		return nil, refuse("invalid_name")
	case c.channelByID(m.Channel).Archived:
		return nil, refuse("is_archived")
	case slices.Contains(m.Reactions[name], c.app.BotUser):
		return nil, refuse("already_reacted")
	}
	// A new map: answers that are still being written may hold the old one.
	reactions := map[string][]string{name: append(slices.Clone(m.Reactions[name]), c.app.BotUser)}
	for k, v := range m.Reactions {
		if k != name {
			reactions[k] = v
		}
	}
	m.Reactions = reactions
	c.note("reaction", object{"channel": m.Channel, "ts": m.TS, "name": name, "user": c.app.BotUser})
	return object{}, nil
}

// bookmarkChannel finds the channel whose bookmarks a call is about.
func (c *call) bookmarkChannel() (*Channel, error) {
	ch, err := c.readable("", c.p.text("channel_id"))
	if err != nil {
		return nil, err
	}
	if !ch.has(c.app.BotUser) {
		return nil, refuse("permission_denied")
	}
	return ch, nil
}

func (c *call) addBookmark() (object, error) {
	ch, err := c.bookmarkChannel()
	if err != nil {
		return nil, err
	}
	link := c.p.text("link")
	switch {
	case c.p.text("type") != "link":
		return nil, refuse("invalid_bookmark_type")
	case !strings.HasPrefix(link, "http://") && !strings.HasPrefix(link, "https://"):
		return nil, refuse("invalid_link")
	case len(c.bookmarks[ch.ID]) >= 100:
		return nil, refuse("too_many_bookmarks")
	}
	b := object{
		"id": c.id("Bk"), "channel_id": ch.ID, "title": c.p.text("title"), "link": link, "emoji": c.p.text("emoji"), "icon_url": "",
		"type": "link", "entity_id": "", "date_created": c.unix(), "date_updated": 0, "rank": "i", "app_id": c.app.ID, "shortcut_id": "",
		"last_updated_by_user_id": c.app.BotUser, "last_updated_by_team_id": c.team.ID,
	}
	c.bookmarks[ch.ID] = append(c.bookmarks[ch.ID], b)
	c.note("bookmark", b)
	return object{"bookmark": b}, nil
}

func (c *call) editBookmark() (object, error) {
	ch, err := c.bookmarkChannel()
	if err != nil {
		return nil, err
	}
	for i, old := range c.bookmarks[ch.ID] {
		if old["id"] != c.p.text("bookmark_id") {
			continue
		}
		b := object{}
		for k, v := range old {
			b[k] = v
		}
		for _, k := range []string{"title", "link", "emoji"} {
			if c.p.has(k) {
				b[k] = c.p.text(k)
			}
		}
		if link, _ := b["link"].(string); !strings.HasPrefix(link, "http") {
			return nil, refuse("invalid_link")
		}
		b["date_updated"] = c.unix()
		c.bookmarks[ch.ID][i] = b
		c.note("bookmark", b)
		return object{"bookmark": b}, nil
	}
	return nil, refuse("not_found")
}

func (c *call) listBookmarks() (object, error) {
	ch, err := c.bookmarkChannel()
	if err != nil {
		return nil, err
	}
	return object{"bookmarks": append([]object{}, c.bookmarks[ch.ID]...)}, nil
}

// visible finds a user that the bot can see.
func (c *call) visible(id string) (*User, error) {
	u := c.userByID(id)
	if u == nil {
		return nil, refuse("user_not_found")
	}
	if c.stranger(u) && !slices.Contains(c.seen(), u.ID) {
		return nil, refuse("user_not_visible")
	}
	return u, nil
}

// seen are the people who have reached the app by themselves: Slack lets an app
// look up whoever's payload it got.
func (c *call) seen() []string {
	var ids []string
	for _, e := range c.envelopes {
		ids = append(ids, e.user)
	}
	return ids
}

func (c *call) withEmail() bool { return slices.Contains(c.token.Scopes, "users:read.email") }

func (c *call) userInfo() (object, error) {
	u, err := c.visible(c.p.text("user"))
	if err != nil {
		return nil, err
	}
	return object{"user": c.wireUser(u, c.withEmail())}, nil
}

func (c *call) userList() (object, error) {
	var all []object
	for _, u := range c.users {
		if !c.stranger(u) {
			all = append(all, c.wireUser(u, c.withEmail()))
		}
	}
	out, err := paged(c, "members", all, 1000, 1000)
	if err == nil {
		out["cache_ts"] = c.unix()
	}
	return out, err
}

func (c *call) userByEmail() (object, error) {
	email := c.p.text("email")
	for _, u := range c.users {
		if u.Email != "" && strings.EqualFold(u.Email, email) && !u.Deleted && !c.foreign(u) {
			return object{"user": c.wireUser(u, true)}, nil
		}
	}
	return nil, refuse("users_not_found")
}

func (c *call) userProfile() (object, error) {
	u, err := c.visible(c.p.text("user"))
	if err != nil {
		return nil, err
	}
	return object{"profile": c.wireUser(u, c.withEmail())["profile"]}, nil
}

func (c *call) groupList() (object, error) {
	out := []object{}
	for _, g := range c.groups {
		if g.Disabled && !c.p.truth("include_disabled") {
			continue
		}
		out = append(out, c.wireGroup(g, c.p.truth("include_users")))
	}
	return object{"usergroups": out}, nil
}

func (c *call) groupUsers() (object, error) {
	i := slices.IndexFunc(c.groups, func(g *Group) bool { return g.ID == c.p.text("usergroup") })
	if i < 0 {
		return nil, refuse("no_such_subteam")
	}
	g := c.groups[i]
	if g.Disabled && !c.p.truth("include_disabled") {
		return nil, refuse("no_such_subteam")
	}
	return object{"users": append([]string{}, g.Users...)}, nil
}
