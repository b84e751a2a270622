package store

import (
	"context"
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// TakeTurn implements bot.Turns. On SQLite there is one process, which keeps its own
// pace: the turn is always there. Otherwise it is a row with the instant from which
// the channel is free; whoever moves that has the turn.
func (s *Store) TakeTurn(ctx context.Context, channel operation.ChannelID, hold time.Duration) (turn time.Time, wait time.Duration, err error) {
	turn = s.clock.now().Add(hold).Truncate(time.Microsecond)
	if s.listen == nil {
		return turn, 0, nil
	}
	from, to := s.clock.others(longestClaim)
	done, err := s.db.ExecContext(ctx, `INSERT INTO channel_turns (channel, free_at) VALUES ($1, $2)
		ON CONFLICT (channel) DO UPDATE SET free_at = excluded.free_at WHERE channel_turns.free_at NOT BETWEEN $3 AND $4`, string(channel), micros(turn), from, to)
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
	return time.Time{}, max(instant(free).Sub(s.clock.now()), time.Millisecond), nil
}

// EndTurn implements bot.Turns.
func (s *Store) EndTurn(ctx context.Context, channel operation.ChannelID, turn time.Time, rest time.Duration) error {
	if s.listen == nil {
		return nil
	}
	_, err := s.db.ExecContext(ctx, "UPDATE channel_turns SET free_at = $1 WHERE channel = $2 AND free_at = $3", s.clock.micros(rest), string(channel), micros(turn))
	if err != nil {
		return fmt.Errorf("end the turn in %s: %w", channel, err)
	}
	return nil
}

// everyEdit stands in the column of channels for edits, whose limit is the bot's as a
// whole. It is no channel's id.
const everyEdit = "chat.update"

// TakeEdit implements bot.Turns. The row holds the instant until which edits are
// spoken for; it runs ahead of now by no more than a burst.
func (s *Store) TakeEdit(ctx context.Context, each time.Duration, burst int) (wait time.Duration, err error) {
	if s.listen == nil {
		return 0, nil
	}
	now, ahead := s.clock.now(), time.Duration(burst-1)*each
	done, err := s.db.ExecContext(ctx, `INSERT INTO channel_turns (channel, free_at) VALUES ($1, $2)
		ON CONFLICT (channel) DO UPDATE SET free_at = GREATEST(LEAST(channel_turns.free_at, $5), $3) + $4 WHERE channel_turns.free_at NOT BETWEEN $6 AND $7`,
		everyEdit, micros(now.Add(each)), micros(now), each.Microseconds(), micros(now.Add(ahead)), micros(now.Add(ahead))+1, micros(now.Add(ahead+each+longestClaim)))
	if err != nil {
		return 0, fmt.Errorf("take an edit: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 1 {
		return 0, err
	}
	var until int64
	if err := s.db.QueryRowContext(ctx, "SELECT free_at FROM channel_turns WHERE channel = $1", everyEdit).Scan(&until); err != nil {
		return 0, fmt.Errorf("ask for an edit: %w", err)
	}
	return max(instant(until).Add(-ahead).Sub(s.clock.now()), time.Millisecond), nil
}
