package exposure

import (
	"time"

	"github.com/twokey/twokey/internal/csvsafe"
)

// CSV is all events, as RFC 4180 has it: a header, one event a line, CRLF ends;
// no cell is a formula. The same findings give the same bytes.
func (f Findings) CSV() ([]byte, error) {
	rows := [][]string{{"time", "source", "verdict", "why", "what", "who", "address", "resource", "user_agent", "event_id"}}
	for _, e := range f.Events {
		rows = append(rows, []string{e.At.Format(time.RFC3339Nano), string(e.Source), string(e.Verdict), e.Why, e.What, e.Who, e.Address, e.Resource, e.Agent, e.ID})
	}
	return csvsafe.Table(rows)
}
