// Package ssmtest holds what twokey relies on of Systems Manager's parameters,
// as tests that any server of that API must pass: the sandbox's stand-in, moto,
// and AWS itself.
package ssmtest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/uuid"
)

// Run runs the suite with a client of the server in question. It makes and
// deletes parameters below a path of its own.
func Run(t *testing.T, client *ssm.Client) {
	tests := []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"VersionsCountUpAndTheNewestIsRead", versionsCountUp},
		{"ASecureStringIsReadableOnlyDecrypted", secureString},
		{"OldVersionsStayReadableBySelector", selectors},
		{"AnUnknownNameIsParameterNotFound", unknownName},
		{"AnUnknownVersionIsParameterVersionNotFound", unknownVersion},
		{"WithoutOverwriteNothingIsOverwritten", overwrite},
		{"TagsAreRefusedWithOverwrite", tagsAndOverwrite},
		{"TagsGoOnANewParameterAndCanBeAdded", tags},
		{"AnEmptyValueIsRefused", emptyValue},
		{"ALabelMovesToAnotherVersion", labelMoves},
		{"LabelsThatBeginWithADigitOrAwsAreInvalid", invalidLabels},
		{"AVersionHasTenLabelsAtMost", tooManyLabels},
		{"UnlabelNamesWhatItRemoved", unlabel},
		{"ALabelledOldestVersionBlocksThe101stPut", versionLimit},
		{"HistoryIsPagedOldestFirst", history},
		{"DescribeTellsKeyTypeAndVersion", describe},
		{"GetParametersNamesTheInvalidOnes", several},
		{"ByPathFindsOnlyWhatLiesBelow", byPath},
		{"ADeletedParameterIsGoneWithItsHistory", deletion},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, suite{client: client, path: "/twokey-suite/" + uuid.NewString()})
		})
	}
}

type suite struct {
	client *ssm.Client
	path   string
}

func (s suite) put(t *testing.T, name, value string) int64 {
	t.Helper()
	out, err := s.client.PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String(s.path + name), Value: &value, Type: types.ParameterTypeSecureString, Overwrite: aws.Bool(true)})
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return out.Version
}

func (s suite) get(t *testing.T, name string) types.Parameter {
	t.Helper()
	out, err := s.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(s.path + name), WithDecryption: aws.Bool(true)})
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return *out.Parameter
}

func (s suite) label(t *testing.T, name string, version int64, labels ...string) *ssm.LabelParameterVersionOutput {
	t.Helper()
	out, err := s.client.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String(s.path + name), ParameterVersion: &version, Labels: labels})
	if err != nil {
		t.Fatalf("label %s: %v", name, err)
	}
	return out
}

// refused fails the test unless err is the error E.
func refused[E error](t *testing.T, err error) {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("the error is %v, want a %T", err, want)
	}
}

// code fails the test unless err has that code.
func code(t *testing.T, err error, want string) {
	t.Helper()
	var api interface{ ErrorCode() string }
	if !errors.As(err, &api) || api.ErrorCode() != want {
		t.Fatalf("the error is %v, want %s", err, want)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func versionsCountUp(t *testing.T, s suite) {
	before := time.Now().Add(-time.Minute)
	same(t, "the first version", s.put(t, "/a", "one"), 1)
	same(t, "the second version", s.put(t, "/a", "two"), 2)
	p := s.get(t, "/a")
	same(t, "the value", aws.ToString(p.Value), "two")
	same(t, "the version", p.Version, 2)
	same(t, "the name", aws.ToString(p.Name), s.path+"/a")
	if !strings.HasSuffix(aws.ToString(p.ARN), ":parameter"+s.path+"/a") {
		t.Errorf("the ARN is %s", aws.ToString(p.ARN))
	}
	if p.LastModifiedDate == nil || p.LastModifiedDate.Before(before) {
		t.Errorf("the date is %v", p.LastModifiedDate)
	}
}

func secureString(t *testing.T, s suite) {
	s.put(t, "/a", "text that is secret")
	out, err := s.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(s.path + "/a")})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.Parameter.Value) == "text that is secret" {
		t.Error("the value is shown without decryption")
	}
	same(t, "the type", out.Parameter.Type, types.ParameterTypeSecureString)
}

