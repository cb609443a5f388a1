package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/config"
	"cauase/pkg/daemon"
)

// onHangup calls reload for each signal, one after the other, until ctx ends; several that come meanwhile are one. The channel it returns is
// closed after the last.
func onHangup(ctx context.Context, hangups <-chan os.Signal, reload func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hangups:
				reload()
			case <-ctx.Done():
				return
			}
		}
	}()
	return done
}

// reloadable tells settings that there are from those there are not.
func reloadable(c *urfave.Context) func(name string) bool {
	return func(name string) bool { return name != flagConfig && lookup(c, name) != nil }
}

// reload reads the file again and has the daemon do what its tables say now. With an error anywhere in the file
// nothing changes.
func (f settingsFile) reload(ctx context.Context, d *daemon.Daemon, log *slog.Logger, known func(name string) bool) {
	if f.path == "" {
		log.WarnContext(ctx, "SIGHUP has no effect: it has the tables of a configuration file read again, and there is none (--"+flagConfig+"); "+
			"options are read at the start only, what is in the database is followed as it changes")
		return
	}
	tables, later, err := f.readAgain(known)
	if err != nil {
		log.ErrorContext(ctx, "configuration not reloaded: what was read before still counts", "error", err)
		return
	}
	d.Reload(ctx, tables)
	if len(later) > 0 {
		log.WarnContext(ctx, "some of what has changed in the configuration file counts from the next start on", "changed", strings.Join(later, ", "))
	}
}

// readAgain returns the tables of the file as it is now, and the names of what else has changed.
func (f settingsFile) readAgain(known func(name string) bool) (tables daemon.Tables, later []string, err error) {
	content, err := config.Read(f.path)
	if err != nil {
		return tables, nil, err
	}
	settings, err := config.Settings(content)
	if err != nil {
		return tables, nil, fmt.Errorf("%s: %w", f.path, err)
	}
	var wrong error
	for _, name := range sortedByPlace(settings) {
		if !known(name) {
			wrong = errors.Join(wrong, config.Unknown(settings[name].Position, name))
		}
	}
	now, err := readTables(f.path, content)
	if err := errors.Join(wrong, err); err != nil {
		return tables, nil, fmt.Errorf("%s: %w", f.path, err)
	}
	for name, s := range settings {
		if before, was := f.settings[name]; !was || !reflect.DeepEqual(before.Value, s.Value) {
			later = append(later, name)
		}
	}
	for name := range f.settings {
		if _, is := settings[name]; !is {
			later = append(later, name)
		}
	}
	slices.Sort(later)
	if !reflect.DeepEqual(now.profile, f.profile) {
		later = append(later, "profile")
	}
	if !reflect.DeepEqual(now.keys, f.keys) {
		later = append(later, "authority")
	}
	return now.Tables, later, nil
}
