package bot

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
)

// Specimen is a message of one kind, made up to be checked.
type Specimen struct {
	Kind    string // "the card of a request that waits for its second person"
	Message Message
	// Classic is sent where Slack does not take the newer blocks; empty: there is
	// no other form.
	Classic Message
}

// Specimens are messages of every kind with blocks of their own, each as full as it
// usually gets. They name nobody who exists.
func Specimens(now time.Time) []Specimen {
	asks, decides := operation.Person{User: "U0000000001", Name: "A"}, operation.Person{User: "U0000000002", Name: "B"}
	op := operation.Operation{
		ID: "zzzzzz", Kind: kindRotate, Secret: "specimen/dev", State: operation.Pending, Requester: asks, Reason: "A check by twokey doctor.", ChangeReference: "CHG0000000",
		RequestedAt: now, LapsesAt: now.Add(15 * time.Minute), Digest: operation.Digest(strings.Repeat("0", 64)),
	}
	op.Plan = operation.Plan{Kind: op.Kind, Secret: op.Secret, Warnings: []string{"This is a specimen."}, Changes: []operation.Change{
		{What: "Entra application specimen-dev", To: "a second key"}, {What: "SSM parameter /specimen/dev/client_secret", From: "version 7", To: "version 8"},
	}}
	steps := []operation.Step{{Name: "make a new secret in Entra"}, {Name: "redeploy the service"}, {Name: "remove the old key"}}
	card := func(kind string, change func(*operation.Operation)) Specimen {
		o := op
		change(&o)
		c := Card{Operation: o, Steps: operation.Progress(steps, o), Approvers: "approvers", Escalation: "security"}
		s := Specimen{Kind: kind, Message: c.Message()}
		c.Classic = true
		s.Classic = c.Message()
		return s
	}
	confirmed := func(o *operation.Operation, state operation.State) {
		o.State, o.Step, o.Approver, o.DecidedBy, o.DecidedAt = state, 1, decides, decides, now
	}
	emergency := op
	emergency.Kind, emergency.ChangeReference, emergency.Plan.Kind = kindEmergency, "", kindEmergency
	emergency.Plan.Urgent, emergency.Plan.MustType = true, string(op.Secret)
	running := emergency
	confirmed(&running, operation.Running)
	reminder := operation.Reminder{
		ID: 1, Round: 1, Stage: 14, At: now, Days: 14, Matter: operation.Matter{Item: "secret:specimen", End: now.AddDate(0, 0, 14), Told: 14},
		Name: string(op.Secret), Kind: "client secret", Secret: op.Secret, Owner: "Nobody", Feeds: []string{"ECS service specimen-dev/specimen"}, Breaks: "Nothing: it does not exist.",
	}
	stock := inventory.Inventory{At: now, Due: 30 * 24 * time.Hour, Items: []inventory.Item{{
		ID: "secret:specimen", Kind: inventory.Secret, Name: string(op.Secret), Key: "specimen", Application: "specimen-dev", Live: true, Status: inventory.Due,
		Feeds: inventory.Feeds{Secret: op.Secret, Server: "specimen", Environment: "dev"}, Start: now.AddDate(-1, 0, 0), End: reminder.Matter.End,
	}}}
	entry := operation.Entry{Sequence: 1, At: now, Operation: op.ID, Secret: op.Secret, Outcome: operation.Verified, Step: steps[0].Name, Text: "in 3 reads"}
	return []Specimen{
		card("a request's card", func(*operation.Operation) {}),
		card("a running operation's card", func(o *operation.Operation) { confirmed(o, operation.Running) }),
		card("a parked operation's card", func(o *operation.Operation) {
			confirmed(o, operation.Parked)
			o.ParkedFrom, o.Trouble = operation.Running, "It is made up."
		}),
		card("a finished operation's card", func(o *operation.Operation) { confirmed(o, operation.Succeeded); o.EndedAt = now }),
		{Kind: "an emergency's card", Message: Card{Operation: emergency, Steps: operation.Progress(steps, emergency), Approvers: "approvers"}.Message()},
		{Kind: "an incident's status", Message: Status{Operation: running, Steps: operation.Progress(steps, running), Told: []operation.Entry{entry}}.Message()},
		{Kind: "a line of a thread", Message: Line(entry, false)},
		{Kind: "a checkpoint of the record", Message: Checkpoint("specimen\n1\nAAAA\n\n— specimen AAAA\n")},
		{Kind: "a round of reminders", Message: RoundMessage(operation.Round{ID: 1, At: now, Reminders: []operation.Reminder{reminder, reminder}}, false)},
		{Kind: "a reminder", Message: ReminderCard(reminder)},
		{Kind: "a leftover", Message: LeftoverMessage(operation.Leftover{ID: 1, Secret: op.Secret, Title: "Left behind: a key of specimen/dev", Text: "It is made up.", Key: "0000", Removable: true, At: now})},
		{Kind: "the weekly digest", Message: DigestMessage(operation.WeeklyDigest{
			ID: 1, Since: now.AddDate(0, 0, -7), At: now, Zone: "UTC", Overdue: []operation.Expiring{{Name: string(op.Secret), Kind: "client secret", End: now}}, Alternative: "Nothing.",
		})},
		{Kind: "the list of /secrets", Message: SecretList{Ref: SecretsRef{}, Inventory: stock, Now: now}.Message()},
		{Kind: "a page of /secrets", Message: SecretPage{Name: op.Secret, Inventory: stock, Now: now}.Message()},
	}
}

