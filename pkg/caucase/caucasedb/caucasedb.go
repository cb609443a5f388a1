// Package caucasedb reads the SQLite database of caucase, see package caucase.
package caucasedb

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cauase/pkg/caucase"
)

// ErrInUse means that another process is writing to the database.
var ErrInUse = errors.New("the database is in use")

// Read reads a database of caucase. It changes nothing and leaves nothing beside it.
//
// As long as it reads, it keeps others from writing. What a process that was killed has left in
// files beside the database, a journal or a log, is part of it: all of it is then copied to a
// private temporary folder, and read there.
func Read(ctx context.Context, path string) (_ *caucase.Database, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	// What belongs to a database lies beside the file itself, not beside a link to it.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	kind, err := inspect(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"mode": {"ro"}}
	switch {
	case kind.sidecar:
		copied, err := duplicate(path)
		if copied != "" {
			defer func() { err = errors.Join(err, os.RemoveAll(filepath.Dir(copied))) }()
		}
		if err != nil {
			return nil, err
		}
		path = copied
		q.Set("mode", "rw") // what is left of a change is undone there
	case kind.wal:
		// Without a log nobody is using it; reading it the usual way would create one.
		q.Set("immutable", "1")
	}
	db, err := readFile(ctx, path, q)
	return db, explain(err)
}

// explain rephrases what SQLite says about a file.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY:
		return fmt.Errorf("%w: another process is writing to it", ErrInUse)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: it is not a SQLite database", caucase.ErrNotCaucase)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: the SQLite database is damaged", caucase.ErrNotCaucase)
	}
	return err
}

// What a file of SQLite looks like from outside.
type fileKind struct {
	wal     bool // it is in write-ahead mode
	sidecar bool // there is a journal or a log beside it that is part of it
}

func inspect(path string) (fileKind, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fileKind{}, err
	case !info.Mode().IsRegular():
		return fileKind{}, fmt.Errorf("%w: it is not a regular file", caucase.ErrNotCaucase)
	}
	f, err := os.Open(path)
	if err != nil {
		return fileKind{}, err
	}
	defer f.Close()
	var header [100]byte // https://www.sqlite.org/fileformat.html, 1.3
	if _, err := io.ReadFull(f, header[:]); err != nil || !strings.HasPrefix(string(header[:]), "SQLite format 3\x00") {
		return fileKind{}, fmt.Errorf("%w: it is not a SQLite database", caucase.ErrNotCaucase)
	}
	const walVersion = 2
	kind := fileKind{wal: header[18] == walVersion}
	for _, ending := range sidecars() {
		if info, err := os.Stat(path + ending); err == nil && info.Size() > 0 {
			kind.sidecar = true
		}
	}
	// SQLite takes what is missing at the end for zeros.
	if whole := sizeOf(header[:]); !kind.sidecar && info.Size() < whole {
		return kind, fmt.Errorf("%w: the SQLite database is cut off: %d of %d bytes are there", caucase.ErrNotCaucase, info.Size(), whole)
	}
	return kind, nil
}

// sizeOf is how large a file with this header has to be, as far as the header is sure.
func sizeOf(header []byte) int64 {
	number := func(at int) int64 { return int64(binary.BigEndian.Uint32(header[at:])) }
	if number(24) != number(92) {
		return 0 // an old version has written last
	}
	pageSize := int64(binary.BigEndian.Uint16(header[16:]))
	if pageSize == 1 {
		pageSize = 65536
	}
	return pageSize * number(28)
}

// sidecars are the endings of the files beside a database that are part of it.
func sidecars() []string { return []string{"-journal", "-wal"} }

// duplicate copies a database with what belongs to it to a folder of its own, for the owner only.
// It fails when any of it changes meanwhile: the parts would not belong together.
func duplicate(path string) (copied string, err error) {
	dir, err := os.MkdirTemp("", "cauase-import-")
	if err != nil {
		return "", err
	}
	copied = filepath.Join(dir, "database")
	before := state(path)
	for _, ending := range append([]string{""}, sidecars()...) {
		if err := copyFile(copied+ending, path+ending); err != nil && !(ending != "" && errors.Is(err, fs.ErrNotExist)) {
			return copied, err
		}
	}
	if state(path) != before {
		return copied, fmt.Errorf("%w: another process is writing to it", ErrInUse)
	}
	return copied, nil
}

