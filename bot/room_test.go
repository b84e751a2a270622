package bot_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

const incident operation.ID = "q4x7tz"

// roomName is what the incident's channel shall be called.
const roomName = "inc-2026-03-02-sharepoint-prod"

// emergency is a confirmed emergency that gets a room.
func (w *world) emergency() operation.Operation {
	op := w.pending(incident)
	op.Kind, op.State = "emergency_disable", operation.Running
	op.Approver = operation.Person{User: "U0BOB", Name: "Bob"}
	op.DecidedAt = op.RequestedAt
	op.Plan.Urgent, op.Plan.MustType = true, "sharepoint/prod"
	op.Plan.Room = &operation.Room{Name: roomName, Runbook: "https://wiki.example.com/leaked"}
	return op
}

// quick makes a bot that keeps to no limits, in a Slack that has none.
func (w *world) quick() *bot.Bot {
	w.slack.Set(func(s *slack.Settings) { s.Limits = false })
	return w.bot(func(c *bot.Config) { c.Spacing, c.EditSpacing = time.Millisecond, time.Millisecond })
}

// api calls Slack as the bot, to look.
func (w *world) api() *slackgo.Client {
	return slackgo.New(w.slack.BotToken(), slackgo.OptionAPIURL(w.address+"/"), slackgo.OptionHTTPClient(w.client))
}

const lane = "room:" + string(incident)

func roomNotice() operation.Notice {
	return operation.Notice{Key: "room:" + string(incident), Kind: operation.NoticeRoom, Operation: incident, Lane: lane}
}

func statusNotice(n int) operation.Notice {
	return operation.Notice{Key: fmt.Sprintf("status:%s:%d", incident, n), Kind: operation.NoticeStatus, Operation: incident, Lane: lane}
}

func inRoom(text string) operation.Notice {
	n := entry(incident, text)
	n.Lane = lane
	return n
}

func fileNotice(o *outbox, name, body string, at time.Time) operation.Notice {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.documents[name] = operation.Document{Operation: incident, Name: name, Title: "Title of " + name, Body: []byte(body), At: at}
	return operation.Notice{Key: fmt.Sprintf("file:%s:%s:%d", incident, name, at.UnixMicro()), Kind: operation.NoticeFile, Operation: incident, Lane: lane, Document: name}
}

// opened is an outbox with everything that a confirmation writes down. The card is
// there already: it was clicked.
func (w *world) opened(op operation.Operation) *outbox {
	w.t.Helper()
	_, ts, err := w.api().PostMessage(w.ops, slackgo.MsgOptionText("Confirm?", false))
	w.must(ts, err)
	op.Card = operation.MessageID(ts)
	o := newOutbox(op)
	o.add(w.in(card(incident, 1), roomNotice(), statusNotice(1), inRoom("Remove the compromised key"))...)
	return o
}

// op is the operation as it is now.
func (w *world) op(o *outbox) operation.Operation {
	w.t.Helper()
	op, err := o.Operation(w.t.Context(), incident)
	w.must(op, err)
	return op
}

// outline is what people read, threads indented.
func outline(messages []slack.Message) string {
	var out strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&out, "\n%s %q %v", m.TS, m.Text, m.Files)
		for _, r := range m.Replies {
			fmt.Fprintf(&out, "\n    %s %q %v", r.TS, r.Text, r.Files)
		}
	}
	return out.String()
}

