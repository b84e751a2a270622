package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/sandbox"
	"github.com/twokey/twokey/sandbox/aws"
	"github.com/twokey/twokey/sandbox/conditions"
	"github.com/twokey/twokey/sandbox/entra"
	"github.com/twokey/twokey/sandbox/mcp"
	"github.com/twokey/twokey/sandbox/slack"
)

func verbs() []verb {
	return slices.Concat(worldVerbs(), platformVerbs(), emergencyVerbs(), attackVerbs(), changeVerbs(), reminderVerbs(), leftoverVerbs(), secretVerbs(), peopleVerbs(), terraformVerbs(), leakVerbs())
}

// worldVerbs are time, the bot itself, faults, people's accounts and the record.
func worldVerbs() []verb {
	return []verb{
		{pattern: `clock \+(\S+)`, act: func(c *conversation, a []string) error {
			d, err := time.ParseDuration(a[0])
			c.box.Clock.Advance(d)
			return err
		}},
		{pattern: `bot stops`, act: func(c *conversation, _ []string) error { c.bot.stop(); return nil }},
		{pattern: `bot starts`, act: func(c *conversation, _ []string) error { return c.bot.start() }},
		{pattern: `bot is restarted`, act: func(c *conversation, _ []string) error { c.bot.stop(); return c.bot.start() }},
		{pattern: `bot is killed`, act: func(c *conversation, _ []string) error { return c.bot.kill() }},
		{pattern: `bot crashes`, act: func(c *conversation, _ []string) error { return c.bot.crash() }},
		{pattern: `the bot is dead`, look: func(c *conversation, _ []string) error {
			if n := len(c.box.Slack.Sockets()); n > 0 {
				return fmt.Errorf("it has %d connections", n)
			}
			return nil
		}},
		{pattern: `the fault hits`, look: func(c *conversation, _ []string) error { return c.faultsLeft() }},
		{pattern: `(\S+) is called(?: (\d+) times)?`, look: (*conversation).isCalled},
		{pattern: `fault (\S+) (\S+)(.*)`, act: (*conversation).fault},
		{pattern: `(slack|entra|graph|aws) is down`, act: (*conversation).down},
		{pattern: `no faults`, act: func(c *conversation, _ []string) error { return c.box.Clear() }},
		{pattern: `group (\S+)(.*)`, act: (*conversation).group},
		{pattern: `user (\S+) is (a guest|a bot|deactivated|a stranger|a full member again|without e-mail)`, act: (*conversation).user},
		{pattern: `identity of (\S+) is disabled`, act: (*conversation).disable},
		{pattern: `channel (\S+) is shared`, act: func(c *conversation, a []string) error {
			return c.box.Slack.ChangeChannel(a[0], func(ch *slack.Channel) { ch.ExtShared = true })
		}},
		{pattern: `record has (.+)`, look: (*conversation).recordHas},
		{pattern: `record verifies`, look: func(c *conversation, _ []string) error { return c.recordVerifies() }},
		{pattern: `the service is broken on purpose`, act: func(c *conversation, _ []string) error { c.broken = true; return nil }},
		{pattern: `something is left on purpose`, act: func(c *conversation, _ []string) error { c.loose = true; return nil }},
	}
}

