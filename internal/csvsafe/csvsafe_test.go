package csvsafe

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestACellThatBeginsLikeAFormulaIsText(t *testing.T) {
	for _, cell := range []string{"=1+1", "+1", "-1+1", "-", "-A1", "@SUM(A1)", "  =1", "\t=1", "\r\n=1", "\u200b=1", "\u00a0=1", "＝1", "＋1", "－1", "＠x"} {
		if got := Cell(cell); got != "'"+cell {
			t.Errorf("%q became %q", cell, got)
		}
	}
	for _, cell := range []string{"", " ", "a=1", "1-1", "-1", "-365", "sharepoint/prod", "'=1", "\"=1"} {
		if got := Cell(cell); got != cell {
			t.Errorf("%q became %q, though nobody takes it for a formula", cell, got)
		}
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rows := [][]string{{"name", "note"}, {"a,b", "two\nlines"}, {`"quoted"`, "ünïcödé"}, {"=cmd|' /C calc'!A0", ""}}
	b, err := Table(rows)
	if err != nil {
		t.Fatal(err)
	}
	if rows[3][0][0] != '=' {
		t.Error("the caller's own rows were changed")
	}
	got, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows[3][0] = "'" + rows[3][0]
	if d := cmp.Diff(rows, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func FuzzNoCellBeginsLikeAFormula(f *testing.F) {
	f.Add("=1")
	f.Add("\x00+1")
	f.Fuzz(func(t *testing.T, cell string) {
		got := strings.TrimLeft(Cell(cell), " \t\r\n\v\f\x00")
		if digits, negative := strings.CutPrefix(cell, "-"); negative && digits != "" && strings.Trim(digits, "0123456789") == "" {
			return // a number
		}
		if got != "" && strings.IndexAny(got, "=+-@＝＋－＠") == 0 {
			t.Errorf("%q became %q", cell, got)
		}
	})
}
