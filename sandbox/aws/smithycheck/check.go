package smithycheck

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Handler passes calls on to next and fails the test for every answer that the
// models do not allow, and for every request that they do not allow and next
// took all the same. A call whose connection next cut or whose caller gave up,
// and the sandbox's answer of nonsense (HTML), are passed on unlooked at.
func Handler(t testing.TB, next http.Handler) http.Handler {
	t.Helper()
	var all []*model
	for _, file := range []string{"ssm", "ecs", "cloudtrail", "iam", "sts", "acm"} {
		m, err := load(file)
		if err != nil {
			t.Fatalf("smithycheck: %v", err)
		}
		all = append(all, m)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("smithycheck: read the request: %v", err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		gone := r.Context().Err() != nil && seen.body.Len() == 0 // the caller gave up; nobody was answered
		if gone || seen.hijacked || strings.HasPrefix(seen.Header().Get("Content-Type"), "text/html") {
			return
		}
		for _, wrong := range judge(all, r.Header, body, seen) {
			t.Errorf("smithycheck: %s", wrong)
		}
	})
}

// recorder keeps what is answered.
type recorder struct {
	http.ResponseWriter
	status   int
	body     bytes.Buffer
	hijacked bool
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

// Hijack lets the sandbox cut the connection.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.hijacked = true
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// judge returns what is wrong with one exchange.
func judge(all []*model, header http.Header, body []byte, answer *recorder) []string {
	m, name, form := find(all, header, body)
	if m == nil {
		if answer.status < 300 {
			return []string{"an operation of no known service was answered with success"}
		}
		return nil
	}
	op, known := m.shapes[m.namespace+"#"+name]
	if !known {
		if answer.status < 300 {
			return []string{name + " was answered with success, but neither the model nor the SDK's types were told of it"}
		}
		return nil
	}
	var wrong []string
	if answer.status < 300 {
		for _, problem := range m.request(op, body, form) {
			wrong = append(wrong, name+" took a request that AWS would not: "+problem)
		}
		for _, problem := range m.answer(op, name, answer) {
			wrong = append(wrong, name+" answered: "+problem)
		}
		return wrong
	}
	for _, problem := range m.refusal(op, answer) {
		wrong = append(wrong, name+" refused: "+problem)
	}
	return wrong
}

func find(all []*model, header http.Header, body []byte) (*model, string, url.Values) {
	if target := header.Get("X-Amz-Target"); target != "" {
		dot := strings.LastIndexByte(target, '.')
		for _, m := range all {
			service := target[:max(dot, 0)] // the aws command spells CloudTrail's with a namespace
			if !m.query && service[strings.LastIndexByte(service, '.')+1:] == m.target {
				return m, target[dot+1:], nil
			}
		}
		return nil, "", nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, "", nil
	}
	for _, m := range all {
		if m.query && m.version == form.Get("Version") {
			return m, form.Get("Action"), form
		}
	}
	return nil, "", nil
}

func decode(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

func (m *model) request(op shape, body []byte, form url.Values) []string {
	if m.query {
		v, left := m.fromForm(op.Input.Target, form)
		wrong := m.check("the request", op.Input.Target, v)
		for _, k := range left {
			wrong = append(wrong, "the form has "+k+", which the model does not have")
		}
		return wrong
	}
	v, err := decode(body)
	if err != nil {
		return []string{"the request is not JSON: " + err.Error()}
	}
	return m.check("the request", op.Input.Target, v)
}

func (m *model) answer(op shape, name string, answer *recorder) []string {
	if m.query {
		var root node
		if err := xml.Unmarshal(answer.body.Bytes(), &root); err != nil {
			return []string{"not XML: " + err.Error()}
		}
		result, ok := root.child(name + "Result")
		if root.XMLName.Local != name+"Response" || !ok {
			return []string{"no " + name + "Result in a " + name + "Response"}
		}
		return m.check("the answer", op.Output.Target, m.fromXML(op.Output.Target, result))
	}
	var wrong []string
	if got := answer.Header().Get("Content-Type"); got != "application/x-amz-json-1.1" {
		wrong = append(wrong, "the content type "+got)
	}
	v, err := decode(answer.body.Bytes())
	if err != nil {
		return append(wrong, "not JSON: "+err.Error())
	}
	return append(wrong, m.check("the answer", op.Output.Target, v)...)
}

// common lists the errors that every AWS service may answer with, which the
// models leave out (AWS: "Common Errors").
func common() []string {
	return []string{
		"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InternalFailure", "InvalidClientTokenId",
		"MissingAuthenticationToken", "SerializationException", "Throttling", "ThrottlingException", "UnknownOperationException",
		"UnrecognizedClientException", "ValidationError", "ValidationException", "MalformedQueryString",
	}
}

// refusal checks an error: its name, its status and its members.
func (m *model) refusal(op shape, answer *recorder) []string {
	code, fields, wrong := m.readError(answer)
	if code == "" {
		return wrong
	}
	declared, ok := m.declared(op, code)
	if !ok {
		if slices.Contains(common(), code) {
			return wrong
		}
		return append(wrong, fmt.Sprintf("with the error %s, which the operation does not have", code))
	}
	var side string
	_ = json.Unmarshal(declared.Traits["smithy.api#error"], &side) // always a text in Smithy's models
	if client := answer.status < 500; client != (side == "client") {
		wrong = append(wrong, fmt.Sprintf("with %s, a %s error, and the status %d", code, side, answer.status))
	}
	var status int
	if raw, ok := declared.Traits["smithy.api#httpError"]; ok && m.query && json.Unmarshal(raw, &status) == nil && status != answer.status {
		wrong = append(wrong, fmt.Sprintf("with %s and the status %d instead of %d", code, answer.status, status))
	}
	if fields != nil {
		wrong = append(wrong, m.checkStructure("the error "+code, declared, fields)...)
	}
	return wrong
}

// readError returns the error's code and, of a JSON error, its members.
func (m *model) readError(answer *recorder) (string, map[string]any, []string) {
	if m.query {
		var root node
		if err := xml.Unmarshal(answer.body.Bytes(), &root); err != nil || root.XMLName.Local != "ErrorResponse" {
			return "", nil, []string{"with something that is no ErrorResponse"}
		}
		e, _ := root.child("Error")
		code, ok := e.child("Code")
		if !ok {
			return "", nil, []string{"with an error without Code"}
		}
		return code.Text, nil, nil
	}
	v, err := decode(answer.body.Bytes())
	fields, ok := v.(map[string]any)
	if err != nil || !ok {
		return "", nil, []string{"with something that is not a JSON object"}
	}
	code, ok := fields["__type"].(string)
	if !ok {
		return "", nil, []string{"with an error without __type"}
	}
	delete(fields, "__type")
	return code[strings.LastIndexByte(code, '#')+1:], fields, nil
}

// declared finds the error among those of the operation.
func (m *model) declared(op shape, code string) (shape, bool) {
	for _, e := range op.Errors {
		s := m.shape(e.Target)
		name := e.Target[strings.IndexByte(e.Target, '#')+1:]
		var query struct{ Code string }
		if m.query && json.Unmarshal(s.Traits["aws.protocols#awsQueryError"], &query) == nil && query.Code != "" {
			name = query.Code
		}
		if name == code {
			return s, true
		}
	}
	if len(op.Errors) == 0 { // an operation that the SDK's types gave us: any error of the service
		if s, ok := m.shapes[m.namespace+"#"+code]; ok {
			return s, true
		}
	}
	return shape{}, false
}
