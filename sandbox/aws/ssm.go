package aws

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// The requests and answers below carry AWS's member names; encoding/json takes
// them from the fields.
type (
	tag struct{ Key, Value string }

	putParameterInput struct {
		Name, Type, KeyId, Tier, DataType string
		Value                             *string
		Description, AllowedPattern       *string
		Overwrite                         bool
		Tags                              []tag
	}
	putParameterOutput struct {
		Version int64
		Tier    string
	}
	nameInput struct {
		Name           string
		WithDecryption bool
	}
	namesInput struct {
		Names          []string
		WithDecryption bool
	}
	parameterOutput struct {
		ARN, DataType, Name, Type, Value string
		Selector                         string `json:",omitempty"`
		LastModifiedDate                 *seconds
		Version                          int64
	}
	getParameterOutput  struct{ Parameter parameterOutput }
	getParametersOutput struct {
		Parameters        []parameterOutput
		InvalidParameters []string `json:",omitempty"`
	}
	byPathInput struct {
		Path                      string
		Recursive, WithDecryption bool
		MaxResults                *int
		NextToken                 string
	}
	byPathOutput struct {
		Parameters []parameterOutput
		NextToken  string `json:",omitempty"`
	}
	historyInput struct {
		Name           string
		WithDecryption bool
		MaxResults     *int
		NextToken      string
	}
	historyEntry struct {
		AllowedPattern, Description, KeyId                  string   `json:",omitempty"`
		Labels                                              []string `json:",omitempty"`
		DataType, LastModifiedUser, Name, Tier, Type, Value string
		LastModifiedDate                                    *seconds
		Version                                             int64
	}
	historyOutput struct {
		Parameters []historyEntry
		NextToken  string `json:",omitempty"`
	}
	labelInput struct {
		Name             string
		ParameterVersion *int64
		Labels           []string
	}
	labelOutput struct {
		InvalidLabels    []string `json:",omitempty"`
		ParameterVersion int64
	}
	unlabelOutput struct {
		RemovedLabels, InvalidLabels []string `json:",omitempty"`
	}
	deleteParametersOutput struct {
		DeletedParameters, InvalidParameters []string `json:",omitempty"`
	}
	addTagsInput struct {
		ResourceType, ResourceId string
		Tags                     []tag
	}
	listTagsInput  struct{ ResourceType, ResourceId string }
	listTagsOutput struct{ TagList []tag }
	empty          struct{}
)

func (s *Server) putParameter(c call, in *putParameterInput) (*putParameterOutput, error) {
	if !s.allow("put", s.settings.PutsPerSecond, c.now) {
		return nil, throttled()
	}
	return s.write(c, in)
}

// write puts a new version of a parameter. The caller holds the lock.
func (s *Server) write(c call, in *putParameterInput) (*putParameterOutput, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	old := s.parameters[in.Name]
	v, err := s.nextVersion(c, in, old)
	if err != nil {
		return nil, err
	}
	if old == nil {
		old = &parameter{name: in.Name, tags: map[string]string{}}
		for _, t := range in.Tags {
			old.tags[t.Key] = t.Value
		}
		s.parameters[in.Name] = old
	}
	if len(old.versions) == maxVersions {
		oldest := old.versions[0]
		if len(oldest.labels) > 0 {
			return nil, refuse("ParameterMaxVersionLimitExceeded", fmt.Sprintf("You attempted to create a new version of %s by calling the PutParameter API with the overwrite flag. Version %d, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again.", in.Name, oldest.number))
		}
		old.versions = slices.Delete(old.versions, 0, 1)
	}
	old.versions = append(old.versions, v)
	return &putParameterOutput{Version: v.number, Tier: v.tier}, nil
}

