// Package near finds what somebody meant to type.
package near

import (
	"slices"
	"strings"
)

// Match returns the candidate that is nearest to word, and whether it is near
// enough to be meant: at most a third of its letters away.
func Match(word string, candidates []string) (string, bool) {
	best, least := "", len(word)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least && d <= max(1, len([]rune(c))/3) {
			best, least = c, d
		}
	}
	return best, best != ""
}

// Hint is the end of a sentence that refuses word: what was meant, or what there is.
func Hint(word string, candidates []string) string {
	if best, ok := Match(word, candidates); ok {
		return "did you mean " + best + "?"
	}
	return "it takes " + strings.Join(candidates, ", ")
}

// distance counts the letters to insert, remove, replace or swap with a
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last := []int(nil), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = slices.Min([]int{last[j] + cost, last[j+1] + 1, row[j] + 1})
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
