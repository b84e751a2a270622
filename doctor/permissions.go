package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twokey/twokey/runbook"
)

// role is an app permission of Microsoft Graph.
type role struct {
	name string
	id   string // by which az grants it
	lack State
	what string // what does not work without
}

// graphRoles are the app permissions that the bot's own application should have.
func graphRoles() []role {
	return []role{
		{"Application.ReadWrite.OwnedBy", "18a4783c-866b-4cc7-a460-3d5e5662c884", Fail, "without it no secret can be made or removed"},
		{"User.Read.All", "df021288-bdef-4463-88db-98f22de89214", Fail, "without it nobody's identity can be told, so nobody can ask or confirm"},
		{"Policy.Read.All", "246dd0d5-5bd0-4def-940b-0421030a5b68", Warn, "without it a policy that forbids or shortens a new secret shows only when Entra refuses"},
		{"AuditLog.Read.All", "b0afded3-3588-46d8-8b3d-9842eff778da", Warn, "without it an emergency does not see the sign-ins of a leaked secret"},
	}
}

// broader are permissions over all applications: with them the bot could change any,
// and not only those that it owns.
const broader = "Application.ReadWrite.All"

func (d *Doctor) roles(ctx context.Context) []Finding {
	has, err := d.Entra.Roles(ctx)
	if err != nil {
		return []Finding{finding(Fail, d.signInRemedy(), "%s", err)}
	}
	var out []Finding
	for _, r := range graphRoles() {
		if slices.Contains(has, r.name) || r.name == "Application.ReadWrite.OwnedBy" && slices.Contains(has, broader) {
			continue
		}
		f := finding(r.lack, fmt.Sprintf("az ad app permission add --id %s --api 00000003-0000-0000-c000-000000000000 --api-permissions %s=Role && az ad app permission admin-consent --id %s", d.ClientID, r.id, d.ClientID),
			"the bot's token lacks the app permission; %s", r.what)
		f.About = r.name
		out = append(out, f)
	}
	if slices.Contains(has, broader) {
		f := finding(Warn, "Take it away, give Application.ReadWrite.OwnedBy, and make the bot an owner of the applications that it rotates.", "the bot could change every application of the tenant")
		f.About = broader
		out = append(out, f)
	}
	if len(out) == 0 {
		return ok("signed in; %s", strings.Join(has, ", "))
	}
	return out
}

func (d *Doctor) signInRemedy() string {
	if d.WebIdentity {
		return "Compare the issuer and the subject that the bot's application trusts with the bot's role: az ad app federated-credential list --id " + d.ClientID
	}
	return "Correct entra.tenant, entra.client_id or entra.credential in the configuration: the secret may have expired (az ad app credential list --id " + d.ClientID + ")."
}

func (d *Doctor) identity(ctx context.Context) []Finding {
	principal, _, err := d.AWS.Whoami(ctx)
	if err != nil {
		return []Finding{finding(Fail, "Give the bot AWS credentials: a task role on ECS, or a profile (aws sts get-caller-identity shows the same).", "%s", err)}
	}
	return ok("%s", principal)
}

// permission is a set of actions that must be allowed on resources.
type permission struct {
	about   string
	actions []string
	// resources are made when the account is known.
	resources func(account account) []string
}

// account is where the bot's resources are.
type account struct{ partition, region, id string }

func (a account) parameter(name string) string {
	return fmt.Sprintf("arn:%s:ssm:%s:%s:parameter/%s", a.partition, a.region, a.id, strings.TrimPrefix(name, "/"))
}