// nextVersion checks a put against what is there and makes the version of it.
// What a put leaves out stays as it was.
func (s *Server) nextVersion(c call, in *putParameterInput, old *parameter) (*version, error) {
	if err := checkPut(in, old); err != nil {
		return nil, err
	}
	v := &version{number: 1, kind: in.Type, keyID: in.KeyId, tier: in.Tier, dataType: in.DataType}
	if old != nil {
		was := old.newest()
		v.number, v.description, v.pattern = was.number+1, was.description, was.pattern
		v.kind, v.keyID = or(v.kind, was.kind), or(v.keyID, was.keyID)
		v.tier, v.dataType = or(v.tier, was.tier), or(v.dataType, was.dataType)
		if v.kind != was.kind {
			return nil, refuse("HierarchyTypeMismatchException", "Parameter Store does not support changing a parameter type in a hierarchy.")
		}
		if was.tier == "Advanced" && v.tier == "Standard" {
			return nil, invalid("This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.")
		}
	}
	v.value, v.modified, v.by = *in.Value, s.stamp(), c.who.arn()
	v.tier, v.dataType = or(v.tier, "Standard"), or(v.dataType, "text")
	if in.Description != nil {
		v.description = *in.Description
	}
	if in.AllowedPattern != nil {
		v.pattern = *in.AllowedPattern
	}
	if err := s.encrypt(v); err != nil {
		return nil, err
	}
	return v, checkValue(v)
}

// encrypt gives a SecureString its key and what is seen without it.
func (s *Server) encrypt(v *version) error {
	if v.kind != "SecureString" {
		v.keyID = ""
		return nil
	}
	v.keyID = or(v.keyID, defaultKey)
	if !s.kmsKeys[v.keyID] {
		return refuse("InvalidKeyId", fmt.Sprintf("Invalid keyId %s", v.keyID))
	}
	v.cipher = newCipher()
	return nil
}

