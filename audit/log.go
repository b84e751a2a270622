package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/twokey/twokey/operation"
)

// Queryer reads: an *sql.DB, *sql.Tx or *sql.Conn.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Execer writes: an *sql.DB, *sql.Tx or *sql.Conn.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Cadence says how often checkpoints are signed and posted. Its zero value signs
// at the end of each operation only.
type Cadence struct {
	Entries  int64         // after so many new entries; 0: does not count
	Interval time.Duration // when the oldest unsigned change may be this old; 0: never by time
}

// Due reports whether entries beyond the last checkpoint (its size and time) are
// to be signed now. The end of an operation always is: its story is complete.
func (c Cadence) Due(size, last int64, signed, now time.Time, ended bool) bool {
	fresh := size - last
	switch {
	case fresh <= 0:
		return false
	case ended:
		return true
	case c.Entries > 0 && fresh >= c.Entries:
		return true
	default:
		return c.Interval > 0 && now.Sub(signed) >= c.Interval
	}
}

// ErrOtherHistory is wrapped by what [Log.Seal] returns when the record no longer
// continues what was signed last: somebody changed it in the database.
var ErrOtherHistory = errors.New("the record does not continue the last signed checkpoint")

// Log appends to the record and signs it.
type Log struct {
	key     Key
	known   note.Verifiers // the key's own, and those of the keys before it
	cadence Cadence
	now     func() time.Time
}

// NewLog returns a log that signs with key. Verifiers of keys that signed
// earlier checkpoints are given as before.
func NewLog(key Key, cadence Cadence, now func() time.Time, before ...note.Verifier) *Log {
	known := note.VerifierList(append([]note.Verifier{key.verifier}, before...)...)
	return &Log{key: key, known: known, cadence: cadence, now: now}
}

// Known returns the verifiers of all keys that may have signed this record.
func (l *Log) Known() note.Verifiers { return l.known }

// Append adds entries to the record inside the caller's transaction and returns
// them as recorded: numbered, times in UTC. Other appends wait until that
// transaction ends, so it should come late in it.
func (l *Log) Append(ctx context.Context, tx *sql.Tx, entries []operation.Entry) ([]operation.Entry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	var size int64
	err := tx.QueryRowContext(ctx, `UPDATE record_head SET size = size + $1 RETURNING size`, int64(len(entries))).Scan(&size)
	if err != nil {
		return nil, fmt.Errorf("append to the record: take numbers: %w", err)
	}
	start := size - int64(len(entries))

	tree := &growing{below: storedHashes(ctx, tx), fresh: map[int64]tlog.Hash{}}
	if err := tree.load(start); err != nil {
		return nil, fmt.Errorf("append to the record: %w", err)
	}
	recorded := make([]operation.Entry, 0, len(entries))
	var rows, hashes [][]any
	for i, e := range entries {
		index := start + int64(i)
		e.Sequence = index + 1
		raw, e, err := encode(e)
		if err != nil {
			return nil, fmt.Errorf("append to the record: %w", err)
		}
		made, err := tlog.StoredHashes(index, raw, tree)
		if err != nil {
			return nil, fmt.Errorf("append to the record: hash entry %d: %w", e.Sequence, err)
		}
		first := tlog.StoredHashIndex(0, index)
		for j, h := range made {
			tree.fresh[first+int64(j)] = h
			hashes = append(hashes, []any{first + int64(j), h[:]})
		}
		rows = append(rows, []any{e.Sequence, string(e.Operation), string(raw)})
		recorded = append(recorded, e)
	}
	if err := insert(ctx, tx, "record (seq, operation, entry)", rows); err != nil {
		return nil, fmt.Errorf("append to the record: %w", err)
	}
	if err := insert(ctx, tx, "record_hashes (idx, hash)", hashes); err != nil {
		return nil, fmt.Errorf("append to the record: store hashes: %w", err)
	}
	return recorded, nil
}

