// Package audit keeps the record of who did what: an append-only log in the
// store's own database, hashed into a Merkle tree (RFC 6962, by the Go team's
// sumdb/tlog) whose head is signed from time to time and posted to the channel.
//
// Entries are numbered from 1, and checkpoint N covers the entries 1 to N. What
// is hashed is the canonical JSON of an entry, stored byte for byte. Whoever can
// write to the database can still append; they cannot change, remove or reorder
// what a posted checkpoint covers without [Verify] naming the entry.
package audit
