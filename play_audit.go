package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/evidence"
	"github.com/twokey/twokey/evidence/checker"
	"github.com/twokey/twokey/integrations/servicenow"
	"github.com/twokey/twokey/operation"
	instance "github.com/twokey/twokey/sandbox/servicenow"
	"github.com/twokey/twokey/sandbox/slack"
)

// The change and the canary of the audit's play.
const (
	playChange = "CHG0012345"
	playCanary = "jira/dev"
)

// audit is a rotation under a change, an emergency that is rehearsed, what was refused,
// and the evidence of all that: checked, spoilt by one byte, and found out.
func (p *play) audit(ctx context.Context) error {
	p.manageChanges()
	began := p.box.Clock.Now()
	if err := p.connected(ctx); err != nil {
		return err
	}
	if err := p.rotateUnderAChange(ctx); err != nil {
		return err
	}
	if err := p.rehearse(ctx); err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(p.cfg.Record.KeyFile), "evidence")
	p.say("twokey evidence --from %s --out evidence", began.UTC().Format(time.DateOnly))
	now := p.box.Clock.Now()
	if err := writeEvidence(ctx, p.cfg, evidence.Material{From: began.Add(-time.Second), To: now.Add(time.Second)}, func() time.Time { return now }, dir, p.log); err != nil {
		return err
	}
	return p.judgeEvidence(dir)
}

// manageChanges gives the bot a ServiceNow with one change, and a secret that drills are
// held with.
func (p *play) manageChanges() {
	p.cfg.ServiceNow = servicenow.Config{
		URL: p.box.URL() + "/servicenow", User: instance.User, Password: operation.NewSecret(p.box.ServiceNow.Password), Table: instance.Table, States: []string{implement},
	}
	for i, t := range p.cfg.Targets {
		p.cfg.Targets[i].Canary = string(t.Name) == playCanary
		if t.Environment == "prod" {
			p.cfg.Targets[i].ChangeReferencePattern = "^CHG[0-9]{7}$"
		}
	}
	now := p.box.Clock.Now()
	p.box.ServiceNow.Put(instance.Change{Number: playChange, Summary: "Yearly rotation", State: implement, Approval: "approved", Start: now.Add(-time.Hour), End: now.Add(2 * time.Hour)})
}

func (p *play) rotateUnderAChange(ctx context.Context) error {
	if err := p.command("alice", "/rotate sharepoint prod CHG0000001 yearly rotation"); err != nil {
		return err
	}
	if err := p.whispered(ctx, "alice", "There is no change CHG0000001"); err != nil {
		return err
	}
	if err := p.command("alice", "/rotate sharepoint prod "+playChange+" yearly rotation"); err != nil {
		return err
	}
	card, err := p.card(ctx)
	if err != nil {
		return err
	}
	if err := p.confirmed(ctx, card.TS); err != nil {
		return err
	}
	err = p.until(ctx, playTime, "the last work note", func() bool {
		change, _ := p.box.ServiceNow.Change(playChange)
		return len(change.Notes) == 3
	})
	if err != nil {
		return err
	}
	change, _ := p.box.ServiceNow.Change(playChange)
	p.say("The last of the three work notes of %s:", playChange)
	p.quote(change.Notes[2].Text)
	return p.judge(ctx, true)
}

// rehearse holds a drill with the canary.
func (p *play) rehearse(ctx context.Context) error {
	server, environment, _ := strings.Cut(playCanary, "/")
	if err := p.command("alice", "/emergency-disable drill "+server+" "+environment+" the yearly practice"); err != nil {
		return err
	}
	var card slack.Message
	err := p.until(ctx, playTime, "the drill's card", func() bool {
		var err error
		card, err = p.card(ctx) // until it is there, that of the rotation, which has buttons, too
		return err == nil && card.Actions[0].ActionID == bot.ActionConfirmTyped
	})
	if err != nil {
		return err
	}
	if err := p.typed(ctx, "carol", card.TS, playCanary, ""); err != nil {
		return err
	}
	room, status, err := p.room(ctx, "drill-")
	if err != nil {
		return err
	}
	if err := p.untilThread(ctx, room, status, "the end", "Every step is done"); err != nil {
		return err
	}
	return p.untilThread(ctx, room, status, "the checkpoint", "go.sum database tree")
}

// whispered waits for what only one person reads.
func (p *play) whispered(ctx context.Context, user, text string) error {
	return p.until(ctx, playTime, "what "+user+" is told", func() bool {
		told, err := p.box.Slack.Ephemerals(playChannel, user)
		if err != nil || len(told) == 0 || !strings.Contains(told[len(told)-1].Text, text) {
			return false
		}
		p.quote("only " + user + " reads: " + told[len(told)-1].Text)
		return true
	})
}

// judgeEvidence checks the evidence as an auditor would, changes one byte of each file in
// turn, and wants every change to be found.
func (p *play) judgeEvidence(dir string) error {
	verifier, err := os.ReadFile(p.cfg.Record.KeyFile + ".pub")
	if err != nil {
		return fmt.Errorf("read the verifier key: %w", err)
	}
	p.say("The offline check, with the verifier key from elsewhere:")
	var said bytes.Buffer
	code := checker.Main(dir, string(verifier), &said)
	p.quote(said.String())
	if code != 0 {
		return errNotAsWritten
	}
	if err := p.evidenceHas(dir); err != nil {
		return err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look into the evidence: %w", err)
	}
	p.say("One byte of each of the %d files is changed, one after the other:", len(there))
	for _, file := range there {
		first, err := spoilt(filepath.Join(dir, file.Name()), func() string {
			said.Reset()
			if checker.Main(dir, string(verifier), &said) == 0 {
				return ""
			}
			for line := range strings.Lines(said.String()) {
				if strings.HasPrefix(line, "WRONG") {
					return strings.TrimSpace(line)
				}
			}
			return "found"
		})
		switch {
		case err != nil:
			return err
		case first == "":
			return fmt.Errorf("a changed byte of %s was not found", file.Name())
		}
		p.quote(first)
	}
	if code := checker.Main(dir, string(verifier), &said); code != 0 {
		return errNotAsWritten
	}
	p.say("Each change was found, and put back the evidence is whole again.")
	return nil
}

// spoilt changes the byte in the middle of a file, looks, and puts it back.
func spoilt(path string, look func() string) (string, error) {
	whole, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the evidence: %w", err)
	}
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		return "", fmt.Errorf("spoil the evidence: %w", err)
	}
	found := look()
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		return "", fmt.Errorf("put the evidence back: %w", err)
	}
	return found, nil
}

// evidenceHas looks whether what was played is in the evidence.
func (p *play) evidenceHas(dir string) error {
	var missing []error
	for name, texts := range map[string][]string{
		"operations.csv": {"rotate", playChange, "emergency", playCanary, "Alice Jansen", "Bob Okafor"},
		"drills.csv":     {playCanary},
		"refusals.csv":   {"change_unknown", "same_person"},
		"steps.csv":      {"Prove the new secret by fresh tokens,verified", "Put it into the live parameter,verified"},
		"inventory.csv":  {"sharepoint/prod", ",yes,"},
		"operations.md":  {"- Change: " + playChange},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read the evidence: %w", err)
		}
		for _, want := range texts {
			if !bytes.Contains(text, []byte(want)) {
				missing = append(missing, fmt.Errorf("%s does not have %q", name, want))
			}
		}
	}
	return errors.Join(missing...)
}
