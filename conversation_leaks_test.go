package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/evidence"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/store"
)

// wire is every byte that was sent to a vendor, but for what has to be there: the
// text of a secret where Entra and SSM are given it, and tokens in the header that is
// made for them.
type wire struct {
	mu     sync.Mutex
	sent   bytes.Buffer
	tokens map[string]bool // the last part of each access token
}

// note is a tap of the sandbox's conditions.
func (w *wire) note(operation string, r *http.Request, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.sent, "\n%s %s %s\n", operation, r.Method, r.URL)
	for name, values := range r.Header {
		if name == "Authorization" {
			if token, ok := strings.CutPrefix(values[0], "Bearer "); ok && strings.Count(token, ".") == 2 {
				w.tokens[token[strings.LastIndex(token, ".")+1:]] = true
			}
			continue
		}
		fmt.Fprintf(&w.sent, "%s: %s\n", name, values)
	}
	if operation != "ssm.PutParameter" && operation != "entra.token" {
		w.sent.Write(body)
	}
}

func (w *wire) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.sent.Bytes())
}

func (w *wire) bearers() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.tokens)
}

func request(address string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://vendor.example"+address, nil)
	if err != nil {
		panic(err) // the tests' own addresses are good
	}
	return r
}

// hashes are what a secret may have been turned into by somebody who thought that
// this hides it. A client secret is guessed from none of them, but a code may be.
func hashes(secret string) map[string][]byte {
	a, b, c := sha256.Sum256([]byte(secret)), sha1.Sum([]byte(secret)), md5.Sum([]byte(secret))
	return map[string][]byte{"SHA-256": a[:], "SHA-1": b[:], "MD5": c[:]}
}

// ownSecrets are the files of the bot's own secrets.
func (c *conversation) ownSecrets() []string {
	files, _ := filepath.Glob(filepath.Join(c.dir, "totp.*")) // the pattern is a good one
	return append(files, filepath.Join(c.dir, "twokey.record.key"))
}

// lastPart is what of a file must be nowhere: of PRIVATE+KEY+name+hash+key, the key.
func lastPart(text string) string {
	parts := strings.SplitN(strings.TrimSpace(text), "+", 5) // base64 may hold a +
	return parts[len(parts)-1]
}

// export is the record as "twokey audit export" writes it.
func (c *conversation) export() ([]byte, error) {
	var out bytes.Buffer
	if len(c.bot.database()) == 0 {
		return nil, nil // it never started
	}
	err := dispatch(context.Background(), []string{"audit", "export", "--database", c.address()}, streams{out: &out, err: io.Discard, getenv: func(string) string { return "" }})
	return out.Bytes(), err
}

// evidence is what an auditor gets of it, all files one after the other.
func (c *conversation) evidence() ([]byte, error) {
	folder := filepath.Join(c.dir, "evidence")
	if len(c.bot.database()) > 0 { // it has started
		if err := c.writeEvidence(folder); err != nil {
			return nil, fmt.Errorf("write the evidence: %w", err)
		}
	}
	var all bytes.Buffer
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	return all.Bytes(), err
}

func (c *conversation) writeEvidence(folder string) error {
	cfg, err := LoadConfig(c.bot.config, os.Getenv)
	if err != nil {
		return err
	}
	key, err := cfg.Record.key()
	if err != nil {
		return err
	}
	ctx := context.Background()
	record, err := audit.Open(ctx, cfg.Database.Reveal())
	if err != nil {
		return err
	}
	defer func() { _ = record.Close() }() // read only
	reader, err := store.OpenToRead(ctx, cfg.Database.Reveal())
	if err != nil {
		return err
	}
	defer reader.Close()
	now := c.box.Clock.Now()
	return evidence.Write(ctx, folder, evidence.Material{
		From: now.AddDate(-2, 0, 0), To: now.AddDate(0, 0, 1), At: now, Targets: cfg.Targets, Record: record, Operations: reader, Verifier: key.VerifierLine() + "\n", Signer: key,
	})
}

