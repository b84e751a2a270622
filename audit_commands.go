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
	Verify *auditVerifyCommand `arg:"subcommand:verify" help:"check the whole record offline and name the first broken entry; exit code 1 if one is"`
	List   *auditListCommand   `arg:"subcommand:list" help:"read the record"`
	Prove  *auditProveCommand  `arg:"subcommand:prove" help:"write a proof that an operation's entries are in the signed record"`
	Check  *auditCheckCommand  `arg:"subcommand:check" help:"check such a proof with nothing but the verifier key"`
	Export *auditExportCommand `arg:"subcommand:export" help:"write the record as JSON lines"`
	Key    *auditKeyCommand    `arg:"subcommand:key" help:"make the key that signs the record"`
}

// recordDatabase says where the record is.
type recordDatabase struct {
	Database string `arg:"--database,env:TWOKEY_DATABASE" default:"sqlite:twokey.db" placeholder:"ADDRESS" help:"sqlite:PATH, postgres://…, or an exported file"`
}

// recordVerifier says whose signature counts.
type recordVerifier struct {
	Verifier string `default:"twokey.record.key.pub" placeholder:"FILE" help:"with the verifier key's line, and those of earlier keys"`
}

type recordSource struct {
	recordDatabase
	recordVerifier
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
	Checkpoints []string `arg:"positional" placeholder:"FILE" help:"files with checkpoints copied from the channel"`
	JSON        bool     `help:"print the report as JSON"`
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
		found := audit.FindCheckpoints(string(text))
		if len(found) == 0 {
			return fmt.Errorf("%s holds no checkpoint: copy the whole message, from \"go.sum database tree\" to the line that begins with a dash", path)
		}
		posted = append(posted, found...)
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
	recordDatabase
	Operation string        `placeholder:"ID" help:"only this operation"`
	Secret    string        `placeholder:"NAME" help:"only this secret, such as sharepoint/prod"`
	Person    string        `placeholder:"WHO" help:"only what this person did: a chat user, an Entra object id or a name"`
	Since     time.Duration `placeholder:"DURATION" help:"only the last while, such as 48h"`
	JSON      bool          `help:"print JSON lines"`
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
	Operation string `arg:"positional,required" help:"such as k7m2p9"`
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
	recordVerifier
	Proof string `arg:"positional,required" placeholder:"FILE" help:"the proof"`
}

// Run checks a proof.
func (c *auditCheckCommand) Run(_ context.Context, io streams) error {
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
	recordDatabase
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
	Path string `arg:"positional,required" placeholder:"FILE" help:"where to write the key; its public half goes beside it, with .pub added"`
	Name string `default:"twokey" placeholder:"ORIGIN" help:"the record's origin in the configuration, which stands in each signature"`
}

// Run makes a key.
func (c *auditKeyCommand) Run(_ context.Context, io streams) error {
	verifier, err := audit.WriteKey(c.Path, c.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.out, "Wrote %s (keep it outside the database) and %s.pub. Verifier key:\n%s\n", c.Path, c.Path, verifier)
	return err
}
