package slack

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// User is one account: a person, a guest, a bot.
type User struct {
	ID       string `json:"id"`
	TeamID   string `json:"team_id"` // another team's id makes a stranger
	Name     string `json:"name"`    // "alice"
	RealName string `json:"real_name"`
	Email    string `json:"email,omitempty"`
	TZ       string `json:"tz,omitempty"`

	Enterprise      string `json:"enterprise_id,omitempty"`
	Deleted         bool   `json:"deleted"`
	Restricted      bool   `json:"restricted"`       // multi-channel guest
	UltraRestricted bool   `json:"ultra_restricted"` // single-channel guest
	Bot             bool   `json:"bot"`
	Admin           bool   `json:"admin"`
}

// Channel is a conversation.
type Channel struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"` // without "#"
	Members []string `json:"members"`
	Topic   string   `json:"topic"`
	Purpose string   `json:"purpose"`
	Creator string   `json:"creator,omitempty"`
	Created int64    `json:"created"` // seconds since 1970

	Private          bool   `json:"private"`
	Archived         bool   `json:"archived"`
	General          bool   `json:"general"`
	ExtShared        bool   `json:"ext_shared"`         // Slack Connect
	PendingExtShared bool   `json:"pending_ext_shared"` // invited, not yet accepted
	OrgShared        bool   `json:"org_shared"`         // between workspaces of one enterprise
	IM               bool   `json:"im"`
	User             string `json:"user,omitempty"` // the person of a DM with the bot

	// WithoutBot keeps the app's bot out when the channel is added.
	WithoutBot bool `json:"without_bot,omitempty"`
}

func (c *Channel) clone() Channel {
	out := *c
	out.Members = slices.Clone(c.Members)
	return out
}

// has reports whether the user is a member.
func (c *Channel) has(user string) bool { return slices.Contains(c.Members, user) }

// Group is a user group.
type Group struct {
	ID       string   `json:"id"`
	Handle   string   `json:"handle"` // "approvers"
	Name     string   `json:"name"`
	Users    []string `json:"users"`
	Disabled bool     `json:"disabled"`
	Created  int64    `json:"created"`
	Updated  int64    `json:"updated"`
}

func (g *Group) clone() Group {
	out := *g
	out.Users = slices.Clone(g.Users)
	return out
}

// AddUser adds an account and returns it with its id and team.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.ID == "" {
		u.ID = s.id("U")
	}
	if u.TeamID == "" {
		u.TeamID = s.team.ID
	}
	if u.RealName == "" {
		u.RealName = u.Name
	}
	s.users = append(s.users, &u)
	s.note("user", u)
	return u
}

// AddGroup adds a user group. Users may be ids or names; an unknown one is an
// error.
func (s *Server) AddGroup(g Group) (Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	users, err := s.userIDs(g.Users)
	if err != nil {
		return Group{}, err
	}
	if g.ID == "" {
		g.ID = s.id("S")
	}
	if g.Name == "" {
		g.Name = g.Handle
	}
	g.Users, g.Created, g.Updated = users, s.unix(), s.unix()
	s.groups = append(s.groups, &g)
	s.note("group", g.clone())
	return g.clone(), nil
}

// AddChannel adds a channel with the bot in it, unless WithoutBot. Members may
// be ids or names; an unknown one is an error.
func (s *Server) AddChannel(c Channel) (Channel, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addChannel(c)
}

func (s *Server) addChannel(c Channel) (Channel, error) {
	c.Name = strings.TrimPrefix(c.Name, "#")
	members, err := s.userIDs(c.Members)
	if err != nil {
		return Channel{}, err
	}
	if c.ID == "" {
		c.ID = s.id(map[bool]string{true: "D", false: "C"}[c.IM])
	}
	c.Members = members
	if !c.WithoutBot && !c.has(s.app.BotUser) {
		c.Members = append(c.Members, s.app.BotUser)
	}
	c.Created = s.unix()
	s.channels = append(s.channels, &c)
	s.note("channel", c.clone())
	return c.clone(), nil
}

