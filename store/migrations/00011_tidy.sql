-- +goose Up
-- What a thread tells is read by its operation; what still names a round, a document, a
-- leftover or a digest is asked before that is removed.
CREATE INDEX notices_by_operation ON notices (operation, kind) WHERE operation <> '';
CREATE INDEX notices_by_round ON notices (round) WHERE round <> 0;
CREATE INDEX notices_by_leftover ON notices (leftover) WHERE leftover <> 0;

-- +goose Down
DROP INDEX notices_by_leftover;
DROP INDEX notices_by_round;
DROP INDEX notices_by_operation;
