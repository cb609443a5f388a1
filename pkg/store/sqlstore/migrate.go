package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"cauase/pkg/store"
)

// migrationFiles holds one folder per dialect. Once released, a file in it never changes.
//
//go:embed migrations
var migrationFiles embed.FS

// migrations returns what goose needs to know of a dialect.
func migrations(d *dialect, db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations/"+d.name)
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.goose == goose.DialectPostgres {
		// Of several who start at once, one does the work and the others wait for it.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(d.goose, db, files, options...)
}

// latest is the version of the layout that this version of cauase knows.
func latest(d *dialect) (version int64, err error) {
	entries, err := fs.ReadDir(migrationFiles, "migrations/"+d.name)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		n, err := goose.NumericComponent(entry.Name())
		if err != nil {
			return 0, err
		}
		version = max(version, n)
	}
	return version, nil
}

func newerSchema(current, known int64) error {
	return fmt.Errorf("%w (its layout is %d, this version knows %d)", store.ErrNewerSchema, current, known)
}

// upgrade makes what changes to the layout are missing.
func upgrade(ctx context.Context, d *dialect, db *sql.DB) error {
	p, err := migrations(d, db)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// migrate brings the database to the layout this version of cauase knows. A database that
// is ahead of it is left alone: writing to a layout one does not know loses data.
func migrate(ctx context.Context, d *dialect, db *sql.DB) error {
	p, err := migrations(d, db)
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return d.wrap(err)
	}
	switch {
	case current > target:
		return newerSchema(current, target)
	case current == target:
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		// Another process may have been at it at the same time, and first.
		if current, _, again := p.GetVersions(ctx); again == nil && current == target {
			return nil
		}
		return d.wrap(err)
	}
	return nil
}