func TestAnEmergencyGetsAChannelWithAPinnedStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.slack.AddGroup(slack.Group{ID: "S0RESPONDERS", Handle: "responders", Users: []string{"dave"}}))
	op := w.emergency()
	op.Plan.Room.Invite, op.Plan.Room.Group = []operation.UserID{"U0CAROL"}, "S0RESPONDERS"
	o := w.opened(op)
	b := w.quick()
	w.post(b, o)
	w.told(o)

	op = w.op(o)
	room := w.channel(roomName)
	if len(room) != 1 || operation.MessageID(room[0].TS) != op.RoomStatus || len(room[0].Replies) != 1 {
		t.Fatalf("the room shows %s", outline(room))
	}
	if !strings.Contains(room[0].Replies[0].Text, "Remove the compromised key") {
		t.Errorf("under the status: %q", room[0].Replies[0].Text)
	}
	info, err := w.api().GetConversationInfo(&slackgo.GetConversationInfoInput{ChannelID: string(op.RoomChannel)})
	w.must(info, err)
	if want := "EMERGENCY: disable sharepoint/prod, operation q4x7tz. Asked for by Alice, confirmed by Bob."; info.Topic.Value != want || info.IsPrivate {
		t.Errorf("the topic is %q, private %v", info.Topic.Value, info.IsPrivate)
	}
	members, _, err := w.api().GetUsersInConversation(&slackgo.GetUsersInConversationParameters{ChannelID: string(op.RoomChannel)})
	w.must(members, err)
	for _, who := range []string{"U0ALICE", "U0BOB", "U0CAROL", "U0DAVE"} {
		if !slices.Contains(members, who) {
			t.Errorf("%s is not in the room", who)
		}
	}
	pins, _, err := w.api().ListPins(string(op.RoomChannel))
	w.must(pins, err)
	if len(pins) != 1 || pins[0].Message.Timestamp != room[0].TS {
		t.Errorf("pinned are %+v", pins)
	}
	if got := w.bookmarks(op); !slices.Equal(got, []string{"Card", "Runbook"}) {
		t.Errorf("bookmarks %v", got)
	}
	if top := w.channel("platform-ops"); len(top) != 1 || len(top[0].Replies) != 0 || !strings.Contains(top[0].Text, "Follow it in <#"+string(op.RoomChannel)+">") {
		t.Errorf("the operations channel shows %s", outline(top))
	}

	// The status is edited in place, and nothing is pinned or marked twice.
	o.change(incident, func(op *operation.Operation) { op.State, op.EndedAt = operation.Succeeded, time.Now() })
	o.add(w.in(statusNotice(2), inRoom("Check the MCP server"))...)
	b.Nudge()
	w.told(o)
	room = w.channel(roomName)
	if len(room) != 1 || !strings.Contains(room[0].Text, "Check the MCP server") || !strings.Contains(room[0].Text, "Done.") || len(room[0].Replies) != 2 {
		t.Errorf("the room shows %s", outline(room))
	}
	if got := w.bookmarks(op); len(got) != 2 {
		t.Errorf("bookmarks %v", got)
	}
}

func (w *world) bookmarks(op operation.Operation) []string {
	w.t.Helper()
	all, err := w.api().ListBookmarks(string(op.RoomChannel))
	w.must(all, err)
	var titles []string
	for _, b := range all {
		titles = append(titles, b.Title)
	}
	return titles
}

func TestANameThatSomebodyElseHasGetsANumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.slack.AddChannel(slack.Channel{Name: roomName, Members: []string{"dave"}, WithoutBot: true}))
	w.must(w.slack.AddChannel(slack.Channel{Name: roomName + "-2", Creator: "U0DAVE", Topic: "operation q4x7tz", Members: []string{"dave"}})) // the bot is in it, and did not make it
	o := w.opened(w.emergency())
	w.post(w.quick(), o)
	w.told(o)
	if room := w.channel(roomName + "-3"); len(room) != 1 {
		t.Errorf("the third name shows %s", outline(room))
	}
	for _, name := range []string{roomName, roomName + "-2"} {
		if m := w.channel(name); len(m) != 0 {
			t.Errorf("%s shows %s", name, outline(m))
		}
	}
}

