package aws

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// page cuts the part of all that begins where token says, at most limit long,
// and returns the token of the next part. Tokens are opaque to callers, as
// AWS's are; a token of another listing is refused.
func page[T any](all []T, listing, token string, limit int) ([]T, string, bool) {
	from := 0
	if token != "" {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, "", false
		}
		of, n, found := strings.Cut(string(b), "\x00")
		if from, err = strconv.Atoi(n); err != nil || !found || of != listing || from < 0 || from > len(all) {
			return nil, "", false
		}
	}
	to := from + limit
	if to >= len(all) {
		return all[from:], "", true
	}
	return all[from:to], base64.RawURLEncoding.EncodeToString([]byte(listing + "\x00" + strconv.Itoa(to))), true
}

// within returns n, or fallback when it is not given, and whether it lies
// between 1 and most.
func within(n *int, fallback, most int) (int, bool) {
	if n == nil {
		return fallback, true
	}
	return *n, *n >= 1 && *n <= most
}