// platformVerbs are the platform: secrets, services, MCP servers, and what others
// do to them.
func platformVerbs() []verb {
	const secret = `([a-z]+/[a-z]+)`
	return []verb{
		{pattern: `check ` + secret + `(?:: (\d+) working keys?)?`, look: (*conversation).check},
		{pattern: `check ` + secret + ` complains (.+)`, look: (*conversation).checkComplains},
		{pattern: `parameter ` + secret + ` is version (\d+)`, look: (*conversation).parameterIs},
		{pattern: `parameter ` + secret + ` holds (.+)`, look: (*conversation).parameterHolds},
		{pattern: `remember the secret of ` + secret + ` as (.+)`, act: func(c *conversation, a []string) error {
			v, err := c.live(a[0])
			c.names[a[1]] = v.Value
			return err
		}},
		{pattern: secret + ` has (\d+) keys?`, look: (*conversation).hasKeys},
		{pattern: `key of ` + secret + ` ends in (\d+) (days|months)`, look: (*conversation).keyEnds},
		{pattern: `somebody (writes|deletes|makes) (the|the pending|the client id) parameter of ` + secret + `(?: (?:as|with) (.+))?`, act: (*conversation).somebodyWrites},
		{pattern: `somebody (adds|removes|revokes) (?:a|the) key (?:of|to) ` + secret, act: (*conversation).somebodyKeys},
		{pattern: `the bot no longer owns ` + secret, act: (*conversation).disown},
		{pattern: `somebody redeploys ` + secret, act: func(c *conversation, a []string) error {
			return c.update(a[0], &ecs.UpdateServiceInput{ForceNewDeployment: true})
		}},
		{pattern: `somebody scales ` + secret + ` to (\d+)`, act: func(c *conversation, a []string) error {
			n, err := strconv.ParseInt(a[1], 10, 32)
			return errors.Join(err, c.update(a[0], &ecs.UpdateServiceInput{DesiredCount: sdk.Int32(int32(n))}))
		}},
		{pattern: `somebody sets the percentages of ` + secret + ` to (\d+) and (\d+)`, act: (*conversation).percentages},
		{pattern: `somebody deploys ` + secret + ` without the secret`, act: (*conversation).withoutSecret},
		{pattern: `ecs ` + secret + ` (is stuck|fails (\d+) tasks|works)`, act: (*conversation).ecs},
		{pattern: `mcp ` + secret + ` (answers|fails with|is unhealthy|hides its tools|works)(?: (.+))?`, act: (*conversation).mcp},
		{pattern: `entra ` + secret + ` (.+)`, act: (*conversation).application},
		{pattern: `entra lags(.*)`, act: (*conversation).lags},
	}
}

func (c *conversation) fault(a []string) error {
	f := conditions.Fault{Operation: a[0], Kind: conditions.Kind(a[1]), Count: 1}
	for word := range strings.FieldsSeq(a[2]) {
		key, value, ok := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		switch {
		case !ok:
			f.Code = key
			continue
		case key == "delay":
			f.Delay, err = time.ParseDuration(value)
		case key == "count":
			f.Count = n
		case key == "skip":
			f.Skip = n
		case key == "status":
			f.Status = n
		case key == "retry_after":
			f.RetryAfter = n
		default:
			err = fmt.Errorf("a fault has no %s", key)
		}
		if err != nil {
			return err
		}
	}
	c.counts = c.box.Conditions.Counts()
	c.box.Conditions.Add(f)
	return nil
}

// down has every call of a vendor's cut, until there are no faults.
func (c *conversation) down(a []string) error {
	names := map[string][]string{"aws": {"ssm.*", "ecs.*", "cloudtrail.*", "sts.*", "iam.*"}}
	if names[a[0]] == nil {
		names[a[0]] = []string{a[0] + ".*"}
	}
	for _, name := range names[a[0]] {
		c.box.Conditions.Add(conditions.Fault{Operation: name, Kind: conditions.CutBefore})
	}
	return nil
}

// faultsLeft complains about faults that have not hit: a script with one of those
// tests nothing.
func (c *conversation) faultsLeft() error {
	for _, f := range c.box.Conditions.Faults() {
		if f.Count > 0 {
			return fmt.Errorf("%s %s has still to hit %d times, after %d more", f.Operation, f.Kind, f.Count, f.Skip)
		}
	}
	return nil
}

// isCalled looks for calls since the last fault was set.
func (c *conversation) isCalled(a []string) error {
	n := c.box.Conditions.Counts()[a[0]] - c.counts[a[0]]
	if a[1] == "" && n > 0 || strconv.Itoa(n) == a[1] {
		return nil
	}
	return fmt.Errorf("%s was called %d times", a[0], n)
}

// group reads "approvers +dave -bob".
func (c *conversation) group(a []string) error {
	var add, remove []string
	for word := range strings.FieldsSeq(a[1]) {
		switch word[0] {
		case '+':
			add = append(add, word[1:])
		case '-':
			remove = append(remove, word[1:])
		default:
			return fmt.Errorf("%q is neither +somebody nor -somebody", word)
		}
	}
	return c.box.Slack.ChangeGroup(a[0], add, remove)
}

