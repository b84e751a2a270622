package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/endpoint"
	"github.com/twokey/twokey/sandbox/slack"
)

// yearDays is how long the year of reminders is.
const yearDays = 365

// databaseVariable names a PostgreSQL database for the play, which then has two
// replicas; without it there is one, on SQLite.
const databaseVariable = "TWOKEY_DEMO_POSTGRES"

// year is a year of reminders: what people do on which day, and what they are to be
// told by then.
type year struct {
	*play
	zone    *time.Location
	db      *sql.DB
	day0    time.Time // a morning
	secrets []*expiring
	seen    map[string]bool // messages that were looked at
	rows    []row
}

// expiring is one secret as a person with a calendar sees it.
type expiring struct {
	name    string
	end     time.Time
	done    bool      // it was rotated
	quiet   time.Time // nobody wants to hear of it until then
	lowest  int       // the latest stage that was said; a big number: none
	rotates int       // on which day it is rotated; 0: never
	// renews is on which day somebody puts a certificate in its place, until then and
	// by which means; 0: nobody does.
	renews int
	until  time.Time
	renew  func(end time.Time) error
	// itself is true of what renews itself: it is told only when it has not.
	itself bool
}

// row is one line of the table: what was told on which day.
type row struct {
	day          int
	date         string
	secret, what string
}

// reminders is a year of the sandbox's clock: what is told when, judged by a table
// that this script works out by itself.
func (p *play) reminders(ctx context.Context) error {
	p.box.Slack.Set(func(s *slack.Settings) { s.Limits = false }) // a year's messages in a minute
	p.cfg.Digest.Schedule, p.cfg.Sweeps.Schedule = nil, nil       // the table is of reminders
	p.cfg.Pace = Pace{Proof: runbook.Proof{Tokens: 3, Reads: 2, Gap: 10 * time.Millisecond}, Spacing: time.Millisecond, EditSpacing: time.Millisecond}
	y := &year{play: p, seen: map[string]bool{}}
	replicas := 1
	if address := os.Getenv(databaseVariable); address != "" {
		p.cfg.Database, replicas = operation.NewSecret(address), 2
	}
	if err := y.begin(ctx, replicas); err != nil {
		return err
	}
	defer func() { _ = y.db.Close() }() // read only
	for _, day := range y.days() {
		if err := y.live(ctx, day, replicas); err != nil {
			return fmt.Errorf("on day %d: %w", day, err)
		}
	}
	return y.end(ctx, replicas)
}

// The days on which something besides ticks happens.
const (
	dayTaken   = 1  // carol takes what bob will rotate
	dayStopped = 14 // the bot stops
	dayStarted = 18
	daySnoozed = 18 // github/prod, until day 33
	snoozedFor = 15
)

func (y *year) begin(ctx context.Context, replicas int) error {
	var err error
	if y.zone, err = time.LoadLocation("Europe/Berlin"); err != nil {
		return fmt.Errorf("find the schedule's zone: %w", err)
	}
	now := y.box.Clock.Now().In(y.zone)
	y.day0 = time.Date(now.Year(), now.Month(), now.Day(), 9, 0, 1, 0, y.zone)
	for _, s := range y.box.Team.Secrets {
		rotates := map[string]int{"github/dev": 8, "sharepoint/prod": 10, "jira/dev": 24, "github/prod": 42}[s.Name]
		y.secrets = append(y.secrets, &expiring{name: s.Name, end: s.Expires, lowest: 1 << 30, rotates: rotates})
	}
	if err := y.certificates(); err != nil {
		return err
	}
	if err := y.connected(ctx); err != nil {
		return err
	}
	for range replicas - 1 {
		y.startBot(ctx)
	}
	driver, source := "pgx", y.cfg.Database.Reveal()
	if file, isFile := strings.CutPrefix(source, "sqlite:"); isFile {
		driver, source = "sqlite", "file:"+file+"?mode=ro&_pragma=busy_timeout(5000)"
	}
	if y.db, err = sql.Open(driver, source); err != nil {
		return fmt.Errorf("open the bot's database: %w", err)
	}
	y.say("A year begins, with %s of the bot. Every morning at nine in Berlin it asks what expires.", count(replicas, "replica"))
	if replicas == 1 {
		y.say("Replicas need PostgreSQL: %s=postgres://… plays it with two, in an empty database.", databaseVariable)
	}
	return y.until(ctx, playTime, "the schedule to begin", func() bool { return !y.answered(ctx).IsZero() })
}

// The days on which certificates are renewed: one by hand at its last reminder but
// one, one by itself, one by whoever looks after the endpoint.
const (
	dayImported = 58
	dayManaged  = 140
	dayEndpoint = 80
)

