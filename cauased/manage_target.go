package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/durable"
	"cauase/pkg/manage"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// fillDatabase opens the database that a command fills, creating it if it does not exist, and calls fill. If that
// fails, nothing has been created.
func fillDatabase(c *urfave.Context, fill func(store.Store) error) error {
	return fillNamed(c, flagDB, fill)
}

// fillNamed does so with the database that flag names.
func fillNamed(c *urfave.Context, flag string, fill func(store.Store) error) error {
	dsn := c.String(flag)
	if dsn != "" && !strings.Contains(dsn, "://") {
		if _, err := os.Lstat(dsn); errors.Is(err, fs.ErrNotExist) {
			return fillNew(c, flag, dsn, fill)
		}
	}
	db, err := sqlstore.Open(c.Context, dsn, sqlstore.Options{})
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return closed(fillVault(c, flag, db, fill), db)
}

// fillNew creates the file under a temporary name and renames it once it is complete. If filling it fails, it can
// safely be removed: no other process can have found it and written to it. After a kill it stays behind, hidden.
func fillNew(c *urfave.Context, flag, path string, fill func(store.Store) error) error {
	if err := sqlstore.CheckFree(path); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	temp := durable.TempName(path)
	defer func() {
		for _, ending := range []string{"", "-wal", "-shm", "-journal"} {
			_ = os.Remove(temp + ending) // most are not there
		}
	}()
	db, err := sqlstore.Open(c.Context, temp, sqlstore.Options{})
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, renamed{err, temp, path})
	}
	if err := errors.Join(fillVault(c, flag, db, fill), db.Close()); err != nil {
		return err
	}
	switch err := durable.Publish(temp, path); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: somebody has made %s meanwhile", store.ErrExists, path)
	case err != nil:
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}

// fillVault calls fill with the vault of a database.
func fillVault(c *urfave.Context, flag string, db *sqlstore.DB, fill func(store.Store) error) error {
	v, err := openVault(c, flag, db.Store())
	if err != nil {
		return err
	}
	return withKeyHint(c, fill(v))
}

// renamed is an error about a file under its temporary name, reported under the one that the user knows.
type renamed struct {
	error
	from, to string
}

func (r renamed) Error() string { return strings.ReplaceAll(r.error.Error(), r.from, r.to) }
func (r renamed) Unwrap() error { return r.error }

// maxInput bounds a file that is given to a command.
const maxInput = 512 << 20

// readInputs reads the files that the arguments of a command name.
func readInputs(paths []string) ([]manage.File, error) {
	var files []manage.File
	for _, path := range paths {
		data, err := readInput(path)
		if err != nil {
			return nil, err
		}
		files = append(files, manage.File{Name: path, Data: data})
	}
	return files, nil
}

func readInput(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("%s: larger than %d MiB", path, maxInput>>20)
	}
	return data, err
}

// optionsBehind refuses options before manage: they are the daemon's. The command would ignore its --db, and open
// another database than the one that was meant.
func optionsBehind(c *urfave.Context) error {
	if daemon := c.Lineage()[1]; daemon.NumFlags() > 0 {
		return cli.WithHint(errors.New("an option stands before manage"), "give the options of a command behind it: cauased manage COMMAND --%s FILE", flagDB)
	}
	return nil
}

// arrangeManage allows options of manage's commands after their arguments.
func arrangeManage(app *urfave.App, args []string) []string {
	if len(args) < 4 || args[1] != "manage" {
		return args
	}
	commands, at := app.Command("manage").Subcommands, 2
	for at < len(args) {
		i := slices.IndexFunc(commands, func(c *urfave.Command) bool { return c.HasName(args[at]) })
		switch {
		case i < 0:
			return args
		case len(commands[i].Subcommands) == 0:
			return append(args[:at:at], cli.Arrange(args[at:], commands[i].Flags)...)
		}
		commands, at = commands[i].Subcommands, at+1
	}
	return args
}
