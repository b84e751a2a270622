package main

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// tracerName is the scope of all spans.
const tracerName = "github.com/twokey/twokey"

// traced is a runbook of which every attempt at a step leaves a span. A span says
// which step of which operation, and never what the step found out.
type traced struct {
	operation.Runbook
	tracer trace.Tracer
}

// Steps implements operation.Runbook.
func (t traced) Steps(op operation.Operation) []operation.Step {
	steps := t.Runbook.Steps(op)
	for i, s := range steps {
		about := trace.WithAttributes(attribute.String("twokey.operation", string(op.ID)), attribute.String("twokey.kind", string(op.Kind)),
			attribute.String("twokey.secret", string(op.Secret)), attribute.String("twokey.step", s.Name))
		with := func(part string, a operation.Action) operation.Action {
			return func(ctx context.Context, run *operation.Run) (string, error) {
				ctx, span := t.tracer.Start(ctx, s.Name+": "+part, about)
				evidence, err := a(ctx, run)
				endStep(span, err)
				return evidence, err
			}
		}
		steps[i].Do, steps[i].Verify, steps[i].Undo = with("do", s.Do), with("verify", s.Verify), s.Undo.Each(with)
	}
	return steps
}

// endStep ends a step's span: having to wait is no failure.
func endStep(span trace.Span, err error) {
	var later operation.WaitUntil
	var notYet operation.NotYet
	if errors.As(err, &later) || errors.As(err, &notYet) {
		span.SetAttributes(attribute.Bool("twokey.waiting", true))
		err = nil
	}
	end(span, err)
}

func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// tracedTicks are ticks that leave a span each time.
func tracedTicks(ticks []store.Tick, tracer trace.Tracer) []store.Tick {
	for i, t := range ticks {
		ticks[i].Do = func(ctx context.Context, now time.Time) error {
			ctx, span := tracer.Start(ctx, t.Name)
			err := t.Do(ctx, now)
			end(span, err)
			return err
		}
	}
	return ticks
}
