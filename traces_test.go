package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/twokey/twokey/operation"
)

// threeSteps is a runbook whose steps succeed, wait and fail.
type threeSteps struct{}

func (threeSteps) Steps(operation.Operation) []operation.Step {
	fine := func(context.Context, *operation.Run) (string, error) { return "hush", nil }
	return []operation.Step{
		{Name: "first", Do: fine, Verify: fine, Undo: operation.UndoBy(fine, fine)},
		{Name: "second", Do: func(context.Context, *operation.Run) (string, error) {
			return "", operation.WaitUntil{At: time.Now(), Why: "the overlap"}
		}, Verify: fine, Undo: operation.NoUndo("nothing was done")},
		{Name: "third", Do: func(context.Context, *operation.Run) (string, error) { return "", errors.New("ask Entra: 500") }, Verify: fine},
	}
}

// playTraced does and verifies every step.
func playTraced(t *testing.T, book operation.Runbook) {
	t.Helper()
	for _, s := range book.Steps(operation.Operation{ID: "k7m2p9", Kind: "rotate", Secret: "sharepoint/prod"}) {
		for _, a := range []operation.Action{s.Do, s.Verify} {
			if evidence, err := a(t.Context(), nil); err == nil && evidence != "hush" {
				t.Errorf("%s: the evidence is %q", s.Name, evidence)
			}
		}
	}
}

func TestEveryAttemptAtAStepLeavesASpanWithoutItsEvidence(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	playTraced(t, traced{threeSteps{}, provider.Tracer(tracerName)})
	var got []string
	for _, s := range spans.Ended() {
		line := s.Name()
		if s.Status().Code == codes.Error {
			line += " failed: " + s.Status().Description
		}
		for _, a := range s.Attributes() {
			if a.Value.AsString() == "hush" {
				t.Errorf("%s tells the evidence", s.Name())
			}
			if a.Key == "twokey.waiting" {
				line += " waiting"
			}
		}
		got = append(got, line)
	}
	want := []string{"first: do", "first: verify", "second: do waiting", "second: verify", "third: do failed: ask Entra: 500", "third: verify"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
