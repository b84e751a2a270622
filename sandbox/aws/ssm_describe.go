package aws

import (
	"slices"
	"strings"
)

type (
	stringFilter struct {
		Key, Option string
		Values      []string
	}
	describeInput struct {
		Filters          []stringFilter // the older form, without Option
		ParameterFilters []stringFilter
		MaxResults       *int
		NextToken        string
		Shared           bool
	}
	metadata struct {
		ARN, DataType, LastModifiedUser, Name, Tier, Type string
		AllowedPattern, Description, KeyId                string `json:",omitempty"`
		LastModifiedDate                                  *seconds
		Version                                           int64
	}
	describeOutput struct {
		Parameters []metadata
		NextToken  string `json:",omitempty"`
	}
)

func (s *Server) describeParameters(c call, in *describeInput) (*describeOutput, error) {
	if !s.allow("get", s.settings.ReadsPerSecond, c.now) {
		return nil, throttled()
	}
	limit, ok := within(in.MaxResults, 50, 50)
	if !ok {
		return nil, invalid("1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member must have value between 1 and 50")
	}
	if len(in.Filters) > 0 && len(in.ParameterFilters) > 0 {
		return nil, invalid("You can use either Filters or ParameterFilters in a single request.")
	}
	filters := in.ParameterFilters
	for _, f := range in.Filters {
		if f.Key == "Name" {
			f.Option = "BeginsWith"
		}
		filters = append(filters, f)
	}
	all, err := s.matching(filters)
	if err != nil {
		return nil, err
	}
	some, next, ok := page(all, "describe", in.NextToken, limit)
	if !ok {
		return nil, refuse("InvalidNextToken", "The specified token isn't valid.")
	}
	return &describeOutput{append([]metadata{}, some...), next}, nil
}

func (s *Server) matching(filters []stringFilter) ([]metadata, error) {
	for _, f := range filters {
		if err := f.check(); err != nil {
			return nil, err
		}
	}
	var all []metadata
	for _, name := range s.names() {
		p := s.parameters[name]
		if slices.ContainsFunc(filters, func(f stringFilter) bool { return !f.matches(p) }) {
			continue
		}
		v := p.newest()
		all = append(all, metadata{
			ARN: s.parameterARN(name), DataType: v.dataType, LastModifiedUser: v.by, Name: name, Tier: v.tier, Type: v.kind,
			AllowedPattern: v.pattern, Description: v.description, KeyId: v.keyID, LastModifiedDate: at(v.modified), Version: v.number,
		})
	}
	return all, nil
}

// check refuses what DescribeParameters would not take as a filter.
func (f stringFilter) check() error {
	options := map[string][]string{
		"Name": {"", "Equals", "BeginsWith", "Contains"}, "Path": {"", "OneLevel", "Recursive"},
		"Type": {"", "Equals", "BeginsWith"}, "KeyId": {"", "Equals", "BeginsWith"},
		"Tier": {"", "Equals"}, "DataType": {"", "Equals"},
	}
	allowed, ok := options[f.Key]
	if strings.HasPrefix(f.Key, "tag:") && len(f.Key) > 4 {
		allowed, ok = []string{"", "Equals"}, true
	}
	switch {
	case !ok:
		return refuse("InvalidFilterKey", "")
	case !slices.Contains(allowed, f.Option):
		return refuse("InvalidFilterOption", "The following filter option is not valid: "+f.Option+".")
	case len(f.Values) == 0 && !strings.HasPrefix(f.Key, "tag:"):
		return refuse("InvalidFilterValue", "The following filter values are missing : null for filter key "+f.Key)
	case len(f.Values) > 50:
		return invalid("1 validation error detected: Value at 'parameterFilters' failed to satisfy constraint: Member must have length less than or equal to 50")
	default:
		return nil
	}
}

// matches tells whether any of the filter's values fits the parameter.
func (f stringFilter) matches(p *parameter) bool {
	v := p.newest()
	if tagKey, isTag := strings.CutPrefix(f.Key, "tag:"); isTag {
		value, ok := p.tags[tagKey]
		return ok && (len(f.Values) == 0 || slices.Contains(f.Values, value))
	}
	if f.Key == "Path" {
		return slices.ContainsFunc(f.Values, func(path string) bool { return under(p.name, path, f.Option == "Recursive") })
	}
	is := map[string]string{"Name": p.name, "Type": v.kind, "KeyId": v.keyID, "Tier": v.tier, "DataType": v.dataType}[f.Key]
	return slices.ContainsFunc(f.Values, func(want string) bool {
		switch f.Option {
		case "BeginsWith":
			return strings.HasPrefix(is, want)
		case "Contains":
			return strings.Contains(is, want)
		default:
			return is == want
		}
	})
}
