package terraform

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/twokey/twokey/runbook"
)

// change is what is read of a resource_change in "show -json", which has every
// attribute in plain text; see https://developer.hashicorp.com/terraform/internals/json-format.
type change struct {
	Address string `json:"address"`
	Module  string `json:"module_address"`
	Mode    string `json:"mode"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Change  struct {
		Actions []string  `json:"actions"`
		Before  *identity `json:"before"`
		After   *identity `json:"after"`
	} `json:"change"`
}

// identity is which parameter or password a resource is.
type identity struct {
	Name      text `json:"name"`         // of aws_ssm_parameter
	WriteOnly bool `json:"has_value_wo"` // of aws_ssm_parameter, by the AWS provider from 5.93 on
	KeyID     text `json:"key_id"`       // of azuread_application_password
}

// text is a string, or empty where an attribute of that name is something else.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = ""
	}
	*t = text(s)
	return nil
}

// resources turns changes into what the runbooks ask about.
func resources(changes []change, ignored map[string]bool) []runbook.Resource {
	var out []runbook.Resource
	for _, c := range changes {
		if c.Mode != "managed" {
			continue
		}
		r := runbook.Resource{Address: c.Address, Type: c.Type, Actions: c.Change.Actions}
		var before, after identity
		if c.Change.Before != nil {
			before = *c.Change.Before
		}
		if c.Change.After != nil {
			after = *c.Change.After
		}
		switch c.Type {
		case "aws_ssm_parameter":
			r.Parameter = string(after.Name)
			if r.Parameter == "" {
				r.Parameter = string(before.Name)
			}
			r.LeavesValue = after.WriteOnly || ignored[place(c.Module, c.Name)]
		case "azuread_application_password", "azuread_service_principal_password":
			r.Key = runbook.KeyID(before.KeyID)
		}
		out = append(out, r)
	}
	return out
}

// place is where a resource stands in the code, whatever count and for_each make
// of it: module.a["x"].module.b and name become "a.b/name".
func place(module, name string) string {
	module = regexp.MustCompile(`\[("(\\.|[^"\\])*"|[0-9]+)\]`).ReplaceAllString(module, "")
	parts := strings.Split(module, ".")
	var keys []string
	for i := 1; i < len(parts); i += 2 {
		keys = append(keys, parts[i])
	}
	return strings.Join(keys, ".") + "/" + name
}

// Bounds of what a saved plan may hold of code.
const (
	maxSources = 10_000
	maxSource  = 1 << 20 // bytes of one file
)

// ignoredValues finds the SSM parameters whose lifecycle ignores changes of their
// value. "show -json" leaves lifecycle out, but a saved plan is a zip file with the
// code that it was made of: tfconfig/m-<module>/<file>. Code in JSON (.tf.json) is
// not looked at, so what it ignores counts as not ignored.
func ignoredValues(planFile string) (map[string]bool, error) {
	z, err := zip.OpenReader(planFile)
	if err != nil {
		return nil, fmt.Errorf("open it: %w", err)
	}
	defer func() { _ = z.Close() }() // only read from
	files := slices.DeleteFunc(z.File, func(f *zip.File) bool {
		return !strings.HasPrefix(f.Name, "tfconfig/m-") || !strings.HasSuffix(f.Name, ".tf")
	})
	if len(files) > maxSources {
		return nil, fmt.Errorf("it has more than %d files of code", maxSources)
	}
	// Overrides come last and win, as in Terraform.
	slices.SortFunc(files, func(a, b *zip.File) int {
		if overrides(a.Name) != overrides(b.Name) {
			if overrides(a.Name) {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
	ignored := map[string]bool{}
	for _, f := range files {
		source, err := readSource(f)
		if err != nil {
			return nil, err
		}
		dir := strings.TrimPrefix(path.Dir(f.Name), "tfconfig/m-")
		for name, ignores := range lifecycles(source) {
			ignored[dir+"/"+name] = ignores
		}
	}
	return ignored, nil
}

func overrides(name string) bool {
	base := path.Base(name)
	return base == "override.tf" || strings.HasSuffix(base, "_override.tf")
}

func readSource(f *zip.File) (string, error) {
	r, err := f.Open()
	if err != nil {
		return "", fmt.Errorf("open %s in it: %w", f.Name, err)
	}
	defer func() { _ = r.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(r, maxSource))
	if err != nil {
		return "", fmt.Errorf("read %s in it: %w", f.Name, err)
	}
	return string(b), nil
}
