// Package pemfile reads and writes the PEM files of a host: keys, certificates, and
// stores of CA certificates and revocation lists, as files or as directories.
//
// Whoever reads one of these files, at any moment and also after a crash, finds the
// old content or the new one, whole.
package pemfile

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"cauase/pkg/durable"
)

// Why a target is not written.
var (
	ErrSymlink    = errors.New("is a symbolic link")
	ErrNotRegular = errors.New("is not a regular file")
)

// maxFileSize bounds what is read from a file: pki.MaxCRLSize, the largest there is.
const maxFileSize = 256 << 20

// A File is what a path should hold.
type File struct {
	Path    string
	Content []byte

	// Secret marks content that holds a private key. A new file gets mode 0600. An
	// existing one that is closed to the world keeps its group permissions (0640 and
	// the like); one that is open to the world becomes 0600.
	Secret bool

	// Follow replaces what a symbolic link points to. Without it a link is refused:
	// it may have been put there by someone who may not write its target.
	Follow bool

	Attributes Attributes
}

// Attributes are what is wanted of files beyond their content. The zero value asks for
// nothing: a new file gets the usual mode, and one that is replaced keeps what it had.
type Attributes struct {
	// Mode of files, 0 for the default. Those with a private key never get more than
	// 0640, and 0600 if Mode opens files to the world.
	Mode fs.FileMode

	Owner, Group *int // nil for the default

	// Follow is File.Follow for all files.
	Follow bool

	// Step, if set, is told before each step that changes what is on disk. Tests
	// end the process there.
	Step func(name string)
}

func (a Attributes) step(name string) {
	if a.Step != nil {
		a.Step(name)
	}
}

// mode is what a file is to have, given what it replaces, nil for nothing.
func (a Attributes) mode(secret bool, old fs.FileInfo) fs.FileMode {
	mode := newFileMode
	switch {
	case a.Mode != 0:
		mode = a.Mode.Perm()
	case old != nil:
		mode = old.Mode().Perm()
	}
	if secret {
		return secretMode(mode)
	}
	return mode
}

// owns reports whether a file has the owner and group that are wanted.
func (a Attributes) owns(info fs.FileInfo) bool {
	is, ok := info.Sys().(*syscall.Stat_t)
	return !ok || (a.Owner == nil || *a.Owner == int(is.Uid)) && (a.Group == nil || *a.Group == int(is.Gid))
}

// newFileMode is the mode of a new file without secrets.
const newFileMode fs.FileMode = 0o644

// A staged is a File whose content is on disk, in full, under another name in the
// same folder.
type staged struct {
	target   string
	temp     string
	backup   string // second name of what target was, while that may have to come back
	existed  bool
	upToDate bool // target holds the content already, nothing is staged
	placed   bool // target is the new file

	attributes Attributes
}

// Write makes one file hold what it should. It reports whether anything had to change:
// a file with the right content keeps its modification time.
func Write(file File) (changed bool, err error) { return WriteAll(file) }

