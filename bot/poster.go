package bot

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// Outbox is the queue of what people must be told.
type Outbox interface {
	// ClaimNotice gives owner, for lease, the oldest untold notice of a lane that
	// nobody else posts from; false when there is none.
	ClaimNotice(ctx context.Context, owner string, lease time.Duration) (operation.Notice, bool, error)
	// ClaimEdit is ClaimNotice for the lanes of edits, see [operation.EditLanes].
	ClaimEdit(ctx context.Context, owner string, lease time.Duration) (operation.Notice, bool, error)
	// NoticeMine reports whether the claim still holds.
	NoticeMine(ctx context.Context, n operation.Notice) (bool, error)
	// NoticeSent notes that the notice was told by message id, which is the
	// operation's card for a card notice and the room's for a status; empty when
	// there was nothing to tell. [operation.ErrStale] when the claim was lost.
	NoticeSent(ctx context.Context, n operation.Notice, id operation.MessageID) error
	// NoticeLater gives the claim back; nobody gets the notice before after.
	NoticeLater(ctx context.Context, n operation.Notice, after time.Duration) error
	// RoomOpened notes the channel of an operation's own, or why it has none.
	RoomOpened(ctx context.Context, id operation.ID, channel operation.ChannelID, trouble string) error
}

// Operations reads what cards and threads show.
type Operations interface {
	Operation(ctx context.Context, id operation.ID) (operation.Operation, error)
	// Told returns the entries that the operation's thread tells, oldest first.
	Told(ctx context.Context, id operation.ID) ([]operation.Entry, error)
	Document(ctx context.Context, id operation.ID, name string) (operation.Document, error)
}

// Rounds reads what is told besides operations: reminders, leftovers, digests.
type Rounds interface {
	Round(ctx context.Context, id operation.RoundID) (operation.Round, error)
	Leftover(ctx context.Context, id operation.LeftoverID) (operation.Leftover, error)
	// Digest returns a digest and its picture, which may be empty.
	Digest(ctx context.Context, id operation.DigestID) (operation.WeeklyDigest, []byte, error)
}

// Progress says how far the steps of an operation are.
type Progress func(op operation.Operation) []operation.StepState

const (
	// giveBack is how long before its end a claim is given back: the call that
	// is under way must end inside it.
	giveBack = 30 * time.Second
	// posters bounds the posts under way, each in a lane of its own. There is room
	// for pages that hang beside a card that does not.
	posters = 16
	// editors bounds the edits under way in lanes of their own. What waits there can
	// still be overtaken by a newer one, and is then never sent.
	editors = 2
	// claimTime is how long a notice is the poster's. It covers the waits for
	// Slack's limits and a few tries.
	claimTime = 2 * time.Minute
	// idle is the wait for new notices when nobody nudges.
	idle = 500 * time.Millisecond
	// spacing is what Slack wants between two messages in one channel.
	spacing = 1050 * time.Millisecond
	// updatesEach is Slack's limit of 50 edits a minute.
	updatesEach = time.Minute / 50
	// tries is how often a notice is tried in one claim, so that a hiccup of
	// Slack's does not let later notices overtake.
	tries = 4
	// settle is the wait before looking whether a doubtful post arrived.
	settle = time.Second
	// longestThrottle is the longest wait that is still done inside one claim.
	longestThrottle = 30 * time.Second
	// recordTime bounds noting what was posted, also while shutting down.
	recordTime = 5 * time.Second
	// pageAnyway is the attempt at which people are paged without the card's address.
	pageAnyway = 5
	// sameFor is how long an unchanged card is not edited again.
	sameFor = 10 * time.Second
)

// poster tells people what the outbox holds: each notice once, one at a time in a
// lane, whatever crashes.
type poster struct {
	b        *Bot
	outbox   Outbox
	ops      Operations
	rounds   Rounds
	progress Progress
	owner    string
	pace     *pace
	classic  atomic.Bool // Slack refused the newer blocks here

	mu     sync.Mutex
	shown  map[string]sight // by kind and operation
	groups map[operation.GroupID]string
	links  map[string]string   // addresses of messages
	did    map[string]struct{} // what this process does once
}

