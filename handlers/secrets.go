package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/internal/near"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/policy"
	"github.com/twokey/twokey/runbook"
)

// Desk shows people what they ask for.
type Desk interface {
	Answer(ctx context.Context, in bot.Intent, m bot.Message) error
	Share(ctx context.Context, in bot.Intent, m bot.Message) error
	SendFile(ctx context.Context, user operation.UserID, d operation.Document) error
}

// Inventory tells what can expire.
type Inventory interface {
	// Get returns what was read some minutes ago, or else reads.
	Get(ctx context.Context) (inventory.Inventory, error)
	Refresh(ctx context.Context) (inventory.Inventory, error)
}

// Book has what was done and told.
type Book interface {
	// OperationsOf returns the newest operations on a secret, open and ended.
	OperationsOf(ctx context.Context, secret operation.SecretName) ([]operation.Operation, error)
	// OpenReminders returns the latest reminder of everything that is not settled.
	OpenReminders(ctx context.Context) ([]operation.Reminder, error)
}

// Record is the record of who did what.
type Record interface {
	// History returns what happened about a secret, newest first.
	History(ctx context.Context, secret operation.SecretName) ([]operation.Entry, error)
}

// Shelf is where people look secrets up.
type Shelf struct {
	Inventory Inventory
	Book      Book
	Record    Record
	Policy    Inspector
}

// Inspector checks how the platform keeps its secrets.
type Inspector interface {
	Inspect(ctx context.Context) (policy.Report, error)
}

const (
	codeUnknownWord operation.Code = "unknown_word"
	codeShare       operation.Code = "share"
)

const secretsHelp = "*`/secrets [words…]`* shows what can expire: client secrets, certificates and TLS endpoints, the most urgent first. It answers you alone.\n" +
	"• Words leave out the rest: a server, an environment, an owner, part of a name, a kind (`secret`, `certificate`, `acm`, `tls`), or how it stands (`overdue`, `due`, `unknown`, `fine`).\n" +
	"• `/secrets findings` shows what somebody should look at; `drift`, `unexplained`, `returned`, `pending`, `plain`, `kms`, `untrusted` and `revoked` are kinds of it.\n" +
	"• `/secrets sharepoint prod` is one secret's page: keys, owner, what it feeds, what is going on with it, and its history.\n" +
	"• `/secrets all` shows the keys of applications that I don't look after, too. `/secrets unowned` shows what nobody owns.\n" +
	"• `/secrets export [words…]` sends you the same as CSV.\n" +
	"• `/secrets policy` checks who may read the secrets and who did, how they are encrypted, and that none stands in a task definition.\n" +
	"• I look after: %s."

// secretsCommand answers /secrets.
func (h *Handlers) secretsCommand(ctx context.Context, in bot.Intent) error {
	words := strings.Fields(strings.ToLower(in.Text))
	if len(words) > 0 && words[0] == "help" {
		return h.tell(ctx, in, fmt.Sprintf(secretsHelp, h.everything()))
	}
	if len(in.Text) > bot.MaxWords {
		return operation.Refuse(codeUnreadable, "That is too long to be words to look for. See `/secrets help`.")
	}
	if err := h.rules.MayLook(ctx, in.User, h.care.Policy.Channel, "", in.Command+" "+in.Text, h.policies()...); err != nil {
		return err
	}
	if len(words) == 1 && words[0] == "policy" {
		return h.inspect(ctx, in)
	}
	if len(words) > 0 && words[0] == "export" {
		return h.export(ctx, in, strings.Join(words[1:], " "))
	}
	found, err := h.shelf.Inventory.Get(ctx)
	if err != nil {
		return fmt.Errorf("read the inventory: %w", err)
	}
	return h.showSecrets(ctx, in, found, bot.SecretsRef{Words: strings.Join(words, " ")}, false)
}

// policies are all by which somebody may see something. An answer is for one person,
// wherever they are: the channel that is checked is the operations channel.
func (h *Handlers) policies() []operation.Policy {
	out := []operation.Policy{h.care.Policy}
	for _, t := range h.targets {
		out = append(out, t.Policy)
	}
	return out
}