func TestARoomThatIsRefusedIsToldInTheThreadWhichServesInstead(t *testing.T) {
	t.Parallel()
	for code, says := range map[string]string{
		"restricted_action": "an administrator lets only some people do that", "missing_scope": "channels:manage",
		"invalid_name_specials": "does not take the name " + roomName, "cannot_create_channel": "cannot_create_channel",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.quick()
			w.must(b.Member(t.Context(), "U0BOB")) // the start, at which all scopes were there
			if code == "missing_scope" {
				w.slack.SetScopes(slices.DeleteFunc(bot.Scopes(), func(s string) bool { return s == "channels:manage" })...)
			} else {
				w.cond.Add(conditions.Fault{Operation: "slack.conversations.create", Kind: conditions.Refuse, Status: 200, Code: code})
			}
			o := w.opened(w.emergency())
			w.post(b, o)
			w.told(o)
			op := w.op(o)
			top := w.channel("platform-ops")
			if op.RoomChannel != "" || op.RoomStatus != "" || len(top) != 1 || len(top[0].Replies) != 2 {
				t.Fatalf("room %q, the operations channel shows %s", op.RoomChannel, outline(top))
			}
			if why := top[0].Replies[0].Text; !strings.Contains(why, "There is no incident channel.") || !strings.Contains(why, says) {
				t.Errorf("the thread says %q", why)
			}
			if !strings.Contains(top[0].Text, "It has no channel of its own") {
				t.Errorf("the card says %q", top[0].Text)
			}
		})
	}
}

func TestACrashBetweenMakingAChannelAndNotingItMakesNoSecond(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world, o *outbox){
		"the answer was lost":      func(w *world, _ *outbox) { w.cut("slack.conversations.create") },
		"it could not be noted":    func(_ *world, o *outbox) { o.deaf = 1 },
		"the topic's was lost":     func(w *world, _ *outbox) { w.cut("slack.conversations.setTopic") },
		"the invitations' was":     func(w *world, _ *outbox) { w.cut("slack.conversations.invite") },
		"the notice was not noted": func(_ *world, o *outbox) { o.lease, o.failing = 300*time.Millisecond, 3 },
		"the status' was":          func(w *world, _ *outbox) { w.cut("slack.chat.postMessage") },
		"the pin's was":            func(w *world, _ *outbox) { w.cut("slack.pins.add") },
		"a bookmark's was":         func(w *world, _ *outbox) { w.cut("slack.bookmarks.add") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.opened(w.emergency())
			prepare(w, o)
			w.post(w.quick(), o)
			w.told(o)
			room := w.channel(roomName)
			if len(room) != 1 || len(room[0].Replies) != 1 {
				t.Errorf("the room shows %s", outline(room))
			}
			if _, err := w.slack.ChannelID(roomName + "-2"); err == nil {
				t.Error("there is a second channel")
			}
			if got := w.bookmarks(w.op(o)); !slices.Equal(got, []string{"Card", "Runbook"}) {
				t.Errorf("bookmarks %v", got)
			}
		})
	}
}

// cut loses the answer of the first call of an operation, whose effect happens.
func (w *world) cut(operation string) {
	w.cond.Add(conditions.Fault{Operation: operation, Kind: conditions.CutAfter, Count: 1})
}

func TestWhoCannotBeInvitedIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slack.AddUser(slack.User{ID: "U0GONE", Name: "gone", Deleted: true})
	op := w.emergency()
	op.Plan.Room.Invite, op.Plan.Room.Group = []operation.UserID{"U0GONE", "U0CAROL", "U0NOBODY"}, "S0MISSING"
	o := w.opened(op)
	w.post(w.quick(), o)
	w.told(o)
	room := w.channel(roomName)
	if len(room) != 2 {
		t.Fatalf("the room shows %s", outline(room))
	}
	for _, want := range []string{"<@U0GONE>", "<@U0NOBODY>", "the group S0MISSING"} {
		if !strings.Contains(room[0].Text, want) {
			t.Errorf("%q does not name %s", room[0].Text, want)
		}
	}
	members, _, err := w.api().GetUsersInConversation(&slackgo.GetUsersInConversationParameters{ChannelID: string(w.op(o).RoomChannel)})
	w.must(members, err)
	if !slices.Contains(members, "U0ALICE") || !slices.Contains(members, "U0CAROL") {
		t.Errorf("in the room are %v", members)
	}
}

