package pemfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"cauase/pkg/folder"
)

// ErrIrreplaceable is a file that cannot be replaced by another one of its name, whatever its content.
var ErrIrreplaceable = folder.ErrIrreplaceable

// room is what a pair and its renewal need, which are in up to five files meanwhile, of a block each.
const room = 32 << 10

// takes is replaceable, and whether there is room.
func takes(in *folder.Folder, name string, info *folder.Info, path string) error {
	if err := replaceable(in, name, info, path); err != nil {
		return err
	}
	err := in.Room(room)
	if wrong := (*fs.PathError)(nil); errors.As(err, &wrong) {
		err = &fs.PathError{Op: "write", Path: path, Err: wrong.Err}
	}
	return err
}

// replaceable reports why what has a name in a folder, nil for nothing, cannot be replaced.
func replaceable(in *folder.Folder, name string, info *folder.Info, path string) error {
	err := in.Replaceable(name, info)
	if wrong := (*fs.PathError)(nil); errors.As(err, &wrong) {
		err = &fs.PathError{Op: "replace", Path: path, Err: wrong.Err}
	}
	return err
}

// Replaceable reports why a file at path could not be written or replaced: a symbolic link that is not
// to be followed, a folder, a mount, a file that is immutable, a folder without the right to write, a full disk. It changes
// nothing, so that it can be asked at any time; [PairPaths.Check] finds what shows only when it is tried.
func (a Attributes) Replaceable(path string) error {
	in, name, info, err := resolve(File{Path: path, Attributes: a})
	if err != nil {
		return err
	}
	defer in.Close()
	return takes(in, name, info, path)
}

// Replaceable reports why the files of the store could not be written or replaced.
func (s Store) Replaceable() error {
	in, isFolder, err := s.open()
	switch {
	case err == nil && isFolder:
		defer in.Close()
		return takes(in, "", nil, s.Path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, ErrSymlink):
		return err
	}
	return s.Attributes.Replaceable(s.Path)
}

// CheckForm reports whether a file with a key or a certificate that is replaced would become another kind of file: what is
// written is PEM, and what reads the file may take nothing else than what it is now.
func CheckForm(path string, content []byte) error {
	if _, err := segments(content); !errors.Is(err, errNotText) {
		return nil
	}
	if bytes.HasPrefix(content, []byte{0xff, 0xfe}) || bytes.HasPrefix(content, []byte{0xfe, 0xff}) {
		return fmt.Errorf("%s %w, but UTF-16: save it as UTF-8", path, errNotText)
	}
	return fmt.Errorf("%s %w, but DER, and would become PEM: convert it with the -inform DER of openssl pkey or openssl x509", path, errNotText)
}

// Check reports why the files could not be replaced. It is to be asked before a certificate is asked for,
// which could not be stored, and goes as far as can be gone without replacing them: a file beside each is given the
// owner, the mode and everything else that the new one is to have, and is removed.
func (p PairPaths) Check() error {
	paths := []string{p.KeyPath()}
	if !p.Combined() {
		paths = append(paths, p.Crt)
	}
	for i, path := range paths {
		if err := p.Attributes.rehearse(File{Path: path, Secret: i == 0, Attributes: p.Attributes}); err != nil {
			return err
		}
	}
	return nil
}

func (a Attributes) rehearse(file File) error {
	in, name, info, err := resolve(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := takes(in, name, info, file.Path); err != nil {
		return err
	}
	if info != nil {
		content, read, err := in.ReadFile(name, maxFileSize)
		if err != nil {
			return err
		}
		if err := CheckForm(file.Path, content); err != nil {
			return err
		}
		info = read
	}
	temp, err := siblingName(name, suffixNew)
	if err != nil {
		return err
	}
	a.Step = nil // nothing is left of it
	if err := writeTemp(in, temp, nil, a.mode(file.Secret, info), info, a); err != nil {
		return fmt.Errorf("write %s: %w", file.Path, err)
	}
	if err := in.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write %s: %w", file.Path, err)
	}
	return nil
}