// insert adds rows to a table, many a statement; into is "table (columns)".
func insert(ctx context.Context, tx Execer, into string, rows [][]any) error {
	const perStatement = 500 // far below both databases' limit of parameters
	for len(rows) > 0 {
		n := min(len(rows), perStatement)
		var args []any
		groups := make([]string, 0, n)
		for _, row := range rows[:n] {
			groups = append(groups, "("+placeholders(len(args)+1, len(row))+")")
			args = append(args, row...)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO "+into+" VALUES "+strings.Join(groups, ","), args...); err != nil {
			return fmt.Errorf("insert into %s: %w", into, err)
		}
		rows = rows[n:]
	}
	return nil
}

// placeholders returns "$from,$from+1,…", n of them.
func placeholders(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
	}
	return b.String()
}

// growing reads the hashes of entries that are being appended, and those below
// them from the database.
type growing struct {
	below tlog.HashReader
	fresh map[int64]tlog.Hash
}

// load brings the right edge of the tree of size entries into memory. Appending
// needs no other stored hash, so this is the only read.
func (g *growing) load(size int64) error {
	_, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		edge, err := g.below.ReadHashes(indexes)
		if err != nil {
			return nil, err
		}
		for i, index := range indexes {
			g.fresh[index] = edge[i]
		}
		return edge, nil
	}))
	return err
}

// ReadHashes implements [tlog.HashReader].
func (g *growing) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		h, ok := g.fresh[index]
		if !ok {
			return nil, fmt.Errorf("hash %d was not loaded", index)
		}
		out[i] = h
	}
	return out, nil
}

// storedHashes reads hashes from the database by their index.
func storedHashes(ctx context.Context, q Queryer) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		args := make([]any, len(indexes))
		for i, index := range indexes {
			args[i] = index
		}
		rows, err := q.QueryContext(ctx, `SELECT idx, hash FROM record_hashes WHERE idx IN (`+placeholders(1, len(args))+`)`, args...)
		if err != nil {
			return nil, fmt.Errorf("read stored hashes: %w", err)
		}
		defer rows.Close() //nolint:errcheck // rows.Err below tells it
		found := map[int64]tlog.Hash{}
		for rows.Next() {
			var index int64
			var hash []byte
			if err := rows.Scan(&index, &hash); err != nil {
				return nil, fmt.Errorf("read stored hashes: %w", err)
			}
			if len(hash) != tlog.HashSize {
				return nil, fmt.Errorf("stored hash %d has %d bytes", index, len(hash))
			}
			found[index] = tlog.Hash(hash)
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read stored hashes: %w", err)
		}
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			h, ok := found[index]
			if !ok {
				return nil, fmt.Errorf("stored hash %d is missing", index)
			}
			out[i] = h
		}
		return out, nil
	})
}

// Checkpoint signs the record as it lies in the database and returns the note's
// text and how many entries it covers. Inside a transaction that appended, the
// text must not leave before the commit.
func (l *Log) Checkpoint(ctx context.Context, q Queryer) (text string, size int64, err error) {
	tree, err := head(ctx, q)
	if err != nil {
		return "", 0, fmt.Errorf("sign a checkpoint: %w", err)
	}
	text, err = l.sign(tree)
	return text, tree.N, err
}

func head(ctx context.Context, q Queryer) (tlog.Tree, error) {
	var size int64
	if err := q.QueryRowContext(ctx, `SELECT size FROM record_head`).Scan(&size); err != nil {
		return tlog.Tree{}, fmt.Errorf("read the record's size: %w", err)
	}
	hash, err := tlog.TreeHash(size, storedHashes(ctx, q))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("hash the record: %w", err)
	}
	return tlog.Tree{N: size, Hash: hash}, nil
}

func (l *Log) sign(tree tlog.Tree) (string, error) {
	text, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(tree))}, l.key.signer)
	if err != nil {
		return "", fmt.Errorf("sign a checkpoint: %w", err)
	}
	return string(text), nil
}

