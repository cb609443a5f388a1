package main

import (
	"fmt"
	"os"

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

// parseAuthority reads the name of an authority from a flag.
func parseAuthority(flag, name string) (store.AuthorityName, error) {
	switch a := store.AuthorityName(name); a {
	case store.Users, store.Services, store.HTTPS:
		return a, nil
	}
	return "", fmt.Errorf("--%s: %q is not one of cau, cas, https", flag, name)
}
