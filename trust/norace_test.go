//go:build !race

package trust

// raceFlags builds the replicas as this test binary was built.
func raceFlags() []string { return nil }
