package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// openExisting opens the daemon's database for a manage command, which may run beside it.
func openExisting(c *urfave.Context) (store.Store, error) {
	path := c.String(flagDB)
	// Opening would make a file.
	if _, err := os.Stat(path); err != nil && !sqlstore.IsURL(path) {
		return nil, cli.WithHint(fmt.Errorf("--%s: %w", flagDB, err), "give the database of the daemon, with --%s or CAUASED_DB", flagDB)
	}
	db, err := sqlstore.Open(c.Context, path, sqlstore.Options{})
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagDB, err)
	}
	return db.Store(), nil
}

// namedAuthority returns the authority of the database that a flag names. Those in others count as well:
// what is to be made anyway.
func namedAuthority(ctx context.Context, st store.Store, flag, name string, others ...store.Authority) (store.AuthorityName, error) {
	var rows []store.Authority
	err := st.View(ctx, func(r store.Reader) (err error) {
		rows, err = r.Authorities(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	rows = append(rows, others...)
	store.SortForDisplay(rows)
	var names []string
	for _, row := range rows {
		if string(row.Name) == name {
			return row.Name, nil
		}
		names = append(names, string(row.Name))
	}
	if len(names) == 0 {
		return "", fmt.Errorf("--%s: there is no authority %q: the database has none yet", flag, name)
	}
	return "", fmt.Errorf("--%s: %q is not one of %s", flag, name, strings.Join(slices.Compact(names), ", "))
}
