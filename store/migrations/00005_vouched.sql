-- +goose Up
-- A code over what the row says, made with the record's signing key: what is written
-- past twokey has none that fits, and sets nothing off.
ALTER TABLE operations ADD COLUMN vouched TEXT NOT NULL DEFAULT '';
ALTER TABLE envelopes ADD COLUMN vouched TEXT NOT NULL DEFAULT '';
ALTER TABLE notices ADD COLUMN vouched TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE notices DROP COLUMN vouched;
ALTER TABLE envelopes DROP COLUMN vouched;
ALTER TABLE operations DROP COLUMN vouched;