// WriteAll makes several files hold what they should, all or none. All contents are on
// disk before the first file changes, so only renames can fail from then on, and if one
// does those before it are undone.
//
// A crash between two renames leaves the first file new and the second old. The
// missing pieces are then still beside them, see [RecoverPair].
func WriteAll(files ...File) (changed bool, err error) {
	var stages []*staged
	defer func() {
		for _, s := range stages {
			s.discard()
		}
	}()
	for _, file := range files {
		s, err := stage(file)
		if err != nil {
			return false, err
		}
		stages = append(stages, s)
	}
	for i, s := range stages {
		if s.upToDate {
			continue
		}
		if err := s.commit(len(files) > 1); err != nil {
			for _, done := range stages[:i+1] {
				if undo := done.rollback(); undo != nil {
					err = errors.Join(err, undo)
				}
			}
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// stage writes the content beside its target, with the mode and owner it will have.
func stage(file File) (*staged, error) {
	target, info, err := resolve(file)
	if errors.Is(err, ErrSymlink) && !file.Secret {
		// What is behind the link is not ours to write, but may be right as it is.
		if old, failed := readRegular(file.Path); failed == nil && bytes.Equal(old, file.Content) {
			return &staged{target: file.Path, existed: true, upToDate: true}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	s := &staged{target: target, existed: info != nil, attributes: file.Attributes}
	mode := file.Attributes.mode(file.Secret, info)
	if info != nil && mode == info.Mode().Perm() && file.Attributes.owns(info) {
		old, err := readRegular(target)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(old, file.Content) {
			s.upToDate = true
			return s, nil
		}
	}
	temp, err := siblingName(target, suffixNew)
	if err != nil {
		return nil, err
	}
	if err := writeTemp(temp, file.Content, mode, info, file.Attributes); err != nil {
		return nil, fmt.Errorf("write %s: %w", file.Path, err)
	}
	s.temp = temp
	return s, nil
}

// resolve finds the file to replace and what it is now, nil if nothing.
func resolve(file File) (string, fs.FileInfo, error) {
	target := file.Path
	info, err := os.Lstat(target)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if !file.Follow && !file.Attributes.Follow {
			return "", nil, fmt.Errorf("%s %w: not written through", target, ErrSymlink)
		}
		if target, err = filepath.EvalSymlinks(target); err != nil {
			return "", nil, err
		}
		info, err = os.Lstat(target)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return target, nil, nil
	case err != nil:
		return "", nil, err
	case !info.Mode().IsRegular():
		return "", nil, fmt.Errorf("%s %w", target, ErrNotRegular)
	}
	return target, info, nil
}

// secretMode is what a file of this mode may have when it holds a private key.
func secretMode(mode fs.FileMode) fs.FileMode {
	if mode.Perm()&0o007 != 0 {
		return 0o600
	}
	return mode.Perm() & 0o640
}

// writeTemp makes a new file, which has its final owner and mode before the content arrives.
func writeTemp(path string, content []byte, mode fs.FileMode, old fs.FileInfo, a Attributes) error {
	return durable.WriteNew(path, content, durable.Options{Step: a.Step, Prepare: func(f *os.File) error {
		if err := setOwner(f, old, a); err != nil {
			return err
		}
		return f.Chmod(mode)
	}})
}

// setOwner gives f the owner and group that are wanted, or else those of the file it
// replaces.
func setOwner(f *os.File, old fs.FileInfo, a Attributes) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	uid, gid := int(is.Uid), int(is.Gid)
	if old != nil {
		if was, ok := old.Sys().(*syscall.Stat_t); ok {
			uid, gid = int(was.Uid), int(was.Gid)
		}
	}
	if a.Owner != nil {
		uid = *a.Owner
	}
	if a.Group != nil {
		gid = *a.Group
	}
	if uid == int(is.Uid) && gid == int(is.Gid) {
		return nil
	}
	if err := f.Chown(uid, gid); err != nil {
		return fmt.Errorf("cannot give it to its owner %d:%d: %w", uid, gid, err)
	}
	return nil
}

// commit puts the staged content in place. With undoable, what was there keeps a
// second name until discard.
func (s *staged) commit(undoable bool) error {
	if undoable && s.existed {
		if err := s.keepOld(); err != nil {
			return fmt.Errorf("keep the old %s: %w", s.target, err)
		}
	}
	s.attributes.step("rename to " + s.target)
	if err := os.Rename(s.temp, s.target); err != nil {
		return err
	}
	s.attributes.step("sync folder of " + s.target)
	s.temp, s.placed = "", true
	return durable.SyncFolder(filepath.Dir(s.target))
}

// keepOld gives the file that will be replaced a second name, or makes a copy of it where
// there are no hard links.
func (s *staged) keepOld() error {
	backup, err := siblingName(s.target, suffixOld)
	if err != nil {
		return err
	}
	s.backup = backup
	s.attributes.step("link " + backup)
	if os.Link(s.target, backup) == nil {
		return nil
	}
	info, err := os.Lstat(s.target)
	if err != nil {
		return err
	}
	content, err := readRegular(s.target)
	if err != nil {
		return err
	}
	return writeTemp(backup, content, info.Mode().Perm(), info, Attributes{})
}

// rollback undoes commit, however far it came.
func (s *staged) rollback() error {
	switch {
	case !s.placed:
		return nil
	case s.backup != "":
		if err := os.Rename(s.backup, s.target); err != nil {
			return fmt.Errorf("restore %s (kept as %s): %w", s.target, s.backup, err)
		}
		s.backup = ""
	case !s.existed:
		if err := os.Remove(s.target); err != nil {
			return err
		}
	}
	return durable.SyncFolder(filepath.Dir(s.target))
}

// discard removes what is left of a stage, whatever became of it. What cannot be
// removed is litter, not damage.
func (s *staged) discard() {
	for _, name := range []string{s.temp, s.backup} {
		if name != "" {
			s.attributes.step("remove " + name)
			_ = os.Remove(name)
		}
	}
	s.temp, s.backup = "", ""
}

const (
	suffixNew = ".new"
	suffixOld = ".old"
)

// siblingName returns an unpredictable name in the folder of path. It
// begins with a dot and ends in a suffix no reader of certificate directories takes.
func siblingName(path, suffix string) (string, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(path), siblingPrefix(path)+hex.EncodeToString(random[:])+suffix), nil
}

func siblingPrefix(path string) string { return "." + filepath.Base(path) + "." }

// Read returns the content of a regular file, through symbolic links. A FIFO or a
// device is refused without waiting for it.
func Read(path string) ([]byte, error) { return readRegular(path) }

func readRegular(path string) ([]byte, error) {
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", path, ErrNotRegular)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFileSize {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFileSize)
	}
	return content, nil
}
