// Package trust breaks a running bot on purpose, as another program would from
// outside, and judges what is left by invariants that have names. docs/trust.md
// says which command gives which figure.
package trust
