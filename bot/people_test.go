package bot_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

func TestEverybodyIsWhoSlackSaysTheyAreNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	team := operation.TeamID(w.slack.Team().ID)
	for name, tt := range map[string]struct {
		user slack.User
		want operation.Member
	}{
		"a full member":        {slack.User{RealName: "Erin", Email: "erin@example.test"}, operation.Member{Team: team, Name: "Erin", Email: "erin@example.test"}},
		"a guest":              {slack.User{RealName: "Gina", Restricted: true}, operation.Member{Team: team, Name: "Gina", Guest: true}},
		"a guest of a channel": {slack.User{RealName: "Gus", Restricted: true, UltraRestricted: true}, operation.Member{Team: team, Name: "Gus", Guest: true}},
		"a bot":                {slack.User{RealName: "Robot", Bot: true}, operation.Member{Team: team, Name: "Robot", Bot: true}},
		"somebody who left":    {slack.User{RealName: "Lee", Deleted: true}, operation.Member{Team: team, Name: "Lee", Deactivated: true}},
		"a stranger":           {slack.User{RealName: "Stan", TeamID: "T0OTHER"}, operation.Member{Team: "T0OTHER", Name: "Stan", Stranger: true}},
		"hidden characters":    {slack.User{RealName: "A\u202edmin"}, operation.Member{Team: team, Name: "Admin"}},
	} {
		tt.user.Name = strings.ReplaceAll(name, " ", "-")
		u := w.slack.AddUser(tt.user)
		w.meet(u)
		tt.want.User = operation.UserID(u.ID)
		got, err := b.Member(t.Context(), tt.want.User)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// meet puts somebody into a shared channel: strangers elsewhere are nobody to Slack.
func (w *world) meet(u slack.User) {
	w.t.Helper()
	w.must(w.slack.AddChannel(slack.Channel{Name: "with-" + u.Name, Members: []string{u.ID}, ExtShared: true}))
}

func TestAColleagueOfAnotherWorkspaceIsNoStrangerOnlyInTheSameEnterprise(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ours, theirs string
		stranger     bool
	}{
		"the same enterprise":    {"E0ONE", "E0ONE", false},
		"another enterprise":     {"E0ONE", "E0TWO", true},
		"no enterprise on ours":  {"", "E0TWO", true},
		"no enterprise anywhere": {"", "", true},
	} {
		w := newWorld(t)
		team := w.slack.Team()
		team.Enterprise = tt.ours
		w.slack.SetTeam(team)
		u := w.slack.AddUser(slack.User{Name: "erin", TeamID: "T0OTHER", Enterprise: tt.theirs})
		w.meet(u)
		got, err := w.bot().Member(t.Context(), operation.UserID(u.ID))
		if err != nil || got.Stranger != tt.stranger {
			t.Errorf("%s: stranger %v, %v", name, got.Stranger, err)
		}
	}
}

func TestTheGroupIsReadAtEveryLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	look := func(want ...operation.UserID) {
		t.Helper()
		got, err := b.Group(t.Context(), "S0APPROVERS")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	look("U0BOB", "U0CAROL")
	w.must(nil, w.slack.ChangeGroup("platform-approvers", []string{"dave"}, []string{"bob"}))
	look("U0CAROL", "U0DAVE")
}

