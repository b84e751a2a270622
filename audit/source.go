package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"golang.org/x/mod/sumdb/tlog"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/twokey/twokey/operation"
)

// Row is one entry as it lies there, unchecked. Its bytes are only valid until
// the next row.
type Row struct {
	Number    int64
	Operation operation.ID // what it is filed under
	Filed     bool         // whether it is filed at all: exports keep no index
	Entry     []byte       // the JSON that was hashed
	Damage    string       // why it cannot even be read as an entry; "" if it can
}

// Kept is what lies beside the entries.
type Kept struct {
	Head        int64 // how many entries there should be; -1 if nothing says so
	LeavesOnly  bool  // only the entries' own hashes are stored
	Checkpoints []KeptCheckpoint
}

// KeptCheckpoint is a checkpoint and where it was posted.
type KeptCheckpoint struct {
	Size    int64
	Note    string
	Channel operation.ChannelID
	Message operation.MessageID // empty: not posted yet
}

// Source hands out a record as it lies there. All three methods look at the same
// instant.
type Source interface {
	// Entries calls visit for every entry in the order of the numbers (a database)
	// or of the lines (an export). It stops at visit's first error and returns it.
	Entries(ctx context.Context, visit func(Row) error) error
	// Hashes calls visit for every stored hash, by ascending index.
	Hashes(ctx context.Context, visit func(index int64, hash tlog.Hash) error) error
	// Kept returns what lies beside the entries.
	Kept(ctx context.Context) (Kept, error)
}

// Opened is a source that holds a file or a connection.
type Opened interface {
	Source
	io.Closer
}

// Open opens a record for reading: a PostgreSQL address ("postgres://…"), the
// path of a SQLite file ("sqlite:" before it is the store's way to write it), or
// that of an exported file. Nothing is ever written.
func Open(ctx context.Context, address string) (Opened, error) {
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		return openDatabase(ctx, "pgx", address)
	}
	address = strings.TrimPrefix(address, "sqlite:")
	const magic = "SQLite format 3\x00"
	isSQLite, err := startsWith(address, magic)
	if err != nil {
		return nil, fmt.Errorf("open the record: %w", err)
	}
	if isSQLite {
		return openSQLite(ctx, address)
	}
	text, err := os.ReadFile(address)
	if err != nil {
		return nil, fmt.Errorf("open the record: %w", err)
	}
	return ParseExport(text), nil
}

func startsWith(path, magic string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read
	start := make([]byte, len(magic))
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(start[:n]) == magic, nil
}

// openSQLite opens a file read-only, beside a running bot too. A copy in a place
// where SQLite cannot put its lock files is opened as immutable, which is only
// right when no write-ahead log lies beside it.
func openSQLite(ctx context.Context, path string) (Opened, error) {
	address := "file:" + (&url.URL{Path: path}).EscapedPath() + "?mode=ro&_pragma=busy_timeout(10000)"
	source, err := openDatabase(ctx, "sqlite", address)
	if err == nil {
		return source, nil
	}
	if wal, statErr := os.Stat(path + "-wal"); statErr == nil && wal.Size() > 0 {
		return nil, err
	}
	return openDatabase(ctx, "sqlite", address+"&immutable=1")
}

func openDatabase(ctx context.Context, driver, address string) (Opened, error) {
	db, err := sql.Open(driver, address)
	if err != nil {
		return nil, fmt.Errorf("open the record: %w", err)
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the record: %w", err), db.Close())
	}
	opened := &openedDatabase{Database: Database{q: tx}, tx: tx, db: db}
	// The first read opens the file and fixes the instant.
	if _, err := opened.Kept(ctx); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

type openedDatabase struct {
	Database
	tx *sql.Tx
	db *sql.DB
}

// Close implements [io.Closer].
func (o *openedDatabase) Close() error {
	return errors.Join(o.tx.Rollback(), o.db.Close())
}

// Database is the record in a database.
type Database struct{ q Queryer }

// NewDatabase reads the record through q. If q is a transaction that sees one
// instant (SQLite: any; PostgreSQL: repeatable read), the bot may append
// meanwhile.
func NewDatabase(q Queryer) Database { return Database{q: q} }

// Entries implements [Source].
func (d Database) Entries(ctx context.Context, visit func(Row) error) error {
	row := Row{Filed: true}
	var id, entry sql.RawBytes
	return d.each(ctx, `SELECT seq, operation, entry FROM record ORDER BY seq`, func(rows *sql.Rows) error {
		if err := rows.Scan(&row.Number, &id, &entry); err != nil {
			return fmt.Errorf("read the record's entries: %w", err)
		}
		if string(id) != string(row.Operation) { // neighbours often share it
			row.Operation = operation.ID(id)
		}
		row.Entry = entry
		return visit(row)
	})
}

// Hashes implements [Source]. A hash of the wrong length is handed out as zeros,
// so that it fits nothing.
func (d Database) Hashes(ctx context.Context, visit func(int64, tlog.Hash) error) error {
	var index int64
	var raw sql.RawBytes
	return d.each(ctx, `SELECT idx, hash FROM record_hashes ORDER BY idx`, func(rows *sql.Rows) error {
		if err := rows.Scan(&index, &raw); err != nil {
			return fmt.Errorf("read the stored hashes: %w", err)
		}
		// Index arithmetic holds up to here; a record never gets there by itself.
		const highest = 1 << 48
		if index < 0 || index > highest {
			index = highest
		}
		var hash tlog.Hash
		if len(raw) == len(hash) {
			copy(hash[:], raw)
		}
		return visit(index, hash)
	})
}

// Kept implements [Source].
func (d Database) Kept(ctx context.Context) (Kept, error) {
	var kept Kept
	err := d.q.QueryRowContext(ctx, `SELECT size FROM record_head`).Scan(&kept.Head)
	if errors.Is(err, sql.ErrNoRows) {
		kept.Head, err = -1, nil
	}
	if err != nil {
		return Kept{}, fmt.Errorf("read the record's size: %w", err)
	}
	err = d.each(ctx, `SELECT size, note, channel, message FROM record_checkpoints ORDER BY size`, func(rows *sql.Rows) error {
		var c KeptCheckpoint
		if err := rows.Scan(&c.Size, &c.Note, &c.Channel, &c.Message); err != nil {
			return fmt.Errorf("read the kept checkpoints: %w", err)
		}
		kept.Checkpoints = append(kept.Checkpoints, c)
		return nil
	})
	return kept, err
}

func (d Database) each(ctx context.Context, query string, visit func(*sql.Rows) error) error {
	rows, err := d.q.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below tells it
	for rows.Next() {
		if err := visit(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	return nil
}
