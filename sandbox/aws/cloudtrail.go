package aws

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// CloudTrail's limits.
const (
	retention        = 90 * 24 * time.Hour
	lookupsPerSecond = 2
	maxEvents        = 10000 // of the stand-in; the oldest go first
)

// event is one call as CloudTrail remembers it.
type event struct {
	id        string
	name      string
	source    string
	at        time.Time
	user      string
	accessKey string
	readOnly  bool
	resources []resourceOutput
	detail    string // the event's JSON record
}

type (
	resourceOutput struct{ ResourceType, ResourceName string }
	eventRecord    struct {
		AccessKeyId                         string `json:",omitempty"`
		CloudTrailEvent, EventId, EventName string
		EventSource, ReadOnly, Username     string
		EventTime                           *seconds
		Resources                           []resourceOutput
	}
	lookupAttribute struct{ AttributeKey, AttributeValue string }
	lookupInput     struct {
		LookupAttributes   []lookupAttribute
		StartTime, EndTime *seconds
		EventCategory      string
		MaxResults         *int
		NextToken          string
	}
	lookupOutput struct {
		Events    []eventRecord
		NextToken string `json:",omitempty"`
	}
)

// Event is a call as CloudTrail shows it.
type Event struct {
	At           time.Time      `json:"at,omitzero"` // now when zero
	Name         string         `json:"name"`        // "GetParameter"
	Source       string         `json:"source"`      // "ssm.amazonaws.com"
	By           Identity       `json:"by"`
	AccessKey    string         `json:"access_key,omitempty"`
	Address      string         `json:"address,omitempty"`
	Agent        string         `json:"user_agent,omitempty"`
	Request      map[string]any `json:"request,omitempty"` // members begin small; none when refused for want of permission
	ErrorCode    string         `json:"error_code,omitempty"`
	ErrorMessage string         `json:"error_message,omitempty"`
}

