package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"cauase/pkg/store"
)

// migrationFiles holds one folder per dialect. Once released, a file in it never changes.
//
//go:embed migrations
var migrationFiles embed.FS

// migrations returns what goose needs to know of a dialect.
func migrations(d *dialect, db *sql.DB, prepared *prepared) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations/"+d.name)
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(toRows(d), toLineages(d, prepared), toRejections(d), toNames(d), toRenewals(d), toPolicies(d), toMerkle(d))}
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

// Versions of the layout.
const (
	layoutRows       = 2 // authorities are rows, audit entries have a column for each thing
	layoutLineages   = 3 // certificates belong to lineages, CA certificates below a parent have self-signed twins
	layoutRejections = 4 // rejected requests are remembered, the audit log is indexed by lineage
	layoutNames      = 5 // the names of lineages are in a table of their own
	layoutRenewals   = 6 // renewals are in fewer indices
	layoutPolicies   = 7 // who has asked, and what policy has decided; approvals, deliveries, adoptions
	layoutMerkle     = 8 // the audit log is a Merkle tree, keys of CAs can be sealed
	layoutNow        = layoutMerkle
)

// toRows changes the layout to that of version 2, in one transaction.
func toRows(d *dialect) *goose.Migration {
	return goose.NewGoMigration(layoutRows, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		return changeToRows(ctx, d, tx)
	}}, nil)
}

func changeToRows(ctx context.Context, d *dialect, tx *sql.Tx) error {
	// First of all: earlier daemons take their locks in this order, too.
	if err := holdUpdates(ctx, d, tx); err != nil {
		return err
	}
	if err := runStep(ctx, d, tx, "audit_entry"); err != nil {
		return err
	}
	// What has been added since carryAudit, by others.
	for after := int64(0); ; {
		last, err := carryBatch(ctx, d, tx, after, auditBatch)
		if err != nil {
			return err
		}
		if last == 0 {
			break
		}
		after = last
	}
	return runStep(ctx, d, tx, "rows")
}

// prepared is what has been done in advance.
type prepared struct {
	lineages int64 // seq of the last certificate that was told its lineage
}

// toLineages changes the layout to that of version 3, in one transaction.
func toLineages(d *dialect, done *prepared) *goose.Migration {
	return goose.NewGoMigration(layoutLineages, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		return changeToLineages(ctx, d, tx, done.lineages)
	}}, nil)
}

// toRejections changes the layout to that of version 4, in one transaction.
func toRejections(d *dialect) *goose.Migration {
	return goose.NewGoMigration(layoutRejections, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		return changeToRejections(ctx, d, tx)
	}}, nil)
}

// toNames changes the layout to that of version 5, in one transaction.
func toNames(d *dialect) *goose.Migration {
	return goose.NewGoMigration(layoutNames, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		return changeToNames(ctx, d, tx)
	}}, nil)
}

// toRenewals changes the layout to that of version 6, in one transaction.
func toRenewals(d *dialect) *goose.Migration {
	return goose.NewGoMigration(layoutRenewals, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		return changeToRenewals(ctx, d, tx)
	}}, nil)
}

// toPolicies changes the layout to that of version 7, in one transaction. Nothing of it takes longer in a large database.
func toPolicies(d *dialect) *goose.Migration {
	return goose.NewGoMigration(layoutPolicies, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		return changeToPolicies(ctx, d, tx)
	}}, nil)
}

func changeToPolicies(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if err := holdUpdates(ctx, d, tx); err != nil {
		return err
	}
	return runStep(ctx, d, tx, "policies")
}

// toMerkle changes the layout to that of version 8, in one transaction.
func toMerkle(d *dialect) *goose.Migration {
	return goose.NewGoMigration(layoutMerkle, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		return changeToMerkle(ctx, d, tx)
	}}, nil)
}

