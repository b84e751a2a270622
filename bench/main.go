// Command bench measures twokey: each time a ratio to a named peer or limit that
// is measured in the same run. README.md beside it says what each must reach, and
// what it reached.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alexflint/go-arg"
)

// benchmarks is what can be typed behind "bench".
type benchmarks struct {
	Ack       *ackBenchmark       `arg:"subcommand:ack" help:"slash command to acknowledgement, durable, against a Bolt app that only acknowledges"`
	Rotation  *rotationBenchmark  `arg:"subcommand:rotation" help:"a whole rotation against the waits that the sandbox imposes"`
	Many      *manyBenchmark      `arg:"subcommand:many" help:"many rotations at once against the limits of Graph and Slack"`
	Emergency *emergencyBenchmark `arg:"subcommand:emergency" help:"confirmation to the key's removal against one round trip, and a whole emergency against a script of aws and curl"`
	Start     *startBenchmark     `arg:"subcommand:start" help:"process start to connected, against 0.3 s and a Bolt app"`
	Inventory *inventoryBenchmark `arg:"subcommand:inventory" help:"a sweep of a tenant with 20,000 keys, against its pages' latency and 100 MB"`
	Memory    *memoryBenchmark    `arg:"subcommand:memory" help:"resident memory when idle, against 40 MB and a Bolt app"`
	Size      *sizeBenchmark      `arg:"subcommand:size" help:"the program, stripped, against 35 MB"`
}

// benchmark is what each subcommand can do. It writes its numbers to out; what
// they fall short of is no error.
type benchmark interface {
	Run(ctx context.Context, out io.Writer) error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, words []string, out io.Writer) error {
	var b benchmarks
	p, err := arg.NewParser(arg.Config{Program: "bench", Out: out}, &b)
	if err != nil {
		return fmt.Errorf("set the command line up: %w", err)
	}
	err = p.Parse(words)
	chosen, ok := p.Subcommand().(benchmark)
	switch {
	case errors.Is(err, arg.ErrHelp), err == nil && !ok:
		return p.WriteHelpForSubcommand(out, p.SubcommandNames()...)
	case err != nil:
		return err
	}
	return chosen.Run(ctx, out)
}