// ErrUnknown is wrapped by every look-up of a name or id that is not there.
var ErrUnknown = errors.New("not in this workspace")

// UserID returns the id of a user given by id or name.
func (s *Server) UserID(nameOrID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.user(nameOrID)
	if err != nil {
		return "", err
	}
	return u.ID, nil
}

// ChannelID returns the id of a channel given by id or name, with or without "#".
func (s *Server) ChannelID(nameOrID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.channel(nameOrID)
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// GroupID returns the id of a user group given by id or handle.
func (s *Server) GroupID(handleOrID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(handleOrID)
	if err != nil {
		return "", err
	}
	return g.ID, nil
}

// ChangeUser changes an account given by id or name.
func (s *Server) ChangeUser(nameOrID string, change func(*User)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.user(nameOrID)
	if err != nil {
		return err
	}
	change(u)
	s.note("user", *u)
	return nil
}

// ChangeChannel changes a channel given by id or name.
func (s *Server) ChangeChannel(nameOrID string, change func(*Channel)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.channel(nameOrID)
	if err != nil {
		return err
	}
	change(c)
	s.note("channel", c.clone())
	return nil
}

// ChangeGroup takes people into a user group and out of it, by id or name.
func (s *Server) ChangeGroup(handleOrID string, add, remove []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(handleOrID)
	if err != nil {
		return err
	}
	in, err := s.userIDs(add)
	if err != nil {
		return err
	}
	out, err := s.userIDs(remove)
	if err != nil {
		return err
	}
	g.Users = slices.DeleteFunc(g.Users, func(id string) bool { return slices.Contains(out, id) || slices.Contains(in, id) })
	g.Users = append(g.Users, in...)
	g.Updated = s.unix()
	s.note("group", g.clone())
	return nil
}

func (s *Server) unix() int64 { return s.cond.Clock.Now().Unix() }

func (s *Server) user(nameOrID string) (*User, error) {
	name := strings.TrimPrefix(nameOrID, "@")
	for _, u := range s.users {
		if u.ID == name || u.Name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("user %q: %w", nameOrID, ErrUnknown)
}

// userByID is for what comes over the Web API, where names are no ids.
func (s *Server) userByID(id string) *User {
	i := slices.IndexFunc(s.users, func(u *User) bool { return u.ID == id })
	if i < 0 {
		return nil
	}
	return s.users[i]
}

func (s *Server) channel(nameOrID string) (*Channel, error) {
	name := strings.TrimPrefix(nameOrID, "#")
	for _, c := range s.channels {
		if c.ID == name || c.Name == name && !c.IM {
			return c, nil
		}
	}
	// "@alice" is the DM between alice and the bot.
	if strings.HasPrefix(nameOrID, "@") {
		if u, err := s.user(nameOrID); err == nil {
			return s.directMessage(u.ID), nil
		}
	}
	return nil, fmt.Errorf("channel %q: %w", nameOrID, ErrUnknown)
}

func (s *Server) channelByID(id string) *Channel {
	i := slices.IndexFunc(s.channels, func(c *Channel) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return s.channels[i]
}

func (s *Server) group(handleOrID string) (*Group, error) {
	name := strings.TrimPrefix(handleOrID, "@")
	for _, g := range s.groups {
		if g.ID == name || g.Handle == name {
			return g, nil
		}
	}
	return nil, fmt.Errorf("user group %q: %w", handleOrID, ErrUnknown)
}

func (s *Server) userIDs(names []string) ([]string, error) {
	ids := make([]string, 0, len(names))
	for _, n := range names {
		u, err := s.user(n)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, u.ID) {
			ids = append(ids, u.ID)
		}
	}
	return ids, nil
}

// directMessage returns the DM between the bot and a user, opening it if needed.
func (s *Server) directMessage(user string) *Channel {
	for _, c := range s.channels {
		if c.IM && c.User == user {
			return c
		}
	}
	c := &Channel{ID: s.id("D"), IM: true, User: user, Members: []string{user, s.app.BotUser}, Created: s.unix()}
	s.channels = append(s.channels, c)
	s.note("channel", c.clone())
	return c
}

// stranger reports whether somebody is of another workspace and in no channel
// that this workspace shares.
func (s *Server) stranger(u *User) bool {
	if u.TeamID == s.team.ID || u.Enterprise != "" && u.Enterprise == s.team.Enterprise {
		return false
	}
	return !slices.ContainsFunc(s.channels, func(c *Channel) bool { return !c.IM && c.has(u.ID) })
}

// wireUser is a user as users.info gives it.
func (s *Server) wireUser(u *User, withEmail bool) object {
	profile := object{
		"real_name": u.RealName, "real_name_normalized": u.RealName, "display_name": u.Name, "display_name_normalized": u.Name,
		"team": u.TeamID, "status_text": "", "status_emoji": "", "avatar_hash": "",
	}
	if withEmail && u.Email != "" && !s.foreign(u) {
		profile["email"] = u.Email
	}
	out := object{
		"id": u.ID, "team_id": u.TeamID, "name": u.Name, "deleted": u.Deleted, "profile": profile,
		"is_bot": u.Bot, "is_app_user": false, "updated": s.unix(),
	}
	if u.Deleted { // Slack drops the rest of a deactivated account
		return out
	}
	tz := u.TZ
	if tz == "" {
		tz = "Europe/Berlin"
	}
	for k, v := range (object{
		"real_name": u.RealName, "tz": tz, "tz_label": "Central European Time", "tz_offset": 3600, "color": "9f69e7",
		"is_admin": u.Admin, "is_owner": false, "is_primary_owner": false, "is_email_confirmed": true,
		"is_restricted": u.Restricted || u.UltraRestricted, "is_ultra_restricted": u.UltraRestricted, "who_can_share_contact_card": "EVERYONE",
	}) {
		out[k] = v
	}
	if u.TeamID != s.team.ID {
		out["is_stranger"] = s.stranger(u)
	}
	if u.Enterprise != "" {
		out["enterprise_user"] = object{"id": u.ID, "enterprise_id": u.Enterprise, "enterprise_name": u.Enterprise, "is_admin": u.Admin, "is_owner": false, "teams": []string{u.TeamID}}
	}
	if u.Bot {
		profile["bot_id"], profile["api_app_id"] = s.app.BotID, s.app.ID
	}
	return out
}

// foreign reports whether somebody belongs to another organisation.
func (s *Server) foreign(u *User) bool {
	return u.TeamID != s.team.ID && (u.Enterprise == "" || u.Enterprise != s.team.Enterprise)
}

// wireChannel is a channel as conversations.info gives it.
func (s *Server) wireChannel(c *Channel) object {
	if c.IM {
		return object{
			"id": c.ID, "created": c.Created, "is_im": true, "is_org_shared": false, "user": c.User, "is_archived": false,
			"is_user_deleted": s.userByID(c.User) != nil && s.userByID(c.User).Deleted, "is_open": true, "priority": 0, "context_team_id": s.team.ID,
		}
	}
	return object{
		"id": c.ID, "name": c.Name, "name_normalized": c.Name, "created": c.Created, "updated": c.Created * 1000, "creator": c.Creator,
		"is_channel": true, "is_group": false, "is_im": false, "is_mpim": false, "is_private": c.Private,
		"is_archived": c.Archived, "is_general": c.General, "is_member": c.has(s.app.BotUser),
		"is_shared": c.ExtShared || c.OrgShared, "is_ext_shared": c.ExtShared, "is_org_shared": c.OrgShared,
		"is_pending_ext_shared": c.PendingExtShared, "pending_shared": []string{}, "pending_connected_team_ids": []string{},
		"context_team_id": s.team.ID, "shared_team_ids": []string{s.team.ID}, "unlinked": 0, "previous_names": []string{},
		"topic":   object{"value": c.Topic, "creator": "", "last_set": 0},
		"purpose": object{"value": c.Purpose, "creator": "", "last_set": 0},
	}
}

// wireGroup is a user group as usergroups.list gives it.
func (s *Server) wireGroup(g *Group, withUsers bool) object {
	out := object{
		"id": g.ID, "team_id": s.team.ID, "is_usergroup": true, "is_subteam": true, "name": g.Name, "handle": g.Handle, "description": "",
		"is_external": false, "date_create": g.Created, "date_update": g.Updated, "date_delete": 0, "auto_type": nil,
		"created_by": s.app.BotUser, "updated_by": s.app.BotUser, "deleted_by": nil, "user_count": len(g.Users),
		"prefs": object{"channels": []string{}, "groups": []string{}},
	}
	if g.Disabled {
		out["date_delete"] = g.Updated
	}
	if withUsers {
		out["users"] = slices.Clone(g.Users)
	}
	return out
}

// tokenKind tells a bot's token from an app's.
type tokenKind string

const (
	botToken tokenKind = "bot"
	appToken tokenKind = "app"
)

// token is a credential of the app and what has become of it.
type token struct {
	Kind   tokenKind
	Scopes []string
	Error  string // what Slack answers instead: token_revoked, account_inactive, token_expired
}

// TokenState is a token as the state shows it.
type TokenState struct {
	Kind   string   `json:"kind"`
	Scopes []string `json:"scopes"`
	Error  string   `json:"error,omitempty"`
}

// BotToken returns the bot's token ("xoxb-…").
func (s *Server) BotToken() string { return s.tokenOf(botToken) }

// AppToken returns the app-level token ("xapp-…").
func (s *Server) AppToken() string { return s.tokenOf(appToken) }

func (s *Server) tokenOf(kind tokenKind) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, t := range s.tokens {
		if t.Kind == kind {
			return text
		}
	}
	return ""
}

// SetTokens replaces the texts of both tokens, keeping their scopes.
func (s *Server) SetTokens(bot, app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	renamed := make(map[string]*token, len(s.tokens))
	for _, t := range s.tokens {
		renamed[map[tokenKind]string{botToken: bot, appToken: app}[t.Kind]] = t
	}
	s.tokens = renamed
}

// SetScopes replaces the scopes of the bot's token.
func (s *Server) SetScopes(scopes ...string) {
	s.changeToken(botToken, func(t *token) { t.Scopes = slices.Clone(scopes) })
}

// RefuseToken makes Slack answer the bot's ("bot") or the app's ("app") token
// with an error such as "token_revoked"; the empty one accepts it again.
// Sockets that are open stay open, as they do in Slack.
func (s *Server) RefuseToken(kind, slackError string) {
	s.changeToken(tokenKind(kind), func(t *token) { t.Error = slackError })
}

func (s *Server) changeToken(kind tokenKind, change func(*token)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if t.Kind == kind {
			change(t)
			s.note("token", TokenState{Kind: string(t.Kind), Scopes: t.Scopes, Error: t.Error})
		}
	}
}

// defaultScopes are those that the methods served here ask for.
func defaultScopes() []string {
	return []string{
		"app_mentions:read", "bookmarks:read", "bookmarks:write", "channels:history", "channels:join", "channels:manage", "channels:read",
		"chat:write", "commands", "files:read", "files:write", "groups:history", "groups:read", "groups:write", "im:history", "im:read",
		"im:write", "pins:read", "pins:write", "reactions:write", "usergroups:read", "users:read", "users:read.email", "users.profile:read",
	}
}

// slackTime formats an instant as a message's ts.
func slackTime(t time.Time) string {
	return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)
}
