package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
)

type auditCommands struct {
	Verify auditVerifyCommand `cmd:"" help:"Check the whole record offline and name the first broken entry; exit code 1 if one is."`
	List   auditListCommand   `cmd:"" help:"Read the record."`
	Prove  auditProveCommand  `cmd:"" help:"Write a proof that an operation's entries are in the signed record."`
	Check  auditCheckCommand  `cmd:"" help:"Check such a proof with nothing but the verifier key."`
	Export auditExportCommand `cmd:"" help:"Write the record as JSON lines."`
	Key    auditKeyCommand    `cmd:"" help:"Make the key that signs the record."`
}

// recordSource says where the record is and whose signature counts.
type recordSource struct {
	Database string `default:"sqlite:twokey.db" env:"TWOKEY_DATABASE" help:"sqlite:PATH, postgres://…, or an exported file."`
	Verifier string `default:"twokey.record.key.pub" type:"path" help:"File with the verifier key's line, and those of earlier keys."`
}

func (s recordSource) open(ctx context.Context) (audit.Opened, note.Verifiers, error) {
	known, err := audit.ReadVerifiers(s.Verifier)
	if err != nil {
		return nil, nil, err
	}
	src, err := audit.Open(ctx, s.Database)
	return src, known, err
}

type auditVerifyCommand struct {
	recordSource
	Checkpoints []string `arg:"" optional:"" type:"existingfile" help:"Files with checkpoints copied from the channel."`
	JSON        bool     `help:"Print the report as JSON."`
}

var errBroken = errors.New("the record is broken")

// Run verifies the record.
func (c *auditVerifyCommand) Run(ctx context.Context, io streams) error {
	src, known, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	var posted []string
	for _, path := range c.Checkpoints {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read checkpoints: %w", err)
		}
		posted = append(posted, audit.FindCheckpoints(string(text))...)
	}
	report, err := audit.Verify(ctx, src, posted, known)
	if err != nil {
		return err
	}
	write := audit.WriteReport
	if c.JSON {
		write = audit.WriteReportJSON
	}
	if err := write(io.out, report); err != nil {
		return err
	}
	if !report.Whole() {
		return errBroken
	}
	return nil
}

type auditListCommand struct {
	Database  string        `default:"sqlite:twokey.db" env:"TWOKEY_DATABASE" help:"sqlite:PATH, postgres://…, or an exported file."`
	Operation string        `help:"Only this operation."`
	Secret    string        `help:"Only this secret, such as sharepoint/prod."`
	Person    string        `help:"Only what this person did: a chat user, an Entra object id or a name."`
	Since     time.Duration `help:"Only the last while, such as 48h."`
	JSON      bool          `help:"Print JSON lines."`
}

// Run lists entries.
func (c *auditListCommand) Run(ctx context.Context, io streams) error {
	src, err := audit.Open(ctx, c.Database)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	f := audit.Filter{Operation: operation.ID(c.Operation), Secret: operation.SecretName(c.Secret), Person: c.Person}
	if c.Since > 0 {
		f.Since = time.Now().Add(-c.Since)
	}
	lines, err := audit.List(ctx, src, f)
	if err != nil {
		return err
	}
	if c.JSON {
		return audit.WriteListJSON(io.out, lines)
	}
	return audit.WriteList(io.out, lines)
}

type auditProveCommand struct {
	recordSource
	Operation string `arg:"" help:"The operation, such as k7m2p9."`
}

// Run prints the proof.
func (c *auditProveCommand) Run(ctx context.Context, io streams) error {
	src, known, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	proof, err := audit.Prove(ctx, src, operation.ID(c.Operation), known)
	if err != nil {
		return err
	}
	return audit.WriteProof(io.out, proof)
}

type auditCheckCommand struct {
	Verifier string `default:"twokey.record.key.pub" type:"path" help:"File with the verifier key's line."`
	Proof    string `arg:"" type:"existingfile" help:"The proof's file."`
}

// Run checks a proof.
func (c *auditCheckCommand) Run(io streams) error {
	known, err := audit.ReadVerifiers(c.Verifier)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(c.Proof)
	if err != nil {
		return fmt.Errorf("read the proof: %w", err)
	}
	proven, err := audit.CheckProof(data, known)
	if err != nil {
		return err
	}
	return audit.WriteProven(io.out, proven)
}

type auditExportCommand struct {
	Database string `default:"sqlite:twokey.db" env:"TWOKEY_DATABASE" help:"sqlite:PATH or postgres://…"`
}

// Run exports the record.
func (c *auditExportCommand) Run(ctx context.Context, io streams) error {
	src, err := audit.Open(ctx, c.Database)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	return audit.WriteExport(ctx, io.out, src)
}

type auditKeyCommand struct {
	Path string `arg:"" type:"path" help:"Where to write the key; its public half goes beside it, with .pub added."`
	Name string `default:"twokey" help:"The key's name, which stands in each signature."`
}

// Run makes a key.
func (c *auditKeyCommand) Run(io streams) error {
	verifier, err := audit.WriteKey(c.Path, c.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.out, "Wrote %s (keep it outside the database) and %s.pub. Verifier key:\n%s\n", c.Path, c.Path, verifier)
	return err
}
