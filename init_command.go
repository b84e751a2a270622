package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/twokey/twokey/discovery"
	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/integrations/mcp"
	"github.com/twokey/twokey/operation"
)

type initCommand struct {
	ConfigFile string `arg:"--config" default:"twokey.yml" placeholder:"FILE" help:"the file to write"`
	Force      bool   `help:"replace the file if there is one"`

	Channel    string `arg:"--operations-channel" placeholder:"ID" help:"where requests are confirmed: C…"`
	Approvers  string `placeholder:"ID" help:"user group whose members may confirm: S…"`
	Requesters string `placeholder:"ID" help:"user group whose members may ask; left out: every full member"`
	Tenant     string `placeholder:"TENANT" help:"of Entra: its id or domain"`
	ClientID   string `arg:"--client-id" placeholder:"ID" help:"of the bot's own app registration"`
	Region     string `arg:"--region,env:AWS_REGION" placeholder:"REGION" help:"of AWS"`
	Path       string `placeholder:"PATH" help:"of the parameters, such as /aiconnectors; or how a client secret's is named: /aiconnectors/{env}/{mcp}/client_secret"`

	AppToken   string `arg:"--app-token" default:"env:SLACK_APP_TOKEN" placeholder:"WHERE" help:"env:NAME or file:PATH"`
	BotToken   string `arg:"--bot-token" default:"env:SLACK_BOT_TOKEN" placeholder:"WHERE" help:"env:NAME or file:PATH"`
	Credential string `placeholder:"WHERE" help:"env:NAME or file:PATH of the bot's Entra client secret; left out: AWS vouches for it"`
	Database   string `placeholder:"ADDRESS" help:"sqlite:FILE or postgres://host/name"`
	KeyFile    string `arg:"--key-file" placeholder:"FILE" help:"that signs the record; twokey audit key makes it"`
	Origin     string `placeholder:"NAME" help:"of the record, such as twokey.example.com/record"`

	Cluster   string            `placeholder:"PATTERN" help:"ECS cluster of secrets that no service was found for"`
	Service   string            `placeholder:"PATTERN" help:"and their service"`
	Variable  string            `placeholder:"NAME" help:"and the variable that it takes the secret as"`
	URL       string            `arg:"--mcp-url" placeholder:"PATTERN" help:"of the MCP servers: https://{mcp}.{env}.example.com/mcp"`
	Health    string            `arg:"--mcp-health" placeholder:"PATTERN" help:"and of their health check"`
	Tool      map[string]string `arg:"--tool,separate" placeholder:"SERVER=TOOL" help:"the tool that each rotation calls; it must only read"`
	Arguments map[string]string `arg:"--arguments,separate" placeholder:"SERVER=JSON" help:"what it is called with"`
	Expect    map[string]string `arg:"--expect,separate" placeholder:"SERVER=TEXT" help:"what its answer must contain"`

	SlackAPIURL string `arg:"--slack-api-url" placeholder:"URL" help:"if not Slack's own"`
	LoginURL    string `arg:"--login-url" placeholder:"URL" help:"if not Microsoft's public cloud's"`
	GraphURL    string `arg:"--graph-url" placeholder:"URL" help:"if not Microsoft's public cloud's"`
	CAFile      string `arg:"--ca-file" placeholder:"FILE" help:"of a proxy that looks into TLS"`
	EndpointURL string `arg:"--aws-endpoint-url" placeholder:"URL" help:"if not AWS's own"`
}

// lookTime bounds how long init looks around; toolTime, how long it waits for one
// MCP server.
const (
	lookTime = 2 * time.Minute
	toolTime = 5 * time.Second
)

// Run asks what no flag says, looks around, and writes the file.
func (c *initCommand) Run(ctx context.Context, io streams) error {
	if _, err := os.Stat(c.ConfigFile); err == nil && !c.Force {
		return misuse{fmt.Errorf("there is a %s already; name another file with --config, or replace it with --force", c.ConfigFile)}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return misuse{fmt.Errorf("look for %s: %w", c.ConfigFile, err)}
	}
	if err := c.ask(ctx, io); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	found, err := c.look(ctx, io)
	if err != nil {
		return err
	}
	answers := c.answers()
	answers.Offered = c.offered(ctx, found)
	if err := c.write(found, answers); err != nil {
		return err
	}
	n := 0
	for _, g := range found.Groups {
		n += len(g.Secrets)
	}
	_, _ = fmt.Fprintf(io.out, "%s describes %s. Read it, then:\n  twokey config check --config %[1]s\n", c.ConfigFile, count(n, "secret"))
	if _, err := LoadConfig(c.ConfigFile, io.getenv); err != nil {
		_, _ = fmt.Fprintf(io.out, "which says as yet:\n%s\n", err)
	}
	return nil
}

// prompt asks for what the file cannot be without.
type prompt struct {
	flag, text string
	answer     *string
	shape      string // an expression
}

func (c *initCommand) prompts() []prompt {
	const guid = `[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`
	return []prompt{
		{"--operations-channel", "Slack channel where requests are confirmed (its id, C…)", &c.Channel, `[CG][A-Z0-9]{2,}`},
		{"--approvers", "Slack user group whose members may confirm (its id, S…)", &c.Approvers, `S[A-Z0-9]{2,}`},
		{"--tenant", "Entra tenant (its id or domain)", &c.Tenant, guid + `|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`},
		{"--client-id", "client id of the bot's app registration", &c.ClientID, guid},
		{"--region", "AWS region", &c.Region, `[a-z]{2}(-[a-z]+)+-[0-9]`},
		{"--path", "path of the secrets' parameters in SSM (such as /aiconnectors)", &c.Path, `/.*`},
	}
}