// certificates are what else is watched.
func (y *year) certificates() error {
	for _, c := range y.box.AWS.Snapshot().Certificates {
		e := &expiring{name: c.Domain, end: c.End, lowest: 1 << 30, itself: !c.Imported, renews: dayManaged, until: c.End.AddDate(1, 1, 0)}
		if c.Imported {
			e.renews, e.until = dayImported, c.End.AddDate(2, 0, 0)
		}
		e.renew = func(end time.Time) error {
			c.Start, c.End, c.Status = y.box.Clock.Now().Truncate(time.Second), end, ""
			_, err := y.box.AWS.SeedCertificate(c)
			return err
		}
		y.secrets = append(y.secrets, e)
	}
	shown, ok := y.box.Endpoint.State().(endpoint.State)
	if !ok {
		return errors.New("the sandbox's endpoint has no state")
	}
	y.secrets = append(y.secrets, &expiring{name: shown.Address, end: shown.Shown.End, lowest: 1 << 30, renews: dayEndpoint, until: y.morning(yearDays + 200),
		renew: func(end time.Time) error { return y.box.Endpoint.Show(endpoint.Certificate{End: end}) }})
	return nil
}

// due is the stage of one of them on a day.
func (y *year) due(s *expiring, day int) (int, bool) {
	if s.itself && y.morning(day).AddDate(0, 0, 30).Before(s.end) {
		return 0, false
	}
	return milestone(s.end, y.morning(day), y.zone)
}

// days are those on which something is to be told, the one before each, and those
// on which people do something. On the others nothing can happen.
func (y *year) days() []int {
	wanted := map[int]bool{dayTaken: true, dayStopped: true, dayStarted: true, daySnoozed + snoozedFor: true, yearDays: true}
	for _, s := range y.secrets {
		for day := 1; day <= yearDays; day++ {
			stage, due := y.due(s, day)
			last, before := y.due(s, day-1)
			settles := max(s.rotates, s.renews)
			if due && (settles == 0 || day <= settles+1) && (!before || stage != last) {
				wanted[day-1], wanted[day] = true, true
			}
		}
		wanted[s.rotates], wanted[s.renews] = true, true
	}
	delete(wanted, 0)
	var out []int
	for day := range wanted {
		if day > 0 && (day < dayStopped || day >= dayStarted) {
			out = append(out, day)
		}
	}
	slices.Sort(out)
	return out
}

func (y *year) morning(day int) time.Time {
	return time.Date(y.day0.Year(), y.day0.Month(), y.day0.Day()+day, 9, 0, 1, 0, y.zone)
}

// live lives through one day: the clock jumps to its morning, the bot answers, what
// it told is compared, and people do what they do.
func (y *year) live(ctx context.Context, day, replicas int) error {
	if day >= dayStarted && len(y.bots) == 0 {
		y.advance(y.morning(day))
		y.say("Day %d: the bot starts again. What it missed is told once.", day)
		for range replicas {
			y.startBot(ctx)
		}
	}
	y.advance(y.morning(day))
	tick := y.morning(day).Add(-time.Second)
	if err := y.until(ctx, playTime, "the morning's question", func() bool { return !y.answered(ctx).Before(tick) }); err != nil {
		return err
	}
	if err := y.until(ctx, playTime, "everything to be told", func() bool { return y.untold(ctx) == 0 }); err != nil {
		return err
	}
	if err := y.compare(day); err != nil {
		return err
	}
	return y.people(ctx, day)
}

func (y *year) advance(to time.Time) {
	if d := to.Sub(y.box.Clock.Now()); d > 0 {
		y.box.Clock.Advance(d)
	}
}

// answered is up to when the bot has answered its schedule; zero at first.
func (y *year) answered(ctx context.Context) time.Time {
	var at int64
	err := y.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(answered_at), 0) FROM ticks").Scan(&at)
	if err != nil || at == 0 {
		return time.Time{} // the bot has not made its tables yet
	}
	return time.UnixMicro(at)
}

func (y *year) untold(ctx context.Context) int {
	n := 1
	_ = y.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE sent_at = 0 AND kind IN ('round', 'reminder', 'care')").Scan(&n) // then it is looked at again
	return n
}

// milestone is the stage that somebody who counts days on a calendar would tell.
func milestone(end, at time.Time, zone *time.Location) (int, bool) {
	left := leaves(at, end, zone)
	if !at.Before(end) {
		return left, true
	}
	for _, stage := range []int{1, 3, 7, 14, 30, 60, 90} {
		if left <= stage {
			return stage, true
		}
	}
	return 0, false
}

