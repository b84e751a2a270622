package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
)

// play is people in the sandbox, as a script: what they do is done in the
// sandbox's Slack, and what they read is printed as it appears.
type play struct {
	box  *sandbox.Sandbox
	cfg  *Config
	out  io.Writer
	told map[string]bool // messages that were printed
	log  *slog.Logger
	fail context.CancelCauseFunc
	bots []func() // each stops a replica
}

const (
	playChannel = "#platform-ops"
	playSecret  = "sharepoint/prod"
	// playTime is how long any one thing in a play may take.
	playTime = 3 * time.Minute
)

// rotate is the main job: one person asks, another confirms, the old key dies.
func (p *play) rotate(ctx context.Context) error {
	if err := p.connected(ctx); err != nil {
		return err
	}
	if err := p.command("alice", "/rotate sharepoint prod CHG0012345 yearly rotation"); err != nil {
		return err
	}
	card, err := p.card(ctx)
	if err != nil {
		return err
	}
	p.say("The card, as everybody in %s reads it:", playChannel)
	p.quote(card.Text)

	if err := p.confirmed(ctx, card.TS); err != nil {
		return err
	}
	return p.judge(ctx, true)
}

func (p *play) connected(ctx context.Context) error {
	p.told = map[string]bool{}
	p.say("The bot starts and connects to Slack.")
	p.startBot(ctx)
	return p.until(ctx, bootTime, "the bot to connect", func() bool { return len(p.box.Slack.Sockets()) > 0 })
}

// judge looks at what is left, without asking the bot. An emergency leaves the
// service without a working secret for a while, a rotation never.
func (p *play) judge(ctx context.Context, gapless bool) error {
	verdict, err := p.box.Check(playSecret)
	if err != nil {
		return err
	}
	if !verdict.OK || verdict.Working != 1 {
		return fmt.Errorf("the final state of %s is wrong: %d working keys; %s", playSecret, verdict.Working, strings.Join(verdict.Problems, "; "))
	}
	if gaps := p.box.Probe.Look().Gaps(); gapless && len(gaps) > 0 {
		return fmt.Errorf("a service was without a working secret: %+v", gaps)
	}
	report, err := p.verify(ctx)
	if err != nil {
		return err
	}
	p.say("Judged from outside: one key works, the live parameter (version %d) holds it, all %d tasks have it, and no pending parameter is left.", verdict.Version, verdict.Tasks)
	if gapless {
		p.say("No service was without a working secret at any time.")
	}
	return audit.WriteReport(p.out, report)
}

// verify checks the record against the checkpoints that were posted.
func (p *play) verify(ctx context.Context) (audit.Report, error) {
	src, err := audit.Open(ctx, p.cfg.Database.Reveal())
	if err != nil {
		return audit.Report{}, err
	}
	defer func() { _ = src.Close() }() // read only
	known, err := audit.ReadVerifiers(p.cfg.Record.KeyFile + ".pub")
	if err != nil {
		return audit.Report{}, err
	}
	state, ok := p.box.Slack.State().(slack.State)
	if !ok {
		return audit.Report{}, errors.New("the sandbox's Slack has no state")
	}
	var posted []string
	for _, messages := range state.Messages {
		for _, m := range messages {
			posted = append(posted, audit.FindCheckpoints(m.Text)...)
		}
	}
	if len(posted) == 0 {
		return audit.Report{}, errors.New("no checkpoint of the record was posted")
	}
	report, err := audit.Verify(ctx, src, posted, known)
	if err == nil && !report.Whole() {
		err = errBroken
	}
	return report, err
}

func (p *play) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, "\n── "+format+"\n", args...)
}

// quote prints what stands in the chat, indented, with names instead of ids.
func (p *play) quote(text string) {
	for line := range strings.Lines(p.readable(text)) {
		_, _ = fmt.Fprint(p.out, "   │ ", strings.TrimRight(line, "\n"), "\n")
	}
}

var (
	dates    = regexp.MustCompile(`<!date\^\d+\^[^|>]*\|([^>]*)>`)
	mentions = regexp.MustCompile(`<[@#]([A-Z0-9]+)(\|[^>]*)?>`)
)

// readable turns Slack's markup into what a client shows.
func (p *play) readable(text string) string {
	text = dates.ReplaceAllString(text, "$1")
	text = mentions.ReplaceAllStringFunc(text, func(m string) string {
		id := mentions.FindStringSubmatch(m)[1]
		for _, person := range p.box.Team.People {
			if person.Slack == id {
				return "@" + person.Name
			}
		}
		if id == sandbox.OperationsChannel {
			return playChannel
		}
		return m
	})
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text)
}

