package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
)

type emergencyBenchmark struct {
	Runs    int           `default:"4" help:"emergencies of the bot, and as many of the script; at most 4"`
	Latency time.Duration `default:"100ms" help:"of every call to Slack, Entra, Graph, AWS and MCP"`
	Poll    int           `default:"0" help:"seconds between the script's looks at the roll-out; 0 is aws ecs wait services-stable, which looks every 15"`
}

//go:embed emergency.sh
var byHand string

// stage is a part of an emergency: as the bot's record names its last step, and as
// the script does.
type stage struct{ what, step, script string }

func stages() []stage {
	return []stage{
		{"the key is gone", "Remove the compromised key", "removed"},
		{"the stolen secret is refused", "Prove the stolen secret is refused", "refused"},
		{"new secret in place, tasks new", "Redeploy the service", "deployed"},
		{"the service works", "Check the MCP server", "serves"},
		{"cleared up", "Clear up", "cleared"},
		{"the audit logs are read", "Read the audit logs", "looked"},
	}
}

// emergency is one that was measured, from the confirmation on.
type emergency struct {
	removal time.Duration // until the removal arrived at Entra
	check   time.Duration // the longest call of the live check
	calls   map[string]int
	stages  []time.Duration // when each was done
}

// Run has the bot and the script disable secrets in turn, each another one.
func (b *emergencyBenchmark) Run(ctx context.Context, out io.Writer) error {
	describeMachine(out)
	for _, tool := range []string{"aws", "curl", "jq", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("the script needs %s, and there is none (aws: pip install awscli)", tool)
		}
	}
	w, err := newWorld(ctx, sandbox.Options{}, nil)
	if err != nil {
		return err
	}
	defer w.close()
	w.box.Conditions.SetLatency("*", b.Latency)
	w.box.Conditions.SetLatency("slack.socket", 0) // not a call of the emergency
	bot, err := w.bot()
	if err != nil {
		return err
	}
	defer bot.stop()
	if _, err := connected(ctx, bot, w.box.Slack, 1); err != nil {
		return err
	}
	var ours, theirs []emergency
	for i := range min(b.Runs, len(w.box.Team.Secrets)/2) {
		e, err := b.byBot(ctx, w, w.box.Team.Secrets[2*i])
		if err != nil {
			return fmt.Errorf("the bot disables %s: %w", w.box.Team.Secrets[2*i].Name, err)
		}
		ours = append(ours, e)
		if e, err = b.byScript(ctx, w, w.box.Team.Secrets[2*i+1]); err != nil {
			return fmt.Errorf("the script disables %s: %w", w.box.Team.Secrets[2*i+1].Name, err)
		}
		theirs = append(theirs, e)
	}
	b.report(out, ours, theirs)
	return nil
}

// byBot asks, confirms by typing, and waits for the end.
func (b *emergencyBenchmark) byBot(ctx context.Context, w *world, secret sandbox.Secret) (emergency, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if _, err := w.box.Slack.Command("alice", peerChannel, "/emergency-disable "+secret.Server+" "+secret.Environment+" for the benchmark"); err != nil {
		return emergency{}, err
	}
	card, err := w.card(ctx, secret.Name)
	if err != nil {
		return emergency{}, fmt.Errorf("wait for the card: %w", err)
	}
	if _, err := w.box.Slack.Click("bob", peerChannel, card, "confirm_typed"); err != nil {
		return emergency{}, err
	}
	if err := w.box.Slack.Wait(ctx, func() bool {
		screen, err := w.box.Slack.Views("bob")
		return err == nil && len(screen.Modals) > 0
	}); err != nil {
		return emergency{}, fmt.Errorf("wait for the form: %w", err)
	}
	submitted := time.Now()
	if _, err := w.box.Slack.SendSubmit(slack.SubmitRequest{User: "bob", Values: map[string]any{"typed": secret.Name}}); err != nil {
		return emergency{}, err
	}
	entries, err := w.ended(ctx, operation.SecretName(secret.Name))
	if err != nil {
		return emergency{}, err
	}
	e := emergency{}
	for _, s := range stages() {
		i := slices.IndexFunc(entries, func(e operation.Entry) bool { return e.Step == s.step && e.Outcome == operation.Verified })
		if i < 0 {
			return emergency{}, fmt.Errorf("the record does not have %q", s.step)
		}
		e.stages = append(e.stages, entries[i].At.Sub(submitted))
	}
	e.calls, _ = callsBetween(w.box.Conditions.Calls(), submitted, submitted.Add(e.stages[len(e.stages)-1]))
	return e, errors.Join(e.contained(w, submitted), w.content(secret))
}

// contained reads the way to the removal off the sandbox's log of calls.
func (e *emergency) contained(w *world, submitted time.Time) error {
	for _, c := range w.box.Conditions.Calls() {
		if c.Arrived.Before(submitted) {
			continue
		}
		switch c.Operation {
		case "slack.users.info", "slack.conversations.info", "slack.usergroups.users.list", "graph.listUsers":
			if e.removal == 0 || c.Arrived.Sub(submitted) < e.removal {
				e.check = max(e.check, c.Took)
			}
		case "graph.removePassword":
			if at := c.Arrived.Sub(submitted); e.removal == 0 || at < e.removal {
				e.removal = at
			}
		}
	}
	if e.removal == 0 {
		return errors.New("no removal arrived")
	}
	return nil
}

