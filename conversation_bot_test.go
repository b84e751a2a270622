package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox"
)

// beBot is the environment variable that makes the test binary a bot; its value is
// the configuration's path. beBotAt is the sandbox whose clock it goes by.
const (
	beBot   = "TWOKEY_TEST_BOT"
	beBotAt = "TWOKEY_TEST_SANDBOX"
	// beBotFor are the tasks that it does by itself.
	beBotFor = "TWOKEY_TEST_TASKS"
)

// runningBot is the real bot of one conversation: in this process or, where it is
// to be killed, in one of its own.
type runningBot struct {
	box    *sandbox.Sandbox
	config string
	own    bool // a process of its own
	// does are the tasks that the script is about, of "reminders", "sweeps" and
	// "digest"; the others would only come into the way, every morning.
	does     []string
	patience time.Duration // when the bot gives a step up; 0: as in production
	log      *safeBuffer
	spans    *safeBuffer // traces, where it runs in this process
	ended    chan error

	mu      sync.Mutex // a script kills it in the middle of a call, which is another goroutine's
	cancel  context.CancelFunc
	done    chan struct{}
	command *exec.Cmd
}

// testPace is the bot's pace against a sandbox without replicas and limits.
func testPace(patience time.Duration) Pace {
	return Pace{
		Proof:    runbook.Proof{Tokens: 5, Reads: 3, Gap: 10 * time.Millisecond},
		Patience: patience,
		Spacing:  time.Millisecond, EditSpacing: time.Millisecond,
	}
}

// newBot writes the bot's files. Settings are lines for the configuration's
// defaults, such as "overlap: 1h"; what is about emergencies or the digest stands for itself.
func newBot(box *sandbox.Sandbox, dir string, settings []string, own bool) (*runningBot, error) {
	path, err := writeSandboxFiles(box, dir)
	if err != nil {
		return nil, err
	}
	if len(settings) > 0 {
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		config := string(src)
		for _, s := range settings {
			switch {
			case s == "servicenow":
				config += box.ServiceNowYAML(filepath.Dir(path))
			case strings.HasPrefix(s, "emergency:"), strings.HasPrefix(s, "digest:"), strings.HasPrefix(s, "policy:"):
				config += s + "\n"
			case strings.HasPrefix(s, "second_factor:"):
				apps, err := authenticators(box, dir)
				if err != nil {
					return nil, err
				}
				config += strings.Replace(s, "<bob and carol>", apps, 1) + "\n"
			default:
				config = strings.Replace(config, "\ndefaults:\n", "\ndefaults:\n  "+s+"\n", 1)
			}
		}
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			return nil, err
		}
	}
	return &runningBot{box: box, config: path, own: own, log: &safeBuffer{}, spans: &safeBuffer{}, ended: make(chan error, 1)}, nil
}

// start starts the bot and waits until it is connected.
func (b *runningBot) start() error {
	if err := b.begin(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), looking)
	defer cancel()
	go func() {
		select {
		case err := <-b.ended:
			b.ended <- err
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := b.box.Slack.Wait(ctx, func() bool { return len(b.box.Slack.Sockets()) > 0 }); err != nil {
		return fmt.Errorf("the bot does not connect: %w\n%s", err, b.log.String())
	}
	return nil
}

func (b *runningBot) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.box.Slack.Sockets()) > 0 {
		return errors.New("the bot is running already")
	}
	if b.own {
		return b.outside()
	}
	return b.inside()
}

// inside runs the bot in this process.
func (b *runningBot) inside() error {
	cfg, err := LoadConfig(b.config, os.Getenv)
	if err != nil {
		return err
	}
	cfg.Pace = testPace(b.patience)
	onlyTasks(cfg, b.does)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	b.cancel, b.done = cancel, done
	go func() {
		defer close(done)
		spans := sdk.NewTracerProvider(sdk.WithSyncer(written{b.spans}))
		err := assemble(ctx, cfg, b.box.Clock.Now, newLogger(b.log, slog.LevelDebug), spans.Tracer(tracerName))
		if err != nil || ctx.Err() == nil {
			b.ended <- fmt.Errorf("serve returned %w", err)
		}
	}()
	return nil
}

