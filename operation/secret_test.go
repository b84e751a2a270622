package operation_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/twokey/twokey/operation"
)

// text is what must not be seen.
const text = "hunter2~but-longer-and-random"

// holder is how secrets are carried about.
type holder struct {
	Name   string
	Secret operation.Secret
	Near   *operation.Secret
	List   []operation.Secret
	ByName map[string]operation.Secret
	hidden operation.Secret // fmt calls no method for it
}

func newHolder() holder {
	s := operation.NewSecret(text)
	return holder{Name: "sharepoint/prod", Secret: s, Near: &s, List: []operation.Secret{s}, ByName: map[string]operation.Secret{"new": s}, hidden: s}
}

func TestNoVerbPrintsASecret(t *testing.T) {
	h := newHolder()
	for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "10.3s", "T", "p", "c", "U", "t", "e", "b", "o"} {
		for _, v := range []any{h.Secret, h.Near, h, &h, h.List, h.ByName, []any{h.Secret}, fmt.Errorf("could not: %v", h.Secret)} {
			checkHidden(t, "%"+verb, fmt.Sprintf("%"+verb, v))
		}
	}
	checkHidden(t, "Sprint", fmt.Sprint(h.Secret, h))
	if got := fmt.Sprint(h.Secret); got != "(redacted)" {
		t.Errorf("a secret prints as %q", got)
	}
}

// checkHidden looks for any eight bytes of the text, plain or in hexadecimal.
func checkHidden(t *testing.T, how, got string) {
	t.Helper()
	for i := 0; i+8 <= len(text); i++ {
		piece := text[i : i+8]
		if strings.Contains(got, piece) || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", piece)) {
			t.Errorf("%s shows %q", how, got)
			return
		}
	}
}

func TestNoEncodingHoldsASecret(t *testing.T) {
	h := newHolder()
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	checkHidden(t, "JSON", string(b))
	keyed, err := json.Marshal(map[operation.Secret]int{h.Secret: 1})
	if err != nil {
		t.Fatal(err)
	}
	checkHidden(t, "a JSON key", string(keyed))
	x, err := xml.Marshal(h.Secret)
	if err != nil {
		t.Fatal(err)
	}
	checkHidden(t, "XML", string(x))

	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(h.Secret); !errors.Is(err, operation.ErrSecretMarshalled) {
		t.Errorf("gob took a secret: %v", err)
	}
	checkHidden(t, "gob", buf.String())
	if v, err := h.Secret.Value(); !errors.Is(err, operation.ErrSecretMarshalled) || v != nil {
		t.Errorf("SQL took a secret: %v, %v", v, err)
	}
}

func TestNoLogShowsASecret(t *testing.T) {
	h := newHolder()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("made a key", "secret", h.Secret, "holder", h, "list", h.List, slog.Group("g", "near", h.Near), "error", fmt.Errorf("no: %s", h.Secret))
		checkHidden(t, name, b.String())
	}
}

func TestASecretIsComparedWithoutBeingShown(t *testing.T) {
	s := operation.NewSecret(text)
	for _, c := range []struct {
		what string
		got  bool
		want bool
	}{
		{"equal to the same", s.Equal(operation.NewSecret(text)), true},
		{"equal to another", s.Equal(operation.NewSecret(text + "x")), false},
		{"begins with its hint", s.HasHint(text[:3]), true},
		{"begins with another hint", s.HasHint("hun5"), false},
		{"begins with nothing", s.HasHint(""), false},
		{"is no longer than its hint", operation.NewSecret("hun").HasHint("hun"), false},
		{"empty", operation.Secret{}.IsZero(), true},
		{"not empty", s.IsZero(), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %t", c.what, c.got)
		}
	}
	if s.Reveal() != text {
		t.Error("the one way to the text does not lead there")
	}
}

// What is stored and told has no place for a secret, however deep.
func TestNothingStoredCanHoldASecret(t *testing.T) {
	for _, v := range []any{operation.Operation{}, operation.Entry{}, operation.Notice{}, operation.Transition{}, operation.Plan{}} {
		if path := secretIn(reflect.TypeOf(v), map[reflect.Type]bool{}); path != "" {
			t.Errorf("%T can hold a secret: %s", v, path)
		}
	}
	if secretIn(reflect.TypeFor[holder](), map[reflect.Type]bool{}) == "" {
		t.Error("the search finds no secret where there is one")
	}
}

// secretIn is the path to a field that can hold a secret; empty when none can.
// An interface could hold anything, so it counts.
func secretIn(t reflect.Type, seen map[reflect.Type]bool) string {
	if t == reflect.TypeFor[operation.Secret]() || t.Kind() == reflect.Interface {
		return t.String()
	}
	if seen[t] {
		return ""
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return secretIn(t.Elem(), seen)
	case reflect.Map:
		return secretIn(t.Key(), seen) + secretIn(t.Elem(), seen)
	case reflect.Struct:
		if t.PkgPath() == "time" {
			return "" // whose time zone refers to more than fits here
		}
		for f := range t.Fields() {
			if path := secretIn(f.Type, seen); path != "" {
				return f.Name + "." + path
			}
		}
	default: // numbers, texts, functions hold none by their type
	}
	return ""
}
