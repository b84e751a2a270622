package need

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a small file system of its own that can be filled.
type Disk struct {
	// Path is where it is mounted. Everybody may write there.
	Path string
}

// mountScript keeps a file system in memory mounted until its standard input ends,
// which also happens when the test binary is killed.
const mountScript = `
dir=$(mktemp -d "${TMPDIR:-/tmp}/twokey-disk.XXXXXX") || exit 1
mount -t tmpfs -o size="$TWOKEY_NEED_SIZE",mode=1777 twokey-test "$dir" 2>&1 || { rmdir "$dir"; exit 1; }
trap 'umount -l "$dir"; rmdir "$dir"' EXIT
trap '' INT TERM HUP
echo "ready $dir"
cat >/dev/null
`

// SmallDisk mounts a file system of so many bytes for the test.
func SmallDisk(t testing.TB, size int64) *Disk {
	t.Helper()
	cmd := exec.Command("sh", "-c", mountScript)
	cmd.Env = append(os.Environ(), fmt.Sprintf("TWOKEY_NEED_SIZE=%d", size))
	dir, lifeline, _, err := ready(cmd)
	if err != nil {
		missing(t, "disk", "a small disk cannot be mounted here (%v); on Linux, run the test as root, or, for SQLite, behind: unshare --user --map-root-user --mount", err)
	}
	t.Cleanup(func() {
		_ = lifeline.Close()
		_ = cmd.Wait()
	})
	return &Disk{Path: dir}
}

// Fill takes all the space that is left.
func (d *Disk) Fill() error {
	ballast, err := os.Create(d.ballast())
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer func() { _ = ballast.Close() }() // it is thrown away
	for size := 1 << 20; size > 0; {
		n, err := ballast.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC) && n == 0:
			size /= 2
		case err != nil && !errors.Is(err, syscall.ENOSPC):
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	return nil
}

// Free gives back what Fill took.
func (d *Disk) Free() error {
	if err := os.Remove(d.ballast()); err != nil {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}

func (d *Disk) ballast() string { return filepath.Join(d.Path, "ballast") }
