package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/twokey/twokey/exposure"
)

// CloudTrail takes two look-ups a second of an account, whoever asks, and gives
// 50 events each. A look-up of one name reads no more than maxLookupEvents, which
// takes twenty seconds.
const (
	betweenLookups  = 500 * time.Millisecond
	maxLookupEvents = 2000
)

// Calls implements exposure.Trail.
func (c *Client) Calls(ctx context.Context, name string, w exposure.Window) ([]exposure.Call, error) {
	return c.lookUp(ctx, types.LookupAttributeKeyEventName, name, w)
}

// CallsOn implements exposure.Trail.
func (c *Client) CallsOn(ctx context.Context, resource string, w exposure.Window) ([]exposure.Call, error) {
	return c.lookUp(ctx, types.LookupAttributeKeyResourceName, resource, w)
}

// lookUp pages through the events with one attribute, newest first.
func (c *Client) lookUp(ctx context.Context, key types.LookupAttributeKey, value string, w exposure.Window) ([]exposure.Call, error) {
	attempted := "cloudtrail:LookupEvents " + string(key) + "=" + value
	in := &cloudtrail.LookupEventsInput{
		LookupAttributes: []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}},
		StartTime:        &w.From, EndTime: &w.To, MaxResults: sdk.Int32(50),
	}
	var calls []exposure.Call
	for read := 0; ; {
		if err := c.look.Wait(ctx); err != nil {
			return calls, fmt.Errorf("%s: wait for a turn: %w", attempted, err)
		}
		out, err := c.trail.LookupEvents(ctx, in)
		if err != nil {
			return calls, notPermitted(refused(attempted, err))
		}
		for _, e := range out.Events {
			call, err := callOf(e)
			if err != nil {
				return calls, fmt.Errorf("%s: %w", attempted, err)
			}
			calls = append(calls, call)
		}
		read += len(out.Events)
		switch {
		case sdk.ToString(out.NextToken) == "":
			return calls, nil
		case read >= c.most:
			return calls, &exposure.Truncated{Limit: read, Since: calls[len(calls)-1].At}
		}
		in.NextToken = out.NextToken
	}
}

// notPermitted makes AWS's way of saying so exposure's.
func notPermitted(err error) error {
	if isCode(err, "AccessDeniedException", "AccessDenied", "OperationNotPermittedException") {
		return fmt.Errorf("%w: %w", exposure.ErrNotPermitted, err)
	}
	return err
}

// record is what matters of an event's own JSON. AWS leaves the parameters of
// calls out that it refused, and names the resource in the message alone.
type record struct {
	UserIdentity struct {
		Type, ARN, UserName, InvokedBy string
		SessionContext                 struct {
			SessionIssuer struct{ ARN, UserName string }
		}
	}
	SourceIPAddress, UserAgent, ErrorCode, ErrorMessage string
	RequestParameters                                   struct {
		Name, Path, Cluster, Service, Task string
		Names                              []string
	}
}

// callOf reads an event.
func callOf(e types.Event) (exposure.Call, error) {
	var r record
	if err := json.Unmarshal([]byte(sdk.ToString(e.CloudTrailEvent)), &r); err != nil {
		return exposure.Call{}, fmt.Errorf("event %s is not as CloudTrail writes them", sdk.ToString(e.EventId))
	}
	p := r.RequestParameters
	call := exposure.Call{
		ID: sdk.ToString(e.EventId), At: sdk.ToTime(e.EventTime), Name: sdk.ToString(e.EventName), By: r.identity(sdk.ToString(e.Username)),
		Address: r.SourceIPAddress, Agent: r.UserAgent, Refused: r.ErrorCode,
		Path: p.Path, Cluster: lastPart(p.Cluster), Service: lastPart(p.Service), Task: lastPart(p.Task),
	}
	for _, name := range append(p.Names, p.Name) {
		if name != "" {
			call.Parameters = append(call.Parameters, bareName(name))
		}
	}
	if len(call.Parameters) == 0 && call.Path == "" && r.ErrorCode != "" {
		call.Parameters, call.Path = refusedOn(r.ErrorMessage)
	}
	return call, nil
}

// identity tells who called: of a role's session, the role.
func (r record) identity(userName string) exposure.Identity {
	u := r.UserIdentity
	i := exposure.Identity{Kind: u.Type, Principal: u.ARN, Name: u.UserName}
	switch {
	case u.SessionContext.SessionIssuer.ARN != "":
		i.Principal, i.Name = u.SessionContext.SessionIssuer.ARN, u.SessionContext.SessionIssuer.UserName
		i.Session = lastPart(u.ARN)
	case u.Type == "AssumedRole":
		i.Principal, i.Name, i.Session = roleOf(u.ARN)
	case i.Name == "" && u.InvokedBy != "":
		i.Name = u.InvokedBy
	case i.Name == "":
		i.Name = userName
	}
	return i
}

// roleOf takes a session's ARN apart. It does not tell the role's path, which
// the role's ARN then lacks; names of roles are unique without it.
func roleOf(session string) (role, name, sessionName string) {
	a, err := arn.Parse(session)
	parts := strings.SplitN(a.Resource, "/", 3) // assumed-role/name/session
	if err != nil || len(parts) != 3 || parts[0] != "assumed-role" {
		return session, "", ""
	}
	return "arn:" + a.Partition + ":iam::" + a.AccountID + ":role/" + parts[1], parts[1], parts[2]
}

// bareName is a parameter's name without ARN and selector.
func bareName(name string) string {
	name = parameterName(name)
	bare, _, _ := strings.Cut(name, ":")
	return bare
}

// refusedOn finds the parameter in a refusal's message; one that ends in a slash
// is a path.
func refusedOn(message string) (parameters []string, path string) {
	found := regexp.MustCompile(`arn:[\w-]+:ssm:[\w-]*:\d*:parameter/[\w./-]*`).FindString(message)
	switch name := strings.TrimSuffix(parameterName(found), "."); {
	case found == "":
		return nil, ""
	case strings.HasSuffix(name, "/"):
		return nil, name
	default:
		return []string{name}, ""
	}
}

// Role returns the ARN of the role that the bot itself runs as, without its
// path, or of the user if it is one.
func (c *Client) Role(ctx context.Context) (string, error) {
	out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", refused("sts:GetCallerIdentity", err)
	}
	role, _, _ := roleOf(sdk.ToString(out.Arn))
	return role, nil
}
