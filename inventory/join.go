package inventory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// joiner ties together what the sources said.
type joiner struct {
	*Sweeper
	*reading
	now time.Time
	due time.Duration
	out Inventory
}

func (j *joiner) join() Inventory {
	j.out = Inventory{At: j.now, Due: j.due, Items: make([]Item, 0, j.size()), Findings: []Finding{}, Gaps: []Gap{}}
	j.targets()
	j.others()
	j.acm()
	j.tls()
	j.gap(GapApplications, j.applicationsErr)
	j.gap(GapPrincipals, j.principalsErr)
	if j.Directory != nil { // else it has been said twice
		j.gap("last uses in Entra", j.usesErr)
	}
	j.gap(GapOperations, j.operationsErr)
	Sort(j.out.Items, ByUrgency)
	slices.SortStableFunc(j.out.Findings, func(a, b Finding) int { return strings.Compare(a.ID, b.ID) })
	return j.out
}

// size is about how many items there will be: a large tenant's list must not grow
// by copies of itself.
func (j *joiner) size() int {
	n := 2*len(j.Targets) + len(j.Endpoints)
	for _, c := range j.reading.certificates {
		n += len(c)
	}
	for _, all := range []map[runbook.ClientID]Application{j.applications, j.principals} {
		for _, a := range all {
			n += len(a.Secrets) + len(a.Certificates)
		}
	}
	return n
}

func (j *joiner) gap(source string, err error) {
	if err != nil {
		j.out.Gaps = append(j.out.Gaps, Gap{Source: source, Why: because(err)})
	}
}

// because words an error as the end of a sentence.
func because(err error) string {
	switch {
	case errors.Is(err, ErrNotPermitted):
		why := ErrNotPermitted.Error()
		if detail, more := strings.CutPrefix(err.Error(), why+": "); more {
			why += " (" + detail + ")"
		}
		return why
	case errors.Is(err, runbook.ErrNoParameter):
		return "SSM has no such parameter"
	default:
		return err.Error()
	}
}

// add puts an item into the inventory, with its status.
func (j *joiner) add(i Item) {
	i.Status = i.StatusAt(j.now, j.due)
	j.out.Items = append(j.out.Items, i)
}

func (j *joiner) find(f Finding) {
	f.ID = string(f.Kind) + ":" + f.ID
	j.out.Findings = append(j.out.Findings, f)
}

// tied is a target and what was read of it.
type tied struct {
	runbook.Target
	value    operation.Secret // of the live parameter; zero: not read
	valueErr error
	pending  operation.Secret // zero: there is none, or it was not read
}

// targets joins what the configuration describes: its applications, and each of
// their keys with the parameters that may hold it.
func (j *joiner) targets() {
	byClient := map[runbook.ClientID][]*tied{}
	var clients []runbook.ClientID
	for _, t := range j.Targets {
		j.parameters(t)
		client, err := j.client(t)
		if err != nil {
			j.unknown(t, fmt.Sprintf("Which application it belongs to could not be read from %s: %s.", t.ClientIDParameter, because(err)))
			continue
		}
		live, err := j.parameter(t.SecretParameter)
		it := &tied{Target: t, value: live.Value, valueErr: err}
		if pending, err := j.parameter(t.PendingParameter()); err == nil {
			it.pending = pending.Value
		}
		if len(byClient[client]) == 0 {
			clients = append(clients, client)
		}
		byClient[client] = append(byClient[client], it)
	}
	for _, client := range clients {
		j.application(client, byClient[client])
		delete(j.applications, client) // what is left belongs to others
		delete(j.principals, client)
	}
}

// unknown adds an item for a target of which it cannot be told when it expires.
func (j *joiner) unknown(t runbook.Target, why string) {
	i := Item{ID: ID("secret@" + t.Name), Kind: Secret, Name: string(t.Name), Feeds: feeds(t), Why: why}
	i.Feeds.Parameter = t.SecretParameter
	i.Owner, i.OwnerFrom = configured(t.Owner)
	j.add(i)
}

func feeds(t runbook.Target) Feeds {
	return Feeds{Secret: t.Name, Server: t.Server, Environment: t.Environment, Cluster: t.Cluster, Service: t.Service, Endpoint: t.MCP.URL}
}

func configured(o runbook.Owner) (runbook.Owner, Source) {
	if o == (runbook.Owner{}) {
		return o, ""
	}
	return o, FromConfig
}

// entraKey is a key with what has it.
type entraKey struct {
	runbook.Key
	kind   Kind
	holder Application
	owners []string
}

// keysOf lists the keys of an application and of its service principal.
func (j *joiner) keysOf(client runbook.ClientID) []entraKey {
	app, principal := j.applications[client], j.principals[client]
	if principal.Name == "" {
		principal.Name = app.Name
	}
	var out []entraKey
	list := func(keys []runbook.Key, kind Kind, holder Application) {
		for _, k := range keys {
			out = append(out, entraKey{k, kind, holder, app.Owners})
		}
	}
	list(app.Secrets, Secret, app)
	list(app.Certificates, Certificate, app)
	list(principal.Secrets, PrincipalSecret, principal)
	list(principal.Certificates, PrincipalCertificate, principal)
	return out
}