// Seal signs and keeps a checkpoint if one is due and returns its text for the
// outbox; sealed is false when none is. It is called after [Log.Append] in the
// same transaction (ended: an operation came to its end in it), and by the clock.
//
// It refuses with [ErrOtherHistory] to sign over a record that was tampered with
// since the last checkpoint; the transaction can still be committed then.
func (l *Log) Seal(ctx context.Context, tx *sql.Tx, ended bool) (text string, sealed bool, err error) {
	var size, last, signed int64
	var kept string
	if err := tx.QueryRowContext(ctx, `SELECT size FROM record_head`).Scan(&size); err != nil {
		return "", false, fmt.Errorf("seal the record: read its size: %w", err)
	}
	err = tx.QueryRowContext(ctx, `SELECT size, note, signed_at FROM record_checkpoints ORDER BY size DESC LIMIT 1`).Scan(&last, &kept, &signed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", false, fmt.Errorf("seal the record: read the last checkpoint: %w", err)
	}
	now := l.now().UTC()
	if !l.cadence.Due(size, last, time.UnixMicro(signed), now, ended) {
		return "", false, nil
	}
	tree, err := head(ctx, tx)
	if err != nil {
		return "", false, fmt.Errorf("seal the record: %w", err)
	}
	if err := l.continues(tree, kept, storedHashes(ctx, tx)); err != nil {
		return "", false, fmt.Errorf("seal the record: %w", err)
	}
	text, err = l.sign(tree)
	if err != nil {
		return "", false, err
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO record_checkpoints (size, hash, note, signed_at) VALUES ($1, $2, $3, $4) ON CONFLICT (size) DO NOTHING`,
		tree.N, tree.Hash.String(), text, now.UnixMicro())
	if err != nil {
		return "", false, fmt.Errorf("seal the record: keep the checkpoint: %w", err)
	}
	// Another replica may have sealed the same size in this moment; it posts it.
	added, err := result.RowsAffected()
	if err != nil {
		return "", false, fmt.Errorf("seal the record: keep the checkpoint: %w", err)
	}
	return text, added == 1, nil
}

// continues checks that tree grew out of the last kept checkpoint.
func (l *Log) continues(tree tlog.Tree, kept string, hashes tlog.HashReader) error {
	if kept == "" {
		return nil
	}
	signed, err := openCheckpoint(kept, l.known)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOtherHistory, err)
	}
	proof, err := tlog.ProveTree(tree.N, signed.tree.N, hashes)
	if err == nil {
		err = tlog.CheckTree(proof, tree.N, tree.Hash, signed.tree.N, signed.tree.Hash)
	}
	if err != nil {
		return fmt.Errorf("%w of %d entries: %w", ErrOtherHistory, signed.tree.N, err)
	}
	return nil
}

// Posted notes where the checkpoint of size entries was posted.
func (l *Log) Posted(ctx context.Context, tx Execer, size int64, channel operation.ChannelID, message operation.MessageID) error {
	result, err := tx.ExecContext(ctx, `UPDATE record_checkpoints SET channel = $1, message = $2 WHERE size = $3`, string(channel), string(message), size)
	if err != nil {
		return fmt.Errorf("note where checkpoint %d was posted: %w", size, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("note where checkpoint %d was posted: no such checkpoint is kept", size)
	}
	return nil
}

// OfOperation returns the entries of one operation, in order, from the live
// database. It checks nothing; [Verify] does.
func OfOperation(ctx context.Context, q Queryer, id operation.ID) ([]operation.Entry, error) {
	rows, err := q.QueryContext(ctx, `SELECT entry FROM record WHERE operation = $1 ORDER BY seq`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read the entries of %s: %w", id, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below tells it
	var out []operation.Entry
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("read the entries of %s: %w", id, err)
		}
		e, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("read the entries of %s: %w", id, err)
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the entries of %s: %w", id, err)
	}
	return out, nil
}