// sight is what a card or status looked like when it was last edited.
type sight struct {
	fingerprint string
	at          time.Time
}

// Nudge says that the outbox may hold something new, so that nobody waits for the
// next look.
func (b *Bot) Nudge() {
	for _, nudge := range []chan struct{}{b.nudge, b.nudgeEdits} {
		select {
		case nudge <- struct{}{}:
		default:
		}
	}
}

// RunPoster posts what the outbox holds until ctx ends. All of its parts are needed. It returns a [*Fatal] when
// Slack does not take the bot's token; what is not posted stays in the outbox.
func (b *Bot) RunPoster(ctx context.Context, outbox Outbox, ops Operations, rounds Rounds, progress Progress) error {
	p := &poster{
		b: b, outbox: outbox, ops: ops, rounds: rounds, progress: progress, owner: "poster-" + rand.Text(),
		pace:  newPace(b.c.Spacing, b.c.EditSpacing, b.c.Turns),
		shown: map[string]sight{}, groups: map[operation.GroupID]string{}, links: map[string]string{}, did: map[string]struct{}{},
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { p.work(ctx, cancel, editors, p.outbox.ClaimEdit, b.nudgeEdits) })
	p.work(ctx, cancel, posters, p.outbox.ClaimNotice, b.nudge)
	wg.Wait()
	f, _ := errors.AsType[*Fatal](context.Cause(ctx))
	if f == nil {
		return nil
	}
	return f
}

// work tells what claim gives, so many at a time, until ctx ends or Slack refuses
// everything for good.
func (p *poster) work(ctx context.Context, cancel context.CancelCauseFunc, most int, claim claimer, nudge <-chan struct{}) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, most)
	for take(ctx, slots) {
		n, ok := p.claim(ctx, claim)
		if !ok {
			<-slots
			p.rest(ctx, nudge)
			continue
		}
		wg.Go(func() {
			defer func() { <-slots; p.b.Nudge() }() // the lane is free: its next notice may be there
			if err := p.post(ctx, n); err != nil {
				cancel(err)
			}
		})
	}
}

// claimer is one of the outbox's two ways to claim.
type claimer func(ctx context.Context, owner string, lease time.Duration) (operation.Notice, bool, error)

