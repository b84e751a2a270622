package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

type sizeBenchmark struct{}

// sizeLimit is what the program may weigh, in bytes.
const sizeLimit = 35e6

// Run builds the program as the Dockerfile does.
func (b *sizeBenchmark) Run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "twokey-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system clears what stays
	path, err := build(ctx, dir)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("measure the program: %w", err)
	}
	_, _ = fmt.Fprintf(out, "%.2f MB, %.3f × the limit of %.0f MB; must reach 1.00: %s\n", megabytes(info.Size()), megabytes(info.Size())/megabytes(sizeLimit),
		megabytes(sizeLimit), verdict(float64(info.Size()), sizeLimit))
	return nil
}