// ended waits for an operation's end and returns its record.
func (w *world) ended(ctx context.Context, secret operation.SecretName) ([]operation.Entry, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		entries, err := w.record(ctx, secret)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			switch e.Event {
			case operation.Finish:
				return entries, nil
			case operation.Park, operation.Fail:
				return nil, fmt.Errorf("%s: %s", e.Step, e.Text)
			default: // it goes on
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *world) content(secret sandbox.Secret) error {
	v, err := w.box.Check(secret.Name)
	if err == nil && (!v.OK || v.Working != 1) {
		err = fmt.Errorf("the sandbox is not content: %d working keys; %s", v.Working, strings.Join(v.Problems, "; "))
	}
	return err
}

// byScript runs the script, which says when it has done what.
func (b *emergencyBenchmark) byScript(ctx context.Context, w *world, secret sandbox.Secret) (emergency, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	script := filepath.Join(w.dir, "emergency.sh")
	if err := os.WriteFile(script, []byte(byHand), 0o700); err != nil {
		return emergency{}, fmt.Errorf("write the script: %w", err)
	}
	call := toolCalls()[secret.Server]
	command := exec.CommandContext(ctx, "bash", script)
	command.Env = append(append(os.Environ(), w.box.Environ(w.dir)...),
		"CA="+filepath.Join(w.dir, sandbox.CAFile), "ENTRA="+w.box.EntraURL(), "TENANT="+w.box.Team.Tenant, "BOT="+w.box.Team.Bot.ClientID,
		"CLIENT="+secret.ClientID, "PARAMETER="+secret.SecretParameter, "CLUSTER="+secret.Cluster, "SERVICE="+secret.Service,
		"MCP_URL="+w.box.URL()+"/mcp/"+secret.Environment+"/"+secret.Server, "HEALTH_URL="+w.box.URL()+"/mcp/"+secret.Environment+"/"+secret.Server+"/health",
		"TOOL="+call.tool, "ARGUMENTS="+call.arguments, "EXPECT="+call.expect, "POLL="+strconv.Itoa(b.Poll), "AWS_PAGER=", "AWS_MAX_ATTEMPTS=10")
	var said, complained bytes.Buffer
	command.Stdout, command.Stderr = &said, &complained
	if err := command.Run(); err != nil {
		return emergency{}, fmt.Errorf("run the script: %w: %s%s", err, &said, &complained)
	}
	e, err := readStages(&said)
	return e, errors.Join(err, w.content(secret))
}

// toolCall is a server's test call, as the sandbox's configuration has it.
type toolCall struct{ tool, arguments, expect string }

func toolCalls() map[string]toolCall {
	return map[string]toolCall{
		"sharepoint": {"search_documents", `{"query":"onboarding"}`, "Onboarding guide"},
		"github":     {"search_repositories", `{"query":"connectors"}`, "platform/connectors"},
		"jira":       {"search_issues", `{"query":"rotate"}`, "OPS-101"},
		"confluence": {"search_pages", `{"query":"runbook"}`, "rotate a client secret"},
	}
}

// readStages reads the script's lines "done <seconds> <stage>".
func readStages(said io.Reader) (emergency, error) {
	at := map[string]float64{}
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 3 || words[0] != "done" {
			continue
		}
		seconds, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return emergency{}, fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		at[words[2]] = seconds
	}
	var e emergency
	for _, s := range stages() {
		if at[s.script] == 0 || at["ready"] == 0 {
			return e, fmt.Errorf("the script did not say when %s", s.what)
		}
		e.stages = append(e.stages, time.Duration((at[s.script]-at["ready"])*float64(time.Second)))
	}
	return e, nil
}

// report compares the two.
func (b *emergencyBenchmark) report(out io.Writer, ours, theirs []emergency) {
	of := func(runs []emergency, f func(emergency) time.Duration, unit time.Duration) []float64 {
		values := make([]float64, len(runs))
		for i, r := range runs {
			values[i] = float64(f(r)) / float64(unit)
		}
		return values
	}
	removal := of(ours, func(e emergency) time.Duration { return e.removal }, time.Millisecond)
	ratio := of(ours, func(e emergency) time.Duration { return e.removal }, b.Latency)
	check := of(ours, func(e emergency) time.Duration { return e.check }, time.Millisecond)
	_, _ = fmt.Fprintf(out, "from the confirming submission to the arrival of removePassword: %s ms\n", spread(removal, "%.1f"))
	_, _ = fmt.Fprintf(out, "the longest call of the live check: %s ms\n", spread(check, "%.1f"))
	_, _ = fmt.Fprintf(out, "%s × one round trip of %s; must reach 1.10: %s\n", spread(ratio, "%.3f"), b.Latency, verdict(median(ratio), 1.1))

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "since the confirmation\ttwokey\tthe script\tratio")
	for i, s := range stages() {
		bot := median(of(ours, func(e emergency) time.Duration { return e.stages[i] }, time.Second))
		hand := median(of(theirs, func(e emergency) time.Duration { return e.stages[i] }, time.Second))
		_, _ = fmt.Fprintf(table, "%s\t%.2f s\t%.2f s\t%.2f\n", s.what, bot, hand, bot/hand)
	}
	_ = table.Flush() // the writer is the terminal's
	_, _ = fmt.Fprintf(out, "the bot's calls of the middle run: %s\n", countsOf(ours[len(ours)/2].calls))
	last := len(stages()) - 1
	whole := of(ours, func(e emergency) time.Duration { return e.stages[last] }, time.Second)
	hand := of(theirs, func(e emergency) time.Duration { return e.stages[last] }, time.Second)
	_, _ = fmt.Fprintf(out, "the whole emergency: twokey %s s; the script %s s\n", spread(whole, "%.2f"), spread(hand, "%.2f"))
	_, _ = fmt.Fprintf(out, "%.3f × the script; must reach 0.50: %s\n", median(whole)/median(hand), verdict(median(whole)/median(hand), 0.5))
}
