//go:build !race

package main

// conversationsAtOnce is how many are played beside each other: they mostly wait,
// so more of them fit than there are processors.
const conversationsAtOnce = "8"
