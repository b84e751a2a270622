package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
)

// invariant is something that must hold whatever was broken.
type invariant string

// The invariants, as docs/trust.md lists them.
const (
	alwaysWorking invariant = "always a working secret"
	oneKey        invariant = "one working key"
	noPending     invariant = "no pending parameter"
	noOrphan      invariant = "no orphan key"
	usedOnce      invariant = "approval used once"
	toldOnce      invariant = "told once"
	recordWhole   invariant = "record verifies"
	stateTrue     invariant = "state is true"
	nothingLost   invariant = "nothing lost"
	wentOn        invariant = "went on in time"
	copyWhole     invariant = "copied files recover"
	clean         invariant = "no race, no panic"
	contained     invariant = "the leak is contained"
	calendar      invariant = "reminded as a calendar says"
	paced         invariant = "one message a second"
)

func invariants() []invariant {
	return []invariant{alwaysWorking, oneKey, noPending, noOrphan, usedOnce, toldOnce, recordWhole, stateTrue, nothingLost, wentOn, copyWhole, clean, contained, calendar, paced}
}

// longest is how long people may wait for the next sign of life after a crash:
// what was lost with a process is taken up when its lease ends, and is taken back
// only 30 s later, since the process may be asleep and not dead.
const longest = lease + 38*time.Second

// breach is an invariant that did not hold, and how that showed.
type breach struct {
	invariant invariant
	how       string
}

// judge is one look at everything that is left.
type judge struct {
	w        *world
	deeds    deeds
	ops      []operation.Operation
	entries  []operation.Entry
	messages []slack.Message // of the channel, with replies
	breaches []breach
}

func (j *judge) breach(i invariant, format string, args ...any) {
	j.breaches = append(j.breaches, breach{i, fmt.Sprintf(format, args...)})
}

// judgeAll checks every invariant on what a play left, with all replicas dead.
func (w *world) judgeAll(ctx context.Context, d deeds, played error) ([]breach, operation.State) {
	j := &judge{w: w, deeds: d}
	if played != nil {
		j.breach(nothingLost, "%v", played)
	}
	if err := j.gather(ctx); err != nil {
		j.breach(recordWhole, "%v", err)
		return j.breaches, ""
	}
	j.platform()
	for _, r := range w.replicas {
		if found := r.disgraceful(); found != "" {
			j.breach(clean, "replica %d logged %q", r.number, found)
		}
	}
	kinds := make([]operation.Kind, len(j.ops))
	for i, op := range j.ops {
		kinds[i] = op.Kind
	}
	if !slices.Equal(kinds, w.story.kinds) {
		j.breach(nothingLost, "people asked for %v, and there are %v", w.story.kinds, kinds)
		return j.breaches, ""
	}
	j.people()
	for i, op := range j.ops {
		ends := w.story.ends
		if i > 0 {
			ends = []operation.State{operation.Succeeded}
		}
		if !slices.Contains(ends, op.State) {
			j.breach(stateTrue, "operation %s (%s) ended %q (%s)", op.ID, op.Kind, op.State, op.Trouble)
		}
		j.approval(op)
		j.thread(op)
	}
	j.state()
	j.containment()
	if j.w.story.judge != nil {
		j.w.story.judge(ctx, j)
	}
	j.record(ctx)
	if still := w.watch.still(); still > longest {
		j.breach(wentOn, "%s without a sign of life", still.Round(time.Second))
	}
	return j.breaches, j.ops[0].State
}