func take(ctx context.Context, slots chan<- struct{}) bool {
	select {
	case slots <- struct{}{}:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (p *poster) claim(ctx context.Context, claim claimer) (operation.Notice, bool) {
	n, ok, err := claim(ctx, p.owner, claimTime)
	if _, away := errors.AsType[*operation.Unavailable](err); err != nil && !away && ctx.Err() == nil { // an outage the store tells, once
		p.b.log.ErrorContext(ctx, "the outbox cannot be read", "error", err)
	}
	return n, ok && err == nil
}

func (p *poster) rest(ctx context.Context, nudge <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-nudge:
	case <-time.After(idle):
	}
}

// post tells one notice and notes that, or gives it back. It returns an error
// only when Slack refuses everything for good.
func (p *poster) post(ctx context.Context, n operation.Notice) (final error) {
	defer func() {
		if v := recover(); v != nil {
			final = p.later(ctx, n, panicError{value: v, stack: debug.Stack()})
		}
	}()
	spot, id, err := p.deliver(ctx, n)
	if err != nil {
		return p.later(ctx, n, err)
	}
	if !spot.silent {
		p.b.m.posts(string(n.Kind)).Inc()
	}
	if n.Kind == operation.NoticeStatus && id != "" {
		p.furnish(ctx, spot.op, id)
	}
	n.Channel = cmp.Or(spot.channel, n.Channel)
	p.note(ctx, n, spot, id)
	if n.Kind == operation.NoticeRoom {
		p.showRoom(ctx, n.Operation)
	}
	return nil
}

// note writes down that the notice was told. Even when the bot is being stopped:
// the message is out.
func (p *poster) note(ctx context.Context, n operation.Notice, spot place, id operation.MessageID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	err := p.outbox.NoticeSent(ctx, n, id)
	switch {
	case errors.Is(err, operation.ErrStale):
		p.undouble(ctx, n, spot, id)
	case err != nil: // the claim runs out, and whoever is next finds the message
		p.b.log.ErrorContext(ctx, "a posted message could not be noted", "notice", n.Key, "error", err)
	}
}

// attempt is what is known before a try.
type attempt struct {
	doubt bool // the message may be there already
	anew  bool // the card was deleted and needs a successor
	bare  bool // Slack does not take the blocks, so the text has to do
	loose bool // the thread's first message was deleted, so there is no thread
}

// after is what is known after a try that failed.
func (a attempt) after(n operation.Notice, err error) attempt {
	a.anew = a.anew || errors.Is(err, errGone)
	a.doubt = a.doubt || a.anew || errors.Is(err, errDoubt)
	a.bare = a.bare || blocksRefused(err) && n.Kind != operation.NoticeCard || errors.Is(err, errBare)
	a.loose = a.loose || errorCode(err) == "thread_not_found"
	return a
}

// errBare says that a card's blocks were refused in their classic form too.
var errBare = errors.New("the blocks are refused altogether")

func blocksRefused(err error) bool {
	switch errorCode(err) {
	case "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long":
		return true
	}
	return false
}

// errGone says that the card to be edited is no longer there.
var errGone = errors.New("the card is gone")

// errDoubt marks a failure after which the message may be there or not.
var errDoubt = errors.New("no telling whether the message arrived")

// deliver posts or edits the notice's message and returns its id.
func (p *poster) deliver(ctx context.Context, n operation.Notice) (place, operation.MessageID, error) {
	a := attempt{doubt: n.Attempts > 1} // somebody before us may have posted it
	until := time.Now().Add(claimTime - giveBack)
	var unsure *place // where a try of this claim may have told it
	var spot place
	var err error
	for range tries {
		var id operation.MessageID
		spot, id, err = p.try(ctx, n, a)
		if err == nil {
			return spot, id, nil
		}
		switch {
		case errors.Is(err, operation.ErrStale) && unsure != nil:
			p.withdraw(ctx, n, *unsure)
		case errors.Is(err, errDoubt) && unsure == nil:
			tried := spot
			unsure = &tried
		}
		wait, again := p.again(ctx, n, err)
		if spot.inRoom && roomLost(err) {
			if left := p.leaveRoom(ctx, spot.op, err); left != nil {
				return spot, "", left
			}
			wait, again = 0, true
		}
		if !again || time.Now().Add(wait).After(until) {
			break
		}
		a = a.after(n, err)
		if !pause(ctx, wait) {
			return spot, "", context.Cause(ctx)
		}
	}
	return spot, "", err
}

// again says whether a failure is worth another try in the same claim, and when.
func (p *poster) again(ctx context.Context, n operation.Notice, err error) (time.Duration, bool) {
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return max(limited.RetryAfter, time.Second), limited.RetryAfter <= longestThrottle
	}
	if blocksRefused(err) {
		p.b.log.WarnContext(ctx, "Slack does not take a message's blocks; trying simpler ones", "notice", n.Key, "error", err)
		return 0, true
	}
	if errorCode(err) == "thread_not_found" {
		p.b.log.WarnContext(ctx, "a thread's first message is gone; posting beside it", "notice", n.Key, "error", err)
		return 0, true
	}
	return settle, errors.Is(err, errDoubt) || errors.Is(err, errGone)
}

