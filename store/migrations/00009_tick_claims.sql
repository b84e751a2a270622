-- +goose Up
-- Who answers a tick keeps a claim on it: how often it was claimed, and until when.
ALTER TABLE ticks ADD COLUMN claim BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ticks ADD COLUMN claimed_until BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE ticks DROP COLUMN claimed_until;
ALTER TABLE ticks DROP COLUMN claim;
