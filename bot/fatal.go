package bot

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/slack-go/slack"
)

// Fatal is an error that no amount of trying again mends: a person has to change
// something in Slack or in the configuration.
type Fatal struct {
	Code string // Slack's
	Todo string // what to do about it, for the operator
	err  error
}

// Error implements error.
func (f *Fatal) Error() string {
	return fmt.Sprintf("slack refuses for good (%s): %s", f.Code, f.Todo)
}

// Unwrap returns what Slack answered.
func (f *Fatal) Unwrap() error { return f.err }

// fatal wraps err when Slack's answer is final; token names the token it is about.
func fatal(err error, token string) (*Fatal, bool) {
	if f, ok := errors.AsType[*Fatal](err); ok {
		return f, true
	}
	code := errorCode(err)
	if status, ok := errors.AsType[slack.StatusCodeError](err); ok && status.Code == http.StatusNotFound {
		return &Fatal{Code: "404", Todo: "there is no Slack API at the configured address; check slack.api_url", err: err}, true
	}
	todo := ""
	switch code {
	case "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive":
		todo = "the " + token + " is wrong, expired or revoked; make a new one on the app's page (api.slack.com/apps) and put it where the configuration points to"
	case "not_allowed_token_type":
		todo = "the " + token + " is of the wrong kind; the app-level token begins with xapp-, the bot token with xoxb-"
	case "missing_scope", "no_permission":
		todo = missingScope(err, token)
	case "link_disabled", "socket_mode_not_enabled":
		todo = socketModeTodo
	case "access_denied", "team_access_not_granted", "app_not_installed", "org_login_required", "enterprise_is_restricted", "team_added_to_org":
		todo = "the app may not act in this workspace; install it again from the app's page"
	default:
		return nil, false
	}
	return &Fatal{Code: code, Todo: todo, err: err}, true
}

const socketModeTodo = "Socket Mode seems to be switched off; switch it on under Settings > Socket Mode, or set socket_mode_enabled: true in the app's manifest"

func missingScope(err error, token string) string {
	needed := "connections:write"
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok && e.Needed != "" {
		needed = e.Needed
	}
	if strings.HasPrefix(needed, "connections:") {
		return "the " + token + " lacks the scope " + needed + "; make an app-level token with it under Settings > Basic Information"
	}
	return scopeTodo(strings.Split(needed, ","))
}

// scopeTodo names missing scopes as the lines that belong into the manifest.
func scopeTodo(missing []string) string {
	lines := make([]string, len(missing))
	for i, s := range missing {
		lines[i] = "- " + strings.TrimSpace(s)
	}
	return "the bot token lacks scopes; add to oauth_config.scopes.bot in the app's manifest\n  " +
		strings.Join(lines, "\n  ") + "\nand install the app again"
}

// Scopes lists the scopes of the bot token that the bot cannot do without. The
// manifest says what each is for.
func Scopes() []string {
	return []string{
		"bookmarks:read", "bookmarks:write", "channels:history", "channels:manage", "channels:read", "chat:write", "commands",
		"files:write", "groups:history", "groups:read", "groups:write", "im:write", "pins:write",
		"usergroups:read", "users:read", "users:read.email",
	}
}

// checkScopes compares what Slack says the token has with what is needed. Slack
// leaves the header out now and then; then the first refusal tells.
func checkScopes(header http.Header) error {
	granted := header.Get("X-OAuth-Scopes")
	if granted == "" {
		return nil
	}
	has := strings.FieldsFunc(granted, func(r rune) bool { return r == ',' || r == ' ' })
	var missing []string
	for _, s := range Scopes() {
		if !slices.Contains(has, s) {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &Fatal{Code: "missing_scope", Todo: scopeTodo(missing)}
}

// errorCode is Slack's word for what went wrong, or nothing.
func errorCode(err error) string {
	if e, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		return e.Err
	}
	return ""
}

// panicError is a panic that was caught.
type panicError struct {
	value any
	stack []byte
}

// Error implements error.
func (p panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }
