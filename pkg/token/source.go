package token

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"cauase/pkg/folder"
)

// A Source says where a PIN is read: a file, a credential of the service, or an open file descriptor. The zero Source is none.
type Source struct {
	kind sourceKind
	name string // path or name of the credential
	fd   int
}

type sourceKind int

const (
	noSource sourceKind = iota
	fileSource
	credentialSource
	descriptorSource
)

// credentialsVariable names the folder that systemd puts credentials of a service into (systemd.exec(5)).
const credentialsVariable = "CREDENTIALS_DIRECTORY"

// ParseSource reads what stands behind pin-source=.
func ParseSource(text string) (Source, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case filepath.IsAbs(text):
		return Source{kind: fileSource, name: text}, nil
	case strings.HasPrefix(text, "|"):
		return Source{}, errors.New("pin-source in the PKCS #11 URI: no program is run for a PIN; name a file, credential:NAME or fd:NUMBER")
	case kind == "file":
		path, isURL := strings.CutPrefix(rest, "//")
		if isURL {
			path = strings.TrimPrefix(path, "localhost")
		}
		if !filepath.IsAbs(path) {
			return Source{}, errors.New("pin-source in the PKCS #11 URI: the path of the file has to be absolute")
		}
		return Source{kind: fileSource, name: path}, nil
	case kind == "credential":
		if rest == "" || rest != filepath.Base(rest) || rest == "." || rest == ".." {
			return Source{}, errors.New("pin-source in the PKCS #11 URI: behind credential: stands the name of a credential, without a folder")
		}
		return Source{kind: credentialSource, name: rest}, nil
	case kind == "fd":
		fd, err := strconv.ParseUint(rest, 10, 16)
		if err != nil || fd == 1 || fd == 2 {
			return Source{}, errors.New("pin-source in the PKCS #11 URI: behind fd: stands the number of a file descriptor that is open for reading, such as 3")
		}
		return Source{kind: descriptorSource, fd: int(fd)}, nil
	}
	// It is not repeated, as it may be the PIN itself.
	return Source{}, errors.New("pin-source in the PKCS #11 URI is neither an absolute path, nor file:PATH, credential:NAME or fd:NUMBER")
}

// String says where the PIN is, not which it is.
func (s Source) String() string {
	switch s.kind {
	case fileSource:
		return s.name
	case credentialSource:
		return "credential " + s.name
	case descriptorSource:
		return "file descriptor " + strconv.Itoa(s.fd)
	}
	return "nowhere"
}

// maxPIN is more than any token takes, in octets.
const maxPIN = 256

// Read returns the PIN, the first line. Files are read anew each time, so that a PIN can be put right while the daemon runs; a descriptor
// can be read once only.
func (s Source) Read() ([]byte, error) {
	switch s.kind {
	case noSource:
		return nil, errors.New("where its PIN is is not said: name a file by ?pin-source=")
	case descriptorSource:
		return readDescriptor(s.fd)
	case credentialSource:
		dir := os.Getenv(credentialsVariable)
		if dir == "" {
			return nil, fmt.Errorf("there is no credential %s: %s is not set, as LoadCredential= of a systemd unit does", s.name, credentialsVariable)
		}
		return readPINFile(filepath.Join(dir, s.name))
	}
	return readPINFile(s.name)
}

// readPINFile reads a file that nobody but its owner, and a group, can read.
func readPINFile(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s %w", path, folder.ErrNotRegular)
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("%s can be read or changed by everybody: chmod 0600 %s", path, path)
	}
	return firstLine(f, path)
}

func firstLine(r io.Reader, from string) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxPIN+2))
	if err != nil {
		clear(content)
		return nil, err
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return nil, fmt.Errorf("%s has no PIN in its first line", from)
	case len(line) > maxPIN:
		clear(content)
		return nil, fmt.Errorf("the PIN in %s is longer than %d octets", from, maxPIN)
	}
	return line, nil
}

// descriptors are those that were read.
var descriptors = struct {
	sync.Mutex
	pins map[int][]byte
}{pins: map[int][]byte{}}

func readDescriptor(fd int) ([]byte, error) {
	descriptors.Lock()
	defer descriptors.Unlock()
	if pin, read := descriptors.pins[fd]; read {
		return bytes.Clone(pin), nil
	}
	f := os.NewFile(uintptr(fd), "fd "+strconv.Itoa(fd))
	if f == nil {
		return nil, fmt.Errorf("file descriptor %d: %w", fd, fs.ErrInvalid)
	}
	if _, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("file descriptor %d is not open", fd)
	}
	pin, err := firstLine(f, "file descriptor "+strconv.Itoa(fd))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	descriptors.pins[fd] = pin
	return bytes.Clone(pin), nil
}
