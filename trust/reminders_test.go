package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/endpoint"
	"github.com/twokey/twokey/sandbox/slack"
)

// cares are what people did about reminders, as they experienced it.
type cares struct {
	takes int // how often it took until Slack took carol's click
}

// escalations is where reminders escalate that nobody takes.
const escalations = "C0ESCALATED"

// The mornings of the play, counted in days from its start, and what happens on them.
const (
	dayOne     = 1  // all is told that is near; carol takes one thing, bob snoozes another
	dayBack    = 4  // the bot was down since; then sharepoint/prod is rotated
	daySnoozed = 13 // something is due that is snoozed
	dayAwake   = 15
	quietUntil = 15 // the day on which bob's snooze ends, an hour before the morning
)

func mornings() []int { return []int{dayOne, dayBack, 6, daySnoozed, dayAwake} }

// reminders are sixteen days of a bot that reminds, with a rotation among them. The
// clock that people see jumps from morning to morning.
func reminders() story {
	s := rotation()
	s.name, s.clock, s.rooms, s.lapses = "reminders", peoples, []string{escalations}, []string{"github/dev"}
	s.config = func(config string) string {
		return strings.Replace(config, "\nreminders:\n", "\nsweeps: {off: true}\npolicy: {off: true}\ndigest: {cron: \"0 9 * * 1\", zone: Europe/Berlin}\nreminders:\n  escalation: "+escalations+"\n", 1)
	}
	s.set = func(w *world) {
		_, _ = w.box.Slack.AddChannel(slack.Channel{ID: escalations, Name: "escalations", Members: []string{"alice", "bob", "carol"}})
	}
	s.first = func(w *world, d *deeds) error {
		if err := w.morning(dayOne); err != nil {
			return err
		}
		if err := w.takeCare(d); err != nil {
			return err
		}
		if err := w.downtime(); err != nil {
			return err
		}
		return w.morning(dayBack)
	}
	s.more = func(w *world) error {
		if err := w.until(w.ctx, patience, "the rotation's end", w.over); err != nil {
			return err
		}
		for _, day := range mornings()[2:] {
			if err := w.morning(day); err != nil {
				return err
			}
		}
		return nil
	}
	s.judge = func(ctx context.Context, j *judge) {
		j.reminded(ctx)
		j.digests(ctx)
		j.pace()
	}
	return s
}

// reminderSweeps break the play of reminders.
func reminderSweeps() []sweep {
	where := func(db string, replicas int) setting {
		return setting{database: db, replicas: replicas, overlap: 3 * time.Second, story: reminders()}
	}
	slow := func(db string) setting {
		s := setting{database: db, replicas: 2, overlap: 25 * time.Second, story: reminders()}
		s.story.ends = append(s.story.ends, operation.TakenBack)
		return s
	}
	var out []sweep
	for _, db := range []string{"sqlite", "postgres"} {
		one := map[string]int{"sqlite": 1}[db]
		out = append(out,
			sweep{where(db, 1), killing(), atCalls(), one},
			sweep{where(db, 1), killing(), atCommits(), 0},
			sweep{where(db, 3), killing(), atCalls(), 0},
			sweep{where(db, 1), killingTwice(), atCalls(), 0},
			sweep{where(db, 3), killingTwice(), atCalls(), 0},
			sweep{where(db, 1), losingTheAnswer(), afterWrites(), 0},
			sweep{where(db, 1), losingTheAnswerAndCrashing(), afterWrites(), 0},
			sweep{slow(db), freezing(), atCalls(), 0},
			sweep{slow(db), freezing(), atCommits(), 0},
		)
	}
	return out
}

// zone is the schedule's.
func zone() *time.Location {
	where, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err) // nothing can be judged without
	}
	return where
}

// dawn is the instant after nine on the n-th morning. The play begins before the
// first, and is long over before the real one.
func (w *world) dawn(n int) time.Time {
	start := w.began.In(zone())
	return time.Date(start.Year(), start.Month(), start.Day()+n, 9, 0, 1, 0, zone())
}

// pass lets time pass, for the world first, so that nothing of the bot's is early.
func (w *world) pass(d time.Duration) error {
	w.box.Clock.Advance(d)
	for _, r := range w.replicas {
		if err := r.clock.move(d); err != nil {
			return err
		}
	}
	return nil
}

