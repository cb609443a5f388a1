package updater

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A MissingFolderError is a folder of a job that is not there. The agent makes files, and no folders: whose they should be,
// and what is mounted there, is for others to say.
type MissingFolderError struct {
	Folder string // the outermost that is missing
	File   string // what belongs there
	err    error
}

func (e *MissingFolderError) Error() string {
	return fmt.Sprintf("there is no folder %s, where %s belongs", e.Folder, e.File)
}

func (e *MissingFolderError) Unwrap() error { return e.err }

// missingHint is what can be done about it.
const missingHint = "make that folder, with the owner that it should have, or mount what it is on, if the path is right: the agent makes files, but no folders"

// missingFolder is the error about the first folder of files that a job writes which is not there, nil if all are.
func (j *Job) missingFolder() error {
	for _, path := range []string{j.Crt, j.keyIfSeparate(), j.CA, j.CRL, j.CASCA, j.Root, j.statePath()} {
		if path == "" {
			continue
		}
		if err := missingAbove(path); err != nil {
			return err
		}
	}
	return nil
}

// missingAbove is the error about a folder that is missing on the way to a file.
func missingAbove(path string) error {
	missing, err := "", error(nil)
	for above := filepath.Dir(path); ; above = filepath.Dir(above) {
		_, statErr := os.Stat(above)
		if !errors.Is(statErr, fs.ErrNotExist) {
			break
		}
		missing, err = above, statErr
		if above == filepath.Dir(above) {
			break
		}
	}
	if missing == "" {
		return nil
	}
	return &MissingFolderError{missing, path, err}
}

// orMissing is an error in the way of a job, or what is behind it: that a folder is not there.
func (j *Job) orMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if missing := j.missingFolder(); missing != nil {
			return missing
		}
	}
	return err
}
