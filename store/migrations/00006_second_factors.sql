-- +goose Up
-- Codes of people's authenticator apps: each is taken once, and few are tried.
CREATE TABLE second_factors (
    user_id     TEXT   NOT NULL PRIMARY KEY,
    step        BIGINT NOT NULL, -- of the newest code that was taken
    tries       BIGINT NOT NULL,
    tried_since BIGINT NOT NULL
);

-- +goose Down
DROP TABLE second_factors;