// try makes one attempt: find out where the notice goes as things stand now, and
// tell it there.
func (p *poster) try(ctx context.Context, n operation.Notice, a attempt) (place, operation.MessageID, error) {
	spot, err := p.place(ctx, n)
	if err == nil && n.Kind == operation.NoticeRoom {
		spot, err = p.openOrGiveUp(ctx, n, spot, a)
	}
	if err != nil || spot.silent {
		return spot, "", err
	}
	if a.anew {
		spot.edit = ""
	}
	if a.loose {
		spot.thread = ""
	}
	if spot.edit != "" {
		id, err := p.edit(ctx, n, spot, a.bare)
		return spot, id, err
	}
	done, err := p.pace.turn(ctx, spot.channel)
	if err != nil {
		return spot, "", err
	}
	if err := p.mine(ctx, n); err != nil {
		done(false, "")
		return spot, "", err
	}
	var posted operation.MessageID
	defer func() { done(true, posted) }()
	id, err := p.tell(ctx, n, spot, a)
	if err == nil && !a.doubt && !isFile(n.Kind) { // else it may be an older message, or none of its own
		posted = id
	}
	return spot, id, err
}

// openOrGiveUp opens the operation's room. When Slack gives no definite answer for
// long, the thread under the card serves: what waits behind is more important than
// where it is told.
func (p *poster) openOrGiveUp(ctx context.Context, n operation.Notice, spot place, a attempt) (place, error) {
	if err := p.mine(ctx, n); err != nil {
		return spot, err
	}
	opened, err := p.room(ctx, n, spot, a)
	if err == nil || n.Attempts < roomAttempts || !errors.Is(err, errDoubt) || p.deaf(ctx) {
		return opened, err
	}
	trouble := fmt.Sprintf("Slack did not make one in %d attempts.", n.Attempts)
	if err := p.outbox.RoomOpened(ctx, spot.op.ID, "", trouble); err != nil {
		return spot, fmt.Errorf("note that %s has no room: %w", spot.op.ID, err)
	}
	return withoutRoom(spot, trouble)
}

// deaf reports whether Slack answers nothing at all just now.
func (p *poster) deaf(ctx context.Context) bool {
	_, err := p.b.poster.AuthTestContext(ctx)
	return err != nil
}

// mine returns [operation.ErrStale] when the claim was lost.
func (p *poster) mine(ctx context.Context, n operation.Notice) error {
	mine, err := p.outbox.NoticeMine(ctx, n)
	if err == nil && !mine {
		return operation.ErrStale
	}
	return err
}

// tell looks whether the notice is told already, and only then tells it.
func (p *poster) tell(ctx context.Context, n operation.Notice, spot place, a attempt) (operation.MessageID, error) {
	doubt := a.doubt && readable(n.Kind)
	// A newer version of a document may have been uploaded by an older notice.
	if doubt || isFile(n.Kind) {
		ids, err := p.find(ctx, n, spot)
		switch {
		case err != nil:
			return "", err
		case len(ids) > 0 && !surface(n.Kind):
			p.bookmarkFile(ctx, n, spot, ids[0])
			return ids[0], nil
		case len(ids) > 0: // it is there, and may show what was so when it was posted
			spot.edit = ids[0]
			return p.edit(ctx, n, spot, a.bare)
		}
	}
	id, err := p.send(ctx, n, spot, a.bare)
	if err == nil && doubt {
		return p.keepFirst(ctx, n, spot, id), nil
	}
	return id, err
}

// readable reports whether a notice's message can be read back. A direct message
// is not: the scope for that opens everything that people write to the bot, which
// is worse than a sentence that one person reads twice.
func readable(k operation.NoticeKind) bool {
	return k != operation.NoticeDirect && k != operation.NoticePage
}

// surface reports whether the notice's message is posted once and edited from then
// on.
func surface(k operation.NoticeKind) bool {
	return slices.Contains([]operation.NoticeKind{operation.NoticeCard, operation.NoticeStatus, operation.NoticeRound, operation.NoticeReminder, operation.NoticeLeftover}, k)
}

// isFile reports whether the notice is a file, which has no metadata.
func isFile(k operation.NoticeKind) bool {
	return k == operation.NoticeFile || k == operation.NoticePicture
}