func (c *conversation) user(a []string) error {
	ours := c.box.Slack.Team().ID
	return c.box.Slack.ChangeUser(a[0], func(u *slack.User) {
		u.Restricted, u.Bot, u.Deleted = a[1] == "a guest", a[1] == "a bot", a[1] == "deactivated"
		switch a[1] {
		case "a full member again":
			u.TeamID = ours
		case "a stranger":
			u.TeamID = "T0VENDOR001"
		case "without e-mail":
			u.Email = ""
		}
	})
}

func (c *conversation) disable(a []string) error {
	for _, p := range c.box.Team.People {
		if p.Name == a[0] {
			c.box.Entra.AddUser(entra.User{ID: p.Entra, Name: p.Name, Mail: p.Email, UserPrincipalName: p.Name + ".admin@contoso.example", Enabled: false})
			return nil
		}
	}
	return fmt.Errorf("there is no %s", a[0])
}

// recordHas reads "refused same_person by alice": an entry must have all words.
func (c *conversation) recordHas(a []string) error {
	src, err := audit.Open(context.Background(), c.address())
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	lines, err := audit.List(context.Background(), src, audit.Filter{})
	if err != nil {
		return err
	}
	var all []string
	for _, l := range lines {
		by := ""
		if l.Entry.By != nil {
			by = "by " + c.name(string(l.Entry.By.User))
		}
		said := fmt.Sprintf("%s %s %s %s", l.Entry.Event, l.Entry.Outcome, l.Entry.Code, by)
		if containsWords(said, a[0]) {
			return nil
		}
		all = append(all, said)
	}
	return fmt.Errorf("the record has:\n%s", strings.Join(all, "\n"))
}

func containsWords(text, words string) bool {
	for w := range strings.FieldsSeq(words) {
		if !slices.Contains(strings.Fields(text), w) {
			return false
		}
	}
	return true
}

func (c *conversation) secret(name string) (sandbox.Secret, error) {
	s, ok := c.box.Team.Secret(name)
	if !ok {
		return s, fmt.Errorf("there is no secret %s", name)
	}
	return s, nil
}

func (c *conversation) check(a []string) error {
	v, err := c.box.Check(a[0])
	if err != nil {
		return err
	}
	working := "1"
	if a[1] != "" {
		working = a[1]
	}
	if !v.OK || strconv.Itoa(v.Working) != working {
		return fmt.Errorf("%d working keys; %s", v.Working, strings.Join(v.Problems, "; "))
	}
	return nil
}

func (c *conversation) checkComplains(a []string) error {
	v, err := c.box.Check(a[0])
	if err == nil && !strings.Contains(strings.Join(v.Problems, "; "), a[1]) {
		err = fmt.Errorf("the problems are %q", v.Problems)
	}
	return err
}

// live is the newest version of the secret's parameter.
func (c *conversation) live(name string) (aws.VersionState, error) {
	s, err := c.secret(name)
	if err != nil {
		return aws.VersionState{}, err
	}
	for _, p := range c.box.AWS.Snapshot().Parameters {
		if p.Name == s.SecretParameter {
			return p.Versions[len(p.Versions)-1], nil
		}
	}
	return aws.VersionState{}, fmt.Errorf("there is no parameter %s", s.SecretParameter)
}

func (c *conversation) parameterIs(a []string) error {
	v, err := c.live(a[0])
	if err == nil && strconv.FormatInt(v.Version, 10) != a[1] {
		err = fmt.Errorf("it is version %d", v.Version)
	}
	return err
}

func (c *conversation) parameterHolds(a []string) error {
	v, err := c.live(a[0])
	switch {
	case err != nil:
		return err
	case c.names[a[1]] == "":
		return fmt.Errorf("the script remembers nothing as %q", a[1])
	case c.names[a[1]] != v.Value:
		return fmt.Errorf("version %d holds something else", v.Version)
	}
	return nil
}

func (c *conversation) verdict(name string) (sandbox.Verdict, error) { return c.box.Check(name) }

func (c *conversation) hasKeys(a []string) error {
	v, err := c.verdict(a[0])
	if err == nil && strconv.Itoa(len(v.Keys)) != a[1] {
		err = fmt.Errorf("it has %d: %+v", len(v.Keys), v.Keys)
	}
	return err
}