// item is a key that nothing is known of but what Entra says.
func (j *joiner) item(client runbook.ClientID, k entraKey) Item {
	i := Item{
		ID: ID(string(k.kind) + ":" + string(foldKey(k.ID))), Kind: k.kind, Name: k.holder.Name, Key: k.Name,
		KeyID: k.ID, Client: client, Holder: k.holder.Object, Application: k.holder.Name, Start: k.Start, End: k.End, Used: j.used(k.ID),
	}
	if len(k.owners) > 0 {
		i.Owner, i.OwnerFrom = runbook.Owner{Name: strings.Join(k.owners, ", ")}, FromEntra
	}
	if k.End.IsZero() {
		i.Why = "Entra does not say when it ends."
	}
	return i
}

func (j *joiner) used(id runbook.KeyID) Use {
	if at, ok := j.uses[foldKey(id)]; ok {
		return Use{At: at}
	}
	if j.usesErr != nil {
		return Use{Why: because(j.usesErr)}
	}
	return Use{Why: "Entra reports none"}
}

// application joins one application that feeds targets.
func (j *joiner) application(client runbook.ClientID, targets []*tied) {
	_, listed := j.applications[client]
	if !listed {
		why := fmt.Sprintf("Entra lists no application with the client id %s, which is in %s.", client, targets[0].ClientIDParameter)
		if j.applicationsErr != nil {
			why = "Its application could not be read: " + because(j.applicationsErr) + "."
		}
		for _, t := range targets {
			j.unknown(t.Target, why)
		}
		return
	}
	keys := j.keysOf(client)
	fed := map[*tied]int{} // how many keys begin like the live value
	held := map[int][]*tied{}
	for n, k := range keys {
		for _, t := range targets {
			if k.isSecret() && t.value.HasHint(k.Hint) {
				held[n] = append(held[n], t)
				fed[t]++
			}
		}
	}
	for n, k := range keys {
		j.key(client, k, targets, held[n], fed)
	}
	for _, t := range targets {
		if fed[t] == 0 {
			j.noLiveKey(t, keys)
		}
	}
}

func (k entraKey) isSecret() bool { return k.kind == Secret || k.kind == PrincipalSecret }

// key adds one key: once for each target that it feeds, or once for its
// application's.
func (j *joiner) key(client runbook.ClientID, k entraKey, targets, feedsThese []*tied, fed map[*tied]int) {
	i := j.item(client, k)
	if len(feedsThese) == 0 {
		t := targets[0]
		i.Feeds = feeds(t.Target)
		j.own(&i, t.Target)
		if k.isSecret() {
			i.Replaced = len(fed) == len(targets)
			j.explain(&i, k, targets)
		}
		j.add(i)
		return
	}
	for n, t := range feedsThese {
		one := i
		one.Name, one.Live, one.Feeds = string(t.Name), true, feeds(t.Target)
		one.Feeds.Parameter = t.SecretParameter
		one.Rotated = j.rotated(k, t.Target)
		if fed[t] > 1 {
			one.Why = fmt.Sprintf("The value in use begins like %d keys, so it cannot be told which of them it is.", fed[t])
		}
		if n > 0 { // the same key in a second place is a second thing that breaks
			one.ID += ID("@" + t.Name)
		}
		if marked, ok := strings.CutPrefix(k.Name, runbook.Mark("")); ok && one.Rotated == nil && j.operationsErr == nil {
			j.find(j.about(KeyUnexplained, i, k, t.Target, fmt.Sprintf("%s is in use and says that operation %s made it, and there is no such operation.", keyWords(k), marked)))
		}
		if op := j.removed(k, targets); op != nil && n == 0 {
			j.returned(one, k, t.Target, op)
		}
		j.own(&one, t.Target)
		j.add(one)
	}
}

// own gives an item the configured owner, who goes before Entra's.
func (j *joiner) own(i *Item, t runbook.Target) {
	if owner, from := configured(t.Owner); from != "" {
		i.Owner, i.OwnerFrom = owner, from
	}
}

// rotated finds the operation that made a key.
func (j *joiner) rotated(k entraKey, t runbook.Target) *Rotation {
	for _, op := range j.operations[t.Name] {
		if k.Name == runbook.Mark(op.ID) {
			return &Rotation{At: k.Start, Operation: op.ID, Kind: op.Kind, By: op.Requester, ConfirmedBy: op.Approver}
		}
	}
	return nil
}