func (j *judge) gather(ctx context.Context) error {
	rows, err := j.w.db.QueryContext(ctx, "SELECT state, card, room_channel, room_status, body FROM operations ORDER BY requested_at")
	if err != nil {
		return fmt.Errorf("read the operations: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var op operation.Operation
		var state, card, room, status, body string
		if err := rows.Scan(&state, &card, &room, &status, &body); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(body), &op); err != nil {
			return err
		}
		op.State, op.Card = operation.State(state), operation.MessageID(card)
		op.RoomChannel, op.RoomStatus = operation.ChannelID(room), operation.MessageID(status)
		j.ops = append(j.ops, op)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	src, err := audit.Open(ctx, j.w.address)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	lines, err := audit.List(ctx, src, audit.Filter{})
	if err != nil {
		return err
	}
	for _, l := range lines {
		j.entries = append(j.entries, l.Entry)
	}
	j.messages, err = j.w.messages()
	return err
}

// platform judges what is left in Entra, SSM and ECS, without asking the bot.
func (j *judge) platform() {
	// An emergency ends with a service that works, and cannot help that it did not.
	gaps := j.w.box.Probe.Look().Gaps()
	for _, s := range j.w.story.lapses {
		delete(gaps, s) // which the reminders say
	}
	if len(gaps) > 0 && j.w.thief == nil {
		j.breach(alwaysWorking, "%+v", gaps)
	}
	verdict, err := j.w.box.Check(secret)
	if err != nil {
		j.breach(oneKey, "%v", err)
		return
	}
	if verdict.Working != 1 || len(verdict.Keys) != 1 || !verdict.Keys[0].Live {
		j.breach(oneKey, "keys left: %+v", verdict.Keys)
	}
	for _, k := range verdict.Keys {
		if strings.HasPrefix(k.Name, "twokey:") && !k.Live {
			j.breach(noOrphan, "%s (%s)", k.Name, k.ID)
		}
	}
	for _, p := range j.w.box.AWS.Snapshot().Parameters {
		if strings.HasSuffix(p.Name, ".pending") {
			j.breach(noPending, "%s has %d versions", p.Name, len(p.Versions))
		}
	}
	if !verdict.OK {
		j.breach(stateTrue, "%s", strings.Join(verdict.Problems, "; "))
	}
}

// people judges whether what they did had its effect, and whether they were told
// nothing else.
func (j *judge) people() {
	op := j.ops[0]
	if op.Approver.User != j.user("bob") && op.State != operation.Pending {
		j.breach(nothingLost, "bob confirmed, and the operation is confirmed by %q", op.Approver.User)
	}
	alice, err := j.w.read("alice")
	if err != nil || !strings.Contains(alice, string(op.ID)) {
		j.breach(nothingLost, "alice was not told that her request was taken: %q %v", alice, err)
	}
	bob, err := j.w.read("bob")
	for person, text := range map[string]string{"alice": alice, "bob": bob} {
		again := person == "alice" && j.deeds.commands > 1 || person == "bob" && j.deeds.clicks > 1
		if err != nil || !again && (strings.Contains(text, "hing was changed") || strings.Contains(text, "changed nothing") || strings.Contains(text, "went wrong") || strings.Contains(text, "not counted")) {
			j.breach(nothingLost, "%s was told what is not so: %q %v", person, text, err)
		}
	}
}

func (j *judge) user(name string) operation.UserID {
	i := slices.IndexFunc(j.w.box.Team.People, func(p sandbox.Person) bool { return p.Name == name })
	return operation.UserID(j.w.box.Team.People[i].Slack)
}

func (j *judge) approval(op operation.Operation) {
	count := map[operation.Event]int{}
	for _, e := range j.entries {
		if e.Operation == op.ID && e.Outcome != operation.Refused {
			count[e.Event]++
		}
	}
	for _, event := range []operation.Event{operation.Request, operation.Confirm, operation.Begin} {
		if count[event] != 1 {
			j.breach(usedOnce, "%d entries of %q in the record", count[event], event)
		}
	}
}

// key is what a message's metadata says that it tells.
func key(m slack.Message) (key, kind string) {
	payload, ok := m.Metadata["event_payload"].(map[string]any)
	if !ok {
		return "", ""
	}
	key, _ = payload["key"].(string)
	kind, _ = payload["kind"].(string)
	return key, kind
}

// about is the operation that a message's metadata says it is about.
func about(m slack.Message) string {
	payload, _ := m.Metadata["event_payload"].(map[string]any)
	id, _ := payload["operation"].(string)
	return id
}

// thread judges whether each result was told once, in order, under one card or, once
// it is there, in the operation's room.
func (j *judge) thread(op operation.Operation) {
	var cards []slack.Message
	var told []string
	seen := map[string]bool{}
	for _, m := range j.messages {
		if about(m) != string(op.ID) {
			continue
		}
		k, kind := key(m)
		if seen[k] {
			j.breach(toldOnce, "%s was told twice", k)
		}
		seen[k] = true
		switch operation.NoticeKind(kind) {
		case operation.NoticeCard:
			cards = append(cards, m)
		case operation.NoticeEntry:
			told = append(told, k)
			if m.ThreadTS != string(op.Card) && (op.RoomStatus == "" || m.ThreadTS != string(op.RoomStatus)) {
				j.breach(toldOnce, "%s stands under %s and the card is %s", k, m.ThreadTS, op.Card)
			}
		default: // checkpoints are no results
		}
	}
	if len(cards) != 1 || cards[0].TS != string(op.Card) {
		j.breach(toldOnce, "%d cards; the operation's is %s", len(cards), op.Card)
	} else if !strings.Contains(strings.ToLower(cards[0].Text), op.State.Words()) {
		j.breach(stateTrue, "the card does not say that the operation is %s: %s", op.State.Words(), cards[0].Text)
	}
	var want []string
	for _, e := range j.entries {
		if e.Operation == op.ID && !e.Quiet {
			want = append(want, fmt.Sprintf("entry:%s:%d", op.ID, e.Sequence))
		}
	}
	if !slices.Equal(told, want) {
		j.breach(toldOnce, "the thread tells %v and the record has %v", told, want)
	}
}

// state judges whether the world is as the first operation's state claims.
func (j *judge) state() {
	op := j.ops[0]
	verdict, err := j.w.box.Check(secret)
	if err != nil || len(verdict.Keys) == 0 {
		return // told already
	}
	ours := verdict.Keys[0].Name == "twokey:"+string(op.ID)
	if ours != (op.State == operation.Succeeded) {
		j.breach(stateTrue, "the operation is %q and the key that is left is called %q", op.State, verdict.Keys[0].Name)
	}
}

func (j *judge) record(ctx context.Context) {
	src, err := audit.Open(ctx, j.w.address)
	if err != nil {
		j.breach(recordWhole, "%v", err)
		return
	}
	defer func() { _ = src.Close() }() // read only
	known, err := audit.ReadVerifiers(j.w.verifier)
	if err != nil {
		j.breach(recordWhole, "%v", err)
		return
	}
	var posted []string
	for _, m := range j.messages {
		posted = append(posted, audit.FindCheckpoints(m.Text)...)
	}
	report, err := audit.Verify(ctx, src, posted, known)
	if err != nil || !report.Whole() || report.Posted == 0 {
		j.breach(recordWhole, "%d posted checkpoints, findings %+v, %v", len(posted), report.Findings, err)
	}
}
