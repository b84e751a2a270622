package main

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/slack"
)

// judge is the end of every script, whatever it was about.
func (c *conversation) judge() {
	c.t.Helper()
	var wrong []error
	note := func(what string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, err))
		}
	}
	note("everything is told", c.until(c.allTold))
	note("the record verifies with what was posted", c.recordVerifies())
	pages, err := c.operatorPages()
	note("the operators' pages are there", err)
	c.bot.stop()
	select {
	case err := <-c.bot.ended:
		note("the bot stops without an error", err)
	default:
	}
	for _, look := range c.never {
		note("what must never be", look())
	}
	if gaps := c.box.Probe.Look().Gaps(); len(gaps) > 0 && !c.broken {
		note("every service always had a working secret", fmt.Errorf("%+v", gaps))
	}
	note("every fault has hit", c.faultsLeft())
	note("nothing is told twice", c.toldOnce())
	note("no change is told anything twice", c.notedOnce())
	note("nobody is told what the script does not say", c.nothingUnread())
	note("Slack took every message", c.nothingRefused())
	note("nothing is left behind", c.nothingLeft())
	note("no secret is anywhere", c.noLeak(pages))
	if len(wrong) > 0 {
		c.t.Errorf("%s, at the end:\n%v\n%s", c.path, errors.Join(wrong...), c.picture())
	}
}

func (c *conversation) address() string { return "sqlite:" + filepath.Join(c.dir, "twokey.db") }

// allTold looks into the outbox.
func (c *conversation) allTold() error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.dir, "twokey.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // read only
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM notices WHERE sent_at = 0 AND (kind <> 'page' OR not_before <= ?)", c.box.Clock.Now().UnixMicro()).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("%d notices are untold", n)
	}
	return nil
}

// recordVerifies checks the record against every checkpoint that was posted.
func (c *conversation) recordVerifies() error {
	ctx := context.Background()
	src, err := audit.Open(ctx, c.address())
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	known, err := audit.ReadVerifiers(filepath.Join(c.dir, "twokey.record.key.pub"))
	if err != nil {
		return err
	}
	var posted []string
	for _, m := range c.messages() {
		posted = append(posted, audit.FindCheckpoints(m.Text)...)
	}
	report, err := audit.Verify(ctx, src, posted, known)
	if len(posted) == 0 { // nothing has ended yet, so nothing was signed
		report.Findings = slices.DeleteFunc(report.Findings, func(f audit.Finding) bool { return f.Fault == audit.NotSigned })
	}
	if err == nil && !report.Whole() {
		err = fmt.Errorf("%+v", report.Findings)
	}
	return err
}

// toldOnce: no two messages bear the same notice's key.
func (c *conversation) toldOnce() error {
	keys := map[string]string{}
	for _, m := range c.messages() {
		payload, _ := m.Metadata["event_payload"].(map[string]any)
		key, _ := payload["key"].(string)
		if slices.Contains(c.thief, m.TS) {
			continue
		}
		if payload["kind"] == "card" {
			key = fmt.Sprint("card of ", payload["operation"])
		}
		if key == "" {
			continue
		}
		if before, twice := keys[key]; twice {
			return fmt.Errorf("%s stands there twice: %q and %q", key, before, m.Text)
		}
		keys[key] = m.Text
	}
	return nil
}

// nothingUnread: a script says everything that anybody reads in private, but for
// the confirmation that their own request was taken.
func (c *conversation) nothingUnread() error {
	var wrong []error
	for _, p := range c.box.Team.People {
		read := map[string]bool{}
		for _, m := range c.private(p.Name) {
			// Direct messages can't be read back, so a death may have one told again.
			again := c.bot.own && read[m.Text]
			read[m.Text] = read[m.Text] || c.told[m.TS]
			if !c.told[m.TS] && !again && !strings.Contains(m.Text, "I have asked for a second person") {
				wrong = append(wrong, fmt.Errorf("%s reads %q", p.Name, readable(c.box, m.Text)))
			}
		}
	}
	return errors.Join(wrong...)
}