func selectors(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	s.put(t, "/a", "two")
	s.label(t, "/a", 1, "retired")
	old := s.get(t, "/a:1")
	same(t, "version 1", aws.ToString(old.Value), "one")
	same(t, "the labelled version", aws.ToString(s.get(t, "/a:retired").Value), "one")
}

func unknownName(t *testing.T, s suite) {
	_, err := s.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(s.path + "/none")})
	refused[*types.ParameterNotFound](t, err)
}

func unknownVersion(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	_, err := s.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(s.path + "/a:7")})
	refused[*types.ParameterVersionNotFound](t, err)
	_, err = s.client.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String(s.path + "/a"), ParameterVersion: aws.Int64(7), Labels: []string{"x"}})
	refused[*types.ParameterVersionNotFound](t, err)
}

func overwrite(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	_, err := s.client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String(s.path + "/a"), Value: aws.String("two"), Type: types.ParameterTypeSecureString})
	refused[*types.ParameterAlreadyExists](t, err)
	same(t, "the value", aws.ToString(s.get(t, "/a").Value), "one")
}

func tagsAndOverwrite(t *testing.T, s suite) {
	_, err := s.client.PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String(s.path + "/a"), Value: aws.String("one"), Type: types.ParameterTypeString, Overwrite: aws.Bool(true),
		Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	code(t, err, "ValidationException")
}

func tags(t *testing.T, s suite) {
	name := aws.String(s.path + "/a")
	if _, err := s.client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: name, Value: aws.String("one"), Type: types.ParameterTypeString,
		Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.AddTagsToResource(t.Context(), &ssm.AddTagsToResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: name,
		Tags: []types.Tag{{Key: aws.String("l"), Value: aws.String("w")}}}); err != nil {
		t.Fatal(err)
	}
	out, err := s.client.ListTagsForResource(t.Context(), &ssm.ListTagsForResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: name})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tag := range out.TagList {
		got = append(got, aws.ToString(tag.Key)+"="+aws.ToString(tag.Value))
	}
	slices.Sort(got)
	same(t, "the tags", strings.Join(got, " "), "k=v l=w")
}

func emptyValue(t *testing.T, s suite) {
	_, err := s.client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String(s.path + "/a"), Value: aws.String(""), Type: types.ParameterTypeString})
	code(t, err, "ValidationException")
}

func labelMoves(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	s.put(t, "/a", "two")
	s.label(t, "/a", 1, "live")
	same(t, "the labelled version", s.get(t, "/a:live").Version, 1)
	same(t, "the answer's version", s.label(t, "/a", 2, "live").ParameterVersion, 2)
	same(t, "the labelled version", s.get(t, "/a:live").Version, 2)
}

func invalidLabels(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	out := s.label(t, "/a", 1, "1st", "awsome", "ssmall", "good-1")
	slices.Sort(out.InvalidLabels)
	same(t, "the invalid labels", strings.Join(out.InvalidLabels, " "), "1st awsome ssmall")
	same(t, "the valid one's version", s.get(t, "/a:good-1").Version, 1)
}

func tooManyLabels(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	var labels []string
	for i := range 10 {
		labels = append(labels, fmt.Sprintf("label-%c", 'a'+i))
	}
	s.label(t, "/a", 1, labels...)
	_, err := s.client.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String(s.path + "/a"), ParameterVersion: aws.Int64(1), Labels: []string{"another"}})
	refused[*types.ParameterVersionLabelLimitExceeded](t, err)
}

func unlabel(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	s.label(t, "/a", 1, "live")
	out, err := s.client.UnlabelParameterVersion(t.Context(), &ssm.UnlabelParameterVersionInput{Name: aws.String(s.path + "/a"), ParameterVersion: aws.Int64(1), Labels: []string{"live", "other"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "what was removed", strings.Join(out.RemovedLabels, " "), "live")
	same(t, "what was not there", strings.Join(out.InvalidLabels, " "), "other")
	if _, err = s.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(s.path + "/a:live")}); err == nil {
		t.Error("the label still works")
	}
}