// leaves counts the leaves of a calendar between two instants.
func leaves(from, to time.Time, zone *time.Location) int {
	const leaf = "20060102"
	a, b := from.In(zone), to.In(zone)
	n := 0
	for ; a.Format(leaf) < b.Format(leaf); a = a.AddDate(0, 0, 1) {
		n++
	}
	for ; b.Format(leaf) < a.Format(leaf); b = b.AddDate(0, 0, 1) {
		n--
	}
	return n
}

// expected is what is to be told on a day's morning.
func (y *year) expected(day int) []string {
	var out []string
	at := y.morning(day)
	for _, s := range y.secrets {
		stage, due := y.due(s, day)
		if !due || s.done || stage >= s.lowest || at.Before(s.quiet) {
			continue
		}
		s.lowest = stage
		what := fmt.Sprintf("%d days before", stage)
		switch {
		case stage <= 0:
			what = "daily while it is overdue"
		case stage == 1:
			what = "1 day before"
		}
		out = append(out, s.name+": "+what)
	}
	slices.Sort(out)
	return out
}

// told lists the reminders that were posted since the last look, wherever they stand.
func (y *year) told() ([]string, error) {
	state, ok := y.box.Slack.State().(slack.State)
	if !ok {
		return nil, errors.New("the sandbox's Slack has no state")
	}
	card := regexp.MustCompile(`(?s)^(\S+) .*\nReminder: ([^·]+) ·`)
	var out []string
	for _, m := range state.Messages[sandbox.OperationsChannel] {
		payload, _ := m.Metadata["event_payload"].(map[string]any)
		if payload["reminder"] == nil || y.seen[m.TS] {
			continue
		}
		y.seen[m.TS] = true
		if found := card.FindStringSubmatch(m.Text); found != nil {
			out = append(out, found[1]+": "+found[2])
		}
	}
	slices.Sort(out)
	return out, nil
}

// compare holds what was told against what was to be told.
func (y *year) compare(day int) error {
	want := y.expected(day)
	got, err := y.told()
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("what was told is not what was to be told:\n  told: %q\n  to be told: %q", got, want)
	}
	for _, line := range got {
		secret, what, _ := strings.Cut(line, ": ")
		y.rows = append(y.rows, row{day, y.morning(day).Format(time.DateOnly), secret, what})
	}
	return nil
}

// people do what they do on a day.
func (y *year) people(ctx context.Context, day int) error {
	switch day {
	case dayTaken:
		if err := y.take(ctx, "carol", "github/dev"); err != nil {
			return err
		}
	case dayStopped - 1:
		y.say("Day %d: the bot stops for four days.", day)
		y.stopBots()
	case daySnoozed:
		if err := y.snooze(ctx, "bob", "github/prod", day+snoozedFor); err != nil {
			return err
		}
	}
	for _, s := range y.secrets {
		if s.renews == day {
			y.say("Day %d: the certificate of %s is renewed until %s", day, s.name, s.until.Format(time.DateOnly))
			if err := s.renew(s.until); err != nil {
				return err
			}
			s.end, s.lowest = s.until, 1<<30
		}
		if s.rotates == day {
			if err := y.rotateFromReminder(ctx, s); err != nil {
				return fmt.Errorf("rotate %s: %w", s.name, err)
			}
		}
	}
	return nil
}

// reminderOf is the newest card of a secret that has buttons.
func (y *year) reminderOf(name string) (slack.Message, error) {
	top, err := y.box.Slack.Messages(playChannel, "")
	if err != nil {
		return slack.Message{}, err
	}
	var newest slack.Message
	for _, m := range top {
		for _, one := range append([]slack.Message{m}, m.Replies...) {
			if strings.HasPrefix(one.Text, name+" ") && len(one.Actions) > 0 && cmp.Compare(newest.TS, one.TS) < 0 {
				newest = one
			}
		}
	}
	if newest.TS == "" {
		return newest, fmt.Errorf("there is no reminder of %s with buttons", name)
	}
	return newest, nil
}

func (y *year) take(ctx context.Context, user, name string) error {
	card, err := y.reminderOf(name)
	if err != nil {
		return err
	}
	y.say("The reminder of %s:", name)
	y.quote(card.Text)
	if err := y.click(user, card.TS, bot.ActionTake); err != nil {
		return err
	}
	return y.shows(ctx, card.TS, "Taken by")
}

