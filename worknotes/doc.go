// Package worknotes takes what came of an operation to its change request, as work
// notes. What is to be told waits in the outbox, written with what it tells of: a
// crash loses nothing. Change management knows no idempotency, so each note carries a
// marker, which is looked for before it is written again.
package worknotes