// state is different when any of a database's files has changed.
func state(path string) string {
	var all strings.Builder
	for _, ending := range append([]string{""}, sidecars()...) {
		if info, err := os.Stat(path + ending); err == nil {
			fmt.Fprintf(&all, "%s %d %d;", ending, info.Size(), info.ModTime().UnixNano())
		}
	}
	return all.String()
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// busyTimeout bounds the wait for another process that is writing to the database.
const busyTimeout = 5 * time.Second

func readFile(ctx context.Context, path string, q url.Values) (_ *caucase.Database, err error) {
	q.Set("_busy_timeout", fmt.Sprint(busyTimeout.Milliseconds()))
	q.Set("_defensive", "1")
	q["_pragma"] = []string{"trusted_schema(OFF)", "cell_size_check(ON)"}
	u := url.URL{Path: path}
	c, err := sqlite.NewConnector("file:" + u.EscapedPath() + "?" + q.Encode())
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, pool.Close()) }()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// One transaction: one state of all tables.
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return nil, err
	}
	defer func() {
		if _, e := conn.ExecContext(ctx, "ROLLBACK"); err == nil {
			err = e
		}
	}()
	f := &fileReader{ctx: ctx, conn: conn, into: caucase.NewBuilder()}
	return f.read()
}

// A fileReader reads a database table by table.
type fileReader struct {
	ctx  context.Context
	conn *sql.Conn
	into *caucase.Builder
}

// A table is known by its name and columns.
type table struct {
	name    string
	columns []string
}

func (f *fileReader) read() (*caucase.Database, error) {
	tables, err := f.schema()
	if err != nil {
		return nil, err
	}
	if _, err := f.into.Database(); err != nil {
		return nil, err // before anything is read that may be large
	}
	var verdict string
	if err := f.conn.QueryRowContext(f.ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return nil, err
	}
	if verdict != "ok" {
		return nil, fmt.Errorf("%w: the SQLite database is damaged: %.100q", caucase.ErrNotCaucase, verdict)
	}
	for _, t := range tables {
		if err := f.rows(t); err != nil {
			return nil, err
		}
	}
	return f.into.Database()
}

// schema returns the tables. They are those that caucase makes, made as it makes them, and there is
// nothing else: a view or a trigger could have SQL run that is not ours.
func (f *fileReader) schema() (tables []table, err error) {
	rows, err := f.conn.QueryContext(f.ctx, "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var typ, name, declaration string
		if err := rows.Scan(&typ, &name, &declaration); err != nil {
			return nil, err
		}
		switch {
		case typ == "index" && declaration == "":
			// Made by SQLite itself, for a PRIMARY KEY or UNIQUE.
			continue
		case typ != "table":
			return nil, fmt.Errorf("%w: caucase has no %s %.40q", caucase.ErrNotCaucase, typ, name)
		}
		columns, err := f.into.Table(name, declaration)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", caucase.ErrNotCaucase, err)
		}
		tables = append(tables, table{name, columns})
	}
	return tables, rows.Err()
}

// rows reads one table, in the order in which its rows were made.
func (f *fileReader) rows(t table) (err error) {
	// The names are those that the builder knows.
	rows, err := f.conn.QueryContext(f.ctx, "SELECT "+strings.Join(t.columns, ", ")+" FROM "+t.name+" ORDER BY rowid")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]any, len(t.columns))
	into := make([]any, len(t.columns))
	for n := 1; rows.Next(); n++ {
		for i := range values {
			values[i] = nil
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			if text, ok := v.(string); ok {
				values[i] = []byte(text)
			}
		}
		if err := f.into.Row(t.name, values); err != nil {
			return fmt.Errorf("%w: row %d: %w", caucase.ErrNotCaucase, n, err)
		}
	}
	return rows.Err()
}
