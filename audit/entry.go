package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/twokey/twokey/operation"
)

// encode returns the canonical JSON of e, and e as it reads back from it.
//
// The entry goes through JSON twice: invalid UTF-8 is replaced the first time,
// and written differently once it is valid. After that the bytes stand still.
func encode(e operation.Entry) ([]byte, operation.Entry, error) {
	e.At = e.At.UTC() // one instant has one text
	first, err := json.Marshal(e)
	if err != nil {
		return nil, operation.Entry{}, fmt.Errorf("encode entry %d: %w", e.Sequence, err)
	}
	back, err := decode(first)
	if err != nil {
		return nil, operation.Entry{}, fmt.Errorf("encode entry %d: %w", e.Sequence, err)
	}
	raw, err := json.Marshal(back)
	if err != nil {
		return nil, operation.Entry{}, fmt.Errorf("encode entry %d: %w", e.Sequence, err)
	}
	return raw, back, nil
}

// decode reads an entry back. Fields that this version does not know are passed
// over: the record outlives versions.
func decode(raw []byte) (operation.Entry, error) {
	var e operation.Entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return operation.Entry{}, fmt.Errorf("decode entry: %w", err)
	}
	return e, nil
}

// prefix is how the canonical JSON of entry number begins.
func prefix(number int64) []byte {
	b := append(make([]byte, 0, 40), `{"seq":`...)
	return append(strconv.AppendInt(b, number, 10), `,"at":"`...)
}

// isPlaced reports whether row's JSON says of itself that it has the row's number
// and is of the operation that it is filed under. It reads the first three fields
// only: decoding whole entries would take most of a verification's time. A false
// may also mean that the JSON is not canonical; the caller then decodes it.
func isPlaced(row Row) bool {
	rest, ok := bytes.CutPrefix(row.Entry, prefix(row.Number))
	if !ok || !row.Filed {
		return ok
	}
	_, rest, ok = bytes.Cut(rest, []byte(`"`))
	if !ok {
		return false
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`,"operation":"`))
	if !ok {
		return row.Operation == ""
	}
	said, _, ok := bytes.Cut(rest, []byte(`"`))
	return ok && string(said) == string(row.Operation) // an id with escapes goes the slow way
}
