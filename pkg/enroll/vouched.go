package enroll

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"cauase/pkg/pemfile"
)

// A Vouched remembers that the daemon of an authority has vouched for its HTTPS certificate, and at
// which addresses: a daemon that does not any more is then not taken for a reference daemon, which
// never does. It is a file beside the CA certificates, as it says as much about the authority as
// they do, and goes where they go.
type Vouched struct {
	Path string
	Mode fs.FileMode // of the file, 0 for the usual one
}

// VouchedBeside returns what is remembered of the authority whose CA certificates are at a location, a
// file or a directory: the same by whatever link that is reached.
func VouchedBeside(location string) Vouched {
	if target, err := filepath.EvalSymlinks(location); err == nil {
		location = target
	}
	return Vouched{Path: filepath.Clean(location) + ".vouched"}
}

const vouchedHead = "# This daemon has vouched for its HTTPS certificate. One in its place that does not is an impostor, and\n" +
	"# refused even with --caucase, for as long as this file is here.\n"

// Addresses returns where the daemon has vouched for itself, none if it never has.
func (v Vouched) Addresses() ([]string, error) {
	data, err := pemfile.Read(v.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			found = append(found, line)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s names no address", v.Path)
	}
	return found, nil
}

// Add remembers that the daemon at an address has vouched for itself.
func (v Vouched) Add(address string) error {
	// What cannot be read is made anew: it is there, which is what counts.
	known, _ := v.Addresses()
	if slices.Contains(known, address) {
		return nil
	}
	content := vouchedHead + strings.Join(append(known, address), "\n") + "\n"
	_, err := pemfile.Write(pemfile.File{Path: v.Path, Content: []byte(content), Attributes: pemfile.Attributes{Mode: v.Mode}})
	return err
}
