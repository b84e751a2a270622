package slack

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/slack-go/slack"

	"github.com/twokey/twokey/sandbox/conditions"
)

func TestTokensAreRefusedByTheirRealNames(t *testing.T) {
	w := newWorld(t)
	at := api.OptionAPIURL(w.address + "api/")
	_, err := api.New("", at).AuthTest()
	wants(t, err, "not_authed")
	_, err = api.New("xoxb-wrong", at).AuthTest()
	wants(t, err, "invalid_auth")
	_, _, err = api.New(w.AppToken(), at).PostMessage(w.ops, api.MsgOptionText("x", false))
	wants(t, err, "not_allowed_token_type")
	_, _, err = api.New("", at, api.OptionAppLevelToken(w.BotToken())).StartSocketModeContext(t.Context())
	wants(t, err, "not_allowed_token_type")
	w.RefuseToken("bot", "token_revoked")
	_, err = w.client().AuthTest()
	wants(t, err, "token_revoked")
	w.RefuseToken("bot", "")
	who, err := w.client().AuthTest()
	if err != nil || who.UserID != w.BotUserID() || who.TeamID != w.Team().ID || who.BotID == "" {
		t.Errorf("got %+v, %v", who, err)
	}
}

func TestAuthTestTellsTheScopes(t *testing.T) {
	w := newWorld(t)
	w.SetScopes("chat:write", "commands")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.address+"api/auth.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.BotToken())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.Header.Get("X-OAuth-Scopes"); got != "chat:write,commands" {
		t.Errorf("got %q", got)
	}
}

