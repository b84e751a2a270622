package bot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// eventType marks our messages' metadata. Everybody in the workspace can read it,
// so it holds ids only.
const eventType = "twokey_notice"

// reminderMark names the message of a round, or that of one of its reminders.
func reminderMark(n operation.Notice) string { return fmt.Sprintf("%d/%d", n.Round, n.Reminder) }

// leftoverMark names the message of a leftover.
func leftoverMark(n operation.Notice) string { return fmt.Sprint(n.Leftover) }

func metadata(n operation.Notice, op operation.Operation) slack.SlackMetadata {
	payload := map[string]any{"key": n.Key, "kind": string(n.Kind), "operation": string(n.Operation), "digest": string(op.Digest)}
	if n.Round != 0 {
		payload["reminder"] = reminderMark(n)
	}
	if n.Leftover != 0 {
		payload["leftover"] = leftoverMark(n)
	}
	return slack.SlackMetadata{EventType: eventType, EventPayload: payload}
}

// pages and pageSize bound how far back a channel is read.
const (
	pages    = 10
	pageSize = 100
)

// find looks for messages that tell the notice already, oldest first. chat.postMessage
// has no key that would make it repeatable: reading back is the only way to know.
func (p *poster) find(ctx context.Context, n operation.Notice, spot place) ([]operation.MessageID, error) {
	self, err := p.b.identity(ctx)
	if err != nil {
		return nil, err
	}
	var ids []operation.MessageID
	cursor := ""
	for range pages {
		msgs, next, err := p.page(ctx, spot, cursor)
		if err != nil {
			return nil, fmt.Errorf("look whether %s was posted: %w", n.Key, err)
		}
		for _, m := range msgs {
			if (m.User == self.UserID || m.BotID == self.BotID && m.BotID != "") && shows(m, n, spot) {
				ids = append(ids, operation.MessageID(m.Timestamp))
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	slices.Sort(ids) // timestamps of one length: text order is time order
	return ids, nil
}

func (p *poster) page(ctx context.Context, spot place, cursor string) ([]slack.Message, string, error) {
	if spot.thread != "" {
		msgs, _, next, err := p.b.poster.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
			ChannelID: string(spot.channel), Timestamp: string(spot.thread), Cursor: cursor, Limit: pageSize, IncludeAllMetadata: true,
		})
		return msgs, next, err
	}
	h, err := p.b.poster.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
		ChannelID: string(spot.channel), Cursor: cursor, Limit: pageSize, IncludeAllMetadata: true,
	})
	if err != nil {
		return nil, "", err
	}
	return h.Messages, h.ResponseMetaData.NextCursor, nil
}

// shows reports whether a message tells the notice.
func shows(m slack.Message, n operation.Notice, spot place) bool {
	return tells(m.Metadata, n) || isFile(n.Kind) && strings.Contains(m.Text, fileMark(spot.document, spot.op))
}

// tells reports whether a message's metadata is that of the notice. An operation
// has one card and one status, whichever notice posted them.
func tells(m slack.SlackMetadata, n operation.Notice) bool {
	if m.EventType != eventType {
		return false
	}
	if surface(n.Kind) {
		same := m.EventPayload["kind"] == string(n.Kind) && m.EventPayload["operation"] == string(n.Operation)
		return same && (n.Round == 0 || m.EventPayload["reminder"] == reminderMark(n)) && (n.Leftover == 0 || m.EventPayload["leftover"] == leftoverMark(n))
	}
	return m.EventPayload["key"] == n.Key
}

func firstOf(ids []operation.MessageID) operation.MessageID {
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// keepFirst looks again after posting in doubt: the message of the try before may
// have arrived late. The earliest stays, whoever looks, so two posters that
// look at the same time never delete both.
func (p *poster) keepFirst(ctx context.Context, n operation.Notice, spot place, id operation.MessageID) operation.MessageID {
	ids, err := p.find(ctx, n, spot)
	if err != nil {
		p.b.log.WarnContext(ctx, "no telling whether a message is there twice", "notice", n.Key, "error", err)
		return id
	}
	earliest := firstOf(ids)
	if earliest == "" || id == "" || earliest >= id {
		return id
	}
	if _, _, err := p.b.poster.DeleteMessageContext(ctx, string(spot.channel), string(id)); err != nil {
		p.b.log.WarnContext(ctx, "a message is there twice", "notice", n.Key, "message", id, "error", err)
	}
	return earliest
}

// undouble cleans up after the claim was lost while the message was on its way:
// somebody else tells the notice too.
func (p *poster) undouble(ctx context.Context, n operation.Notice, spot place, id operation.MessageID) {
	if id == "" {
		return
	}
	if spot.edit == "" {
		p.keepFirst(ctx, n, spot, id)
		return
	}
	p.showNow(ctx, n)
}

// withdraw cleans up when the claim was lost before it was known whether the
// message arrived: this process slept. Whoever took over tells the notice, so of
// all that tell it the earliest stays.
func (p *poster) withdraw(ctx context.Context, n operation.Notice, spot place) {
	if spot.edit != "" {
		p.showNow(ctx, n)
		return
	}
	if !readable(n.Kind) {
		return
	}
	ids, err := p.find(ctx, n, spot)
	for _, id := range ids[min(1, len(ids)):] {
		_, _, gone := p.b.poster.DeleteMessageContext(ctx, string(spot.channel), string(id))
		err = errors.Join(err, gone)
	}
	if err != nil {
		p.b.log.WarnContext(ctx, "a message may be there twice", "notice", n.Key, "error", err)
	}
}

// showNow edits the card once more: an edit of ours may have come late and covered
// a newer one.
func (p *poster) showNow(ctx context.Context, n operation.Notice) {
	p.mu.Lock()
	delete(p.shown, sightOf(n))
	p.mu.Unlock()
	spot, err := p.place(ctx, n)
	if err == nil && spot.edit != "" {
		n.Claim = 0 // another has the notice now
		_, err = p.edit(ctx, n, spot, false)
	}
	if err != nil {
		p.b.log.WarnContext(ctx, "a card may show an older state until its next edit", "operation", n.Operation, "error", err)
	}
}
