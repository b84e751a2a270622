// Package runbook holds the step lists: what is done to rotate a secret, in which
// order, how each step is proven and how it is taken back. It reads like the
// runbook that people followed by hand.
package runbook
