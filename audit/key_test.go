package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

func TestAKeyIsWrittenForItsOwnerAloneAndReplacesNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.key")
	verifier, err := audit.WriteKey(path, keyName)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	key, err := audit.ReadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if key.Name() != keyName || key.VerifierLine() != verifier {
		t.Errorf("read %s, wrote %s", key.VerifierLine(), verifier)
	}
	if _, err := audit.ReadVerifiers(path + ".pub"); err != nil {
		t.Error(err)
	}
	var refusal *operation.Refusal
	if _, err := audit.WriteKey(path, keyName); !errors.As(err, &refusal) || refusal.Code != "key_exists" {
		t.Errorf("wrote over a key: %v", err)
	}
}

func TestAKeyThatOthersCanReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.key")
	if _, err := audit.WriteKey(path, keyName); err != nil {
		t.Fatal(err)
	}
	for mode, fine := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o440: true, 0o640: true, 0o604: false, 0o660: false, 0o644: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.ReadKey(path); (err == nil) != fine {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestAKeyErrorNeverHoldsTheKey(t *testing.T) {
	private, verifier, err := audit.GenerateKey(keyName)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", private.Reveal()[:60], private.Reveal() + "A", verifier} {
		_, err := audit.ParseKey(operation.NewSecret(bad))
		if err == nil {
			t.Fatalf("%d characters are a key", len(bad))
		}
		if len(bad) > 1 && strings.Contains(err.Error(), bad[len(bad)-20:]) {
			t.Errorf("the error holds the key")
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\n"} {
		if _, _, err := audit.GenerateKey(name); err == nil {
			t.Errorf("%q is a key's name", name)
		}
	}
}

func TestVerifierKeysAreReadWithTheirMistakesNamed(t *testing.T) {
	key := newKey(t)
	for text, want := range map[string]string{
		"":                                "no verifier key",
		"# only a comment\n":              "no verifier key",
		key.VerifierLine() + "\nnonsense": "Line 2",
	} {
		if _, err := audit.ParseVerifiers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := audit.ParseVerifiers(key.VerifierLine() + "\n" + key.VerifierLine()); err != nil {
		t.Errorf("the same line twice: %v", err)
	}
}

func TestCheckpointsAreFoundInTextCopiedFromTheChannel(t *testing.T) {
	record, log, notes := signedRecord(t)
	copiedText := "twokey  APP  5:06 AM\nCheckpoint of the record:\n```" + strings.TrimSuffix(notes[0], "\n") + "```\n\n" +
		"bob  5:07 AM\nthanks\r\n" + strings.ReplaceAll(notes[1], "\n", "\r\n") +
		"    " + strings.ReplaceAll(strings.TrimSpace(notes[2]), "\n", "\n    ") +
		"\n go.sum database tree\n12\n"
	found := audit.FindCheckpoints(copiedText)
	if diff := cmp.Diff(notes, found); diff != "" {
		t.Errorf("found otherwise than posted:\n%s", diff)
	}
	if report := verify(t, record, log.Known(), found...); !report.Whole() || report.Posted != 3 {
		t.Errorf("%+v", report)
	}
}

func FuzzFindCheckpoints(f *testing.F) {
	_, _, notes := signedRecord(f)
	f.Add(notes[0])
	f.Add("go.sum database tree\n\n\n\n— ")
	f.Fuzz(func(t *testing.T, text string) {
		for _, found := range audit.FindCheckpoints(text) {
			if again := audit.FindCheckpoints(found); len(again) != 1 || again[0] != found {
				t.Errorf("found %q, and in it %q", found, again)
			}
		}
	})
}

func TestTheKeySignsNoCheckpointThatIsNotTheRecords(t *testing.T) {
	private, _, err := audit.GenerateKey("test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := key.Sign("go.sum database tree\n1\n" + tlog.RecordHash([]byte("x")).String() + "\n"); err == nil {
		t.Errorf("signed %q", signed)
	}
	signed, err := key.Sign("something else\n")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open([]byte(signed), key.Verifiers()); err != nil || n.Text != "something else\n" {
		t.Errorf("%v, %v", n, err)
	}
}