// SeedEvent adds a call to the log that nobody made here: of an operation that
// the stand-in does not have, of another time, or with texts of one's own.
func (s *Server) SeedEvent(e Event) error {
	if e.Name == "" || e.Source == "" {
		return invalid("an event needs a name and a source")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.At.IsZero() {
		e.At = s.cond.Clock.Now()
	}
	if e.By.Account == "" {
		e.By.Account = s.account
	}
	s.remember(e, uuid.NewString())
	return nil
}

// record writes a call down. The caller holds the lock.
func (s *Server) record(c call, a api, name string, request any, err error) {
	e := Event{At: c.now, Name: name, Source: a.source, By: c.who, AccessKey: c.accessKey, Address: c.address, Agent: c.agent, Request: requestParameters(request)}
	if err != nil {
		e.ErrorCode, e.ErrorMessage = errorWords(err)
	}
	s.remember(e, c.id)
}

// remember adds an event where its time belongs. The caller holds the lock.
func (s *Server) remember(in Event, requestID string) {
	e := event{
		id: uuid.NewString(), name: in.Name, source: in.Source, at: in.At, user: in.By.userName(), accessKey: in.AccessKey,
		readOnly: readOnly(in.Name), resources: []resourceOutput{},
	}
	arns := []map[string]any{}
	for _, parameter := range parameterNames(in.Request) {
		if name := s.nameOfARN(parameter); name != "" {
			parameter = name
		}
		e.resources = append(e.resources, resourceOutput{"AWS::SSM::Parameter", parameter})
		arns = append(arns, map[string]any{"accountId": s.account, "ARN": s.parameterARN(parameter)})
	}
	var request any
	if len(in.Request) > 0 {
		request = in.Request
	}
	detail := map[string]any{
		"eventVersion": "1.09", "userIdentity": in.By.cloudTrail(in.AccessKey), "eventTime": in.At.UTC().Format(time.RFC3339),
		"eventSource": e.source, "eventName": in.Name, "awsRegion": s.region, "sourceIPAddress": in.Address, "userAgent": in.Agent,
		"requestParameters": request, "responseElements": nil, "requestID": requestID, "eventID": e.id,
		"readOnly": e.readOnly, "resources": arns, "eventType": "AwsApiCall", "managementEvent": true,
		"recipientAccountId": s.account, "eventCategory": "Management",
	}
	if in.ErrorCode != "" {
		detail["errorCode"], detail["errorMessage"] = in.ErrorCode, in.ErrorMessage
	}
	b, err := json.Marshal(detail)
	if err != nil {
		panic("sandbox/aws: write a CloudTrail record: " + err.Error()) // it is made of texts and flags
	}
	e.detail = string(b)
	if len(s.events) >= maxEvents {
		s.events = slices.Delete(s.events, 0, maxEvents/10)
	}
	later, _ := slices.BinarySearchFunc(s.events, e.at.Add(1), func(e event, at time.Time) int { return e.at.Compare(at) })
	s.events = slices.Insert(s.events, later, e)
}

// errorWords leaves messages out that may repeat what was sent: CloudTrail's
// records never hold a parameter's value.
func errorWords(err error) (code, message string) {
	code, message, _ = strings.Cut(err.Error(), ": ")
	if code == "ValidationException" {
		message = "validation failed"
	}
	return code, message
}

func readOnly(name string) bool {
	return slices.ContainsFunc([]string{"Get", "Describe", "List", "Lookup", "Simulate"}, func(p string) bool { return strings.HasPrefix(name, p) })
}

// parameterNames lists the parameters that a request is about.
func parameterNames(request map[string]any) []string {
	var out []string
	for _, member := range []string{"name", "path"} {
		if name, ok := request[member].(string); ok {
			out = append(out, name)
		}
	}
	names, _ := request["names"].([]any)
	for _, n := range names {
		if name, ok := n.(string); ok {
			out = append(out, name)
		}
	}
	return out
}

// requestParameters is the request as a CloudTrail record shows it: member
// names begin small, and values are hidden.
func requestParameters(request any) map[string]any {
	if form, ok := request.(url.Values); ok {
		out := map[string]any{}
		for k := range form {
			out[lowerFirst(k)] = form.Get(k)
		}
		return out
	}
	b, err := json.Marshal(request)
	if err != nil {
		return nil
	}
	var members map[string]any
	if json.Unmarshal(b, &members) != nil {
		return nil
	}
	return lowered(members)
}

func lowered(members map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range members {
		if v == nil || v == "" || v == false {
			continue
		}
		if k == "Value" {
			v = "HIDDEN_DUE_TO_SECURITY_REASONS"
		}
		out[lowerFirst(k)] = v
	}
	return out
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// cloudTrail is the caller as a record names them.
func (i Identity) cloudTrail(key string) map[string]any {
	out := map[string]any{"type": "Root", "principalId": i.userID(), "arn": i.arn(), "accountId": i.Account, "accessKeyId": key}
	switch {
	case i.Role != "":
		out["type"] = "AssumedRole"
		out["sessionContext"] = map[string]any{"sessionIssuer": map[string]any{
			"type": "Role", "principalId": uniqueID("AROA", i.Role), "arn": i.principal(), "accountId": i.Account, "userName": i.Role,
		}}
	case i.User != "":
		out["type"], out["userName"] = "IAMUser", i.User
	}
	return out
}

func (s *Server) lookupEvents(c call, in *lookupInput) (*lookupOutput, error) {
	if !s.allow("lookup", lookupsPerSecond, c.now) {
		return nil, throttled()
	}
	if len(in.LookupAttributes) > 1 {
		return nil, refuse("InvalidLookupAttributesException", "You can specify only one lookup attribute.")
	}
	limit, ok := within(in.MaxResults, 50, 50)
	if !ok {
		return nil, refuse("InvalidMaxResultsException", "A maximum results value of 1 to 50 is allowed.")
	}
	if in.EventCategory != "" {
		return nil, refuse("InvalidEventCategoryException", "The stand-in has management events only.")
	}
	from, to := c.now.Add(-retention), c.now
	if in.StartTime != nil && in.StartTime.After(from) {
		from = in.StartTime.Time
	}
	if in.EndTime != nil && in.EndTime.Before(to) {
		to = in.EndTime.Time
	}
	if in.StartTime != nil && in.EndTime != nil && in.StartTime.After(in.EndTime.Time) {
		return nil, refuse("InvalidTimeRangeException", "The start time is after the end time.")
	}
	all, listing, err := s.found(in.LookupAttributes, from, to, c.now)
	if err != nil {
		return nil, err
	}
	some, next, ok := page(all, listing, in.NextToken, limit)
	if !ok {
		return nil, refuse("InvalidNextTokenException", "The token does not fit the request.")
	}
	return &lookupOutput{append([]eventRecord{}, some...), next}, nil
}

// found lists the visible events that have the attribute, newest first, and
// names the listing, for its tokens.
func (s *Server) found(by []lookupAttribute, from, to, now time.Time) ([]eventRecord, string, error) {
	listing := "events"
	fits := func(event) bool { return true }
	for _, a := range by {
		listing += " " + a.AttributeKey + "=" + a.AttributeValue
		is, ok := attribute(a.AttributeKey)
		if !ok {
			return nil, "", refuse("InvalidLookupAttributesException", "The attribute "+a.AttributeKey+" is not valid.")
		}
		fits = func(e event) bool { return slices.Contains(is(e), a.AttributeValue) }
	}
	var all []eventRecord
	for _, e := range slices.Backward(s.events) {
		visible := !now.Before(e.at.Add(time.Duration(s.settings.CloudTrailDelay)))
		if !visible || e.at.Before(from) || e.at.After(to) || !fits(e) {
			continue
		}
		all = append(all, eventRecord{AccessKeyId: e.accessKey, CloudTrailEvent: e.detail, EventId: e.id, EventName: e.name, EventSource: e.source,
			ReadOnly: map[bool]string{true: "true", false: "false"}[e.readOnly], Username: e.user, EventTime: at(e.at), Resources: e.resources})
	}
	return all, listing, nil
}

// attribute returns how a look-up by that attribute reads an event.
func attribute(key string) (func(event) []string, bool) {
	switch key {
	case "EventId":
		return func(e event) []string { return []string{e.id} }, true
	case "EventName":
		return func(e event) []string { return []string{e.name} }, true
	case "ReadOnly":
		return func(e event) []string { return []string{map[bool]string{true: "true", false: "false"}[e.readOnly]} }, true
	case "Username":
		return func(e event) []string { return []string{e.user} }, true
	case "ResourceType", "ResourceName":
		return func(e event) []string {
			var out []string
			for _, r := range e.resources {
				if key == "ResourceType" {
					out = append(out, r.ResourceType)
				} else {
					out = append(out, r.ResourceName)
				}
			}
			return out
		}, true
	case "EventSource":
		return func(e event) []string { return []string{e.source} }, true
	case "AccessKeyId":
		return func(e event) []string { return []string{e.accessKey} }, true
	default:
		return nil, false
	}
}
