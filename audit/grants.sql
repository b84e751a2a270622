-- What the bot's role needs of the record on PostgreSQL, when another role owns
-- the tables and runs the migrations. Entries and hashes can be added and read,
-- never changed or removed; of a checkpoint only where it was posted can change.
GRANT SELECT, INSERT ON record, record_hashes, record_checkpoints TO twokey_bot;
GRANT UPDATE (channel, message) ON record_checkpoints TO twokey_bot;
GRANT SELECT ON record_head TO twokey_bot;
GRANT UPDATE (size) ON record_head TO twokey_bot;