func (h *Handlers) maySee(ctx context.Context, user operation.UserID) (operation.Person, error) {
	return h.rules.MaySee(ctx, user, h.care.Policy.Channel, h.policies()...)
}

// readAgainAfter keeps those who click often from having everything read each time.
const readAgainAfter = time.Minute

// fresh is the inventory as it is now, or was a moment ago.
func (h *Handlers) fresh(ctx context.Context) (inventory.Inventory, error) {
	found, err := h.shelf.Inventory.Get(ctx)
	if err == nil && h.rules.Now().Sub(found.At) > readAgainAfter {
		found, err = h.shelf.Inventory.Refresh(ctx)
	}
	if err != nil {
		return found, fmt.Errorf("read the inventory: %w", err)
	}
	return found, nil
}

// secretsButton answers the buttons that lead from one look to another.
func (h *Handlers) secretsButton(ctx context.Context, in bot.Intent) error {
	ref, err := h.secretsRef(ctx, in)
	if err != nil {
		return err
	}
	look := h.shelf.Inventory.Get
	if in.Action == bot.ActionSecretsAgain {
		look = h.fresh
	}
	found, err := look(ctx)
	if err != nil {
		return fmt.Errorf("read the inventory: %w", err)
	}
	return h.showSecrets(ctx, in, found, ref, false)
}

// secretsRef reads what a button asks for, and whether this person may see it.
func (h *Handlers) secretsRef(ctx context.Context, in bot.Intent) (bot.SecretsRef, error) {
	ref, ok := bot.ParseSecretsRef(in.Value)
	if !ok {
		return ref, unreadable()
	}
	_, err := h.maySee(ctx, in.User)
	return ref, err
}

func (h *Handlers) showSecrets(ctx context.Context, in bot.Intent, found inventory.Inventory, ref bot.SecretsRef, shared bool) error {
	m, err := h.secrets(ctx, found, ref, operation.Person{}, shared)
	if err != nil {
		return err
	}
	return h.chat.Answer(ctx, in, m)
}

// secrets is what the words ask for: one secret's page, or a list. By is who shares
// it with everybody.
func (h *Handlers) secrets(ctx context.Context, found inventory.Inventory, ref bot.SecretsRef, by operation.Person, shared bool) (bot.Message, error) {
	w, err := h.wanted(strings.Fields(ref.Words), found)
	if err != nil {
		return bot.Message{}, err
	}
	if w.one {
		return h.secretPage(ctx, found, ref, w.target, by, shared)
	}
	return bot.SecretList{
		Ref: ref, Inventory: w.of(found, h.rules.Now()), Findings: len(w.findings) > 0, Now: h.rules.Now(), By: by, Shared: shared,
	}.Message(), nil
}

// secretPage gathers what is known of one secret.
func (h *Handlers) secretPage(ctx context.Context, found inventory.Inventory, ref bot.SecretsRef, target runbook.Target, by operation.Person, shared bool) (bot.Message, error) {
	now := h.rules.Now()
	p := bot.SecretPage{
		Name: target.Name, Ref: ref, Inventory: ofSecret(target.Name).of(found, now), Links: map[operation.ID]string{}, Kinds: map[operation.ID]operation.Kind{},
		Now: now, By: by, Shared: shared,
	}
	slices.SortStableFunc(p.Inventory.Items, func(a, b inventory.Item) int { return inUseFirst(a) - inUseFirst(b) })
	ops, err := h.shelf.Book.OperationsOf(ctx, target.Name)
	if err != nil {
		return bot.Message{}, fmt.Errorf("read the operations of %s: %w", target.Name, err)
	}
	for _, op := range ops {
		p.Kinds[op.ID] = op.Kind
		if op.State.Open() {
			p.Open, p.Links[op.ID] = append(p.Open, op), h.chat.Link(ctx, op.Channel, op.Card)
		}
	}
	reminders, err := h.shelf.Book.OpenReminders(ctx)
	if err != nil {
		return bot.Message{}, err
	}
	for _, r := range reminders {
		if r.Secret == target.Name {
			p.Reminder, p.Reminding = &r, h.chat.Link(ctx, r.Channel, r.Card)
			break // the others end later
		}
	}
	if p.History, err = h.shelf.Record.History(ctx, target.Name); err != nil {
		return bot.Message{}, err
	}
	if p.Earlier = max(0, len(p.History)-maxHistory); p.Earlier > 0 {
		p.History = p.History[:maxHistory]
	}
	return p.Message(), nil
}

