package evidence

import (
	"fmt"
	"strconv"
	"time"

	"github.com/twokey/twokey/internal/csvsafe"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
)

// oldest is how long a secret may live: the organisation's rule, in calendar months.
const oldest = 24

func table(rows [][]string) ([]byte, error) { return csvsafe.Table(rows) }

// inventoryRows is everything that expires, with its age against the rule.
func (d *drawn) inventoryRows() [][]string {
	rows := [][]string{{"name", "kind", "key_id", "key_name", "owner", "parameter", "ecs_service", "made", "ends", "age_days", "days_left", "within_24_months", "status", "made_by_operation", "remark"}}
	for _, i := range d.Inventory.Items {
		rotated := ""
		if i.Rotated != nil {
			rotated = string(i.Rotated.Operation)
		}
		rows = append(rows, []string{
			i.Name, i.Words(), string(i.KeyID), i.Key, i.Owner.Name, i.Feeds.Parameter, i.Feeds.Service, stamp(i.Start), stamp(i.End),
			days(i.Start, d.Inventory.At), days(d.Inventory.At, i.End), within(i, d.Inventory.At), string(i.Status), rotated, i.Why,
		})
	}
	return rows
}

// within says whether an item keeps the rule: it is not older, and will not become so.
func within(i inventory.Item, now time.Time) string {
	switch limit := i.Start.AddDate(0, oldest, 0); {
	case i.Start.IsZero() || i.End.IsZero():
		return "unknown"
	case now.After(limit):
		return "no: older than 24 months"
	case i.End.After(limit):
		return "no: made to live longer than 24 months"
	default:
		return "yes"
	}
}

// keeps counts the answers of within for the configuration's own secrets.
func (d *drawn) keeps() (yes, no, unknown int) {
	for _, i := range d.Inventory.Items {
		if i.Feeds.Secret == "" || i.Kind != inventory.Secret && i.Kind != inventory.PrincipalSecret {
			continue
		}
		switch within(i, d.Inventory.At) {
		case "yes":
			yes++
		case "unknown":
			unknown++
		default:
			no++
		}
	}
	return yes, no, unknown
}

// accessRows is who may ask and confirm, as configured when this was written.
func (d *drawn) accessRows() [][]string {
	rows := [][]string{{"secret", "requesters_group", "approvers_group", "escalation_group", "confirmed_within", "change_reference", "lifetime_months", "old_key_lives_on", "parameter", "kms_key", "canary_for_drills"}}
	for _, t := range d.Targets {
		requesters, overlap := string(t.Policy.Requesters), t.Overlap.String()
		if requesters == "" {
			requesters = "every full member"
		}
		if t.OverlapUntilExpiry {
			overlap = "until it expires"
		}
		rows = append(rows, []string{
			string(t.Name), requesters, string(t.Policy.Approvers), string(t.Policy.Escalation), t.Policy.Lapse.String(), t.ChangeReferencePattern,
			strconv.Itoa(t.LifetimeMonths), overlap, t.SecretParameter, t.KMSKey, strconv.FormatBool(t.Canary),
		})
	}
	return rows
}

func operationRows(all []operation.Operation) [][]string {
	rows := [][]string{{"operation", "kind", "drill", "secret", "state", "requested", "requester", "requester_directory_id", "approver", "approver_directory_id", "decided", "ended", "change", "reason", "words_of_the_decision", "trouble", "plan_digest"}}
	for _, op := range all {
		rows = append(rows, []string{
			string(op.ID), string(op.Kind), strconv.FormatBool(op.Drill()), string(op.Secret), op.State.Words(), stamp(op.RequestedAt),
			op.Requester.Name, string(op.Requester.Person), op.Approver.Name, string(op.Approver.Person), stamp(op.DecidedAt), stamp(op.EndedAt),
			op.ChangeReference, op.Reason, op.DecisionWords, op.Trouble, string(op.Digest),
		})
	}
	return rows
}

func entryRows(entries []operation.Entry) [][]string {
	rows := [][]string{{"entry", "at", "operation", "secret", "event", "step", "outcome", "refused_by_rule", "by", "text"}}
	for _, e := range entries {
		rows = append(rows, []string{
			strconv.FormatInt(e.Sequence, 10), stamp(e.At), string(e.Operation), string(e.Secret), string(e.Event), e.Step, string(e.Outcome), string(e.Code), by(e), e.Text,
		})
	}
	return rows
}

func (d *drawn) findingRows() [][]string {
	rows := [][]string{{"finding", "secret", "parameter", "owner", "text"}}
	for _, f := range d.Inventory.Findings {
		rows = append(rows, []string{string(f.Kind), string(f.Feeds.Secret), f.Feeds.Parameter, f.Owner.Name, f.Text})
	}
	for _, g := range d.Inventory.Gaps {
		rows = append(rows, []string{"not read", "", "", "", fmt.Sprintf("%s: %s", g.Source, g.Why)})
	}
	return rows
}

func by(e operation.Entry) string {
	switch {
	case e.By == nil:
		return "twokey"
	case e.By.Name != "":
		return e.By.Name
	default:
		return string(e.By.User)
	}
}

// stamp is an instant in UTC; empty when there is none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// days between two instants, in whole days; empty when one is unknown.
func days(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return strconv.Itoa(int(to.Sub(from) / (24 * time.Hour)))
}
