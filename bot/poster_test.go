package bot_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

// pending is an operation that waits for its second key.
func (w *world) pending(id operation.ID) operation.Operation {
	now := time.Now()
	return operation.Operation{
		ID: id, Kind: "rotate", Secret: "sharepoint/prod", State: operation.Pending, Channel: operation.ChannelID(w.ops),
		Requester: operation.Person{User: "U0ALICE", Name: "Alice"}, Reason: "It expires.", RequestedAt: now, LapsesAt: now.Add(15 * time.Minute),
		Plan:   operation.Plan{Changes: []operation.Change{{What: "parameter", From: "version 7", To: "version 8"}}, Policy: operation.Policy{Approvers: "S0APPROVERS"}},
		Digest: "3f9a1c2e4b5d6071",
	}
}

// in puts notices into the operations channel.
func (w *world) in(notices ...operation.Notice) []operation.Notice {
	for i := range notices {
		notices[i].Channel = operation.ChannelID(w.ops)
	}
	return notices
}

func steps(operation.Operation) []operation.StepState {
	return []operation.StepState{{Name: "first", Mark: operation.StepDone}, {Name: "second", Mark: operation.StepActive}}
}

// post runs a poster.
func (w *world) post(b *bot.Bot, o *outbox) (stop func()) {
	return w.start(func(ctx context.Context) error { return b.RunPoster(ctx, o, o, o, steps) })
}

// told waits until everything in the outbox was told.
func (w *world) told(o *outbox) {
	w.t.Helper()
	w.until("empty outbox", o.empty)
}

func TestEachNoticeIsToldOnceAndInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	o.add(w.in(card("k7m2p9", 1), entry("k7m2p9", "one"), entry("k7m2p9", "two"))...)
	o.add(w.in(operation.Notice{Key: "checkpoint:k7m2p9", Kind: operation.NoticeCheckpoint, Operation: "k7m2p9", Text: "twokey\n0\nhash\n\n— sig\n"})...)
	o.add(operation.Notice{Key: "checkpoint:1", Kind: operation.NoticeCheckpoint, Channel: operation.ChannelID(w.ops), Text: "twokey\n1\nhash\n\n— sig\n"})
	w.post(w.bot(), o)
	w.told(o)

	top := w.channel("platform-ops")
	if len(top) != 2 {
		t.Fatalf("%d messages in the channel, want the card and the checkpoint", len(top))
	}
	thread := top[0].Replies
	if len(thread) != 3 || !strings.HasPrefix(thread[0].Text, "Done and verified: one.") || !strings.HasPrefix(thread[1].Text, "Done and verified: two.") ||
		!strings.HasPrefix(thread[2].Text, "Checkpoint of the record.") {
		t.Errorf("under the card: %+v", thread)
	}
	if !strings.Contains(top[0].Text, "anybody in platform-approvers but <@U0ALICE>") {
		t.Errorf("the card does not name the approvers: %s", top[0].Text)
	}
	for _, m := range []slack.Message{top[0], thread[0], top[1]} {
		for _, who := range m.Mentions {
			if who != "U0ALICE" {
				t.Errorf("%q rings with %s", m.Text, who)
			}
		}
	}
	w.spaced()
}

// spaced checks that no two messages were written within a second.
func (w *world) spaced() {
	w.t.Helper()
	var last time.Time
	for _, c := range w.cond.Calls() {
		if c.Operation != "slack.chat.postMessage" && c.Operation != "slack.chat.update" {
			continue
		}
		if apart := c.Arrived.Sub(last); apart < time.Second {
			w.t.Errorf("two messages %s apart", apart)
		}
		last = c.Arrived
	}
}

func TestWhatIsInTheMetadataIsIDsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	o.add(w.in(card("k7m2p9", 1))...)
	w.post(w.bot(), o)
	w.told(o)
	got := fmt.Sprint(w.channel("platform-ops")[0].Metadata)
	want := fmt.Sprint(map[string]any{"event_type": "twokey_notice", "event_payload": map[string]any{
		"key": "card:k7m2p9:1", "kind": "card", "operation": "k7m2p9", "digest": "3f9a1c2e4b5d6071",
	}})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTheCardIsEditedInPlaceAndShowsTheNewestStateOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	o.add(w.in(card("k7m2p9", 1))...)
	b := w.bot()
	w.post(b, o)
	w.told(o)
	first := w.channel("platform-ops")[0]

	o.change("k7m2p9", func(op *operation.Operation) {
		op.State, op.Approver = operation.Running, operation.Person{User: "U0BOB", Name: "Bob"}
	})
	o.add(w.in(card("k7m2p9", 2), card("k7m2p9", 3), card("k7m2p9", 4))...)
	b.Nudge()
	w.told(o)
	m := w.channel("platform-ops")
	if len(m) != 1 || m[0].TS != first.TS || !strings.Contains(m[0].Text, "Running. Confirmed by <@U0BOB>.") || !strings.Contains(m[0].Text, "Steps: 1 of 2 done") {
		t.Errorf("the channel shows %+v", m)
	}
	if m[0].Edits != 1 {
		t.Errorf("%d edits for one change, want 1", m[0].Edits)
	}
	if m[0].Blocks[0]["block_id"] == first.Blocks[0]["block_id"] {
		t.Error("the edited card has its old block ids")
	}
}

func TestEditsThatHangHoldUpNoSentence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.chat.update", Kind: conditions.Slow, Delay: 8 * time.Second})
	var ops []operation.Operation
	var edits []operation.Notice
	for i := range 20 { // more than there are posters
		op := w.pending(operation.ID(fmt.Sprint("op", i)))
		said, err := w.slack.Say("dave", "platform-ops", "a card", "")
		w.must(said, err)
		op.Card = operation.MessageID(said.TS)
		ops = append(ops, op)
		n := card(op.ID, 2)
		n.Lane = op.EditLane()
		edits = append(edits, n)
	}
	o := newOutbox(ops...)
	o.add(w.in(edits...)...)
	o.add(w.in(entry("op0", "one"), entry("op0", "two"))...)
	w.post(w.bot(), o)
	w.until("sentences", func() bool { return len(w.channel("platform-ops")[0].Replies) == 2 })
	if o.empty() {
		t.Error("no edit was still under way")
	}
}

func TestWhateverIsLostOnTheWayNothingIsToldTwice(t *testing.T) {
	t.Parallel()
	// Skip 0 hits the card, 1 the line under it.
	for _, fault := range []conditions.Fault{
		{Kind: conditions.CutAfter, Count: 1}, {Kind: conditions.CutAfter, Skip: 1, Count: 1}, {Kind: conditions.CutAfter, Count: 2},
		{Kind: conditions.CutBefore, Count: 1}, {Kind: conditions.ServerErr, Status: 503, Skip: 1, Count: 1}, {Kind: conditions.Nonsense, Count: 1},
		{Kind: conditions.Timeout, Skip: 1, Count: 1}, {Kind: conditions.Refuse, Status: 200, Code: "internal_error", Count: 1},
	} {
		t.Run(fmt.Sprintf("%s %d after %d", fault.Kind, fault.Count, fault.Skip), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			fault.Operation = "slack.chat.postMessage"
			w.cond.Add(fault)
			o := newOutbox(w.pending("k7m2p9"))
			o.add(w.in(card("k7m2p9", 1), entry("k7m2p9", "one"), entry("k7m2p9", "two"))...)
			w.post(w.bot(), o)
			w.told(o)
			top := w.channel("platform-ops")
			if len(top) != 1 || len(top[0].Replies) != 2 || !strings.Contains(top[0].Replies[0].Text, "one") {
				t.Errorf("the channel shows %d messages: %+v", len(top), top)
			}
		})
	}
}

func TestAPosterThatDiesAfterPostingIsFollowedByOneThatFindsTheMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	o.lease = 300 * time.Millisecond
	o.failing = 2 // the process died before it could note what it posted, twice
	o.add(w.in(card("k7m2p9", 1), entry("k7m2p9", "one"))...)
	w.post(w.bot(), o)
	w.told(o)
	top := w.channel("platform-ops")
	if len(top) != 1 || len(top[0].Replies) != 1 {
		t.Errorf("the channel shows %+v", top)
	}
}

func TestACardFoundAfterACrashShowsWhatIsSoNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	o.lease, o.failing = 300*time.Millisecond, 1
	o.add(w.in(card("k7m2p9", 1))...)
	stop := w.post(w.bot(), o)
	w.until("card", func() bool { return len(w.channel("platform-ops")) == 1 })
	stop()
	o.change("k7m2p9", func(op *operation.Operation) { op.State, op.EndedAt = operation.Lapsed, time.Now() })
	w.post(w.bot(), o)
	w.told(o)
	top := w.channel("platform-ops")
	if len(top) != 1 || !strings.Contains(top[0].Text, "Lapsed.") {
		t.Errorf("the channel shows %+v", top)
	}
}

func TestAMessageOfSomebodyElseIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	n := card("k7m2p9", 1)
	n.Attempts = 1 // so that it is looked for before it is posted
	o.add(w.in(n)...)
	w.must(w.slack.Say("dave", "platform-ops", "card:k7m2p9:1 twokey_notice", ""))
	w.post(w.bot(), o)
	w.told(o)
	if top := w.channel("platform-ops"); len(top) != 2 {
		t.Errorf("the channel shows %+v", top)
	}
}

func TestASleeperThatLostItsClaimDeletesItsDouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.Slow, Delay: 1500 * time.Millisecond, Count: 1})
	o := newOutbox(w.pending("k7m2p9"))
	o.lease, o.single = 300*time.Millisecond, true
	o.add(w.in(card("k7m2p9", 1))...)
	w.post(w.bot(), o) // claims, and sleeps with the request on its way
	w.until("claim", func() bool { return w.inFlight() })
	w.post(w.bot(), o)
	w.told(o)
	w.until("deletion", func() bool { return w.cond.Counts()["slack.chat.delete"] == 1 })
	w.until("one card", func() bool { return len(w.channel("platform-ops")) == 1 })
	op, err := o.Operation(t.Context(), "k7m2p9")
	w.must(op, err)
	if top := w.channel("platform-ops"); operation.MessageID(top[0].TS) != op.Card {
		t.Errorf("the card that is left is %s, the store knows %s", top[0].TS, op.Card)
	}
}

func TestASleeperThatNeverLearntWhetherItPostedWithdrawsItsDouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	o.lease, o.single = 300*time.Millisecond, true
	o.add(w.in(card("k7m2p9", 1))...)
	asleep := make(chan struct{})
	w.cond.At("slack.chat.postMessage", 1, conditions.Before, func(*http.Request) {
		close(asleep)
		w.until("the successor's card", func() bool { return len(w.channel("platform-ops")) == 1 })
	})
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.CutAfter, Skip: 1, Count: 1}) // the sleeper's comes second
	w.post(w.bot(), o)
	<-asleep
	w.post(w.bot(), o)
	w.told(o)
	w.until("deletion", func() bool { return w.cond.Counts()["slack.chat.delete"] == 1 })
	op, err := o.Operation(t.Context(), "k7m2p9")
	w.must(op, err)
	if top := w.channel("platform-ops"); len(top) != 1 || operation.MessageID(top[0].TS) != op.Card {
		t.Errorf("the channel shows %+v, the store knows %s", top, op.Card)
	}
}

// inFlight reports whether the slow request has been taken up.
func (w *world) inFlight() bool { return len(w.cond.Faults()) == 0 }

func TestSlacksThrottleIsHonoured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.Throttle, Status: 429, RetryAfter: 2, Count: 1})
	o := newOutbox(w.pending("k7m2p9"))
	o.add(w.in(card("k7m2p9", 1))...)
	w.post(w.bot(), o)
	w.told(o)
	var calls []conditions.Call
	for _, c := range w.cond.Calls() {
		if c.Operation == "slack.chat.postMessage" {
			calls = append(calls, c)
		}
	}
	if len(calls) != 2 || calls[1].Arrived.Sub(calls[0].Arrived) < 2*time.Second {
		t.Errorf("called %+v", calls)
	}
	if n := w.cond.Counts()["slack.conversations.history"]; n != 0 {
		t.Errorf("a refusal was read back %d times", n)
	}
}

func TestADeletedCardIsPostedAnewAndEditedFromThenOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.pending("k7m2p9")
	op.Card = "1772442000.000100" // nobody finds it
	o := newOutbox(op)
	o.add(w.in(card("k7m2p9", 2))...)
	b := w.bot()
	w.post(b, o)
	w.told(o)
	if top := w.channel("platform-ops"); len(top) != 1 {
		t.Fatalf("the channel shows %+v", top)
	}
	// A store that did not note the new card still gets one card.
	o.change("k7m2p9", func(op *operation.Operation) {
		op.State, op.EndedAt, op.Card = operation.Lapsed, time.Now(), "1772442000.000100"
	})
	o.add(w.in(card("k7m2p9", 3))...)
	b.Nudge()
	w.told(o)
	if top := w.channel("platform-ops"); len(top) != 1 || !strings.Contains(top[0].Text, "Lapsed.") {
		t.Errorf("the channel shows %+v", top)
	}
}