func TestAConfiguredChannelIsUsedUnlessOthersCanReadIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		channel slack.Channel
		trouble string
	}{
		"as it is":   {slack.Channel{Name: "incidents", Topic: "Ours"}, ""},
		"shared":     {slack.Channel{Name: "incidents", ExtShared: true}, "outside the organisation"},
		"archived":   {slack.Channel{Name: "incidents", Archived: true}, "is archived"},
		"not in it":  {slack.Channel{Name: "incidents", WithoutBot: true}, "invite me"},
		"not seen":   {slack.Channel{Name: "incidents", Private: true, WithoutBot: true}, "invite the bot"},
		"not public": {slack.Channel{Name: "incidents", Private: true, Topic: "Ours"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c, err := w.slack.AddChannel(tt.channel)
			w.must(c, err)
			op := w.emergency()
			op.Plan.Room.Channel = operation.ChannelID(c.ID)
			o := w.opened(op)
			w.post(w.quick(), o)
			w.told(o)
			op = w.op(o)
			if (op.RoomTrouble == "") != (tt.trouble == "") || !strings.Contains(op.RoomTrouble, tt.trouble) {
				t.Errorf("trouble %q, want %q", op.RoomTrouble, tt.trouble)
			}
			if n := w.cond.Counts()["slack.conversations.setTopic"]; n != 0 {
				t.Errorf("people's topic was set %d times", n)
			}
		})
	}
}

func TestARoomThatIsArchivedIsLeftForTheThread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.opened(w.emergency())
	b := w.quick()
	w.post(b, o)
	w.told(o)
	w.must(nil, w.slack.ChangeChannel(roomName, func(c *slack.Channel) { c.Archived = true }))
	o.add(w.in(statusNotice(2), inRoom("Redeploy the service"))...)
	b.Nudge()
	w.told(o)
	top := w.channel("platform-ops")
	if len(top) != 1 || len(top[0].Replies) != 1 || !strings.Contains(top[0].Replies[0].Text, "Redeploy the service") {
		t.Errorf("the operations channel shows %s", outline(top))
	}
	if op := w.op(o); op.RoomTrouble == "" {
		t.Error("nobody knows that the room is lost")
	}
}

func TestARoomThatHangsHoldsNothingUpInTheOperationsChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.conversations.create", Kind: conditions.Timeout})
	hanging := make(chan struct{})
	w.cond.At("slack.conversations.create", 1, conditions.Before, func(*http.Request) { close(hanging) })
	o := w.opened(w.emergency())
	w.post(w.quick(), o)
	select {
	case <-hanging:
	case <-time.After(deadline):
		t.Fatal("nobody makes the room")
	}
	o.change(incident, func(op *operation.Operation) { op.State, op.Trouble = operation.Parked, "It stopped." })
	o.add(w.in(card(incident, 2))...)
	w.until("edit", func() bool { return strings.Contains(w.channel("platform-ops")[0].Text, "It stopped.") })
	if n := w.cond.Counts()["slack.conversations.create"]; n > 1 || o.empty() {
		t.Errorf("the card waited for %d attempts to make a room", n)
	}
}

func TestASlackThatNeverMakesTheChannelIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.conversations.create", Kind: conditions.Refuse, Status: 200, Code: "internal_error"})
	o := w.opened(w.emergency())
	o.mu.Lock()
	o.rows[1].n.Attempts = 5 // it has been tried for a while
	o.mu.Unlock()
	w.post(w.quick(), o)
	w.told(o)
	if top := w.channel("platform-ops"); len(top) != 1 || len(top[0].Replies) != 2 || !strings.Contains(top[0].Replies[0].Text, "did not make one in 6 attempts") {
		t.Errorf("the operations channel shows %s", outline(top))
	}
}