// TryError is what Slack answers to a specimen, or a specimen that was left.
type TryError struct {
	Seen, Todo string
	err        error
}

// Error implements error.
func (e *TryError) Error() string { return e.Seen }

// Unwrap implements the convention of package errors.
func (e *TryError) Unwrap() error { return e.err }

// Remedy is what was seen, and what to do.
func (e *TryError) Remedy() (seen, todo string) { return e.Seen, e.Todo }

// Far enough ahead that nobody sees it before it is taken back, and nearer than the
// 120 days that Slack allows.
const (
	farAhead = 110 * 24 * time.Hour
	takeBack = 20 * time.Second
)

// Try has Slack check the blocks of a specimen by scheduling it in a channel, and
// takes it back at once. It returns a sentence where only the classic form is taken.
// n is the specimen's number among those that are tried at one time: Slack takes 30
// for five minutes of a channel.
func (c *Checkup) Try(ctx context.Context, channel operation.ChannelID, n int, s Specimen) (note string, err error) {
	err = c.try(ctx, channel, n, s.Message)
	if _, refused := errors.AsType[*TryError](err); !refused || len(s.Classic.Blocks) == 0 || errorCode(err) != "invalid_blocks" {
		return "", err
	}
	if c.try(ctx, channel, n, s.Classic) != nil {
		return "", err
	}
	return "only in its older form: this workspace does not take Slack's block of steps, so they are shown as text", nil
}

func (c *Checkup) try(ctx context.Context, channel operation.ChannelID, n int, m Message) error {
	at := c.bot.c.Now().Add(farAhead + time.Duration(n)*time.Minute).Unix()
	_, id, err := c.bot.poster.ScheduleMessageContext(ctx, string(channel), strconv.FormatInt(at, 10), m.options()...)
	// What was scheduled is taken back, whoever gives up meanwhile.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	if err == nil {
		return c.takeBack(back, channel, id)
	}
	if f, ok := fatal(err, botToken); ok {
		return f
	}
	switch code := errorCode(err); code {
	case "", "internal_error", "fatal_error", "service_unavailable", "request_timeout": // without a clear answer it may be there
		return errors.Join(fmt.Errorf("no clear answer to a message that was tried: %w", err), c.sweep(back, channel, at))
	case "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long":
		seen := "Slack answers " + code
		if r, is := errors.AsType[slack.SlackErrorResponse](err); is && len(r.ResponseMetadata.Messages) > 0 {
			seen += ": " + strings.Join(r.ResponseMetadata.Messages, "; ")
		}
		return &TryError{Seen: seen, Todo: "Run the newest twokey. If this is it, report this line: Slack has changed what it takes.", err: err}
	default:
		return err
	}
}

func (c *Checkup) takeBack(ctx context.Context, channel operation.ChannelID, id string) error {
	params := &slack.DeleteScheduledMessageParameters{Channel: string(channel), ScheduledMessageID: id}
	if _, err := c.bot.api.DeleteScheduledMessageContext(ctx, params); err != nil && errorCode(err) != "invalid_scheduled_message_id" {
		return &TryError{
			Seen: fmt.Sprintf("A SCHEDULED MESSAGE WAS LEFT in %s: its id is %s, and Slack does not take it back: %v", channel, id, err),
			Todo: fmt.Sprintf(`It would be posted in %d days. Take it back: curl -H "Authorization: Bearer $SLACK_BOT_TOKEN" -d channel=%s -d scheduled_message_id=%s %schat.deleteScheduledMessage`, int(farAhead.Hours()/24), channel, id, c.bot.c.APIURL),
			err:  err,
		}
	}
	return nil
}

// sweep takes back what is scheduled for exactly this time: the doctor's own. It
// looks at messages that this app has scheduled; Slack lists no others.
func (c *Checkup) sweep(ctx context.Context, channel operation.ChannelID, at int64) error {
	when := strconv.FormatInt(at, 10)
	list, _, err := c.bot.api.GetScheduledMessagesContext(ctx, &slack.GetScheduledMessagesParameters{Channel: string(channel), Oldest: when, Latest: when})
	if err != nil {
		return &TryError{
			Seen: fmt.Sprintf("A SCHEDULED MESSAGE MAY HAVE BEEN LEFT in %s, for %s: Slack gave no answer, and does not list them: %v", channel, time.Unix(at, 0).UTC().Format(time.RFC3339), err),
			Todo: fmt.Sprintf(`Look for it, and take it back as docs/doctor.md says: curl -H "Authorization: Bearer $SLACK_BOT_TOKEN" -d channel=%s %schat.scheduledMessages.list`, channel, c.bot.c.APIURL),
			err:  err,
		}
	}
	var left []error
	for _, m := range list {
		if int64(m.PostAt) == at {
			left = append(left, c.takeBack(ctx, channel, m.ID))
		}
	}
	return errors.Join(left...)
}
