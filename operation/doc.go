// Package operation holds the rules of twokey: who may set off a dangerous job,
// which states the job goes through, in what order its steps run, and how it is
// resumed or undone. It knows no vendor and no chat, and imports only the
// standard library.
package operation