// place is where a notice goes.
type place struct {
	channel  operation.ChannelID
	thread   operation.MessageID // under which message; empty: under none
	edit     operation.MessageID // which message is edited; empty: a new one
	op       operation.Operation // of what belongs to one
	inRoom   bool                // in the operation's own channel
	silent   bool                // there is nothing to tell any more
	note     Message             // what a room's notice says
	document operation.Document  // of a file
	round    operation.Round     // of what belongs to reminders
	reminder operation.Reminder  // of a reminder's card
	leftover operation.Leftover
	digest   operation.WeeklyDigest
}

// place finds out where the notice goes, by the operation as it is now.
func (p *poster) place(ctx context.Context, n operation.Notice) (place, error) {
	spot := place{channel: n.Channel}
	var err error
	if n.Operation != "" {
		if spot.op, err = p.ops.Operation(ctx, n.Operation); err != nil {
			return spot, fmt.Errorf("read operation %s for its card: %w", n.Operation, err)
		}
		spot.channel = cmp.Or(spot.channel, spot.op.Channel)
	}
	switch n.Kind {
	case operation.NoticeCard:
		spot.edit = spot.op.Card
	case operation.NoticeStatus:
		spot.channel, spot.edit, spot.inRoom = spot.op.RoomChannel, spot.op.RoomStatus, true
		spot.silent = spot.op.RoomChannel == ""
	case operation.NoticeEntry, operation.NoticeCheckpoint:
		return inThread(n, spot)
	case operation.NoticeFile:
		if spot.document, err = p.ops.Document(ctx, n.Operation, n.Document); err != nil {
			return spot, fmt.Errorf("read document %s: %w", n.Document, err)
		}
		return inThread(n, spot)
	case operation.NoticePage:
		if spot.op.State != operation.Pending || !p.b.c.Now().Before(spot.op.LapsesAt) {
			spot.silent = true
			return spot, nil
		}
		if spot.op.Card == "" && n.Attempts < pageAnyway {
			return spot, errNoCard // who is woken at night wants the link to it
		}
		spot.channel, err = p.b.directChannel(ctx, p.b.poster, n.User)
	case operation.NoticeDirect:
		spot.channel, err = p.b.directChannel(ctx, p.b.poster, n.User)
	case operation.NoticeRound, operation.NoticeReminder, operation.NoticeCare:
		return p.placeReminder(ctx, n)
	case operation.NoticeLeftover:
		spot.leftover, err = p.rounds.Leftover(ctx, n.Leftover)
		spot.edit = spot.leftover.Message
	case operation.NoticeDigest, operation.NoticePicture, operation.NoticeMonths:
		return p.placeDigest(ctx, n, spot)
	case operation.NoticeRoom: // room finds out
	case operation.NoticeWorkNote: // never claimed for the chat
	}
	return spot, err
}

// placeReminder finds out where a round's message is, or what stands under it.
func (p *poster) placeReminder(ctx context.Context, n operation.Notice) (place, error) {
	round, err := p.rounds.Round(ctx, n.Round)
	if err != nil {
		return place{}, err
	}
	spot := place{channel: round.Channel, round: round}
	if n.Kind == operation.NoticeRound {
		spot.edit = round.Message
		return spot, nil
	}
	if spot.thread = round.Message; spot.thread == "" {
		return spot, errNoCard
	}
	for _, r := range round.Reminders {
		if r.ID == n.Reminder && n.Kind == operation.NoticeReminder {
			spot.reminder, spot.edit = r, r.Card
		}
	}
	return spot, nil
}

