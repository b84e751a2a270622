package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/twokey/twokey/operation"
)

// TryCode implements operation.Tries. Tries at once are counted one after the other.
func (s *Store) TryCode(ctx context.Context, user operation.UserID, since, now time.Time) (int, error) {
	var tries int
	err := s.db.QueryRowContext(ctx, `INSERT INTO second_factors (user_id, step, tries, tried_since) VALUES ($1, 0, 1, $2)
		ON CONFLICT (user_id) DO UPDATE SET
			tries = CASE WHEN second_factors.tried_since < $3 THEN 1 ELSE second_factors.tries + 1 END,
			tried_since = CASE WHEN second_factors.tried_since < $3 THEN $2 ELSE second_factors.tried_since END
		RETURNING tries`, string(user), micros(now), micros(since)).Scan(&tries)
	if err != nil {
		return 0, fmt.Errorf("count the codes that %s tried: %w", user, err)
	}
	return tries, nil
}

// useCode takes a code, once, in the transaction of what it confirms.
func useCode(ctx context.Context, tx *sql.Tx, code *operation.UsedCode) error {
	if code == nil {
		return nil
	}
	done, err := tx.ExecContext(ctx, "UPDATE second_factors SET step = $1, tries = 0 WHERE user_id = $2 AND step < $1", code.Step, string(code.User))
	if err := exactlyOne(done, err); errors.Is(err, operation.ErrStale) {
		return operation.ErrCodeUsed
	} else if err != nil {
		return fmt.Errorf("use a code of %s up: %w", code.User, err)
	}
	return nil
}
