-- +goose Up
-- What people did, as the chat told it, until it is handled; then only the id is
-- kept, so that the same envelope is known when it comes again.
CREATE TABLE envelopes (
    id            TEXT   NOT NULL PRIMARY KEY,
    body          TEXT   NOT NULL,
    attempts      BIGINT NOT NULL DEFAULT 0,
    claimed_until BIGINT NOT NULL, -- by the process that received it or took it up
    handled_at    BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX envelopes_by_state ON envelopes (handled_at, claimed_until);

-- +goose Down
DROP TABLE envelopes;
