//go:build race

package main

// raceFlags builds the replicas as this test binary was built.
func raceFlags() []string { return []string{"-race"} }
