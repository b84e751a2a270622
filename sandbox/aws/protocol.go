package aws

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/twokey/twokey/sandbox/conditions"
)

// apiError is a refusal in AWS's words.
type apiError struct {
	Code    string
	Message string
	Status  int // 0 is 400
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func refuse(code, message string) error { return &apiError{Code: code, Message: message} }

func invalid(message string) error { return refuse("ValidationException", message) }

// call is one request as the operations see it.
type call struct {
	who       Identity
	accessKey string
	now       time.Time
	address   string // whom CloudTrail names as source
	agent     string
	id        string // request id
	region    string // that the request was signed for
}

// protocol is how a service's requests name their operation and how it answers.
type protocol int

const (
	jsonProtocol  protocol = iota // AWS JSON 1.1: X-Amz-Target
	queryProtocol                 // AWS query: Action and Version in a form
)

// api is one of the services that the stand-in plays.
type api struct {
	prefix   string // in the sandbox's names of operations: "ssm"
	source   string // CloudTrail's event source
	protocol protocol
	xmlns    string
}

// apis lists the services by what their requests are recognized by: the part
// before the dot of X-Amz-Target, or the Version of a form.
func apis() map[string]api {
	return map[string]api{
		"AmazonSSM":                          {"ssm", "ssm.amazonaws.com", jsonProtocol, ""},
		"AmazonEC2ContainerServiceV20141113": {"ecs", "ecs.amazonaws.com", jsonProtocol, ""},
		"CloudTrail_20131101":                {"cloudtrail", "cloudtrail.amazonaws.com", jsonProtocol, ""},
		"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101": {"cloudtrail", "cloudtrail.amazonaws.com", jsonProtocol, ""},
		"CertificateManager": {"acm", "acm.amazonaws.com", jsonProtocol, ""},
		"2011-06-15":         {"sts", "sts.amazonaws.com", queryProtocol, "https://sts.amazonaws.com/doc/2011-06-15/"},
		"2010-05-08":         {"iam", "iam.amazonaws.com", queryProtocol, "https://iam.amazonaws.com/doc/2010-05-08/"},
	}
}

// target finds which operation of which service a request asks for.
func target(r *http.Request, body []byte) (api, string, bool) {
	if t := r.Header.Get("X-Amz-Target"); t != "" {
		dot := strings.LastIndexByte(t, '.')
		if dot < 0 {
			return api{}, "", false
		}
		a, ok := apis()[t[:dot]]
		return a, t[dot+1:], ok && a.protocol == jsonProtocol
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return api{}, "", false
	}
	a, ok := apis()[form.Get("Version")]
	return a, form.Get("Action"), ok && a.protocol == queryProtocol
}

// vendor tells the sandbox's conditions how AWS names calls and words faults.
type vendor struct{}

// Operation implements conditions.Vendor.
func (vendor) Operation(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "aws.unreadable"
	}
	a, operation, ok := target(r, body)
	if !ok {
		return "aws.unknown"
	}
	return a.prefix + "." + operation
}

// WriteFault implements conditions.Vendor.
func (vendor) WriteFault(w http.ResponseWriter, r *http.Request, f conditions.Fault) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	a, _, _ := target(r, body)
	e := &apiError{Code: f.Code, Status: f.Status, Message: "set by the sandbox"}
	switch f.Kind {
	case conditions.Throttle:
		e = &apiError{Code: "ThrottlingException", Message: "Rate exceeded", Status: http.StatusBadRequest}
		if a.protocol == queryProtocol {
			e.Code = "Throttling"
		}
	case conditions.ServerErr:
		e = &apiError{Code: serverError(a), Message: "Internal server error", Status: http.StatusInternalServerError}
	default:
		if e.Code == "" {
			e.Code = "AccessDeniedException"
		}
	}
	writeError(w, a, uuid.NewString(), e)
}

