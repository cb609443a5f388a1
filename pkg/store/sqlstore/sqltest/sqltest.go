// Package sqltest makes databases for the tests of other packages.
package sqltest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cauase/pkg/store/sqlstore"
)

// empty is a database without content, as a file. To make one takes all migrations that there ever were, and a dozen
// flushes of the disk, which is most of what many a test would do.
var empty = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "cauase-database-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "db.sqlite")
	db, err := sqlstore.Open(context.Background(), path, sqlstore.Options{})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path) //nolint:gosec // our own
})

// New makes an empty SQLite database, which has its layout already, in a folder that goes with the test, and
// returns its path. It is for tests that are not about how databases come about.
func New(t testing.TB) (path string) {
	t.Helper()
	content, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
