package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// openExisting opens the daemon's database for a manage command, which may run beside it.
func openExisting(c *urfave.Context) (store.Store, error) {
	return openWith(c, sqlstore.Options{})
}

// openToInspect does so for a command that only looks: it changes no layout under a daemon of an earlier version, nor takes the way back
// from whoever wants to know whether a database is sound before it is brought up to date.
func openToInspect(c *urfave.Context) (store.Store, error) {
	db, err := openWith(c, sqlstore.Options{AsIs: true})
	if errors.Is(err, store.ErrOlderSchema) {
		return nil, cli.WithHint(err, "use the version of cauased that made it, or bring it up to date with cauased manage migrate, after which no earlier version can use it")
	}
	return db, err
}

func openWith(c *urfave.Context, options sqlstore.Options) (store.Store, error) {
	path := c.String(flagDB)
	// Opening would make a file.
	if _, err := os.Stat(path); err != nil && !sqlstore.IsURL(path) {
		return nil, cli.WithHint(fmt.Errorf("--%s: %w", flagDB, err), "give the database of the daemon, with --%s or CAUASED_DB", flagDB)
	}
	db, err := sqlstore.Open(c.Context, path, options)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagDB, err)
	}
	v, err := openVault(c, flagDB, db.Store())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return v, nil
}

// withDatabase opens the daemon's database for a command and closes it again.
func withDatabase(c *urfave.Context, do func(store.Store) error) error {
	db, err := openExisting(c)
	if err != nil {
		return err
	}
	return withKeyHint(c, closed(do(db), db))
}

// closed closes the database of a command, and returns the error of both. Where only closing fails, as a file of SQLite cannot be
// written to which nothing depends on that was done, nothing has to be undone or repeated there: it says so.
func closed(done error, db interface{ Close() error }) error {
	err := db.Close()
	if done == nil && err != nil {
		return fmt.Errorf("the database has everything on record, but could not be closed properly: %w", err)
	}
	return errors.Join(done, err)
}

// withAuthority does so for a command that is about the authority which --authority names. That is one of the
// database, or of others, which are to be made anyway.
func withAuthority(c *urfave.Context, others []store.Authority, do func(store.Store, store.AuthorityName) error) error {
	return withDatabase(c, func(db store.Store) error {
		name, err := namedAuthority(c.Context, db, c.String(flagAuthority), others...)
		if err != nil {
			return cli.WithHint(err, "see cauased manage %s --help", c.Command.Name)
		}
		return do(db, name)
	})
}

// importTarget returns the authority that a flag names, of a database that need not be there yet: what every
// daemon has can be given a CA before its first start.
func importTarget(c *urfave.Context, now time.Time) (store.AuthorityName, error) {
	standards := store.Standards(now)
	if _, err := os.Stat(c.String(flagDB)); err != nil && !sqlstore.IsURL(c.String(flagDB)) {
		return pickAuthority(standards, c.String(flagAuthority))
	}
	var name store.AuthorityName
	err := withDatabase(c, func(db store.Store) (err error) {
		name, err = namedAuthority(c.Context, db, c.String(flagAuthority), standards...)
		return err
	})
	return name, err
}

// namedAuthority returns the authority of the database, or of others, that --authority names.
func namedAuthority(ctx context.Context, st store.Store, name string, others ...store.Authority) (store.AuthorityName, error) {
	var rows []store.Authority
	err := st.View(ctx, func(r store.Reader) (err error) {
		rows, err = r.Authorities(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return pickAuthority(append(rows, others...), name)
}

// pickAuthority finds the name that --authority gives among those of rows.
func pickAuthority(rows []store.Authority, name string) (store.AuthorityName, error) {
	store.SortForDisplay(rows)
	var names []string
	for _, row := range rows {
		if string(row.Name) == name {
			return row.Name, nil
		}
		names = append(names, string(row.Name))
	}
	if len(names) == 0 {
		return "", fmt.Errorf("--%s: there is no authority %q: the database has none yet", flagAuthority, name)
	}
	return "", fmt.Errorf("--%s: %q is not one of %s", flagAuthority, name, strings.Join(slices.Compact(names), ", "))
}
