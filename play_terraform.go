package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/integrations/aws"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/slack"
	"github.com/twokey/twokey/sandbox/terraform"
)

// rotatedByTerraform is the secret whose rotation is an apply.
const rotatedByTerraform = "github/prod"

// terraform is the bot beside real Terraform: a rotation that the next apply would
// revert, the way out of it, and a rotation that is an apply.
func (p *play) terraform(ctx context.Context) error {
	folder := filepath.Dir(p.cfg.Plans)
	p.say("Terraform is made ready: the AWS provider, and a stand-in for the azuread provider that speaks to the sandbox's Graph.")
	kit, err := terraform.ForSandbox(ctx, p.box, filepath.Join(folder, "terraform"))
	if err != nil {
		return err
	}
	for _, pair := range kit.Environ() { // as whoever starts a bot would
		name, value, _ := strings.Cut(pair, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	cloud, err := aws.New(ctx, aws.Config{Region: p.cfg.AWS.Region, Endpoint: p.cfg.AWS.EndpointURL})
	if err != nil {
		return err
	}
	beside := besideTerraform{play: p, teamsCode: teamsCode{box: p.box, kit: kit, cloud: cloud, folder: folder}}
	for i, t := range p.cfg.Targets {
		switch t.Name {
		case playSecret:
			p.cfg.Targets[i].Module = runbook.Module{Directory: beside.directory(playSecret), Program: "terraform"}
		case rotatedByTerraform:
			p.cfg.Targets[i].Module = runbook.Module{Directory: beside.directory(rotatedByTerraform), Program: "terraform", Rotates: true, Replace: "azuread_application_password.this"}
		}
	}
	for _, name := range []string{playSecret, rotatedByTerraform} {
		p.say("The team's own code for %s is applied: azuread_application_password, and aws_ssm_parameter with its value.", name)
		if err := beside.team(ctx, name); err != nil {
			return fmt.Errorf("provision %s as the team does: %w", name, err)
		}
	}
	if err := p.connected(ctx); err != nil {
		return err
	}
	if err := beside.guarded(ctx); err != nil {
		return err
	}
	return beside.applied(ctx)
}

// besideTerraform is a play with the team's code in it.
type besideTerraform struct {
	*play
	teamsCode
}

// teamsCode is a team's Terraform, at work in a sandbox.
type teamsCode struct {
	box    *sandbox.Sandbox
	kit    *terraform.Kit
	cloud  *aws.Client
	folder string
}

func (c teamsCode) directory(name string) string {
	return filepath.Join(c.folder, "infra", strings.ReplaceAll(name, "/", "-"))
}

// team has Terraform make and keep the secret, as the team does, and the service
// run on it.
func (c teamsCode) team(ctx context.Context, name string) error {
	secret, ok := c.box.Team.Secret(name)
	if !ok {
		return fmt.Errorf("the sandbox has no %s", name)
	}
	before, err := c.box.Check(name)
	if err != nil {
		return err
	}
	if err := c.apply(ctx, name, terraform.TeamModule(secret)); err != nil {
		return err
	}
	if _, err := c.cloud.Redeploy(ctx, secret.Cluster, secret.Service); err != nil {
		return err
	}
	if err := c.running(ctx, name, before.Version); err != nil {
		return err
	}
	for _, k := range before.Keys { // nobody uses what was there before
		if err := c.box.Entra.RemovePassword(secret.ClientID, k.ID); err != nil {
			return err
		}
	}
	return nil
}

// running waits until every task runs on a newer version than that.
func (c teamsCode) running(ctx context.Context, name string, version int64) error {
	ctx, cancel := context.WithTimeout(ctx, playTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if v, err := c.box.Check(name); err != nil || v.Version > version && len(v.Problems) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for all tasks of %s to run on Terraform's secret: %w", name, ctx.Err())
		}
	}
}

func (c teamsCode) apply(ctx context.Context, name, code string) error {
	if err := c.kit.Write(c.directory(name), code); err != nil {
		return err
	}
	return c.kit.Apply(ctx, c.directory(name))
}

// guarded is a rotation by the bot of what Terraform has made.
func (b besideTerraform) guarded(ctx context.Context) error {
	const ask = "/rotate sharepoint prod CHG0012345 yearly rotation"
	if err := b.command("alice", ask); err != nil {
		return err
	}
	if err := b.reads(ctx, "alice", "MAKES ANOTHER SECRET"); err != nil {
		return err
	}
	secret, _ := b.play.box.Team.Secret(playSecret) // it was found before
	b.say("The platform team goes the way of docs/terraform.md: value_wo first, then the password is forgotten. Two applies; the secret stays as it is.")
	for _, code := range []string{terraform.WriteOnlyModule(secret), terraform.BotModule(secret)} {
		if err := b.apply(ctx, playSecret, code); err != nil {
			return err
		}
	}
	if err := b.command("alice", ask); err != nil {
		return err
	}
	card, err := b.confirmed(ctx, "leaves the secret alone")
	if err != nil {
		return err
	}
	if err := b.untilThread(ctx, playChannel, card.TS, "the overlap to begin", "lives on until"); err != nil {
		return err
	}
	if err := b.quiet(ctx, card.TS); err != nil {
		return err
	}
	b.say("The sandbox's clock jumps 24 hours: the overlap is over.")
	b.play.box.Clock.Advance(24*time.Hour + time.Minute)
	if err := b.untilThread(ctx, playChannel, card.TS, "what Terraform would do", "The next terraform apply in "+b.directory(playSecret)+" leaves the secret alone"); err != nil {
		return err
	}
	if err := b.untilThread(ctx, playChannel, card.TS, "the end", "go.sum database tree"); err != nil {
		return err
	}
	if err := b.appliedAgain(ctx, playSecret); err != nil {
		return err
	}
	return b.judge(ctx, true)
}

// confirmed shows the card, which must say something, and has bob confirm it.
func (b besideTerraform) confirmed(ctx context.Context, says string) (slack.Message, error) {
	var card slack.Message
	err := b.until(ctx, playTime, "a card that says: "+says, func() bool {
		messages, err := b.play.box.Slack.Messages(playChannel, "")
		if err != nil {
			return false
		}
		for _, m := range messages {
			if len(m.Actions) > 0 && strings.Contains(m.Text, says) && strings.Contains(m.Text, "Waiting for a second person") {
				card = m
				return true
			}
		}
		return false
	})
	if err != nil {
		return card, err
	}
	b.say("The card, as everybody in %s reads it:", playChannel)
	b.quote(card.Text)
	return card, b.click("bob", card.TS, bot.ActionConfirm)
}

// reads waits for what only one person is told.
func (b besideTerraform) reads(ctx context.Context, user, text string) error {
	var last string
	err := b.until(ctx, playTime, user+" to read "+text, func() bool {
		told, err := b.play.box.Slack.Ephemerals(playChannel, user)
		if err != nil || len(told) == 0 {
			return false
		}
		last = told[len(told)-1].Text
		return strings.Contains(last, text)
	})
	b.say("only %s reads:", user)
	b.quote(last)
	return err
}

// appliedAgain is the proof of what the bot said: the next apply is made, and the
// secret is the same; nor does Terraform's state hold it.
func (b besideTerraform) appliedAgain(ctx context.Context, name string) error {
	secret, _ := b.play.box.Team.Secret(name) // it was found before
	before, err := b.cloud.Read(ctx, secret.SecretParameter)
	if err != nil {
		return err
	}
	b.say("Somebody applies the code of %s.", name)
	if err := b.kit.Apply(ctx, b.directory(name)); err != nil {
		return err
	}
	after, err := b.cloud.Read(ctx, secret.SecretParameter)
	if err != nil {
		return err
	}
	if after.Version != before.Version || !after.Value.Equal(before.Value) {
		return fmt.Errorf("the apply wrote version %d of %s", after.Version, secret.SecretParameter)
	}
	b.say("The parameter is still version %d, with the same secret.", after.Version)
	if name == rotatedByTerraform {
		return nil // there the state has it, and docs/terraform.md says so
	}
	return stateLacks(b.directory(name), after.Value)
}

func stateLacks(dir string, secret operation.Secret) error {
	state, err := os.ReadFile(filepath.Join(dir, "terraform.tfstate"))
	if err != nil {
		return fmt.Errorf("read Terraform's state: %w", err)
	}
	if strings.Contains(string(state), secret.Reveal()) {
		return errors.New("the secret lies in Terraform's state")
	}
	return nil
}

// applied is a rotation that is an apply of a saved plan.
func (b besideTerraform) applied(ctx context.Context) error {
	if err := b.command("alice", "/rotate github prod CHG0012346 yearly rotation"); err != nil {
		return err
	}
	card, err := b.confirmed(ctx, "DESTROYED BEFORE THERE IS A NEW ONE")
	if err != nil {
		return err
	}
	if err := b.untilThread(ctx, playChannel, card.TS, "the end", "Every step is done"); err != nil {
		return err
	}
	if err := b.untilThread(ctx, playChannel, card.TS, "the checkpoint", "go.sum database tree"); err != nil {
		return err
	}
	if err := b.appliedAgain(ctx, rotatedByTerraform); err != nil {
		return err
	}
	return b.left(ctx)
}

// left judges what a rotation by Terraform leaves, without asking the bot.
func (b besideTerraform) left(ctx context.Context) error {
	verdict, err := b.play.box.Check(rotatedByTerraform)
	if err != nil {
		return err
	}
	if !verdict.OK || verdict.Working != 1 {
		return fmt.Errorf("the final state of %s is wrong: %d working keys; %s", rotatedByTerraform, verdict.Working, strings.Join(verdict.Problems, "; "))
	}
	plans, err := os.ReadDir(b.cfg.Plans)
	if err != nil || len(plans) > 0 {
		return fmt.Errorf("plans are left: %v, %w", plans, err)
	}
	if _, err := b.verify(ctx); err != nil {
		return err
	}
	b.say("Judged from outside: one key of %s works, the live parameter (version %d) holds it, all %d tasks have it, and no saved plan is left.", rotatedByTerraform, verdict.Version, verdict.Tasks)
	return nil
}
