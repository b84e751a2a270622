// Command twokey is a Slack bot that looks after the secrets of a platform: it
// rotates them, and kills them when they leak, once a second person has turned
// the second key.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alexflint/go-arg"

	"github.com/twokey/twokey/operation"
)

// commands is what can be typed behind "twokey".
type commands struct {
	Run           *runCommand           `arg:"subcommand:run" help:"run the bot"`
	Demo          *demoCommand          `arg:"subcommand:demo" help:"play with a sandbox of Slack, Entra, AWS and MCP servers; needs no account"`
	Sandbox       *sandboxCommand       `arg:"subcommand:sandbox" help:"run the sandbox alone, for a bot of your own or another client"`
	Init          *initCommand          `arg:"subcommand:init" help:"look around in Entra, AWS and the MCP servers, ask what cannot be found out, and write a first configuration"`
	Doctor        *doctorCommand        `arg:"subcommand:doctor" help:"look at everything that the bot needs, change nothing, and say what is wrong and how to mend it; exit code 1 if something fails"`
	Config        *configCommands       `arg:"subcommand:config" help:"look at the configuration"`
	Audit         *auditCommands        `arg:"subcommand:audit" help:"read, check and prove the record of who did what"`
	Evidence      *evidenceCommand      `arg:"subcommand:evidence" help:"write a folder that an auditor can check: rotations, emergencies, refusals, ages, and the signed record"`
	Inventory     *inventoryCommand     `arg:"subcommand:inventory" help:"find out what expires, and when; exit code 1 if something is overdue or unknown"`
	Database      *databaseCommands     `arg:"subcommand:database" help:"prepare a PostgreSQL database for a bot that must not change the record"`
	Policy        *policyCommand        `arg:"subcommand:policy" help:"check who may read the secrets and who did, how they are encrypted, and that none stands in a task definition; exit code 1 if something is wrong or could not be checked"`
	Authenticator *authenticatorCommand `arg:"subcommand:authenticator" help:"make a secret for a person's authenticator app, for second_factor in the configuration"`
	Completion    *completionCommand    `arg:"subcommand:completion" help:"print a shell's completion; for bash: source <(twokey completion bash)"`
	Health        *healthCommand        `arg:"subcommand:health" help:"ask a running bot whether it is ready; exit code 1 if not"`
}

// Description is the first line of the help.
func (commands) Description() string {
	return "twokey looks after a platform's secrets in Slack, with two people for everything dangerous."
}

// command is what each subcommand can do.
type command interface {
	Run(ctx context.Context, io streams) error
}

// streams are where a command reads and writes.
type streams struct {
	out, err io.Writer
	getenv   func(string) string
	in       io.Reader // a terminal to ask at; nil: there is none
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	io := streams{out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	if i, err := os.Stdin.Stat(); err == nil && i.Mode()&os.ModeCharDevice != 0 {
		io.in = os.Stdin
	}
	if err := dispatch(ctx, os.Args[1:], io); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "twokey: "+explain(err))
		os.Exit(exitCode(err))
	}
}

// dispatch runs the subcommand that the words name. Words that name none are
// answered with how to use the program.
func dispatch(ctx context.Context, words []string, io streams) error {
	var c commands
	p, err := arg.NewParser(arg.Config{Program: "twokey", Out: io.err}, &c)
	if err != nil {
		return fmt.Errorf("set the command line up: %w", err)
	}
	err = p.Parse(words)
	sub, ok := p.Subcommand().(command)
	switch {
	case errors.Is(err, arg.ErrHelp), err == nil && !ok:
		return p.WriteHelpForSubcommand(io.out, p.SubcommandNames()...)
	case err != nil:
		p.WriteUsage(io.err)
		return misuse{err}
	}
	return sub.Run(ctx, io)
}

// misuse is an error of whoever typed the command or wrote the configuration.
type misuse struct{ error }

// Unwrap implements the convention of package errors.
func (m misuse) Unwrap() error { return m.error }

// exitCode tells misuse, 2, from everything else that can go wrong, 1.
func exitCode(err error) int {
	if _, wrong := errors.AsType[misuse](err); wrong {
		return 2
	}
	return 1
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
	ConfigFile string     `arg:"--config" default:"twokey.yml" placeholder:"FILE" help:"the configuration; env:NAME takes it from an environment variable"`
	LogLevel   slog.Level `arg:"--log-level" default:"info" help:"how much is logged: debug, info, warn or error"`
}

// Run keeps the bot running until a signal, or until something is wrong for good.
func (c *runCommand) Run(ctx context.Context, io streams) error {
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if err != nil {
		return err
	}
	forbidCoreDumps()
	// The start needs more memory than all that follows, and would keep it.
	settled := time.AfterFunc(startTime, debug.FreeOSMemory)
	defer settled.Stop()
	return serve(ctx, cfg, nil, newLogger(io.err, c.LogLevel))
}

// startTime is when the start is over for certain.
const startTime = 30 * time.Second

func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// forbidCoreDumps keeps what is in memory out of files when the process dies.
func forbidCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) // where it is not allowed, it is not needed
}

type configCommands struct {
	Check *configCheckCommand `arg:"subcommand:check" help:"read the configuration and say what it comes to, or everything that is wrong with it"`
}

type configCheckCommand struct {
	ConfigFile string `arg:"--config" default:"twokey.yml" placeholder:"FILE" help:"the configuration; env:NAME takes it from an environment variable"`
	JSON       bool   `arg:"--json" help:"print the secrets, or the mistakes with line and column, as JSON"`
}

// Run prints what the configuration comes to.
func (c *configCheckCommand) Run(_ context.Context, io streams) error {
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if c.JSON {
		return writeConfigJSON(io.out, cfg, err)
	}
	if err != nil {
		return err
	}
	return WriteConfig(io.out, cfg)
}

type healthCommand struct {
	Listen string `default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"where the bot listens, as in its configuration"`
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
		why, _ := bufio.NewReader(res.Body).ReadString('\n') // what came of it will do
		return fmt.Errorf("the bot is not ready (%s): %s", res.Status, strings.TrimSpace(why))
	}
	_, err = fmt.Fprintln(io.out, "ready")
	return err
}