func TestAWorkspaceWithoutThePlanBlockSeesAList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slack.Set(func(s *slack.Settings) { s.PlanBlocks = false })
	op := w.pending("k7m2p9")
	op.State, op.Approver = operation.Running, operation.Person{User: "U0BOB"}
	o := newOutbox(op)
	o.add(w.in(card("k7m2p9", 1))...)
	b := w.bot()
	w.post(b, o)
	w.told(o)
	o.change("k7m2p9", func(op *operation.Operation) { op.State = operation.Succeeded })
	o.add(w.in(card("k7m2p9", 2))...)
	b.Nudge()
	w.told(o)
	top := w.channel("platform-ops")
	if len(top) != 1 || slices.ContainsFunc(top[0].Blocks, func(b map[string]any) bool { return b["type"] == "plan" }) || len(top[0].Blocks) == 0 {
		t.Errorf("the channel shows %+v", top)
	}
	refused := 0
	for _, c := range w.cond.Calls() {
		if c.Operation == "slack.chat.postMessage" || c.Operation == "slack.chat.update" {
			refused++
		}
	}
	if refused != 3 { // refused once, then remembered
		t.Errorf("%d calls for a post and an edit, want 3", refused)
	}
}

func TestALineWhoseBlocksAreRefusedIsToldInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.Refuse, Status: 200, Code: "invalid_blocks", Skip: 1, Count: 1})
	o := newOutbox(w.pending("k7m2p9"))
	o.add(w.in(card("k7m2p9", 1), entry("k7m2p9", "one"))...)
	w.post(w.bot(), o)
	w.told(o)
	thread := w.channel("platform-ops")[0].Replies
	if len(thread) != 1 || len(thread[0].Blocks) != 0 || !strings.Contains(thread[0].Text, "Done and verified: one.") {
		t.Errorf("under the card: %+v", thread)
	}
}

func TestWhatPeopleHaveToMendIsLoggedAndTriedSlowly(t *testing.T) {
	t.Parallel()
	for code, says := range map[string]string{
		"not_in_channel": "invite the bot", "channel_not_found": "invite the bot", "is_archived": "unarchive", "missing_scope": "lacks",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.Refuse, Status: 200, Code: code})
			o := newOutbox(w.pending("k7m2p9"))
			o.add(w.in(card("k7m2p9", 1))...)
			w.post(w.bot(), o)
			w.until("delay", func() bool { return len(o.delays(0)) == 1 })
			if d := o.delays(0)[0]; d < time.Minute {
				t.Errorf("tried again after %s", d)
			}
			if !strings.Contains(w.logged.String(), says) {
				t.Errorf("the log does not say what to do: %s", w.logged)
			}
		})
	}
}

func TestATokenThatIsRevokedEndsThePoster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w.pending("k7m2p9"))
	o.add(w.in(card("k7m2p9", 1))...)
	w.slack.RefuseToken("bot", "token_revoked")
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	err := w.bot().RunPoster(ctx, o, o, o, steps)
	if f, ok := errors.AsType[*bot.Fatal](err); !ok || f.Code != "token_revoked" {
		t.Errorf("ended with %v", err)
	}
}

func TestASentenceForOnePersonGoesToThemDirectly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox()
	o.add(operation.Notice{Key: "direct:1", Kind: operation.NoticeDirect, User: "U0ALICE", Text: "Your secret expires in <#C0OPS> & soon."})
	w.post(w.bot(), o)
	w.told(o)
	if m := w.channel("@alice"); len(m) != 1 || m[0].Text != "Your secret expires in <#C0OPS> &amp; soon." {
		t.Errorf("alice reads %+v", m)
	}
}

func TestStoppingGivesBackWhatIsNotPosted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.Timeout})
	o := newOutbox(w.pending("k7m2p9"))
	o.add(w.in(card("k7m2p9", 1))...)
	stop := w.post(w.bot(), o)
	w.until("attempt", func() bool { return len(w.cond.Calls()) > 1 || w.cond.Counts()["slack.usergroups.list"] > 0 })
	stop()
	if d := o.delays(0); len(d) != 1 || d[0] != 0 {
		t.Errorf("given back with delays %v, want at once", d)
	}
}
