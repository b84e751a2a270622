package bot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Callbacks of the modals.
const (
	CallbackRotate    = "rotate"
	CallbackDeny      = "deny"
	CallbackTyped     = "typed"
	CallbackEmergency = "emergency"
	// ShortcutEmergency is the shortcut in a message's menu, as the manifest has it.
	ShortcutEmergency = "emergency_disable"
	CallbackSnooze    = "snooze"
)

// Inputs of the modals: the keys of [Intent.Values].
const (
	InputServer      = "server"
	InputEnvironment = "environment"
	InputChange      = "change_reference"
	InputReason      = "reason"
	InputTyped       = "typed"
	InputCode        = "code"   // of the authenticator app
	InputKey         = "key"    // KeyInUse, KeyAll or KeyOther
	InputKeyID       = "key_id" // of KeyOther
	InputSince       = "since"  // RFC 3339 in UTC
	InputUntil       = "until"  // RFC 3339 in UTC
)

// Which key is meant: values of [InputKey].
const (
	KeyInUse = "in use"
	KeyAll   = "all"
	KeyOther = "other"
)

// ErrTriggerExpired is returned by OpenModal when the three seconds in which Slack
// lets an app open a modal are over. The person has to click again.
var ErrTriggerExpired = errors.New("the modal came too late")

// Modal is a form for one person.
type Modal struct {
	Callback string
	Metadata string // comes back with the submission, forgeable
	Title    string // at most 24 characters
	Submit   string // at most 24 characters
	Intro    string
	Inputs   []Input
}

// Choice is one option of a menu.
type Choice struct {
	Value string // in [Intent.Values]
	Text  string
}

func choices(values []string) []Choice {
	out := make([]Choice, len(values))
	for i, v := range values {
		out[i] = Choice{Value: v, Text: v}
	}
	return out
}

// Input is one field of a modal: a menu when it has options, a date and time when
// it is an instant, a text otherwise.
type Input struct {
	ID          string // key of the value in [Intent.Values]
	Label       string
	Hint        string
	Placeholder string
	Initial     string
	Options     []Choice
	Instant     bool
	At          time.Time // filled in already, of an instant
	Multiline   bool
	Optional    bool
	Min, Max    int // characters
}

// Slack's limits of modals, in characters and entries.
const (
	maxModalTitle  = 24
	maxLabel       = 2000
	maxPlaceholder = 150
	maxOption      = 75 // of an option's text; its value may have 150
	maxOptions     = 100
)

// minReason keeps "ok" from being a reason.
const minReason = 5

// RotateForm is what the rotate modal offers and what is filled in already.
type RotateForm struct {
	Servers      []string
	Environments []string
	Server       string // chosen already; may be empty
	Environment  string
	Change       string
	Reason       string
	// ChangePattern is what a change reference looks like; empty: none is needed.
	ChangePattern string
	Metadata      string
}

// RotateModal asks for what /rotate needs.
func RotateModal(f RotateForm) Modal {
	change := Input{ID: InputChange, Label: "Change reference", Initial: f.Change, Max: operation.MaxReference, Optional: f.ChangePattern == ""}
	if f.ChangePattern != "" {
		change.Hint = "It must look like " + f.ChangePattern
	}
	return Modal{
		Callback: CallbackRotate, Metadata: f.Metadata, Title: "Rotate a secret", Submit: "Ask",
		Intro: "Nothing changes until another person has confirmed the plan.",
		Inputs: []Input{
			{ID: InputServer, Label: "Server", Placeholder: "Choose a server", Options: choices(f.Servers), Initial: f.Server},
			{ID: InputEnvironment, Label: "Environment", Placeholder: "Choose an environment", Options: choices(f.Environments), Initial: f.Environment},
			change,
			{ID: InputReason, Label: "Reason", Hint: "The second person decides by it, and the record keeps it.", Initial: f.Reason, Multiline: true, Min: minReason, Max: operation.MaxReason},
		},
	}
}

// EmergencyForm is what the emergency modal offers and what is filled in already.
type EmergencyForm struct {
	Servers      []string
	Environments []string
	Server       string // chosen already; may be empty
	Environment  string
	Key          string    // KeyInUse when empty
	KeyID        string    // of KeyOther
	Since        time.Time // zero: not known
	Reason       string
	Drill        bool
	Metadata     string
}

// EmergencyModal asks for what /emergency-disable needs.
func EmergencyModal(f EmergencyForm) Modal {
	m := Modal{
		Callback: CallbackEmergency, Metadata: f.Metadata, Title: "Emergency disable", Submit: "Call the approvers",
		Intro: "The approvers are called at once. As soon as one of them has confirmed, the key is removed, and the service gets no tokens until it has a new one.",
		Inputs: []Input{
			{ID: InputServer, Label: "Server", Placeholder: "Choose a server", Options: choices(f.Servers), Initial: f.Server},
			{ID: InputEnvironment, Label: "Environment", Placeholder: "Choose an environment", Options: choices(f.Environments), Initial: f.Environment},
			{ID: InputReason, Label: "What happened?", Hint: "The second person decides by it, and the record keeps it. Never paste the secret.", Initial: f.Reason, Multiline: true, Min: minReason, Max: operation.MaxReason},
			{ID: InputKey, Label: "Which key has leaked?", Initial: first(f.Key, KeyInUse), Options: []Choice{
				{Value: KeyInUse, Text: "The one in use: its text is in SSM"}, {Value: KeyAll, Text: "All keys of the application"}, {Value: KeyOther, Text: "Another one, by its id"},
			}},
			{ID: InputKeyID, Label: "Id of the other key", Hint: "From Entra: Certificates & secrets, Secret ID.", Initial: f.KeyID, Optional: true, Max: 40},
			{ID: InputSince, Label: "Leaked since", Hint: "The audit logs are read from then on; left out, from when the key was made.", Instant: true, At: f.Since, Optional: true},
		},
	}
	if f.Drill {
		m.Title, m.Intro = "DRILL: emergency", "This is a drill. "+m.Intro
	}
	return m
}

