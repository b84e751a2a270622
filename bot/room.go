package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

const (
	// maxRoomName is Slack's limit, less what a number behind the name takes.
	maxRoomName = 80 - len("-99")
	maxTopic    = 250
	// roomNames is how many names are tried: name, name-2, name-3 …
	roomNames = 10
	// roomAttempts is how often a room is tried when Slack gives no definite
	// answer. The operation's news must not stand behind it for ever.
	roomAttempts = 6
	// clockSkew is how far our clock and Slack's may be apart.
	clockSkew = time.Minute
	// inviteBatch is how many people Slack lets an app invite at once.
	inviteBatch = 100
)

// room gets the operation its channel, or finds out why there is none, and says
// where the notice about it goes.
func (p *poster) room(ctx context.Context, n operation.Notice, spot place, a attempt) (place, error) {
	op := spot.op
	var err error
	if op.RoomChannel == "" && op.RoomTrouble == "" {
		if op.RoomChannel, op.RoomTrouble, err = p.openRoom(ctx, op, a); err != nil {
			return spot, err
		}
		// Before anything else: whoever comes after a crash finds it here.
		if err := p.outbox.RoomOpened(ctx, op.ID, op.RoomChannel, op.RoomTrouble); err != nil {
			return spot, fmt.Errorf("note the room of %s: %w", op.ID, err)
		}
	}
	spot.op = op
	if op.RoomTrouble != "" {
		return withoutRoom(spot, op.RoomTrouble)
	}
	spot.channel, spot.thread, spot.inRoom = op.RoomChannel, "", true
	if op.Plan.Room.Channel == "" { // people's own channel keeps its topic
		if err := p.setTopic(ctx, op); err != nil {
			return spot, err
		}
	}
	missing, err := p.invite(ctx, op)
	if err != nil {
		return spot, err
	}
	spot.silent = len(missing) == 0
	spot.note = RoomNote("", missing)
	return spot, nil
}

// withoutRoom has the thread under the card say why there is no room.
func withoutRoom(spot place, trouble string) (place, error) {
	spot.channel, spot.thread, spot.note = spot.op.Channel, spot.op.Card, RoomNote(trouble, nil)
	if spot.thread == "" {
		return spot, errNoCard
	}
	return spot, nil
}

// openRoom makes the channel, or says what trouble there is.
func (p *poster) openRoom(ctx context.Context, op operation.Operation, a attempt) (operation.ChannelID, string, error) {
	if existing := op.Plan.Room.Channel; existing != "" {
		trouble, err := p.usable(ctx, existing)
		if err != nil || trouble != "" {
			return "", trouble, err
		}
		return existing, "", nil
	}
	name := roomName(op)
	for i := range roomNames {
		numbered := name
		if i > 0 {
			numbered += "-" + strconv.Itoa(i+1)
		}
		channel, err := p.createRoom(ctx, op, numbered, a)
		switch {
		case errors.Is(err, errNameTaken):
			continue
		case refusedForGood(err):
			return "", roomTrouble(err, numbered), nil
		}
		return channel, "", err
	}
	return "", fmt.Sprintf("%s and %d names like it are taken.", name, roomNames-1), nil
}

var errNameTaken = errors.New("the channel's name is somebody else's")

// createRoom makes a channel. A name that is taken may be taken by ourselves: by a
// try of which we did not hear the end.
func (p *poster) createRoom(ctx context.Context, op operation.Operation, name string, a attempt) (operation.ChannelID, error) {
	c, err := p.b.poster.CreateConversationContext(ctx, slack.CreateConversationParams{ChannelName: name, IsPrivate: op.Plan.Room.Private})
	switch {
	case errorCode(err) == "name_taken":
		return p.ourRoom(ctx, op, name, a)
	case err != nil:
		return "", doubtful(fmt.Errorf("create channel %s: %w", name, err))
	case c.ID == "":
		return "", fmt.Errorf("create channel %s: Slack named no channel: %w", name, errDoubt)
	}
	return operation.ChannelID(c.ID), nil
}

