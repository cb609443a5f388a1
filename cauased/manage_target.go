package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/manage"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// fillDatabase opens the database that a command puts something into, making it if there is none,
// and has fill do so. When that fails, a file that was made for it is gone again.
func fillDatabase(c *urfave.Context, fill func(store.Store) error) error {
	return fillNamed(c, flagDB, fill)
}

// fillNamed does so with the database that flag names.
func fillNamed(c *urfave.Context, flag string, fill func(store.Store) error) (err error) {
	dsn := c.String(flag)
	var made []string
	if !strings.Contains(dsn, "://") {
		if made = missing(dsn); len(made) > 0 {
			made = append(made, dsn+"-wal", dsn+"-shm", dsn+"-journal")
		}
	}
	db, err := sqlstore.Open(c.Context, dsn, sqlstore.Options{})
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	err = errors.Join(fill(db), db.Close())
	if err == nil || errors.Is(err, manage.ErrNotEmpty) {
		return err // not empty: somebody else was at it at the same time
	}
	for _, path := range made {
		_ = os.Remove(path) // the last three are rarely there
	}
	return err
}

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

// optionsBehind refuses options before manage: they are the daemon's. Its --db would say nothing to the
// command, which would go to another database than the one meant.
func optionsBehind(c *urfave.Context) error {
	if daemon := c.Lineage()[1]; daemon.NumFlags() > 0 {
		return cli.WithHint(errors.New("an option stands before manage"), "give the options of a command behind it: cauased manage COMMAND --%s FILE", flagDB)
	}
	return nil
}

// arrangeManage lets options of manage's commands stand behind their arguments.
func arrangeManage(app *urfave.App, args []string) []string {
	if len(args) < 4 || args[1] != "manage" {
		return args
	}
	for _, command := range app.Command("manage").Subcommands {
		if command.HasName(args[2]) {
			return append(args[:2:2], cli.Arrange(args[2:], command.Flags)...)
		}
	}
	return args
}
