package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// secureString is the only type of parameter that a secret may lie in.
const secureString = "SecureString"

// parameters looks at a target's parameters themselves.
func (j *joiner) parameters(t runbook.Target) {
	pending, err := j.parameter(t.PendingParameter())
	switch {
	case err == nil:
		j.pending(t, pending)
	case !errors.Is(err, runbook.ErrNoParameter):
		j.gap(t.PendingParameter(), err)
	}
	live, err := j.parameter(t.SecretParameter)
	if err != nil {
		return // told with the secret itself
	}
	if j.plain(t, live) {
		return // and so without a KMS key
	}
	switch key, err := j.kmsKeys[t.SecretParameter], j.kmsNotRead[t.SecretParameter]; {
	case err != nil:
		j.kmsGap(t.SecretParameter, err)
	case key == "":
		j.kmsGap(t.SecretParameter, errNotListed)
	case !runbook.SameKMSKey(key, t.KMSKey):
		f := j.aboutParameter(ParameterOtherKey, t, t.SecretParameter)
		f.Text = fmt.Sprintf("%s is encrypted with the KMS key %s, and the configuration says %s.", t.SecretParameter, key, t.KMSKey)
		j.find(f)
	}
}

// plain finds a parameter that shows its value to whoever may list it.
func (j *joiner) plain(t runbook.Target, p runbook.Parameter) bool {
	if p.Type == secureString {
		return false
	}
	f := j.aboutParameter(ParameterPlain, t, p.Name)
	f.Text = fmt.Sprintf("%s is a %s and not a SecureString: its value is stored and shown in plain text.", p.Name, p.Type)
	j.find(f)
	return true
}

// pending finds a pending parameter that no open operation needs.
func (j *joiner) pending(t runbook.Target, p runbook.Parameter) {
	j.plain(t, p)
	open := slices.ContainsFunc(j.operations[t.Name], func(op operation.Operation) bool { return op.State.Open() })
	if open || j.operationsErr != nil {
		return
	}
	f := j.aboutParameter(PendingLeft, t, p.Name)
	f.Text = fmt.Sprintf("%s holds a secret (version %d), and no operation on %s is open.", p.Name, p.Version, t.Name)
	j.find(f)
}

// kmsGap makes one gap of all parameters whose key could not be read for the same
// reason: mostly one permission is missing for all.
func (j *joiner) kmsGap(name string, err error) {
	why := because(err)
	for n, g := range j.out.Gaps {
		if more, ok := strings.CutPrefix(g.Source, kmsKeyOf); ok && g.Why == why {
			j.out.Gaps[n].Source = kmsKeyOf + more + ", " + name
			return
		}
	}
	j.gap(kmsKeyOf+name, err)
}

const kmsKeyOf = "the KMS key of "

func (j *joiner) aboutParameter(kind FindingKind, t runbook.Target, parameter string) Finding {
	f := Finding{ID: parameter, Kind: kind, Feeds: feeds(t), Owner: t.Owner}
	f.Feeds.Parameter = parameter
	return f
}

// about makes a finding about one key, with all that removing it takes.
func (j *joiner) about(kind FindingKind, i Item, k entraKey, t runbook.Target, text string) Finding {
	key := k.Key
	return Finding{ID: string(foldKey(k.ID)), Kind: kind, Feeds: feeds(t), Owner: t.Owner, Key: &key, Holder: i.Holder, Text: text}
}

// keyWords names a key as people know it: by its name and where it is.
func keyWords(k entraKey) string {
	where := "application"
	if k.kind == PrincipalSecret || k.kind == PrincipalCertificate {
		where = "service principal"
	}
	if k.Name == "" {
		return fmt.Sprintf("Key %s of the %s %s", k.ID, where, k.holder.Name)
	}
	return fmt.Sprintf("Key %s (%s) of the %s %s", k.ID, k.Name, where, k.holder.Name)
}

// explain finds out why a key is there that none of the live parameters holds.
func (j *joiner) explain(i *Item, k entraKey, targets []*tied) {
	for _, t := range targets {
		if t.valueErr != nil {
			i.Why = fmt.Sprintf("Whether it is in use could not be read from %s: %s.", t.SecretParameter, because(t.valueErr))
			i.Replaced = false
			return // it may be live
		}
	}
	if j.operationsErr != nil {
		i.Why = "It is in no parameter. Why it is there was not looked up."
		return
	}
	if op := j.removed(k, targets); op != nil {
		i.Why = fmt.Sprintf("Operation %s had removed it.", op.ID)
		j.returned(*i, k, targets[0].Target, op)
		return
	}
	made := j.marked(k, targets)
	for _, t := range targets {
		if t.pending.HasHint(k.Hint) {
			i.Feeds, i.Why = feeds(t.Target), "It waits in the pending parameter to be proven."
			i.Feeds.Parameter = t.PendingParameter()
		}
		for _, op := range j.operations[t.Name] {
			if op.State.Open() && (k.Name == runbook.Mark(op.ID) || slices.Contains(runbook.KeysReplaced(op), k.ID)) {
				i.Why = strings.TrimSuffix("It belongs to operation "+string(op.ID)+", which is "+op.State.Words(), ".") + "."
				return
			}
		}
	}
	target := targets[0].Target
	if made != nil {
		i.Why = fmt.Sprintf("Operation %s made it and is %s; it is in no parameter.", made.ID, made.State.Words())
		j.find(j.about(KeyInNoParameter, *i, k, target, fmt.Sprintf("%s is in no parameter. Operation %s, which made it, is %s.", keyWords(k), made.ID, made.State.Words())))
		return
	}
	i.Why = "It is in no parameter, and no operation explains it."
	j.find(j.about(KeyUnexplained, *i, k, target, keyWords(k)+" is in no parameter, and no operation explains it. Somebody made it and may use it."))
}

// returned tells that a key is there which was removed and proven gone.
func (j *joiner) returned(i Item, k entraKey, t runbook.Target, op *operation.Operation) {
	j.find(j.about(KeyReturned, i, k, t, fmt.Sprintf("%s is there again: operation %s had removed it, and Entra did not list it any more. Somebody brought it back, and whoever has its text can use it.", keyWords(k), op.ID)))
}

// lagging is how long Entra's replicas may still list a key that was removed.
const lagging = time.Hour

// removed finds the operation that removed a key, if enough time has passed since.
func (j *joiner) removed(k entraKey, targets []*tied) *operation.Operation {
	for _, t := range targets {
		for _, op := range j.operations[t.Name] {
			gone := slices.ContainsFunc(runbook.KeysReplaced(op), func(id runbook.KeyID) bool { return foldKey(id) == foldKey(k.ID) })
			if gone && op.State == operation.Succeeded && !op.EndedAt.IsZero() && j.now.Sub(op.EndedAt) > lagging {
				return &op
			}
		}
	}
	return nil
}

// marked finds the operation whose mark a key bears.
func (j *joiner) marked(k entraKey, targets []*tied) *operation.Operation {
	for _, t := range targets {
		for _, op := range j.operations[t.Name] {
			if k.Name == runbook.Mark(op.ID) {
				return &op
			}
		}
	}
	return nil
}
