package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cauase/pkg/store"
)

func openSQLite(ctx context.Context, path string, opt Options) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := sqliteDialect()
	if err := prepareFile(ctx, d, path, opt); err != nil {
		return nil, err
	}
	return connectSQLite(ctx, d, path, opt)
}

// connectSQLite opens a file of ours and brings its layout up to date.
func connectSQLite(ctx context.Context, d *dialect, path string, opt Options) (_ *DB, err error) {
	file, err := os.Stat(path)
	if err != nil {
		return nil, pathless(err)
	}
	if file.Mode().Perm()&0o077 != 0 {
		opt.Log.WarnContext(ctx, "the database holds private keys and others than its owner may read it",
			"path", path, "mode", file.Mode().Perm().String())
	}
	wdb, err := openSQLiteURI(sqliteWriterURI(path, opt.BusyTimeout), 1)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = wdb.Close() // err says why
		}
	}()
	if err := migrate(ctx, d, wdb, opt); err != nil {
		return nil, err
	}
	if err := useWAL(ctx, d, wdb); err != nil {
		return nil, err
	}
	rdb, err := openSQLiteURI(sqliteReaderURI(path, opt.BusyTimeout), maxReaders)
	if err != nil {
		return nil, err
	}
	s, err := newSQLiteSession(ctx, d, wdb, "BEGIN IMMEDIATE")
	if err != nil {
		_ = rdb.Close()
		return nil, err
	}
	w := newGroupWriter(&sqliteWriter{sqliteSession: s, db: wdb}, d, opt.Log)
	return &DB{
		dialect: d,
		log:     opt.Log,
		writer:  w,
		glance:  w.glance,
		readers: newPool(maxReaders, 0, func(ctx context.Context) (readSession, error) {
			s, err := newSQLiteSession(ctx, d, rdb, "BEGIN")
			if err != nil {
				return nil, err
			}
			return s, nil
		}),
		inspect: func() error { return sameFile(path, file) },
		release: rdb.Close,
		scrub:   func(ctx context.Context) error { return scrubSQLite(ctx, d, path, opt.BusyTimeout) },
	}, nil
}

// sameFile makes sure that the file has not been deleted or replaced while it is open, and can grow.
func sameFile(path string, opened os.FileInfo) error {
	switch now, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(now, opened):
		return fmt.Errorf("%w: its file was deleted or replaced", store.ErrUnavailable)
	case err != nil:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return checkSpace(path)
}
