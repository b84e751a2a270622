package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/internal/near"
	"github.com/twokey/twokey/sandbox"
)

type sandboxCommand struct {
	Port    int    `placeholder:"PORT" help:"of Slack, AWS and the MCP servers; 0 takes a free one"`
	TLSPort int    `arg:"--tls-port" placeholder:"PORT" help:"of Entra and Graph; 0 takes a free one"`
	Dir     string `default:"sandbox-data" placeholder:"FOLDER" help:"where the configuration for the bot is written"`
}

// Run keeps a sandbox running until a signal.
func (c *sandboxCommand) Run(ctx context.Context, io streams) error {
	app, err := sandboxApp()
	if err != nil {
		return err
	}
	box, err := sandbox.Start(ctx, sandbox.Options{Port: c.Port, TLSPort: c.TLSPort, App: app})
	if err != nil {
		return err
	}
	defer box.Close()
	path, err := writeSandboxFiles(box, c.Dir)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(io.out, `The sandbox is up: Slack, AWS and the MCP servers at %s, Entra and Graph at %s.

Run the bot against it in another terminal:
  source %s
  go run . run --config %s

Play with it in a browser:
  %s/
or by calls (all of them: sandbox/README.md):
  curl %s/_sandbox/slack/command -d '{"user": "alice", "channel": "#platform-ops", "command": "/rotate", "text": "sharepoint prod yearly rotation"}'
  curl '%s/_sandbox/slack/messages?channel=%%23platform-ops'
  curl %s/_sandbox/state

Ctrl-C ends it.
`, box.URL(), box.EntraURL(), filepath.Join(filepath.Dir(path), sandbox.EnvironmentFile), path, box.URL(), box.URL(), box.URL(), box.URL())
	<-ctx.Done()
	return nil
}

// writeSandboxFiles writes the bot's configuration and makes the record's key.
func writeSandboxFiles(box *sandbox.Sandbox, dir string) (string, error) {
	path, err := box.WriteFiles(dir)
	if err != nil {
		return "", err
	}
	key := filepath.Join(filepath.Dir(path), sandbox.RecordKeyFile)
	if _, err := os.Stat(key); errors.Is(err, os.ErrNotExist) {
		if _, err := audit.WriteKey(key, sandbox.RecordOrigin); err != nil {
			return "", err
		}
	}
	return path, nil
}

type demoCommand struct {
	Script bool   `help:"play it and exit: 0 only if the sandbox's final state is right"`
	Play   string `arg:"positional" default:"rotate" help:"what is played: rotate, emergency, reminders, audit or terraform (which must be installed)"`
}

// Run plays with a sandbox and a bot in one process.
func (c *demoCommand) Run(ctx context.Context, io streams) error {
	play, ok := plays()[c.Play]
	if !ok {
		return fmt.Errorf("there is no play %q: %s", c.Play, near.Hint(c.Play, slices.Sorted(maps.Keys(plays()))))
	}
	dir, err := os.MkdirTemp("", "twokey-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	if c.Script {
		defer func() { _ = os.RemoveAll(dir) }() // the system clears what stays
	}
	app, err := sandboxApp()
	if err != nil {
		return err
	}
	app.Clock = true // one process, one clock
	box, err := sandbox.Start(ctx, sandbox.Options{App: app})
	if err != nil {
		return err
	}
	defer box.Close()
	path, err := writeSandboxFiles(box, dir)
	if err != nil {
		return err
	}
	return runDemo(ctx, io, box, path, c.Script, play)
}

// plays are what can be played.
func plays() map[string]func(*play, context.Context) error {
	return map[string]func(*play, context.Context) error{"rotate": (*play).rotate, "emergency": (*play).emergency, "reminders": (*play).reminders, "terraform": (*play).terraform, "audit": (*play).audit}
}

// runDemo runs the bot beside the play. Whichever fails ends the other.
func runDemo(ctx context.Context, io streams, box *sandbox.Sandbox, path string, script bool, perform func(*play, context.Context) error) error {
	if err := setEnvironment(box.Environ(filepath.Dir(path))); err != nil {
		return err
	}
	cfg, err := LoadConfig(path, os.Getenv)
	if err != nil {
		return err
	}
	logPath := filepath.Join(filepath.Dir(path), "twokey.log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the demo's log: %w", err)
	}
	defer func() { _ = logFile.Close() }() // a log of a demo

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	p := &play{box: box, cfg: cfg, out: io.out, fail: fail, log: newLogger(logFile, slog.LevelDebug)}
	defer p.stopBots()
	p.say("Look on in a browser: %s/", box.URL())
	if err := perform(p, ctx); err != nil {
		return withLog(errors.Join(err, context.Cause(ctx)), logPath, io.err)
	}
	if script {
		p.stopBots()
		return context.Cause(ctx)
	}
	playOn(io.out, box, path, logPath)
	<-ctx.Done()
	return context.Cause(ctx)
}

// startBot starts one replica of the bot. When it gives up, the play ends.
func (p *play) startBot(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := serve(ctx, p.cfg, p.box.Clock.Now, p.log); err != nil {
			p.fail(err)
		}
	}()
	p.bots = append(p.bots, func() { stop(); <-ended })
}

// stopBots stops all replicas, as a deployment would, and waits for them.
func (p *play) stopBots() {
	for _, stop := range p.bots {
		stop()
	}
	p.bots = nil
}

// setEnvironment gives the SDKs in this process what a shell would have sourced.
func setEnvironment(pairs []string) error {
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "AWS_") {
			continue // the rest is for other clients
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// withLog shows the bot's log when a play went wrong: its folder may be gone soon.
func withLog(err error, path string, w io.Writer) error {
	log, readErr := os.ReadFile(path)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	_, _ = fmt.Fprintf(w, "The end of the bot's log:\n%s\n", strings.Join(lines[max(0, len(lines)-40):], "\n"))
	return err
}

func playOn(w io.Writer, box *sandbox.Sandbox, path, logPath string) {
	_, _ = fmt.Fprintf(w, `
Everything is still up. Play on in a browser, as alice (asks), bob or carol (confirm), dave, gina (a guest)…:
  %[1]s/
or by calls:
  curl %[1]s/_sandbox/slack/command -d '{"user": "alice", "channel": "#platform-ops", "command": "/rotate", "text": "github dev because I can"}'
  curl '%[1]s/_sandbox/slack/messages?channel=%%23platform-ops&user=bob'
  curl %[1]s/_sandbox/slack/click -d '{"user": "bob", "channel": "#platform-ops", "message_ts": "…", "action_id": "confirm"}'
  curl %[1]s/_sandbox/clock -d '{"advance": "24h"}'
The record:
  go run . audit verify --database %[2]s --verifier %[3]s
  go run . audit list --database %[2]s
All calls are in sandbox/README.md; the bot's log is %[4]s. Ctrl-C ends it.
`, box.URL(), "sqlite:"+filepath.Join(filepath.Dir(path), "twokey.db"), filepath.Join(filepath.Dir(path), sandbox.RecordKeyFile+".pub"), logPath)
}

// bootTime is how long the bot may take to connect in a play.
const bootTime = time.Minute
