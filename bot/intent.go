package bot

import (
	"strings"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"github.com/twokey/twokey/operation"
)

// IntentKind says what a person did.
type IntentKind string

// Kinds of intents.
const (
	IntentCommand    IntentKind = "command"
	IntentAction     IntentKind = "action"     // a button or menu
	IntentSubmission IntentKind = "submission" // of a modal
	IntentClosed     IntentKind = "closed"     // a modal
	IntentShortcut   IntentKind = "shortcut"
	IntentHome       IntentKind = "home" // the app's Home tab was opened
)

// Intent is one thing that a person did, as Slack's envelope tells it. Who did it
// is User and nothing else: Value, Metadata and Values come from outside.
type Intent struct {
	Envelope   string // envelope_id; the same again is the same intent
	Kind       IntentKind
	User       operation.UserID
	Team       operation.TeamID
	Enterprise string
	App        string // api_app_id
	Channel    operation.ChannelID
	Command    string // "/rotate"
	Text       string // what follows the command
	Trigger    string // trigger_id: opens one modal within three seconds
	Action     string // action_id
	Value      string // the button's value, forgeable
	Message    operation.MessageID
	Thread     operation.MessageID
	Private    bool              // the message is seen by this person alone
	Reply      string            // response_url: replaces that message, for half an hour
	Callback   string            // callback_id
	Metadata   string            // private_metadata, forgeable
	Values     map[string]string // of a submission: action_id to text or chosen option
	At         time.Time         // when it arrived here
}

// intentOf reads an event of the socket. It reports false for what no person did
// and for what the bot has no use for.
func intentOf(e socketmode.Event) (Intent, bool) {
	var in Intent
	ok := false
	switch data := e.Data.(type) {
	case slack.SlashCommand:
		in, ok = fromCommand(data), true
	case slack.InteractionCallback:
		in, ok = fromInteraction(data)
	case slackevents.EventsAPIEvent:
		in, ok = fromEvent(data)
	}
	if !ok || in.User == "" || e.Request == nil {
		return Intent{}, false
	}
	in.Envelope = e.Request.EnvelopeID
	return in, in.Envelope != ""
}

func fromCommand(c slack.SlashCommand) Intent {
	return Intent{
		Kind: IntentCommand, User: operation.UserID(c.UserID), Team: operation.TeamID(c.TeamID), Enterprise: c.EnterpriseID,
		App: c.APIAppID, Channel: operation.ChannelID(c.ChannelID), Command: c.Command, Text: strings.TrimSpace(c.Text), Trigger: c.TriggerID,
	}
}

func fromInteraction(c slack.InteractionCallback) (Intent, bool) {
	in := Intent{
		User: operation.UserID(c.User.ID), Team: operation.TeamID(c.Team.ID), Enterprise: c.Enterprise.ID,
		App: c.APIAppID, Channel: operation.ChannelID(first(c.Channel.ID, c.Container.ChannelID)), Trigger: c.TriggerID, Callback: c.CallbackID,
		Message: operation.MessageID(first(c.Message.Timestamp, c.Container.MessageTs)),
		Thread:  operation.MessageID(first(c.Message.ThreadTimestamp, c.Container.ThreadTs)),
	}
	switch c.Type {
	case slack.InteractionTypeBlockActions:
		if len(c.ActionCallback.BlockActions) == 0 {
			return Intent{}, false
		}
		a := c.ActionCallback.BlockActions[0] // Slack sends one
		in.Kind, in.Action, in.Value = IntentAction, a.ActionID, valueOf(*a)
		in.Callback, in.Metadata = c.View.CallbackID, c.View.PrivateMetadata
		in.Private, in.Reply = c.Container.IsEphemeral || strings.HasPrefix(string(in.Channel), "D"), c.ResponseURL
	case slack.InteractionTypeViewSubmission:
		in.Kind, in.Callback, in.Metadata, in.Values = IntentSubmission, c.View.CallbackID, c.View.PrivateMetadata, valuesOf(c.View.State)
	case slack.InteractionTypeViewClosed:
		in.Kind, in.Callback, in.Metadata = IntentClosed, c.View.CallbackID, c.View.PrivateMetadata
	case slack.InteractionTypeShortcut, slack.InteractionTypeMessageAction:
		in.Kind = IntentShortcut
	default:
		return Intent{}, false
	}
	return in, true
}

func fromEvent(e slackevents.EventsAPIEvent) (Intent, bool) {
	opened, ok := e.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent)
	if !ok || opened == nil || opened.Tab != "home" {
		return Intent{}, false
	}
	return Intent{
		Kind: IntentHome, User: operation.UserID(opened.User), Team: operation.TeamID(e.TeamID),
		Enterprise: e.EnterpriseID, App: e.APIAppID,
	}, true
}

// valuesOf flattens a modal's state. Our modals name each input once.
func valuesOf(state *slack.ViewState) map[string]string {
	out := map[string]string{}
	if state == nil {
		return out
	}
	for _, block := range state.Values {
		for id, a := range block {
			out[id] = valueOf(a)
		}
	}
	return out
}

// valueOf is what was typed or chosen; an instant as RFC 3339.
func valueOf(a slack.BlockAction) string {
	if a.SelectedDateTime != 0 {
		return time.Unix(a.SelectedDateTime, 0).UTC().Format(time.RFC3339)
	}
	return first(a.Value, a.SelectedOption.Value)
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