func (y *year) snooze(ctx context.Context, user, name string, until int) error {
	card, err := y.reminderOf(name)
	if err != nil {
		return err
	}
	if err := y.click(user, card.TS, bot.ActionSnooze); err != nil {
		return err
	}
	form, err := y.form(ctx, user)
	if err != nil {
		return err
	}
	end := y.morning(until).Add(-time.Hour).Truncate(time.Minute)
	y.say("%s snoozes it until %s: the vendor is in a release freeze", user, end.Format(time.DateOnly))
	result, err := y.box.Slack.Submit(user, form.ID, map[string]any{bot.InputUntil: end.Unix(), bot.InputReason: "the vendor is in a release freeze"})
	if err != nil {
		return err
	}
	if err := y.acknowledged(result); err != nil {
		return err
	}
	for _, s := range y.secrets {
		if s.name == name {
			s.quiet = end
		}
	}
	return y.shows(ctx, card.TS, "Snoozed by")
}

// shows waits until a message reads so.
func (y *year) shows(ctx context.Context, ts, text string) error {
	return y.until(ctx, playTime, "the card to read "+text, func() bool {
		state, ok := y.box.Slack.State().(slack.State)
		return ok && slices.ContainsFunc(state.Messages[sandbox.OperationsChannel], func(m slack.Message) bool { return m.TS == ts && strings.Contains(m.Text, text) })
	})
}

// form waits for the form that a click opened.
func (p *play) form(ctx context.Context, user string) (slack.View, error) {
	var form slack.View
	err := p.until(ctx, playTime, "the form", func() bool {
		screen, err := p.box.Slack.Views(user)
		if err != nil || len(screen.Modals) == 0 {
			return false
		}
		form = screen.Modals[len(screen.Modals)-1]
		return true
	})
	return form, err
}

// rotateFromReminder goes through the only door: the form, filled in, and a second
// person. Its reminder closes itself when the new key is in place.
func (y *year) rotateFromReminder(ctx context.Context, s *expiring) error {
	reminder, err := y.reminderOf(s.name)
	if err != nil {
		return err
	}
	y.say("%s: alice rotates %s from its reminder, bob confirms", y.box.Clock.Now().In(y.zone).Format(time.DateOnly), s.name)
	if err := y.click("alice", reminder.TS, bot.ActionRemindRotate); err != nil {
		return err
	}
	form, err := y.form(ctx, "alice")
	if err != nil {
		return err
	}
	result, err := y.box.Slack.Submit("alice", form.ID, nil) // as it was filled in
	if err != nil {
		return err
	}
	if err := y.acknowledged(result); err != nil {
		return err
	}
	card, err := y.cardOf(ctx, s.name)
	if err != nil {
		return err
	}
	if err := y.click("bob", card.TS, bot.ActionConfirm); err != nil {
		return err
	}
	s.done = true
	if err := y.shows(ctx, reminder.TS, "Done, by operation"); err != nil {
		return err
	}
	_, err = y.told() // the edits are no news
	return err
}

// cardOf waits for a card that can be confirmed.
func (y *year) cardOf(ctx context.Context, name string) (slack.Message, error) {
	var card slack.Message
	err := y.until(ctx, playTime, "the card", func() bool {
		messages, err := y.box.Slack.Messages(playChannel, "")
		for _, m := range messages {
			if err == nil && strings.HasPrefix(m.Text, "Rotate "+name) && slices.ContainsFunc(m.Actions, func(a slack.Action) bool { return a.ActionID == bot.ActionConfirm }) {
				card = m
				return true
			}
		}
		return false
	})
	return card, err
}

// end prints the table, and judges what is left.
func (y *year) end(ctx context.Context, replicas int) error {
	y.say("What was told when, by %s; it is what a calendar says:", count(replicas, "replica"))
	t := tabwriter.NewWriter(y.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "   DAY\tDATE\tSECRET\tTOLD")
	for _, r := range y.rows {
		_, _ = fmt.Fprintf(t, "   %d\t%s\t%s\t%s\n", r.day, r.date, r.secret, r.what)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range y.secrets {
		if s.rotates == 0 {
			continue
		}
		verdict, err := y.box.Check(s.name)
		if err != nil {
			return err
		}
		if !verdict.OK || verdict.Working != 1 {
			return fmt.Errorf("the final state of %s is wrong: %d working keys; %s", s.name, verdict.Working, strings.Join(verdict.Problems, "; "))
		}
	}
	report, err := y.verify(ctx)
	if err != nil {
		return err
	}
	if err := audit.WriteReport(y.out, report); err != nil {
		return err
	}
	y.say("%d reminders, each told once; the record of them and of %s is whole.", len(y.rows), count(4, "rotation"))
	return nil
}