// DenyModal asks why a request is denied.
func DenyModal(op operation.Operation) Modal {
	return Modal{
		Callback: CallbackDeny, Metadata: cardRef(op).String(), Title: "Deny the request", Submit: "Deny",
		Intro: fmt.Sprintf("%s, asked for by %s.", title(op), named(op.Requester)),
		Inputs: []Input{
			{ID: InputReason, Label: "Reason", Hint: "The person who asked will read it, and the record keeps it.", Multiline: true, Min: minReason, Max: operation.MaxReason},
		},
	}
}

// TypedModal has a person type what the plan wants typed before they confirm: the
// secret's name, so that nobody turns a dangerous key by habit, and the code of
// their authenticator app where it takes a second factor.
func TypedModal(op operation.Operation) Modal {
	m := Modal{
		Callback: CallbackTyped, Metadata: cardRef(op).String(), Title: "Confirm by typing", Submit: "Confirm",
		Intro: fmt.Sprintf("%s, asked for by %s: %s", title(op), named(op.Requester), plain(op.Reason, operation.MaxReason)),
	}
	if must := op.Plan.MustType; must != "" {
		m.Inputs = append(m.Inputs, Input{ID: InputTyped, Label: "Type the secret's name: " + must, Placeholder: must, Max: 200})
	}
	if op.Plan.Policy.SecondFactor {
		m.Inputs = append(m.Inputs, Input{ID: InputCode, Label: "Code of your authenticator app", Hint: "Six digits. Each code is taken once.", Max: 12})
	}
	return m
}

func cardRef(op operation.Operation) Ref {
	return Ref{Operation: op.ID, Digest: op.Digest, Channel: op.Channel, Message: op.Card}
}

func named(p operation.Person) string {
	if p.Name == "" {
		return string(p.User)
	}
	return p.Name
}

// OpenModal shows the modal to whoever the trigger belongs to.
func (b *Bot) OpenModal(ctx context.Context, trigger string, m Modal) error {
	ctx, cancel := context.WithTimeout(ctx, triggerTime)
	defer cancel()
	_, err := b.api.OpenViewContext(ctx, trigger, m.view())
	switch errorCode(err) {
	case "expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id", "trigger_expired":
		return fmt.Errorf("open the modal %q: %w", m.Callback, ErrTriggerExpired)
	}
	if err != nil {
		return fmt.Errorf("open the modal %q: %w", m.Callback, err)
	}
	return nil
}

// triggerTime is how long Slack lets an app open a modal.
const triggerTime = 3 * time.Second

func (m Modal) view() slack.ModalViewRequest {
	v := slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: m.Callback, PrivateMetadata: m.Metadata,
		Title: plainText(m.Title, maxModalTitle), Submit: plainText(m.Submit, maxModalTitle), Close: plainText("Close", maxModalTitle),
	}
	if m.Intro != "" {
		v.Blocks.BlockSet = append(v.Blocks.BlockSet, slack.NewSectionBlock(plainText(m.Intro, maxSection), nil, nil, slack.SectionBlockOptionBlockID("intro")))
	}
	for _, in := range m.Inputs {
		v.Blocks.BlockSet = append(v.Blocks.BlockSet, in.block())
	}
	return v
}

func (in Input) block() slack.Block {
	var hint *slack.TextBlockObject
	if in.Hint != "" {
		hint = plainText(in.Hint, maxLabel)
	}
	return slack.NewInputBlock(in.ID, plainText(in.Label, maxLabel), hint, in.element()).WithOptional(in.Optional)
}

// element is a menu, or a text where a menu could not hold all options.
func (in Input) element() slack.BlockElement {
	if in.Instant {
		picker := slack.NewDateTimePickerBlockElement(in.ID)
		if !in.At.IsZero() {
			picker.InitialDateTime = in.At.Unix()
		}
		return picker
	}
	var placeholder *slack.TextBlockObject
	if in.Placeholder != "" {
		placeholder = plainText(in.Placeholder, maxPlaceholder)
	}
	if len(in.Options) == 0 || len(in.Options) > maxOptions {
		t := slack.NewPlainTextInputBlockElement(placeholder, in.ID)
		t.InitialValue, t.Multiline, t.MinLength, t.MaxLength = in.Initial, in.Multiline, in.Min, in.Max
		return t
	}
	menu := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, placeholder, in.ID)
	for _, o := range in.Options {
		option := slack.NewOptionBlockObject(o.Value, plainText(o.Text, maxOption), nil)
		menu.Options = append(menu.Options, option)
		if o.Value == in.Initial {
			menu.InitialOption = option
		}
	}
	return menu
}
