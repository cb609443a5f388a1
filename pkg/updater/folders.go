package updater

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"cauase/pkg/enroll"
	"cauase/pkg/folder"
	"cauase/pkg/pemfile"
)

// separate reports whether a job has to be done in a process of its owner: whoever can write to one of its
// folders could otherwise have root read or write what they choose. Without an owner such folders
// are refused.
func (j *Job) separate() (bool, error) {
	err := j.checkFolders()
	if errors.Is(err, pemfile.ErrExposed) && j.Owner != nil && *j.Owner != 0 && os.Geteuid() == 0 {
		return true, nil
	}
	return false, err
}

// checkFolders reports why folders of a job are not safe to work in. What is not there yet is looked at
// when it is.
func (j *Job) checkFolders() error {
	if err := j.checkPlaces(); err != nil || j.OnRenew == "" {
		return err
	}
	if err := checkHook(j.OnRenew); unsafe(err) {
		return err
	}
	return nil
}

// checkPlaces does so for those that are worked in.
func (j *Job) checkPlaces() error {
	c := folderCheck{access: j.attributes(nil).Access(), good: map[string]*folder.Folder{}}
	defer c.close()
	for _, path := range append(j.paths(), j.statePath()) {
		if err := c.check(path); err != nil {
			return err
		}
	}
	return nil
}

// inOtherHands reports whether a job that is being done would be refused by now, or given to somebody else: folders can
// change hands at any time. A hook that others can change keeps only itself from being run.
func (j *Job) inOtherHands(isSeparate bool) bool {
	err := j.checkPlaces()
	ofOwner := errors.Is(err, pemfile.ErrExposed) && j.Owner != nil && *j.Owner != 0 && os.Geteuid() == 0
	if isSeparate {
		return !ofOwner
	}
	return err != nil
}

// Hint is what can be done about files that are refused, folders that are missing and disks that take nothing, "" for other
// errors.
func Hint(err error) string {
	if missing := (*MissingFolderError)(nil); errors.As(err, &missing) {
		return missingHint
	}
	if !unsafe(err) && !errors.Is(err, syscall.EROFS) && !errors.Is(err, syscall.ENOSPC) {
		return ""
	}
	_, hint := enroll.Explain(err, enroll.Reader{Links: linksOption})
	return hint
}

// linksOption is how links are allowed.
const linksOption = "--follow-symlinks"

// unsafe reports whether an error is one that only somebody can mend who decides on who may write where.
func unsafe(err error) bool {
	return errors.Is(err, pemfile.ErrExposed) || errors.Is(err, pemfile.ErrSymlink)
}

// A folderCheck checks the folders of several files, each folder once: most jobs have all of theirs in one, and every agent does
// this every minute.
type folderCheck struct {
	access folder.Access
	good   map[string]*folder.Folder // by the path as it is written
	others []*folder.Folder
}

func (c *folderCheck) close() {
	for _, in := range c.good {
		in.Close()
	}
	for _, in := range c.others {
		in.Close()
	}
}

// parent is that of folder.Access. The folder stays open until the end of the check.
func (c *folderCheck) parent(path string) (*folder.Folder, string, error) {
	dir, base := filepath.Split(path)
	plain := base != "" && base != "." && base != ".."
	if in := c.good[dir]; in != nil && plain {
		return in, base, nil
	}
	in, name, err := c.access.Parent(path)
	switch {
	case err != nil:
		return nil, "", err
	case plain:
		c.good[dir] = in
	default:
		c.others = append(c.others, in) // of something else than what is written before the last slash
	}
	return in, name, nil
}

// check checks the folder that a file is in, or the nearest one above it that exists, and path itself
// if it is a folder.
func (c *folderCheck) check(path string) error {
	access := c.access
	in, name, err := c.parent(path)
	for above := filepath.Dir(path); errors.Is(err, fs.ErrNotExist); above = filepath.Dir(above) {
		if in, err = access.Open(above); err == nil {
			in.Close()
			return nil
		}
		if above == filepath.Dir(above) {
			return nil
		}
	}
	if exposed := (*folder.ExposedError)(nil); errors.As(err, &exposed) {
		exposed.Path = path
	}
	if unsafe(err) {
		return err
	}
	if err != nil {
		return nil //nolint:nilerr // whoever reads the file says it
	}
	info, err := in.Stat(name)
	if err != nil || !info.IsDir() {
		return nil //nolint:nilerr // likewise
	}
	if in, err = access.Open(path); err == nil {
		in.Close()
	}
	if unsafe(err) {
		return err
	}
	return nil
}

// checkHook reports why a hook is not to be run, see [folder.CheckProgram].
func checkHook(path string) error {
	switch err := folder.CheckProgram(path); {
	case err == nil:
		return nil
	case errors.Is(err, pemfile.ErrNotRegular):
		return fmt.Errorf("%s: %w", hookOption, err)
	default:
		return hookError(path, err)
	}
}

// hookOption is how the hook is given.
const hookOption = "--on-renew"

// hookError is an error in the way of a hook, which names the option and the path as it was given.
func hookError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &missingHookError{path, err}
	}
	return fmt.Errorf("%s %s: %w", hookOption, path, err)
}

type missingHookError struct {
	path string
	err  error
}

func (e *missingHookError) Error() string {
	return fmt.Sprintf("%s: there is no %s to run", hookOption, e.path)
}

func (e *missingHookError) Unwrap() error { return e.err }