// morning lets the n-th morning come, and waits until everything is told.
func (w *world) morning(n int) error {
	scheduled := func() bool {
		var n int
		err := w.db.QueryRowContext(w.ctx, "SELECT COUNT(*) FROM ticks").Scan(&n)
		return err == nil && n == 2
	}
	if err := w.until(w.ctx, patience, "the schedules to begin", scheduled); err != nil {
		return err
	}
	nine := w.dawn(n).Add(-time.Second)
	if d := w.dawn(n).Sub(w.box.Clock.Now()); d > 0 {
		if err := w.pass(d.Truncate(time.Second) + time.Second); err != nil {
			return err
		}
	}
	monday := n - (int(nine.Weekday())+6)%7
	asked := func() bool {
		var reminders, digest int64
		err := w.db.QueryRowContext(w.ctx, `SELECT (SELECT answered_at FROM ticks WHERE name LIKE 'reminders %'),
			(SELECT answered_at FROM ticks WHERE name LIKE 'digest %')`).Scan(&reminders, &digest)
		return err == nil && reminders >= nine.UnixMicro() && (monday <= 0 || digest >= w.dawn(monday).Add(-time.Second).UnixMicro())
	}
	if err := w.until(w.ctx, patience, fmt.Sprintf("the question of day %d", n), asked); err != nil {
		return err
	}
	return w.until(w.ctx, patience, fmt.Sprintf("everything of day %d to be told", n), func() bool {
		rest, err := w.watch.rest(w.ctx)
		return err == nil && rest == 0
	})
}

// takeCare has people do something about the first reminders.
func (w *world) takeCare(d *deeds) error {
	var err error
	w.cares.takes, err = w.insist("carol's click", func() (slack.Result, error) {
		card, err := w.reminder("github/dev", bot.ActionTake)
		if err != nil {
			return slack.Result{}, err
		}
		return w.box.Slack.Click("carol", channel, card.TS, bot.ActionTake)
	}, func() bool {
		card, err := w.reminder("github/dev", "")
		return err == nil && strings.Contains(card.Text, "Taken by")
	})
	if err != nil {
		return err
	}
	snoozed := func() bool {
		card, err := w.reminder("jira/dev", "")
		return err == nil && strings.Contains(card.Text, "Snoozed by")
	}
	d.clicks, err = w.insist("bob's snooze", func() (slack.Result, error) {
		card, err := w.reminder("jira/dev", bot.ActionSnooze)
		if err != nil {
			return slack.Result{}, err
		}
		if !w.hasForm("bob") {
			if result, err := w.box.Slack.Click("bob", channel, card.TS, bot.ActionSnooze); err != nil || result.Error != "" {
				return result, err
			}
			if w.until(w.ctx, formTime, "the form", func() bool { return w.hasForm("bob") }) != nil {
				return slack.Result{Error: "no form came"}, nil // whoever was to open it died
			}
		}
		end := w.dawn(quietUntil).Add(-time.Hour).Truncate(time.Minute)
		return w.box.Slack.Submit("bob", "", map[string]any{bot.InputUntil: end.Unix(), bot.InputReason: "the vendor is in a release freeze"})
	}, snoozed)
	return err
}

// reminder is the newest card of a secret, with that button when one is named.
func (w *world) reminder(name, action string) (slack.Message, error) {
	messages, err := w.messages()
	if err != nil {
		return slack.Message{}, err
	}
	var newest slack.Message
	for _, m := range messages {
		has := action == "" || slices.ContainsFunc(m.Actions, func(a slack.Action) bool { return a.ActionID == action })
		if has && mark(m) != "" && strings.HasPrefix(m.Text, name+" ") && m.TS > newest.TS {
			newest = m
		}
	}
	if newest.TS == "" {
		return newest, slack.ErrNotShown
	}
	return newest, nil
}

// mark is the reminder that a message's metadata says it is of, as "round/reminder".
func mark(m slack.Message) string {
	payload, _ := m.Metadata["event_payload"].(map[string]any)
	text, _ := payload["reminder"].(string)
	return text
}

// downtime ends all replicas, lets days pass, and starts them again.
func (w *world) downtime() error {
	if err := w.settled(); err != nil {
		return err
	}
	for _, r := range w.replicas {
		r.kill()
	}
	if err := w.until(w.ctx, patience, "the bot to be down", func() bool { return len(w.box.Slack.Sockets()) == 0 }); err != nil {
		return err
	}
	if err := w.pass(w.dawn(dayBack).Sub(w.box.Clock.Now()).Truncate(time.Second) + time.Second); err != nil {
		return err
	}
	return w.startAll()
}

// told is a reminder as the database has it and as a calendar would: on which
// morning, of what, and at which stage.
type told struct {
	day   int
	name  string
	stage int
}

func (t told) String() string { return fmt.Sprintf("day %d: %s, %d", t.day, t.name, t.stage) }

