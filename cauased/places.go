package main

import (
	"fmt"
	"os"
	"path/filepath"

	"cauase/pkg/daemon"
	"cauase/pkg/store/sqlstore"
)

// distinct refuses paths that collide. A file at the path of the HTTPS key pair that does not hold one is replaced:
// if that were the database, every CA key would be lost.
func (r *reader) distinct(cfg daemon.Config) {
	database := []string{"", "-wal", "-shm", "-journal"}
	backups := ""
	if cfg.Backups != nil {
		backups = cfg.Backups.Directory
	}
	places := []struct {
		flag, path string
		endings    []string
	}{
		{flagDB, cfg.Database, database},
		{flagServerKey, cfg.ServerKey, []string{""}},
		{flagCORSKeys, cfg.CORSKeys, []string{""}},
		{flagFirstUser, cfg.FirstUser, []string{""}},
		{flagKeySecret, cfg.Sealing.Secret, []string{"", ".new"}},
		{flagControl, cfg.Sealing.Socket, []string{""}},
		{flagBackupDirectory, backups, []string{""}},
	}
	for i, one := range places {
		if one.path == "" || sqlstore.IsURL(one.path) {
			continue
		}
		for _, other := range places[:i] {
			if sqlstore.IsURL(other.path) {
				continue
			}
			for _, ending := range other.endings {
				if samePlace(one.path, other.path+ending) || samePlace(one.path, resolve(other.path)+ending) {
					r.fail(one.flag, fmt.Errorf("%q is a file of --%s", one.path, other.flag))
				}
			}
		}
	}
}

// samePlace reports whether a and b are paths of the same file, whether or not it exists.
func samePlace(a, b string) bool {
	if resolve(a) == resolve(b) {
		return true
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// resolve follows symbolic links as far as the path exists.
func resolve(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir, base := filepath.Split(path)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return filepath.Join(real, base)
	}
	return path
}