// placeDigest finds out where a digest is, or what stands under it.
func (p *poster) placeDigest(ctx context.Context, n operation.Notice, spot place) (place, error) {
	digest, picture, err := p.rounds.Digest(ctx, n.Digest)
	if err != nil {
		return spot, err
	}
	spot.digest = digest
	if n.Kind == operation.NoticeDigest {
		return spot, nil
	}
	spot.document = operation.Document{
		Name: "digest-" + digest.At.UTC().Format("2006-01-02") + ".png", Title: "What expires in the next 12 months", Body: picture, At: digest.At, Alternative: digest.Alternative,
	}
	if spot.thread = digest.Message; spot.thread == "" {
		return spot, errNoCard
	}
	return spot, nil
}

// inThread is under the operation's card, or under the status of its room for what
// stands in the room's lane. Without a room the card serves.
func inThread(n operation.Notice, spot place) (place, error) {
	if n.Operation == "" {
		return spot, nil // a checkpoint of the whole record
	}
	spot.thread = spot.op.Card
	if n.Lane == spot.op.Lane() && spot.op.RoomChannel != "" {
		spot.channel, spot.thread, spot.inRoom = spot.op.RoomChannel, spot.op.RoomStatus, true
	}
	if spot.thread == "" {
		return spot, errNoCard
	}
	return spot, nil
}

// errNoCard delays an entry whose card is not posted yet.
var errNoCard = errors.New("the operation's card is not posted yet")

// message is what the notice says, rendered from the newest state: of several
// edits that wait, the first shows it all and the others find nothing to do.
func (p *poster) message(ctx context.Context, n operation.Notice, spot place, classic bool) Message {
	switch n.Kind {
	case operation.NoticeEntry:
		return Line(n.Entry, spot.op.Drill())
	case operation.NoticeCheckpoint:
		return Checkpoint(n.Text)
	case operation.NoticeDirect:
		return Direct(n.Text)
	case operation.NoticePage:
		return Page(n.Text, spot.op.Drill(), p.permalink(ctx, spot.op.Channel, spot.op.Card))
	case operation.NoticeRoom:
		return spot.note
	case operation.NoticeStatus:
		return p.status(ctx, spot.op)
	case operation.NoticeRound:
		return RoundMessage(spot.round, spot.edit == "" && spot.round.Message == "")
	case operation.NoticeReminder:
		return ReminderCard(spot.reminder)
	case operation.NoticeCare:
		return CareLine(n.Entry)
	case operation.NoticeLeftover:
		return LeftoverMessage(spot.leftover)
	case operation.NoticeDigest:
		return DigestMessage(spot.digest)
	case operation.NoticeMonths:
		return MonthsMessage(spot.digest)
	case operation.NoticeCard, operation.NoticeFile, operation.NoticePicture, operation.NoticeWorkNote: // a file is no message, and a work note is not for the chat
	}
	op := spot.op
	c := Card{Operation: op, Approvers: p.group(ctx, op.Plan.Policy.Approvers), Ring: spot.edit == "" && op.Card == "", Classic: classic}
	if op.Plan.Urgent {
		c.Escalation = p.group(ctx, op.Plan.Policy.Escalation)
	}
	c.Steps = p.progress(op)
	if op.SupersededBy != "" {
		var err error
		if c.Incident, err = p.ops.Operation(ctx, op.SupersededBy); err != nil { // that it ended matters more
			p.b.log.WarnContext(ctx, "a card does not show the emergency that took its place", "operation", op.ID, "error", err)
		}
		c.IncidentCard = p.permalink(ctx, c.Incident.Channel, c.Incident.Card)
	}
	return c.Message()
}

func (p *poster) status(ctx context.Context, op operation.Operation) Message {
	told, err := p.ops.Told(ctx, op.ID)
	if err != nil { // the state matters more than the time line
		p.b.log.WarnContext(ctx, "the status has no time line", "operation", op.ID, "error", err)
	}
	return Status{Operation: op, Steps: p.progress(op), Told: told, Card: p.permalink(ctx, op.Channel, op.Card)}.Message()
}

