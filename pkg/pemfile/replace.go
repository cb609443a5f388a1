// Package pemfile reads and writes the PEM files of a host: keys, certificates, and
// stores of CA certificates and revocation lists, as files or as directories.
//
// Whoever reads one of these files, at any moment and also after a crash, finds the
// old content or the new one, whole.
package pemfile

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"cauase/pkg/durable"
	"cauase/pkg/folder"
)

// Why a target is not written, or not read.
var (
	ErrSymlink    = folder.ErrSymlink
	ErrNotRegular = folder.ErrNotRegular
	ErrExposed    = folder.ErrExposed
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

	// Listings are those in which leftovers are looked for; nil to list folders anew.
	Listings *Listings

	// Guard is for whoever works on files of others, or for others: folders that others than root and the
	// user of this process can write to are refused with [ErrExposed], and, unless Follow allows them, so
	// are symbolic links, wherever in a path they stand and for reading, too.
	Guard bool

	// Own is Guard for whoever works in a folder of their own that others may be able to write to: not the
	// folder counts but each file that is read, which has to belong to root or the user of this process.
	Own bool

	// Like, if set, describes a file that is gone, whose owner, group, mode and everything else of the
	// kind files get, whatever is in its place by now. Owner, Group and Mode go before it.
	Like *folder.Info

	// Lock is for keys that are encrypted, nil to refuse them.
	Lock *Lock

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
func (a Attributes) mode(secret bool, old *folder.Info) fs.FileMode {
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
func (a Attributes) owns(info *folder.Info) bool {
	return (a.Owner == nil || *a.Owner == info.UID()) && (a.Group == nil || *a.Group == info.GID())
}

// newFileMode is the mode of a new file without secrets.
const newFileMode fs.FileMode = 0o644

// A staged is a File whose content is on disk, in full, under another name in the
// same folder.
type staged struct {
	in       *folder.Folder
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
	in, target, info, err := resolve(file)
	if errors.Is(err, ErrSymlink) && !file.Secret && !file.Attributes.Access().NoLinks {
		// What is behind the link is not ours to write, but may be right as it is.
		if old, failed := Read(file.Path); failed == nil && bytes.Equal(old, file.Content) {
			return &staged{existed: true, upToDate: true}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	s := &staged{in: in, target: target, existed: info != nil, attributes: file.Attributes}
	if err := s.prepare(file, info); err != nil {
		in.Close()
		return nil, err
	}
	return s, nil
}

func (s *staged) prepare(file File, info *folder.Info) error {
	like := cmp.Or(file.Attributes.Like, info)
	mode := file.Attributes.mode(file.Secret, like)
	if info != nil && file.Attributes.Like == nil && mode == info.Mode().Perm() && file.Attributes.owns(info) {
		old, _, err := s.in.ReadFile(s.target, maxFileSize)
		if err != nil {
			return err
		}
		if bytes.Equal(old, file.Content) {
			s.upToDate = true
			return nil
		}
	}
	if err := replaceable(s.in, s.target, info, file.Path); err != nil {
		return err
	}
	temp, err := siblingName(s.target, suffixNew)
	if err != nil {
		return err
	}
	if like != nil && like == info {
		if like, err = s.in.WithExtended(s.target, info); err != nil {
			return fmt.Errorf("write %s: %w", file.Path, err)
		}
	}
	if err := writeTemp(s.in, temp, file.Content, mode, like, file.Attributes); err != nil {
		return fmt.Errorf("write %s: %w", file.Path, err)
	}
	s.temp = temp
	return nil
}

// resolve finds the file to replace and what it is now, nil if nothing.
func resolve(file File) (in *folder.Folder, target string, info *folder.Info, err error) {
	access := file.Attributes.Access()
	if file.Follow || file.Attributes.Follow {
		in, target, err = access.Target(file.Path)
	} else {
		in, target, err = access.Parent(file.Path)
	}
	if err != nil {
		return nil, "", nil, err
	}
	info, err = in.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return in, target, nil, nil
	case err != nil:
	case info.Mode()&fs.ModeSymlink != 0:
		err = fmt.Errorf("%s %w: not written through", file.Path, ErrSymlink)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s %w", file.Path, ErrNotRegular)
	}
	if err != nil {
		in.Close()
		return nil, "", nil, err
	}
	return in, target, info, nil
}

// Access is how paths lead to files.
func (a Attributes) Access() folder.Access {
	return folder.Access{Guard: a.Guard && !a.Own, NoLinks: (a.Guard || a.Own) && !a.Follow}
}

// secretMode is what a file of this mode may have when it holds a private key.
func secretMode(mode fs.FileMode) fs.FileMode {
	if mode.Perm()&0o007 != 0 {
		return 0o600
	}
	return mode.Perm() & 0o640
}

// writeTemp makes a new file, which has its final owner and mode, and what else old has of the kind, before the
// content arrives.
func writeTemp(in *folder.Folder, name string, content []byte, mode fs.FileMode, old *folder.Info, a Attributes) error {
	step := func(step string) {
		op, name, _ := strings.Cut(step, " ")
		a.step(op + " " + in.Join(name))
	}
	return durable.WriteNewIn(in, name, content, durable.Options{Step: step, Prepare: func(f *os.File) error {
		same, err := setOwner(f, old, a)
		if err != nil {
			return err
		}
		if !same {
			mode &^= 0o070 // what was for another group is not for this one
		}
		if old == nil {
			return f.Chmod(mode)
		}
		return old.Extended().Give(f, mode)
	}})
}

// setOwner gives f the owner and group that are wanted, or else those of the file it
// replaces. It reports whether the group is the one it should be: who works in a folder of their own cannot
// give files to any group, and keeps them.
func setOwner(f *os.File, old *folder.Info, a Attributes) (sameGroup bool, err error) {
	is, err := folder.InfoOf(f)
	if err != nil {
		return false, err
	}
	uid, gid := is.UID(), is.GID()
	if old != nil {
		uid, gid = old.UID(), old.GID()
	}
	if a.Owner != nil {
		uid = *a.Owner
	}
	if a.Group != nil {
		gid = *a.Group
	}
	if uid == is.UID() && gid == is.GID() {
		return true, nil
	}
	err = f.Chown(uid, gid)
	if a.Own && a.Group == nil && uid == is.UID() && errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot give it to its owner %d:%d: %w", uid, gid, err)
	}
	return true, nil
}

// commit puts the staged content in place. With undoable, what was there keeps a
// second name until discard.
func (s *staged) commit(undoable bool) error {
	if undoable && s.existed {
		if err := s.keepOld(); err != nil {
			return fmt.Errorf("keep the old %s: %w", s.in.Join(s.target), err)
		}
	}
	s.attributes.step("rename to " + s.in.Join(s.target))
	if err := s.in.Rename(s.temp, s.target); err != nil {
		return err
	}
	s.attributes.step("sync folder of " + s.in.Join(s.target))
	s.temp, s.placed = "", true
	return syncNames(s.in)
}

// syncNames flushes which names a folder has.
func syncNames(in *folder.Folder) error {
	listed, err := in.Listed()
	if err != nil {
		return err
	}
	return errors.Join(durable.SyncOpenFolder(listed), listed.Close())
}

// keepOld gives the file that will be replaced a second name, or makes a copy of it where
// there are no hard links.
func (s *staged) keepOld() error {
	backup, err := siblingName(s.target, suffixOld)
	if err != nil {
		return err
	}
	s.backup = backup
	s.attributes.step("link " + s.in.Join(backup))
	if s.in.Link(s.target, backup) == nil {
		return nil
	}
	content, info, err := s.in.ReadFile(s.target, maxFileSize)
	if err != nil {
		return err
	}
	return writeTemp(s.in, backup, content, info.Mode().Perm(), info, Attributes{})
}

// rollback undoes commit, however far it came.
func (s *staged) rollback() error {
	switch {
	case !s.placed:
		return nil
	case s.backup != "":
		if err := s.in.Rename(s.backup, s.target); err != nil {
			return fmt.Errorf("restore %s (kept as %s): %w", s.in.Join(s.target), s.backup, err)
		}
		s.backup = ""
	case !s.existed:
		if err := s.in.Remove(s.target); err != nil {
			return err
		}
	}
	return syncNames(s.in)
}

// discard removes what is left of a stage, whatever became of it. What cannot be
// removed is litter, not damage.
func (s *staged) discard() {
	for _, name := range []string{s.temp, s.backup} {
		if name != "" {
			s.attributes.step("remove " + s.in.Join(name))
			_ = s.in.Remove(name)
		}
	}
	s.temp, s.backup = "", ""
	if s.in != nil {
		s.in.Close()
		s.in = nil
	}
}

const (
	suffixNew = ".new"
	suffixOld = ".old"
)

// siblingName returns an unpredictable name for the folder in which name is. It
// begins with a dot and ends in a suffix no reader of certificate directories takes.
func siblingName(name, suffix string) (string, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return siblingPrefix(name) + hex.EncodeToString(random[:]) + suffix, nil
}

func siblingPrefix(name string) string { return "." + name + "." }

// Read returns the content of a regular file, through symbolic links as a user expects. A FIFO or a
// device is refused without opening it.
func Read(path string) ([]byte, error) {
	content, err := Attributes{}.Read(path)
	return content.Data, err
}

// A Content is what a file held when it was read, and what that file was.
type Content struct {
	Data []byte
	Info *folder.Info
}

// Read reads a regular file as far as Guard and Follow let it.
func (a Attributes) Read(path string) (Content, error) {
	in, name, err := a.Access().Target(path)
	if err != nil {
		return Content{}, err
	}
	defer in.Close()
	content, err := a.readIn(in, name)
	if wrong := (*fs.PathError)(nil); errors.As(err, &wrong) && wrong.Path == in.Join(name) {
		err = &fs.PathError{Op: "open", Path: path, Err: wrong.Err} // as the reader knows it
	}
	return content, err
}

func (a Attributes) readIn(in *folder.Folder, name string) (Content, error) {
	data, info, err := in.ReadFile(name, maxFileSize)
	if err == nil && a.Own {
		err = info.Exposed(in.Join(name))
	}
	if err != nil {
		return Content{}, err
	}
	return Content{data, info}, nil
}