// permissions are what the bot calls, as the policy must allow it.
func (d *Doctor) permissions() []permission {
	each := func(of func(account, runbook.Target) []string) func(account) []string {
		return func(a account) []string {
			var out []string
			for _, t := range d.Targets {
				out = append(out, of(a, t)...)
			}
			slices.Sort(out)
			return slices.Compact(out)
		}
	}
	everything := []string{"ssm:DescribeParameters", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "cloudtrail:LookupEvents"}
	if d.WebIdentity {
		everything = append(everything, "sts:GetWebIdentityToken")
	}
	if d.ACM {
		everything = append(everything, "acm:ListCertificates", "acm:DescribeCertificate")
	}
	return []permission{
		{"client ids", []string{"ssm:GetParameter", "ssm:GetParameters", "ssm:GetParameterHistory"}, each(func(a account, t runbook.Target) []string {
			return []string{a.parameter(t.ClientIDParameter)}
		})},
		{"secrets", []string{"ssm:GetParameter", "ssm:GetParameters", "ssm:GetParameterHistory", "ssm:PutParameter", "ssm:LabelParameterVersion", "ssm:UnlabelParameterVersion"},
			each(func(a account, t runbook.Target) []string { return []string{a.parameter(t.SecretParameter)} })},
		{"pending secrets", []string{"ssm:GetParameter", "ssm:GetParameterHistory", "ssm:PutParameter", "ssm:DeleteParameter"},
			each(func(a account, t runbook.Target) []string { return []string{a.parameter(t.PendingParameter())} })},
		{"services", []string{"ecs:DescribeServices", "ecs:UpdateService"}, each(func(a account, t runbook.Target) []string {
			return []string{fmt.Sprintf("arn:%s:ecs:%s:%s:service/%s/%s", a.partition, a.region, a.id, t.Cluster, t.Service)}
		})},
		{"tasks", []string{"ecs:DescribeTasks"}, each(func(a account, t runbook.Target) []string {
			return []string{fmt.Sprintf("arn:%s:ecs:%s:%s:task/%s/*", a.partition, a.region, a.id, t.Cluster)}
		})},
		{"lists", append(everything, "ecs:ListTasks"), func(account) []string { return []string{"*"} }},
	}
}

// simulated has AWS say whether the bot's policies allow something.
func (d *Doctor) simulated(p permission) func(context.Context) []Finding {
	return func(ctx context.Context) []Finding {
		principal, _, err := d.AWS.Whoami(ctx)
		if err != nil {
			return []Finding{finding(Unknown, "", "not checked: AWS does not say who the bot is")}
		}
		a, known := accountOf(principal, d.Region)
		if !known {
			return []Finding{finding(Unknown, "", "not checked: %s is no ARN of a role or a user", principal)}
		}
		denied, err := d.AWS.Denied(ctx, principal, p.actions, p.resources(a))
		if err != nil {
			return []Finding{finding(Unknown, statement([]string{"iam:SimulatePrincipalPolicy"}, []string{principal}), "not checked, since a simulation is not possible: %s", err)}
		}
		if len(denied) == 0 {
			return ok("AWS's simulation allows %s", strings.Join(p.actions, ", "))
		}
		return refusals(denied)
	}
}

// refusals make one finding of all resources on which the same is not allowed.
func refusals(denied map[string][]string) []Finding {
	resources := map[string][]string{}
	for _, resource := range slices.Sorted(maps.Keys(denied)) {
		actions := strings.Join(denied[resource], ", ")
		resources[actions] = append(resources[actions], resource)
	}
	var out []Finding
	for _, actions := range slices.Sorted(maps.Keys(resources)) {
		of := resources[actions]
		out = append(out, finding(Fail, statement(strings.Split(actions, ", "), of), "the bot's policies do not allow %s on %s", actions, strings.Join(of, ", ")))
	}
	return out
}

// statement is what belongs into the bot's policy.
func statement(actions, resources []string) string {
	b, err := json.Marshal(struct {
		Effect           string
		Action, Resource []string
	}{"Allow", actions, resources})
	if err != nil {
		return "" // texts can always be encoded
	}
	return "Add to the policy of the bot's role: " + string(b)
}

// accountOf reads where a principal lives: "arn:aws:iam::123456789012:role/twokey".
func accountOf(principal, region string) (account, bool) {
	parts := strings.SplitN(principal, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[4] == "" {
		return account{}, false
	}
	return account{partition: parts[1], region: region, id: parts[4]}, true
}
