package bot

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"
)

// event makes of a payload the event that slack-go makes of it.
func event(kind, payload string) (socketmode.Event, error) {
	e := socketmode.Event{Type: socketmode.EventType(kind), Request: &socketmode.Request{Type: kind, EnvelopeID: "env-1"}}
	switch kind {
	case "slash_commands":
		var c slack.SlashCommand
		err := json.Unmarshal([]byte(payload), &c)
		e.Data = c
		return e, err
	case "interactive":
		var c slack.InteractionCallback
		err := json.Unmarshal([]byte(payload), &c)
		e.Data = c
		return e, err
	default:
		ev, err := slackevents.ParseEvent([]byte(payload), slackevents.OptionNoVerifyToken())
		e.Data = ev
		return e, err
	}
}

func TestEnvelopesBecomeIntents(t *testing.T) {
	for name, tt := range map[string]struct {
		kind, payload string
		want          Intent
	}{
		"a command": {"slash_commands", `{"team_id":"T1","enterprise_id":"E1","channel_id":"C1","user_id":"U1","command":"/rotate","text":" sharepoint prod ","trigger_id":"1.2.3","api_app_id":"A1"}`,
			Intent{Envelope: "env-1", Kind: IntentCommand, User: "U1", Team: "T1", Enterprise: "E1", App: "A1", Channel: "C1", Command: "/rotate", Text: "sharepoint prod", Trigger: "1.2.3"}},
		"a button": {"interactive", `{"type":"block_actions","user":{"id":"U1","team_id":"T1"},"team":{"id":"T1"},"enterprise":null,"api_app_id":"A1","trigger_id":"1.2.3","container":{"type":"message","message_ts":"5.6","channel_id":"C1"},"channel":{"id":"C1"},"message":{"ts":"5.6"},"actions":[{"type":"button","block_id":"b","action_id":"confirm","value":"k7m2p9 3f9a"}]}`,
			Intent{Envelope: "env-1", Kind: IntentAction, User: "U1", Team: "T1", App: "A1", Channel: "C1", Trigger: "1.2.3", Message: "5.6", Action: "confirm", Value: "k7m2p9 3f9a"}},
		"a button in a thread": {"interactive", `{"type":"block_actions","user":{"id":"U1"},"team":{"id":"T1"},"container":{"message_ts":"5.7","channel_id":"C1","thread_ts":"5.6"},"actions":[{"type":"button","block_id":"b","action_id":"retry","value":"v"}]}`,
			Intent{Envelope: "env-1", Kind: IntentAction, User: "U1", Team: "T1", Channel: "C1", Message: "5.7", Thread: "5.6", Action: "retry", Value: "v"}},
		"a submission": {"interactive", `{"type":"view_submission","user":{"id":"U1"},"team":{"id":"T1"},"view":{"callback_id":"rotate","private_metadata":"m","state":{"values":{"server":{"server":{"type":"static_select","selected_option":{"value":"sharepoint"}}},"reason":{"reason":{"type":"plain_text_input","value":"because"}},"change":{"change":{"type":"plain_text_input","value":null}}}}}}`,
			Intent{Envelope: "env-1", Kind: IntentSubmission, User: "U1", Team: "T1", Callback: "rotate", Metadata: "m", Values: map[string]string{"server": "sharepoint", "reason": "because", "change": ""}}},
		"a closed modal": {"interactive", `{"type":"view_closed","user":{"id":"U1"},"team":{"id":"T1"},"view":{"callback_id":"deny","private_metadata":"m"}}`,
			Intent{Envelope: "env-1", Kind: IntentClosed, User: "U1", Team: "T1", Callback: "deny", Metadata: "m"}},
		"a shortcut": {"interactive", `{"type":"shortcut","callback_id":"rotate","user":{"id":"U1"},"team":{"id":"T1"},"trigger_id":"1.2"}`,
			Intent{Envelope: "env-1", Kind: IntentShortcut, User: "U1", Team: "T1", Callback: "rotate", Trigger: "1.2"}},
		"the Home tab": {"events_api", `{"type":"event_callback","team_id":"T1","api_app_id":"A1","event":{"type":"app_home_opened","user":"U1","channel":"D1","tab":"home"}}`,
			Intent{Envelope: "env-1", Kind: IntentHome, User: "U1", Team: "T1", App: "A1"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := event(tt.kind, tt.payload)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := intentOf(e)
			if !ok {
				t.Fatal("no intent")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatNobodyDidIsNoIntent(t *testing.T) {
	for name, tt := range map[string]struct{ kind, payload string }{
		"a command of nobody":       {"slash_commands", `{"command":"/rotate"}`},
		"a button without actions":  {"interactive", `{"type":"block_actions","user":{"id":"U1"},"actions":[]}`},
		"a menu that wants options": {"interactive", `{"type":"block_suggestion","user":{"id":"U1"}}`},
		"a message":                 {"events_api", `{"type":"event_callback","event":{"type":"message","user":"U1","text":"hi","channel":"C1"}}`},
		"the Messages tab":          {"events_api", `{"type":"event_callback","event":{"type":"app_home_opened","user":"U1","tab":"messages"}}`},
	} {
		e, err := event(tt.kind, tt.payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, ok := intentOf(e); ok {
			t.Errorf("%s became %+v", name, got)
		}
	}
	if _, ok := intentOf(socketmode.Event{Type: socketmode.EventTypeHello, Request: &socketmode.Request{}}); ok {
		t.Error("hello became an intent")
	}
}

func FuzzNoEnvelopeBreaksTheParser(f *testing.F) {
	f.Add("interactive", `{"type":"view_submission","user":{"id":"U1"},"view":{"state":{"values":{"a":{"b":{"value":"x"}}}}}}`)
	f.Add("interactive", `{"type":"block_actions","user":{"id":"U1"},"actions":[{"block_id":"b"}]}`)
	f.Add("slash_commands", `{"user_id":"U1","text":"x"}`)
	f.Add("events_api", `{"type":"event_callback","event":{"type":"app_home_opened","user":"U1","tab":"home"}}`)
	f.Fuzz(func(t *testing.T, kind, payload string) {
		e, err := event(kind, payload)
		if err != nil {
			return // refused, which is an answer
		}
		if in, ok := intentOf(e); ok && (in.User == "" || in.Envelope != "env-1" || in.Kind == "") {
			t.Errorf("an intent of nobody: %+v", in)
		}
	})
}
