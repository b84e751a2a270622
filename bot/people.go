package bot

import (
	"context"
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Member looks a person up, now. Their address counts only when Slack says that
// they confirmed it.
func (b *Bot) Member(ctx context.Context, user operation.UserID) (operation.Member, error) {
	self, err := b.identity(ctx)
	if err != nil {
		return operation.Member{}, fmt.Errorf("look up person %s: %w", user, err)
	}
	u, err := b.api.GetUserInfoContext(ctx, string(user))
	if err != nil {
		return operation.Member{}, fmt.Errorf("look up person %s: %w", user, err)
	}
	if u.ID != string(user) { // an answer about nobody is no answer
		return operation.Member{}, fmt.Errorf("look up person %s: Slack answered about %q", user, u.ID)
	}
	return member(*u, *self), nil
}

func member(u slack.User, self slack.AuthTestResponse) operation.Member {
	m := operation.Member{
		User: operation.UserID(u.ID), Team: operation.TeamID(u.TeamID), Enterprise: u.Enterprise.EnterpriseID,
		Name:        clean(first(u.Profile.RealName, first(u.RealName, u.Name))),
		Guest:       u.IsRestricted || u.IsUltraRestricted,
		Bot:         u.IsBot || u.IsAppUser || u.IsConnectorBot || u.IsWorkflowBot || u.ID == "USLACKBOT",
		Deactivated: u.Deleted || u.IsInvitedUser, // somebody who has not accepted yet can't click either
		Stranger:    u.IsStranger || !ours(u, self),
	}
	if u.IsEmailConfirmed {
		m.Email = u.Profile.Email
	}
	return m
}

// ours reports whether the person belongs to the bot's workspace, or to another
// one of the same organisation.
func ours(u slack.User, self slack.AuthTestResponse) bool {
	return u.TeamID == self.TeamID || self.EnterpriseID != "" && u.Enterprise.EnterpriseID == self.EnterpriseID
}

// groupTime bounds a look into a group, in which Slack may ask to wait.
const groupTime = 20 * time.Second

// Group lists a user group's members, now. Slack takes twenty looks a minute: who asks
// while a look is on its way shares the next one with all others who do, so that many
// requests or clicks at once cost two. What was sent before somebody asked is too old
// for them.
func (b *Bot) Group(ctx context.Context, group operation.GroupID) ([]operation.UserID, error) {
	next := b.groups.DoChan(string(group), func() (any, error) {
		b.looking.Lock()
		defer b.looking.Unlock()
		// Whoever asks from here on gets a newer one, and this one is not the first one's alone.
		b.groups.Forget(string(group))
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), groupTime)
		defer cancel()
		return b.api.GetUserGroupMembersContext(ctx, string(group))
	})
	var users []string
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read the members of group %s: %w", group, context.Cause(ctx))
	case look := <-next:
		if look.Err != nil {
			return nil, fmt.Errorf("read the members of group %s: %w", group, look.Err)
		}
		users, _ = look.Val.([]string)
	}
	out := make([]operation.UserID, len(users))
	for i, u := range users {
		out[i] = operation.UserID(u)
	}
	return out, nil
}

// Channel looks a channel up, now.
func (b *Bot) Channel(ctx context.Context, channel operation.ChannelID) (operation.Channel, error) {
	c, err := b.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: string(channel)})
	if err != nil {
		return operation.Channel{}, fmt.Errorf("look up channel %s: %w", channel, err)
	}
	if c.ID != string(channel) {
		return operation.Channel{}, fmt.Errorf("look up channel %s: Slack answered about %q", channel, c.ID)
	}
	return operation.Channel{ID: channel, Name: c.Name, Shared: shared(*c), Archived: c.IsArchived, Member: c.IsMember}, nil
}

// shared reports whether people of other organisations are in the channel, or
// were invited. Sharing among workspaces of one organisation does not count.
func shared(c slack.Channel) bool {
	return c.IsExtShared || c.IsPendingExtShared || len(c.PendingShared) > 0 || c.IsShared && !c.IsOrgShared
}

// groupName is what a user group is called, for the card. A name that cannot be
// found is empty; the card is posted all the same.
func (b *Bot) groupName(ctx context.Context, group operation.GroupID) string {
	groups, err := b.api.GetUserGroupsContext(ctx)
	if err != nil {
		b.log.WarnContext(ctx, "the approvers' group has no name on the card", "group", group, "error", err)
		return ""
	}
	for _, g := range groups {
		if g.ID == string(group) {
			return first(g.Name, g.Handle)
		}
	}
	return ""
}
