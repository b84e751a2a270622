package strict

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type shape struct {
	Name  Text            `yaml:"name"`
	Extra Tree            `yaml:"extra"`
	Inner map[string]part `yaml:"inner"`
	Parts []part          `yaml:"parts"`
}

type part struct {
	At   Position
	Bare Text `yaml:",scalar"`
	base `yaml:",inline"`
}

type base struct {
	Size Text `yaml:"size"`
}

func TestEverythingIsReadWithItsPlace(t *testing.T) {
	var got shape
	mistakes, readable := Decode([]byte("name: |\n  two\n  lines\nextra: {n: 1.5, list: [a, true]}\ninner:\n  x: {size: 1.10}\nparts: [plain, {size: 0x10}]\n"), &got)
	if len(mistakes) > 0 || !readable {
		t.Fatal(mistakes, readable)
	}
	want := shape{
		Name:  Text{"two\nlines\n", Position{1, 7}},
		Extra: Tree{map[string]any{"n": 1.5, "list": []any{"a", true}}, Position{4, 8}},
		Inner: map[string]part{"x": {At: Position{6, 3}, base: base{Text{"1.10", Position{6, 13}}}}},
		Parts: []part{
			{At: Position{7, 9}, Bare: Text{"plain", Position{7, 9}}},
			{At: Position{7, 16}, base: base{Text{"0x10", Position{7, 23}}}},
		},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(part{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAValueNeverStandsInAMistake(t *testing.T) {
	for _, src := range []string{
		"name: [hush]", "extra: hush", "inner: hush", "parts: hush", "name: &hush hush", "name: *hush", "name: !hush hush",
		"name: hush: hush", "nam: hush", "inner: {x: [hush]}", "parts: [[hush]]", "hush", "- hush", "name: 'hush", "extra: {a: *hush}", "extra: {<<: hush}", "extra: {a: {b: hush, b: hush}}",
	} {
		mistakes, _ := Decode([]byte(src), new(shape))
		if len(mistakes) == 0 {
			t.Errorf("%s: no mistake", src)
		}
		for _, m := range mistakes {
			if strings.Contains(m.Text, "hush") {
				t.Errorf("%s: %s", src, m.Text)
			}
		}
	}
}

func FuzzAnyFileIsReadOrRefused(f *testing.F) {
	f.Add("name: a\nextra: {n: [1, {b: c}]}\ninner:\n  x: {size: 1}\nparts:\n  - a\n  - size: 2\n")
	f.Add("a: &a [*a]\n<<: *a\n? x\n: y\n--- !t\n")
	f.Fuzz(func(t *testing.T, src string) {
		mistakes, readable := Decode([]byte(src), new(shape))
		if !readable && len(mistakes) == 0 {
			t.Error("neither read nor refused")
		}
	})
}
