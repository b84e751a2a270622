package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// tell writes down what people must be told of a change: the card, one line for
// each entry that is not quiet, and the given notices. When the operation has
// ended, the record's signed head goes into its thread, as a witness.
func (s *Store) tell(ctx context.Context, tx *sql.Tx, op operation.Operation, entries []operation.Entry, more ...operation.Notice) error {
	if len(entries) == 0 && len(more) == 0 {
		return nil
	}
	// The recorder has locked out other appends, so the highest id is ours to take.
	t := teller{store: s, tx: tx, op: op}
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM notices").Scan(&t.last); err != nil {
		return fmt.Errorf("number the notices: %w", err)
	}
	if err := t.surfaces(ctx); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Quiet {
			continue
		}
		if err := t.add(ctx, operation.Notice{Key: fmt.Sprintf("entry:%s:%d", op.ID, e.Sequence), Kind: operation.NoticeEntry, Entry: e}); err != nil {
			return err
		}
		if err := t.workNote(ctx, e); err != nil {
			return err
		}
	}
	for _, n := range more {
		if err := t.add(ctx, n); err != nil {
			return err
		}
	}
	return t.seal(ctx, !op.State.Open())
}

// SignNow has the record's head signed and posted in the operation's thread, so
// that all of its entries until now can be proven.
func (s *Store) SignNow(ctx context.Context, op operation.Operation) error {
	defer s.notify()
	return s.inTx(ctx, "sign the record", func(tx *sql.Tx) error {
		// The head's row locks out those who number notices meanwhile.
		if _, err := tx.ExecContext(ctx, "UPDATE record_head SET size = size"); err != nil {
			return err
		}
		t := teller{store: s, tx: tx, op: op}
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM notices").Scan(&t.last); err != nil {
			return fmt.Errorf("number the notices: %w", err)
		}
		return t.seal(ctx, true)
	})
}

// teller writes the notices of one change.
type teller struct {
	store *Store
	tx    *sql.Tx
	op    operation.Operation
	last  int64 // id of the newest notice
}

// add writes a notice down. What names no lane goes into the operation's thread.
func (t *teller) add(ctx context.Context, n operation.Notice) error {
	t.last++
	n.ID, n.Channel, n.Operation = t.last, t.op.Channel, t.op.ID
	if n.Lane == "" {
		n.Lane = t.op.Lane()
	}
	return t.store.insertNotice(ctx, t.tx, n)
}

// workNote writes down what the operation's change request is to be told: every move
// but the first steps of what was confirmed, and a link.
func (t *teller) workNote(ctx context.Context, e operation.Entry) error {
	moved := e.Event != "" && e.Event != operation.Begin && e.Outcome != operation.Asked
	if !t.store.workNotes || t.op.ChangeReference == "" || !moved && e.ChangeReference == "" {
		return nil
	}
	return t.add(ctx, operation.Notice{
		Key: fmt.Sprintf("work_note:%s:%d", t.op.ID, e.Sequence), Kind: operation.NoticeWorkNote, Lane: "change:" + t.op.ChangeReference, Text: t.op.ChangeReference, Entry: e,
	})
}

// surfaces writes down what shows the operation as a whole: its card and, if it
// has a room, the message that is pinned there. The room is opened first.
func (t *teller) surfaces(ctx context.Context) error {
	if err := t.surface(ctx, operation.Notice{Kind: operation.NoticeCard}); err != nil {
		return err
	}
	if t.op.Lane() == t.op.CardLane() {
		return nil
	}
	room := operation.Notice{Key: "room:" + string(t.op.ID), Kind: operation.NoticeRoom}
	var asked int
	if err := t.tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE key = $1", room.Key).Scan(&asked); err != nil {
		return fmt.Errorf("look for the room's notice: %w", err)
	}
	if asked == 0 {
		if err := t.add(ctx, room); err != nil {
			return err
		}
	}
	return t.surface(ctx, operation.Notice{Kind: operation.NoticeStatus})
}

