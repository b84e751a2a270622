-- +goose Up
-- Which instants of a schedule are answered: a tick that was missed is answered
-- once, late.
CREATE TABLE ticks (
    name        TEXT   NOT NULL PRIMARY KEY,
    answered_at BIGINT NOT NULL
);

-- What expires at one instant, from its first reminder on; an expiry of 0 is unknown.
CREATE TABLE matters (
    item    TEXT    NOT NULL,
    expiry  BIGINT  NOT NULL,
    told    BIGINT  NOT NULL, -- the latest stage: days before its end
    version BIGINT  NOT NULL,
    settled INTEGER NOT NULL,
    key_id  TEXT    NOT NULL, -- of the key, as operations replace them
    body    TEXT    NOT NULL,
    PRIMARY KEY (item, expiry)
);

-- The messages that gather reminders.
CREATE TABLE reminder_rounds (
    id        BIGINT  NOT NULL PRIMARY KEY,
    channel   TEXT    NOT NULL,
    told_at   BIGINT  NOT NULL,
    escalated INTEGER NOT NULL,
    ring      TEXT    NOT NULL,
    message   TEXT    NOT NULL DEFAULT ''
);

-- What was told. Nothing is told twice: the index says so, whatever the code does.
CREATE TABLE reminders (
    id         BIGINT  NOT NULL PRIMARY KEY,
    item       TEXT    NOT NULL,
    expiry     BIGINT  NOT NULL,
    stage      BIGINT  NOT NULL,
    round      BIGINT  NOT NULL,
    escalation BIGINT  NOT NULL DEFAULT 0, -- the round that tells it where matters escalate
    place      TEXT    NOT NULL,           -- 'message': the round's is its card; 'card': its own; 'line': none
    card       TEXT    NOT NULL DEFAULT '', -- the message of its own
    body       TEXT    NOT NULL,
    UNIQUE (item, expiry, stage)
);
CREATE INDEX reminders_by_round ON reminders (round, id);
CREATE INDEX reminders_by_escalation ON reminders (escalation, id);

-- Keys that an operation has replaced: nobody is reminded of them any more.
CREATE TABLE replaced_keys (
    key_id    TEXT NOT NULL,
    operation TEXT NOT NULL,
    PRIMARY KEY (key_id, operation)
);

ALTER TABLE notices ADD COLUMN round BIGINT NOT NULL DEFAULT 0;
ALTER TABLE notices ADD COLUMN reminder BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE notices DROP COLUMN reminder;
ALTER TABLE notices DROP COLUMN round;
DROP TABLE replaced_keys;
DROP TABLE reminders;
DROP TABLE reminder_rounds;
DROP TABLE matters;
DROP TABLE ticks;
