//go:build race

package main

// conversationsAtOnce is fewer under the race detector, which leaves less of the
// processors to each.
const conversationsAtOnce = "4"