func TestAMissingScopeIsNamed(t *testing.T) {
	w := newWorld(t)
	w.SetScopes("commands", "channels:history")
	_, _, err := w.client().PostMessage(w.ops, api.MsgOptionText("x", false))
	var refused api.SlackErrorResponse
	if !errors.As(err, &refused) || refused.Err != "missing_scope" || refused.Needed != "chat:write" || refused.Provided != "commands,channels:history" {
		t.Errorf("got %+v", err)
	}
	if _, err := w.client().GetConversationHistory(&api.GetConversationHistoryParameters{ChannelID: w.ops}); err != nil {
		t.Errorf("history: %v", err)
	}
	private, err := w.AddChannel(Channel{Name: "secret", Private: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.client().GetConversationHistory(&api.GetConversationHistoryParameters{ChannelID: private.ID})
	wants(t, err, "missing_scope") // a private channel takes groups:history
}

func TestAMessageCanBePostedReadEditedAndDeleted(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	meta := api.SlackMetadata{EventType: "step", EventPayload: map[string]any{"operation": "k7m2p9", "step": float64(3)}}
	_, card, err := client.PostMessage(w.ops, api.MsgOptionText("card", false), api.MsgOptionBlocks(section("card")), api.MsgOptionMetadata(meta))
	if err != nil {
		t.Fatal(err)
	}
	_, reply, err := client.PostMessage(w.ops, api.MsgOptionText("step 1", false), api.MsgOptionTS(card), api.MsgOptionMetadata(meta))
	if err != nil {
		t.Fatal(err)
	}
	replies := func(all bool) []api.Message {
		t.Helper()
		msgs, _, _, err := client.GetConversationReplies(&api.GetConversationRepliesParameters{ChannelID: w.ops, Timestamp: card, IncludeAllMetadata: all})
		if err != nil {
			t.Fatal(err)
		}
		return msgs
	}
	thread := replies(true)
	if len(thread) != 2 || thread[0].ReplyCount != 1 || thread[1].Timestamp != reply || thread[1].ThreadTimestamp != card || thread[1].Metadata.EventPayload["operation"] != "k7m2p9" {
		t.Errorf("got %+v", thread)
	}
	if bare := replies(false); bare[1].Metadata.EventType != "" {
		t.Error("metadata came without being asked for")
	}
	history, err := client.GetConversationHistory(&api.GetConversationHistoryParameters{ChannelID: w.ops, IncludeAllMetadata: true})
	if err != nil || len(history.Messages) != 1 || len(history.Messages[0].Blocks.BlockSet) != 1 {
		t.Errorf("got %+v, %v", history, err)
	}
	if _, _, _, err := client.UpdateMessage(w.ops, card, api.MsgOptionText("decided", false)); err != nil {
		t.Fatal(err)
	}
	if edited := replies(true)[0]; edited.Text != "decided" || edited.Edited == nil || len(edited.Blocks.BlockSet) != 0 || edited.Metadata.EventType != "step" {
		t.Errorf("text without blocks keeps metadata and takes the blocks away; got %+v", edited)
	}
	link, err := client.GetPermalink(&api.PermalinkParameters{Channel: w.ops, Ts: reply})
	if err != nil || !strings.Contains(link, "/archives/"+w.ops+"/p"+strings.ReplaceAll(reply, ".", "")) {
		t.Errorf("got %s, %v", link, err)
	}
	if _, _, err := client.DeleteMessage(w.ops, reply); err != nil {
		t.Fatal(err)
	}
	if len(replies(true)) != 1 {
		t.Error("the deleted reply is still there")
	}
}

func TestMessagesAreRefusedByTheirRealNames(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.Limits = false })
	client := w.client()
	said, err := w.Say("bob", w.ops, "hello", "")
	if err != nil {
		t.Fatal(err)
	}
	archived, _ := w.AddChannel(Channel{Name: "old", Archived: true})
	outside, _ := w.AddChannel(Channel{Name: "outside", WithoutBot: true})
	hidden, _ := w.AddChannel(Channel{Name: "hidden", Private: true, WithoutBot: true})
	_, own, err := client.PostMessage(w.ops, api.MsgOptionText("own", false))
	if err != nil {
		t.Fatal(err)
	}
	text := api.MsgOptionText("x", false)
	post := func(channel string, options ...api.MsgOption) func() error {
		return func() error { _, _, err := client.PostMessage(channel, options...); return err }
	}
	update := func(ts string, options ...api.MsgOption) func() error {
		return func() error { _, _, _, err := client.UpdateMessage(w.ops, ts, options...); return err }
	}
	stan, _ := w.UserID("stan")
	for name, tc := range map[string]struct {
		do   func() error
		want string
	}{
		"an unknown channel":         {post("C0NOWHERE00", text), "channel_not_found"},
		"a hidden channel":           {post(hidden.ID, text), "channel_not_found"},
		"a channel without the bot":  {post(outside.ID, text), "not_in_channel"},
		"an archived channel":        {post(archived.ID, text), "is_archived"},
		"nothing":                    {post(w.ops), "no_text"},
		"a thread that isn't":        {post(w.ops, text, api.MsgOptionTS("1.000001")), "thread_not_found"},
		"someone else's message":     {update(said.TS, text), "cant_update_message"},
		"a message that isn't":       {update("1.000001", text), "message_not_found"},
		"too long an update":         {update(own, api.MsgOptionText(strings.Repeat("x", 4001), false)), "msg_too_long"},
		"someone else's, to delete":  {func() error { _, _, err := client.DeleteMessage(w.ops, said.TS); return err }, "cant_delete_message"},
		"an ephemeral to a stranger": {func() error { _, err := client.PostEphemeral(w.ops, stan, text); return err }, "user_not_in_channel"},
	} {
		if err := tc.do(); err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
	if _, ts, err := client.PostMessage(w.ops, api.MsgOptionText(strings.Repeat("x", 40001), false)); err != nil || len(w.State().(State).Messages[w.ops][2].Text) != 40000 {
		t.Errorf("a longer text is cut: %s, %v", ts, err)
	}
	w.SetScopes("chat:write", "chat:write.public")
	if err := post(outside.ID, text)(); err != nil {
		t.Errorf("chat:write.public: %v", err)
	}
}

func TestHistoryIsPagedAndBounded(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.Limits = false })
	var stamps []string
	for i := range 7 {
		m, err := w.Say("bob", w.ops, fmt.Sprint(i), "")
		if err != nil {
			t.Fatal(err)
		}
		stamps = append(stamps, m.TS)
	}
	client := w.client()
	var texts []string
	cursor := ""
	for page := 0; page == 0 || cursor != ""; page++ {
		h, err := client.GetConversationHistory(&api.GetConversationHistoryParameters{ChannelID: w.ops, Limit: 3, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range h.Messages {
			texts = append(texts, m.Text)
		}
		cursor = h.ResponseMetaData.NextCursor
		if h.HasMore != (cursor != "") {
			t.Errorf("page %d: has_more %v, cursor %q", page, h.HasMore, cursor)
		}
	}
	if got := strings.Join(texts, ""); got != "6543210" {
		t.Errorf("got %s", got)
	}
	for inclusive, want := range map[bool]string{false: "43", true: "5432"} {
		h, err := client.GetConversationHistory(&api.GetConversationHistoryParameters{ChannelID: w.ops, Oldest: stamps[2], Latest: stamps[5], Inclusive: inclusive})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, m := range h.Messages {
			got += m.Text
		}
		if got != want {
			t.Errorf("inclusive %v: got %s, want %s", inclusive, got, want)
		}
	}
	_, err := client.GetConversationHistory(&api.GetConversationHistoryParameters{ChannelID: w.ops, Cursor: "rubbish"})
	wants(t, err, "invalid_cursor")
}

func TestTimestampsStayUniqueWhenTheClockIsSetBack(t *testing.T) {
	w := newWorld(t)
	first, err := w.Say("bob", w.ops, "1", "")
	if err != nil {
		t.Fatal(err)
	}
	w.cond.Clock.Advance(-time.Hour)
	second, err := w.Say("bob", w.ops, "2", "")
	if err != nil || compareTS(second.TS, first.TS) <= 0 {
		t.Errorf("%s is not after %s, %v", second.TS, first.TS, err)
	}
}

func TestChannelsAreMadeFilledAndArchived(t *testing.T) {
	w := newWorld(t)
	w.Set(func(s *Settings) { s.Limits = false })
	client := w.client()
	bob, _ := w.UserID("bob")
	dora, _ := w.UserID("dora")
	ch, err := client.CreateConversation(api.CreateConversationParams{ChannelName: "inc-1"})
	if err != nil || ch.Name != "inc-1" {
		t.Fatalf("got %+v, %v", ch, err)
	}
	_, err = client.CreateConversation(api.CreateConversationParams{ChannelName: "inc-1"})
	wants(t, err, "name_taken")
	_, err = client.CreateConversation(api.CreateConversationParams{ChannelName: "Inc 1"})
	wants(t, err, "invalid_name_specials")
	if _, err := client.InviteUsersToConversation(ch.ID, bob); err != nil {
		t.Fatal(err)
	}
	_, err = client.InviteUsersToConversation(ch.ID, bob)
	wants(t, err, "already_in_channel")
	_, err = client.InviteUsersToConversation(ch.ID, dora)
	wants(t, err, "cant_invite")
	if _, err := client.SetTopicOfConversation(ch.ID, "the topic"); err != nil {
		t.Fatal(err)
	}
	info, err := client.GetConversationInfo(&api.GetConversationInfoInput{ChannelID: ch.ID, IncludeNumMembers: true})
	if err != nil || info.Topic.Value != "the topic" || info.NumMembers != 2 || !info.IsMember {
		t.Errorf("got %+v, %v", info, err)
	}
	members, _, err := client.GetUsersInConversation(&api.GetUsersInConversationParameters{ChannelID: ch.ID})
	if err != nil || !slices.Contains(members, bob) {
		t.Errorf("got %v, %v", members, err)
	}
	if err := client.ArchiveConversation(ch.ID); err != nil {
		t.Fatal(err)
	}
	wants(t, client.ArchiveConversation(ch.ID), "already_archived")
	other, _ := w.AddChannel(Channel{Name: "other", WithoutBot: true})
	if _, _, _, err := client.JoinConversation(other.ID); err != nil {
		t.Error(err)
	}
	list, _, err := client.GetConversations(&api.GetConversationsParameters{ExcludeArchived: true})
	if err != nil || len(list) != 2 {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestSharedChannelsSayWhomTheyAreSharedWith(t *testing.T) {
	w := newWorld(t)
	for name, ch := range map[string]Channel{
		"vendor":  {Name: "vendor", ExtShared: true},
		"invited": {Name: "invited", PendingExtShared: true},
		"org":     {Name: "org", OrgShared: true},
	} {
		added, err := w.AddChannel(ch)
		if err != nil {
			t.Fatal(err)
		}
		info, err := w.client().GetConversationInfo(&api.GetConversationInfoInput{ChannelID: added.ID})
		if err != nil || info.IsExtShared != ch.ExtShared || info.IsPendingExtShared != ch.PendingExtShared || info.IsOrgShared != ch.OrgShared || info.IsShared != (ch.ExtShared || ch.OrgShared) {
			t.Errorf("%s: got %+v, %v", name, info, err)
		}
	}
}

func TestPeopleAreShownAsTheyAre(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	info := func(name string) *api.User {
		t.Helper()
		id, err := w.UserID(name)
		if err != nil {
			t.Fatal(err)
		}
		u, err := client.GetUserInfo(id)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return u
	}
	if u := info("alice"); u.IsRestricted || u.Deleted || u.IsBot || u.Profile.Email != "alice@example.com" || u.TeamID != w.Team().ID {
		t.Errorf("got %+v", u)
	}
	if u := info("gina"); !u.IsRestricted || !u.IsUltraRestricted {
		t.Errorf("got %+v", u)
	}
	if u := info("dora"); !u.Deleted {
		t.Errorf("got %+v", u)
	}
	stan, _ := w.UserID("stan")
	_, err := client.GetUserInfo(stan)
	wants(t, err, "user_not_visible")
	if _, err := w.AddChannel(Channel{Name: "vendor", ExtShared: true, Members: []string{"stan"}}); err != nil {
		t.Fatal(err)
	}
	if u := info("stan"); u.TeamID == w.Team().ID {
		t.Errorf("got %+v", u)
	}
	_, err = client.GetUserInfo("U0NOBODY000")
	wants(t, err, "user_not_found")
	if u, err := client.GetUserByEmail("Bob@example.com"); err != nil || u.Name != "bob" {
		t.Errorf("got %+v, %v", u, err)
	}
	_, err = client.GetUserByEmail("nobody@example.com")
	wants(t, err, "users_not_found")
	w.SetScopes("users:read")
	if u := info("alice"); u.Profile.Email != "" {
		t.Error("the e-mail address takes a scope of its own")
	}
}

func TestAGroupIsReadAsItIsNow(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	group, err := w.GroupID("approvers")
	if err != nil {
		t.Fatal(err)
	}
	bob, _ := w.UserID("bob")
	alice, _ := w.UserID("alice")
	before, err := client.GetUserGroupMembers(group)
	if err != nil || !slices.Contains(before, bob) {
		t.Fatalf("got %v, %v", before, err)
	}
	if err := w.ChangeGroup("approvers", []string{"alice"}, []string{"bob"}); err != nil {
		t.Fatal(err)
	}
	after, err := client.GetUserGroupMembers(group)
	if err != nil || slices.Contains(after, bob) || !slices.Contains(after, alice) {
		t.Errorf("got %v, %v", after, err)
	}
	_, err = client.GetUserGroupMembers("S0NOWHERE00")
	wants(t, err, "no_such_subteam")
	groups, err := client.GetUserGroups(api.GetUserGroupsOptionIncludeUsers(true))
	if err != nil || len(groups) != 1 || groups[0].Handle != "approvers" || len(groups[0].Users) != 2 {
		t.Errorf("got %+v, %v", groups, err)
	}
}

func TestADirectMessageIsOpenedOnce(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	alice, _ := w.UserID("alice")
	dora, _ := w.UserID("dora")
	first, _, _, err := client.OpenConversation(&api.OpenConversationParameters{Users: []string{alice}})
	if err != nil {
		t.Fatal(err)
	}
	second, _, open, err := client.OpenConversation(&api.OpenConversationParameters{Users: []string{alice}})
	if err != nil || second.ID != first.ID || !open {
		t.Errorf("got %+v, %v, %v", second, open, err)
	}
	if _, _, err := client.PostMessage(alice, api.MsgOptionText("for you", false)); err != nil {
		t.Error(err)
	}
	if msgs, err := w.Messages("@alice", "alice"); err != nil || len(msgs) != 1 {
		t.Errorf("got %+v, %v", msgs, err)
	}
	_, _, _, err = client.OpenConversation(&api.OpenConversationParameters{Users: []string{dora}})
	wants(t, err, "user_disabled")
}

func TestPinsBookmarksAndReactionsStay(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	_, ts, err := client.PostMessage(w.ops, api.MsgOptionText("status", false))
	if err != nil {
		t.Fatal(err)
	}
	item := api.NewRefToMessage(w.ops, ts)
	if err := client.AddPin(w.ops, item); err != nil {
		t.Fatal(err)
	}
	wants(t, client.AddPin(w.ops, item), "already_pinned")
	if pins, _, err := client.ListPins(w.ops); err != nil || len(pins) != 1 || pins[0].Message.Text != "status" {
		t.Errorf("got %+v, %v", pins, err)
	}
	b, err := client.AddBookmark(w.ops, api.AddBookmarkParameters{Title: "Runbook", Type: "link", Link: "https://example.com/runbook"})
	if err != nil {
		t.Fatal(err)
	}
	title := "The runbook"
	if _, err := client.EditBookmark(w.ops, b.ID, api.EditBookmarkParameters{Title: &title}); err != nil {
		t.Fatal(err)
	}
	if list, err := client.ListBookmarks(w.ops); err != nil || len(list) != 1 || list[0].Title != title {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := client.AddReaction("eyes", item); err != nil {
		t.Fatal(err)
	}
	wants(t, client.AddReaction("eyes", item), "already_reacted")
}

func TestAFileIsUploadedAndShared(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	f, err := client.UploadFile(api.UploadFileParameters{Filename: "audit.csv", Content: "a,b\n1,2\n", FileSize: 8, Title: "Audit", Channel: w.ops, InitialComment: "here"})
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := w.Messages(w.ops, "alice")
	if err != nil || len(msgs) != 1 || msgs[0].Text != "here" || !slices.Equal(msgs[0].Files, []string{f.ID}) {
		t.Errorf("got %+v, %v", msgs, err)
	}
	info, _, _, err := client.GetFileInfo(f.ID, 0, 0)
	if err != nil || info.Title != "Audit" || info.Size != 8 {
		t.Errorf("got %+v, %v", info, err)
	}
	var content strings.Builder
	if err := client.GetFile(info.URLPrivateDownload, &content); err != nil || content.String() != "a,b\n1,2\n" {
		t.Errorf("got %q, %v", content.String(), err)
	}
	if _, err := client.UploadFile(api.UploadFileParameters{Filename: "x", Content: "four", FileSize: 5, Channel: w.ops}); err == nil {
		t.Error("a file of another size than promised was taken")
	}
}

func TestOneMessageASecondInAChannel(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	other, err := w.AddChannel(Channel{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	var limited *api.RateLimitedError
	posted := 0
	for err == nil && posted < 20 {
		if _, _, err = client.PostMessage(w.ops, api.MsgOptionText("x", false)); err == nil {
			posted++
		}
	}
	if !errors.As(err, &limited) || limited.RetryAfter != time.Second || posted > 5 {
		t.Fatalf("after %d: %v", posted, err)
	}
	if _, _, err := client.PostMessage(other.ID, api.MsgOptionText("x", false)); err != nil {
		t.Errorf("another channel: %v", err)
	}
	w.cond.Clock.Advance(time.Second)
	if _, _, err := client.PostMessage(w.ops, api.MsgOptionText("x", false)); err != nil {
		t.Errorf("a second later: %v", err)
	}
	w.Set(func(s *Settings) { s.Limits = false })
	for range 10 {
		if _, _, err := client.PostMessage(w.ops, api.MsgOptionText("x", false)); err != nil {
			t.Errorf("switched off: %v", err)
		}
	}
}

func TestUserGroupsAreReadTwentyTimesAMinute(t *testing.T) {
	w := newWorld(t)
	group, _ := w.GroupID("approvers")
	for i := range 21 {
		_, err := w.client().GetUserGroupMembers(group)
		if (err != nil) != (i == 20) {
			t.Errorf("read %d: %v", i+1, err)
		}
	}
}

func TestALimitedCallIsRetriedBySlackGoAndArrives(t *testing.T) {
	w := newWorld(t)
	client := w.client(api.OptionRetry(3))
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.Throttle, RetryAfter: 1, Count: 1})
	if _, _, err := client.PostMessage(w.ops, api.MsgOptionText("x", false)); err != nil {
		t.Error(err)
	}
	if n := w.cond.Counts()["slack.chat.postMessage"]; n != 2 {
		t.Errorf("called %d times", n)
	}
}

func TestAFaultSpeaksAsSlackWould(t *testing.T) {
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.users.info", Kind: conditions.Refuse, Code: "internal_error", Count: 1})
	_, err := w.client().GetUserInfo("U1")
	wants(t, err, "internal_error")
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postMessage", Kind: conditions.CutAfter, Count: 1})
	if _, _, err := w.client().PostMessage(w.ops, api.MsgOptionText("posted", false)); err == nil {
		t.Error("the answer was not lost")
	}
	if msgs, _ := w.Messages(w.ops, ""); len(msgs) != 1 || msgs[0].Text != "posted" {
		t.Errorf("got %+v", msgs)
	}
}

func TestAMethodThatReadsFormsOnlyMissesItsArgumentsInJSON(t *testing.T) {
	w := newWorld(t)
	call := func(method, kind, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.address+"api/"+method, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.BotToken())
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			OK    bool   `json:"ok"`
			Error string `json:"error"`
		}
		decodeInto(t, resp, &out)
		return out.Error
	}
	alice, _ := w.UserID("alice")
	form, asJSON := "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	for _, tc := range []struct{ method, kind, body, want string }{
		{"users.info", form, url.Values{"user": {alice}}.Encode(), ""},
		{"users.info", asJSON, `{"user":"` + alice + `"}`, "invalid_arguments"},
		{"chat.postMessage", asJSON, `{"channel":"` + w.ops + `","text":"x","blocks":[{"type":"divider"}]}`, ""},
		{"chat.postMessage", form, url.Values{"channel": {w.ops}, "text": {"x"}, "blocks": {`[{"type":"divider"}]`}}.Encode(), ""},
		{"chat.postMessage", form, url.Values{"channel": {w.ops}, "blocks": {`[{"type":`}}.Encode(), "invalid_blocks_format"},
		{"chat.postMessage", asJSON, `{"channel":`, "invalid_json"},
		{"chat.postMessage", asJSON, `[]`, "json_not_object"},
		{"chat.postMessage", "text/plain", `x`, "invalid_post_type"},
		{"chat.postMessage", asJSON, `{"text":"x"}`, "invalid_arguments"},
		{"chat.shout", form, "", "unknown_method"},
	} {
		if got := call(tc.method, tc.kind, tc.body); got != tc.want {
			t.Errorf("%s %s %s: got %q, want %q", tc.method, tc.kind, tc.body, got, tc.want)
		}
	}
}

func TestWhoIsPingedIsTold(t *testing.T) {
	w := newWorld(t)
	client := w.client()
	_, _, err := client.PostMessage(w.ops, api.MsgOptionText("fallback <!here>", false), api.MsgOptionBlocks(section("<!channel> <@U123|bob> <!subteam^S1> &lt;!everyone&gt; <https://example.com|x>")))
	if err != nil {
		t.Fatal(err)
	}
	msgs, _ := w.Messages(w.ops, "")
	if got := msgs[0].Mentions; !slices.Equal(got, []string{"!channel", "U123", "S1"}) {
		t.Errorf("got %v", got)
	}
}

func TestTheBotListsTheChannelsThatItIsInAndNoOthers(t *testing.T) {
	w := newWorld(t)
	if _, err := w.AddChannel(Channel{Name: "elsewhere", WithoutBot: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddChannel(Channel{Name: "hidden", Private: true}); err != nil {
		t.Fatal(err)
	}
	channels, _, err := w.client().GetConversationsForUser(&api.GetConversationsForUserParameters{Types: []string{"public_channel", "private_channel"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range channels {
		names = append(names, c.Name)
	}
	if !slices.Contains(names, "hidden") || slices.Contains(names, "elsewhere") {
		t.Errorf("the bot is in %v", names)
	}
	w.SetScopes("channels:read")
	_, _, err = w.client().GetConversationsForUser(&api.GetConversationsForUserParameters{Types: []string{"public_channel", "private_channel"}})
	if err == nil || err.Error() != "missing_scope" {
		t.Errorf("without groups:read: %v", err)
	}
}