// ourRoom finds the operation's room by its name among the bot's own channels. It
// is ours when its topic says so; without a topic only if an earlier try may have
// made it.
func (p *poster) ourRoom(ctx context.Context, op operation.Operation, name string, a attempt) (operation.ChannelID, error) {
	self, err := p.b.identity(ctx)
	if err != nil {
		return "", err
	}
	for cursor := ""; ; {
		channels, next, err := p.b.poster.GetConversationsForUserContext(ctx, &slack.GetConversationsForUserParameters{
			Cursor: cursor, Types: []string{"public_channel", "private_channel"}, Limit: pageSize, ExcludeArchived: true,
		})
		if err != nil {
			return "", doubtful(fmt.Errorf("look for channel %s: %w", name, err))
		}
		for _, c := range channels {
			fresh := a.doubt && c.Topic.Value == "" && !c.Created.Time().Before(op.DecidedAt.Add(-clockSkew))
			if c.Name == name && c.Creator == self.UserID && (fresh || strings.Contains(c.Topic.Value, topicMark(op))) {
				return operation.ChannelID(c.ID), nil
			}
		}
		if cursor = next; cursor == "" {
			return "", errNameTaken
		}
	}
}

// roomName is the plan's name in the letters that Slack takes.
func roomName(op operation.Operation) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, op.Plan.Room.Name)
	if op.Drill() && !strings.Contains(name, "drill") {
		name = "drill-" + name
	}
	return name[:min(len(name), maxRoomName)]
}

func topicMark(op operation.Operation) string { return "operation " + string(op.ID) }

// setTopic marks the room as the operation's. A refusal is no reason to stop.
func (p *poster) setTopic(ctx context.Context, op operation.Operation) error {
	topic := plain(fmt.Sprintf("%s, %s. Asked for by %s, confirmed by %s.", title(op), topicMark(op), named(op.Requester), named(op.Approver)), maxTopic)
	_, err := p.b.poster.SetTopicOfConversationContext(ctx, string(op.RoomChannel), topic)
	if refusedForGood(err) {
		p.b.log.WarnContext(ctx, "the incident channel has no topic", "operation", op.ID, "error", err)
		return nil
	}
	if err != nil {
		return doubtful(fmt.Errorf("set the topic of %s: %w", op.RoomChannel, err))
	}
	return nil
}

// usable says why an existing channel can't be the room.
func (p *poster) usable(ctx context.Context, channel operation.ChannelID) (trouble string, err error) {
	c, err := p.b.poster.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: string(channel)})
	switch {
	case refusedForGood(err):
		return fmt.Sprintf("The configured channel %s can't be used: %s", channel, postTodo(err)), nil
	case err != nil:
		return "", doubtful(fmt.Errorf("look at channel %s: %w", channel, err))
	case c.IsArchived:
		return fmt.Sprintf("The configured channel %s is archived.", channel), nil
	case shared(*c):
		return fmt.Sprintf("The configured channel %s is shared with people outside the organisation.", channel), nil
	case !c.IsMember:
		return fmt.Sprintf("I am not in the configured channel %s: somebody has to invite me.", channel), nil
	}
	return "", nil
}

// invite invites whoever is missing, in the order of how much they are needed.
func (p *poster) invite(ctx context.Context, op operation.Operation) ([]Uninvited, error) {
	wanted, missing, err := p.wanted(ctx, op)
	if err != nil {
		return nil, err
	}
	there, err := p.members(ctx, op.RoomChannel)
	if err != nil {
		return nil, err
	}
	wanted = slices.DeleteFunc(wanted, func(u operation.UserID) bool { return slices.Contains(there, string(u)) })
	for batch := range slices.Chunk(wanted, inviteBatch) {
		left, err := p.inviteAll(ctx, op.RoomChannel, batch)
		if err != nil {
			return nil, err
		}
		missing = append(missing, left...)
	}
	return missing, nil
}

// wanted lists whom the room is for.
func (p *poster) wanted(ctx context.Context, op operation.Operation) ([]operation.UserID, []Uninvited, error) {
	all := append([]operation.UserID{op.Requester.User, op.Approver.User}, op.Plan.Room.Invite...)
	var missing []Uninvited
	if group := op.Plan.Room.Group; group != "" {
		members, err := p.b.poster.GetUserGroupMembersContext(ctx, string(group))
		switch {
		case refusedForGood(err):
			missing = append(missing, Uninvited{Group: group, Why: refusalWords(err)})
		case err != nil:
			return nil, nil, doubtful(fmt.Errorf("read the members of group %s: %w", group, err))
		}
		for _, m := range members {
			all = append(all, operation.UserID(m))
		}
	}
	var once []operation.UserID
	for _, u := range all {
		if u != "" && !slices.Contains(once, u) {
			once = append(once, u)
		}
	}
	return once, missing, nil
}