// surface adds one unless it waits already: what nobody has taken up yet will
// show the newest state anyway.
func (t *teller) surface(ctx context.Context, n operation.Notice) error {
	from, to := t.store.clock.others(longestClaim)
	// The row that waits is locked: who takes it up before this is committed would
	// show what was so before.
	done, err := t.tx.ExecContext(ctx, "UPDATE notices SET claim = claim WHERE operation = $1 AND operation <> '' AND kind = $2 AND sent_at = 0 AND claimed_until NOT BETWEEN $3 AND $4",
		string(t.op.ID), string(n.Kind), from, to)
	if err != nil {
		return fmt.Errorf("look for the %s notice: %w", n.Kind, err)
	}
	if waiting, err := done.RowsAffected(); err != nil || waiting > 0 {
		return err
	}
	if n.Kind == operation.NoticeCard {
		if n.Lane, err = t.cardLane(ctx); err != nil {
			return err
		}
	}
	n.Key = fmt.Sprintf("%s:%s:%d", n.Kind, t.op.ID, t.op.Epoch)
	return t.add(ctx, n)
}

// cardLane is where the card's next notice stands: behind the one that is untold, so
// that no edit covers a newer one, or where the card is posted, or edited once it is
// there.
func (t *teller) cardLane(ctx context.Context) (string, error) {
	var untold, card string
	err := t.tx.QueryRowContext(ctx, `SELECT card, COALESCE((SELECT MAX(lane) FROM notices WHERE operation = o.id AND operation <> '' AND kind = 'card' AND sent_at = 0), '')
		FROM operations o WHERE id = $1`, string(t.op.ID)).Scan(&card, &untold)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for the card of operation %s: %w", t.op.ID, err)
	case untold != "":
		return untold, nil
	case card == "":
		return t.op.CardLane(), nil
	}
	return t.op.EditLane(), nil
}

// seal adds the signed head of the record, if it is due.
func (t *teller) seal(ctx context.Context, now bool) error {
	head, sealed, err := t.store.recorder.Seal(ctx, t.tx, now)
	if err != nil {
		// The operation goes on: an emergency must not stop because somebody
		// touched the record. But nobody may miss it.
		t.store.log.ErrorContext(ctx, "the record could not be signed", "operation", t.op.ID, "error", err)
		head, sealed = "The record could not be signed: it does not continue what was signed before. Run `twokey audit verify` and have somebody look at once.", true
	}
	if !sealed {
		return nil
	}
	if err := t.overtake(ctx, head); err != nil {
		return err
	}
	return t.add(ctx, operation.Notice{Key: fmt.Sprintf("checkpoint:%s:%d", t.op.ID, t.last), Kind: operation.NoticeCheckpoint, Text: head})
}

// overtake strikes off the signed heads that wait in the lane of a newer one, which
// covers all that they do. When operations end faster than their channel takes
// messages, one head is posted for several.
func (t *teller) overtake(ctx context.Context, head string) error {
	from, to := t.store.clock.others(longestClaim)
	_, err := t.tx.ExecContext(ctx, `UPDATE notices SET sent_at = $1 WHERE kind = 'checkpoint' AND lane = $2 AND sent_at = 0 AND claimed_until NOT BETWEEN $3 AND $4
		AND text IN (SELECT note FROM record_checkpoints WHERE note <> $5) AND EXISTS (SELECT 1 FROM record_checkpoints WHERE note = $5)`,
		micros(t.store.now()), t.op.Lane(), from, to, head)
	if err != nil {
		return fmt.Errorf("strike off older heads: %w", err)
	}
	return nil
}

