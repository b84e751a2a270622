package audit

import _ "embed" // for the SQL files

//go:embed schema.sql
var schema string

//go:embed grants.sql
var grants string

// Schema returns the statements that create the record's tables, for the
// store's migration. SQLite and PostgreSQL both take them.
func Schema() string { return schema }

// Grants returns the statements that give the role twokey_bot what the bot needs
// of the record on PostgreSQL, and no more.
func Grants() string { return grants }
