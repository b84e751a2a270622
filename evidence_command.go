package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/evidence"
	"github.com/twokey/twokey/evidence/checker"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/store"
)

type evidenceCommand struct {
	Check      *evidenceCheckCommand `arg:"subcommand:check" help:"check a folder of evidence offline; exit code 1 if a byte of it is another"`
	ConfigFile string                `arg:"--config" default:"twokey.yml" placeholder:"FILE" help:"the configuration; env:NAME takes it from an environment variable"`
	From       string                `placeholder:"DATE" help:"the first day, such as 2026-01-01 (UTC)"`
	To         string                `placeholder:"DATE" help:"the first day that is not in it any more; left out: until now"`
	Out        string                `placeholder:"FOLDER" help:"an empty folder, or one that is not there yet"`
	LogLevel   slog.Level            `arg:"--log-level" default:"warn" help:"how much is logged: debug, info, warn or error"`
}

type evidenceCheckCommand struct {
	Folder   string `arg:"positional,required" placeholder:"FOLDER" help:"the evidence"`
	Verifier string `placeholder:"FILE" help:"with the verifier key's line, from elsewhere than the folder"`
}

// Run writes the evidence of a window.
func (c *evidenceCommand) Run(ctx context.Context, io streams) error {
	cfg, err := LoadConfig(c.ConfigFile, io.getenv)
	if err != nil {
		return err
	}
	now := time.Now()
	from, err := time.Parse(time.DateOnly, c.From)
	if err != nil {
		return errors.New("--from takes a day such as 2026-01-01")
	}
	to := now
	if c.To != "" {
		if to, err = time.Parse(time.DateOnly, c.To); err != nil {
			return errors.New("--to takes a day such as 2027-01-01")
		}
	}
	if !from.Before(to) {
		return errors.New("--from must be before --to")
	}
	if c.Out == "" {
		return errors.New("--out is missing: name a folder for the evidence")
	}
	if err := writeEvidence(ctx, cfg, evidence.Material{From: from, To: to}, func() time.Time { return now }, c.Out, newLogger(io.err, c.LogLevel)); err != nil {
		return err
	}
	if _, err = fmt.Fprintf(io.out, "Wrote the evidence into %s. Its README.md says what is in it. Checked at once:\n", c.Out); err != nil {
		return err
	}
	if checker.Main(c.Out, "", io.out) != 0 {
		return errNotAsWritten // the record itself is not as it was signed
	}
	return nil
}

// writeEvidence gathers what evidence is drawn from, and writes it.
func writeEvidence(ctx context.Context, cfg *Config, m evidence.Material, now func() time.Time, out string, log *slog.Logger) error {
	key, err := cfg.Record.key()
	if err != nil {
		return err
	}
	verifiers := key.VerifierLine() + "\n"
	if earlier, err := os.ReadFile(cfg.Record.KeyFile + ".pub"); err == nil { // where it has the lines of keys that signed before
		verifiers += string(earlier)
	}
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
	found, err := sweepOnce(ctx, cfg, reader, now, log, func(s *inventory.Sweeper) { s.Concurrency = 2 })
	if err != nil {
		return err
	}
	m.At, m.Targets, m.Inventory, m.Record, m.Operations, m.Verifier, m.Signer = now(), cfg.Targets, found, record, reader, verifiers, key
	return evidence.Write(ctx, out, m)
}

var errNotAsWritten = errors.New("the evidence is not as it was written")

// Run checks a folder.
func (c *evidenceCheckCommand) Run(_ context.Context, io streams) error {
	verifier := ""
	if c.Verifier != "" {
		text, err := os.ReadFile(c.Verifier)
		if err != nil {
			return fmt.Errorf("read the verifier key: %w", err)
		}
		verifier = string(text)
	}
	if checker.Main(c.Folder, verifier, io.out) != 0 {
		return errNotAsWritten
	}
	return nil
}
