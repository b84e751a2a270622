package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// percentile returns the smallest value that p per cent of the values do not
// exceed. There must be one value at least.
func percentile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func median(values []float64) float64 { return percentile(values, 50) }

// spread words the middle and the extremes of several runs.
func spread(values []float64, format string) string {
	return fmt.Sprintf("median "+format+", "+format+" to "+format+" in %d runs", median(values), slices.Min(values), slices.Max(values), len(values))
}

// verdict says whether a value is within its limit.
func verdict[T cmp.Ordered](value, limit T) string {
	if value <= limit {
		return "reached"
	}
	return "NOT reached"
}
