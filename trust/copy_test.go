package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/twokey/twokey/audit"
)

// copying copies SQLite's files while the bot runs, all at one instant, as a
// snapshot of the disk does. Nothing is broken by it.
func copying() how {
	return how{"copy", func(w *world, p point) {
		w.watch.onCommit(p.number, func() {
			r := w.any()
			r.signal(syscall.SIGSTOP)
			defer r.signal(syscall.SIGCONT)
			w.strikes.Add(1)
			if err := w.copyFiles(p.number); err != nil {
				w.copies <- err
			}
		})
	}}
}

// copyName is where the n-th copy lies.
func (w *world) copyName(n int) string { return filepath.Join(w.dir, fmt.Sprintf("copy-%d.db", n)) }

func (w *world) copyFiles(n int) error {
	file := strings.TrimPrefix(w.address, "sqlite:")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(file + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue // nothing waits in the log
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(w.copyName(n)+suffix, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// judgeCopies opens what was copied.
func (w *world) judgeCopies(ctx context.Context) []breach {
	var out []breach
	for len(w.copies) > 0 {
		out = append(out, breach{copyWhole, fmt.Sprint("copy: ", <-w.copies)})
	}
	found, err := filepath.Glob(filepath.Join(w.dir, "copy-*.db"))
	if err != nil {
		return append(out, breach{copyWhole, err.Error()})
	}
	for _, file := range found {
		if err := w.recovers(ctx, file); err != nil {
			out = append(out, breach{copyWhole, fmt.Sprintf("%s: %v", filepath.Base(file), err)})
		}
	}
	return out
}

// recovers checks that a copy opens, is sound, and holds a record that verifies
// as far as it had come.
func (w *world) recovers(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // the check's own error is told
	var sound string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
		return fmt.Errorf("integrity: %s, %w", sound, err)
	}
	known, err := audit.ReadVerifiers(w.verifier)
	if err != nil {
		return err
	}
	src, err := audit.Open(ctx, file)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	report, err := audit.Verify(ctx, src, nil, known)
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		if f.Fault != audit.NotSigned { // the head is signed when the operation ends
			return errors.New(f.Text)
		}
	}
	return nil
}
