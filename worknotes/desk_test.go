package worknotes

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twokey/twokey/operation"
)

// world is an outbox with one note, and a change that takes it when it likes.
type world struct {
	mu    sync.Mutex
	note  operation.Notice
	free  time.Time
	sent  bool
	fails []error // of the next tries
	notes []string
	tries []time.Time
}

func (w *world) ClaimWorkNote(context.Context, time.Duration) (operation.Notice, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sent || time.Now().Before(w.free) {
		return operation.Notice{}, false, nil
	}
	w.note.Attempts++
	return w.note, true, nil
}

func (w *world) NoticeSent(context.Context, operation.Notice, operation.MessageID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = true
	return nil
}

func (w *world) NoticeLater(_ context.Context, _ operation.Notice, after time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = time.Now().Add(after)
	return nil
}

func (w *world) Operation(context.Context, operation.ID) (operation.Operation, error) {
	return operation.Operation{ID: "k7m2p9", Kind: "rotate", Secret: "sharepoint/prod", Requester: operation.Person{Name: "alice"}, Reason: "yearly"}, nil
}

func (w *world) Told(context.Context, operation.ID) ([]operation.Entry, error) {
	return []operation.Entry{
		{Sequence: 3, Step: "prove the new secret", Outcome: operation.Verified, Text: "5 tokens."},
		{Sequence: 9, Step: "what came later", Outcome: operation.Verified},
	}, nil
}

func (w *world) AddNote(_ context.Context, number, marker, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries = append(w.tries, time.Now())
	if len(w.fails) > 0 {
		err := w.fails[0]
		w.fails = w.fails[1:]
		return err
	}
	w.notes = append(w.notes, number+" "+marker+"\n"+text)
	return nil
}

// run lets the desk work for a while of a clock that costs nothing.
func run(t *testing.T, w *world, d time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		desk := &Desk{Outbox: w, Operations: w, Changes: w, Log: slog.New(slog.DiscardHandler)}
		if err := desk.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func note(state operation.State) operation.Notice {
	return operation.Notice{Key: "work_note:k7m2p9:4", Operation: "k7m2p9", Text: "CHG0012345", Entry: operation.Entry{
		Sequence: 4, State: state, Outcome: operation.Noted, Text: "Every step is done.",
	}}
}

func TestANoteHasItsMarkerAndTheStepsUntilThen(t *testing.T) {
	w := &world{note: note(operation.Succeeded)}
	run(t, w, time.Minute)
	if len(w.notes) != 1 {
		t.Fatalf("notes %q", w.notes)
	}
	for _, want := range []string{"CHG0012345 [work_note:k7m2p9:4]\n", "operation k7m2p9: done", "Every step is done.", "Asked for by alice", "- prove the new secret: verified. 5 tokens."} {
		if !strings.Contains(w.notes[0], want) {
			t.Errorf("%q is not in:\n%s", want, w.notes[0])
		}
	}
	if !strings.HasSuffix(w.notes[0], "\n[work_note:k7m2p9:4]") || strings.Contains(w.notes[0], "what came later") {
		t.Error(w.notes[0])
	}
}

func TestANoteIsTriedUntilItIsTakenAndEverLater(t *testing.T) {
	refused := errors.New("403")
	w := &world{note: note(operation.Running), fails: []error{refused, refused, operation.NotYet{After: time.Minute}, refused}}
	run(t, w, time.Hour)
	if !w.sent || len(w.notes) != 1 || len(w.tries) != 5 {
		t.Fatalf("sent %v after %d tries, notes %q", w.sent, len(w.tries), w.notes)
	}
	for i, atLeast := range []time.Duration{2 * time.Second, 4 * time.Second, time.Minute, 16 * time.Second} {
		if gap := w.tries[i+1].Sub(w.tries[i]); gap < atLeast || gap > atLeast+rest {
			t.Errorf("pause %d was %s, want about %s", i+1, gap, atLeast)
		}
	}
}

func TestThePauseHasAnEnd(t *testing.T) {
	if got := pauseAfter(1000, errors.New("403")); got != longestPause {
		t.Error(got)
	}
}