// serverError is what the service calls its own failure.
func serverError(a api) string {
	switch a.prefix {
	case "ssm":
		return "InternalServerError"
	case "ecs":
		return "ServerException"
	case "iam":
		return "ServiceFailure"
	default:
		return "InternalFailure"
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	c := call{now: s.cond.Clock.Now(), id: uuid.NewString(), agent: r.UserAgent(), address: sourceAddress(r), region: signedRegion(r)}
	a, name, ok := target(r, body)
	if !ok {
		writeError(w, a, c.id, &apiError{Code: "UnknownOperationException", Status: http.StatusNotFound})
		return
	}
	c.accessKey = accessKey(r)
	if c.accessKey == "" {
		writeError(w, a, c.id, &apiError{Code: "MissingAuthenticationToken", Message: "Missing Authentication Token", Status: http.StatusForbidden})
		return
	}
	op, ok := s.operations()[a.prefix+"."+name]
	if !ok {
		writeError(w, a, c.id, &apiError{Code: "UnknownOperationException", Message: "the stand-in does not have " + a.prefix + "." + name})
		return
	}
	s.mu.Lock()
	c.who = s.identity(c.accessKey)
	if c.who.Denied && a.prefix == "ssm" {
		err := s.deny(c, a, name, body)
		s.mu.Unlock()
		writeError(w, a, c.id, err)
		return
	}
	out, request, err := op(c, body)
	s.record(c, a, name, request, err)
	s.mu.Unlock()
	s.look() // whatever changed may concern the scheduler
	if err != nil {
		writeError(w, a, c.id, err)
		return
	}
	writeAnswer(w, a, name, c.id, out)
}

// deny refuses a call for want of permission. CloudTrail then keeps nothing of
// the request: the resource stands in the message alone, and the error's name is
// shorter than the one that was answered.
func (s *Server) deny(c call, a api, name string, body []byte) error {
	var request map[string]any
	_ = json.Unmarshal(body, &request) // whatever it is, it is denied
	resource := "arn:aws:ssm:" + s.region + ":" + s.account + ":*"
	if names := parameterNames(lowered(request)); len(names) > 0 {
		resource = s.parameterARN(names[0])
	}
	message := "User: " + c.who.arn() + " is not authorized to perform: ssm:" + name + " on resource: " + resource +
		" because no identity-based policy allows the ssm:" + name + " action"
	s.remember(Event{At: c.now, Name: name, Source: a.source, By: c.who, AccessKey: c.accessKey, Address: c.address, Agent: c.agent,
		ErrorCode: "AccessDenied", ErrorMessage: message}, c.id)
	return refuse("AccessDeniedException", message)
}

// sourceAddress is where a caller says it is: everybody comes from the loopback,
// so strangers are played by X-Forwarded-For.
func sourceAddress(r *http.Request) string {
	if address := r.Header.Get("X-Forwarded-For"); address != "" {
		return address
	}
	return host(r.RemoteAddr)
}

// operation runs with the server's lock held. It returns the answer and the
// request as it was understood, for CloudTrail.
type operation func(c call, body []byte) (answer, request any, err error)

// operations is everything that the stand-in can do.
func (s *Server) operations() map[string]operation {
	return map[string]operation{
		"ssm.PutParameter":               jsonOp(s.putParameter),
		"ssm.GetParameter":               jsonOp(s.getParameter),
		"ssm.GetParameters":              jsonOp(s.getParameters),
		"ssm.GetParametersByPath":        jsonOp(s.getParametersByPath),
		"ssm.GetParameterHistory":        jsonOp(s.getParameterHistory),
		"ssm.DescribeParameters":         jsonOp(s.describeParameters),
		"ssm.LabelParameterVersion":      jsonOp(s.labelParameterVersion),
		"ssm.UnlabelParameterVersion":    jsonOp(s.unlabelParameterVersion),
		"ssm.DeleteParameter":            jsonOp(s.deleteParameter),
		"ssm.DeleteParameters":           jsonOp(s.deleteParameters),
		"ssm.AddTagsToResource":          jsonOp(s.addTags),
		"ssm.ListTagsForResource":        jsonOp(s.listTags),
		"ecs.DescribeServices":           jsonOp(s.describeServices),
		"ecs.ListClusters":               jsonOp(s.listClusters),
		"ecs.ListServices":               jsonOp(s.listServices),
		"ecs.UpdateService":              jsonOp(s.updateService),
		"ecs.ListServiceDeployments":     jsonOp(s.listServiceDeployments),
		"ecs.DescribeServiceDeployments": jsonOp(s.describeServiceDeployments),
		"ecs.ListTasks":                  jsonOp(s.listTasks),
		"ecs.DescribeTasks":              jsonOp(s.describeTasks),
		"ecs.StopTask":                   jsonOp(s.stopTask),
		"ecs.RegisterTaskDefinition":     jsonOp(s.registerTaskDefinition),
		"ecs.DeregisterTaskDefinition":   jsonOp(s.deregisterTaskDefinition),
		"ecs.DescribeTaskDefinition":     jsonOp(s.describeTaskDefinition),
		"ecs.ListTaskDefinitions":        jsonOp(s.listTaskDefinitions),
		"cloudtrail.LookupEvents":        jsonOp(s.lookupEvents),
		"acm.ListCertificates":           jsonOp(s.listCertificates),
		"acm.DescribeCertificate":        jsonOp(s.describeCertificate),
		"sts.GetCallerIdentity":          queryOp(s.getCallerIdentity),
		"sts.AssumeRole":                 queryOp(s.assumeRole),
		"sts.GetWebIdentityToken":        queryOp(s.getWebIdentityToken),
		"iam.SimulatePrincipalPolicy":    queryOp(s.simulatePrincipalPolicy),
		"iam.ListRoles":                  queryOp(s.listRoles),
		"iam.GetRole":                    queryOp(s.getRole),
	}
}

// jsonOp adapts an operation of a JSON service. A member that the stand-in does
// not know is refused: ignoring it would be a lie about what happened.
func jsonOp[In, Out any](f func(call, *In) (*Out, error)) operation {
	return func(c call, body []byte) (any, any, error) {
		in := new(In)
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(in); err != nil {
			return nil, nil, refuse("SerializationException", "the stand-in cannot take this request: "+jsonTrouble(err))
		}
		out, err := f(c, in)
		return out, in, err
	}
}

// jsonTrouble words what was wrong with a request without repeating values.
func jsonTrouble(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return wrong.Field + " has the wrong type"
	}
	if text, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return "it has no " + text
	}
	return "it is not JSON"
}