func versionLimit(t *testing.T, s suite) {
	for i := range 100 {
		s.put(t, "/a", fmt.Sprintf("value %d", i+1))
	}
	s.label(t, "/a", 1, "kept")
	_, err := s.client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String(s.path + "/a"), Value: aws.String("one more"), Overwrite: aws.Bool(true)})
	refused[*types.ParameterMaxVersionLimitExceeded](t, err)
	if _, err := s.client.UnlabelParameterVersion(t.Context(), &ssm.UnlabelParameterVersionInput{Name: aws.String(s.path + "/a"), ParameterVersion: aws.Int64(1), Labels: []string{"kept"}}); err != nil {
		t.Fatal(err)
	}
	same(t, "the next version", s.put(t, "/a", "one more"), 101)
	_, err = s.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(s.path + "/a:1")})
	refused[*types.ParameterVersionNotFound](t, err)
}

func history(t *testing.T, s suite) {
	for i := range 5 {
		s.put(t, "/a", fmt.Sprintf("value %d", i+1))
	}
	s.label(t, "/a", 2, "second")
	pages := ssm.NewGetParameterHistoryPaginator(s.client, &ssm.GetParameterHistoryInput{Name: aws.String(s.path + "/a"), WithDecryption: aws.Bool(true), MaxResults: aws.Int32(2)})
	var all []types.ParameterHistory
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Parameters) > 2 {
			t.Errorf("a page of %d, asked for 2", len(page.Parameters))
		}
		all = append(all, page.Parameters...)
	}
	if len(all) != 5 {
		t.Fatalf("%d versions, want 5", len(all))
	}
	for i, v := range all {
		same(t, "the version", v.Version, int64(i+1))
		same(t, "the value", aws.ToString(v.Value), fmt.Sprintf("value %d", i+1))
		same(t, "the key", aws.ToString(v.KeyId), "alias/aws/ssm")
	}
	same(t, "the labels of version 2", strings.Join(all[1].Labels, " "), "second")
}

func describe(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	s.put(t, "/a", "two")
	s.put(t, "/ab", "other")
	out, err := s.client.DescribeParameters(t.Context(), &ssm.DescribeParametersInput{
		ParameterFilters: []types.ParameterStringFilter{{Key: aws.String("Name"), Option: aws.String("Equals"), Values: []string{s.path + "/a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Parameters) != 1 {
		t.Fatalf("%d parameters, want 1", len(out.Parameters))
	}
	p := out.Parameters[0]
	same(t, "the key", aws.ToString(p.KeyId), "alias/aws/ssm")
	same(t, "the type", p.Type, types.ParameterTypeSecureString)
	same(t, "the version", p.Version, 2)
	same(t, "the tier", cmp.Or(p.Tier, types.ParameterTierStandard), types.ParameterTierStandard)
}

func several(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	s.put(t, "/b", "two")
	out, err := s.client.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{s.path + "/a", s.path + "/none", s.path + "/b"}, WithDecryption: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "how many", len(out.Parameters), 2)
	same(t, "the invalid", strings.Join(out.InvalidParameters, " "), s.path+"/none")
}

func byPath(t *testing.T, s suite) {
	for _, name := range []string{"/a/one", "/a/two", "/a/deep/three", "/ab/four"} {
		s.put(t, name, "x")
	}
	names := func(recursive bool) string {
		out, err := s.client.GetParametersByPath(t.Context(), &ssm.GetParametersByPathInput{Path: aws.String(s.path + "/a"), Recursive: &recursive})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range out.Parameters {
			got = append(got, strings.TrimPrefix(aws.ToString(p.Name), s.path))
		}
		slices.Sort(got)
		return strings.Join(got, " ")
	}
	same(t, "one level", names(false), "/a/one /a/two")
	same(t, "the tree", names(true), "/a/deep/three /a/one /a/two")
}

func deletion(t *testing.T, s suite) {
	s.put(t, "/a", "one")
	s.put(t, "/a", "two")
	if _, err := s.client.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String(s.path + "/a")}); err != nil {
		t.Fatal(err)
	}
	_, err := s.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String(s.path + "/a:1")})
	refused[*types.ParameterNotFound](t, err)
	_, err = s.client.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String(s.path + "/a")})
	refused[*types.ParameterNotFound](t, err)
	same(t, "the version after a new beginning", s.put(t, "/a", "three"), 1)
	out, err := s.client.DeleteParameters(t.Context(), &ssm.DeleteParametersInput{Names: []string{s.path + "/a", s.path + "/none"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the deleted", strings.Join(out.DeletedParameters, " "), s.path+"/a")
	same(t, "the invalid", strings.Join(out.InvalidParameters, " "), s.path+"/none")
}
