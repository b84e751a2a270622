-- +goose Up
-- What was told of leftovers. One that has changed is told anew, as another row.
CREATE TABLE leftovers (
    id      BIGINT  NOT NULL PRIMARY KEY,
    finding TEXT    NOT NULL, -- the inventory's id of it
    closed  INTEGER NOT NULL,
    message TEXT    NOT NULL DEFAULT '',
    body    TEXT    NOT NULL
);
-- Nothing is told twice at a time: the index says so, whatever the code does.
CREATE UNIQUE INDEX one_open_leftover_a_finding ON leftovers (finding) WHERE closed = 0;

-- What was told once a week. Each tells what happened since another, or since an
-- instant: no two tell the same time.
CREATE TABLE digests (
    id       BIGINT NOT NULL PRIMARY KEY,
    told_at  BIGINT NOT NULL,
    since    BIGINT NOT NULL UNIQUE,
    message  TEXT   NOT NULL DEFAULT '',
    body     TEXT   NOT NULL,
    picture  BYTEA  NOT NULL
);

ALTER TABLE notices ADD COLUMN leftover BIGINT NOT NULL DEFAULT 0;
ALTER TABLE notices ADD COLUMN digest BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE notices DROP COLUMN digest;
ALTER TABLE notices DROP COLUMN leftover;
DROP TABLE digests;
DROP TABLE leftovers;
