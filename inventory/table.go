package inventory

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/twokey/twokey/internal/csvsafe"
	"github.com/twokey/twokey/operation"
)

// WriteJSON writes the inventory as one JSON document, an item a line. It never
// holds the whole document: a large tenant's is larger than the inventory itself.
func (v Inventory) WriteJSON(w io.Writer) error {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	rest, err := json.Marshal(struct {
		At       time.Time     `json:"at"`
		Took     time.Duration `json:"took"`
		Due      time.Duration `json:"due"`
		Findings []Finding     `json:"findings"`
		Gaps     []Gap         `json:"gaps"`
	}{v.At, v.Took, v.Due, v.Findings, v.Gaps})
	if err != nil {
		return fmt.Errorf("encode the inventory: %w", err)
	}
	_, _ = b.Write(rest[:len(rest)-1]) // a failed write shows when the buffer is flushed
	_, _ = b.WriteString(",\"items\":[\n")
	for n, i := range v.Items {
		if n > 0 {
			_, _ = b.WriteString(",")
		}
		if err := e.Encode(i); err != nil {
			return fmt.Errorf("write the inventory: %w", err)
		}
	}
	_, _ = b.WriteString("]}\n")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	return nil
}

// CSV is all items, one a line, instants in UTC as RFC 3339 has them. The same
// inventory gives the same bytes.
func (v Inventory) CSV() ([]byte, error) {
	rows := [][]string{{
		"status", "kind", "name", "key", "expires", "days_left", "started", "age_days", "live", "replaced", "renews_itself",
		"secret", "server", "environment", "parameter", "ecs_cluster", "ecs_service", "endpoint", "used_by",
		"owner", "owner_from", "channel", "escalation", "rotated", "rotated_by", "confirmed_by", "operation", "last_used", "last_used_note",
		"application", "client_id", "key_id", "arn", "issuer", "note", "id",
	}}
	for _, i := range v.Items {
		rows = append(rows, v.row(i))
	}
	b, err := csvsafe.Table(rows)
	if err != nil {
		return nil, fmt.Errorf("write the inventory: %w", err)
	}
	return b, nil
}

// widest is how many characters a cell of the table has at most.
const widest = 48

func (v Inventory) row(i Item) []string {
	r := Rotation{}
	if i.Rotated != nil {
		r = *i.Rotated
	}
	left, age := "", ""
	if !i.End.IsZero() {
		left = fmt.Sprint(wholeDays(i.Left(v.At)))
	}
	if !i.Start.IsZero() {
		age = fmt.Sprint(wholeDays(i.Age(v.At)))
	}
	return []string{
		string(i.Status), string(i.Kind), i.Name, i.Key, instant(i.End), left, instant(i.Start), age, yes(i.Live), yes(i.Replaced), yes(i.Renews),
		string(i.Feeds.Secret), i.Feeds.Server, i.Feeds.Environment, i.Feeds.Parameter, i.Feeds.Cluster, i.Feeds.Service, i.Feeds.Endpoint, strings.Join(i.Feeds.Resources, " "),
		i.Owner.Name, string(i.OwnerFrom), string(i.Owner.Channel), string(i.Owner.Escalation),
		instant(r.At), r.By.Name, r.ConfirmedBy.Name, string(r.Operation), instant(i.Used.At), i.Used.Why,
		i.Application, string(i.Client), string(i.KeyID), i.ARN, i.Issuer, i.Why, string(i.ID),
	}
}

// wholeDays rounds down, so that what expired a moment ago has -1 day left.
func wholeDays(d time.Duration) int {
	const day = 24 * time.Hour
	n := int(d / day)
	if d%day < 0 {
		n--
	}
	return n
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// WriteTable writes the inventory for a terminal, with dates as they are in zone:
// items, findings, gaps, and how many there are of each status.
func (v Inventory) WriteTable(w io.Writer, zone *time.Location) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { // the builder takes everything
		for n, c := range cells {
			cells[n] = Plain(c, widest)
		}
		_, _ = fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if len(v.Items) > 0 {
		row("STATUS", "EXPIRES", "LEFT", "WHAT", "NAME", "KEY", "FEEDS", "OWNER", "ROTATED", "LAST USED")
	}
	for _, i := range v.Items {
		row(string(i.Status), date(i.End, zone), v.left(i), i.Words(), i.Name, or(i.Key), or(feedsWords(i.Feeds)), or(i.Owner.Name), rotatedWords(i, zone), usedWords(i, zone))
	}
	_ = t.Flush()
	v.notes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// notes writes what a table has no room for.
func (v Inventory) notes(b *strings.Builder) {
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(b, "\n%s\n  %s\n", title, strings.Join(lines, "\n  "))
		}
	}
	var unknown, findings, gaps []string
	for _, i := range v.Items {
		if i.Status == Unknown {
			unknown = append(unknown, Plain(i.Name+": "+i.Why, 0))
		}
	}
	for _, f := range v.Findings {
		findings = append(findings, Plain(f.Text, 0))
	}
	for _, g := range v.Gaps {
		gaps = append(gaps, Plain(g.Source+": "+g.Why, 0))
	}
	section("UNKNOWN", unknown)
	section("TO LOOK AT", findings)
	section("NOT READ", gaps)
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	n := v.Counts()
	fmt.Fprintf(b, "%d overdue, %d unknown, %d due, %d fine; %s to look at\n", n[Overdue], n[Unknown], n[Due], n[Fine], count(len(v.Findings), "thing"))
}

func (v Inventory) left(i Item) string {
	switch left := i.Left(v.At); {
	case i.End.IsZero():
		return "?"
	case left <= 0:
		return days(-left) + " ago"
	default:
		return days(left)
	}
}

func date(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.In(zone).Format(time.DateOnly)
}

func feedsWords(f Feeds) string {
	switch {
	case f.Service != "":
		return f.Cluster + "/" + f.Service
	case len(f.Resources) > 0:
		return count(len(f.Resources), "AWS resource")
	default:
		return f.Endpoint
	}
}

func rotatedWords(i Item, zone *time.Location) string {
	if i.Rotated == nil {
		return "-"
	}
	return date(i.Rotated.At, zone) + " by " + names(i.Rotated.By, i.Rotated.ConfirmedBy)
}

func names(by, confirmed operation.Person) string {
	if confirmed.Name == "" {
		return by.Name
	}
	return by.Name + " and " + confirmed.Name
}

func usedWords(i Item, zone *time.Location) string {
	switch {
	case i.Kind == ACM || i.Kind == TLS:
		return "-"
	case i.Used.At.IsZero():
		return "unknown"
	default:
		return date(i.Used.At, zone)
	}
}

func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Plain makes a text safe to be shown on one line: what cannot be seen, or turns
// the direction of what follows, becomes a replacement character, and what is
// longer than most characters is cut; 0 cuts nothing.
func Plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if runes := []rune(s); most > 0 && len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
