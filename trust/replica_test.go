package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// compile builds the bot into dir and returns its path.
func compile(dir string, flags ...string) (string, error) {
	path := filepath.Join(dir, "twokey")
	args := append(slices.Concat([]string{"build"}, raceFlags(), flags), "-o", path, "github.com/twokey/twokey")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the bot: %w\n%s", err, out)
	}
	return path, nil
}

// replica is one process of the bot.
type replica struct {
	number  int
	program string
	config  string
	environ []string
	log     string
	clock   *dial // nil: it cannot be moved

	mu      sync.Mutex
	cmd     *exec.Cmd     // nil while it does not run
	gone    chan struct{} // closed when cmd has ended
	retired bool          // it is not started any more
}

func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd != nil || r.retired {
		return nil
	}
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(r.program, "run", "--config", r.config)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = append(os.Environ(), r.environ...), log, log, lifeline()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start replica %d: %w", r.number, err)
	}
	r.cmd, r.gone = cmd, make(chan struct{})
	go r.supervise(cmd, r.gone)
	return nil
}

// supervise starts a replica again that ended by itself, as whatever runs
// containers does.
func (r *replica) supervise(cmd *exec.Cmd, gone chan struct{}) {
	_ = cmd.Wait() // its log says why
	close(gone)
	r.mu.Lock()
	itself := r.cmd == cmd
	if itself {
		r.cmd = nil
	}
	r.mu.Unlock()
	if itself {
		time.AfterFunc(supervisor, func() { _ = r.start() }) // one that cannot be started shows in what is left undone
	}
}

// kill ends the replica with SIGKILL, and returns when it is gone.
func (r *replica) kill() {
	r.mu.Lock()
	cmd, gone := r.cmd, r.gone
	r.cmd = nil
	r.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended by itself
	<-gone
}

// leave ends the replica with SIGTERM, as a roll-out does, and returns when it is
// gone; with SIGKILL, as a roll-out does too, when it does not go.
func (r *replica) leave() (went bool) {
	r.mu.Lock()
	cmd, gone := r.cmd, r.gone
	r.cmd = nil
	r.mu.Unlock()
	if cmd == nil {
		return true
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-gone:
		return true
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-gone
		return false
	}
}

// retire kills the replica for good.
func (r *replica) retire() {
	r.mu.Lock()
	r.retired = true
	r.mu.Unlock()
	r.kill()
}

// signal sends SIGSTOP or SIGCONT.
func (r *replica) signal(s syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd != nil {
		_ = r.cmd.Process.Signal(s) // it may be gone
	}
}

func (r *replica) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return 0
	}
	return r.cmd.Process.Pid
}

// dials reports whether the replica holds the client's end of the connection that
// a request came over. It reads /proc, so it only knows on Linux.
func (r *replica) dials(request *http.Request) bool {
	server, ok := request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	pid := r.pid()
	if !ok || pid == 0 {
		return false
	}
	inode, err := inodeOf(request.RemoteAddr, server.String())
	if err != nil {
		return false
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// inodeOf finds the socket that leads from one address to another. Its own port
// is not enough: it may be used for other connections elsewhere.
func inodeOf(from, to string) (string, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return "", err
	}
	ends := make([]string, 2)
	for i, address := range []string{from, to} {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return "", err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return "", err
		}
		ends[i] = fmt.Sprintf(":%04X", n)
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && strings.HasSuffix(fields[1], ends[0]) && strings.HasSuffix(fields[2], ends[1]) && fields[9] != "0" {
			return fields[9], nil
		}
	}
	return "", errors.New("no such connection")
}

// tail is the end of a replica's log.
func (r *replica) tail(lines int) string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// disgraceful is what no replica may ever log: a race that its detector found, when
// it was built with it, or a panic. It is empty when there is none.
func (r *replica) disgraceful() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return "" // it never started, which shows elsewhere
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "panic:") || strings.Contains(line, `"panic":`) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// ready waits until so many replicas are connected to Slack.
func (w *world) ready(ctx context.Context, replicas int) error {
	return w.until(ctx, bootTime, "the bot to connect", func() bool { return len(w.box.Slack.Sockets()) >= replicas })
}
