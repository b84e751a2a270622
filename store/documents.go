package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/twokey/twokey/operation"
)

// keep stores documents and returns the notices that upload them. A newer document
// of the same name replaces the older.
func (s *Store) keep(ctx context.Context, tx *sql.Tx, documents []operation.Document) ([]operation.Notice, error) {
	var out []operation.Notice
	for _, d := range documents {
		_, err := tx.ExecContext(ctx, `INSERT INTO documents (operation, name, title, body, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (operation, name) DO UPDATE SET title = excluded.title, body = excluded.body, created_at = excluded.created_at`,
			string(d.Operation), d.Name, d.Title, string(d.Body), micros(d.At))
		if err != nil {
			return nil, fmt.Errorf("keep document %s: %w", d.Name, err)
		}
		out = append(out, operation.Notice{
			Key: fmt.Sprintf("file:%s:%s:%d", d.Operation, d.Name, micros(d.At)), Kind: operation.NoticeFile, Document: d.Name, Text: d.Title,
		})
	}
	return out, nil
}

// ErrNoDocument is returned for a document that does not exist.
var ErrNoDocument = errors.New("no such document")

// Document returns a document of an operation.
func (s *Store) Document(ctx context.Context, id operation.ID, name string) (operation.Document, error) {
	d := operation.Document{Operation: id, Name: name}
	var body string
	var at int64
	err := s.db.QueryRowContext(ctx, "SELECT title, body, created_at FROM documents WHERE operation = $1 AND name = $2", string(id), name).Scan(&d.Title, &body, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return d, ErrNoDocument
	}
	if err != nil {
		return d, fmt.Errorf("read document %s of operation %s: %w", name, id, err)
	}
	d.Body, d.At = []byte(body), instant(at)
	return d, nil
}