// keyEnds allows for what a script's clock has moved since the key was made.
func (c *conversation) keyEnds(a []string) error {
	v, err := c.verdict(a[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(a[1])
	if err != nil {
		return err
	}
	want := c.box.Clock.Now().AddDate(0, 0, n)
	if a[2] == "months" {
		want = c.box.Clock.Now().AddDate(0, n, 0)
	}
	for _, k := range v.Keys {
		if k.Live && k.End.Sub(want).Abs() < 36*time.Hour {
			return nil
		}
	}
	return fmt.Errorf("the keys are %+v", v.Keys)
}

// administrator is somebody else with an access key of their own.
func (c *conversation) administrator() sdk.Config {
	return sdk.Config{Region: "eu-central-1", BaseEndpoint: sdk.String(c.box.URL() + "/aws"),
		Credentials: credentials.NewStaticCredentialsProvider("SOMEBODYELSE00001", "not-a-secret", "")}
}

func (c *conversation) somebodyWrites(a []string) error {
	s, err := c.secret(a[2])
	if err != nil {
		return err
	}
	name := map[string]string{"the": s.SecretParameter, "the pending": s.SecretParameter + ".pending", "the client id": s.ClientIDParameter}[a[1]]
	client := ssm.NewFromConfig(c.administrator())
	ctx := context.Background()
	if a[0] == "deletes" {
		_, err := client.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: &name})
		return err
	}
	value := "somebody's-own-secret-" + fmt.Sprint(time.Now().UnixNano())
	in := &ssm.PutParameterInput{Name: &name, Value: &value, Type: ssmtypes.ParameterTypeSecureString, Overwrite: sdk.Bool(true)}
	switch a[3] {
	case "":
	case "a plain String":
		in.Type = ssmtypes.ParameterTypeString
		live, err := c.live(a[2])
		if err != nil {
			return err
		}
		in.Value = &live.Value
		if _, err := client.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: &name}); err != nil {
			return err
		}
	case "another KMS key":
		c.box.AWS.SeedKey("alias/other")
		in.KeyId = sdk.String("alias/other")
		live, err := c.live(a[2])
		if err != nil {
			return err
		}
		in.Value = &live.Value
	default:
		in.Value = sdk.String(c.names[a[3]])
	}
	c.names["somebody's value"] = *in.Value
	_, err = client.PutParameter(ctx, in)
	return err
}

func (c *conversation) somebodyKeys(a []string) error {
	s, err := c.secret(a[1])
	if err != nil {
		return err
	}
	if a[0] == "adds" {
		made, err := c.box.Entra.AddPassword(s.ClientID, entra.NewPassword{Name: "by hand"})
		c.names["somebody's key"] = made.Secret
		return err
	}
	v, err := c.verdict(a[1])
	if err != nil {
		return err
	}
	for _, k := range v.Keys {
		if k.Live {
			if a[0] == "revokes" {
				return c.box.Entra.RevokePassword(s.ClientID, k.ID)
			}
			return c.box.Entra.RemovePassword(s.ClientID, k.ID)
		}
	}
	return errors.New("there is no live key")
}

func (c *conversation) disown(a []string) error {
	s, err := c.secret(a[0])
	if err != nil {
		return err
	}
	return c.box.Entra.RemoveOwner(s.ClientID, c.box.Team.Bot.Principal)
}

func (c *conversation) update(name string, in *ecs.UpdateServiceInput) error {
	s, err := c.secret(name)
	if err != nil {
		return err
	}
	in.Cluster, in.Service = &s.Cluster, &s.Service
	_, err = ecs.NewFromConfig(c.administrator()).UpdateService(context.Background(), in)
	return err
}

func (c *conversation) percentages(a []string) error {
	least, err := strconv.ParseInt(a[1], 10, 32)
	if err != nil {
		return err
	}
	most, err := strconv.ParseInt(a[2], 10, 32)
	if err != nil {
		return err
	}
	return c.update(a[0], &ecs.UpdateServiceInput{DeploymentConfiguration: &types.DeploymentConfiguration{
		MinimumHealthyPercent: sdk.Int32(int32(least)), MaximumPercent: sdk.Int32(int32(most))}})
}