// maxHistory is how much of its history a secret's page shows.
const maxHistory = 12

func inUseFirst(i inventory.Item) int {
	switch {
	case i.Live:
		return 0
	case i.Replaced:
		return 2
	}
	return 1
}

// shareSecrets posts for everybody what one person sees.
func (h *Handlers) shareSecrets(ctx context.Context, in bot.Intent) error {
	ref, ok := bot.ParseSecretsRef(in.Value)
	if !ok {
		return unreadable()
	}
	if in.Channel == "" || strings.HasPrefix(string(in.Channel), "D") {
		return operation.Refuse(codeShare, "This is a direct message, so nobody else would see it. Use `/secrets %s` in the channel that shall.", ref.Words)
	}
	// Here the channel counts: everybody in it will read this.
	if err := h.rules.MayLook(ctx, in.User, in.Channel, "", "shared /secrets "+ref.Words, h.policies()...); err != nil {
		return err
	}
	found, err := h.shelf.Inventory.Get(ctx)
	if err != nil {
		return fmt.Errorf("read the inventory: %w", err)
	}
	m, err := h.secrets(ctx, found, ref, operation.Person{User: in.User}, false)
	if err != nil {
		return err
	}
	err = h.chat.Share(ctx, in, m)
	if errors.Is(err, bot.ErrNotInChannel) {
		return operation.RefuseBecause(err, operation.CodeLookup, "I am not in this channel, so I can't post here. Invite me, or share it in <#%s>.", h.care.Policy.Channel)
	}
	if err != nil {
		return err
	}
	return h.showSecrets(ctx, in, found, ref, true)
}

// exportButton answers the button that does what /secrets export does.
func (h *Handlers) exportButton(ctx context.Context, in bot.Intent) error {
	ref, ok := bot.ParseSecretsRef(in.Value)
	if !ok {
		return unreadable()
	}
	if err := h.rules.MayLook(ctx, in.User, h.care.Policy.Channel, "", "/secrets export "+ref.Words, h.policies()...); err != nil {
		return err
	}
	return h.export(ctx, in, ref.Words)
}

// export sends somebody what the words ask for, as a file.
func (h *Handlers) export(ctx context.Context, in bot.Intent, words string) error {
	found, err := h.shelf.Inventory.Get(ctx)
	if err != nil {
		return fmt.Errorf("read the inventory: %w", err)
	}
	w, err := h.wanted(strings.Fields(words), found)
	if err != nil {
		return err
	}
	now := h.rules.Now()
	part := w.of(found, now)
	body, err := part.CSV()
	if err != nil {
		return err
	}
	file := operation.Document{Name: "secrets-" + found.At.UTC().Format("2006-01-02T1504Z") + ".csv", Title: strings.TrimSpace("What can expire: " + words), Body: body, At: now}
	if err := h.chat.SendFile(ctx, in.User, file); err != nil {
		return err
	}
	text := fmt.Sprintf("I have sent you %d lines as CSV in a direct message. Read from the sources at %s.", len(part.Items), found.At.UTC().Format("2006-01-02 15:04 MST"))
	for _, g := range part.Gaps {
		text += fmt.Sprintf("\nNot read, so it is missing or unknown there: %s: %s", g.Source, g.Why)
	}
	return h.tell(ctx, in, text)
}

// secretOf finds the secret that a button names.
func (h *Handlers) secretOf(in bot.Intent) (runbook.Target, error) {
	server, environment, _ := strings.Cut(in.Value, "/")
	target, found := h.target(server, environment)
	if !found {
		return target, operation.Refuse(codeUnknownServer, "I no longer look after that. I look after: %s. Nothing was changed.", h.everything())
	}
	return target, nil
}

