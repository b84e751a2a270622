// Package terraform runs a team's own Terraform, Terragrunt or OpenTofu: without a
// shell, with fixed arguments and an environment of its own. Of what the program
// answers it reads the addresses of resources, what would be done to them, and
// their names; never a value.
package terraform

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Options say where plans lie and how long the program may take.
type Options struct {
	// Folder keeps plans, which hold secrets in plain text, for nobody else to read.
	Folder string
	// Limit bounds one run of the program; 0 means five minutes.
	Limit time.Duration
	// Environ is the environment that the program gets a part of, as os.Environ.
	Environ []string
}

// Client runs the programs. Run must be running while it is used.
type Client struct {
	folder  string
	limit   time.Duration
	environ []string
	now     func() time.Time

	mu      sync.Mutex
	flights map[string]*flight
	rooms   map[string]*sync.Mutex // one program at a time in a directory
	closing context.Context        // its end ends what only looks
	end     context.CancelFunc
	flying  sync.WaitGroup
}

// New makes a client. It touches nothing.
func New(o Options, now func() time.Time) *Client {
	if o.Limit == 0 {
		o.Limit = 5 * time.Minute
	}
	ctx, end := context.WithCancel(context.Background())
	return &Client{
		folder: o.Folder, limit: o.Limit, environ: environment(o.Environ), now: now,
		flights: map[string]*flight{}, rooms: map[string]*sync.Mutex{}, closing: ctx, end: end,
	}
}

// environment picks what the program needs to know. Our own tokens are not among
// it, nor are arguments (TF_CLI_ARGS) or debug logs (TF_LOG), which print secrets.
func environment(all []string) []string {
	keep := regexp.MustCompile(`^(PATH|HOME|TMPDIR|TZ|LANG|SSL_CERT_FILE|SSL_CERT_DIR|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY|TF_CLI_CONFIG_FILE|TF_PLUGIN_CACHE_DIR|TF_WORKSPACE|TF_VAR_\w+|AWS_\w+|ARM_\w+)=`)
	var out []string
	for _, pair := range all {
		if keep.MatchString(pair) {
			out = append(out, pair)
		}
	}
	return append(out,
		"TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1",
		// Terragrunt's names before and after its version 0.73; what it prints must be Terraform's own.
		"TERRAGRUNT_NON_INTERACTIVE=true", "TG_NON_INTERACTIVE=true", "TERRAGRUNT_FORWARD_TF_STDOUT=true", "TG_TF_FORWARD_STDOUT=true",
	)
}

// Run looks after the folder until ctx ends, and then waits for what runs. A plan
// that is being made is stopped; an apply is not: half an apply is the worst of all.
func (c *Client) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		err := c.sweep()
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.end()
			c.flying.Wait()
			return err
		}
	}
}

// flight is one run of the program, which outlives the call that began it: a call
// is short, and a program that is cut off may leave a lock behind.
type flight struct {
	done  chan struct{}
	plan  runbook.SavedPlan
	err   error
	ended time.Time
}

// stale is how old an answer may be that nobody has heard yet.
const stale = 30 * time.Second