// outside runs the bot as a process that can be killed.
func (b *runningBot) outside() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.command = exec.Command(self)
	b.command.Env = append(os.Environ(), beBot+"="+b.config, beBotAt+"="+b.box.URL(), beBotFor+"="+strings.Join(b.does, " "), "GOTRACEBACK=crash")
	b.command.Stderr = b.log
	if err := b.command.Start(); err != nil {
		return err
	}
	done, command := make(chan struct{}), b.command
	b.done = done
	b.cancel = func() { _ = command.Process.Signal(os.Interrupt) }
	go func() {
		defer close(done)
		var killed *exec.ExitError
		if err := command.Wait(); err != nil && (!errors.As(err, &killed) || killed.ExitCode() > 0) {
			b.ended <- err
		}
	}()
	return nil
}

// stop ends the bot as a deployment would, and waits.
func (b *runningBot) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel == nil {
		return
	}
	b.cancel()
	<-b.done
	b.cancel = nil
	b.disconnected()
}

// kill ends the bot's process in the middle of whatever it does.
func (b *runningBot) kill() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.command.Process.Kill(); err != nil {
		return err
	}
	<-b.done
	b.cancel = nil
	b.disconnected()
	return nil
}

// crash ends the bot's process as a fatal error of Go's would, which prints the stacks
// of all goroutines, and of the runtime's own.
func (b *runningBot) crash() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.command.Process.Signal(syscall.SIGABRT); err != nil {
		return err
	}
	<-b.done
	b.cancel = nil
	b.disconnected()
	if text := b.log.String(); !strings.Contains(text, "SIGABRT") || !strings.Contains(text, "ssm.(*Client).PutParameter(") {
		return errors.New("the crash printed no stacks, so nothing is proven")
	}
	return nil
}

// disconnected waits until Slack has noticed.
func (b *runningBot) disconnected() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = b.box.Slack.Wait(ctx, func() bool { return len(b.box.Slack.Sockets()) == 0 }) // start complains if not
}

// onlyTasks leaves out what the bot would do by itself besides.
func onlyTasks(cfg *Config, does []string) {
	if !slices.Contains(does, "reminders") {
		cfg.Reminders.Schedules = nil
	}
	if !slices.Contains(does, "sweeps") {
		cfg.Sweeps.Schedule = nil
	}
	if !slices.Contains(does, "digest") {
		cfg.Digest.Schedule = nil
	}
}

// botProcess is the test binary as a bot.
func botProcess() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cfg, err := LoadConfig(os.Getenv(beBot), os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	cfg.Pace = testPace(0)
	onlyTasks(cfg, strings.Fields(os.Getenv(beBotFor)))
	now, err := clockOf(ctx, os.Getenv(beBotAt))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	interrupted, end := signal.NotifyContext(ctx, os.Interrupt)
	defer end()
	if err := serve(interrupted, cfg, now, newLogger(os.Stderr, slog.LevelDebug)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// clockOf follows the clock of a sandbox in another process.
func clockOf(ctx context.Context, url string) (func() time.Time, error) {
	var ahead atomic.Int64
	look := func() error {
		res, err := http.Get(url + "/_sandbox/clock")
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		var clock struct{ Now time.Time }
		if err := json.NewDecoder(res.Body).Decode(&clock); err != nil {
			return err
		}
		ahead.Store(int64(time.Until(clock.Now)))
		return nil
	}
	if err := look(); err != nil {
		return nil, err
	}
	go func() {
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			_ = look() // the last answer will do
		}
	}()
	return func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, nil
}

// safeBuffer is a buffer that several may write to.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// database is the bot's file, and what SQLite keeps beside it.
func (b *runningBot) database() []string {
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(b.config), "twokey.db*")) // the pattern is a good one
	return files
}

// written writes spans down as they end.
type written struct{ to *safeBuffer }

// ExportSpans implements sdk.SpanExporter.
func (w written) ExportSpans(_ context.Context, spans []sdk.ReadOnlySpan) error {
	for _, s := range tracetest.SpanStubsFromReadOnlySpans(spans) {
		if _, err := fmt.Fprintf(w.to, "%s %v %v %v\n", s.Name, s.Attributes, s.Status, s.Events); err != nil {
			return err
		}
	}
	return nil
}

// Shutdown implements sdk.SpanExporter.
func (written) Shutdown(context.Context) error { return nil }
