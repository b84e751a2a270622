package aws

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Systems Manager's limits.
const (
	maxVersions      = 100
	maxLabels        = 10
	maxStandardValue = 4096
	maxAdvancedValue = 8192
	maxLevels        = 15
	maxTags          = 50
)

// defaultKey is the account's own key for parameters.
const defaultKey = "alias/aws/ssm"

// parameter is a name with its versions, oldest first.
type parameter struct {
	name     string
	tags     map[string]string
	versions []*version
}

// version is one value of a parameter; only its labels ever change.
type version struct {
	number      int64
	kind        string // String, StringList, SecureString
	value       string
	cipher      string // what is shown without decryption
	keyID       string // as it was given
	description string
	pattern     string
	tier        string
	dataType    string
	modified    time.Time
	by          string // ARN
	labels      []string
}

func (p *parameter) newest() *version { return p.versions[len(p.versions)-1] }

// find returns the version that a selector (":3", ":label" or "") means.
func (p *parameter) find(selector string) *version {
	if selector == "" {
		return p.newest()
	}
	number, err := strconv.ParseInt(selector[1:], 10, 64)
	for _, v := range p.versions {
		if err == nil && v.number == number || slices.Contains(v.labels, selector[1:]) {
			return v
		}
	}
	return nil
}

func (v *version) shown(decrypt bool) string {
	if v.kind == "SecureString" && !decrypt {
		return v.cipher
	}
	return v.value
}

// newCipher is as long and as meaningless as what KMS makes of a short value.
func newCipher() string {
	b := make([]byte, 120)
	_, _ = rand.Read(b) // never fails, by its documentation
	return "AQICAH" + base64.StdEncoding.EncodeToString(b)
}

// parameterARN leaves out the slash that a path begins with, as AWS does.
func (s *Server) parameterARN(name string) string {
	return "arn:aws:ssm:" + s.region + ":" + s.account + ":parameter/" + strings.TrimPrefix(name, "/")
}

// lookUp finds the parameter that a name, ARN or selector means. The caller
// holds the lock.
func (s *Server) lookUp(reference string) (*parameter, *version, string, error) {
	name, selector := reference, ""
	if strings.HasPrefix(reference, "arn:") {
		parts := strings.SplitN(reference, ":", 7) // arn:aws:ssm:region:account:parameter/name[:selector]
		name = ""
		if len(parts) >= 6 && parts[2] == "ssm" {
			name = s.nameOfARN(strings.Join(parts[:6], ":"))
		}
		if len(parts) == 7 {
			selector = ":" + parts[6]
		}
	} else if i := strings.IndexByte(reference, ':'); i >= 0 {
		name, selector = reference[:i], reference[i:]
	}
	p, ok := s.parameters[name]
	if !ok {
		return nil, nil, "", refuse("ParameterNotFound", "")
	}
	v := p.find(selector)
	if v != nil {
		return p, v, selector, nil
	}
	what := "version"
	if _, err := strconv.Atoi(selector[1:]); err != nil {
		what = "label"
	}
	return nil, nil, "", refuse("ParameterVersionNotFound",
		fmt.Sprintf("Systems Manager could not find %s %s of %s. Verify the version and try again.", what, selector[1:], name))
}

func (s *Server) nameOfARN(arn string) string {
	for name := range s.parameters {
		if s.parameterARN(name) == arn {
			return name
		}
	}
	return ""
}

// checkName refuses names that Systems Manager would.
func checkName(name string) error {
	if name == "" || len(name) > 2048 {
		return invalid("1 validation error detected: Value at 'name' failed to satisfy constraint: Member must have length between 1 and 2048")
	}
	if !regexp.MustCompile(`^[a-zA-Z0-9_.\-/]+$`).MatchString(name) {
		return invalid("Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_")
	}
	levels := strings.Split(strings.TrimPrefix(name, "/"), "/")
	if len(levels) > 1 && !strings.HasPrefix(name, "/") {
		return invalid("Parameter name must be a fully qualified name.")
	}
	if slices.Contains(levels, "") {
		return invalid("Parameter name must not have an empty sub-path.")
	}
	first := strings.ToLower(levels[0])
	if strings.HasPrefix(first, "ssm") {
		return invalid("Parameter name: can't be prefixed with \"ssm\" (case-insensitive).")
	}
	if strings.HasPrefix(first, "aws") {
		return refuse("AccessDeniedException", "No access to reserved parameter name: "+name+".")
	}
	if len(levels) > maxLevels {
		return refuse("HierarchyLevelLimitExceededException", fmt.Sprintf("A parameter hierarchy can have a maximum of %d levels.", maxLevels))
	}
	return nil
}

// Parameter is a parameter to seed.
type Parameter struct {
	Name        string            `json:"name"`
	Type        string            `json:"type,omitempty"` // default SecureString
	Value       string            `json:"value"`
	KeyID       string            `json:"key_id,omitempty"` // default alias/aws/ssm, of a SecureString
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// SeedParameter writes a version of a parameter as the account's root would,
// without CloudTrail noticing. It fails where Systems Manager would refuse.
func (s *Server) SeedParameter(p Parameter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Type == "" {
		p.Type = "SecureString"
	}
	_, exists := s.parameters[p.Name]
	c := call{who: Identity{Account: s.account}, now: s.cond.Clock.Now()}
	in := &putParameterInput{Name: p.Name, Type: p.Type, Value: &p.Value, KeyId: p.KeyID, Overwrite: exists}
	if p.Description != "" {
		in.Description = &p.Description
	}
	if _, err := s.write(c, in); err != nil {
		return fmt.Errorf("seed parameter %s: %w", p.Name, err)
	}
	if tags := s.parameters[p.Name].tags; p.Tags != nil {
		maps.Copy(tags, p.Tags)
	}
	return nil
}

// SeedKey makes KMS know a key, by id, ARN or alias, so that parameters can be
// encrypted with it.
func (s *Server) SeedKey(keyID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kmsKeys[keyID] = true
}