func (s *Store) insertNotice(ctx context.Context, tx *sql.Tx, n operation.Notice) error {
	entry, err := json.Marshal(n.Entry)
	if err != nil {
		return fmt.Errorf("encode the entry of %s: %w", n.Key, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO notices (id, key, kind, lane, channel, user_id, operation, entry, document, text, created_at, not_before, round, reminder, leftover, digest, vouched)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		n.ID, n.Key, string(n.Kind), n.Lane, string(n.Channel), string(n.User), string(n.Operation), string(entry), n.Document, n.Text, micros(s.now()), micros(n.NotBefore),
		int64(n.Round), int64(n.Reminder), int64(n.Leftover), int64(n.Digest), s.vouchNotice(n, string(entry)))
	if err != nil {
		return fmt.Errorf("write down %s: %w", n.Key, err)
	}
	return nil
}

// notify wakes the poster of this process.
func (s *Store) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// NoticesChanged receives after notices were written in this process. Those of
// other replicas are found by looking now and then.
func (s *Store) NoticesChanged() <-chan struct{} { return s.changed }

// ClaimNotice takes the oldest notice of a lane that nobody else posts from, the lanes
// of edits aside. Each lane is told in order: its next notice is free when the one
// before is sent. The lease ends earlier, within seconds, when this process dies.
func (s *Store) ClaimNotice(ctx context.Context, _ string, lease time.Duration) (operation.Notice, bool, error) {
	return s.claimNotice(ctx, "kind <> 'work_note' AND lane NOT LIKE '"+operation.EditLanes+"%'", lease)
}

// ClaimEdit is ClaimNotice for the lanes of edits.
func (s *Store) ClaimEdit(ctx context.Context, _ string, lease time.Duration) (operation.Notice, bool, error) {
	return s.claimNotice(ctx, "lane LIKE '"+operation.EditLanes+"%'", lease)
}

// ClaimWorkNote is ClaimNotice for what a change request is told.
func (s *Store) ClaimWorkNote(ctx context.Context, lease time.Duration) (operation.Notice, bool, error) {
	return s.claimNotice(ctx, "kind = 'work_note'", lease)
}

func (s *Store) claimNotice(ctx context.Context, which string, lease time.Duration) (operation.Notice, bool, error) {
	for {
		n, claim, err := s.nextNotice(ctx, which)
		if errors.Is(err, sql.ErrNoRows) {
			return n, false, nil
		}
		if errors.Is(err, errForgedNotice) {
			err = s.dropForged(ctx, n)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return n, false, fmt.Errorf("look for a notice: %w", err)
		}
		done, err := s.db.ExecContext(ctx, `UPDATE notices SET claim = claim + 1, attempts = attempts + 1, claimed_until = $1
			WHERE id = $2 AND claim = $3 AND sent_at = 0`, s.until(lease), n.ID, claim)
		err = exactlyOne(done, err)
		if errors.Is(err, operation.ErrStale) {
			continue // another replica was quicker; there may be one for us
		}
		if err != nil { // it may be ours: that ends by itself
			return n, false, err
		}
		n.Claim, n.Attempts = claim+1, n.Attempts+1
		s.claims.keep(noticeClaim(n), lease, "UPDATE notices SET claimed_until = $1 WHERE id = $2 AND claim = $3 AND sent_at = 0", n.ID, n.Claim)
		return n, true, nil
	}
}

// errForgedNotice is of a notice that twokey did not write.
var errForgedNotice = errors.New("the notice is not twokey's own")

// dropForged strikes off what somebody else wanted told in the bot's name.
func (s *Store) dropForged(ctx context.Context, n operation.Notice) error {
	if _, err := s.db.ExecContext(ctx, "UPDATE notices SET sent_at = $1 WHERE id = $2 AND sent_at = 0", micros(s.now()), n.ID); err != nil {
		return err
	}
	return s.recordForged(ctx, "notice", n.Key)
}

func noticeClaim(n operation.Notice) string {
	return fmt.Sprintf("notice %d by claim %d", n.ID, n.Claim)
}

func (s *Store) nextNotice(ctx context.Context, which string) (operation.Notice, int64, error) {
	from, to := s.clock.others(longestClaim)
	row := s.db.QueryRowContext(ctx, `SELECT id, key, kind, lane, channel, user_id, operation, entry, document, text, created_at, attempts, claim, round, reminder, leftover, digest, vouched FROM notices n
		WHERE sent_at = 0 AND not_before <= $1 AND claimed_until NOT BETWEEN $2 AND $3 AND rest_until NOT BETWEEN $2 AND $4 AND `+which+`
		AND NOT EXISTS (SELECT 1 FROM notices e WHERE e.sent_at = 0 AND e.lane = n.lane AND e.id < n.id)
		ORDER BY id LIMIT 1`, micros(s.now()), from, to, from+longestRest.Microseconds())
	var (
		n                                       operation.Notice
		kind, channel, user, id, entry, vouched string
		created, claim                          int64
	)
	if err := row.Scan(&n.ID, &n.Key, &kind, &n.Lane, &channel, &user, &id, &entry, &n.Document, &n.Text, &created, &n.Attempts, &claim, &n.Round, &n.Reminder, &n.Leftover, &n.Digest, &vouched); err != nil {
		return n, 0, err
	}
	n.Kind, n.Channel, n.User = operation.NoticeKind(kind), operation.ChannelID(channel), operation.UserID(user)
	n.Operation, n.CreatedAt = operation.ID(id), instant(created)
	if !genuine(vouched, s.vouchNotice(n, entry)) {
		return n, claim, errForgedNotice
	}
	if err := json.Unmarshal([]byte(entry), &n.Entry); err != nil {
		return n, 0, fmt.Errorf("decode the entry of %s: %w", n.Key, err)
	}
	return n, claim, nil
}

// NoticeSent notes that n was told as message. ErrStale means that the claim was
// lost meanwhile: somebody else tells it, and this message is a double.
func (s *Store) NoticeSent(ctx context.Context, n operation.Notice, message operation.MessageID) error {
	s.claims.drop(noticeClaim(n))
	return s.inTx(ctx, "note that "+n.Key+" is told", func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE notices SET sent_at = $1, message = $2 WHERE id = $3 AND claim = $4 AND sent_at = 0",
			micros(s.now()), string(message), n.ID, n.Claim)
		if err := exactlyOne(done, err); err != nil {
			return err
		}
		switch n.Kind {
		case operation.NoticeCard:
			_, err = tx.ExecContext(ctx, "UPDATE operations SET card = $1 WHERE id = $2", string(message), string(n.Operation))
		case operation.NoticeCheckpoint:
			_, err = tx.ExecContext(ctx, "UPDATE record_checkpoints SET channel = $1, message = $2 WHERE note = $3", string(n.Channel), string(message), n.Text)
		case operation.NoticeStatus:
			_, err = tx.ExecContext(ctx, "UPDATE operations SET room_status = $1 WHERE id = $2", string(message), string(n.Operation))
		case operation.NoticeRound:
			_, err = tx.ExecContext(ctx, "UPDATE reminder_rounds SET message = $1 WHERE id = $2", string(message), int64(n.Round))
		case operation.NoticeReminder:
			_, err = tx.ExecContext(ctx, "UPDATE reminders SET card = $1 WHERE id = $2", string(message), int64(n.Reminder))
		case operation.NoticeLeftover:
			_, err = tx.ExecContext(ctx, "UPDATE leftovers SET message = $1 WHERE id = $2", string(message), int64(n.Leftover))
		case operation.NoticeDigest:
			_, err = tx.ExecContext(ctx, "UPDATE digests SET message = $1 WHERE id = $2", string(message), int64(n.Digest))
		case operation.NoticeEntry, operation.NoticeDirect, operation.NoticePage, operation.NoticeRoom, operation.NoticeFile, operation.NoticeCare,
			operation.NoticePicture, operation.NoticeMonths, operation.NoticeWorkNote: // nobody asks where they stand
		}
		return err
	})
}

