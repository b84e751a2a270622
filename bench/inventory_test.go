package main

import (
	"testing"
	"time"
)

func TestASweepIsMeasuredAgainstItsPages(t *testing.T) {
	b := inventoryBenchmark{Applications: 1200, Keys: 2, Latency: time.Millisecond, Runs: 1, Ticks: 1}
	wants(t, measure(t, &b), "concurrency 1: 2411 items in ", "concurrency 3: ", "7 pages (the longest list has 3, one after the other)", "must reach 1.20: ", "must reach 100: ",
		"a bot that sweeps every minute: 2411 items with 2 calls at once in ", "most that was resident: ")
}
