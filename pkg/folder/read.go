// Package folder works on files by way of open folders. Whoever holds one works in that folder, whatever
// becomes of its path meanwhile, so that nobody can exchange it between a check and what depends on it.
//
// Names are those of one folder and are never followed where they are symbolic links. How a path
// leads to a folder is up to [Access].
package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ReadFile reads a regular file of at most so many bytes. Anything else, such as a FIFO or a device, is not even
// opened.
func (f *Folder) ReadFile(name string, longest int) ([]byte, *Info, error) {
	info, err := f.Stat(name)
	if err == nil {
		err = info.regular(f.Join(name))
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	// It may be another one than a moment ago.
	if info, err = InfoOf(file); err == nil {
		err = info.regular(f.Join(name))
	}
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, int64(longest)+1))
	if err == nil {
		info.extended, err = extendedOf(file)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(content) > longest {
		return nil, nil, fmt.Errorf("%s %w: more than %d bytes", f.Join(name), ErrTooLong, longest)
	}
	return content, info, nil
}

// Names lists what is in the folder and wanted, nil for all, unless that is more than so many.
func (f *Folder) Names(most int, wanted func(name string) bool) ([]string, error) {
	listed, err := f.Listed()
	if err != nil {
		return nil, err
	}
	defer listed.Close()
	var names []string
	for {
		some, err := listed.Readdirnames(1000)
		for _, name := range some {
			if wanted == nil || wanted(name) {
				names = append(names, name)
			}
		}
		switch {
		case len(names) > most:
			return nil, fmt.Errorf("%s holds more than %d files", f.path, most)
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, err
		}
	}
}

func (i *Info) regular(path string) error {
	switch {
	case i.Mode().IsRegular():
		return nil
	case i.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s %w", path, ErrSymlink)
	}
	return fmt.Errorf("%s %w", path, ErrNotRegular)
}
