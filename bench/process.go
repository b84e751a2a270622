package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// build makes the program as the Dockerfile does, and returns its path.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "twokey")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w -buildid=", "-gcflags=github.com/...=-l", "-o", path, "github.com/twokey/twokey")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
}

// process is a program that is measured.
type process struct {
	name    string
	cmd     *exec.Cmd
	started time.Time // just before it was
	log     string
	ended   chan struct{}
}

// launch starts a program. What it prints goes into a file in dir.
func launch(dir, name string, environment []string, path string, words ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, words...), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the program has its own
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended stands in its log
		close(p.ended)
	}()
	return p, nil
}

// stop asks the program to end, and insists after a while.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// died words that the program ended before it should have.
func (p *process) died() error {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Errorf("%s ended: %w", p.name, err)
	}
	return fmt.Errorf("%s ended; the end of its log:\n%s", p.name, log[max(0, len(log)-2000):])
}

// memory is what a process holds, in bytes.
type memory struct{ resident, anonymous, file, peak int64 }

// memory reads what Linux says.
func (p *process) memory() (memory, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return memory{}, fmt.Errorf("read the memory of %s on %s: %w", p.name, runtime.GOOS, err)
	}
	var m memory
	for name, to := range map[string]*int64{"VmRSS:": &m.resident, "RssAnon:": &m.anonymous, "RssFile:": &m.file, "VmHWM:": &m.peak} {
		_, rest, found := bytes.Cut(status, []byte(name))
		if !found {
			return m, fmt.Errorf("read the memory of %s: no %s", p.name, name)
		}
		if _, err := fmt.Sscan(string(rest), to); err != nil {
			return m, fmt.Errorf("read the memory of %s: %w", p.name, err)
		}
		*to *= 1024
	}
	return m, nil
}
