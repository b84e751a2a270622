package terraform

import (
	"strings"
	"testing"
)

func TestIgnoredValuesAreFoundOnlyWhereTheyAre(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         bool
	}{
		{"a list", `ignore_changes = [value]`, true},
		{"a longer list", "ignore_changes = [\n tags,\n value,\n]", true},
		{"as people wrote it once", `ignore_changes = ["value"]`, true},
		{"all", `ignore_changes = all`, true},
		{"a list with all", `ignore_changes = [all]`, false},
		{"an element called value", `ignore_changes = [tags["value"], tags.value, value.tags]`, false},
		{"an empty list", `ignore_changes = []`, false},
		{"in a comment", "# ignore_changes = [value]\n// ignore_changes = all", false},
		{"in a long comment", "/* \n ignore_changes = all */", false},
		{"another attribute", `prevent_destroy = true`, false},
		{"behind another attribute", "create_before_destroy = true\nignore_changes = [value]", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := "locals { a = \"${{ x = \"}\" }[\"x\"]} $${ \\\" {\" }\nresource \"aws_ssm_parameter\" \"this\" {\n  tags = { a = \"{\" }\n  lifecycle {\n" + c.source + "\n  }\n}\n"
			if got := lifecycles(source)["this"]; got != c.want {
				t.Errorf("ignored: %t\n%s", got, source)
			}
			if lifecycles(strings.ReplaceAll(source, "aws_ssm_parameter", "aws_s3_object"))["this"] {
				t.Error("another type's value counts")
			}
		})
	}
}

func TestWhatIsNotUnderstoodIsNotIgnored(t *testing.T) {
	good := "resource \"aws_ssm_parameter\" \"this\" {\n lifecycle { ignore_changes = [value] }\n}\n"
	if !lifecycles(good)["this"] {
		t.Fatal("the good one is not understood")
	}
	for _, bad := range []string{good + "}", good + "a \"", good + "x = <<EOT\n", good + "x {", "}\n" + good} {
		if lifecycles(bad)["this"] {
			t.Errorf("ignored in %q", bad)
		}
	}
}

func FuzzCodeIsReadToItsEnd(f *testing.F) {
	f.Add("resource \"aws_ssm_parameter\" \"this\" {\n lifecycle { ignore_changes = [value] }\n}\n")
	f.Add("x = <<-EOT\n ${\"}\"}\nEOT\n")
	f.Add("x = <<")
	f.Add("x = << -\ny = 1\n")
	f.Add("a \"$${\\\"%{if x}${[{\"a\"=1}]}\" {")
	f.Fuzz(func(_ *testing.T, source string) { lifecycles(source) })
}

func TestAPlaceIsTheSameForEveryInstance(t *testing.T) {
	for address, want := range map[string]string{
		"": "/x", "module.a": "a/x", `module.a["b.c[0]"].module.d[0]`: "a.d/x", `module.a["\"]"]`: "a/x",
	} {
		if got := place(address, "x"); got != want {
			t.Errorf("%s is at %s, not %s", address, got, want)
		}
	}
}
