package bot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Answer shows one person something that is nobody else's business: in place of the
// answer whose button they clicked, or else where Whisper tells it.
func (b *Bot) Answer(ctx context.Context, in Intent, m Message) error {
	if in.Private && in.Reply != "" {
		err := slack.PostWebhookCustomHTTPContext(ctx, in.Reply, b.c.HTTPClient, &slack.WebhookMessage{
			Text: m.Text, Blocks: &slack.Blocks{BlockSet: m.Blocks}, ReplaceOriginal: true,
		})
		if err == nil {
			return nil
		}
		// The address lives half an hour and takes five answers: what is older is
		// answered anew. Whoever reads the log shall not have the address.
		if sent, ok := errors.AsType[*url.Error](err); ok {
			err = sent.Err
		}
		b.log.InfoContext(ctx, "an answer could not be replaced, so it is given anew", "user", in.User, "error", err)
	}
	return b.private(ctx, in, m)
}

// Share shows everybody in the channel what one person has before them.
func (b *Bot) Share(ctx context.Context, in Intent, m Message) error {
	_, _, err := b.api.PostMessageContext(ctx, string(in.Channel), m.options()...)
	if noPlace(err) {
		return fmt.Errorf("share in %s: %w", in.Channel, ErrNotInChannel)
	}
	if err != nil {
		return fmt.Errorf("share in %s: %w", in.Channel, err)
	}
	return nil
}

// SendFile gives one person a document, in a direct message.
func (b *Bot) SendFile(ctx context.Context, user operation.UserID, d operation.Document) error {
	channel, err := b.directChannel(ctx, b.api, user)
	if err != nil {
		return err
	}
	_, err = b.api.UploadFileContext(ctx, slack.UploadFileParameters{
		Reader: bytes.NewReader(d.Body), FileSize: len(d.Body), Filename: d.Name, Title: d.Title, Channel: string(channel),
	})
	if err != nil {
		return fmt.Errorf("upload %s: %w", d.Name, err)
	}
	return nil
}

// PublishHome shows a person their Home tab.
func (b *Bot) PublishHome(ctx context.Context, user operation.UserID, h Home) error {
	_, err := b.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: string(user), View: h.view()})
	if err != nil {
		return fmt.Errorf("publish the Home tab of %s: %w", user, err)
	}
	return nil
}

// Link is a message's address; empty when Slack does not say it.
func (b *Bot) Link(ctx context.Context, channel operation.ChannelID, message operation.MessageID) string {
	if channel == "" || message == "" {
		return ""
	}
	address, err := b.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: string(channel), Ts: string(message)})
	if err != nil {
		b.log.WarnContext(ctx, "a message has no address", "channel", channel, "message", message, "error", err)
		return ""
	}
	return address
}