// nothingRefused looks for messages that broke Slack's rules, and for panics; a crash's
// stacks may well pass through the runtime's panic.go.
func (c *conversation) nothingRefused() error {
	for _, word := range []string{"invalid_blocks", "invalid_arguments", "invalid_form_data", "msg_too_long", "msg_blocks_too_long", "no_text", "metadata_", "panic:", `"panic":`, "stumble", "DATA RACE"} {
		for line := range strings.Lines(c.bot.log.String()) {
			if strings.Contains(line, word) {
				return fmt.Errorf("the log has %q: %s", word, line)
			}
		}
	}
	return nil
}

// nothingLeft judges every secret of the platform, unless the script does.
func (c *conversation) nothingLeft() error {
	if c.loose {
		return nil
	}
	var wrong []error
	for _, v := range c.box.CheckAll() {
		if !v.OK {
			wrong = append(wrong, fmt.Errorf("%s: %s", v.Secret, strings.Join(v.Problems, "; ")))
		}
	}
	return errors.Join(wrong...)
}

// noLeak looks for every secret that there ever was in all that the bot wrote.
func (c *conversation) noLeak(pages []byte) error {
	known := c.pieces()
	if len(known) == 0 {
		return errors.New("there are no secrets to look for")
	}
	state := c.slackState()
	state.Tokens = nil // the bot's own: Slack knows them, of course
	said, err := json.Marshal(state)
	if err != nil {
		return err
	}
	noted, err := json.Marshal(c.box.ServiceNow.State())
	if err != nil {
		return err
	}
	export, err := c.export()
	if err != nil {
		return err
	}
	drawn, err := c.evidence()
	if err != nil {
		return err
	}
	places := map[string][]byte{"Slack": said, "ServiceNow": noted, "the log": []byte(c.bot.log.String()), "a call": c.wire.bytes(), "the operators' pages": pages, "the record's export": export, "the traces": []byte(c.bot.spans.String()), "the evidence": drawn}
	for _, path := range c.bot.database() {
		if places[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	var wrong []error
	for place, text := range places {
		for i := 0; i+pieceSize <= len(text); i++ {
			if what, ok := known[[pieceSize]byte(text[i:i+pieceSize])]; ok {
				wrong = append(wrong, fmt.Errorf("%s has %s", place, what))
				break
			}
		}
	}
	if c.gitleaks != "" {
		wrong = append(wrong, noShape(c.gitleaks, places))
	}
	return errors.Join(wrong...)
}

// pieceSize is how much of a secret, in bytes, must not be anywhere.
const pieceSize = 12

// pieces are all parts of all secrets, in the forms that they could be written in,
// with what they are of.
func (c *conversation) pieces() map[[pieceSize]byte]string {
	secrets := map[string]string{c.box.Slack.BotToken(): "the bot token", c.box.Slack.AppToken(): "the app token", c.box.ServiceNow.Password: "the password of ServiceNow"}
	if state, ok := c.box.Entra.State().(entra.State); ok {
		for _, a := range state.Applications {
			passwords := a.Passwords
			if a.Principal != nil {
				passwords = append(passwords, a.Principal.Passwords...)
			}
			for _, p := range passwords {
				secrets[p.Secret] = "key " + p.KeyID + " of " + a.Name
			}
		}
	}
	for _, p := range c.box.AWS.Snapshot().Parameters {
		for _, v := range p.Versions {
			if strings.HasSuffix(p.Name, "secret") || strings.HasSuffix(p.Name, ".pending") {
				secrets[v.Value] = fmt.Sprintf("version %d of %s", v.Version, p.Name)
			}
		}
	}
	for token := range c.wire.bearers() {
		secrets[token] = "an access token"
	}
	for _, path := range c.ownSecrets() {
		if text, err := os.ReadFile(path); err == nil {
			secrets[lastPart(string(text))] = filepath.Base(path)
		}
	}
	for name, text := range c.names {
		if !strings.HasPrefix(name, "complaint") {
			secrets[text] = name
		}
	}
	out := map[[pieceSize]byte]string{}
	for secret, what := range secrets {
		if len(secret) < pieceSize {
			continue
		}
		for form, text := range forms(secret) {
			for i := 0; i+pieceSize <= len(text); i++ {
				out[[pieceSize]byte([]byte(text[i:i+pieceSize]))] = what + ", " + form
			}
		}
	}
	return out
}

// forms are the ways in which a secret may be written.
func forms(secret string) map[string]string {
	out := map[string]string{"plain": secret, "hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))), "URL": url.QueryEscape(secret)}
	if quoted, err := json.Marshal(secret); err == nil {
		out["JSON"] = strings.Trim(string(quoted), `"`)
	}
	for name, sum := range hashes(secret) {
		out[name], out[name+", HEX"], out[name+", base64"] = hex.EncodeToString(sum), strings.ToUpper(hex.EncodeToString(sum)), base64.StdEncoding.EncodeToString(sum)
	}
	for shift := range 3 { // inside something else, it begins at any of three places
		padded := strings.Repeat("x", shift) + secret
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString([]byte(padded))
			out[fmt.Sprint(name, shift)] = text[min(len(text), 4*((shift+2)/3)) : len(text)-2]
		}
	}
	return out
}

// threadIsAsIn compares the card and its whole thread with a golden file.
func (c *conversation) threadIsAsIn(a []string) error {
	if err := c.until(c.allTold); err != nil {
		return err
	}
	card, lines, err := c.thread()
	if err != nil {
		return err
	}
	return c.asIn(a[0], append([]slack.Message{card}, lines...))
}

// asIn compares the messages with a golden. Of the record's signed heads only the
// last counts: whether an earlier one was posted before it was overtaken depends on
// how quick the machine is.
func (c *conversation) asIn(golden string, messages []slack.Message) error {
	var out strings.Builder
	head := func(m slack.Message) bool { return strings.HasPrefix(m.Text, "Checkpoint of the record") }
	for i, m := range messages {
		if head(m) && slices.ContainsFunc(messages[i+1:], head) {
			continue
		}
		out.WriteString(readable(c.box, m.Text) + "\n--\n")
	}
	return c.textAsIn(golden, out.String())
}

func (c *conversation) textAsIn(golden, text string) error {
	got := normal(text)
	path := filepath.Join(filepath.Dir(c.path), golden)
	if *update {
		return os.WriteFile(path, []byte(got), 0o644)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if d := cmp.Diff(string(want), got); d != "" {
		return fmt.Errorf("not as in %s (-want +got):\n%s", golden, d)
	}
	return nil
}

// normal replaces what is another at every run, the same by the same.
func normal(text string) string {
	for _, r := range []struct{ what, pattern string }{
		{"FROM – TO", `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d – (?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC`}, // the day once where it is the same
		{"TIME", `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`}, {"DAY", `\d{4}-\d\d-\d\d`}, {"CLOCK", `\d\d:\d\d:\d\d(?:\.\d+)?`},
		{"DIGEST", `\b[0-9a-f]{64}\b`}, {"SPAN", `\b(?:\d+m)?\d+(?:\.\d+)?m?s\b`}, {"ADDRESS", `\bp\d{16}\b`}, {"CHANNEL", `\bC0SBX\d+\b`},
		{"expected: COUNT", `expected: \d+`}, {"left out: COUNT", `left out: \d+`}, // of what the services do all the time
		{"EXPECTED\n", `(?m)(?:^(?:- |> \| )Expected: .*\n)+`}, // how often and when the services did it
		{"… and COUNT more", `… and \d+ more`},
		{"KEY", `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{"entry N of the record", `entry \d+ of the record`}, {"tree\nSIZE", `tree\n\d+`}, // others write to the record, too
		{"TASK", `\b[0-9a-f]{32}\b`}, {"DEPLOYMENT", `ecs-svc/\d+`}, {"PLAN", `\b[0-9a-f]{12}\b`},
		{"SIGNATURE", `— sandbox.twokey \S+`}, {"HASH", `(?m)^[A-Za-z0-9+/]{43}=$`}, {"REF", `Ref [A-Z2-7]{6}`}, {"MS", `\b\d+ ms\b`},
	} {
		text = numbered(text, r.what, regexp.MustCompile(r.pattern))
	}
	op := regexp.MustCompile(`(?:Operation|Incident) ([2-9a-z]{6})\b`).FindStringSubmatch(text)
	if op != nil {
		text = strings.ReplaceAll(text, op[1], "OPERATION")
	}
	return text
}

// numbered gives each different match a number where telling them apart matters.
func numbered(text, what string, pattern *regexp.Regexp) string {
	var known []string
	return pattern.ReplaceAllStringFunc(text, func(m string) string {
		if what != "KEY" && what != "TASK" && what != "DEPLOYMENT" {
			return what
		}
		if !slices.Contains(known, m) {
			known = append(known, m)
		}
		return fmt.Sprint(what, slices.Index(known, m)+1)
	})
}

// The check at the end of every script would find a secret, and a piece of one.
func TestALeakWouldBeFound(t *testing.T) {
	box, err := sandbox.Start(t.Context(), sandbox.Options{ProbeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	bot, err := newBot(box, t.TempDir(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	c := &conversation{t: t, box: box, dir: filepath.Dir(bot.config), bot: bot, names: map[string]string{}}
	c.wire = &wire{tokens: map[string]bool{}}
	if err := c.noLeak(nil); err != nil {
		t.Fatalf("there is none yet: %v", err)
	}
	live, err := c.live("sharepoint/prod")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{
		"whole": live.Value, "a piece": "…" + live.Value[10:10+pieceSize] + "…", "hex": hex.EncodeToString([]byte(live.Value)),
		"base64 inside something": base64.StdEncoding.EncodeToString([]byte("password=" + live.Value + ";")),
		"base64url":               base64.URLEncoding.EncodeToString([]byte(live.Value)),
		"a form":                  url.Values{"client_secret": {live.Value}}.Encode(),
		"SHA-256":                 fmt.Sprintf("%x", sha256.Sum256([]byte(live.Value))),
		"SHA-1":                   fmt.Sprintf("%X", sha1.Sum([]byte(live.Value))),
		"MD5":                     fmt.Sprintf("%x", md5.Sum([]byte(live.Value))),
		"the bot token":           box.Slack.BotToken(),
	}
	for how, text := range written {
		bot.log = &safeBuffer{}
		_, _ = bot.log.Write([]byte("before " + text + " after")) // a buffer takes everything
		if c.noLeak(nil) == nil {
			t.Errorf("a secret written as %s was not found", how)
		}
	}
	bot.log = &safeBuffer{}
	for what, leak := range map[string]func(){
		"a body that is no place for it": func() { c.wire.note("slack.chat.postMessage", request("/"), []byte(live.Value)) },
		"an address":                     func() { c.wire.note("ssm.PutParameter", request("/?secret="+live.Value), nil) },
		"a token in a body":              func() { c.wire.note("slack.chat.postMessage", request("/"), []byte("token="+box.Slack.BotToken())) },
		"another's access token": func() {
			r := request("/")
			r.Header.Set("Authorization", "Bearer head.body.signature-of-a-token")
			c.wire.note("graph.listUsers", r, nil)
			c.wire.note("ssm.GetParameter", request("/"), []byte("signature-of-a-token"))
		},
	} {
		c.wire = &wire{tokens: map[string]bool{}}
		if leak(); c.noLeak(nil) == nil {
			t.Errorf("a secret in %s was not found", what)
		}
	}
	c.wire = &wire{tokens: map[string]bool{}}
	c.wire.note("ssm.PutParameter", request("/"), []byte(live.Value)) // its place
	if err := c.noLeak(nil); err != nil {
		t.Error(err)
	}
	_, _ = fmt.Fprintf(bot.spans, "a step {Error %s}\n", live.Value)
	if c.noLeak(nil) == nil {
		t.Error("a secret in the traces was not found")
	}
	bot.spans = &safeBuffer{}
	report := filepath.Join(c.dir, "evidence", "operations.csv")
	if err := os.Mkdir(filepath.Dir(report), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(report, []byte("a,"+live.Value+",b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.noLeak(nil) == nil {
		t.Error("a secret in the evidence was not found")
	}
	if err := os.Remove(report); err != nil {
		t.Fatal(err)
	}
	if err := c.noLeak(nil); err != nil {
		t.Errorf("there is none any more: %v", err)
	}
	if c.noLeak([]byte(live.Value)) == nil {
		t.Error("a secret in the metrics was not found")
	}
	if err := os.WriteFile(filepath.Join(c.dir, "twokey.db-wal"), []byte("\x00\x01"+live.Value), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.noLeak(nil) == nil {
		t.Error("a secret in the database's log was not found")
	}
}
