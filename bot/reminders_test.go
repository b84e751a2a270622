package bot_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

// gathered puts a round of so many reminders into the outbox.
func (w *world) gathered(o *outbox, n int) {
	round := operation.Round{ID: 1, Channel: operation.ChannelID(w.ops), At: time.Now(), Ring: "S0APPROVERS"}
	notice := operation.Notice{Key: "round:1:0:1", Kind: operation.NoticeRound, Round: 1, Lane: "reminders:" + w.ops, Channel: round.Channel}
	o.add(notice)
	for i := range n {
		r := operation.Reminder{ID: operation.ReminderID(i + 1), Round: 1, Name: fmt.Sprintf("server-%d/prod", i), Kind: "client secret", Secret: "x/prod",
			Stage: -1, Days: -1, At: time.Now(), Own: n > 1, Channel: round.Channel, Matter: operation.Matter{Item: fmt.Sprint(i), End: time.Now().Add(-24 * time.Hour), Told: -1}}
		round.Reminders = append(round.Reminders, r)
		if n > 1 {
			notice.Key, notice.Kind, notice.Reminder = fmt.Sprintf("reminder:1:%d:1", r.ID), operation.NoticeReminder, r.ID
			o.add(notice)
		}
	}
	o.rounds[1] = round
}

func TestSeveralRemindersAreOneMessageWithACardEachInItsThread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox()
	w.gathered(o, 3)
	w.post(w.bot(), o)
	w.told(o)
	top := w.channel("platform-ops")
	if len(top) != 1 || len(top[0].Replies) != 3 || len(top[0].Actions) != 0 {
		t.Fatalf("the channel shows %+v", top)
	}
	for i, m := range top[0].Replies {
		var labels []string
		for _, a := range m.Actions {
			labels = append(labels, a.Text)
		}
		if !strings.Contains(m.Text, fmt.Sprintf("server-%d/prod expired 1 day ago", i)) || !slices.Equal(labels, []string{"Rotate…", "Emergency disable…", "I take it"}) {
			t.Errorf("card %d has %v: %s", i, labels, m.Text)
		}
	}
	w.spaced()
}

func TestTheGroupIsRungOnceByWhatIsOverdue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox()
	w.gathered(o, 1)
	b := w.bot()
	w.post(b, o)
	w.told(o)
	if m := w.channel("platform-ops"); len(m) != 1 || !strings.Contains(m[0].Text, "<!subteam^S0APPROVERS>") || len(m[0].Actions) == 0 {
		t.Fatalf("the channel shows %+v", m)
	}
	o.mu.Lock()
	round := o.rounds[1]
	round.Reminders[0].Matter.Taken = operation.Taken{By: operation.Person{User: "U0BOB"}, At: time.Now()}
	o.rounds[1] = round
	o.mu.Unlock()
	o.add(operation.Notice{Key: "round:1:0:9", Kind: operation.NoticeRound, Round: 1, Lane: "reminders:" + w.ops, Channel: operation.ChannelID(w.ops)})
	b.Nudge()
	w.told(o)
	m := w.channel("platform-ops")
	if len(m) != 1 || strings.Contains(m[0].Text, "subteam") || !strings.Contains(m[0].Text, "Taken by <@U0BOB>") {
		t.Errorf("the channel shows %+v", m)
	}
}

func TestWhateverIsLostOnTheWayNoReminderIsToldTwice(t *testing.T) {
	t.Parallel()
	for skip := range 3 { // the message, and the cards under it
		for _, kind := range []conditions.Kind{conditions.CutAfter, conditions.CutBefore, conditions.Nonsense} {
			t.Run(fmt.Sprintf("%s after %d", kind, skip), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.slack.Set(func(s *slack.Settings) { s.Limits = false })
				w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: kind, Skip: skip, Count: 1})
				o := newOutbox()
				w.gathered(o, 2)
				w.post(w.bot(func(c *bot.Config) { c.Spacing = time.Millisecond }), o)
				w.told(o)
				top := w.channel("platform-ops")
				if len(top) != 1 || len(top[0].Replies) != 2 {
					t.Errorf("the channel shows %+v", top)
				}
			})
		}
	}
}

func TestAReminderThatIsDeadBeforeItIsNotedIsFoundAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox()
	o.lease, o.failing = 300*time.Millisecond, 2
	w.gathered(o, 2)
	w.post(w.bot(), o)
	w.told(o)
	if top := w.channel("platform-ops"); len(top) != 1 || len(top[0].Replies) != 2 {
		t.Errorf("the channel shows %+v", top)
	}
}

func FuzzAReferenceToAReminderIsReadOrRefused(f *testing.F) {
	f.Add(bot.ReminderRef{Reminder: 7, Channel: "C0OPS", Message: "1772442000.000100"}.String())
	f.Add("7")
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := bot.ParseReminderRef(text)
		if !ok {
			return
		}
		if again, ok := bot.ParseReminderRef(r.String()); r.Channel != "" && r.Message != "" && !strings.ContainsAny(text, "\t\n") && (!ok || again != r) {
			t.Errorf("%q reads as %+v and then as %+v", text, r, again)
		}
	})
}