func (p *poster) members(ctx context.Context, channel operation.ChannelID) ([]string, error) {
	var out []string
	for cursor := ""; ; {
		users, next, err := p.b.poster.GetUsersInConversationContext(ctx, &slack.GetUsersInConversationParameters{ChannelID: string(channel), Cursor: cursor, Limit: pageSize})
		if err != nil {
			return nil, doubtful(fmt.Errorf("read who is in %s: %w", channel, err))
		}
		out = append(out, users...)
		if cursor = next; cursor == "" {
			return out, nil
		}
	}
}

// inviteAll invites all at once. When Slack refuses, it is for one of them or for
// all: then each is invited alone.
func (p *poster) inviteAll(ctx context.Context, channel operation.ChannelID, users []operation.UserID) ([]Uninvited, error) {
	texts := make([]string, len(users))
	for i, u := range users {
		texts[i] = string(u)
	}
	_, err := p.b.poster.InviteUsersToConversationContext(ctx, string(channel), texts...)
	switch code := errorCode(err); {
	case err == nil, code == "already_in_channel", code == "cant_invite_self":
		if len(users) == 1 || err == nil {
			return nil, nil
		}
	case !refusedForGood(err):
		return nil, doubtful(fmt.Errorf("invite people to %s: %w", channel, err))
	case len(users) == 1, aboutChannel(code):
		var out []Uninvited
		for _, u := range users {
			out = append(out, Uninvited{User: u, Why: refusalWords(err)})
		}
		return out, nil
	}
	var out []Uninvited
	for _, u := range users {
		left, err := p.inviteAll(ctx, channel, []operation.UserID{u})
		if err != nil {
			return nil, err
		}
		out = append(out, left...)
	}
	return out, nil
}

// aboutChannel reports refusals that would be the same for everybody.
func aboutChannel(code string) bool {
	switch code {
	case "missing_scope", "no_permission", "not_in_channel", "is_archived", "restricted_action", "channel_not_found", "method_not_supported_for_channel_type":
		return true
	}
	return false
}

// refusedForGood reports Slack's definite no about one thing, as opposed to about
// everything that the token does.
func refusedForGood(err error) bool {
	if err == nil || errorCode(err) == "" || errors.Is(doubtful(err), errDoubt) {
		return false
	}
	f, ok := fatal(err, botToken)
	return !ok || f.Code == "missing_scope" || f.Code == "no_permission"
}

// refusalWords says a definite no in a sentence for people.
func refusalWords(err error) string {
	switch code := errorCode(err); code {
	case "missing_scope", "no_permission":
		needed := "a scope"
		if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok && e.Needed != "" {
			needed = "the scope " + e.Needed
		}
		return "Slack refuses: I lack " + needed + ", which the app's manifest gives."
	case "restricted_action":
		return "Slack refuses: an administrator lets only some people do that."
	case "user_disabled", "cant_invite", "user_is_restricted", "ura_max_channels":
		return "Slack refuses: the account is deactivated, a guest's or another organisation's (" + code + ")."
	default:
		return "Slack refuses (" + cmp.Or(code, "unclear") + ")."
	}
}

func roomTrouble(err error, name string) string {
	if strings.HasPrefix(errorCode(err), "invalid_name") {
		return fmt.Sprintf("Slack does not take the name %s (%s).", name, errorCode(err))
	}
	return refusalWords(err)
}

// closed reports that a channel takes nothing any more: somebody archived it, or
// took the bot out of it.
func closed(err error) bool {
	switch errorCode(err) {
	case "channel_not_found", "not_in_channel", "is_archived", "is_inactive":
		return true
	}
	return false
}

// roomLost reports that no message can be posted in a room any more.
func roomLost(err error) bool {
	switch errorCode(err) {
	case "restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel":
		return true
	}
	return closed(err)
}

// leaveRoom has the thread under the card serve from now on.
func (p *poster) leaveRoom(ctx context.Context, op operation.Operation, cause error) error {
	p.b.log.WarnContext(ctx, "the incident channel can't be used any more", "operation", op.ID, "channel", op.RoomChannel, "error", cause)
	if err := p.outbox.RoomOpened(ctx, op.ID, "", "The channel can't be used any more. "+refusalWords(cause)); err != nil {
		return fmt.Errorf("note that the room of %s is lost: %w", op.ID, err)
	}
	return nil
}

// furnishTime bounds furnishing a room: its news wait meanwhile.
const furnishTime = 20 * time.Second

