package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
)

// whispers keeps what a person was told.
type whispers struct {
	Slack
	told []string
}

// Whisper implements Chat.
func (w *whispers) Whisper(_ context.Context, _ bot.Intent, text string) error {
	w.told = append(w.told, text)
	return nil
}

func TestWhatSomebodyDidIsDoneWhenTheDatabaseIsBack(t *testing.T) {
	kept := []string{"My database does not answer just now. What you did is kept, and I go on with it as soon as I can: you need not do it again."}
	for _, c := range []struct {
		name string
		away time.Duration // the database
		told []string
		done bool
	}{
		{"at once", 0, nil, true},
		{"a hiccup is not told", time.Second, nil, true},
		{"a restart is told once", 20 * time.Second, kept, true},
		{"what lasts is left to whoever is next", time.Hour, kept, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				back := time.Now().Add(c.away)
				person, done := &whispers{}, 0
				h := &Handlers{chat: person, log: slog.New(slog.DiscardHandler), table: map[route]handler{
					{bot.IntentCommand, "/rotate"}: func(context.Context, bot.Intent) error {
						if time.Now().Before(back) {
							return fmt.Errorf("ask: %w", &operation.Unavailable{Why: "My database does not answer just now", Err: errors.New("refused")})
						}
						done++
						return nil
					},
				}}
				err := h.Handle(ctx, bot.Intent{Kind: bot.IntentCommand, Command: "/rotate"})
				if done != map[bool]int{true: 1}[c.done] || (err == nil) != c.done {
					t.Errorf("done %d times, %v", done, err)
				}
				if !slices.Equal(person.told, c.told) {
					t.Errorf("told %q", person.told)
				}
			})
		})
	}
}
