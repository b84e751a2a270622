-- The record. These statements are taken by SQLite and by PostgreSQL.

-- One row: how many entries there are. Every append updates it first, so that
-- appends stand in line on PostgreSQL too.
CREATE TABLE record_head (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    size BIGINT  NOT NULL CHECK (size >= 0)
);
INSERT INTO record_head (one, size) VALUES (1, 0);

-- entry is the JSON exactly as it was hashed; operation repeats what stands in
-- it, as an index.
CREATE TABLE record (
    seq       BIGINT NOT NULL PRIMARY KEY CHECK (seq >= 1),
    operation TEXT   NOT NULL,
    entry     TEXT   NOT NULL
);
CREATE INDEX record_operation ON record (operation, seq);

-- The tree's hashes by tlog's stored hash index, 32 bytes each.
CREATE TABLE record_hashes (
    idx  BIGINT NOT NULL PRIMARY KEY CHECK (idx >= 0),
    hash BYTEA  NOT NULL
);

-- The signed tree heads; channel and message say where each was posted.
CREATE TABLE record_checkpoints (
    size      BIGINT NOT NULL PRIMARY KEY CHECK (size >= 1),
    hash      TEXT   NOT NULL,
    note      TEXT   NOT NULL,
    signed_at BIGINT NOT NULL, -- microseconds since 1970, UTC
    channel   TEXT   NOT NULL DEFAULT '',
    message   TEXT   NOT NULL DEFAULT ''
);
