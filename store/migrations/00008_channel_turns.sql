-- +goose Up
-- From when on a channel takes the next message, whichever replica posts it.
CREATE TABLE channel_turns (
    channel TEXT   NOT NULL PRIMARY KEY,
    free_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE channel_turns;
