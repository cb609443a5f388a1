package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cauase/pkg/store"
)

// errReaders means that the log of a SQLite file could not be emptied, as somebody reads what is in it.
var errReaders = fmt.Errorf("%w: others go on using the database, so that its log could not be emptied", store.ErrUnavailable)

// For those who read is waited ten seconds.
const (
	scrubTries = 100
	scrubPause = 100 * time.Millisecond
)

// Scrub rewrites what has held private keys, so that nothing of a key is left that is no longer in a row. With PostgreSQL its own log still
// has it, until the server needs the room, and so have copies that were made of that.
func (db *DB) Scrub(ctx context.Context) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.running.Done()
	return db.scrub(ctx)
}

// scrubSQLite writes the file anew, and empties the log.
func scrubSQLite(ctx context.Context, d *dialect, path string, busy time.Duration) (err error) {
	db, err := openSQLiteURI(sqliteWriterURI(path, busy), 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, statement := range []string{d.wipe, "VACUUM"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return d.wrap(err)
		}
	}
	for tries := scrubTries; ; tries-- {
		var blocked, pages, moved int
		if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &pages, &moved); err != nil {
			return d.wrap(err)
		}
		if blocked == 0 {
			return nil
		}
		if tries == 0 {
			return errReaders
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(scrubPause):
		}
	}
}

// scrubPostgres writes the tables with keys anew. That their old files are gone takes a checkpoint, for which not everybody has the right: then
// the server's next one does it.
func scrubPostgres(ctx context.Context, d *dialect, connect func(context.Context) (*pgx.Conn, error)) (err error) {
	conn, err := connect(ctx)
	if err != nil {
		return d.wrap(err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	for _, table := range []string{"ca_certificate", "signoff", "setting"} {
		if _, err := conn.Exec(ctx, "VACUUM (FULL, ANALYZE) "+table); err != nil {
			return d.wrap(err)
		}
	}
	_, _ = conn.Exec(ctx, "CHECKPOINT")
	return nil
}
