package terraform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// grace is how long a saved plan stays beyond the instant when its request lapses.
const grace = 10 * time.Minute

// applyLimit is when an apply is interrupted after all. Terraform then ends what it
// has begun and writes its state.
const applyLimit = 20 * time.Minute

// Save implements [runbook.Terraform].
func (c *Client) Save(ctx context.Context, m runbook.Module, id operation.ID, until time.Time) (runbook.SavedPlan, error) {
	return c.fly(ctx, "save "+string(id), func() (runbook.SavedPlan, error) {
		defer c.room(m.Directory)()
		dir, err := c.private(string(id), until.Add(grace))
		if err != nil {
			return runbook.SavedPlan{}, err
		}
		var more []string
		if m.Replace != "" {
			more = []string{"-replace=" + m.Replace}
		}
		plan, err := c.plan(m, dir, more...)
		if err != nil {
			err = errors.Join(err, c.Discard(id))
		}
		return plan, err
	})
}

func (c *Client) saved(id operation.ID) string { return filepath.Join(c.folder, string(id)) }

// Check implements [runbook.SavedPlans].
func (c *Client) Check(id operation.ID, hash string) error {
	found, err := hashOf(filepath.Join(c.saved(id), planFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return operation.Permanent(errors.New("the saved plan is gone: it lies on the disk of the replica that made it, until its request lapses"))
	case err != nil:
		return err
	case found != hash:
		return operation.Permanent(errors.New("the saved plan is another file than the one that was asked about"))
	}
	return nil
}

// hashOf is a file's SHA-256 in hexadecimal.
func hashOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("open the saved plan: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the saved plan: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Apply implements [runbook.SavedPlans]. Should this process die, the program goes
// on, and holds the lock: whoever comes next waits for it. A plan is applied once:
// Terraform refuses one that is older than its state.
func (c *Client) Apply(ctx context.Context, m runbook.Module, id operation.ID, hash string) error {
	_, err := c.fly(ctx, "apply "+string(id), func() (runbook.SavedPlan, error) {
		defer c.room(m.Directory)()
		return runbook.SavedPlan{}, c.apply(m, id, hash)
	})
	return err
}

func (c *Client) apply(m runbook.Module, id operation.ID, hash string) error {
	if err := c.Check(id, hash); err != nil {
		return err
	}
	dir, err := c.private(string(id), c.now().Add(24*time.Hour)) // not to be swept meanwhile
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the saved plan's lock: %w", err)
	}
	defer func() { _ = lock.Close() }() // which unlocks it, once the program has ended, too
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return runbook.ErrApplying
		}
		return fmt.Errorf("lock the saved plan: %w", err)
	}
	running, cancel := context.WithTimeout(context.Background(), applyLimit) // half an apply is worse than a late end
	defer cancel()
	return c.run(running, m, dir, []*os.File{lock}, nil, "apply", "-input=false", "-no-color", filepath.Join(dir, planFile))
}

// Discard implements [runbook.SavedPlans].
func (c *Client) Discard(id operation.ID) error {
	if err := os.RemoveAll(c.saved(id)); err != nil {
		return fmt.Errorf("delete the saved plan: %w", err)
	}
	return nil
}
