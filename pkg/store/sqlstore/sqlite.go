package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cauase/pkg/store"
)

// applicationID marks a SQLite file as ours: "Caua" in ASCII.
const applicationID = 0x43617561

// How a SQLite connection is set up. Sizes are in KiB where negative, as SQLite has it.
const (
	// Caches fill, and stay full, so that they are most of what a daemon takes of memory. The upper levels of the indices of
	// millions of certificates have room in these; four times as much made no difference to a renewal, as what is not in a
	// cache is in that of the system.
	writerCacheSize = "-16384"
	readerCacheSize = "-2048" // each of up to maxReaders
	// A checkpoint copies each page once however often it was written since the last one, so
	// that rare checkpoints are cheap ones; 64 MiB of log are read back in well under a second.
	walPages     = "16384"
	walSizeLimit = "134217728" // bytes that the log may keep on disk after a burst
)

func sqliteDialect() *dialect {
	return &dialect{
		name:     "sqlite",
		goose:    goose.DialectSQLite3,
		classify: classifySQLite,
		wipe:     "PRAGMA secure_delete = ON",
		unwipe:   "PRAGMA secure_delete = FAST",
		growTile: tiles.insert + " ON CONFLICT (level, number) DO UPDATE SET hashes = CAST(log_tile.hashes || excluded.hashes AS BLOB)",
		moveHead: "UPDATE log SET size = ?, seq = ?, edge = ? WHERE id = 1",
		indices: `SELECT name, sql FROM sqlite_schema
			WHERE type = 'index' AND tbl_name = 'certificate' AND sql IS NOT NULL ORDER BY name`,
	}
}

// sqliteURI names the database file at path, with the parameters in q. The path is escaped:
// SQLite takes the rest of a URI after "?" or "#" for something else, and decodes "%".
func sqliteURI(path string, q url.Values) string {
	u := url.URL{Path: path}
	return "file:" + u.EscapedPath() + "?" + q.Encode()
}

// sqliteParams are those that every connection has. mode=rw never creates a file.
func sqliteParams(busy time.Duration) url.Values {
	return url.Values{
		"mode":          {"rw"},
		"_busy_timeout": {strconv.FormatInt(busy.Milliseconds(), 10)},
		"_dqs":          {"0"}, // "x" is never a string
		"_defensive":    {"1"},
		"_foreign_keys": {"on"},
		"_pragma":       {"trusted_schema(OFF)"},
	}
}

// sqliteWriterURI is the URI of the connection that writes. Synchronous=FULL flushes the log
// at every commit: what Update has acknowledged survives the loss of power.
func sqliteWriterURI(path string, busy time.Duration) string {
	q := sqliteParams(busy)
	q.Set("_txlock", "immediate")
	q.Set("_journal_mode", "WAL")
	q.Set("_synchronous", "FULL")
	q.Add("_pragma", "cache_size("+writerCacheSize+")")
	q.Add("_pragma", "wal_autocheckpoint("+walPages+")")
	q.Add("_pragma", "journal_size_limit("+walSizeLimit+")")
	q.Add("_pragma", "secure_delete(FAST)")
	return sqliteURI(path, q)
}

// sqliteReaderURI is the URI of the connections that only read.
func sqliteReaderURI(path string, busy time.Duration) string {
	q := sqliteParams(busy)
	q.Set("_query_only", "on")
	q.Add("_pragma", "cache_size("+readerCacheSize+")")
	return sqliteURI(path, q)
}

// openSQLiteURI makes a handle of at most conns connections, which stay open.
func openSQLiteURI(uri string, conns int) (*sql.DB, error) {
	c, err := sqlite.NewConnector(uri)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// pragma asks for the value of a pragma.
func pragma(ctx context.Context, db *sql.DB, name string) (value string, err error) {
	err = db.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}

// classifySQLite goes by the primary code, the low byte of SQLite's result codes.
func classifySQLite(err error) condition {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return condition{store.ErrUnavailable, "the connection was lost"}
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return condition{}
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return condition{store.ErrExists, ""}
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return condition{store.ErrUnavailable, "another process keeps it locked"}
	case sqlite3.SQLITE_FULL:
		return condition{store.ErrUnavailable, "no space is left for it"}
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return condition{store.ErrUnavailable, "it is read-only"}
	case sqlite3.SQLITE_CANTOPEN:
		return condition{store.ErrUnavailable, "its files cannot be opened"}
	case sqlite3.SQLITE_IOERR:
		return condition{store.ErrUnavailable, "its disk reports an error"}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return condition{store.ErrUnavailable, "its file is damaged"}
	case sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return condition{store.ErrUnavailable, ""}
	}
	return condition{}
}

// isDamaged recognises a file that contradicts itself.
func isDamaged(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CORRUPT
}

// isNotSQLite recognises a file of another format.
func isNotSQLite(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_NOTADB
}