// secretRotate opens the rotate form with the secret filled in.
func (h *Handlers) secretRotate(ctx context.Context, in bot.Intent) error {
	target, err := h.secretOf(in)
	if err != nil {
		return err
	}
	in.Command, in.Text = "/rotate", target.Server+" "+target.Environment // what to type if the form comes too late
	return h.openForm(ctx, in, wish{server: target.Server, environment: target.Environment}, target)
}

// secretEmergency opens the emergency form with the secret filled in.
func (h *Handlers) secretEmergency(ctx context.Context, in bot.Intent) error {
	target, err := h.secretOf(in)
	if err != nil {
		return err
	}
	return h.openEmergencyForm(ctx, in, wish{server: target.Server, environment: target.Environment}, false)
}

// fromPage turns a click on a secret's page into one on the reminder's own card,
// which the button names: what may be done there is judged as ever.
func fromPage(in bot.Intent) (bot.Intent, error) {
	ref, ok := bot.ParseReminderRef(in.Value)
	if !ok || ref.Message == "" {
		return in, unreadable()
	}
	in.Channel, in.Message = ref.Channel, ref.Message
	return in, nil
}

// secretTake takes the reminder, and shows the page as it is then.
func (h *Handlers) secretTake(ctx context.Context, in bot.Intent) error {
	onCard, err := fromPage(in)
	if err != nil {
		return err
	}
	if err := h.takeReminder(ctx, onCard); err != nil {
		return err
	}
	r, err := h.reminderOf(ctx, onCard)
	if err != nil {
		return err
	}
	found, err := h.shelf.Inventory.Get(ctx)
	if err != nil {
		return fmt.Errorf("read the inventory: %w", err)
	}
	return h.showSecrets(ctx, in, found, bot.SecretsRef{Words: strings.Replace(string(r.Secret), "/", " ", 1)}, false)
}

// secretSnooze opens the form for a snooze.
func (h *Handlers) secretSnooze(ctx context.Context, in bot.Intent) error {
	onCard, err := fromPage(in)
	if err != nil {
		return err
	}
	return h.askSnooze(ctx, onCard)
}

// wanted is what somebody wants to see of the inventory.
type wanted struct {
	one      bool // one secret's page: target
	target   runbook.Target
	filter   inventory.Filter
	texts    []string // parts of what names an item; all must fit
	secret   operation.SecretName
	findings []inventory.FindingKind // these, and not items
}

// ofSecret wants all that belongs to one secret.
func ofSecret(name operation.SecretName) wanted { return wanted{secret: name} }

// findingWords are the words for kinds of findings.
func findingWords() map[string][]inventory.FindingKind {
	all := inventory.FindingKinds()
	out := map[string][]inventory.FindingKind{
		"findings": all, "unexplained": {inventory.KeyUnexplained, inventory.KeyInNoParameter}, "returned": {inventory.KeyReturned}, "pending": {inventory.PendingLeft}, "plain": {inventory.ParameterPlain},
		"kms": {inventory.ParameterOtherKey}, "untrusted": {inventory.EndpointNotTrusted}, "revoked": {inventory.CertificateRevoked},
	}
	for _, k := range all {
		out[string(k)] = []inventory.FindingKind{k}
	}
	return out
}

// wanted reads words. What is none of those that it knows must at least be a part
// of something in the inventory.
func (h *Handlers) wanted(words []string, found inventory.Inventory) (wanted, error) {
	if len(words) == 1 {
		words = strings.SplitN(words[0], "/", 2) // sharepoint/prod
		if _, known := h.target(words[0], words[len(words)-1]); !known {
			words = []string{strings.Join(words, "/")}
		}
	}
	if len(words) == 2 {
		if target, known := h.target(words[0], words[1]); known {
			return wanted{one: true, target: target}, nil
		}
	}
	w := wanted{filter: inventory.Filter{Configured: true}}
	for _, word := range words {
		if err := h.word(&w, word, found); err != nil {
			return w, err
		}
	}
	return w, nil
}

