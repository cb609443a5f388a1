package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/config"
	"cauase/pkg/store/sqlstore"
)

// What deploy/systemd/cauased.service says.
const (
	flagEnvironmentFile = "environment-file"
	unitEnvironment     = "/etc/cauase/cauased.env"
	unitDirectory       = "/var/lib/cauase"
	defaultDatabase     = "cauase.sqlite"
)

// withSettings has the commands that open the database take the settings of the daemon: from the file of --config, and from
// the environment file of its unit. What an operator checks, backs up or repairs has to be what the daemon uses.
func withSettings(commands []*urfave.Command, stderr io.Writer) []*urfave.Command {
	for _, command := range commands {
		withSettings(command.Subcommands, stderr)
		if flagNamed(command.Flags, flagDB) == nil {
			continue
		}
		if flagNamed(command.Flags, flagConfig) == nil {
			command.Flags = append(command.Flags, configFlag())
		}
		keyring := tokenFlag().(*urfave.StringSliceFlag)
		keyring.Hidden = true // few commands use keys, and they take them from the daemon's settings
		command.Flags = append(command.Flags, keyring, &urfave.StringFlag{Category: groupFiles, Name: flagEnvironmentFile, EnvVars: env(flagEnvironmentFile), TakesFile: true,
			DefaultText: unitEnvironment + ", if there is one and neither --" + flagDB + " nor --" + flagConfig + " is given",
			Usage:       "`FILE` of the environment of the daemon's unit"})
		command.Before = func(c *urfave.Context) error {
			if err := takeSettings(c, stderr); err != nil {
				return err
			}
			return withCustody(c)
		}
	}
	return commands
}

// configFlag is that of commands of manage.
func configFlag() urfave.Flag {
	return &urfave.StringFlag{Category: groupFiles, Name: flagConfig, EnvVars: env(flagConfig), TakesFile: true,
		Usage: "`FILE` of the daemon's configuration, for options that are given neither here nor in the environment, and for [profile.NAME]"}
}

func flagNamed(flags []urfave.Flag, name string) urfave.Flag {
	for _, flag := range flags {
		if flag.Names()[0] == name {
			return flag
		}
	}
	return nil
}

// takeSettings gives flags of a command their values from the daemon's files. What the environment file says is
// as if it were in the environment, so it comes before the configuration file, as in the daemon.
func takeSettings(c *urfave.Context, stderr io.Writer) error {
	elsewhere := c.IsSet(flagDB) || c.IsSet(flagConfig)
	path, required := unitEnvironment, false
	if c.IsSet(flagEnvironmentFile) {
		path, required = c.String(flagEnvironmentFile), true
	}
	unit := false
	if required || !elsewhere {
		vars, err := readEnvironmentFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !required:
		case err != nil:
			return cli.WithHint(fmt.Errorf("--%s: %w", flagEnvironmentFile, err), "--%s names the database without it", flagDB)
		default:
			if err := fromUnit(c, vars, path); err != nil {
				return err
			}
			unit = true
		}
	}
	if err := fromConfig(c); err != nil || !unit || c.IsSet(flagDB) {
		return err
	}
	return unitDatabase(c, path, stderr)
}

// fromUnit takes what the environment file of the unit says.
func fromUnit(c *urfave.Context, vars environmentFile, path string) error {
	names := make([]string, 0, len(vars))
	for name := range vars {
		names = append(names, name)
	}
	slices.Sort(names)
	if err := checkEnvironment(c.App, names); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, flag := range c.Command.Flags {
		name := flag.Names()[0]
		value, there := vars[env(name)[0]]
		if !there || c.IsSet(name) {
			continue
		}
		if slices.Contains(pathFlags, name) || name == flagConfig {
			value = inUnit(value)
		}
		if err := c.Set(name, value); err != nil {
			return fmt.Errorf("%s: %s: %w", path, env(name)[0], err)
		}
		meantForDaemon(c, name)
	}
	return nil
}

// unitDatabase takes the database that the unit has unless something else is said.
func unitDatabase(c *urfave.Context, path string, stderr io.Writer) error {
	database := filepath.Join(unitDirectory, defaultDatabase)
	if _, err := os.Stat(defaultDatabase); err == nil && !samePlace(defaultDatabase, database) {
		return cli.WithHint(fmt.Errorf("there are two databases: %s here, and %s, of the unit that %s belongs to", defaultDatabase, database, path),
			"say which with --%s", flagDB)
	}
	remark(stderr, "note", "the database is %s, that of the unit (%s)", database, path)
	return c.Set(flagDB, database)
}

// inUnit is the place that a path in the environment of the unit means: it runs in a folder of its own.
func inUnit(path string) string {
	if path == "" || filepath.IsAbs(path) || sqlstore.IsURL(path) {
		return path
	}
	return filepath.Join(unitDirectory, path)
}

// fromConfig takes what the configuration file says at its top. The values of what a command has no use for are left to
// the daemon to check.
func fromConfig(c *urfave.Context) error {
	path := c.String(flagConfig)
	if path == "" {
		return nil
	}
	content, err := config.Read(path)
	if err != nil {
		return fmt.Errorf("--%s: %w", flagConfig, err)
	}
	settings, err := config.Settings(content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f := settingsFile{path: path}
	for _, name := range sortedByPlace(settings) {
		s, flag := settings[name], flagNamed(c.Command.Flags, name)
		if lookup(c, name) == nil {
			return fmt.Errorf("%s: %w", path, config.Unknown(s.Position, name))
		}
		if flag == nil || c.IsSet(name) || name == flagConfig {
			continue
		}
		texts, err := cli.ValuesFor(flag, s.Value)
		for i := 0; err == nil && i < len(texts); i++ {
			err = c.Set(name, f.locate(name, texts[i]))
		}
		if err != nil {
			return fmt.Errorf("%s: %v: %s: %w", path, s.Position, name, err)
		}
		meantForDaemon(c, name)
	}
	return nil
}

const metadataDaemon = "settings of the daemon"

// meantForDaemon remembers that a flag has its value from a file that is the daemon's.
func meantForDaemon(c *urfave.Context, name string) {
	if c.App.Metadata == nil {
		c.App.Metadata = map[string]any{}
	}
	names, _ := c.App.Metadata[metadataDaemon].([]string)
	c.App.Metadata[metadataDaemon] = append(names, name)
}

// fromDaemon reports whether a flag has its value from the environment or a file, where it is meant for the daemon.
func fromDaemon(c *urfave.Context, name string) bool {
	names, _ := c.App.Metadata[metadataDaemon].([]string)
	_, there := os.LookupEnv(env(name)[0])
	return there || slices.Contains(names, name)
}
