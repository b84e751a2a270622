package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

type databaseCommands struct {
	Prepare *databasePrepareCommand `arg:"subcommand:prepare" help:"as the tables' owner: bring them up to date, and let the bot's role do no more than it needs"`
}

type databasePrepareCommand struct {
	Owner string `default:"DATABASE_OWNER_URL" placeholder:"NAME" help:"the environment variable with the owner's postgres:// address"`
	Role  string `default:"twokey_bot" placeholder:"ROLE" help:"the role that the bot signs in with; it has to be there"`
}

// Run migrates and grants.
func (c *databasePrepareCommand) Run(ctx context.Context, io streams) error {
	address := io.getenv(c.Owner)
	if address == "" {
		return operation.Refuse("address", "The environment variable %s is not set. It takes the postgres:// address of the tables' owner.", c.Owner)
	}
	if err := store.Prepare(ctx, address, c.Role, audit.Grants(), newLogger(io.err, slog.LevelWarn)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(io.out, "The tables are up to date. %s can add to the record, and change or remove nothing of it.\n", c.Role)
	return err
}
