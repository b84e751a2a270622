package operation

import "context"

// Member is a chat account as looked up at one instant.
type Member struct {
	User        UserID
	Team        TeamID
	Enterprise  string
	Name        string // for people to read
	Email       string // the profile's confirmed address; empty when there is none
	Guest       bool   // restricted or ultra-restricted
	Bot         bool
	Deactivated bool
	Stranger    bool // of another organisation
}

// Channel is a chat channel as looked up at one instant.
type Channel struct {
	ID       ChannelID
	Name     string
	Shared   bool // with people outside the organisation, or about to be
	Archived bool
	Member   bool // the bot is in it
}

// Chat looks people and places up, at the source and now. What cannot be looked
// up is an error, and an error refuses.
type Chat interface {
	Member(ctx context.Context, user UserID) (Member, error)
	Group(ctx context.Context, group GroupID) ([]UserID, error)
	Channel(ctx context.Context, channel ChannelID) (Channel, error)
}

// Directory tells which human being an e-mail address belongs to, and whether
// their identity is enabled. None, or more than one, is an error.
type Directory interface {
	Person(ctx context.Context, email string) (person PersonID, enabled bool, err error)
}