// addColumn adds a column to a table, unless it is there; types has its type by dialect. Callers take turns.
func addColumn(ctx context.Context, d *dialect, tx *sql.Tx, table, column string, types map[string]string) error {
	look := `SELECT EXISTS (SELECT 1 FROM pragma_table_info(?) WHERE name = ?)`
	if d.name == "postgres" { // whose IF NOT EXISTS waits for everybody who uses the table, to find that there is nothing to do
		look = `SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attname = $2 AND NOT attisdropped
			AND attrelid = to_regclass(quote_ident(current_schema()) || '.' || $1))`
	}
	var there bool
	if err := tx.QueryRowContext(ctx, look, table, column).Scan(&there); err != nil || there {
		return err
	}
	_, err := tx.ExecContext(ctx, "ALTER TABLE "+table+" ADD COLUMN "+column+" "+types[d.name])
	return err
}

// holdUpdates keeps Updates of all daemons waiting until tx ends. SQLite's transactions do so by themselves.
func holdUpdates(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if d.name != "postgres" {
		return nil
	}
	_, err := tx.ExecContext(ctx, `LOCK TABLE update_lock IN EXCLUSIVE MODE`)
	return err
}

// runStep runs a file of statements.
func runStep(ctx context.Context, d *dialect, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, name string) error {
	statements, err := migrationFiles.ReadFile("migrations/" + d.name + "/steps/" + name + ".sql")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, string(statements))
	return err
}

// prepare does what takes long and leaves the layout as it is for those who use it.
func prepare(ctx context.Context, d *dialect, db *sql.DB, current int64, log *slog.Logger) (done prepared, err error) {
	if current == layoutRows-1 {
		if err := runStep(ctx, d, db, "audit_entry"); err != nil {
			return done, err
		}
		if err := carryAudit(ctx, d, db, log); err != nil {
			return done, err
		}
	}
	switch {
	case current > 0 && current < layoutLineages:
		done.lineages, err = prepareLineages(ctx, d, db, log)
	case current == layoutLineages:
		err = prepareAuditLineage(ctx, d, db, log)
	case current == layoutRejections:
		err = prepareNames(ctx, d, db, log)
	case current == layoutNames:
		err = prepareRenewalIndices(ctx, d, db, log)
	case current == layoutPolicies:
		err = prepareTree(ctx, d, db, log)
	}
	return done, err // if there is nothing yet, or it is done, there is nothing to do
}

func newerSchema(current, known int64) error {
	return fmt.Errorf("%w (its layout is %d, this version knows %d)", store.ErrNewerSchema, current, known)
}

func olderSchema(current, needed int64) error {
	return fmt.Errorf("%w (its layout is %d, this version needs %d)", store.ErrOlderSchema, current, needed)
}

// upgrade makes what changes to the layout are missing.
func upgrade(ctx context.Context, d *dialect, db *sql.DB, log *slog.Logger) error {
	done := new(prepared)
	p, err := migrations(d, db, done)
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	for current < target {
		next := target
		if current > 0 {
			next = max(layoutLineages, current+1) // what the next one needs in advance can be made after that
		}
		if *done, err = prepare(ctx, d, db, current, log); err == nil {
			_, err = p.UpTo(ctx, next)
		}
		// Another process may be at it at the same time, and ahead.
		reached, _, again := p.GetVersions(ctx)
		switch {
		case again != nil:
			return errors.Join(err, again)
		case reached == current:
			return err
		}
		current = reached
	}
	return nil
}

// migrate brings the database to the layout this version of cauase knows. A database that
// is ahead of it is left alone: writing to a layout one does not know loses data.
func migrate(ctx context.Context, d *dialect, db *sql.DB, opt Options) error {
	p, err := migrations(d, db, new(prepared))
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return d.wrap(err)
	case current > target:
		return newerSchema(current, target)
	case current == target:
		return nil
	case opt.AsIs && current > 0:
		return olderSchema(current, target)
	}
	return d.wrap(upgrade(ctx, d, db, opt.Log))
}