// fly joins the flight called key, or begins it, and waits for its end or ctx's.
func (c *Client) fly(ctx context.Context, key string, f func() (runbook.SavedPlan, error)) (runbook.SavedPlan, error) {
	c.mu.Lock()
	fl := c.flights[key]
	if fl == nil || !fl.ended.IsZero() && time.Since(fl.ended) > stale {
		fl = &flight{done: make(chan struct{})}
		c.flights[key] = fl
		c.flying.Go(func() {
			plan, err := f()
			c.mu.Lock()
			defer c.mu.Unlock()
			fl.plan, fl.err, fl.ended = plan, err, time.Now()
			close(fl.done)
		})
	}
	c.mu.Unlock()
	select {
	case <-fl.done:
	case <-ctx.Done():
		return runbook.SavedPlan{}, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[key] == fl {
		delete(c.flights, key)
	}
	return fl.plan, fl.err
}

// room locks a directory: two runs of Terragrunt share its cache.
func (c *Client) room(directory string) func() {
	c.mu.Lock()
	m := c.rooms[directory]
	if m == nil {
		m = &sync.Mutex{}
		c.rooms[directory] = m
	}
	c.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// Next implements [runbook.Terraform]. The plan is thrown away, and takes no lock:
// a look must not hold up those who work.
func (c *Client) Next(ctx context.Context, m runbook.Module) ([]runbook.Resource, error) {
	plan, err := c.fly(ctx, "next "+m.Directory, func() (runbook.SavedPlan, error) {
		defer c.room(m.Directory)()
		dir, err := c.private("look-"+rand.Text(), c.now().Add(time.Hour))
		if err != nil {
			return runbook.SavedPlan{}, err
		}
		defer func() { _ = os.RemoveAll(dir) }() // what stays is swept
		return c.plan(m, dir, "-lock=false")
	})
	return plan.Resources, err
}

// planFile is a saved plan's name in its folder.
const planFile = "plan"

// plan makes a plan in dir and reads it.
func (c *Client) plan(m runbook.Module, dir string, more ...string) (runbook.SavedPlan, error) {
	ctx, cancel := context.WithTimeout(c.closing, c.limit)
	defer cancel()
	file := filepath.Join(dir, planFile)
	none := runbook.SavedPlan{}
	if err := c.run(ctx, m, dir, nil, nil, append([]string{"plan", "-input=false", "-no-color", "-out=" + file}, more...)...); err != nil {
		return none, err
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return none, operation.Permanent(fmt.Errorf("%s left no plan: it went elsewhere, or there is nothing to plan", m.Program))
	}
	var shown bytes.Buffer
	if err := c.run(ctx, m, dir, nil, &shown, "show", "-json", "-no-color", file); err != nil {
		return none, err
	}
	changes, err := read(&shown)
	if err != nil {
		return none, operation.Permanent(fmt.Errorf("%s show -json gave something that is no plan", m.Program))
	}
	ignored, err := ignoredValues(file)
	if err != nil {
		return none, operation.Permanent(fmt.Errorf("the saved plan of %s can't be read: %w", m.Program, err))
	}
	hash, err := hashOf(file)
	return runbook.SavedPlan{Hash: hash, Resources: resources(changes, ignored)}, err
}

// run runs the program in the module's directory. What it prints holds values, so
// only its answer is handed on, and of its errors their first lines. It inherits
// held: the file stays locked for as long as the program lives.
func (c *Client) run(ctx context.Context, m runbook.Module, dir string, held []*os.File, stdout io.Writer, args ...string) error {
	words, err := os.OpenFile(filepath.Join(dir, "errors"), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep what %s says: %w", m.Program, err)
	}
	defer func() { _ = words.Close() }() // read before
	cmd := exec.CommandContext(ctx, m.Program, args...)
	// To files, and to nobody: if we die, the program must not die of a broken pipe.
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = m.Directory, c.environ, stdout, words, held
	// Its own group, which gets one interrupt: Terraform then ends in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return operation.Permanent(fmt.Errorf("the program %s is not installed where I run", m.Program))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return operation.Permanent(fmt.Errorf("%s %s was stopped after %s", m.Program, args[0], c.limit))
	case ctx.Err() != nil:
		return fmt.Errorf("run %s %s: %w", m.Program, args[0], ctx.Err())
	}
	return operation.Permanent(fmt.Errorf("%s %s failed: %s", m.Program, args[0], headline(words, err)))
}

// maxWords is how much of what the program says is looked at, in bytes.
const maxWords = 64 << 10

// headline is the first line of each of Terraform's errors, which says what
// failed; the lines below it may quote values.
func headline(words io.ReadSeeker, failed error) string {
	if _, err := words.Seek(0, io.SeekStart); err != nil {
		return failed.Error()
	}
	text, err := io.ReadAll(io.LimitReader(words, maxWords))
	if err != nil {
		return failed.Error()
	}
	var said []string
	for _, found := range regexp.MustCompile(`(?m)\bError: (.{1,300})`).FindAllSubmatch(text, 3) {
		if line := strings.TrimSpace(operation.Redact(string(found[1]))); !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return failed.Error()
	}
	return strings.Join(said, "; ")
}

// private makes a folder that only this user can read, to be swept after until.
func (c *Client) private(name string, until time.Time) (string, error) {
	dir, err := filepath.Abs(filepath.Join(c.folder, name))
	if err != nil {
		return "", fmt.Errorf("find the folder of a plan: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for a plan: %w", err)
	}
	return dir, keepUntil(dir, until)
}

// keepUntil notes when a folder may be swept, before anything else is in it.
func keepUntil(dir string, until time.Time) error {
	note := filepath.Join(dir, "until")
	if err := os.WriteFile(note, []byte(until.UTC().Format(time.RFC3339)), 0o600); err != nil {
		return fmt.Errorf("note how long a plan is kept: %w", err)
	}
	return nil
}

// sweep removes plans whose time is over: those of requests that nobody confirmed,
// and what a process that died has left.
func (c *Client) sweep() error {
	entries, err := os.ReadDir(c.folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look through the folder for plans: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(c.folder, e.Name())
		note, err := os.ReadFile(filepath.Join(dir, "until"))
		if err != nil {
			continue // not one of ours, or only just made
		}
		if until, err := time.Parse(time.RFC3339, string(note)); err == nil && c.now().After(until) {
			_ = os.RemoveAll(dir) // tried again a minute later
		}
	}
	return nil
}

// read reads what show -json prints, and drops the rest.
func read(r io.Reader) ([]change, error) {
	var plan struct {
		Changes []change `json:"resource_changes"`
	}
	if err := json.NewDecoder(r).Decode(&plan); err != nil {
		return nil, fmt.Errorf("decode the plan: %w", err)
	}
	return plan.Changes, nil
}
