package smithycheck

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// exchange judges one made-up call.
func exchange(t *testing.T, target, request string, status int, contentType, answer string) []string {
	t.Helper()
	var all []*model
	for _, file := range []string{"ssm", "ecs", "cloudtrail", "iam", "sts", "acm"} {
		m, err := load(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	header := http.Header{}
	if target != "" {
		header.Set("X-Amz-Target", target)
	}
	seen := &recorder{ResponseWriter: httptest.NewRecorder(), status: status, body: *bytes.NewBufferString(answer)}
	seen.Header().Set("Content-Type", contentType)
	return judge(all, header, []byte(request), seen)
}

func TestTheCheckerFindsWhatTheModelsForbid(t *testing.T) {
	const js = "application/x-amz-json-1.1"
	good := `{"Parameter":{"Name":"/a","Version":1,"LastModifiedDate":1.5}}`
	token := `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>x</WebIdentityToken></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`
	tests := []struct {
		name, target, request string
		status                int
		kind, answer          string
		want                  string // part of what is found; empty: nothing
	}{
		{"nothing", "AmazonSSM.GetParameter", `{"Name":"/a"}`, 200, js, good, ""},
		{"a missing required member", "AmazonSSM.GetParameter", `{}`, 200, js, good, "Name is required and missing"},
		{"an unknown member", "AmazonSSM.GetParameter", `{"Name":"/a","Nmae":"b"}`, 200, js, good, "no member Nmae"},
		{"a text too short", "AmazonSSM.GetParameter", `{"Name":""}`, 200, js, good, "has the length 0"},
		{"a wrong type", "AmazonSSM.GetParameter", `{"Name":7}`, 200, js, good, "is not a text"},
		{"a number out of range", "AmazonSSM.DescribeParameters", `{"MaxResults":51}`, 200, js, `{}`, "is 51, outside"},
		{"a pattern", "AmazonSSM.PutParameter", `{"Name":"/a","Value":"v","KeyId":"a b"}`, 200, js, `{}`, "does not match"},
		{"an enum", "AmazonSSM.PutParameter", `{"Name":"/a","Value":"v","Type":"Secure"}`, 200, js, `{}`, "which the enum does not have"},
		{"an invalid request that was refused", "AmazonSSM.GetParameter", `{}`, 400, js, `{"__type":"ValidationException","message":"no"}`, ""},
		{"an answer's unknown member", "AmazonSSM.GetParameter", `{"Name":"/a"}`, 200, js, `{"Parameter":{"Size":1}}`, "no member Size"},
		{"an answer's timestamp as a text", "AmazonSSM.GetParameter", `{"Name":"/a"}`, 200, js, `{"Parameter":{"LastModifiedDate":"2026"}}`, "is not a timestamp"},
		{"an answer's fraction for a whole number", "AmazonSSM.GetParameter", `{"Name":"/a"}`, 200, js, `{"Parameter":{"Version":1.5}}`, "not a whole number"},
		{"another content type", "AmazonSSM.GetParameter", `{"Name":"/a"}`, 200, "text/plain", good, "the content type"},
		{"an error of another operation", "AmazonSSM.GetParameter", `{"Name":"/a"}`, 400, js, `{"__type":"ParameterAlreadyExists"}`, "which the operation does not have"},
		{"a client's error with a server's status", "AmazonSSM.GetParameter", `{"Name":"/a"}`, 500, js, `{"__type":"ParameterNotFound"}`, "a client error"},
		{"an error's misspelt member", "AmazonSSM.PutParameter", `{"Name":"/a","Value":"v"}`, 400, js, `{"__type":"TooManyUpdates","message":"x"}`, "no member message"},
		{"domains", "CertificateManager.ListCertificates", `{}`, 200, js, `{"CertificateSummaryList":[{"DomainName":"*.mcp-1.example.com"},{"DomainName":"a.bc"}]}`, ""},
		{"a domain that begins with a dash", "CertificateManager.ListCertificates", `{}`, 200, js, `{"CertificateSummaryList":[{"DomainName":"-mcp.example.com"}]}`, "does not match"},
		{"an operation that nobody told of", "AmazonSSM.CreateDocument", `{}`, 200, js, `{}`, "neither the model"},
		{"a service that nobody told of", "Lambda.Invoke", `{}`, 200, js, `{}`, "no known service"},
		{"an operation known from the SDK", "AmazonSSM.DeleteParameter", `{"Name":"/a"}`, 200, js, `{}`, ""},
		{"its unknown member", "AmazonSSM.DeleteParameter", `{"Id":"/a"}`, 200, js, `{}`, "no member Id"},
		{"its error", "AmazonSSM.DeleteParameter", `{"Name":"/a"}`, 400, js, `{"__type":"ParameterNotFound"}`, ""},
		{"a query", "", "Action=GetWebIdentityToken&Version=2011-06-15&Audience.member.1=a&SigningAlgorithm=RS256", 200, "text/xml", token, ""},
		{"a query's unknown field", "", "Action=GetWebIdentityToken&Version=2011-06-15&Audience.1=a", 200, "text/xml", token, "Audience.1"},
		{"a query's missing member", "", "Action=AssumeRole&Version=2011-06-15&RoleSessionName=bob", 200, "text/xml", `<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>`, "RoleArn is required"},
		{"an XML answer's unknown element", "", "Action=GetCallerIdentity&Version=2011-06-15", 200, "text/xml", `<GetCallerIdentityResponse><GetCallerIdentityResult><Who>x</Who></GetCallerIdentityResult></GetCallerIdentityResponse>`, "no member Who"},
		{"an XML answer of another operation", "", "Action=GetCallerIdentity&Version=2011-06-15", 200, "text/xml", `<GetRoleResponse/>`, "no GetCallerIdentityResult"},
		{"a query's error with its code", "", "Action=GetRole&Version=2010-05-08&RoleName=x", 404, "text/xml", `<ErrorResponse><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>`, ""},
		{"a query's error with another status", "", "Action=GetRole&Version=2010-05-08&RoleName=x", 400, "text/xml", `<ErrorResponse><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>`, "the status 400 instead of 404"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(exchange(t, test.target, test.request, test.status, test.kind, test.answer), "; ")
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

// witness notes whether a test would have failed.
type witness struct {
	testing.TB
	failed bool
}

func (w *witness) Errorf(string, ...any) { w.failed = true }
func (w *witness) Helper()               {}

func TestTheHandlerFailsTheTestAndPassesTheAnswerOn(t *testing.T) {
	w := &witness{TB: t}
	server := httptest.NewServer(Handler(w, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(rw, `{"Nonsense":1}`)
	})))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(`{"Name":"/a"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "AmazonSSM.GetParameter")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil || string(b) != `{"Nonsense":1}` || !w.failed {
		t.Errorf("the answer is %s, %v; failed: %v", b, err, w.failed)
	}
}
