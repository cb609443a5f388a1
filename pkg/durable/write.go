package durable

import (
	"errors"
	"io/fs"
	"os"
)

// Options say how [WriteNew] makes a file. The zero value makes one for its owner alone.
type Options struct {
	// Prepare gives the file, which is still empty and open to its owner alone, its final owner and
	// mode. There is then no moment at which somebody may read the content who may not later.
	Prepare func(*os.File) error

	// Step, if set, is told before each step that changes what is on disk. Tests end the process
	// there.
	Step func(name string)
}

func (o Options) step(name string) {
	if o.Step != nil {
		o.Step(name)
	}
}

// WriteNew makes a file where none is and puts its content on disk. Its name is durable only after
// the next [Rename], [Publish] or [SyncFolder] in its folder. A file that cannot be written
// in full is removed.
func WriteNew(path string, content []byte, o Options) error {
	return WriteNewIn(fileSystem{}, path, content, o)
}

// WriteNewIn does so for a name in a folder that is open.
func WriteNewIn(at Place, name string, content []byte, o Options) error {
	o.step("create " + name)
	f, err := create(at, name, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(o.fill(f, name, content), f.Close()); err != nil {
		_ = at.Remove(name)
		return err
	}
	return nil
}

func (o Options) fill(f *os.File, path string, content []byte) error {
	if o.Prepare != nil {
		if err := o.Prepare(f); err != nil {
			return err
		}
	}
	o.step("fill " + path)
	if _, err := f.Write(content); err != nil {
		return err
	}
	o.step("sync " + path)
	return f.Sync()
}

// create never opens what is there, nor what a link points to.
func create(at Place, path string, mode fs.FileMode) (*os.File, error) {
	return at.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, mode)
}

// A File is one that is written before it is known whether it will be wanted, and then gets a name
// that nothing has.
type File struct {
	path, temp string
	file       *os.File
}

// Create begins a file with a mode, less the umask. It fails if the file could not be published now:
// with fs.ErrExist if something is at path, or because the folder cannot be written to. Until
// Publish, nothing is at path. Discard has to be called in any case.
func Create(path string, mode fs.FileMode) (*File, error) {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f := &File{path: path, temp: TempName(path)}
	var err error
	if f.file, err = create(fileSystem{}, f.temp, mode); err != nil {
		return nil, about(path, err)
	}
	return f, nil
}

// Set puts content on disk, in place of what was set before.
func (f *File) Set(content []byte) error {
	if err := f.file.Truncate(0); err != nil {
		return about(f.path, err)
	}
	if _, err := f.file.WriteAt(content, 0); err != nil {
		return about(f.path, err)
	}
	return about(f.path, f.file.Sync())
}

// Publish gives the file its name, unless something has it, see [Publish].
func (f *File) Publish() error { return Publish(f.temp, f.path) }

// Discard releases the file and removes it, unless it was published.
func (f *File) Discard() {
	_ = f.file.Close()
	_ = os.Remove(f.temp)
}
