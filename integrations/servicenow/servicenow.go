// Package servicenow reads change requests of a ServiceNow instance and writes their
// work notes, by its Table API. It meets [operation.ChangeRequests] and the work
// notes' [Changes] of package worknotes.
//
// Source: ServiceNow's documentation, "Table API" and "Inbound REST API rate
// limiting", and its article KB0534905 "Table API FAQs" (dates are UTC unless display
// values are asked for).
package servicenow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twokey/twokey/operation"
)

// Config is how the instance is reached.
type Config struct {
	URL      string           // of the instance, without a slash at the end
	User     string           // with Password: basic authentication
	Password operation.Secret //
	Token    operation.Secret // of OAuth, instead of both
	Table    string           // "change_request"
	// States are the values of the field state in which work may be done. ServiceNow's
	// own are -5 New, -4 Assess, -3 Authorize, -2 Scheduled, -1 Implement, 0 Review,
	// 3 Closed, 4 Canceled; an instance may have others.
	States []string
}

// Client is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
}

// callTime bounds one call: a click waits for it.
const callTime = 8 * time.Second

// New returns a client. It calls nothing.
func New(c Config) *Client {
	return &Client{config: c, http: &http.Client{
		Timeout: callTime,
		// The credentials are for the instance and nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// field is a field as sysparm_display_value=all gives it: what is stored, and what
// people read. Instants are stored in UTC and shown in the caller's own zone; a
// journal such as work_notes has no stored value at all.
type field struct {
	Value   string `json:"value"`
	Display string `json:"display_value"`
}

// record is a change request, as far as it was asked for.
type record struct {
	ID       field  `json:"sys_id"`
	Number   field  `json:"number"`
	State    field  `json:"state"`
	Approval field  `json:"approval"`
	Start    field  `json:"start_date"`
	End      field  `json:"end_date"`
	Notes    *field `json:"work_notes"` // nil: not readable
}

// approved is the value of the field approval once everybody has approved.
const approved = "approved"

// ChangeRequest implements [operation.ChangeRequests].
func (c *Client) ChangeRequest(ctx context.Context, number string) (operation.ChangeRequest, error) {
	r, err := c.find(ctx, number, "sys_id,number,state,approval,start_date,end_date")
	if err != nil {
		return operation.ChangeRequest{}, err
	}
	out := operation.ChangeRequest{
		Number: r.Number.Value, State: r.State.Display, Workable: slices.Contains(c.config.States, r.State.Value),
		Approval: r.Approval.Display, Approved: r.Approval.Value == approved,
	}
	start, startErr := instant(r.Start.Value)
	end, endErr := instant(r.End.Value)
	if err := errors.Join(startErr, endErr); err != nil {
		return operation.ChangeRequest{}, fmt.Errorf("read the window of change %s: %w", number, err)
	}
	out.Start, out.End = start, end
	return out, nil
}

// WorkableStates implements [operation.ChangeRequests].
func (c *Client) WorkableStates() string {
	names := map[string]string{"-5": "New", "-4": "Assess", "-3": "Authorize", "-2": "Scheduled", "-1": "Implement", "0": "Review", "3": "Closed", "4": "Canceled"}
	var out []string
	for _, s := range c.config.States {
		if name, known := names[s]; known {
			s = fmt.Sprintf("%s (%s)", name, s)
		}
		out = append(out, s)
	}
	return strings.Join(out, " or ")
}

// instant reads a stored instant, which is UTC. An empty one is the zero time.
func instant(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateTime, text)
}

// AddNote adds a work note unless one with the marker is there already. It may be
// called again after any failure. The text must hold the marker.
func (c *Client) AddNote(ctx context.Context, number, marker, text string) error {
	r, err := c.find(ctx, number, "sys_id,number,work_notes")
	if err != nil {
		return err
	}
	if r.Notes == nil {
		return fmt.Errorf("the work notes of change %s cannot be read, so there is no telling whether this one is there: let the bot's user read and write work_notes", number)
	}
	if strings.Contains(r.Notes.Display, marker) {
		return nil
	}
	body, err := json.Marshal(map[string]string{"work_notes": text})
	if err != nil {
		return fmt.Errorf("encode a work note: %w", err)
	}
	path := "/" + url.PathEscape(r.ID.Value) + "?sysparm_fields=sys_id"
	if err := c.call(ctx, http.MethodPatch, path, body, nil); err != nil {
		return fmt.Errorf("add a work note to change %s: %w", number, err)
	}
	return nil
}

// plainNumber keeps query operators (^, =, @) out of a query.
var plainNumber = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// find reads the one change with a number.
func (c *Client) find(ctx context.Context, number, fields string) (record, error) {
	if !plainNumber.MatchString(number) {
		return record{}, operation.ErrNoChangeRequest
	}
	query := url.Values{
		"sysparm_query": {"number=" + number}, "sysparm_fields": {fields}, "sysparm_display_value": {"all"},
		"sysparm_exclude_reference_link": {"true"}, "sysparm_limit": {"2"},
	}
	var answer struct {
		Result []record `json:"result"`
	}
	err := c.call(ctx, http.MethodGet, "?"+query.Encode(), nil, &answer)
	var refused *refusal
	switch {
	// A query without a result is answered by 404 "No Record found" on older releases.
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound && refused.message == "No Record found":
		return record{}, operation.ErrNoChangeRequest
	case err != nil:
		return record{}, fmt.Errorf("read change %s: %w", number, err)
	case len(answer.Result) == 0:
		return record{}, operation.ErrNoChangeRequest
	case len(answer.Result) > 1:
		return record{}, fmt.Errorf("read change %s: more than one change has this number", number)
	case answer.Result[0].Number.Value != number || answer.Result[0].ID.Value == "":
		// An instance that does not take a query may answer with any record.
		return record{}, fmt.Errorf("read change %s: the answer is about another record", number)
	}
	return answer.Result[0], nil
}

// refusal is an answer that is no success, as ServiceNow words it.
type refusal struct {
	Status  int
	message string
	detail  string
}

// Error implements error. The detail may quote what was sent, which holds no secret.
func (r *refusal) Error() string {
	hint := ""
	switch r.Status {
	case http.StatusUnauthorized:
		hint = " (check servicenow.user and servicenow.password, or servicenow.token)"
	case http.StatusForbidden:
		hint = " (let the bot's user read change requests and write their work_notes)"
	}
	return fmt.Sprintf("ServiceNow answered %d: %s: %s%s", r.Status, r.message, r.detail, hint)
}

// maxAnswer bounds an answer, in bytes: work notes add up.
const maxAnswer = 8 << 20

// call makes one call to the table, and reads its answer into into, unless it is nil.
func (c *Client) call(ctx context.Context, method, rest string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.config.URL+"/api/now/table/"+c.config.Table+rest, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("address ServiceNow: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.config.Token.IsZero() {
		req.SetBasicAuth(c.config.User, c.config.Password.Reveal())
	} else {
		req.Header.Set("Authorization", "Bearer "+c.config.Token.Reveal())
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("reach ServiceNow: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read ServiceNow's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return refused(res, text)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		// A sleeping instance answers 200 with a page.
		return fmt.Errorf("ServiceNow's answer is no JSON; is the instance awake? %w", err)
	}
	return nil
}

// refused reads an answer that is no success. A rate limit is a wait.
func refused(res *http.Response, text []byte) error {
	var answer struct {
		Error struct {
			Message string `json:"message"`
			Detail  string `json:"detail"`
		} `json:"error"`
	}
	_ = json.Unmarshal(text, &answer) // a proxy may answer with a page
	r := &refusal{Status: res.StatusCode, message: answer.Error.Message, detail: answer.Error.Detail}
	if r.message == "" {
		r.message = http.StatusText(res.StatusCode)
	}
	if res.StatusCode == http.StatusTooManyRequests {
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // without one, the caller's own pause
		return operation.NotYet{After: time.Duration(seconds) * time.Second, Why: r.Error()}
	}
	return r
}
