package store

import (
	"context"
	"crypto/hmac"
	"database/sql"
	"fmt"

	"github.com/twokey/twokey/operation"
)

// Rows that set something off, or that are told in the bot's name, are vouched for:
// each carries a code that only who holds the record's signing key can make. Who can
// merely write to the database can destroy, but sets nothing off with what they
// write: see docs/trust.md.

// codeForged is of what stood in the database and was not written by twokey.
const codeForged operation.Code = "forged"

// genuine compares two codes, and takes as long whether or not they are the same.
func genuine(is, want string) bool { return hmac.Equal([]byte(is), []byte(want)) }

// vouchOperation is not asked of a [Reader], which has no key and sets nothing off.
func (s *Store) vouchOperation(id operation.ID, state operation.State, body string) string {
	return s.recorder.Vouch("operation", string(id), string(state), body)
}

func (s *Store) vouchEnvelope(e Envelope) string {
	return s.recorder.Vouch("envelope", e.ID, string(e.Body))
}

func (s *Store) vouchNotice(n operation.Notice, entry string) string {
	return s.recorder.Vouch("notice", n.Key, string(n.Kind), n.Lane, string(n.Channel), string(n.User), string(n.Operation), entry, n.Document, n.Text,
		fmt.Sprint(n.Round), fmt.Sprint(n.Reminder), fmt.Sprint(n.Leftover), fmt.Sprint(n.Digest))
}

// recordForged notes that something forged was found and not used. It is told
// loudly in the log, too: the record may have been touched as well.
func (s *Store) recordForged(ctx context.Context, what, id string) error {
	s.log.ErrorContext(ctx, "something that twokey did not write stood in the database, and was not used", "what", what, "id", id)
	return s.inTx(ctx, "record a forgery", func(tx *sql.Tx) error {
		_, err := s.recorder.Append(ctx, tx, []operation.Entry{{
			At: s.now(), Outcome: operation.Refused, Code: codeForged, Quiet: true,
			Text: fmt.Sprintf("The %s %q in the database was not written by me, and was not used. Find out who can write to the database.", what, id),
		}})
		return err
	})
}