// NoticeMine reports whether the claim on n still holds.
func (s *Store) NoticeMine(ctx context.Context, n operation.Notice) (bool, error) {
	var count int
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE id = $1 AND claim = $2 AND sent_at = 0", n.ID, n.Claim).Scan(&count)
	if err != nil {
		return false, fmt.Errorf("look at the claim on %s: %w", n.Key, err)
	}
	return count == 1, nil
}

// longestRest is how long a notice that was refused rests at most.
const longestRest = 20 * time.Minute

// NoticeLater gives n back, not to be tried again before after has passed.
func (s *Store) NoticeLater(ctx context.Context, n operation.Notice, after time.Duration) error {
	s.claims.drop(noticeClaim(n))
	done, err := s.db.ExecContext(ctx, "UPDATE notices SET claimed_until = 0, rest_until = $1 WHERE id = $2 AND claim = $3 AND sent_at = 0",
		s.clock.micros(min(after, longestRest)), n.ID, n.Claim)
	return exactlyOne(done, err)
}

// RoomOpened notes the channel of an operation's own, or why it has none, and has the
// cards of the operations whose place it took show it. It comes before the room's
// notice is sent.
func (s *Store) RoomOpened(ctx context.Context, id operation.ID, channel operation.ChannelID, trouble string) error {
	by, err := s.Operation(ctx, id)
	if err != nil {
		return err
	}
	all, err := s.OperationsOf(ctx, by.Secret)
	if err != nil {
		return err
	}
	err = s.inTx(ctx, "note the room of operation "+string(id), func(tx *sql.Tx) error {
		// The head's row locks out those who number notices meanwhile.
		if _, err := tx.ExecContext(ctx, "UPDATE record_head SET size = size"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE operations SET room_channel = $1, room_trouble = $2 WHERE id = $3", string(channel), trouble, string(id)); err != nil {
			return err
		}
		for _, op := range all {
			if op.SupersededBy != id {
				continue
			}
			if err := s.showAgain(ctx, tx, op, string(channel)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.notify()
	return nil
}

// showAgain has the card of an operation that has ended edited once for a room.
func (s *Store) showAgain(ctx context.Context, tx *sql.Tx, op operation.Operation, room string) error {
	t := teller{store: s, tx: tx, op: op}
	card := operation.Notice{Key: fmt.Sprintf("card:%s:in:%s", op.ID, room), Kind: operation.NoticeCard}
	var known int
	if err := tx.QueryRowContext(ctx, "SELECT (SELECT COALESCE(MAX(id), 0) FROM notices), (SELECT COUNT(*) FROM notices WHERE key = $1)", card.Key).Scan(&t.last, &known); err != nil {
		return fmt.Errorf("number the notices: %w", err)
	}
	if known > 0 {
		return nil
	}
	var err error
	if card.Lane, err = t.cardLane(ctx); err != nil {
		return err
	}
	return t.add(ctx, card)
}

// Told returns the entries that an operation's thread tells, oldest first.
func (s *Store) Told(ctx context.Context, id operation.ID) ([]operation.Entry, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT entry FROM notices WHERE operation = $1 AND operation <> '' AND kind = 'entry' ORDER BY id", string(id))
	if err != nil {
		return nil, fmt.Errorf("read what is told of operation %s: %w", id, err)
	}
	defer func() { _ = rows.Close() }()
	var out []operation.Entry
	for rows.Next() {
		var raw string
		var e operation.Entry
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("read what is told of operation %s: %w", id, err)
		}
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			return nil, fmt.Errorf("decode an entry of operation %s: %w", id, err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// UntoldNotices counts what is still to be told.
func (s *Store) UntoldNotices(ctx context.Context) (int, error) {
	var n int
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM notices WHERE sent_at = 0").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count what is untold: %w", err)
	}
	return n, nil
}

// SecretOf returns the secret that a message, or the thread that it is in, is
// about: the card of an operation, the status of an incident, a reminder, and
// what was told under them. It is operation.ErrUnknown when there is none.
func (s *Store) SecretOf(ctx context.Context, channel operation.ChannelID, message, thread operation.MessageID) (operation.SecretName, error) {
	var secret string
	err := s.db.QueryRowContext(ctx, `SELECT secret FROM operations WHERE channel = $1 AND card <> '' AND card IN ($2, $3)
		UNION ALL SELECT secret FROM operations WHERE room_channel = $1 AND room_status <> '' AND room_status IN ($2, $3)
		UNION ALL SELECT o.secret FROM notices n JOIN operations o ON o.id = n.operation WHERE n.channel = $1 AND n.message <> '' AND n.message IN ($2, $3)
		LIMIT 1`, string(channel), string(message), string(thread)).Scan(&secret)
	if err == nil {
		return operation.SecretName(secret), nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read what message %s is about: %w", message, err)
	}
	return s.remindedOf(ctx, channel, message, thread)
}
