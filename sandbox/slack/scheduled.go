package slack

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"
)

// Scheduled is a message that chat.scheduleMessage keeps for later. Its time never
// comes here: it stays until chat.deleteScheduledMessage takes it away.
type Scheduled struct {
	ID      string    `json:"id"`
	Channel string    `json:"channel_id"`
	PostAt  int64     `json:"post_at"` // seconds since 1970
	Text    string    `json:"text"`
	Blocks  []object  `json:"blocks,omitempty"`
	Created time.Time `json:"date_created"`
}

// Slack's limits of what can be scheduled.
const (
	farthest    = 120 * 24 * time.Hour
	window      = 5 * 60 // seconds in which no more than mostAtOnce may be due in a channel
	mostAtOnce  = 30
	listedAtAll = 100
)

func (c *call) scheduleMessage() (object, error) {
	ch, err := c.writable(c.p.text("channel"))
	if err != nil {
		return nil, err
	}
	at, err := strconv.ParseInt(c.p.text("post_at"), 10, 64)
	if err != nil {
		return nil, refuse("invalid_time")
	}
	now := c.cond.Clock.Now()
	switch ahead := at - now.Unix(); {
	case ahead <= 0:
		return nil, refuse("time_in_past")
	case ahead > int64(farthest/time.Second):
		return nil, refuse("time_too_far")
	}
	body, err := c.content()
	if err != nil {
		return nil, err
	}
	due := 0
	for _, m := range c.scheduled {
		if m.Channel == ch.ID && m.PostAt/window == at/window {
			due++
		}
	}
	if due >= mostAtOnce {
		return nil, refuse("restricted_too_many")
	}
	m := &Scheduled{ID: c.id("Q"), Channel: ch.ID, PostAt: at, Text: cut(body.text, maxText), Blocks: body.blocks, Created: now}
	c.scheduled = append(c.scheduled, m)
	c.note("scheduled", *m)
	return object{"channel": ch.ID, "scheduled_message_id": m.ID, "post_at": m.PostAt, "message": object{
		"type": "delayed_message", "subtype": "bot_message", "text": m.Text, "bot_id": c.app.BotID,
	}}, nil
}

func (c *call) deleteScheduledMessage() (object, error) {
	ch := c.channelByID(c.p.text("channel"))
	if ch == nil || ch.Private && !ch.has(c.app.BotUser) {
		return nil, refuse("channel_not_found")
	}
	i := slices.IndexFunc(c.scheduled, func(m *Scheduled) bool { return m.ID == c.p.text("scheduled_message_id") && m.Channel == ch.ID })
	if i < 0 {
		return nil, refuse("invalid_scheduled_message_id")
	}
	c.note("unscheduled", *c.scheduled[i])
	c.scheduled = slices.Delete(c.scheduled, i, i+1)
	return object{}, nil
}

func (c *call) listScheduledMessages() (object, error) {
	oldest, latest := c.p.number("oldest", 0), c.p.number("latest", math.MaxInt)
	if oldest > latest {
		return nil, refuse("invalid_arguments")
	}
	out := []object{}
	for _, m := range slices.SortedFunc(slices.Values(c.scheduled), func(a, b *Scheduled) int { return cmp.Compare(a.PostAt, b.PostAt) }) {
		if channel := c.p.text("channel"); channel != "" && channel != m.Channel || m.PostAt < int64(oldest) || m.PostAt > int64(latest) {
			continue
		}
		out = append(out, object{"id": m.ID, "channel_id": m.Channel, "post_at": m.PostAt, "date_created": m.Created.Unix(), "text": m.Text})
	}
	from, _ := strconv.Atoi(c.p.text("cursor")) // our own
	from = min(max(from, 0), len(out))
	to, next := min(from+c.p.number("limit", listedAtAll), len(out)), ""
	if to < len(out) {
		next = strconv.Itoa(to)
	}
	return object{"scheduled_messages": out[from:to], "response_metadata": object{"next_cursor": next}}, nil
}

// ScheduledMessages returns what waits for its time.
func (s *Server) ScheduledMessages() []Scheduled {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Scheduled{}
	for _, m := range s.scheduled {
		out = append(out, *m)
	}
	return out
}
