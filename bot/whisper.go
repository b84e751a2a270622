package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Whisper tells one person something that is nobody else's business: where they
// did what they did, or in a direct message where that is impossible. The text
// may name people and channels as <@U…> and <#C…>.
func (b *Bot) Whisper(ctx context.Context, in Intent, text string) error {
	return b.private(ctx, in, Direct(text))
}

func (b *Bot) private(ctx context.Context, in Intent, m Message) error {
	err := errNoPlace
	if in.Channel != "" && !strings.HasPrefix(string(in.Channel), "D") {
		err = b.ephemeral(ctx, in, m)
	}
	if noPlace(err) {
		err = b.direct(ctx, in.User, m)
	}
	if err != nil {
		return fmt.Errorf("tell %s: %w", in.User, err)
	}
	return nil
}

// errNoPlace stands for a channel in which nothing can be whispered.
var errNoPlace = errors.New("no channel to whisper in")

func (b *Bot) ephemeral(ctx context.Context, in Intent, m Message) error {
	options := m.options()
	if in.Thread != "" {
		options = append(options, slack.MsgOptionTS(string(in.Thread)))
	}
	_, err := b.api.PostEphemeralContext(ctx, string(in.Channel), string(in.User), options...)
	return err
}

// noPlace reports whether the person can be told, but not in that channel.
func noPlace(err error) bool {
	if errors.Is(err, errNoPlace) {
		return true
	}
	switch errorCode(err) {
	case "not_in_channel", "channel_not_found", "user_not_in_channel", "is_archived",
		"restricted_action", "no_permission", "method_not_supported_for_channel_type", "thread_not_found":
		return true
	}
	return false
}

func (b *Bot) direct(ctx context.Context, user operation.UserID, m Message) error {
	channel, err := b.directChannel(ctx, b.api, user)
	if err != nil {
		return err
	}
	_, _, err = b.api.PostMessageContext(ctx, string(channel), m.options()...)
	return err
}

// directChannel opens the conversation between the bot and a person.
func (b *Bot) directChannel(ctx context.Context, api *slack.Client, user operation.UserID) (operation.ChannelID, error) {
	c, _, _, err := api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{string(user)}, ReturnIM: true})
	if err != nil {
		return "", fmt.Errorf("open a direct message with %s: %w", user, err)
	}
	if c == nil || c.ID == "" {
		return "", fmt.Errorf("open a direct message with %s: Slack named no channel", user)
	}
	return operation.ChannelID(c.ID), nil
}

// options are what every message of ours is sent with: text and blocks, and
// nothing unfolded that somebody's words might link to.
func (m Message) options() []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
}
