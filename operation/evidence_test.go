package operation_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/twokey/twokey/operation"
)

func TestARowComesApartAsItWasPutTogether(t *testing.T) {
	cell := rapid.StringOf(rapid.SampledFrom([]rune(`ab|\ •-"`)))
	rapid.Check(t, func(t *rapid.T) {
		cells := rapid.SliceOfN(cell, 1, 6).Draw(t, "cells")
		for i, c := range cells {
			cells[i] = "`" + c + "`"
		}
		got, isRow := operation.Cells(operation.Row(cells...) + "\n")
		if !isRow || !slices.Equal(got, cells) {
			t.Fatalf("%q comes back as %q", cells, got)
		}
	})
	for _, line := range []string{"", "|", "| ", "a | b", "• | a |", "| no end"} {
		if cells, isRow := operation.Cells(line); isRow {
			t.Errorf("%q is taken for a row of %q", line, cells)
		}
	}
}
