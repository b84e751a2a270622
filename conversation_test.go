package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/slack"
)

// TestMain lets the test binary be the bot, for conversations that kill it.
func TestMain(m *testing.M) {
	if os.Getenv(beBot) != "" {
		os.Exit(botProcess())
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", conversationsAtOnce); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// TestConversations plays the scripts in testdata/conversations: people and the
// real bot, in a sandbox of their own. README.md there says what a line can be.
func TestConversations(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "TWOKEYSANDBOX0001")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	paths, err := filepath.Glob("testdata/conversations/*.txt") // those of folders have tests of their own
	if err != nil || len(paths) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	t.Run("all", func(t *testing.T) { // returns when all are over, so that the environment lasts
		for _, path := range paths {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
				t.Parallel()
				play, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				converse(t, path, string(play))
			})
		}
	})
}

// conversation is one script at work.
type conversation struct {
	t    *testing.T
	path string
	box  *sandbox.Sandbox
	dir  string
	bot  *runningBot

	spoken []spokenVerb // all, once one was
	card   int          // which card is meant, from 1; 0: the newest
	seen   map[string]int
	told   map[string]bool // private messages that the script has read
	sent   map[string]string
	names  map[string]string // what the script keeps: "old secret" and the like
	wire   *wire
	thief  []string          // messages that somebody else posted in the bot's name
	ids    map[string]string // of keys and operations that the script talks of
	never  []func() error    // looked at when all is over
	counts map[string]int    // of calls, when the last fault was set
	broken bool              // the service is broken on purpose
	loose  bool              // the end state is the script's own to check
	lag    time.Duration     // how much later the last replica hears of a removal

	gitleaks string // the program, where the script wants it to look, too

	provisioned []string // secrets that Terraform makes, before the bot starts
	code        teamsCode
}

// looking is how long a look is repeated. Only a script that fails waits so long.
const looking = 3 * time.Minute

// converse plays one script.
func converse(t *testing.T, path, play string) {
	box, err := sandbox.Start(t.Context(), sandbox.Options{ProbeEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	quicken(box)
	sent := &wire{tokens: map[string]bool{}}
	box.Conditions.Tap(sent.note)
	c := &conversation{
		t: t, path: path, box: box, dir: t.TempDir(), wire: sent,
		seen: map[string]int{}, told: map[string]bool{}, sent: map[string]string{}, names: map[string]string{}, ids: map[string]string{}, counts: map[string]int{},
	}
	lines, settings, patience := c.split(play)
	if err := c.provision(); err != nil {
		t.Fatal(err)
	}
	if c.bot, err = newBot(box, c.dir, settings, strings.Contains(play, "bot is killed") || strings.Contains(play, "bot crashes")); err != nil {
		t.Fatal(err)
	}
	for task, word := range map[string]string{"reminders": "reminder of ", "sweeps": "leftover of ", "digest": "digest shows "} {
		if strings.Contains(play, word) {
			c.bot.does = append(c.bot.does, task)
		}
	}
	defer c.bot.stop()
	c.bot.patience = patience
	if err := c.bot.start(); err != nil {
		t.Fatal(err)
	}
	for n, line := range lines {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := c.do(line); err != nil {
			t.Fatalf("%s:%d: %s\n%v\n%s", path, n+1, line, err, c.picture())
		}
	}
	c.judge()
}

// quicken makes the stand-ins as fast as a test wants them. Slack's limits hold the
// bot up only where the script throttles it.
func quicken(box *sandbox.Sandbox) {
	box.Slack.Set(func(s *slack.Settings) {
		s.Limits = false
		s.AckSeconds, s.TriggerSeconds = 30, 30 // others may need the processors; bench/ measures how quick the bot is
	})
	ms := func(n int) aws.Span { return aws.Span(time.Duration(n) * time.Millisecond) }
	box.AWS.Set(aws.Settings{TaskStart: ms(30), Health: ms(20), Drain: ms(20), HealthInterval: ms(100)})
}

// split takes out what is for the bot before it starts: lines "config …" for its
// file, and when it gives a step up.
func (c *conversation) split(play string) (lines, settings []string, patience time.Duration) {
	for line := range strings.SplitSeq(play, "\n") {
		line, _, _ = strings.Cut(line, "  #") // a remark behind the line
		line = strings.TrimSpace(line)
		if setting, ok := strings.CutPrefix(line, "config "); ok {
			settings, line = append(settings, strings.ReplaceAll(setting, "$DIR", c.dir)), ""
		}
		if secret, ok := strings.CutPrefix(line, "terraform provisions "); ok {
			c.provisioned, line = append(c.provisioned, secret), ""
		}
		if limit, ok := strings.CutPrefix(line, "bot gives up after "); ok {
			d, err := time.ParseDuration(limit)
			if err != nil {
				c.t.Fatal(err)
			}
			patience, line = d, ""
		}
		lines = append(lines, line)
	}
	return lines, settings, patience
}

// verb is one thing that a line can say. An act is done once; a look is repeated
// until it holds.
type verb struct {
	pattern string
	act     func(c *conversation, a []string) error
	look    func(c *conversation, a []string) error
}

// spokenVerb is a verb with its pattern compiled.
type spokenVerb struct {
	verb
	words *regexp.Regexp
}

// do does what one line says.
func (c *conversation) do(line string) error {
	if c.spoken == nil {
		for _, v := range verbs() {
			c.spoken = append(c.spoken, spokenVerb{v, regexp.MustCompile("^(?:" + v.pattern + ")$")})
		}
	}
	for _, v := range c.spoken {
		a := v.words.FindStringSubmatch(line)
		switch {
		case a == nil:
			continue
		case v.act != nil:
			return v.act(c, a[1:])
		}
		return c.until(func() error { return v.look(c, a[1:]) })
	}
	return errors.New("no line can say that; testdata/conversations/README.md has those that can")
}

// until repeats look until it holds.
func (c *conversation) until(look func() error) error {
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	end := time.After(looking)
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-c.bot.ended:
			c.bot.ended <- err
			return fmt.Errorf("the bot has ended: %w", err)
		case <-end:
			return fmt.Errorf("not within %s: %w", looking, err)
		}
	}
}

// picture is what stands in the channel, for a script that failed.
func (c *conversation) picture() string {
	var out strings.Builder
	for _, m := range c.messages() {
		if m.ThreadTS != "" && strings.HasPrefix(m.Text, "Checkpoint") {
			continue
		}
		to := ""
		if m.EphemeralTo != "" {
			to = "(only " + c.name(m.EphemeralTo) + ") "
		}
		fmt.Fprintf(&out, "  %s %s%s\n", m.Channel, to, strings.ReplaceAll(readable(c.box, m.Text), "\n", "\n      "))
	}
	log := strings.Split(strings.TrimSpace(c.bot.log.String()), "\n")
	var kept []string
	for _, l := range log {
		if !strings.Contains(l, `"level":"DEBUG"`) {
			kept = append(kept, l)
		}
	}
	return "Slack:\n" + out.String() + "The end of the bot's log:\n" + strings.Join(kept[max(0, len(kept)-25):], "\n")
}