// group is what the approvers' group is called. The card alone uses it; who is
// in it is looked up at the click.
func (p *poster) group(ctx context.Context, id operation.GroupID) string {
	p.mu.Lock()
	name, ok := p.groups[id]
	p.mu.Unlock()
	if ok || id == "" {
		return name
	}
	if name = p.b.groupName(ctx, id); name != "" {
		p.mu.Lock()
		p.groups[id] = name
		p.mu.Unlock()
	}
	return name
}

// send posts a new message.
func (p *poster) send(ctx context.Context, n operation.Notice, spot place, bare bool) (operation.MessageID, error) {
	if isFile(n.Kind) {
		return p.sendFile(ctx, n, spot)
	}
	classic := p.classic.Load()
	id, err := p.sendAs(ctx, n, spot, p.message(ctx, n, spot, classic).unless(bare))
	return id, p.simpler(n, classic, err)
}

// simpler notes that Slack does not take a card's blocks: not every workspace takes
// the plan block.
func (p *poster) simpler(n operation.Notice, classic bool, err error) error {
	if blocksRefused(err) && n.Kind == operation.NoticeCard {
		p.classic.Store(true)
		if classic {
			err = errors.Join(err, errBare)
		}
	}
	return err
}

// unless leaves the blocks out when bare.
func (m Message) unless(bare bool) Message {
	if bare {
		m.Blocks = nil
	}
	return m
}

func (p *poster) sendAs(ctx context.Context, n operation.Notice, spot place, m Message) (operation.MessageID, error) {
	options := append(m.options(), slack.MsgOptionMetadata(metadata(n, spot.op)))
	if spot.thread != "" {
		options = append(options, slack.MsgOptionTS(string(spot.thread)))
	}
	_, ts, err := p.b.poster.PostMessageContext(ctx, string(spot.channel), options...)
	if err != nil {
		return "", doubtful(fmt.Errorf("post %s: %w", n.Key, err))
	}
	if ts == "" {
		return "", fmt.Errorf("post %s: Slack named no message: %w", n.Key, errDoubt)
	}
	p.saw(n, m)
	return operation.MessageID(ts), nil
}

// edit has the message at spot show the newest state, if it does not yet. It waits
// for no turn of the channel: Slack's limit of messages is not for edits, which have
// their own.
func (p *poster) edit(ctx context.Context, n operation.Notice, spot place, bare bool) (operation.MessageID, error) {
	classic := p.classic.Load()
	if p.unchanged(n, p.message(ctx, n, spot, classic).unless(bare)) {
		return spot.edit, nil
	}
	done, err := p.pace.edit(ctx, sightOf(n))
	if err != nil {
		return "", err
	}
	defer done()
	if n.Claim > 0 { // else it is not from the outbox
		if err := p.mine(ctx, n); err != nil {
			return "", err
		}
	}
	now, err := p.place(ctx, n) // the wait may have been long
	if err != nil || now.silent {
		return spot.edit, err
	}
	now.edit = spot.edit
	id, err := p.editAs(ctx, n, now, p.message(ctx, n, now, classic).unless(bare))
	return id, p.simpler(n, classic, err)
}

func (p *poster) editAs(ctx context.Context, n operation.Notice, spot place, m Message) (operation.MessageID, error) {
	if p.unchanged(n, m) {
		return spot.edit, nil
	}
	options := append(m.options(), slack.MsgOptionMetadata(metadata(n, spot.op)))
	_, _, _, err := p.b.poster.UpdateMessageContext(ctx, string(spot.channel), string(spot.edit), options...)
	if code := errorCode(err); code == "message_not_found" || code == "cant_update_message" {
		p.b.log.WarnContext(ctx, "a message to be edited is gone and is posted anew", "operation", n.Operation, "kind", n.Kind, "error", err)
		return "", errGone
	}
	if err != nil {
		return "", doubtful(fmt.Errorf("edit %s: %w", n.Key, err))
	}
	p.saw(n, m)
	return spot.edit, nil
}

// sightOf names what a notice shows.
func sightOf(n operation.Notice) string {
	return fmt.Sprint(n.Kind, " ", n.Operation, " ", n.Round, " ", n.Reminder, " ", n.Leftover)
}