// withoutSecret deploys a task definition that injects the secret from elsewhere.
func (c *conversation) withoutSecret(a []string) error {
	s, err := c.secret(a[0])
	if err != nil {
		return err
	}
	client := ecs.NewFromConfig(c.administrator())
	family := s.Cluster + "-" + s.Service
	ctx := context.Background()
	now, err := client.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &family})
	if err != nil {
		return err
	}
	d := now.TaskDefinition
	for i := range d.ContainerDefinitions {
		for j := range d.ContainerDefinitions[i].Secrets {
			if v := &d.ContainerDefinitions[i].Secrets[j]; sdk.ToString(v.Name) == mcp.ClientSecretVariable {
				v.Name = sdk.String("OTHER_" + mcp.ClientSecretVariable)
			}
		}
	}
	made, err := client.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: &family, ContainerDefinitions: d.ContainerDefinitions, ExecutionRoleArn: d.ExecutionRoleArn, NetworkMode: d.NetworkMode,
		RequiresCompatibilities: d.RequiresCompatibilities, Cpu: d.Cpu, Memory: d.Memory,
	})
	if err != nil {
		return err
	}
	return c.update(a[0], &ecs.UpdateServiceInput{TaskDefinition: made.TaskDefinition.TaskDefinitionArn})
}

func (c *conversation) ecs(a []string) error {
	s, err := c.secret(a[0])
	if err != nil {
		return err
	}
	b := aws.Behaviour{Stuck: a[1] == "is stuck"}
	if a[2] != "" {
		b.FailTasks, _ = strconv.Atoi(a[2]) // the pattern has digits only
	}
	return c.box.AWS.Behave(s.Cluster, s.Service, b)
}

func (c *conversation) mcp(a []string) error {
	s, err := c.secret(a[0])
	if err != nil {
		return err
	}
	settings := mcp.Settings{Unhealthy: a[1] == "is unhealthy", ToolsHidden: a[1] == "hides its tools"}
	switch a[1] {
	case "answers":
		settings.ToolText = a[2]
	case "fails with":
		settings.ToolError = a[2]
	}
	c.box.MCP.Set(s.Environment, s.Server, settings)
	return nil
}

// application changes an Entra application: disabled, its principal disabled,
// blocked, a policy, an owner that is taken away.
func (c *conversation) application(a []string) error {
	s, err := c.secret(a[0])
	if err != nil {
		return err
	}
	yes, no := true, false
	var change entra.Change
	days, isDays := strings.CutPrefix(a[1], "caps secrets at days=")
	switch {
	case isDays:
		n, err := strconv.Atoi(days)
		if err != nil {
			return err
		}
		change.Policy = &entra.Policy{Enabled: true, MaxLifetimeDays: n}
	case a[1] == "forbids new secrets":
		change.Policy = &entra.Policy{Enabled: true, ForbidPasswords: true}
	case a[1] == "is disabled":
		change.Disabled = &yes
	case a[1] == "has a disabled service principal":
		change.PrincipalEnabled = &no
	case a[1] == "allows new secrets":
		change.Policy = &entra.Policy{}
	case a[1] == "has an enabled service principal":
		change.PrincipalEnabled = &yes
	case a[1] == "is blocked by Conditional Access":
		change.BlockedByConditionalAccess = &yes
	default:
		return fmt.Errorf("an application can't be told that it %s", a[1])
	}
	return c.box.Entra.ChangeApplication(s.ClientID, change)
}

// lags reads "learn=0,2 forget=0,1 read=0,0.5".
func (c *conversation) lags(a []string) error {
	var b entra.Behaviour
	for word := range strings.FieldsSeq(a[0]) {
		key, list, _ := strings.Cut(word, "=")
		var seconds []float64
		for text := range strings.SplitSeq(list, ",") {
			s, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return err
			}
			seconds = append(seconds, s)
		}
		switch key {
		case "learn":
			b.Learn = seconds
		case "forget":
			b.Forget = seconds
			c.lag = time.Duration(slices.Max(seconds) * float64(time.Second))
		case "read":
			b.Read = seconds
		case "write_takes":
			b.WriteTakes = seconds[0]
		default:
			return fmt.Errorf("the directory has no %s", key)
		}
	}
	c.box.Entra.SetBehaviour(b)
	return nil
}
