package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/slack"
)

// nodeFlag is for the benchmarks that have the Bolt app as their peer.
type nodeFlag struct {
	Node string `arg:"--node" default:"bench/node" placeholder:"FOLDER" help:"with the Bolt app, after npm ci --prefix bench/node"`
}

// world is a sandbox with what is measured in it. The sandbox runs in this
// process, so that what it measures it measures itself.
type world struct {
	dir     string // gone when the world is closed
	box     *sandbox.Sandbox
	program string
	config  string
}

// newWorld builds the program and starts a sandbox for it. adjust changes the
// bot's configuration; nil leaves it as the sandbox writes it.
func newWorld(ctx context.Context, o sandbox.Options, adjust func(config string) string) (*world, error) {
	dir, err := os.MkdirTemp("", "twokey-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	w := &world{dir: dir}
	if err := w.fill(ctx, o, adjust); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) fill(ctx context.Context, o sandbox.Options, adjust func(config string) string) (err error) {
	if w.program, err = build(ctx, w.dir); err != nil {
		return err
	}
	if w.box, err = sandbox.Start(ctx, o); err != nil {
		return err
	}
	if w.config, err = w.box.WriteFiles(w.dir); err != nil {
		return err
	}
	if _, err := audit.WriteKey(filepath.Join(w.dir, sandbox.RecordKeyFile), sandbox.RecordOrigin); err != nil {
		return err
	}
	if adjust == nil {
		return nil
	}
	config, err := os.ReadFile(w.config)
	if err != nil {
		return fmt.Errorf("read the bot's configuration: %w", err)
	}
	if err := os.WriteFile(w.config, []byte(adjust(string(config))), 0o600); err != nil {
		return fmt.Errorf("adjust the bot's configuration: %w", err)
	}
	return nil
}

func (w *world) close() {
	if w.box != nil {
		w.box.Close()
	}
	_ = os.RemoveAll(w.dir) // the system clears what stays
}

// database is the bot's, where its configuration has it.
func (w *world) database() string { return filepath.Join(w.dir, "twokey.db") }

// bot starts the real program.
func (w *world) bot() (*process, error) {
	return launch(w.dir, "twokey", w.box.Environ(w.dir), w.program, "run", "--config", w.config)
}

// connected waits until p has n sockets open to s, and returns when the last was.
func connected(ctx context.Context, p *process, s *slack.Server, n int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.ended:
			cancel()
		case <-stop:
		}
	}()
	var opened time.Time
	err := s.Wait(ctx, func() bool {
		sockets := s.Sockets()
		for _, socket := range sockets {
			opened = socket.Opened
		}
		return len(sockets) >= n
	})
	select {
	case <-p.ended:
		return opened, p.died()
	default:
	}
	if err != nil {
		return opened, fmt.Errorf("wait for %s to connect: %w", p.name, err)
	}
	return opened, nil
}

// gone waits until nobody is connected to s.
func gone(ctx context.Context, s *slack.Server) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.Wait(ctx, func() bool { return len(s.Sockets()) == 0 }); err != nil {
		return fmt.Errorf("wait for the sockets to close: %w", err)
	}
	return nil
}

// peerSlack is a second stand-in for Slack, of the same code in the same process,
// for the Bolt app: both can stay connected and warm.
type peerSlack struct {
	*slack.Server
	server *http.Server
	url    string
}

const (
	peerUser    = "alice"
	peerChannel = "#platform-ops"
)

func newPeerSlack() (*peerSlack, error) {
	s := slack.New(conditions.New(conditions.NewClock()))
	s.AddUser(slack.User{Name: peerUser})
	if _, err := s.AddChannel(slack.Channel{Name: strings.TrimPrefix(peerChannel, "#"), Members: []string{peerUser}}); err != nil {
		s.Close()
		return nil, fmt.Errorf("make the peer's channel: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open a port for the peer's Slack: %w", err)
	}
	p := &peerSlack{Server: s, url: "http://" + l.Addr().String() + "/slack/api/"}
	p.server = &http.Server{Handler: http.StripPrefix("/slack", s.Handler()), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(l) }() // until close
	return p, nil
}

func (p *peerSlack) close() {
	_ = p.server.Close()
	p.Close()
}

// bolt starts the Bolt app.
func (p *peerSlack) bolt(dir, node string) (*process, error) {
	if _, err := os.Stat(filepath.Join(node, "node_modules", "@slack", "bolt")); err != nil {
		return nil, fmt.Errorf("the Bolt app is not installed; run: npm ci --prefix %s", node)
	}
	program, err := exec.LookPath("node")
	if err != nil {
		return nil, errors.New("the Bolt app needs Node 20 or later, and there is none")
	}
	return launch(dir, "bolt", []string{"SLACK_API_URL=" + p.url, "SLACK_APP_TOKEN=" + p.AppToken(), "SLACK_BOT_TOKEN=" + p.BotToken(), "NODE_ENV=production"},
		program, filepath.Join(node, "bolt.mjs"))
}

// describeMachine says where the numbers come from.
func describeMachine(out io.Writer) {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, found := strings.Cut(string(info), "model name\t: "); found {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	_, _ = fmt.Fprintf(out, "%s, %d processors, %s/%s, %s; load before the run %s\n", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), load)
}
