package store

import "context"

// Tidy is [Store.tidy], which a store that runs does now and then.
func (s *Store) Tidy(ctx context.Context) error { return s.tidy(ctx) }