func checkPut(in *putParameterInput, old *parameter) error {
	switch {
	case in.Value == nil || *in.Value == "":
		return invalid("1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1.")
	case in.Overwrite && len(in.Tags) > 0:
		return invalid("Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.")
	case in.Type == "" && old == nil:
		return invalid("A parameter type is required when you create a parameter.")
	case in.Type != "" && !slices.Contains([]string{"String", "StringList", "SecureString"}, in.Type):
		return invalid("1 validation error detected: Value '" + in.Type + "' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [SecureString, StringList, String]")
	case in.Tier != "" && !slices.Contains([]string{"Standard", "Advanced", "Intelligent-Tiering"}, in.Tier):
		return invalid("1 validation error detected: Value '" + in.Tier + "' at 'tier' failed to satisfy constraint: Member must satisfy enum value set: [Standard, Advanced, Intelligent-Tiering]")
	case old != nil && !in.Overwrite:
		return refuse("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	case len(in.Tags) > maxTags:
		return refuse("TooManyTagsError", "")
	case in.KeyId != "" && (len(in.KeyId) > 256 || !regexp.MustCompile(`^[a-zA-Z0-9:/_-]+$`).MatchString(in.KeyId)):
		return invalid("1 validation error detected: Value '" + in.KeyId + "' at 'keyId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^([a-zA-Z0-9:/_-]+)$")
	case in.Description != nil && len(*in.Description) > 1024:
		return invalid("1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1024")
	case in.AllowedPattern != nil && len(*in.AllowedPattern) > 1024:
		return invalid("1 validation error detected: Value at 'allowedPattern' failed to satisfy constraint: Member must have length less than or equal to 1024")
	default:
		return nil
	}
}

func checkValue(v *version) error {
	length := utf8.RuneCountInString(v.value)
	if v.tier == "Intelligent-Tiering" {
		if v.tier = "Standard"; length > maxStandardValue {
			v.tier = "Advanced"
		}
	}
	if v.tier == "Standard" && length > maxStandardValue {
		return invalid("Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html")
	}
	if length > maxAdvancedValue {
		return invalid("Advanced tier parameters support a maximum parameter value of 8192 characters.")
	}
	if v.pattern == "" {
		return nil
	}
	pattern, err := regexp.Compile(v.pattern)
	if err != nil {
		return refuse("InvalidAllowedPatternException", "The request does not meet the regular expression requirement.")
	}
	if !pattern.MatchString(v.value) {
		return refuse("ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: "+v.pattern)
	}
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (s *Server) show(p *parameter, v *version, selector string, decrypt bool) parameterOutput {
	return parameterOutput{ARN: s.parameterARN(p.name), DataType: v.dataType, Name: p.name, Type: v.kind, Value: v.shown(decrypt),
		Selector: selector, LastModifiedDate: at(v.modified), Version: v.number}
}

func (s *Server) getParameter(c call, in *nameInput) (*getParameterOutput, error) {
	if !s.allow("get", s.settings.ReadsPerSecond, c.now) {
		return nil, throttled()
	}
	if in.Name == "" {
		return nil, invalid("1 validation error detected: Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1.")
	}
	p, v, selector, err := s.lookUp(in.Name)
	if err != nil {
		return nil, err
	}
	return &getParameterOutput{s.show(p, v, selector, in.WithDecryption)}, nil
}

func (s *Server) getParameters(c call, in *namesInput) (*getParametersOutput, error) {
	if !s.allow("get", s.settings.ReadsPerSecond, c.now) {
		return nil, throttled()
	}
	if len(in.Names) < 1 || len(in.Names) > 10 {
		return nil, invalid("1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	out := &getParametersOutput{Parameters: []parameterOutput{}}
	for i, name := range in.Names {
		if slices.Contains(in.Names[:i], name) {
			return nil, invalid("Duplicate names are not allowed in the request.")
		}
		p, v, selector, err := s.lookUp(name)
		if err != nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		out.Parameters = append(out.Parameters, s.show(p, v, selector, in.WithDecryption))
	}
	return out, nil
}

// names lists the parameters in order. The caller holds the lock.
func (s *Server) names() []string {
	names := make([]string, 0, len(s.parameters))
	for name := range s.parameters {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (s *Server) getParametersByPath(c call, in *byPathInput) (*byPathOutput, error) {
	if !s.allow("get", s.settings.ReadsPerSecond, c.now) {
		return nil, throttled()
	}
	if !strings.HasPrefix(in.Path, "/") {
		return nil, invalid("The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\".")
	}
	limit, ok := within(in.MaxResults, 10, 10)
	if !ok {
		return nil, invalid("1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member must have value between 1 and 10")
	}
	var all []parameterOutput
	for _, name := range s.names() {
		if under(name, in.Path, in.Recursive) {
			p := s.parameters[name]
			all = append(all, s.show(p, p.newest(), "", in.WithDecryption))
		}
	}
	some, next, ok := page(all, "path "+in.Path, in.NextToken, limit)
	if !ok {
		return nil, refuse("InvalidNextToken", "The specified token isn't valid.")
	}
	return &byPathOutput{append([]parameterOutput{}, some...), next}, nil
}

// under tells whether name lies in the hierarchy path, and directly if it must.
func under(name, path string, recursive bool) bool {
	rest, found := strings.CutPrefix("/"+strings.TrimPrefix(name, "/"), strings.TrimSuffix(path, "/")+"/")
	return found && rest != "" && (recursive || !strings.Contains(rest, "/"))
}

func (s *Server) getParameterHistory(c call, in *historyInput) (*historyOutput, error) {
	if !s.allow("get", s.settings.ReadsPerSecond, c.now) {
		return nil, throttled()
	}
	limit, ok := within(in.MaxResults, 50, 50)
	if !ok {
		return nil, invalid("1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member must have value between 1 and 50")
	}
	p, ok := s.parameters[in.Name]
	if !ok {
		return nil, refuse("ParameterNotFound", "")
	}
	some, next, ok := page(p.versions, "history "+in.Name, in.NextToken, limit)
	if !ok {
		return nil, refuse("InvalidNextToken", "The specified token isn't valid.")
	}
	out := &historyOutput{Parameters: []historyEntry{}, NextToken: next}
	for _, v := range some {
		out.Parameters = append(out.Parameters, historyEntry{
			AllowedPattern: v.pattern, Description: v.description, KeyId: v.keyID, Labels: slices.Clone(v.labels),
			DataType: v.dataType, LastModifiedUser: v.by, Name: p.name, Tier: v.tier, Type: v.kind, Value: v.shown(in.WithDecryption),
			LastModifiedDate: at(v.modified), Version: v.number,
		})
	}
	return out, nil
}

func (s *Server) labelParameterVersion(_ call, in *labelInput) (*labelOutput, error) {
	p, v, err := s.labelled(in)
	if err != nil {
		return nil, err
	}
	out := &labelOutput{ParameterVersion: v.number}
	fresh := slices.Clone(v.labels)
	for _, label := range in.Labels {
		switch {
		case !validLabel(label):
			out.InvalidLabels = append(out.InvalidLabels, label)
		case !slices.Contains(fresh, label):
			fresh = append(fresh, label)
		}
	}
	if len(fresh) > maxLabels {
		return nil, refuse("ParameterVersionLabelLimitExceeded", "A parameter version can have maximum 10 labels. Move one or more labels to another version and try again.")
	}
	for _, other := range p.versions {
		if other != v { // a label moves: it is on one version at most
			other.labels = slices.DeleteFunc(other.labels, func(l string) bool { return slices.Contains(fresh, l) })
		}
	}
	v.labels = fresh
	return out, nil
}

// labelled finds the version whose labels a request is about.
func (s *Server) labelled(in *labelInput) (*parameter, *version, error) {
	if len(in.Labels) < 1 || len(in.Labels) > maxLabels {
		return nil, nil, invalid("1 validation error detected: Value at 'labels' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	for _, l := range in.Labels {
		if l == "" || len(l) > 100 {
			return nil, nil, invalid("1 validation error detected: Value '[" + l + "]' at 'labels' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 100, Member must have length greater than or equal to 1]")
		}
	}
	p, ok := s.parameters[in.Name]
	if !ok {
		return nil, nil, refuse("ParameterNotFound", "")
	}
	if in.ParameterVersion == nil {
		return p, p.newest(), nil
	}
	for _, v := range p.versions {
		if v.number == *in.ParameterVersion {
			return p, v, nil
		}
	}
	return nil, nil, refuse("ParameterVersionNotFound", fmt.Sprintf("Systems Manager could not find version %d of %s. Verify the version and try again.", *in.ParameterVersion, in.Name))
}

// validLabel knows Systems Manager's rules for labels.
func validLabel(label string) bool {
	lower := strings.ToLower(label)
	return regexp.MustCompile(`^[a-zA-Z_.\-][a-zA-Z0-9_.\-]*$`).MatchString(label) &&
		!strings.HasPrefix(lower, "aws") && !strings.HasPrefix(lower, "ssm")
}

func (s *Server) unlabelParameterVersion(_ call, in *labelInput) (*unlabelOutput, error) {
	if in.ParameterVersion == nil {
		return nil, invalid("1 validation error detected: Value 'null' at 'parameterVersion' failed to satisfy constraint: Member must not be null")
	}
	_, v, err := s.labelled(in)
	if err != nil {
		return nil, err
	}
	out := &unlabelOutput{}
	for _, label := range in.Labels {
		i := slices.Index(v.labels, label)
		if i < 0 {
			out.InvalidLabels = append(out.InvalidLabels, label)
			continue
		}
		v.labels = slices.Delete(v.labels, i, i+1)
		out.RemovedLabels = append(out.RemovedLabels, label)
	}
	return out, nil
}

func (s *Server) deleteParameter(_ call, in *struct{ Name string }) (*empty, error) {
	if _, ok := s.parameters[in.Name]; !ok {
		return nil, refuse("ParameterNotFound", "")
	}
	delete(s.parameters, in.Name)
	return &empty{}, nil
}

func (s *Server) deleteParameters(_ call, in *struct{ Names []string }) (*deleteParametersOutput, error) {
	if len(in.Names) < 1 || len(in.Names) > 10 {
		return nil, invalid("1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	out := &deleteParametersOutput{}
	for _, name := range in.Names {
		if _, ok := s.parameters[name]; !ok {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		delete(s.parameters, name)
		out.DeletedParameters = append(out.DeletedParameters, name)
	}
	return out, nil
}

func (s *Server) tagged(kind, id string) (*parameter, error) {
	if kind != "Parameter" {
		return nil, refuse("InvalidResourceType", "")
	}
	p, ok := s.parameters[id]
	if !ok {
		return nil, refuse("InvalidResourceId", "")
	}
	return p, nil
}

func (s *Server) addTags(_ call, in *addTagsInput) (*empty, error) {
	p, err := s.tagged(in.ResourceType, in.ResourceId)
	if err != nil {
		return nil, err
	}
	fresh := map[string]string{}
	for k, v := range p.tags {
		fresh[k] = v
	}
	for _, t := range in.Tags {
		fresh[t.Key] = t.Value
	}
	if len(fresh) > maxTags {
		return nil, refuse("TooManyTagsError", "")
	}
	p.tags = fresh
	return &empty{}, nil
}

func (s *Server) listTags(_ call, in *listTagsInput) (*listTagsOutput, error) {
	p, err := s.tagged(in.ResourceType, in.ResourceId)
	if err != nil {
		return nil, err
	}
	out := &listTagsOutput{TagList: []tag{}}
	for k, v := range p.tags {
		out.TagList = append(out.TagList, tag{k, v})
	}
	sort.Slice(out.TagList, func(i, j int) bool { return out.TagList[i].Key < out.TagList[j].Key })
	return out, nil
}
