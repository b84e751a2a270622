package bot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Checkup asks Slack what the bot may do, and changes nothing. Its errors are
// [*Fatal] where a person has to act.
type Checkup struct{ bot *Bot }

// NewCheckup prepares a checkup of what c names. It needs no inbox.
func NewCheckup(c Config) (*Checkup, error) {
	c.Inbox = nobody{}
	b, err := New(c)
	if err != nil {
		return nil, err
	}
	return &Checkup{b}, nil
}

// nobody is the inbox of a bot that opens no connection.
type nobody struct{}

// Receive implements Inbox.
func (nobody) Receive(context.Context, []Intent) error {
	return errors.New("a checkup takes no intents")
}

// Installation is what Slack says of the bot token.
type Installation struct {
	Team, User string
	Scopes     []string  // that were granted; empty when Slack did not say
	At         time.Time // Slack's clock; zero when Slack did not say
}

// Installation asks who the bot token makes the bot.
func (c *Checkup) Installation(ctx context.Context) (Installation, error) {
	self, err := c.bot.api.AuthTestContext(ctx)
	if err != nil {
		return Installation{}, explained(err, botToken)
	}
	at, err := http.ParseTime(self.Header.Get("Date"))
	if err != nil {
		at = time.Time{}
	}
	granted := strings.FieldsFunc(self.Header.Get("X-OAuth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
	return Installation{Team: self.Team, User: self.User, Scopes: granted, At: at}, nil
}

// MayConnect asks for the address of a connection with the app-level token, and
// opens none.
func (c *Checkup) MayConnect(ctx context.Context) error {
	_, _, err := c.bot.poster.StartSocketModeContext(ctx)
	return explained(err, appToken)
}

// Member looks a person up, as the bot does.
func (c *Checkup) Member(ctx context.Context, user operation.UserID) (operation.Member, error) {
	m, err := c.bot.Member(ctx, user)
	return m, explained(err, botToken)
}

// Group lists a user group's members, as the bot does.
func (c *Checkup) Group(ctx context.Context, group operation.GroupID) ([]operation.UserID, error) {
	users, err := c.bot.Group(ctx, group)
	return users, explained(err, botToken)
}

// Channel looks a channel up, as the bot does.
func (c *Checkup) Channel(ctx context.Context, channel operation.ChannelID) (operation.Channel, error) {
	found, err := c.bot.Channel(ctx, channel)
	return found, explained(err, botToken)
}

// explained makes what Slack refuses for good a [*Fatal] with what to do.
func explained(err error, token string) error {
	if err == nil {
		return nil
	}
	if f, ok := fatal(err, token); ok {
		return f
	}
	todo := ""
	switch code := errorCode(err); code {
	case "channel_not_found":
		todo = "correct the channel's id in the configuration, or, if it is private, invite the bot into it: /invite @twokey"
	case "no_such_subteam", "subteam_not_found":
		todo = "correct the group's id in the configuration (in Slack: the group's ⋮ menu, Copy group ID)"
	default:
		return err
	}
	return &Fatal{Code: errorCode(err), Todo: todo, err: err}
}

// Remedy is what Slack refuses with, and what to do about it.
func (f *Fatal) Remedy() (seen, todo string) {
	seen = fmt.Sprintf("Slack answers %s", f.Code)
	if e, ok := errors.AsType[slack.SlackErrorResponse](f.err); ok && e.Needed != "" {
		seen += ", needed: " + e.Needed
	}
	return seen, f.Todo
}
