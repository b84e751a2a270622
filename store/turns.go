package store

import (
	"context"
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// TakeTurn implements bot.Turns. On SQLite there is one process, which keeps its own
// pace: the turn is always there. Otherwise it is a row with the instant from which
// the channel is free; whoever moves that has the turn. Replicas' clocks may be apart
// by no more than what Slack forgives.
func (s *Store) TakeTurn(ctx context.Context, channel operation.ChannelID, hold time.Duration) (turn time.Time, wait time.Duration, err error) {
	now := time.Now().Truncate(time.Microsecond)
	turn = now.Add(hold)
	if s.listen == nil {
		return turn, 0, nil
	}
	done, err := s.db.ExecContext(ctx, `INSERT INTO channel_turns (channel, free_at) VALUES ($1, $2)
		ON CONFLICT (channel) DO UPDATE SET free_at = excluded.free_at WHERE channel_turns.free_at <= $3`, string(channel), micros(turn), micros(now))
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("take the turn in %s: %w", channel, err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 1 {
		return turn, 0, err
	}
	var free int64
	if err := s.db.QueryRowContext(ctx, "SELECT free_at FROM channel_turns WHERE channel = $1", string(channel)).Scan(&free); err != nil {
		return time.Time{}, 0, fmt.Errorf("ask for the turn in %s: %w", channel, err)
	}
	return time.Time{}, max(time.Until(instant(free)), time.Millisecond), nil
}

// EndTurn implements bot.Turns.
func (s *Store) EndTurn(ctx context.Context, channel operation.ChannelID, turn time.Time, rest time.Duration) error {
	if s.listen == nil {
		return nil
	}
	_, err := s.db.ExecContext(ctx, "UPDATE channel_turns SET free_at = $1 WHERE channel = $2 AND free_at = $3", micros(time.Now().Add(rest)), string(channel), micros(turn))
	if err != nil {
		return fmt.Errorf("end the turn in %s: %w", channel, err)
	}
	return nil
}
