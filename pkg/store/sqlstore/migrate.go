package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"cauase/pkg/store"
)

// migrationFiles holds one folder per dialect. Once released, a file in it never changes.
//
//go:embed migrations
var migrationFiles embed.FS

// migrate brings the database to the layout this version of cauase knows. A database that
// is ahead of it is left alone: writing to a layout one does not know loses data.
func migrate(ctx context.Context, d *dialect, db *sql.DB) error {
	files, err := fs.Sub(migrationFiles, "migrations/"+d.name)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(d.goose, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return d.wrap(err)
	}
	switch {
	case current > target:
		return fmt.Errorf("%w (its layout is %d, this version knows %d)", store.ErrNewerSchema, current, target)
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
