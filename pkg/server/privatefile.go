package server

import (
	"errors"
	"os"
	"path/filepath"
)

// writePrivateFile replaces the file at path by one with data that only its owner can
// read. Whoever looks sees the old file or the new one, also after a crash. A symbolic
// link is followed, so that it stays one.
func writePrivateFile(path string, data []byte) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	dir := filepath.Dir(path)
	// Made with mode 0600, exclusively, under a random name.
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	// The file is in place: that it might not be after a power cut is no reason to
	// remove it, nor to act as if it were not there.
	_ = syncDir(dir)
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
