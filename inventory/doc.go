// Package inventory finds out what can expire, what it is tied to and when: keys
// in Entra, certificates in ACM, and whatever TLS endpoints show in a handshake.
// Dates come from where they are decided, at every sweep, and never from what was
// read before. What could not be read is in the inventory too, as unknown and
// with the reason: an expiry that nobody sees is the one that hurts.
package inventory
