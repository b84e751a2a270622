package bot

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// ErrNotInChannel is returned by Publish where the bot can post nothing. Somebody
// has to invite it.
var ErrNotInChannel = errors.New("the bot is not in this channel")

// Publish answers a person for all to read: the title in the channel where they
// asked, what was found in its thread, and the document with it.
func (b *Bot) Publish(ctx context.Context, in Intent, title, found string, d operation.Document) error {
	channel, ts, err := b.api.PostMessageContext(ctx, string(in.Channel), Direct(title).options()...)
	if noPlace(err) {
		return fmt.Errorf("publish in %s: %w", in.Channel, ErrNotInChannel)
	}
	if err != nil {
		return fmt.Errorf("publish in %s: %w", in.Channel, err)
	}
	thread := slack.MsgOptionTS(ts)
	shown := Findings(found)
	_, _, err = b.api.PostMessageContext(ctx, channel, append(shown.options(), thread)...)
	if blocksRefused(err) { // not every workspace takes tables
		_, _, err = b.api.PostMessageContext(ctx, channel, append(shown.unless(true).options(), thread)...)
	}
	if err != nil {
		return fmt.Errorf("publish what was found: %w", err)
	}
	_, err = b.api.UploadFileContext(ctx, slack.UploadFileParameters{
		Reader: bytes.NewReader(d.Body), FileSize: len(d.Body), Filename: d.Name, Title: d.Title, Channel: channel, ThreadTimestamp: ts,
	})
	if err != nil {
		return fmt.Errorf("upload %s: %w", d.Name, err)
	}
	return nil
}