// word adds one word to what is wanted.
func (h *Handlers) word(w *wanted, word string, found inventory.Inventory) error {
	status, notStatus := inventory.ParseStatus(word)
	kind, notKind := inventory.ParseKind(word)
	findings := findingWords()[word]
	f := &w.filter
	switch {
	case notStatus == nil:
		f.Statuses = append(f.Statuses, status)
	case findings != nil:
		w.findings = append(w.findings, findings...)
	case slices.Contains(h.servers(), word):
		f.Servers = append(f.Servers, word)
	case slices.Contains(h.environments(""), word):
		f.Environments = append(f.Environments, word)
	case notKind == nil:
		f.Kinds = append(f.Kinds, kind)
	case word == "all":
		f.Configured = false
	case word == "unowned":
		f.Owners = append(f.Owners, inventory.NoOwner)
	case slices.ContainsFunc(found.Items, inventory.Filter{Text: word}.Matches):
		w.texts = append(w.texts, word)
		f.Configured = false // whoever names it means it
	default:
		return h.unknownWord(word, found)
	}
	return nil
}

// unknownWord refuses a word that would leave nothing over.
func (h *Handlers) unknownWord(word string, found inventory.Inventory) error {
	var known []string
	for _, s := range inventory.Statuses() {
		known = append(known, string(s))
	}
	for w := range findingWords() {
		known = append(known, w)
	}
	slices.Sort(known[len(inventory.Statuses()):])
	known = append(append(known, "all", "unowned", "export", "help"), slices.Concat(h.servers(), h.environments(""))...)
	for _, i := range found.Items {
		known = append(known, strings.Fields(strings.ToLower(i.Owner.Name))...)
		if i.Feeds.Secret != "" {
			known = append(known, string(i.Feeds.Secret))
		}
	}
	if name, ok := near.Match(word, known); ok {
		return operation.Refuse(codeUnknownWord, "I know nothing that has %q in its name or owner. Did you mean %s?", word, name)
	}
	return operation.Refuse(codeUnknownWord, "I know nothing that has %q in its name or owner. `/secrets help` says which words I know; I look after: %s.", word, h.everything())
}

// of is the part of the inventory that is wanted, most urgent first, as urgent as
// it is at now.
func (w wanted) of(found inventory.Inventory, now time.Time) inventory.Inventory {
	out := found
	out.Items, out.Findings = nil, nil
	matching := w.filter
	matching.Statuses = nil
	for _, i := range found.Items { // they belong to all who look: what changes is a copy
		i.Status = i.StatusAt(now, found.Due)
		if w.filter.Matches(i) && (w.secret == "" || i.Feeds.Secret == w.secret) && w.mentions(i) {
			out.Items = append(out.Items, i)
		}
	}
	inventory.Sort(out.Items, inventory.ByUrgency)
	for _, f := range found.Select(matching).Findings {
		named := inventory.Item{Name: f.Text, Feeds: f.Feeds}
		if (len(w.findings) == 0 || slices.Contains(w.findings, f.Kind)) && (w.secret == "" || f.Feeds.Secret == w.secret) && w.mentions(named) {
			out.Findings = append(out.Findings, f)
		}
	}
	return out
}

func (w wanted) mentions(i inventory.Item) bool {
	return !slices.ContainsFunc(w.texts, func(text string) bool { return !(inventory.Filter{Text: text}).Matches(i) })
}

// inspect does the policy's checks and tells one person: the summary at once, and all
// findings as a file.
func (h *Handlers) inspect(ctx context.Context, in bot.Intent) error {
	report, err := h.shelf.Policy.Inspect(ctx)
	if err != nil {
		return fmt.Errorf("check the policy: %w", err)
	}
	if err := h.tell(ctx, in, report.Summary()); err != nil || report.Clean() {
		return err
	}
	var all bytes.Buffer
	if err := report.WriteTable(&all); err != nil {
		return err
	}
	name := "policy-" + report.At.UTC().Format("2006-01-02-1504") + ".txt"
	return h.chat.SendFile(ctx, in.User, operation.Document{Name: name, Title: "Findings against the policy", Body: all.Bytes(), At: report.At})
}