// noLiveKey tells that the live parameter holds none of the keys, or that it
// cannot be told which.
func (j *joiner) noLiveKey(t *tied, keys []entraKey) {
	var secrets, silent int
	for _, k := range keys {
		if !k.isSecret() {
			continue
		}
		secrets++
		if k.Hint == "" {
			silent++
		}
	}
	switch {
	case t.valueErr != nil:
		j.unknown(t.Target, fmt.Sprintf("Which of its application's keys is in use could not be read from %s: %s.", t.SecretParameter, because(t.valueErr)))
	case j.principalsErr != nil:
		j.unknown(t.Target, "The value in use is none of the application's own keys, and those of its service principal could not be read: "+because(j.principalsErr)+".")
	case silent > 0:
		j.unknown(t.Target, fmt.Sprintf("The value in use is none of those keys that Entra shows the beginning of; of %d it does not.", silent))
	default:
		why := fmt.Sprintf("The value in %s belongs to none of the application's %s.", t.SecretParameter, count(secrets, "client secret"))
		j.unknown(t.Target, why)
		f := Finding{ID: string(t.Name), Kind: ParameterDrift, Feeds: feeds(t.Target), Owner: t.Owner, Text: why + " Somebody changed one of the two."}
		f.Feeds.Parameter = t.SecretParameter
		j.find(f)
	}
}

// others adds the keys of applications that the configuration does not know.
func (j *joiner) others() {
	clients := slices.Collect(maps.Keys(j.applications))
	for client := range j.principals {
		if _, both := j.applications[client]; !both {
			clients = append(clients, client)
		}
	}
	for _, client := range clients {
		for _, k := range j.keysOf(client) {
			j.add(j.item(client, k))
		}
		delete(j.applications, client)
		delete(j.principals, client)
	}
	j.partly("entra-applications", Secret, "Entra applications", j.applicationsErr)
	j.partly("entra-service-principals", PrincipalSecret, "Entra service principals", j.principalsErr)
}

// partly adds an item for a list that was not read to its end.
func (j *joiner) partly(id ID, kind Kind, name string, err error) {
	if err != nil {
		j.add(Item{ID: id, Kind: kind, Name: name, Why: "Not all of them could be read: " + because(err) + "."})
	}
}

func (j *joiner) acm() {
	for n, region := range j.Regions {
		owner, from := configured(region.Owner)
		if err := j.regionsErr[n]; err != nil {
			j.add(Item{ID: ID("acm:" + region.Name), Kind: ACM, Name: "ACM in " + region.Name, Owner: owner, OwnerFrom: from,
				Why: "Its certificates could not be read: " + because(err) + "."})
		}
		for _, c := range j.reading.certificates[n] {
			i := Item{ID: ID("acm:" + c.ARN), Kind: ACM, Name: c.Domain, ARN: c.ARN, Owner: owner, OwnerFrom: from,
				Renews: c.Renews, Start: c.Start, End: c.End, Feeds: Feeds{Resources: c.InUseBy}, Why: acmWords(c)}
			if c.Revoked {
				j.find(Finding{ID: c.ARN, Kind: CertificateRevoked, Owner: owner, Feeds: i.Feeds, Text: fmt.Sprintf("The ACM certificate of %s is revoked.", c.Domain)})
			}
			j.add(i)
		}
	}
}

// acmWords says what else must be known of a certificate: [Item.Words] says already
// whether it renews itself.
func acmWords(c ACMCertificate) string {
	var words []string
	switch {
	case c.Imported:
		words = append(words, "It was imported.")
	case c.Renews && c.Reason != "":
		words = append(words, fmt.Sprintf("The renewal is %s: %s.", c.Renewal, c.Reason))
	case c.Renews && c.Renewal != "":
		words = append(words, fmt.Sprintf("The renewal is %s.", c.Renewal))
	case !c.Renews:
		words = append(words, "It is ACM's own, and not eligible for renewal.")
	}
	if c.End.IsZero() {
		words = append(words, "ACM does not say when it ends.")
	}
	if c.NotRead != nil {
		words = append(words, "What uses it and how its renewal stands could not be read: "+because(c.NotRead)+".")
	}
	return strings.Join(words, " ")
}

func (j *joiner) tls() {
	for n, e := range j.Endpoints {
		owner, from := configured(e.Owner)
		i := Item{ID: ID("tls:" + e.Address), Kind: TLS, Name: e.Address, Owner: owner, OwnerFrom: from, Feeds: e.Feeds}
		if err := j.handshakesErr[n]; err != nil {
			i.Why = "It could not be looked at: " + because(err) + "."
			j.add(i)
			continue
		}
		h := j.reading.handshakes[n]
		i.Start, i.End, i.Issuer = h.Start, h.End, h.Issuer
		if h.Ends != "" {
			i.Why = "Its chain ends before its own certificate does: " + h.Ends + "."
		}
		if h.Distrust != "" {
			j.find(Finding{ID: e.Address, Kind: EndpointNotTrusted, Owner: owner, Feeds: e.Feeds, Text: fmt.Sprintf("%s is not believed: %s.", e.Address, h.Distrust)})
		}
		j.add(i)
	}
}

// count writes "1 client secret" and "2 client secrets".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