// expected is what somebody tells who has a calendar, and knows what people did.
func (w *world) expected() []told {
	ends := map[string]time.Time{}
	for _, s := range w.box.Team.Secrets {
		ends[s.Name] = s.Expires
	}
	for _, c := range w.box.AWS.Snapshot().Certificates {
		if c.Imported {
			ends[c.Domain] = c.End
		}
	}
	if shown, ok := w.box.Endpoint.State().(endpoint.State); ok {
		ends[shown.Address] = shown.Shown.End
	}
	lowest := map[string]int{}
	var out []told
	for _, day := range mornings() {
		for name, end := range ends {
			stage, due := milestone(day, w.leaves(end), !w.dawn(day).Before(end))
			last, before := lowest[name]
			switch {
			case !due || before && stage >= last:
			case name == secret && day > dayBack: // rotated
			case name == "jira/dev" && day > dayOne && day < quietUntil:
			default:
				lowest[name] = stage
				out = append(out, told{day, name, stage})
			}
		}
	}
	slices.SortFunc(out, compareTold)
	return out
}

func compareTold(a, b told) int {
	return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.name, b.name), cmp.Compare(a.stage, b.stage))
}

// milestone is the latest stage on a day of what ends on another.
func milestone(day, end int, over bool) (int, bool) {
	if over {
		return end - day, true
	}
	for _, stage := range []int{1, 3, 7, 14, 30, 60, 90} {
		if end-day <= stage {
			return stage, true
		}
	}
	return 0, false
}

// leaves counts the leaves of a calendar from the first day to that of an instant.
func (w *world) leaves(to time.Time) int {
	n := 0
	for to.In(zone()).Format(time.DateOnly) > w.dawn(n).Format(time.DateOnly) {
		n++
	}
	return n
}

// stored is a reminder of the database's.
type stored struct {
	operation.Reminder
	place, channel string
	round          int64
	escalation     int64
}

func (j *judge) stored(ctx context.Context) ([]stored, error) {
	rows, err := j.w.db.QueryContext(ctx, "SELECT r.id, r.round, r.escalation, r.place, r.body, o.channel FROM reminders r JOIN reminder_rounds o ON o.id = r.round ORDER BY r.id")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var out []stored
	for rows.Next() {
		var s stored
		var id int64
		var body string
		if err := rows.Scan(&id, &s.round, &s.escalation, &s.place, &body, &s.channel); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &s.Reminder); err != nil {
			return nil, err
		}
		s.ID = operation.ReminderID(id)
		out = append(out, s)
	}
	return out, rows.Err()
}

// reminded judges whether what was told is what a calendar says, each where it
// belongs and once, and whether what people did about it counts.
func (j *judge) reminded(ctx context.Context) {
	all, err := j.stored(ctx)
	if err != nil {
		j.breach(calendar, "%v", err)
		return
	}
	var got []told
	shown := map[string][]slack.Message{}
	for _, m := range j.messages {
		if k := mark(m); k != "" && !strings.HasPrefix(kindOf(m), string(operation.NoticeCare)) {
			shown[k] = append(shown[k], m)
		}
	}
	want := map[string]bool{}
	for _, s := range all {
		day := j.w.leaves(s.At)
		got = append(got, told{day, s.Name, int(s.Stage)})
		round, card := fmt.Sprintf("%d/0", s.round), fmt.Sprintf("%d/%d", s.round, s.ID)
		j.stands(round, s.channel, "", j.w.dawn(day), shown)
		want[round] = true
		if s.place == "card" {
			if posted := shown[round]; len(posted) > 0 {
				j.stands(card, s.channel, posted[0].TS, j.w.dawn(day), shown)
			}
			want[card] = true
		}
		if s.escalation != 0 {
			j.stands(fmt.Sprintf("%d/0", s.escalation), escalations, "", j.w.dawn(day), shown)
			want[fmt.Sprintf("%d/0", s.escalation)] = true
		}
		if escalates := s.Stage <= 7 && day == dayOne; escalates != (s.escalation != 0) { // carol took github/dev after that
			j.breach(calendar, "%s at stage %d: it escalated: %t", s.Name, s.Stage, s.escalation != 0)
		}
	}
	for k, posted := range shown {
		if !want[k] {
			j.breach(calendar, "%d messages say that they are reminder %s, which there is not: %s", len(posted), k, posted[0].Text)
		}
	}
	slices.SortFunc(got, compareTold)
	if expected := j.w.expected(); !slices.Equal(got, expected) {
		j.breach(calendar, "told were %v, and a calendar says %v", got, expected)
	}
	j.cared(all)
}

func kindOf(m slack.Message) string {
	_, kind := key(m)
	return kind
}

