package anchors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// A system is the store of a Linux distribution: a folder of files that administrators put there, and a tool that makes of them, and of what
// the distribution brings, what programs read.
type system struct {
	kind   string
	folder string
	suffix string
	tool   string
	update func(ctx context.Context, tool string, removed []string) error
}

// systems are the stores of this kind that there can be.
func systems() []*system {
	return []*system{
		{"debian", "/usr/local/share/ca-certificates", ".crt", "update-ca-certificates", updateDebian},
		{"redhat", "/etc/pki/ca-trust/source/anchors", ".pem", "update-ca-trust", updateRedHat},
	}
}

func (s *system) Kind() string  { return s.kind }
func (s *system) Place() string { return s.folder }

// there reports whether this machine has such a store.
func (s *system) there() bool {
	info, err := os.Stat(s.folder)
	return err == nil && info.IsDir() && find(s.tool) != ""
}

func (s *system) Check() error {
	if !writable(s.folder) {
		return fmt.Errorf("%s: %w", s.folder, ErrRoot)
	}
	return nil
}

func (s *system) path(name string) string { return filepath.Join(s.folder, name+s.suffix) }

func (s *system) List(context.Context) (found []Entry, err error) {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), s.suffix)
		if !ok || !IsOurs(name) || !entry.Type().IsRegular() {
			continue
		}
		one := Entry{Name: name}
		if crts, err := pemfile.ReadCertificates(s.path(name)); err == nil && len(crts) == 1 && strings.HasSuffix(name, idOf(crts[0])) {
			one.Crt = crts[0]
		}
		found = append(found, one)
	}
	return found, nil
}

// Apply writes what is new before it removes what is old: programs never know less than one of them.
func (s *system) Apply(ctx context.Context, c Change) error {
	var undo []func() error
	failed := func(err error, again bool) error {
		for _, step := range slices.Backward(undo) {
			err = errors.Join(err, step())
		}
		if again {
			err = errors.Join(err, s.update(context.WithoutCancel(ctx), find(s.tool), names(c.Add)))
		}
		return err
	}
	for _, entry := range c.Add {
		path := s.path(entry.Name)
		if _, err := pemfile.Write(pemfile.File{Path: path, Content: pki.EncodeCertificatePEM(entry.Crt.Raw), Attributes: pemfile.Attributes{Mode: 0o644}}); err != nil {
			return failed(err, false)
		}
		undo = append(undo, func() error { return os.Remove(path) })
	}
	for _, entry := range c.Remove {
		if c.replaces(entry) {
			continue
		}
		path := s.path(entry.Name)
		old, err := os.ReadFile(path)
		if err == nil {
			err = os.Remove(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return failed(err, false)
		}
		undo = append(undo, func() error {
			_, err := pemfile.Write(pemfile.File{Path: path, Content: old, Attributes: pemfile.Attributes{Mode: 0o644}})
			return err
		})
	}
	if err := s.update(ctx, find(s.tool), c.gone()); err != nil {
		return failed(err, true)
	}
	return nil
}

func names(entries []Entry) (all []string) {
	for _, entry := range entries {
		all = append(all, entry.Name)
	}
	return all
}

// debianChoices are the administrator's choices among the CAs that Debian brings.
const debianChoices = "/etc/ca-certificates.conf"

// updateDebian runs update-ca-certificates. A file that is gone leaves its link behind, and Java's store, which follows by a
// hook, is not told; what is deselected is. So it gets to see the choices with what is gone deselected.
func updateDebian(ctx context.Context, tool string, removed []string) error {
	if len(removed) == 0 {
		_, err := run(ctx, tool)
		return err
	}
	choices, err := os.ReadFile(debianChoices)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range removed {
		choices = append(choices, "\n!"+name+".crt\n"...)
	}
	dir, remove, err := newScratch()
	if err != nil {
		return err
	}
	defer remove()
	path, err := dir.file("ca-certificates.conf", choices)
	if err != nil {
		return err
	}
	_, err = run(ctx, tool, "--certsconf", path)
	return err
}

func updateRedHat(ctx context.Context, tool string, _ []string) error {
	_, err := run(ctx, tool, "extract")
	return err
}