// command types a slash command and prints what its person is told.
func (p *play) command(user, line string) error {
	p.say("%s types %s", user, line)
	result, err := p.box.Slack.Command(user, playChannel, line)
	if err != nil {
		return err
	}
	return p.acknowledged(result)
}

func (p *play) click(user, ts, action string) error {
	p.say("%s clicks [%s]", user, action)
	result, err := p.box.Slack.Click(user, playChannel, ts, action)
	if err != nil {
		return err
	}
	return p.acknowledged(result)
}

func (p *play) acknowledged(r slack.Result) error {
	if !r.Acked {
		return fmt.Errorf("the bot did not acknowledge: %s", r.Shown)
	}
	_, _ = fmt.Fprintf(p.out, "   (acknowledged after %.0f ms)\n", r.AckedMS)
	return nil
}

// refused clicks and waits for the refusal that only the clicker sees.
func (p *play) refused(ctx context.Context, user, ts, action string) error {
	before, err := p.box.Slack.Ephemerals(playChannel, user)
	if err != nil {
		return err
	}
	if err := p.click(user, ts, action); err != nil {
		return err
	}
	var told slack.Message
	err = p.until(ctx, playTime, "the refusal", func() bool {
		now, err := p.box.Slack.Ephemerals(playChannel, user)
		if err != nil || len(now) <= len(before) {
			return false
		}
		told = now[len(now)-1]
		return strings.Contains(told.Text, "another person")
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.out, "   only %s reads:\n", user)
	p.quote(told.Text)
	return nil
}

// card waits for the newest card in the channel.
func (p *play) card(ctx context.Context) (slack.Message, error) {
	var card slack.Message
	err := p.until(ctx, playTime, "the card", func() bool {
		messages, err := p.box.Slack.Messages(playChannel, "")
		if err != nil {
			return false
		}
		for _, m := range slices.Backward(messages) {
			if len(m.Actions) > 0 {
				card = m
				return true
			}
		}
		return false
	})
	return card, err
}

// untilThread prints the thread's lines as they come, up to one that has text.
func (p *play) untilThread(ctx context.Context, channel, ts, what, text string) error {
	return p.until(ctx, playTime, what, func() bool {
		thread, err := p.box.Slack.Thread(channel, ts)
		if err != nil || len(thread) == 0 {
			return false
		}
		found := false
		for _, m := range thread[1:] {
			if !p.told[m.TS] {
				p.told[m.TS] = true
				p.quote(m.PostedAt.UTC().Format("15:04:05 ") + m.Text)
			}
			found = found || strings.Contains(m.Text, text)
		}
		return found
	})
}

// quiet waits until the card says that the operation waits: the last of the
// thread has been told then.
func (p *play) quiet(ctx context.Context, ts string) error {
	return p.until(ctx, playTime, "the card to say that it waits", func() bool {
		thread, err := p.box.Slack.Thread(playChannel, ts)
		return err == nil && len(thread) > 0 && strings.Contains(strings.ToLower(thread[0].Text), "waiting for the overlap")
	})
}

// until looks again after every change in Slack, and now and then for what changes
// elsewhere.
func (p *play) until(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		look, done := context.WithTimeout(ctx, 100*time.Millisecond)
		err := p.box.Slack.Wait(look, cond)
		done()
		if err == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}

// confirmed plays a rotation from its card to its end: alice cannot confirm what she
// asked for, bob can, and the clock jumps over the overlap.
func (p *play) confirmed(ctx context.Context, card string) error {
	if err := p.refused(ctx, "alice", card, bot.ActionConfirm); err != nil {
		return err
	}
	if err := p.click("bob", card, bot.ActionConfirm); err != nil {
		return err
	}
	p.say("The thread under the card:")
	if err := p.untilThread(ctx, playChannel, card, "the overlap to begin", "lives on until"); err != nil {
		return err
	}
	if err := p.quiet(ctx, card); err != nil {
		return err
	}
	p.say("The sandbox's clock jumps 24 hours: the overlap is over.")
	p.box.Clock.Advance(24*time.Hour + time.Minute)
	return p.untilThread(ctx, playChannel, card, "the end", "go.sum database tree")
}