func queryOp[Out any](f func(call, url.Values) (*Out, error)) operation {
	return func(c call, body []byte) (any, any, error) {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, nil, refuse("MalformedQueryString", "the form cannot be read")
		}
		out, err := f(c, form)
		form.Del("Action")
		form.Del("Version")
		return out, form, err
	}
}

func writeAnswer(w http.ResponseWriter, a api, name, id string, out any) {
	w.Header().Set("X-Amzn-Requestid", id)
	if a.protocol == jsonProtocol {
		conditions.WriteJSON(w, http.StatusOK, "application/x-amz-json-1.1", out)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, xml.Header)
	e := xml.NewEncoder(w)
	response := xml.StartElement{Name: xml.Name{Local: name + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: a.xmlns}}}
	result := xml.StartElement{Name: xml.Name{Local: name + "Result"}}
	metadata := xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}
	// A failing write means that the caller is gone; nobody is left to tell.
	_ = errors.Join(e.EncodeToken(response), e.EncodeElement(out, result),
		e.EncodeElement(struct{ RequestId string }{id}, metadata), e.EncodeToken(response.End()), e.Flush())
}

// upperMessage tells which errors call their member Message, not message.
func upperMessage(a api, code string) bool {
	odd := []string{"InternalServerError", "InvalidFilterValue", "InvalidNextToken", "TooManyUpdates"}
	return a.prefix == "cloudtrail" || (a.prefix == "ssm" && slices.Contains(odd, code))
}

func writeError(w http.ResponseWriter, a api, id string, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = &apiError{Code: serverError(a), Message: err.Error(), Status: http.StatusInternalServerError}
	}
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	w.Header().Set("X-Amzn-Requestid", id)
	if a.protocol == queryProtocol {
		writeQueryError(w, a, id, status, e)
		return
	}
	body := map[string]string{"__type": e.Code}
	if e.Message != "" {
		if upperMessage(a, e.Code) {
			body["Message"] = e.Message
		} else {
			body["message"] = e.Message
		}
	}
	conditions.WriteJSON(w, status, "application/x-amz-json-1.1", body)
}

func writeQueryError(w http.ResponseWriter, a api, id string, status int, e *apiError) {
	type fault struct{ Type, Code, Message string }
	side := "Sender"
	if status >= 500 {
		side = "Receiver"
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Namespace string   `xml:"xmlns,attr"`
		Error     fault
		RequestID string `xml:"RequestId"`
	}{Namespace: a.xmlns, Error: fault{side, e.Code, e.Message}, RequestID: id})
}

// seconds is a timestamp as AWS JSON writes it: seconds since 1970, with
// milliseconds after the point.
type seconds struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(t.UnixMilli()) / 1000)
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	t.Time = time.UnixMilli(int64(f * 1000))
	return nil
}

// at returns nil for an instant that has not come, so that it is left out.
func at(t time.Time) *seconds {
	if t.IsZero() {
		return nil
	}
	return &seconds{t}
}
