package runbook

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twokey/twokey/operation"
)

// The parts of a secret's path.
const (
	PartApplication = "application"
	PartParameter   = "parameter"
	PartService     = "service"
	PartServer      = "server"
)

// Examined is what one part of a secret's path looks like.
type Examined struct {
	Part     string    // one of the four
	Seen     string    // what is right about it
	Problems []Trouble // what would make a rotation fail
	Warnings []Trouble
	Err      error // it could not be looked at: nothing is known
}

// Examine looks at everything that a rotation of target would look at, and changes
// nothing. Unlike [Rotate.Plan] it goes on where a part cannot be looked at.
func (r *Rotate) Examine(ctx context.Context, target Target, at time.Time) []Examined {
	out := make([]Examined, 4)
	var g errgroup.Group
	g.Go(func() error {
		out[0], out[1] = r.examineSecret(ctx, target, at)
		return nil
	})
	g.Go(func() error {
		l := r.lookAt(target, at)
		err := l.ecs(ctx)
		out[2] = l.examined(PartService, err, "%s/%s, %d of %d tasks, %s takes %s from the parameter", target.Cluster, target.Service, l.service.Running, l.service.Desired, shortARN(l.service.TaskDefinition), target.Variable)
		return nil
	})
	g.Go(func() error {
		out[3] = r.examineServer(ctx, target)
		return nil
	})
	_ = g.Wait() // each notes its own error
	return out
}

func (r *Rotate) lookAt(target Target, at time.Time) *look {
	return &look{Rotate: r, target: target, at: at}
}

// examineSecret looks at the application and at the parameters. The latter are
// compared with the application where that could be read.
func (r *Rotate) examineSecret(ctx context.Context, target Target, at time.Time) (application, parameter Examined) {
	a, p := r.lookAt(target, at), r.lookAt(target, at)
	client, known, err := p.clientID(ctx)
	switch {
	case err != nil || !known:
		application.Err = errNoClientID
	default:
		a.app, application.Err = r.Apps.Application(ctx, client)
	}
	p.app = a.app
	stored, parameterErr := p.stored(ctx)
	if stored && application.Err == nil {
		parameterErr = p.oldKey(ctx)
	}
	if err == nil {
		err = parameterErr
	}
	if err == nil {
		err = p.pending(ctx)
	}
	parameter = p.examined(PartParameter, err, "%s, version %d, a %s under %s", target.SecretParameter, p.live.Version, p.live.Type, p.live.KMSKey)
	if application.Err != nil {
		if stored {
			p.unchecked("Whether %s holds a key of the application was not checked.", target.SecretParameter)
			parameter.Warnings = values(p.warnings)
		}
		return a.examined(PartApplication, application.Err, ""), parameter
	}
	a.live = p.live
	a.application()
	return a.examined(PartApplication, nil, "%s (%s), mine to change, %s, a new secret would end %s", a.app.Name, a.app.Client, counted(len(a.app.Keys), "key"), day(a.newEnds)), parameter
}

// errNoClientID stands for a parameter that did not tell which application it is.
var errNoClientID = fmt.Errorf("the parameter with its client id was not read")

// examineServer asks the MCP server. For a rotation its trouble is a warning, for
// the rotation may be the cure.
func (r *Rotate) examineServer(ctx context.Context, target Target) Examined {
	out := Examined{Part: PartServer}
	health, err := r.MCP.Healthy(ctx, target.MCP)
	if err != nil {
		out.Problems = append(out.Problems, Trouble{What: "It is not healthy: " + err.Error() + ".", Remedy: "Ask it yourself: curl -i " + target.MCP.Health})
	}
	tool, err := r.MCP.CallTool(ctx, target.MCP)
	switch {
	case err != nil && operation.IsPermanent(err):
		out.Problems = append(out.Problems, Trouble{What: "The test call is refused: " + err.Error() + ".", Remedy: "Correct mcp.url, mcp.tool or mcp.arguments of " + string(target.Name) + " in the configuration."})
	case err != nil:
		out.Problems = append(out.Problems, Trouble{What: "The test call fails: " + err.Error() + ".", Remedy: "Mend the server, or correct mcp.tool, mcp.arguments and mcp.expect of " + string(target.Name) + " in the configuration."})
	}
	if ctx.Err() != nil {
		return Examined{Part: PartServer, Err: ctx.Err()}
	}
	out.Seen = health + "; " + tool
	return out
}

func (l *look) examined(part string, err error, seen string, args ...any) Examined {
	return Examined{Part: part, Seen: fmt.Sprintf(seen, args...), Problems: values(l.problems), Warnings: values(l.warnings), Err: err}
}

func values(list []*Trouble) []Trouble {
	var out []Trouble
	for _, t := range list {
		out = append(out, *t)
	}
	return slices.Clip(out)
}
