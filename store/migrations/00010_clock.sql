-- +goose Up
-- One row: how late it was when a process last looked, where there is one process. If
-- the machine's clock is set back before the next one starts, that one can tell.
CREATE TABLE clock (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    at  BIGINT  NOT NULL
);
INSERT INTO clock (one, at) VALUES (1, 0);

-- A notice that was refused rests: by the clock that measures, while not_before is an
-- instant that people see.
ALTER TABLE notices ADD COLUMN rest_until BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE notices DROP COLUMN rest_until;
DROP TABLE clock;