// furnish pins the status and adds the bookmarks. What Slack refuses is logged:
// the room serves without it. The rest is tried again with the next edit.
func (p *poster) furnish(ctx context.Context, op operation.Operation, status operation.MessageID) {
	ctx, cancel := context.WithTimeout(ctx, furnishTime)
	defer cancel()
	room, runbook := op.RoomChannel, op.Plan.Room.Runbook
	err := errors.Join(
		p.once("pin "+string(op.ID)+" "+string(status), func() error { return p.pin(ctx, room, status) }),
		p.once("card "+string(op.ID), func() error {
			return p.bookmark(ctx, room, "Card", p.permalink(ctx, op.Channel, op.Card), ":key:")
		}),
		p.once("runbook "+string(op.ID), func() error {
			if runbook == "" {
				return nil
			}
			return p.bookmark(ctx, room, "Runbook", runbook, ":book:")
		}),
	)
	if err != nil {
		p.b.log.WarnContext(ctx, "the incident channel lacks its pin or a bookmark", "operation", op.ID, "channel", room, "error", err)
	}
}

func (p *poster) pin(ctx context.Context, channel operation.ChannelID, message operation.MessageID) error {
	return p.insist(ctx, func() error {
		err := p.b.poster.AddPinContext(ctx, string(channel), slack.NewRefToMessage(string(channel), string(message)))
		if err != nil && errorCode(err) != "already_pinned" {
			return fmt.Errorf("pin the status in %s: %w", channel, err)
		}
		return nil
	})
}

// errNoAddress says that Slack did not tell a message's address.
var errNoAddress = errors.New("the message has no address")

// bookmark adds a bookmark, or leads the one of that title elsewhere.
func (p *poster) bookmark(ctx context.Context, channel operation.ChannelID, title, url, emoji string) error {
	if url == "" {
		return fmt.Errorf("bookmark %s in %s: %w", title, channel, errNoAddress)
	}
	return p.insist(ctx, func() error {
		all, err := p.b.poster.ListBookmarksContext(ctx, string(channel))
		if err != nil {
			return fmt.Errorf("read the bookmarks of %s: %w", channel, err)
		}
		i := slices.IndexFunc(all, func(b slack.Bookmark) bool { return b.Title == title })
		switch {
		case i < 0:
			_, err = p.b.poster.AddBookmarkContext(ctx, string(channel), slack.AddBookmarkParameters{Title: title, Type: "link", Link: url, Emoji: emoji})
		case all[i].Link != url:
			_, err = p.b.poster.EditBookmarkContext(ctx, string(channel), all[i].ID, slack.EditBookmarkParameters{Link: url})
		}
		if err != nil {
			return fmt.Errorf("bookmark %s in %s: %w", title, channel, err)
		}
		return nil
	})
}

// insist repeats what may be repeated while Slack gives no definite answer.
func (p *poster) insist(ctx context.Context, do func() error) error {
	var err error
	for range tries {
		if err = do(); err == nil || refusedForGood(err) {
			return err
		}
		wait := settle
		if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
			if wait = limited.RetryAfter; wait > longestThrottle {
				return err
			}
		}
		if !pause(ctx, wait) {
			return err
		}
	}
	return err
}

// permalink is the address of a message; empty when Slack does not tell it.
func (p *poster) permalink(ctx context.Context, channel operation.ChannelID, message operation.MessageID) string {
	if channel == "" || message == "" {
		return ""
	}
	key := string(channel) + " " + string(message)
	p.mu.Lock()
	url, ok := p.links[key]
	p.mu.Unlock()
	if ok {
		return url
	}
	url, err := p.b.poster.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: string(channel), Ts: string(message)})
	if err != nil {
		p.b.log.WarnContext(ctx, "a message has no address", "channel", channel, "message", message, "error", err)
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[key] = url
	return url
}

// showRoom shows on the card where the operation is told now. The card's next edit
// may be far away. A card that cannot be edited shows it then.
func (p *poster) showRoom(ctx context.Context, id operation.ID) {
	n := operation.Notice{Kind: operation.NoticeCard, Operation: id, Key: "card:" + string(id) + ":room"}
	for range tries { // until nothing has changed meanwhile
		spot, err := p.place(ctx, n)
		if err == nil && spot.edit != "" {
			_, err = p.edit(ctx, n, spot, false)
		}
		if err != nil {
			p.b.log.WarnContext(ctx, "the card does not show its room yet", "operation", id, "error", err)
			return
		}
		if now, err := p.ops.Operation(ctx, id); err != nil || now.Epoch == spot.op.Epoch {
			return
		}
	}
}