func TestADeletedStatusIsPostedAnewAndPinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.opened(w.emergency())
	b := w.quick()
	w.post(b, o)
	w.told(o)
	op := w.op(o)
	_, _, err := w.api().DeleteMessage(string(op.RoomChannel), string(op.RoomStatus))
	w.must(nil, err)
	o.add(w.in(inRoom("told beside it"), statusNotice(2), inRoom("told under the new one"))...)
	b.Nudge()
	w.told(o)
	now := w.op(o)
	if now.RoomStatus == op.RoomStatus {
		t.Fatal("the status is still the deleted one")
	}
	pins, _, err := w.api().ListPins(string(op.RoomChannel))
	w.must(pins, err)
	if !slices.ContainsFunc(pins, func(p slackgo.Item) bool { return p.Message.Timestamp == string(now.RoomStatus) }) {
		t.Errorf("pinned are %+v", pins)
	}
	all := fmt.Sprint(w.channel(roomName))
	for _, want := range []string{"told beside it", "told under the new one"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not told: %s", want, all)
		}
	}
}

func TestAPageRingsWhileTheEmergencyIsPendingAndNotAfterwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.emergency()
	op.State, op.Approver = operation.Pending, operation.Person{}
	o := newOutbox(op)
	page := func(user operation.UserID, n int) operation.Notice {
		key := fmt.Sprintf("page:%s:%s:%d", incident, user, n)
		return operation.Notice{Key: key, Lane: key, Kind: operation.NoticePage, Operation: incident, User: user, Text: "Emergency: <@U0ALICE> asks. <!channel>"}
	}
	o.add(w.in(card(incident, 1))...)
	b := w.quick()
	w.post(b, o)
	w.told(o)
	o.add(w.in(page("U0BOB", 0), page("U0CAROL", 0))...)
	b.Nudge()
	w.told(o)
	for _, who := range []string{"@bob", "@carol"} {
		m := w.channel(who)
		if len(m) != 1 || !strings.Contains(m[0].Text, "Emergency: <@U0ALICE> asks.") || !strings.Contains(m[0].Text, "|Open the card>") || slices.Contains(m[0].Mentions, "!channel") {
			t.Errorf("%s reads %s", who, outline(m))
		}
	}
	o.change(incident, func(op *operation.Operation) { op.State = operation.Denied })
	o.add(w.in(page("U0BOB", 1), page("U0CAROL", 1))...)
	b.Nudge()
	w.told(o)
	if m := w.channel("@bob"); len(m) != 1 {
		t.Errorf("bob was called after the decision: %s", outline(m))
	}
}

func TestAnEmergencysCardRingsOnceAndAnEditNeverDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.emergency()
	op.State, op.Approver = operation.Pending, operation.Person{}
	o := newOutbox(op)
	o.lease, o.failing = 300*time.Millisecond, 1 // the post is not noted: found again, it is edited
	o.add(w.in(card(incident, 1))...)
	b := w.quick()
	stop := w.post(b, o)
	w.until("first post", func() bool { return len(w.channel("platform-ops")) == 1 })
	first := w.channel("platform-ops")[0]
	if !slices.Contains(first.Mentions, "S0APPROVERS") {
		t.Errorf("the first post rings with %v", first.Mentions)
	}
	w.told(o)
	stop()
	o.change(incident, func(op *operation.Operation) { op.Plan.Warnings = []string{"something"} })
	o.add(w.in(card(incident, 2))...)
	w.post(b, o)
	w.told(o)
	top := w.channel("platform-ops")
	if len(top) != 1 || slices.Contains(top[0].Mentions, "S0APPROVERS") || top[0].Edits == 0 {
		t.Errorf("after an edit the channel shows %s", outline(top))
	}
}