// stands judges whether a reminder's message is there once, where it belongs, and not
// before its time.
func (j *judge) stands(key, channel, thread string, due time.Time, shown map[string][]slack.Message) {
	posted := shown[key]
	if len(posted) != 1 {
		j.breach(toldOnce, "reminder %s stands there %d times", key, len(posted))
		return
	}
	m := posted[0]
	if m.Channel != channel || m.ThreadTS != thread {
		j.breach(calendar, "reminder %s stands in %s under %q, and belongs into %s under %q", key, m.Channel, m.ThreadTS, channel, thread)
	}
	if at := instantOf(m.TS); at.Before(due.Add(-2 * time.Second)) {
		j.breach(calendar, "reminder %s was told at %s, before %s", key, at, due)
	}
}

// instantOf is when Slack took a message.
func instantOf(ts string) time.Time {
	seconds, err := strconv.ParseFloat(ts, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(seconds * 1e6))
}

// cared judges whether what people did stands in the record once, in the thread, and
// on the card, and whether the rotation closed its reminder.
func (j *judge) cared(all []stored) {
	for step, who := range map[string]string{operation.StepTaken: "carol", operation.StepSnoozed: "bob"} {
		var entries []operation.Entry
		for _, e := range j.entries {
			if e.Step == step && e.Outcome == operation.Noted {
				entries = append(entries, e)
			}
		}
		lines := 0
		for _, m := range j.messages {
			if k, kind := key(m); kind == string(operation.NoticeCare) && len(entries) > 0 && k == fmt.Sprintf("care:%d", entries[0].Sequence) {
				lines++
			}
		}
		if len(entries) != 1 || lines != 1 || entries[0].By == nil || entries[0].By.User != j.user(who) {
			j.breach(nothingLost, "%s: %d entries by %s in the record, %d lines in the thread", step, len(entries), who, lines)
		}
	}
	carol, err := j.w.read("carol")
	if err != nil || j.w.cares.takes == 1 && carol != "" {
		j.breach(nothingLost, "carol clicked once and was told %q %v", carol, err)
	}
	for _, s := range all {
		if s.Name != secret {
			continue
		}
		i := slices.IndexFunc(j.messages, func(m slack.Message) bool { return mark(m) == fmt.Sprintf("%d/%d", s.round, s.ID) })
		if i < 0 || j.ops[0].State == operation.Succeeded && !strings.Contains(j.messages[i].Text, "Done, by operation "+string(j.ops[0].ID)) {
			j.breach(stateTrue, "the reminder of what was rotated is not closed")
		} else if closed := len(j.messages[i].Actions) == 0; closed != (j.ops[0].State == operation.Succeeded) {
			j.breach(stateTrue, "the operation is %q, and its reminder is closed: %t", j.ops[0].State, closed)
		}
	}
}

// digests judges whether there is one of each week.
func (j *judge) digests(ctx context.Context) {
	want, last := 0, 0
	for _, day := range mornings() {
		for d := last + 1; d <= day; d++ {
			if j.w.dawn(d).Weekday() == time.Monday {
				want++
				break // what was missed comes as one
			}
		}
		last = day
	}
	var n int
	if err := j.w.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM digests").Scan(&n); err != nil || n != want {
		j.breach(calendar, "%d digests, and a calendar says %d %v", n, want, err)
	}
	shown := map[string]int{}
	for _, m := range j.messages {
		shown[kindOf(m)]++
	}
	for _, kind := range []operation.NoticeKind{operation.NoticeDigest, operation.NoticeMonths} {
		if shown[string(kind)] != want {
			j.breach(toldOnce, "%d messages of the kind %q for %d digests", shown[string(kind)], kind, want)
		}
	}
}

// leeway is how much earlier than a second after the one before a message may come:
// what lies on the way is not always as long.
const leeway = 100 * time.Millisecond

// pace judges whether no channel got more than one message a second.
func (j *judge) pace() {
	state, ok := j.w.box.Slack.State().(slack.State)
	if !ok || j.w.database == "sqlite" && len(j.w.replicas) > 1 { // each keeps its own pace: SQLite is for one process
		return
	}
	for _, c := range []string{sandbox.OperationsChannel, escalations} {
		var last time.Time
		for _, m := range state.Messages[c] {
			if m.EphemeralTo != "" {
				continue
			}
			at := instantOf(m.TS)
			if gap := at.Sub(last); gap < time.Second-leeway {
				j.breach(paced, "%s after the message before came %s: %s", gap.Round(time.Millisecond), mark(m), m.Text)
			}
			last = at
		}
	}
}
