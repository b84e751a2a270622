// Command twokey is a Slack bot that looks after the secrets of a platform: it
// rotates them, and kills them when they leak, once a second person has turned
// the second key.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/twokey/twokey/operation"
)

// commands is what can be typed behind "twokey".
type commands struct {
	Run     runCommand     `cmd:"" help:"Run the bot."`
	Demo    demoCommand    `cmd:"" help:"Play a rotation with a sandbox of Slack, Entra, AWS and MCP servers. Needs no account."`
	Sandbox sandboxCommand `cmd:"" help:"Run the sandbox alone, for a bot of your own or another client."`
	Config  struct {
		Check configCheckCommand `cmd:"" help:"Read the configuration and say what it comes to, or everything that is wrong with it."`
	} `cmd:"" help:"Look at the configuration."`
	Audit  auditCommands `cmd:"" help:"Read, check and prove the record of who did what."`
	Health healthCommand `cmd:"" help:"Ask a running bot whether it is ready; exit code 1 if not."`
}

// streams are where a command reads and writes.
type streams struct {
	out, err io.Writer
	getenv   func(string) string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	io := streams{out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	cli := kong.Parse(&commands{}, kong.Name("twokey"), kong.UsageOnError(),
		kong.Description("Looks after a platform's secrets in Slack, with two people for everything dangerous."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(io))
	if err := cli.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "twokey: "+explain(err))
		os.Exit(1)
	}
}

// explain words an error for the terminal: a refusal is a sentence already.
func explain(err error) string {
	var refusal *operation.Refusal
	if errors.As(err, &refusal) {
		return refusal.Text
	}
	return err.Error()
}

type runCommand struct {
	ConfigFile string `name:"config" default:"twokey.yml" type:"path" help:"The configuration file."`
	LogLevel   string `default:"info" enum:"debug,info,warn,error" help:"How much is logged (${enum})."`
}

// Run keeps the bot running until a signal, or until something is wrong for good.
func (c *runCommand) Run(ctx context.Context, io streams) error {
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if err != nil {
		return err
	}
	forbidCoreDumps()
	return serve(ctx, cfg, time.Now, newLogger(io.err, c.LogLevel))
}

func newLogger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo // kong has checked it already
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l}))
}

// forbidCoreDumps keeps what is in memory out of files when the process dies.
func forbidCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) // where it is not allowed, it is not needed
}

type configCheckCommand struct {
	ConfigFile string `name:"config" default:"twokey.yml" type:"path" help:"The configuration file."`
}

// Run prints what the configuration comes to.
func (c *configCheckCommand) Run(io streams) error {
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if err != nil {
		return err
	}
	return WriteConfig(io.out, cfg)
}

type healthCommand struct {
	Listen string `default:"127.0.0.1:8080" help:"Where the bot listens, as in its configuration."`
}

// Run asks /readyz.
func (c *healthCommand) Run(ctx context.Context, io streams) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Listen+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.Listen, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the bot does not answer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the bot is not ready: %s", res.Status)
	}
	_, err = fmt.Fprintln(io.out, "ready")
	return err
}
