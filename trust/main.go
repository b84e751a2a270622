// Command trust breaks a running bot on purpose, as another program would from
// outside, and judges what is left by invariants that have names. It runs the tests
// beside it, which do that; docs/trust.md holds what they measured.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alexflint/go-arg"
)

// commands are what can be typed behind "trust".
type commands struct {
	List *listCommand `arg:"subcommand:list" help:"the invariants and the sweeps"`
	Run  *runCommand  `arg:"subcommand:run" help:"break plays at points of the sweeps, and print what came of it as a table"`
	Load *loadCommand `arg:"subcommand:load" help:"many commands, many open requests, Slack refusing, replicas coming and going"`
	Bugs *bugsCommand `arg:"subcommand:bugs" help:"plant each bug, and see the test that is there for it fail"`
}

// The tests that the commands run.
const (
	testOfList = "TestTheInvariantsAndSweepsAreInTheDocument"
	testOfRun  = "TestWhateverCrashesNothingIsLostLeftBehindOrToldTwice"
	testOfLoad = "TestUnderLoadNothingIsLostAndMemoryIsBounded"
	testOfBugs = "TestEachPlantedBugTurnsItsTestRed"
)

type listCommand struct{}

func (listCommand) test() ([]string, []string) { return []string{"-run", "^" + testOfList + "$"}, nil }

type runCommand struct {
	Points   string `arg:"--points" default:"4" help:"points of each sweep, or all"`
	Seed     uint64 `arg:"--seed" default:"1" help:"chooses the points and all that is random"`
	Parallel int    `arg:"--parallel" default:"4" help:"plays at a time; they mostly wait"`
	Only     string `arg:"--only" default:"." help:"sweeps whose name fits this regular expression, such as 'rotate.*freeze'; behind a / so for points"`
	Race     bool   `arg:"--race" help:"with Go's race detector, in the bot too"`
	Within   string `arg:"--within" default:"6h" help:"give up after this time"`
}

func (c *runCommand) test() (words, environ []string) {
	words = []string{"-run", "^" + testOfRun + "$/" + c.Only, "-timeout", c.Within}
	if c.Race {
		words = append(words, "-race")
	}
	return words, []string{"TWOKEY_TRUST=" + c.Points, fmt.Sprintf("TWOKEY_TRUST_SEED=%d", c.Seed), fmt.Sprintf("TWOKEY_TRUST_PARALLEL=%d", c.Parallel)}
}

type loadCommand struct {
	Rate     uint64 `arg:"--rate" default:"500" help:"commands a second, at random instants"`
	Seconds  uint64 `arg:"--seconds" default:"60" help:"for so long"`
	Open     uint64 `arg:"--open" default:"1000" help:"requests among them that are open at once; each is a server of the sandbox"`
	Replicas uint64 `arg:"--replicas" default:"3" help:"that come and go"`
	Seed     uint64 `arg:"--seed" default:"1" help:"chooses the instants, and who leaves"`
	Race     bool   `arg:"--race" help:"with Go's race detector, in the bot too"`
}

func (c *loadCommand) test() (words, environ []string) {
	words = []string{"-run", "^" + testOfLoad + "$", "-timeout", "1h"}
	if c.Race {
		words = append(words, "-race")
	}
	return words, []string{fmt.Sprintf("TWOKEY_TRUST_RATE=%d", c.Rate), fmt.Sprintf("TWOKEY_TRUST_SECONDS=%d", c.Seconds), fmt.Sprintf("TWOKEY_TRUST_OPEN=%d", c.Open),
		fmt.Sprintf("TWOKEY_TRUST_REPLICAS=%d", c.Replicas), fmt.Sprintf("TWOKEY_TRUST_SEED=%d", c.Seed)}
}

type bugsCommand struct {
	Only string `arg:"--only" default:"." help:"bugs whose name fits this regular expression"`
}

func (c *bugsCommand) test() (words, environ []string) {
	return []string{"-run", "^" + testOfBugs + "$/" + c.Only, "-timeout", "2h"}, []string{"TWOKEY_TRUST=1"}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "trust: "+err.Error())
		os.Exit(1)
	}
}

func command(ctx context.Context, words []string, out io.Writer) error {
	var c commands
	p, err := arg.NewParser(arg.Config{Program: "trust", Out: out}, &c)
	if err != nil {
		return fmt.Errorf("set the command line up: %w", err)
	}
	err = p.Parse(words)
	chosen, ok := p.Subcommand().(interface {
		test() (words, environ []string)
	})
	switch {
	case errors.Is(err, arg.ErrHelp), err == nil && !ok:
		return p.WriteHelpForSubcommand(out, p.SubcommandNames()...)
	case err != nil:
		return err
	}
	return test(ctx, chosen, out)
}

// test runs the test of a command. What go test tells of each that passed is left out.
func test(ctx context.Context, c interface {
	test() (words, environ []string)
}, out io.Writer) error {
	words, environ := c.test()
	run := exec.CommandContext(ctx, "go", append([]string{"test", "github.com/twokey/twokey/trust", "-v", "-count", "1"}, words...)...)
	run.Env, run.Stderr = append(os.Environ(), environ...), os.Stderr
	// As go test itself does when it is interrupted: the plays' processes end with it.
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	told, err := run.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	if err := run.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	lines := bufio.NewReader(told)
	for {
		line, err := lines.ReadString('\n')
		if text := strings.TrimSpace(line); !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- PASS") {
			_, _ = io.WriteString(out, line) // to a terminal or a pipe that somebody closed
		}
		if err != nil {
			break
		}
	}
	if err := run.Wait(); err != nil {
		return fmt.Errorf("something failed, or could not be run: %w", err)
	}
	return nil
}