// Slack takes twenty looks into groups a minute.
func TestManyWhoAskAtOnceShareALookThatIsNewerThanTheirQuestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	const list = "slack.usergroups.users.list"
	w.cond.SetLatency(list, 200*time.Millisecond)
	var all sync.WaitGroup
	// Its answer is on the way when somebody leaves: it is not for those who ask now.
	w.cond.At(list, 1, conditions.After, func(*http.Request) {
		w.must(nil, w.slack.ChangeGroup("platform-approvers", []string{"dave"}, []string{"bob"}))
		for range 40 {
			all.Go(func() {
				if got, err := b.Group(t.Context(), "S0APPROVERS"); err != nil || !slices.Equal(got, []operation.UserID{"U0CAROL", "U0DAVE"}) {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
	})
	if got, err := b.Group(t.Context(), "S0APPROVERS"); err != nil || !slices.Equal(got, []operation.UserID{"U0BOB", "U0CAROL"}) {
		t.Errorf("who asked first: %v, %v", got, err)
	}
	all.Wait()
	if n := w.cond.Counts()[list]; n > 3 { // a third for who came late
		t.Errorf("41 looks took %d calls", n)
	}
}

func TestChannelsWithPeopleFromOutsideAreShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	for name, tt := range map[string]struct {
		channel slack.Channel
		want    operation.Channel
	}{
		"plain":    {slack.Channel{}, operation.Channel{Member: true}},
		"private":  {slack.Channel{Private: true}, operation.Channel{Member: true}},
		"shared":   {slack.Channel{ExtShared: true}, operation.Channel{Shared: true, Member: true}},
		"invited":  {slack.Channel{PendingExtShared: true}, operation.Channel{Shared: true, Member: true}},
		"org":      {slack.Channel{OrgShared: true}, operation.Channel{Member: true}},
		"archived": {slack.Channel{Archived: true}, operation.Channel{Archived: true, Member: true}},
	} {
		tt.channel.Name = "c-" + name
		c, err := w.slack.AddChannel(tt.channel)
		w.must(c, err)
		tt.want.ID, tt.want.Name = operation.ChannelID(c.ID), c.Name
		got, err := b.Channel(t.Context(), tt.want.ID)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestALookUpThatFailsIsAnErrorAndNeverAnAnswer(t *testing.T) {
	t.Parallel()
	for _, fault := range []conditions.Fault{
		{Kind: conditions.Refuse, Status: 200, Code: "user_not_found"}, {Kind: conditions.ServerErr, Status: 500},
		{Kind: conditions.CutBefore}, {Kind: conditions.CutAfter}, {Kind: conditions.Nonsense},
	} {
		w := newWorld(t)
		b := w.bot()
		if _, err := b.Member(t.Context(), "U0ALICE"); err != nil { // the bot knows itself now
			t.Fatal(err)
		}
		fault.Operation = "*"
		w.cond.Add(fault)
		if m, err := b.Member(t.Context(), "U0ALICE"); err == nil {
			t.Errorf("%s: member %+v", fault.Kind, m)
		}
		if g, err := b.Group(t.Context(), "S0APPROVERS"); err == nil {
			t.Errorf("%s: group %v", fault.Kind, g)
		}
		if c, err := b.Channel(t.Context(), operation.ChannelID(w.ops)); err == nil {
			t.Errorf("%s: channel %+v", fault.Kind, c)
		}
	}
}

func TestALookUpWaitsWhenSlackThrottles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	w.cond.Add(conditions.Fault{Operation: "slack.usergroups.users.list", Kind: conditions.Throttle, Status: 429, RetryAfter: 1, Count: 1})
	if g, err := b.Group(t.Context(), "S0APPROVERS"); err != nil || len(g) != 2 {
		t.Errorf("%v, %v", g, err)
	}
}

func TestAWhisperIsForOnePersonAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	elsewhere, err := w.slack.ChannelID("elsewhere")
	w.must(elsewhere, err)
	dm := func() []slack.Message { return w.channel("@alice") }
	for name, tt := range map[string]struct {
		in     bot.Intent
		direct bool
	}{
		"where they are":            {bot.Intent{Channel: operation.ChannelID(w.ops)}, false},
		"where the bot is not":      {bot.Intent{Channel: operation.ChannelID(elsewhere)}, true},
		"in a channel nobody knows": {bot.Intent{Channel: "C0NOWHERE"}, true},
		"in a direct message":       {bot.Intent{Channel: "D0WHATEVER"}, true},
		"from the Home tab":         {bot.Intent{}, true},
	} {
		before := len(dm())
		tt.in.User = "U0ALICE"
		if err := b.Whisper(t.Context(), tt.in, name+": only <@U0ALICE> & nobody <!here>"); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := name + ": only <@U0ALICE> &amp; nobody &lt;!here&gt;"
		private, err := w.slack.Ephemerals("platform-ops", "alice")
		w.must(private, err)
		got := private
		if tt.direct {
			got = dm()[before:]
		}
		if len(got) != 1 || got[0].Text != want {
			t.Errorf("%s: alice reads %+v", name, got)
		}
		if public := w.channel("platform-ops"); len(public) != 0 {
			t.Errorf("%s: everybody reads %+v", name, public)
		}
	}
}

func TestAWhisperAnswersInTheThread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent, err := w.slack.Say("bob", "platform-ops", "look", "")
	w.must(parent, err)
	in := bot.Intent{User: "U0ALICE", Channel: operation.ChannelID(w.ops), Thread: operation.MessageID(parent.TS)}
	w.must(nil, w.bot().Whisper(t.Context(), in, "no"))
	private, err := w.slack.Ephemerals("platform-ops", "alice")
	w.must(private, err)
	if len(private) != 1 || private[0].ThreadTS != parent.TS {
		t.Errorf("whispered %+v", private)
	}
}

func TestAWhisperThatCannotBeToldIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cond.Add(conditions.Fault{Operation: "slack.chat.postEphemeral", Kind: conditions.ServerErr, Status: 500})
	if err := w.bot().Whisper(t.Context(), bot.Intent{User: "U0ALICE", Channel: operation.ChannelID(w.ops)}, "no"); err == nil {
		t.Error("no error")
	}
}

func TestAModalComesBackFilledIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	w.run(b)
	w.command("/rotate")
	m := bot.RotateModal(bot.RotateForm{
		Servers: []string{"github", "sharepoint"}, Environments: []string{"dev", "prod"}, Server: "sharepoint", ChangePattern: `CHG\d+`, Metadata: "C0OPS",
	})
	if err := b.OpenModal(t.Context(), w.inbox.all()[0].Trigger, m); err != nil {
		t.Fatal(err)
	}
	screen, err := w.slack.Views("alice")
	w.must(screen, err)
	if len(screen.Modals) != 1 {
		t.Fatalf("alice sees %+v", screen)
	}
	r, err := w.slack.Submit("alice", screen.Modals[0].ID, map[string]any{
		bot.InputEnvironment: "prod", bot.InputChange: "CHG1", bot.InputReason: "It expires.",
	})
	w.must(r, err)
	if !r.Acked || len(r.Errors) > 0 {
		t.Fatalf("alice saw %+v", r)
	}
	in := w.inbox.all()[1]
	want := map[string]string{bot.InputServer: "sharepoint", bot.InputEnvironment: "prod", bot.InputChange: "CHG1", bot.InputReason: "It expires."}
	if diff := cmp.Diff(want, in.Values); diff != "" || in.Kind != bot.IntentSubmission || in.Callback != bot.CallbackRotate || in.Metadata != "C0OPS" || in.User != "U0ALICE" {
		t.Errorf("received %+v\n%s", in, diff)
	}
}

func TestAnExpiredTriggerOpensNoModal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slack.Set(func(s *slack.Settings) { s.TriggerSeconds = 0 })
	b := w.bot()
	w.run(b)
	w.command("/rotate")
	err := b.OpenModal(t.Context(), w.inbox.all()[0].Trigger, bot.DenyModal(operation.Operation{ID: "k7m2p9", Digest: "d", Channel: "C", Card: "1.2"}))
	if !isExpired(err) {
		t.Errorf("got %v", err)
	}
	screen, err := w.slack.Views("alice")
	w.must(screen, err)
	if len(screen.Modals) != 0 {
		t.Errorf("alice sees %+v", screen)
	}
}

func isExpired(err error) bool { return errors.Is(err, bot.ErrTriggerExpired) }

func TestSlackTakesEveryModal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bot()
	w.run(b)
	for name, m := range bot.AllModals() {
		w.command("/rotate")
		in := w.inbox.all()
		if err := b.OpenModal(t.Context(), in[len(in)-1].Trigger, m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
