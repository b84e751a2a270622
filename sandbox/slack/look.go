package slack

import (
	"slices"
)

// Action is something that can be clicked in a message or a view.
type Action struct {
	BlockID  string `json:"block_id"`
	ActionID string `json:"action_id"`
	Type     string `json:"type"`
	Text     string `json:"text,omitempty"`
	Value    any    `json:"value,omitempty"`
}

func actionsOf(blocks []object) []Action {
	var out []Action
	for _, e := range elements(blocks) {
		kind, _ := e.Element["type"].(string)
		out = append(out, Action{BlockID: e.BlockID, ActionID: e.ActionID, Type: kind, Text: plain(e.Element["text"]), Value: e.Element["value"]})
	}
	return out
}

// Messages returns a channel's messages as somebody sees them, oldest first,
// with threads nested. Without a user, ephemeral messages are left out. The
// channel "@alice" is alice's DM with the bot.
func (s *Server) Messages(channel, user string) ([]Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch, err := s.channel(channel)
	if err != nil {
		return nil, err
	}
	viewer := ""
	if user != "" {
		u, err := s.user(user)
		if err != nil {
			return nil, err
		}
		viewer = u.ID
	}
	out := []Message{}
	at := map[string]int{}
	for _, m := range s.messages[ch.ID] {
		if m.Deleted || m.EphemeralTo != "" && m.EphemeralTo != viewer {
			continue
		}
		seen := m.clone()
		seen.Actions = actionsOf(m.Blocks)
		parent, nested := at[m.ThreadTS]
		if m.ThreadTS != "" && nested {
			out[parent].Replies = append(out[parent].Replies, seen)
			continue
		}
		at[m.TS] = len(out)
		out = append(out, seen)
	}
	return out, nil
}

// Thread returns a message and its replies, oldest first.
func (s *Server) Thread(channel, ts string) ([]Message, error) {
	all, err := s.Messages(channel, "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(m Message) bool { return m.TS == ts })
	if i < 0 {
		return nil, nil
	}
	replies := all[i].Replies
	all[i].Replies = nil
	return append([]Message{all[i]}, replies...), nil
}

// Ephemerals returns what only this person saw in a channel, oldest first.
func (s *Server) Ephemerals(channel, user string) ([]Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch, err := s.channel(channel)
	if err != nil {
		return nil, err
	}
	u, err := s.user(user)
	if err != nil {
		return nil, err
	}
	out := []Message{}
	for _, m := range s.messages[ch.ID] {
		if m.EphemeralTo == u.ID && !m.Deleted {
			out = append(out, m.clone())
		}
	}
	return out, nil
}

// Screen is what somebody has open.
type Screen struct {
	Modals []View `json:"modals"` // the visible one last
	Home   *View  `json:"home"`
}

// Views returns somebody's open modals and their Home tab.
func (s *Server) Views(user string) (Screen, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.user(user)
	if err != nil {
		return Screen{}, err
	}
	out := Screen{Modals: []View{}}
	for _, id := range s.stacks[u.ID] {
		out.Modals = append(out.Modals, s.views[id].public())
	}
	if v := s.views[s.homes[u.ID]]; v != nil {
		home := v.public()
		out.Home = &home
	}
	return out, nil
}

// Envelopes returns what was sent to the app so far, oldest first.
func (s *Server) Envelopes() []Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Envelope, 0, len(s.envelopes))
	for _, e := range s.envelopes {
		out = append(out, e.public())
	}
	return out
}