// operatorPages are what the bot shows to those who run it.
func (c *conversation) operatorPages() ([]byte, error) {
	lines := strings.Split(c.bot.log.String(), "\n")
	for _, line := range slices.Backward(lines) {
		var start struct{ Msg, Listen string }
		if json.Unmarshal([]byte(line), &start) != nil || start.Msg != "starting" {
			continue
		}
		var all bytes.Buffer
		for _, page := range []string{"/metrics", "/readyz", "/healthz"} {
			res, err := http.Get("http://" + start.Listen + page)
			if err != nil {
				return nil, err
			}
			_, err = io.Copy(&all, res.Body)
			if _ = res.Body.Close(); err != nil {
				return nil, err
			}
		}
		return all.Bytes(), nil
	}
	return nil, fmt.Errorf("the bot never said where it listens")
}

// leakVerbs have another's eyes look, too.
func leakVerbs() []verb {
	return []verb{
		{pattern: `gitleaks finds nothing at the end`, act: func(c *conversation, _ []string) error {
			program, err := exec.LookPath("gitleaks")
			if err != nil {
				c.t.Log("gitleaks is not installed, so it finds nothing: ", err) // TestGitleaksKnowsOurSecrets is skipped then
			}
			c.gitleaks = program
			return nil
		}},
	}
}

// gitleaksRules are all that gitleaks has. Ids of keys are no secrets; its rule for
// anything that is called a key takes them for some.
const gitleaksRules = `[extend]
useDefault = true
[[allowlists]]
targetRules = ["generic-api-key"]
regexes = ['^(key-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$']
`

// noShape has gitleaks look for whatever has the shape of a secret, also of one that
// nobody here thought of.
func noShape(program string, places map[string][]byte) error {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it's a temporary one
	config, report := filepath.Join(dir, "rules.toml"), filepath.Join(dir, "report.json")
	if err := os.WriteFile(config, []byte(gitleaksRules), 0o600); err != nil {
		return err
	}
	var wrong []error
	for _, place := range slices.Sorted(maps.Keys(places)) {
		// No --redact: what is found has to be seen to be mended, and these secrets are nobody's.
		cmd := exec.Command(program, "stdin", "--config", config, "--no-banner", "--log-level", "error", "--exit-code", "0", "--report-format", "json", "--report-path", report)
		cmd.Stdin = io.MultiReader(strings.NewReader("\n"), bytes.NewReader(bytes.Map(printable, places[place]))) // a database is also known by its first word
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("look at %s with gitleaks: %w\n%s", place, err, out)
		}
		text, err := os.ReadFile(report)
		if err != nil {
			return err
		}
		var found []struct{ RuleID, Match string }
		if err := json.Unmarshal(text, &found); err != nil {
			return fmt.Errorf("read what gitleaks found: %w", err)
		}
		for _, f := range found {
			wrong = append(wrong, fmt.Errorf("%s has what gitleaks calls %s: %q", place, f.RuleID, f.Match))
		}
	}
	return errors.Join(wrong...)
}

// printable ends a line at what no text holds.
func printable(r rune) rune {
	if unicode.IsPrint(r) && r != utf8.RuneError {
		return r
	}
	return '\n'
}

func TestGitleaksKnowsOurSecrets(t *testing.T) {
	program := need.Program(t, "gitleaks", "go install github.com/zricethezav/gitleaks/v8@latest")
	box, err := sandbox.Start(t.Context(), sandbox.Options{ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	c := &conversation{t: t, box: box}
	live, err := c.live("sharepoint/prod")
	if err != nil {
		t.Fatal(err)
	}
	for what, secret := range map[string]string{"Entra's": live.Value, "Slack's": strings.Join([]string{"xoxb", "248163264128", "512102420484", rand.Text()[:24]}, "-")} {
		text := `{"msg":"asked","with":"` + secret + `"}`
		for place, written := range map[string][]byte{"the log": []byte(text), "the database": sqliteFile(t, text)} {
			if err := noShape(program, map[string][]byte{place: written}); err == nil || !strings.Contains(err.Error(), place+" has what gitleaks calls") {
				t.Errorf("%s secret was not found in %s: %v", what, place, err)
			}
		}
	}
	known, _ := box.Team.Secret("sharepoint/prod") // its client id has the form of a key's
	if err := noShape(program, map[string][]byte{"the log": fmt.Appendf(nil, "%q:%q", "old_key", known.ClientID)}); err != nil {
		t.Error(err)
	}
}

// sqliteFile is a database that holds the text in one of many rows.
func sqliteFile(t *testing.T, text string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "any.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	const many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE kept (what TEXT, sum BLOB); "+many+"INSERT INTO kept SELECT i, randomblob(20) FROM n"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO kept VALUES ($1, randomblob(20))", text); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return written
}
