-- +goose Up
-- Instants are microseconds since 1970 in UTC; 0 is none.
CREATE TABLE operations (
    id               TEXT   NOT NULL PRIMARY KEY,
    kind             TEXT   NOT NULL,
    secret           TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    epoch            BIGINT NOT NULL,
    requester_person TEXT   NOT NULL CHECK (requester_person <> ''),
    approver_person  TEXT   NOT NULL,
    envelope         TEXT   NOT NULL UNIQUE,
    channel          TEXT   NOT NULL,
    card             TEXT   NOT NULL DEFAULT '',
    requested_at     BIGINT NOT NULL,
    lapses_at        BIGINT NOT NULL,
    due              BIGINT NOT NULL DEFAULT 0,
    lease_owner      TEXT   NOT NULL DEFAULT '',
    lease_until      BIGINT NOT NULL DEFAULT 0,
    room_channel     TEXT   NOT NULL DEFAULT '',
    room_status      TEXT   NOT NULL DEFAULT '',
    room_trouble     TEXT   NOT NULL DEFAULT '',
    body             TEXT   NOT NULL,
    -- The rule of two people, once more, where no code can forget it.
    CONSTRAINT two_people CHECK (approver_person <> requester_person),
    CONSTRAINT confirmed CHECK (approver_person <> '' OR state IN ('pending', 'denied', 'cancelled', 'lapsed', 'superseded'))
);

-- An emergency may stand beside the rotation that it ends when it is confirmed.
CREATE UNIQUE INDEX one_open_operation_a_secret_and_kind ON operations (secret, kind)
    WHERE state IN ('pending', 'approved', 'running', 'waiting', 'undoing', 'parked');

CREATE INDEX operations_by_time ON operations (requested_at);

-- What people must be told, in the order of its channel.
CREATE TABLE notices (
    id            BIGINT NOT NULL PRIMARY KEY,
    key           TEXT   NOT NULL UNIQUE,
    kind          TEXT   NOT NULL,
    lane          TEXT   NOT NULL,
    channel       TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    operation     TEXT   NOT NULL,
    entry         TEXT   NOT NULL,
    document      TEXT   NOT NULL,
    text          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    not_before    BIGINT NOT NULL DEFAULT 0,
    attempts      BIGINT NOT NULL DEFAULT 0,
    claim         BIGINT NOT NULL DEFAULT 0,
    claimed_until BIGINT NOT NULL DEFAULT 0,
    sent_at       BIGINT NOT NULL DEFAULT 0,
    message       TEXT   NOT NULL DEFAULT ''
);

CREATE INDEX notices_untold ON notices (lane, id) WHERE sent_at = 0;

-- What was written for people: audit events, drafts of reports.
CREATE TABLE documents (
    operation  TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    title      TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (operation, name)
);

-- +goose Down
DROP TABLE documents;
DROP TABLE notices;
DROP TABLE operations;