func TestAFileIsUploadedOnceAndBookmarked(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world, o *outbox){
		"nothing goes wrong":  func(*world, *outbox) {},
		"the answer was lost": func(w *world, _ *outbox) { w.cut("slack.files.completeUploadExternal") },
		"it never arrived": func(w *world, _ *outbox) {
			w.cond.Add(conditions.Fault{Operation: "slack.files.completeUploadExternal", Kind: conditions.CutBefore, Count: 1})
		},
		"the bytes never arrived": func(w *world, _ *outbox) {
			w.cond.Add(conditions.Fault{Operation: "slack.upload", Kind: conditions.CutBefore, Count: 1})
		},
		"it could not be noted": func(_ *world, o *outbox) { o.lease, o.failing = 300*time.Millisecond, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.opened(w.emergency())
			b := w.quick()
			w.post(b, o)
			w.told(o)
			prepare(w, o)
			made := time.Date(2026, 3, 2, 9, 13, 0, 0, time.UTC)
			o.add(w.in(fileNotice(o, "audit-sharepoint-prod.csv", "at,who\n", made))...)
			b.Nudge()
			w.told(o)
			w.files(1)
			// The same again, as two notices of one version.
			o.add(w.in(fileNotice(o, "audit-sharepoint-prod.csv", "at,who\n", made))...)
			b.Nudge()
			w.told(o)
			w.files(1)
			// A newer version is another file, under the same bookmark.
			o.add(w.in(fileNotice(o, "audit-sharepoint-prod.csv", "at,who\nnow,dave\n", made.Add(time.Minute)))...)
			b.Nudge()
			w.told(o)
			w.files(2)
			all, err := w.api().ListBookmarks(string(w.op(o).RoomChannel))
			w.must(all, err)
			thread := w.channel(roomName)[0].Replies
			if newest := strings.ReplaceAll(thread[len(thread)-1].TS, ".", ""); len(all) != 3 || !strings.Contains(all[2].Link, newest) {
				t.Errorf("bookmarks %+v, want one of %s", all, newest)
			}
		})
	}
}

// files checks how many files there are under the room's status.
func (w *world) files(want int) {
	w.t.Helper()
	n := 0
	for _, m := range w.channel(roomName)[0].Replies {
		n += len(m.Files)
	}
	if n != want {
		w.t.Errorf("%d files in the thread, want %d", n, want)
	}
}

func TestAFileThatIsRefusedIsToldInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.files.getUploadURLExternal", Kind: conditions.Refuse, Status: 200, Code: "restricted_action"})
	o := w.opened(w.emergency())
	o.add(w.in(fileNotice(o, "report.md", "", time.Now()), inRoom("after the file"))...)
	w.post(w.quick(), o)
	w.told(o)
	thread := w.channel(roomName)[0].Replies
	if len(thread) != 3 || !strings.Contains(thread[1].Text, "Title of report.md (report.md) could not be uploaded.") {
		t.Errorf("the thread shows %s", outline(thread))
	}
}

func TestADrillIsMarkedWhereverItShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.emergency()
	op.Options = map[operation.Option]string{operation.OptionDrill: "true"}
	op.Plan.Room.Name = "Canary.Dev"
	o := w.opened(op)
	o.add(w.in(fileNotice(o, "report.md", "# Draft\n", time.Now()))...)
	w.post(w.quick(), o)
	w.told(o)
	room := w.channel("drill-canary-dev")
	if len(room) != 1 || len(room[0].Replies) != 2 {
		t.Fatalf("the room shows %s", outline(room))
	}
	for _, text := range []string{w.channel("platform-ops")[0].Text, room[0].Text} {
		if !strings.HasPrefix(text, "DRILL: ") {
			t.Errorf("not marked: %q", text)
		}
	}
	if text := room[0].Replies[0].Text; !strings.Contains(text, "Drill.") {
		t.Errorf("not marked: %q", text)
	}
	if got := w.bookmarks(w.op(o)); !slices.Contains(got, "DRILL: Title of report.md") {
		t.Errorf("bookmarks %v", got)
	}
}
