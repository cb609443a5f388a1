package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/config"
	"cauase/pkg/store/sqlstore"
)

const flagConfig = "config"

// A settingsFile is a configuration file: values of flags that neither the command line nor the
// environment gives.
type settingsFile struct {
	path         string
	used         map[string]config.Position // of the flags that have their value from here
	settings     map[string]config.Setting  // all that stand there
	parsedTables                            // none: the built-in profiles, and no rules
}

// alternatives are groups of flags that exclude each other: where one is given, the file's values of the others are
// ignored.
var alternatives = [...][]string{{flagKeyType, flagKeyLen}, {flagBackupPeriod, flagBackupSchedule}}

// readFile gives c the values that stand in the file of --config, if there is one.
func readFile(c *urfave.Context) (settingsFile, error) {
	f := settingsFile{path: c.String(flagConfig), used: make(map[string]config.Position)}
	if f.path == "" {
		return f, nil
	}
	content, err := config.Read(f.path)
	if err != nil {
		return f, fmt.Errorf("--%s: %w", flagConfig, err)
	}
	err = f.apply(c, content)
	var wrong error
	if f.parsedTables, wrong = readTables(f.path, content); err != nil || wrong != nil {
		return f, fmt.Errorf("%s: %w", f.path, errors.Join(err, wrong))
	}
	return f, nil
}

// apply gives c the values of the settings.
func (f *settingsFile) apply(c *urfave.Context, content []byte) error {
	settings, err := config.Settings(content)
	if err != nil {
		return err
	}
	f.settings = settings
	given := func(name string) bool { return c.IsSet(name) }
	answered := map[string]bool{}
	for _, names := range alternatives {
		if slices.ContainsFunc(names, given) {
			for _, name := range names {
				answered[name] = true
			}
		}
	}
	for name := range settings {
		answered[name] = answered[name] || given(name) // before anything is set
	}
	var wrong error
	for _, name := range sortedByPlace(settings) {
		s := settings[name]
		flag := lookup(c, name)
		if flag == nil || name == flagConfig {
			wrong = errors.Join(wrong, config.Unknown(s.Position, name))
			continue
		}
		texts, err := cli.ValuesFor(flag, s.Value)
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%v: %s: %w", s.Position, name, err))
			continue
		}
		if answered[name] {
			continue
		}
		f.used[name] = s.Position
		for _, text := range texts {
			if err := c.Set(name, f.locate(name, text)); err != nil {
				wrong = errors.Join(wrong, fmt.Errorf("%v: %s: %w", s.Position, name, err))
			}
		}
	}
	return wrong
}

// sortedByPlace returns the names of settings in their order in the file.
func sortedByPlace(settings map[string]config.Setting) (names []string) {
	for name := range settings {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if byLine := settings[a].Line - settings[b].Line; byLine != 0 {
			return byLine
		}
		return settings[a].Column - settings[b].Column
	})
	return names
}

func lookup(c *urfave.Context, name string) urfave.Flag {
	for _, flag := range c.App.Flags {
		if flag.Names()[0] == name && !slices.Contains([]string{"help", "version", "generate-bash-completion"}, name) {
			return flag
		}
	}
	return nil
}

// pathFlags are those whose values are paths. In a file they are relative to its folder.
var pathFlags = []string{flagDB, flagServerKey, flagCORSKeys, flagBackupDirectory, flagKeySecret, flagControl}

func (f settingsFile) locate(name, text string) string {
	if text == "" || !slices.Contains(pathFlags, name) || filepath.IsAbs(text) || sqlstore.IsURL(text) {
		return text
	}
	return filepath.Join(filepath.Dir(f.path), text)
}

// wrong is the error about the value of a flag of c: it names the place that the value is from.
func (f settingsFile) wrong(c *urfave.Context, flag string, err error) error {
	if place, ok := f.used[flag]; ok {
		return fmt.Errorf("%s: %v: %s: %w", f.path, place, flag, err)
	}
	return cli.WithHint(fmt.Errorf("%s: %w", cli.NameOf(c, flag), err), "see cauased --help")
}
