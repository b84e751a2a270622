package exposure

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"time"
)

// CSV is all events, as RFC 4180 has it: a header, one event a line, CRLF ends.
// The same findings give the same bytes.
func (f Findings) CSV() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	rows := [][]string{{"time", "source", "verdict", "why", "what", "who", "address", "resource", "user_agent", "event_id"}}
	for _, e := range f.Events {
		rows = append(rows, []string{e.At.Format(time.RFC3339Nano), string(e.Source), string(e.Verdict), e.Why, e.What, e.Who, e.Address, e.Resource, e.Agent, e.ID})
	}
	for _, row := range rows {
		for i := range row {
			row[i] = harmless(row[i])
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, fmt.Errorf("write the events as CSV: %w", err)
	}
	return b.Bytes(), nil
}

// harmless keeps spreadsheets from taking a cell for a formula: those that begin
// like one, in the full-width forms too, get an apostrophe before them.
func harmless(cell string) string {
	if strings.IndexAny(strings.TrimLeft(cell, " "), "=+-@＝＋－＠") == 0 {
		return "'" + cell
	}
	return cell
}
