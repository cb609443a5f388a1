package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// sidecars are the endings of the files that SQLite puts beside a database.
func sidecars() []string { return []string{"-journal", "-wal", "-shm"} }

// prepareFile sees to it that path is a SQLite file of ours, of which nothing may be known but
// that: its layout is migrate's business. It creates the file when there is none. Whatever else
// is found there stays untouched.
func prepareFile(ctx context.Context, d *dialect, path string, opt Options) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := CheckFree(path); err == nil {
			return createFile(ctx, d, path, opt)
		} else if _, gone := os.Stat(path); gone != nil {
			return err
		}
		return inspectFile(ctx, d, path) // another process has just made it
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a directory")
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	}
	return inspectFile(ctx, d, path)
}

// CheckFree makes sure that nothing is left beside path of a database that was there: SQLite would
// take its log for that of a new file, and write it into it.
func CheckFree(path string) error {
	for _, ending := range sidecars() {
		switch _, err := os.Lstat(path + ending); {
		case err == nil:
			return fmt.Errorf("%s is left of a database that is gone: move it away", path+ending)
		case !errors.Is(err, fs.ErrNotExist):
			return pathless(err)
		}
	}
	return nil
}

// inspectFile looks at an existing file without leaving a trace: an immutable database is
// opened without locks, log or recovery. It goes through SQLite, not os.Open, because POSIX
// drops all of a process's locks on a file when any of its descriptors is closed.
func inspectFile(ctx context.Context, d *dialect, path string) error {
	logged := hasLog(path)
	id, err := applicationIDOf(ctx, path, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	if isDamaged(err) && (logged || hasLog(path)) {
		// Somebody moves the log into the file just now, or died doing that: only both together are whole, and
		// SQLite puts them together.
		id, err = applicationIDOf(ctx, path, sqliteParams(inspectTimeout))
	}
	if isNotSQLite(err) {
		return errors.New("it is not a SQLite database")
	}
	if err != nil {
		return d.wrap(err)
	}
	if info, statErr := os.Stat(path); statErr == nil && info.Size() == 0 && !hasLog(path) {
		// Not a new database: a copy that failed, or a disk that was full. New CAs in its place would hide that.
		return errors.New("it is an empty file, not a database: move it away if a new one is to be made")
	}
	if id != strconv.Itoa(applicationID) {
		return errors.New("it is not a database of cauase")
	}
	return nil
}

// inspectTimeout is how long to wait for another process that does the same.
const inspectTimeout = 5 * time.Second

func applicationIDOf(ctx context.Context, path string, params url.Values) (id string, err error) {
	db, err := openSQLiteURI(sqliteURI(path, params), 1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return pragma(ctx, db, "application_id")
}

// hasLog reports whether there is a write-ahead log beside a file.
func hasLog(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// createFile makes a database under a name of its own and gives it its final one when it is
// complete. Hence path never names half a database, whatever interrupts us, and of two
// processes that start at once the slower one finds the work done. A kill at the wrong moment
// leaves a hidden file that holds no key yet.
func createFile(ctx context.Context, d *dialect, path string, opt Options) (err error) {
	dir, base := filepath.Split(path)
	tmp := filepath.Join(dir, "."+base+".new-"+rand.Text())

	// SQLite gives -wal, -shm and -journal the mode of the database. It will hold CA keys,
	// so nobody else may read it, at no time.
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return pathless(err)
	}
	defer func() {
		for _, ending := range append(sidecars(), "") {
			if e := os.Remove(tmp + ending); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	if err := f.Close(); err != nil {
		return pathless(err)
	}
	if err := fillFile(ctx, d, tmp, opt); err != nil {
		return err
	}
	if err := rehearse(ctx, d, tmp, opt); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces what another process has put there meanwhile.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return linkless(err)
	}
	return syncDir(dir)
}

// fillFile gives an empty file our mark and our layout. It works without WAL, so that
// everything is in the file itself once it is closed.
func fillFile(ctx context.Context, d *dialect, path string, opt Options) (err error) {
	q := sqliteParams(opt.BusyTimeout)
	q.Set("_synchronous", "FULL")
	db, err := openSQLiteURI(sqliteURI(path, q), 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	if _, err := db.ExecContext(ctx, "PRAGMA application_id = "+strconv.Itoa(applicationID)); err != nil {
		return d.wrap(err)
	}
	if err := migrate(ctx, d, db, opt); err != nil {
		return err
	}
	return useWAL(ctx, d, db)
}

// rehearse makes sure that the file can be used, with a log beside it, as long as it can still be
// removed: once it has its final name another process may have found it.
func rehearse(ctx context.Context, d *dialect, path string, opt Options) error {
	db, err := connectSQLite(ctx, d, path, opt)
	if err != nil {
		return err
	}
	return errors.Join(db.Ping(ctx), db.Close())
}

// useWAL switches to the write-ahead log, with which readers and the writer do not wait for
// each other. SQLite keeps quiet when the file system has no shared memory for it.
func useWAL(ctx context.Context, d *dialect, db *sql.DB) error {
	mode, err := pragma(ctx, db, "journal_mode = WAL")
	if err != nil {
		return d.wrap(err)
	}
	if mode != "wal" {
		return errors.New("its file system cannot keep a write-ahead log")
	}
	return nil
}

// syncDir makes the names in dir survive a loss of power.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return pathless(err)
	}
	return pathless(errors.Join(f.Sync(), f.Close()))
}

// pathless strips the file's name from err: the caller gives the one that the user knows.
func pathless(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// linkless does so for os.Link.
func linkless(err error) error {
	var e *os.LinkError
	if errors.As(err, &e) {
		return fmt.Errorf("giving the file its name: %w", e.Err)
	}
	return err
}