// unchanged reports whether the card looks like that already.
func (p *poster) unchanged(n operation.Notice, m Message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.shown[sightOf(n)]
	return ok && s.fingerprint == m.fingerprint() && time.Since(s.at) < sameFor
}

func (p *poster) saw(n operation.Notice, m Message) {
	if !surface(n.Kind) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.shown {
		if time.Since(s.at) > sameFor {
			delete(p.shown, id)
		}
	}
	p.shown[sightOf(n)] = sight{fingerprint: m.fingerprint(), at: time.Now()}
}

// doubtful marks failures that leave open whether Slack did it: whatever is not
// Slack's own definite no.
func doubtful(err error) error {
	if _, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return err
	}
	switch errorCode(err) {
	case "", "internal_error", "fatal_error", "service_unavailable", "request_timeout":
		return errors.Join(err, errDoubt)
	}
	return err
}

// once does what may be repeated until it is done or refused for good, and not
// again in this process.
func (p *poster) once(key string, do func() error) error {
	p.mu.Lock()
	_, done := p.did[key]
	p.mu.Unlock()
	if done {
		return nil
	}
	err := do()
	if err == nil || refusedForGood(err) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.did[key] = struct{}{}
	}
	return err
}

// later gives a notice back after a failure. It returns an error only when Slack
// refuses everything for good.
func (p *poster) later(ctx context.Context, n operation.Notice, cause error) error {
	if errors.Is(cause, operation.ErrStale) {
		return nil // somebody else has it
	}
	stopping := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	wait := delay(n, cause)
	if stopping {
		wait = 0
	} else {
		p.complain(ctx, n, cause, wait)
	}
	if err := p.outbox.NoticeLater(ctx, n, wait); err != nil && !errors.Is(err, operation.ErrStale) {
		p.b.log.ErrorContext(ctx, "a notice could not be given back", "notice", n.Key, "error", err)
	}
	if f, ok := fatal(cause, botToken); ok && f.Code != "missing_scope" && f.Code != "no_permission" {
		return f
	}
	return nil
}

// delay is how long a notice rests: what people have to mend is tried slowly.
func delay(n operation.Notice, cause error) time.Duration {
	if limited, ok := errors.AsType[*slack.RateLimitedError](cause); ok {
		return limited.RetryAfter
	}
	slow := time.Duration(min(n.Attempts, 15)) * time.Minute
	switch {
	case errors.Is(cause, errNoCard):
		return time.Second
	case errors.Is(cause, errDoubt), errorCode(cause) == "":
		return min(time.Duration(n.Attempts)*2*time.Second, time.Minute)
	}
	return max(slow, time.Minute)
}

func (p *poster) complain(ctx context.Context, n operation.Notice, cause error, wait time.Duration) {
	if errors.Is(cause, errNoCard) {
		return
	}
	code := first(errorCode(cause), "unclear")
	if _, ok := errors.AsType[*slack.RateLimitedError](cause); ok {
		code = "ratelimited"
	}
	p.b.m.postFailures(code).Inc()
	p.b.log.ErrorContext(ctx, "a message could not be posted", "notice", n.Key, "channel", n.Channel, "todo", postTodo(cause), "again_in", wait, "error", cause)
}

// postTodo is what the operator can do about a definite refusal.
func postTodo(err error) string {
	switch errorCode(err) {
	case "channel_not_found", "not_in_channel":
		return "invite the bot to the channel (/invite @twokey), or correct the channel in the configuration"
	case "is_archived":
		return "unarchive the channel, or name another in the configuration"
	case "missing_scope":
		return missingScope(err, botToken)
	case "restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel":
		return "an administrator lets only some people post in that channel; allow the bot, or name another channel"
	case "cannot_dm_bot", "user_not_found", "user_disabled":
		return "nothing: the person cannot be reached"
	}
	return "nothing; it is tried again"
}
