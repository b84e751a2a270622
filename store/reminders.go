package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Where a reminder's card is.
const (
	placeMessage = "message" // it is the round's message
	placeCard    = "card"    // under the round's message
	placeLine    = "line"    // it has none: it is a line of the round's message
)

// Matters returns what people were reminded of and what is not settled.
func (s *Store) Matters(ctx context.Context) ([]operation.Matter, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT version, body FROM matters WHERE settled = 0")
	if err != nil {
		return nil, fmt.Errorf("read what is open: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var out []operation.Matter
	for rows.Next() {
		m, err := scanMatter(rows)
		if err != nil {
			return nil, fmt.Errorf("read what is open: %w", err)
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// OpenReminders returns the latest reminder of everything that is not settled, what
// ends first first.
func (s *Store) OpenReminders(ctx context.Context) ([]operation.Reminder, error) {
	rows, err := s.db.QueryContext(ctx, reminderColumns+" WHERE m.settled = 0 AND r.stage = m.told ORDER BY r.expiry, r.id")
	if err != nil {
		return nil, fmt.Errorf("read the open reminders: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var out []operation.Reminder
	for rows.Next() {
		r, err := scanReminder(rows)
		if err != nil {
			return nil, fmt.Errorf("read the open reminders: %w", err)
		}
		out = append(out, r.Reminder)
	}
	return out, rows.Err()
}

func scanMatter(row scanner) (operation.Matter, error) {
	var m operation.Matter
	var body string
	var version int64
	if err := row.Scan(&version, &body); err != nil {
		return m, err
	}
	err := json.Unmarshal([]byte(body), &m)
	m.Version = version
	return m, err
}

// remindTogether bounds a transaction about reminders, in matters: whoever writes
// meanwhile waits for it, and people's clicks are among them.
const remindTogether = 200

// Remind tells reminders that are still to be told, and returns those: each stage
// of a matter once, whoever asks and however often. What is told, what is recorded
// and that it was told are one transaction for each part of them; with an error, what
// is returned was told all the same. The parts share their messages.
func (s *Store) Remind(ctx context.Context, now time.Time, due []operation.Reminder) ([]operation.Reminder, error) {
	var all []operation.Reminder
	g := gatheringOf(due)
	for part := range slices.Chunk(due, remindTogether) {
		var told []operation.Reminder
		rounds := maps.Clone(g.rounds) // if this part fails, what it began is gone
		err := s.remindIn(ctx, "tell reminders", func(t *reminding) (err error) {
			if told, err = t.untold(ctx, now, part); err != nil || len(told) == 0 {
				return err
			}
			return t.tell(ctx, now, told, gathering{g.due, g.ring, rounds})
		})
		if err != nil {
			return all, err
		}
		all, g.rounds = append(all, told...), rounds
	}
	return all, nil
}

// Settle notes that matters need nobody's attention any more.
func (s *Store) Settle(ctx context.Context, matters []operation.Matter) error {
	for part := range slices.Chunk(matters, remindTogether) {
		err := s.remindIn(ctx, "settle reminders", func(t *reminding) error {
			for _, m := range part {
				if err := t.settle(ctx, m, m.Settled); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Care implements operation.Caring.
func (s *Store) Care(ctx context.Context, r operation.Reminder, m operation.Matter, e operation.Entry) error {
	return s.remindIn(ctx, fmt.Sprintf("note what is done about reminder %d", r.ID), func(t *reminding) error {
		done, err := t.tx.ExecContext(ctx, "UPDATE matters SET version = version + 1 WHERE item = $1 AND expiry = $2 AND version = $3 AND settled = 0",
			m.Item, micros(m.End), m.Version)
		if err := exactlyOne(done, err); err != nil {
			return err
		}
		recorded, err := s.recorder.Append(ctx, t.tx, []operation.Entry{e})
		if err != nil {
			return err
		}
		if err := t.keep(ctx, m, r.Key); err != nil {
			return err
		}
		note := operation.Notice{Key: fmt.Sprintf("care:%d", recorded[0].Sequence), Kind: operation.NoticeCare, Channel: r.Channel, Round: r.Round, Reminder: r.ID, Entry: recorded[0]}
		if err := t.add(ctx, note); err != nil {
			return err
		}
		return t.show(ctx, m)
	})
}

// reminding is one transaction about reminders. It begins by locking the record's
// head, so it is alone, and numbers what it makes.
type reminding struct {
	store  *Store
	tx     *sql.Tx
	notice int64 // id of the newest
}

func (s *Store) remindIn(ctx context.Context, what string, do func(t *reminding) error) error {
	err := s.inTx(ctx, what, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE record_head SET size = size"); err != nil {
			return err
		}
		t, err := s.reminding(ctx, tx)
		if err != nil {
			return err
		}
		return do(t)
	})
	if err == nil {
		s.notify()
	}
	return err
}

// reminding needs the record's head locked.
func (s *Store) reminding(ctx context.Context, tx *sql.Tx) (*reminding, error) {
	t := &reminding{store: s, tx: tx}
	return t, t.last(ctx, "notices", &t.notice)
}

// last reads the highest id of a table.
func (t *reminding) last(ctx context.Context, table string, into *int64) error {
	if err := t.tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM "+table).Scan(into); err != nil {
		return fmt.Errorf("number the %s: %w", table, err)
	}
	return nil
}

// untold returns those reminders that are to be told, with their matters as they
// are from then on.
func (t *reminding) untold(ctx context.Context, now time.Time, due []operation.Reminder) ([]operation.Reminder, error) {
	var out []operation.Reminder
	for _, r := range due {
		m, err := t.matter(ctx, r.Matter)
		if err != nil {
			return nil, err
		}
		if !m.Untold(r.Stage, now) {
			continue
		}
		if gone, err := t.replaced(ctx, r.Key); err != nil || gone {
			if err != nil {
				return nil, err
			}
			continue // an operation has put another in its place since it was looked at
		}
		m.Told, m.Settled = r.Stage, operation.Settled{} // whatever was said of it: it is there
		if m.Taken.By.User != "" {
			r.Escalation = ""
		}
		r.Matter, r.At = m, now
		out = append(out, r)
	}
	return out, nil
}

// matter reads a matter; one that nobody was reminded of yet is new.
func (t *reminding) matter(ctx context.Context, like operation.Matter) (operation.Matter, error) {
	m, err := scanMatter(t.tx.QueryRowContext(ctx, "SELECT version, body FROM matters WHERE item = $1 AND expiry = $2", like.Item, micros(like.End)))
	if errors.Is(err, sql.ErrNoRows) {
		return operation.Matter{Item: like.Item, End: like.End, Told: operation.NotTold}, nil
	}
	if err != nil {
		return m, fmt.Errorf("read what was told of %s: %w", like.Item, err)
	}
	return m, nil
}

func (t *reminding) replaced(ctx context.Context, key string) (bool, error) {
	if key == "" {
		return false, nil
	}
	var n int
	err := t.tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM replaced_keys WHERE key_id = $1", strings.ToLower(key)).Scan(&n)
	return n > 0, err
}

// keep stores a matter.
func (t *reminding) keep(ctx context.Context, m operation.Matter, key string) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode what is known of %s: %w", m.Item, err)
	}
	settled := 1
	if m.Open() {
		settled = 0
	}
	_, err = t.tx.ExecContext(ctx, `INSERT INTO matters (item, expiry, told, version, settled, key_id, body) VALUES ($1, $2, $3, 0, $4, $5, $6)
		ON CONFLICT (item, expiry) DO UPDATE SET told = excluded.told, version = matters.version + 1, settled = excluded.settled, body = excluded.body`,
		m.Item, micros(m.End), int64(m.Told), settled, strings.ToLower(key), string(body))
	return err
}

// toTell is a reminder on its way into the database.
type toTell struct {
	operation.Reminder
	escalated operation.RoundID // which tells it where matters escalate; 0: none
	place     string
}

// gathering says which messages the answer to one question for reminders is gathered
// into, in however many parts it is noted: one in a channel, and one where they escalate.
type gathering struct {
	due    map[operation.ChannelID]int               // how many there are for a channel, at most
	ring   map[operation.ChannelID]operation.GroupID // whom the first post there rings
	rounds map[surface]gathered
}

// surface is where a round stands.
type surface struct {
	channel   operation.ChannelID
	escalated bool
}

// gathered is a round, and how many reminders it has.
type gathered struct {
	id operation.RoundID
	n  int
}

func gatheringOf(due []operation.Reminder) gathering {
	g := gathering{map[operation.ChannelID]int{}, map[operation.ChannelID]operation.GroupID{}, map[surface]gathered{}}
	for _, r := range due {
		g.due[r.Channel]++
		if r.Overdue() && g.ring[r.Channel] == "" {
			g.ring[r.Channel] = r.Ring
		}
	}
	return g
}

// tell stores reminders, gathered by channel, and what people are to be told.
func (t *reminding) tell(ctx context.Context, now time.Time, told []operation.Reminder, g gathering) error {
	all := make([]*toTell, len(told))
	entries := make([]operation.Entry, len(told))
	var last int64
	if err := t.last(ctx, "reminders", &last); err != nil {
		return err
	}
	for i, r := range told {
		r.ID = operation.ReminderID(last + int64(i) + 1)
		all[i] = &toTell{Reminder: r}
		entries[i] = operation.Entry{At: now, Secret: r.Secret, Outcome: operation.Noted, Step: operation.StepReminded, Channel: r.Channel, Text: reminded(r)}
	}
	if _, err := t.store.recorder.Append(ctx, t.tx, entries); err != nil {
		return err
	}
	for _, members := range gather(all, func(r *toTell) operation.ChannelID { return r.Escalation }) {
		round, err := t.round(ctx, g, operation.Round{Channel: members[0].Escalation, At: now, Escalated: true}, len(members))
		if err != nil {
			return err
		}
		for _, r := range members {
			r.escalated = round.id
		}
	}
	for _, members := range gather(all, func(r *toTell) operation.ChannelID { return r.Channel }) {
		if err := t.tellRound(ctx, now, members, g); err != nil {
			return err
		}
	}
	return nil
}

// gather sorts reminders by channel, and leaves those out that have none.
func gather(all []*toTell, channel func(*toTell) operation.ChannelID) [][]*toTell {
	var out [][]*toTell
	at := map[operation.ChannelID]int{}
	for _, r := range all {
		c := channel(r)
		if c == "" {
			continue
		}
		n, known := at[c]
		if !known {
			n = len(out)
			at[c], out = n, append(out, nil)
		}
		out[n] = append(out[n], r)
	}
	return out
}

// tellRound stores the reminders of one channel: one alone is a message itself, of
// several each has a card under it.
func (t *reminding) tellRound(ctx context.Context, now time.Time, members []*toTell, g gathering) error {
	channel := members[0].Channel
	round, err := t.round(ctx, g, operation.Round{Channel: channel, At: now, Ring: g.ring[channel]}, len(members))
	if err != nil {
		return err
	}
	for i, r := range members {
		r.Round, r.place = round.id, placeCard
		switch {
		case g.due[channel] == 1:
			r.place = placeMessage
		case round.n+i >= operation.MaxCards:
			r.place = placeLine
		}
		if err := t.insert(ctx, r); err != nil {
			return err
		}
		if r.place != placeCard {
			continue
		}
		if err := t.showCard(ctx, r.Reminder); err != nil {
			return err
		}
	}
	for _, r := range members { // their earlier cards lose their buttons
		if err := t.showEarlier(ctx, r.Reminder); err != nil {
			return err
		}
	}
	return nil
}

// round is where so many more reminders are told: a new round, or the one that an
// earlier part began, as it was then.
func (t *reminding) round(ctx context.Context, g gathering, r operation.Round, more int) (gathered, error) {
	at := surface{r.Channel, r.Escalated}
	was, began := g.rounds[at]
	var err error
	if began {
		err = t.showRound(ctx, was.id, r.Channel)
	} else {
		was.id, err = t.newRound(ctx, r)
	}
	g.rounds[at] = gathered{was.id, was.n + more}
	return was, err
}

// newRound stores a round and has it posted.
func (t *reminding) newRound(ctx context.Context, r operation.Round) (operation.RoundID, error) {
	var last int64
	if err := t.last(ctx, "reminder_rounds", &last); err != nil {
		return 0, err
	}
	r.ID = operation.RoundID(last + 1)
	escalated := 0
	if r.Escalated {
		escalated = 1
	}
	_, err := t.tx.ExecContext(ctx, "INSERT INTO reminder_rounds (id, channel, told_at, escalated, ring) VALUES ($1, $2, $3, $4, $5)",
		int64(r.ID), string(r.Channel), micros(r.At), escalated, string(r.Ring))
	if err != nil {
		return 0, err
	}
	return r.ID, t.showRound(ctx, r.ID, r.Channel)
}

func (t *reminding) insert(ctx context.Context, r *toTell) error {
	body, err := json.Marshal(r.Reminder)
	if err != nil {
		return fmt.Errorf("encode the reminder of %s: %w", r.Name, err)
	}
	_, err = t.tx.ExecContext(ctx, "INSERT INTO reminders (id, item, expiry, stage, round, escalation, place, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		int64(r.ID), r.Matter.Item, micros(r.Matter.End), int64(r.Stage), int64(r.Round), int64(r.escalated), r.place, string(body))
	if err != nil {
		return fmt.Errorf("note that %s was told: %w", r.Name, err)
	}
	return t.keep(ctx, r.Matter, r.Key)
}

// reminded is what the record says of a reminder.
func reminded(r operation.Reminder) string {
	when := "nobody knows when it expires"
	if !r.Matter.End.IsZero() {
		when = fmt.Sprintf("it expires at %s", r.Matter.End.UTC().Format("2006-01-02 15:04 MST"))
	}
	return fmt.Sprintf("%s (%s): %s; stage %d.", r.Name, r.Kind, when, r.Stage)
}

// settle notes why a matter needs nobody any more, and shows it.
func (t *reminding) settle(ctx context.Context, like operation.Matter, why operation.Settled) error {
	m, err := t.matter(ctx, like)
	if err != nil || m.Told == operation.NotTold || m.Open() == why.At.IsZero() {
		return err
	}
	m.Settled = why
	r, err := t.latest(ctx, m)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it is so old that what was told of it is not kept any more
	}
	if err != nil {
		return err
	}
	text := r.Name + ": " + why.Why
	switch {
	case why.At.IsZero():
		text = r.Name + " is open again: the operation was taken back."
	case why.Operation != "":
		text = fmt.Sprintf("%s: operation %s has replaced it.", r.Name, why.Operation)
	}
	_, err = t.store.recorder.Append(ctx, t.tx, []operation.Entry{{
		At: t.store.now(), Secret: r.Secret, Outcome: operation.Noted, Step: operation.StepSettled, Channel: r.Channel, Text: text,
	}})
	if err != nil {
		return err
	}
	if err := t.keep(ctx, m, r.Key); err != nil {
		return err
	}
	return t.show(ctx, m)
}

// settleBy closes the reminders of the keys that an operation has replaced, as soon
// as what it made is in their place, and opens them again when it is taken back.
func (s *Store) settleBy(ctx context.Context, tx *sql.Tx, op operation.Operation) error {
	var statement string
	var why operation.Settled
	switch op.State {
	case operation.Waiting, operation.Succeeded:
		statement, why = "INSERT INTO replaced_keys (key_id, operation) VALUES ($1, $2) ON CONFLICT DO NOTHING", operation.Settled{At: s.now(), Operation: op.ID}
	case operation.TakenBack:
		statement = "DELETE FROM replaced_keys WHERE key_id = $1 AND operation = $2"
	default:
		return nil
	}
	for _, key := range runbook.KeysReplaced(op) {
		done, err := tx.ExecContext(ctx, statement, strings.ToLower(string(key)), string(op.ID))
		if err := exactlyOne(done, err); errors.Is(err, operation.ErrStale) {
			continue // known
		} else if err != nil {
			return fmt.Errorf("note what operation %s replaces: %w", op.ID, err)
		}
		if err := s.settleKey(ctx, tx, strings.ToLower(string(key)), why); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) settleKey(ctx context.Context, tx *sql.Tx, key string, why operation.Settled) error {
	matters, err := mattersOfKey(ctx, tx, key)
	if err != nil || len(matters) == 0 {
		return err
	}
	t, err := s.reminding(ctx, tx)
	if err != nil {
		return err
	}
	for _, m := range matters {
		if err := t.settle(ctx, m, why); err != nil {
			return err
		}
	}
	return nil
}

func mattersOfKey(ctx context.Context, tx *sql.Tx, key string) ([]operation.Matter, error) {
	rows, err := tx.QueryContext(ctx, "SELECT version, body FROM matters WHERE key_id = $1", key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var out []operation.Matter
	for rows.Next() {
		m, err := scanMatter(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// show has everything edited that shows a matter: the latest of its reminders.
func (t *reminding) show(ctx context.Context, m operation.Matter) error {
	r, err := t.latest(ctx, m)
	if err != nil {
		return err
	}
	return t.showReminder(ctx, r)
}

func (t *reminding) latest(ctx context.Context, m operation.Matter) (storedReminder, error) {
	return scanReminder(t.tx.QueryRowContext(ctx, reminderColumns+" WHERE r.item = $1 AND r.expiry = $2 AND r.stage = $3", m.Item, micros(m.End), int64(m.Told)))
}

// showEarlier has the reminder before this one edited.
func (t *reminding) showEarlier(ctx context.Context, r operation.Reminder) error {
	before, err := scanReminder(t.tx.QueryRowContext(ctx, reminderColumns+" WHERE r.item = $1 AND r.expiry = $2 AND r.stage > $3 ORDER BY r.stage LIMIT 1",
		r.Matter.Item, micros(r.Matter.End), int64(r.Stage)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was told of %s before: %w", r.Name, err)
	}
	return t.showReminder(ctx, before)
}

func (t *reminding) showReminder(ctx context.Context, r storedReminder) error {
	if r.place == placeCard {
		if err := t.showCard(ctx, r.Reminder); err != nil {
			return err
		}
	}
	if r.escalation != 0 {
		if err := t.showRound(ctx, r.escalation, r.Escalation); err != nil {
			return err
		}
	}
	return t.showRound(ctx, r.Round, r.Channel)
}

func (t *reminding) showCard(ctx context.Context, r operation.Reminder) error {
	return t.surface(ctx, operation.Notice{Kind: operation.NoticeReminder, Channel: r.Channel, Round: r.Round, Reminder: r.ID})
}

func (t *reminding) showRound(ctx context.Context, id operation.RoundID, channel operation.ChannelID) error {
	return t.surface(ctx, operation.Notice{Kind: operation.NoticeRound, Channel: channel, Round: id})
}

// surface adds a notice unless it waits already: what nobody has taken up yet will
// show the newest state anyway.
func (t *reminding) surface(ctx context.Context, n operation.Notice) error {
	from, to := t.store.clock.others(longestClaim)
	var waiting int
	err := t.tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE kind = $1 AND round = $2 AND reminder = $3 AND sent_at = 0 AND claimed_until NOT BETWEEN $4 AND $5",
		string(n.Kind), int64(n.Round), int64(n.Reminder), from, to).Scan(&waiting)
	if err != nil {
		return fmt.Errorf("look for the %s notice: %w", n.Kind, err)
	}
	if waiting > 0 {
		return nil
	}
	n.Key = fmt.Sprintf("%s:%d:%d:%d", n.Kind, n.Round, n.Reminder, t.notice+1)
	return t.add(ctx, n)
}

// add writes a notice down. All reminders of a channel stand in one lane, so that
// they hold nothing else up.
func (t *reminding) add(ctx context.Context, n operation.Notice) error {
	return t.addIn(ctx, "reminders:"+string(n.Channel), n)
}

func (t *reminding) addIn(ctx context.Context, lane string, n operation.Notice) error {
	t.notice++
	n.ID, n.Lane = t.notice, lane
	return t.store.insertNotice(ctx, t.tx, n)
}

// storedReminder is a reminder as it is in the database.
type storedReminder struct {
	operation.Reminder
	place      string
	escalation operation.RoundID
}

// reminderColumns are what scanReminder reads: the reminder, its matter as it is
// now, and its message.
const reminderColumns = `SELECT r.body, r.place, r.card, r.escalation, m.version, m.body, o.message FROM reminders r
	JOIN matters m ON m.item = r.item AND m.expiry = r.expiry JOIN reminder_rounds o ON o.id = r.round`

func scanReminder(row scanner) (storedReminder, error) {
	var r storedReminder
	var body, card, matter, message string
	var version int64
	if err := row.Scan(&body, &r.place, &card, &r.escalation, &version, &matter, &message); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(body), &r.Reminder); err != nil {
		return r, fmt.Errorf("decode a reminder: %w", err)
	}
	r.Matter = operation.Matter{}
	if err := json.Unmarshal([]byte(matter), &r.Matter); err != nil {
		return r, fmt.Errorf("decode what is known of %s: %w", r.Name, err)
	}
	r.Matter.Version, r.Newer, r.Own = version, r.Matter.Told < r.Stage, r.place == placeCard
	switch r.place {
	case placeCard:
		r.Card = operation.MessageID(card)
	case placeMessage:
		r.Card = operation.MessageID(message)
	}
	return r, nil
}

// Reminder implements operation.Caring.
func (s *Store) Reminder(ctx context.Context, id operation.ReminderID) (operation.Reminder, error) {
	r, err := scanReminder(s.db.QueryRowContext(ctx, reminderColumns+" WHERE r.id = $1", int64(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return r.Reminder, operation.ErrUnknown
	}
	if err != nil {
		return r.Reminder, fmt.Errorf("read reminder %d: %w", id, err)
	}
	return r.Reminder, nil
}

// remindedOf is [Store.SecretOf] for reminders.
func (s *Store) remindedOf(ctx context.Context, channel operation.ChannelID, message, thread operation.MessageID) (operation.SecretName, error) {
	r, err := scanReminder(s.db.QueryRowContext(ctx, reminderColumns+` WHERE o.channel = $1
		AND (r.card <> '' AND r.card IN ($2, $3) OR r.place = 'message' AND o.message <> '' AND o.message IN ($2, $3))`, string(channel), string(message), string(thread)))
	if errors.Is(err, sql.ErrNoRows) || err == nil && r.Secret == "" {
		return "", operation.ErrUnknown
	}
	if err != nil {
		return "", fmt.Errorf("read what message %s reminds of: %w", message, err)
	}
	return r.Secret, nil
}

// Round returns a message and what it gathers, as that is now.
func (s *Store) Round(ctx context.Context, id operation.RoundID) (operation.Round, error) {
	round := operation.Round{ID: id}
	var channel, ring, message string
	var at, escalated int64
	err := s.db.QueryRowContext(ctx, "SELECT channel, told_at, escalated, ring, message FROM reminder_rounds WHERE id = $1", int64(id)).
		Scan(&channel, &at, &escalated, &ring, &message)
	if err != nil {
		return round, fmt.Errorf("read round %d of reminders: %w", id, err)
	}
	round.Channel, round.Ring, round.Message = operation.ChannelID(channel), operation.GroupID(ring), operation.MessageID(message)
	round.At, round.Escalated = instant(at), escalated == 1
	rows, err := s.db.QueryContext(ctx, reminderColumns+" WHERE r.round = $1 OR r.escalation = $1 ORDER BY r.id", int64(id))
	if err != nil {
		return round, fmt.Errorf("read the reminders of round %d: %w", id, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	for rows.Next() {
		r, err := scanReminder(rows)
		if err != nil {
			return round, err
		}
		round.Reminders = append(round.Reminders, r.Reminder)
	}
	return round, rows.Err()
}