// ask puts the questions that no flag answers to whoever sits at the terminal.
func (c *initCommand) ask(ctx context.Context, io streams) error {
	var lines <-chan string
	for _, q := range c.prompts() {
		if *q.answer == "" && io.in == nil {
			return misuse{fmt.Errorf("%s is missing, and this is no terminal to ask at: %s", q.flag, q.text)}
		}
		right := regexp.MustCompile(`^(` + q.shape + `)$`)
		if *q.answer != "" && !right.MatchString(*q.answer) {
			return misuse{fmt.Errorf("%s is not right: %s", q.flag, q.text)}
		}
		for *q.answer == "" {
			if lines == nil {
				lines = read(io.in)
			}
			_, _ = fmt.Fprintf(io.err, "%s: ", q.text)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case line, more := <-lines:
				switch line = strings.TrimSpace(line); {
				case right.MatchString(line):
					*q.answer = line
				case !more:
					return misuse{fmt.Errorf("%s is missing, and nobody answers: %s", q.flag, q.text)}
				default:
					_, _ = fmt.Fprintln(io.err, "That does not look like one.")
				}
			}
		}
	}
	return c.checkFlags()
}

// read hands lines on. A read of a terminal can't be interrupted: the goroutine ends
// with its last line, or with the program.
func read(from io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(from); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

func (c *initCommand) checkFlags() error {
	for flag, where := range map[string]string{"--app-token": c.AppToken, "--bot-token": c.BotToken, "--credential": c.Credential} {
		if where != "" && !regexp.MustCompile(`^(env|file):.`).MatchString(where) {
			return misuse{fmt.Errorf("%s takes env:NAME or file:PATH, and never the secret itself", flag)}
		}
	}
	for server, text := range c.Arguments {
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return misuse{fmt.Errorf("--arguments of %s is not a JSON object: %w", server, err)}
		}
	}
	return nil
}

// look finds out what it can, with the AWS credentials of whoever runs the command.
func (c *initCommand) look(ctx context.Context, io streams) (discovery.Found, error) {
	cloud, err := aws.New(ctx, aws.Config{Region: c.Region, Endpoint: c.EndpointURL})
	if err != nil {
		return discovery.Found{}, err
	}
	directory, err := c.directory(cloud, io)
	if err != nil {
		return discovery.Found{}, misuse{err}
	}
	return discovery.Look(ctx, cloud, directory, c.Path)
}

// directory signs in to Entra as the bot would.
func (c *initCommand) directory(cloud *aws.Client, io streams) (discovery.Entra, error) {
	cfg := &Config{Entra: EntraConfig{Tenant: c.Tenant, ClientID: c.ClientID, CAFile: c.CAFile,
		LoginURL: cmp.Or(c.LoginURL, "https://login.microsoftonline.com"), GraphURL: cmp.Or(c.GraphURL, "https://graph.microsoft.com")}}
	switch kind, where, _ := strings.Cut(c.Credential, ":"); kind {
	case "env":
		cfg.Entra.Secret = operation.NewSecret(io.getenv(where))
	case "file":
		text, err := readUpTo(where, maxToken)
		if err != nil {
			return nil, fmt.Errorf("read --credential: %w", err)
		}
		cfg.Entra.Secret = operation.NewSecret(strings.TrimSpace(string(text)))
	}
	if c.Credential != "" && cfg.Entra.Secret.IsZero() {
		return nil, errors.New("--credential names nothing that holds a secret")
	}
	return newDirectory(cfg, cloud, slog.New(slog.DiscardHandler))
}

// offered asks the MCP server of each server's first environment for its tools.
func (c *initCommand) offered(ctx context.Context, found discovery.Found) map[string][]discovery.Tool {
	out := map[string][]discovery.Tool{}
	if c.URL == "" {
		return out
	}
	servers := mcp.New(mcp.Options{Timeout: toolTime}, time.Now)
	for _, g := range found.Groups {
		for _, s := range g.Secrets {
			if c.Tool[s.Server] != "" || out[s.Server] != nil {
				continue
			}
			url := strings.NewReplacer("{mcp}", s.Server, "{env}", s.Environment).Replace(c.URL)
			if tools, err := servers.Tools(ctx, url); err == nil { // else the next environment's may be reached from here
				out[s.Server] = tools
			}
		}
	}
	return out
}

func (c *initCommand) answers() discovery.Answers {
	return discovery.Answers{
		AppToken: c.AppToken, BotToken: c.BotToken, OperationsChannel: c.Channel, Approvers: c.Approvers, Requesters: c.Requesters,
		SlackAPIURL: c.SlackAPIURL, Tenant: c.Tenant, ClientID: c.ClientID, Credential: c.Credential,
		LoginURL: c.LoginURL, GraphURL: c.GraphURL, CAFile: c.CAFile, Region: c.Region, EndpointURL: c.EndpointURL,
		Database: c.Database, KeyFile: c.KeyFile, Origin: c.Origin, URL: c.URL, Health: c.Health,
		Cluster: c.Cluster, Service: c.Service, Variable: c.Variable, Tool: c.Tool, Arguments: c.Arguments, Expect: c.Expect,
	}
}

// write puts the file in its place at once: nobody reads half of it, and without
// --force none that came in the meantime is lost.
func (c *initCommand) write(found discovery.Found, answers discovery.Answers) error {
	f, err := os.CreateTemp(filepath.Dir(c.ConfigFile), ".twokey-init-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", c.ConfigFile, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // after a rename there is none
	err = errors.Join(discovery.Write(f, found, answers), f.Chmod(0o644), f.Close())
	if err == nil && c.Force {
		err = os.Rename(f.Name(), c.ConfigFile)
	} else if err == nil {
		err = os.Link(f.Name(), c.ConfigFile) // fails if there is one
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", c.ConfigFile, err)
	}
	return nil
}
